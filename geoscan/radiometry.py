"""Any dtype and product into the 8-bit look that the models were trained on.

Every mapping is one straight line a band, the same for the whole scene: statistics come once, from a sample of it, so
that neighbouring tiles agree along their seam.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from geoscan.arrays import Mask, Native, Visual
from geoscan.errors import RadiometryError
from geoscan.products import Levels, Scaling
from geoscan.scaling import sample
from geoscan.scene import Scene

_Adapter: TypeAlias = Callable[[str, Scene, Scaling | None], "Radiometry"]


@dataclass(frozen=True, slots=True)
class Radiometry:
    """Straight lines from native values to 0..255: `low` and less become 0, `high` and more 255."""

    name: str
    """The spec that makes it again, with its numbers, such as percentile:2,98."""

    low: Levels
    """In the scene's own units."""

    high: Levels

    def __post_init__(self) -> None:
        if not all(np.isfinite((*self.low, *self.high))) or not all(
            a < b for a, b in zip(self.low, self.high, strict=True)
        ):
            raise RadiometryError(f"{self.name} maps {self.low}..{self.high}; each low must lie under its high")

    def apply(self, native: Native, valid: Mask) -> Visual:
        """Map (3, rows, cols) `native` to 0..255, rounded; pixels outside `valid`, and NaN, become 0."""
        if native.dtype == np.uint8 and self.low == (0, 0, 0) and self.high == (255, 255, 255):
            return np.where(valid, native, np.uint8(0))
        # Sixteen bits fit float32 exactly, at half the time; 32-bit integers and float64 would be rounded.
        working = np.float32 if native.dtype.itemsize <= 2 or native.dtype == np.float32 else np.float64
        low = np.array(self.low, working)[:, None, None]
        gain = np.array([255 / (b - a) for a, b in zip(self.low, self.high, strict=True)], working)[:, None, None]
        scaled: NDArray[Any] = native.astype(working)
        with np.errstate(over="ignore", invalid="ignore"):  # what lies beyond all floats is clipped, as it should be
            scaled -= low
            scaled *= gain
        np.clip(scaled, 0, 255, out=scaled)
        np.rint(scaled, out=scaled)
        scaled[np.isnan(scaled)] = 0
        scaled *= valid
        return scaled.astype(np.uint8)


VISUAL: Final = Radiometry("visual", (0, 0, 0), (255, 255, 255))
"""8-bit products made to be looked at, as they are."""

SENTINEL2_L1C: Final = Radiometry("sentinel2-l1c", (0, 0, 0), (3000, 3000, 3000))
"""DN / 3000, as Amazon Mining Watch's chips are made. Since processing baseline 04.00 (January 2022) ESA's own files
carry DN + 1000; these are to be brought back (as Earth Engine's "harmonized" collection does) before they come here."""

WHITE: Final = 0.3
"""Reflectance that this look shows as 255."""

SENTINEL2_TCI: Final = Radiometry("sentinel2-tci", (0, 0, 0), (3000 * 255 / 3558,) * 3)
"""ESA's true colour image is DN / 3558; this makes it `SENTINEL2_L1C`."""

# A least-absolute-deviations line a band through the six chips that Kaggle gives both as TIFF and as JPEG. Left out one
# chip at a time it is 22.7 counts off in the mean (red 20.6, green 15.7, blue 31.9), the least of what was tried: least
# squares 26.0, power law 26.3, logarithm 24.9, percentiles of the chip brought to the usual ones 32.4, its mean and
# spread likewise 33.9, a plain 2..98 % stretch 56.9. Planet's own scenes seem to be stretched one by one, but what a
# chip's statistics tell is its land cover. Two pairs (0, 4) show different ground (correlation 0.1 and 0.65), which
# absolute deviations ignore: without them the constants move by less than 4 %, and the four fit to 5.0 counts.
PLANET_ANALYTIC: Final = Radiometry("planet-analytic", (838, 1220, 1809), (7828, 10052, 11844))
"""Planet's analytic radiance (16-bit) as its visual product."""


def resolve(spec: str, scene: Scene, scaling: Scaling | None = None) -> Radiometry:
    """Choose the radiometry that `spec` names for `scene`.

    spec: auto, visual, reflectance, sentinel2-l1c, sentinel2-tci, planet-analytic, or percentile:LOW,HIGH, which
    stretches each band between two percentiles of a sample of the scene (`scaling.sample`). `auto` takes reflectance
    where it is known, 8-bit scenes as they are, Planet's radiance through its adapter, and stretches anything else by
    percentile:2,98.
    scaling: how values become reflectance, see `scaling.scaling_of`; None where nobody knows.
    Raises RadiometryError for a spec that does not exist or does not fit the scene, ReadError when no
    pixels can be read.
    """
    name, _, argument = spec.strip().lower().partition(":")
    if name not in _ADAPTERS:
        near = difflib.get_close_matches(name, _ADAPTERS, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}? " if near else ""
        raise RadiometryError(f"stretch {spec!r} is not known; {hint}pass one of {', '.join(_USAGE)}")
    if argument and name != "percentile":
        raise RadiometryError(f"stretch {name} takes no numbers, {spec!r} has some; pass --stretch {name}")
    return _ADAPTERS[name](argument, scene, scaling)


def percentile(low: float, high: float, values: NDArray[np.float64]) -> Radiometry:
    """Stretch each band from its `low` to its `high` percentile among some pixels, (3, n), in the scene's own units.

    A band with one value becomes black, and so does a scene without any pixels.
    """
    if not 0 <= low < high <= 100:
        raise RadiometryError(f"percentiles {low:g},{high:g} do not fit 0 <= LOW < HIGH <= 100; pass percentile:2,98")
    values = values[:, np.isfinite(values).all(axis=0)]
    if not values.size:
        values = np.zeros((3, 1))
    bottom, top = np.percentile(values, [low, high], axis=1)
    # Wide enough to stay a slope in float32, too.
    top = np.maximum(top, bottom + np.maximum(np.abs(bottom) * 1e-6, 1e-6))
    lows, highs = (tuple(map(float, ends)) for ends in (bottom, top))
    return Radiometry(f"percentile:{low:g},{high:g}", (lows[0], lows[1], lows[2]), (highs[0], highs[1], highs[2]))


def suited(wanted: str, scene: Scene, scaling: Scaling | None) -> str:
    """Name the adapter that brings a scene to the look that a model wants.

    wanted: the radiometry in the model's card. scaling: see `scaling.scaling_of`.
    Raises RadiometryError where the model wants reflectance and nobody knows how the values become that.
    """
    if wanted == "visual":
        return "auto"
    if scene.dtype == "uint8" and scaling is None:
        return _EIGHT_BIT.get(wanted, wanted)
    if scaling is None:
        raise RadiometryError(
            f"{scene.name} has {scene.dtype} values that are neither reflectance (0..1, or x 10,000) nor an 8-bit "
            "picture; pass --scale and --offset, or --stretch percentile:2,98"
        )
    return wanted


def _auto(_: str, scene: Scene, scaling: Scaling | None) -> Radiometry:
    if scaling is not None:
        return _reflectance("", scene, scaling)
    if scene.dtype == "uint8":
        return VISUAL
    return PLANET_ANALYTIC if scene.planet or scene.product.radiance else _percentile("2,98", scene, scaling)


def _percentile(argument: str, scene: Scene, _: Scaling | None) -> Radiometry:
    try:
        low, high = map(float, argument.split(",")) if argument else (2.0, 98.0)
    except ValueError:
        raise RadiometryError(f"percentile:{argument} does not name two numbers; pass percentile:2,98") from None
    if not 0 <= low < high <= 100:  # before the scene is read
        raise RadiometryError(f"percentiles {low:g},{high:g} do not fit 0 <= LOW < HIGH <= 100; pass percentile:2,98")
    # Not of an overview: stored ones may be empty, or of earlier pixels, and averages have less contrast.
    return percentile(low, high, sample(scene))


def _fixed(radiometry: Radiometry, *, eight_bit: bool) -> _Adapter:
    def adapter(_: str, scene: Scene, scaling: Scaling | None) -> Radiometry:
        del scaling
        if (scene.dtype == "uint8") != eight_bit:
            wants = "8-bit pixels" if eight_bit else "the product's own values, not 8-bit pixels"
            came = f"{scene.name} has {scene.dtype}"
            raise RadiometryError(f"{radiometry.name} takes {wants}, {came}; pass --stretch auto or percentile:2,98")
        return radiometry

    return adapter


def _sentinel2_l1c(_: str, scene: Scene, scaling: Scaling | None) -> Radiometry:
    return _line(scaling) if scaling else _fixed(SENTINEL2_L1C, eight_bit=False)("", scene, None)


def _reflectance(_: str, scene: Scene, scaling: Scaling | None) -> Radiometry:
    if scaling is None:
        raise RadiometryError(
            f"nobody says how the values of {scene.name} become reflectance; pass --scale and --offset"
        )
    return replace(_line(scaling), name="reflectance")


def _line(scaling: Scaling) -> Radiometry:
    """Map reflectance 0..0.3 to 0..255, whatever the values that stand for it."""
    low, high = (_stored(scaling, reflectance) for reflectance in (0.0, WHITE))
    return Radiometry(SENTINEL2_L1C.name, low, high)


def _stored(scaling: Scaling, reflectance: float) -> Levels:
    """Give the values that stand for `reflectance`, without the last digits of floats: 3000, not 2999.9999999999995."""
    red, green, blue = (
        float(f"{(reflectance - offset) / scale:.12g}")
        for scale, offset in zip(scaling.scale, scaling.offset, strict=True)
    )
    return red, green, blue


_ADAPTERS: Final[dict[str, _Adapter]] = {
    "auto": _auto,
    "visual": _fixed(VISUAL, eight_bit=True),
    "reflectance": _reflectance,
    "sentinel2-l1c": _sentinel2_l1c,
    "sentinel2-tci": _fixed(SENTINEL2_TCI, eight_bit=True),
    "planet-analytic": _fixed(PLANET_ANALYTIC, eight_bit=False),
    "percentile": _percentile,
}

_EIGHT_BIT: Final = {"sentinel2-l1c": "sentinel2-tci"}
"""What else shows the same look, in 8 bits."""

_USAGE: Final = tuple("percentile:LOW,HIGH" if name == "percentile" else name for name in _ADAPTERS)
