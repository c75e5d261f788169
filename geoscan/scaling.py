"""What stored values mean: how they become reflectance, by what is asked for, by metadata, or by the pixels themselves.

Files hold reflectance as 0..1, as integers x 10,000, or as either plus a tenth (ESA's since January 2022), and many do
not say which. Dark water, shadow and forest do: some ground in most scenes reflects next to nothing in red light.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from geoscan import gdal, hints
from geoscan.bands import is_landsat
from geoscan.errors import RadiometryError, ReadError
from geoscan.grid import Window
from geoscan.products import Levels, Scaling

if TYPE_CHECKING:
    from geoscan.scene import Scene

log = logging.getLogger(__name__)

Values: TypeAlias = NDArray[np.float64]
"""(3, n): red, green, blue of some pixels that are no nodata, in the scene's own units."""

TEN_THOUSAND: Final = 1e-4
"""Scale of reflectance that is stored x 10,000, as nearly all makers do."""

ADDED: Final = 0.1
"""What ESA adds to reflectance since processing baseline 04.00: 1,000 as it is stored."""

LANDSAT: Final = Scaling((2.75e-5,) * 3, (-0.2,) * 3, "band names")
"""Of Landsat's surface reflectance, Collection 2, whose files do not state it."""

DARKEST_LANDSAT: Final = -0.05
"""Reflectance of the darkest half percent of a band at least, by `LANDSAT`: deep water may come out below 0."""

_AGAINST: Final = "pixels, against metadata"
"""Who says so where metadata says otherwise."""

DARK_PERCENT: Final = 0.5
_SHIFTED: Final = (0.095, 0.16)
"""Reflectance between which the darkest half percent of red lies where `ADDED` was not taken off. In 44 scenes of 256
real chips each it is 0.048 at most without, and 0.1 to 0.148 with it (tests/benchmarks/test_scaling_real.py)."""

_REDDER: Final = 0.01
"""By which the darkest red may reflect more than the darkest blue: water, shade and forest are no redder, for the air
shines in blue. Where the darkest ground is red, as in a desert, it says nothing of an offset."""

_NEGATIVE: Final = -0.02
_NEGATIVE_PERCENT: Final = 5.0
"""Where an offset was taken off twice, at least this percentage of a band's pixels reflects less than that. Of 44
scenes of 256 real chips each it is 52 % at least (tests/benchmarks/test_scaling_real.py), and 10 % in the brightest of
the 58 campaigns that these chips are of. Where an offset is right, a little shadow or water comes out so, too."""

_LEAST_REFLECTED: Final = 0.005
"""Of the brightest pixels; the sea reflects more."""

_MOST_REFLECTED: Final = 2.0
"""Glint and snow under a low sun reflect more than 1; more than this is no reflectance."""

_DARKEST_RADIANCE: Final = 1200.0
"""Planet's radiance x 100 has nothing darker in blue, for the air itself shines; surface reflectance of forest has."""

_SIDE, _STEPS = 128, 4
"""Pixels are taken from 5 x 5 windows of 128 px at most, spread over the scene: an average would hide what is dark."""

_SMALL_SIDE: Final = 32
"""The same of a scene so small that all those windows touch a block that is damaged."""


def scaling_of(scene: Scene, scale: Levels | None = None, offset: Levels | None = None) -> Scaling | None:
    """Tell how the stored values of a scene become reflectance; None for 8-bit pictures, Planet's radiance, and values
    that fit nothing known.

    scene: at its own resolution, for means of pixels hide what is dark.
    scale, offset: what is asked for; it goes before metadata, and metadata before the pixels. Metadata is held against
    the pixels, with a warning where they say otherwise: an offset that was taken off already is left out, and what
    makes no reflectance counts for nothing.
    Raises ReadError when no pixels can be read, RadiometryError for a scale of 0, and for a scene of one value.
    """
    if scale is not None or offset is not None:
        return _asked(scale, offset)
    stated = scene.product.scaling
    if scene.dtype == "uint8" and stated is None:
        return None
    if scene.product.radiance:
        return None
    values = sample(scene)
    if not values.size:
        return stated or _assumed(scene)
    if stated is None and (least := float(values.min())) == values.max():
        raise RadiometryError(
            f"{scene.name} shows nothing but {hints.exactly(least)} wherever it was looked at; if that is nodata, say "
            f"so in the file: {hints.assign_nodata(least, scene.address)}"
        )
    if stated and (doubt := _doubt(stated, values)):
        log.warning(
            "%s: its metadata says %s, %s; so the pixels are asked: --scale and --offset override",
            scene.name,
            described(stated),
            doubt,
        )
        found = _seen(scene, values)
        return replace(found, source=_AGAINST) if found and found.source == "pixels" else found
    return _checked(stated, values, scene) if stated else _seen(scene, values)


def sample(scene: Scene) -> Values:
    """Take pixels at full resolution from windows spread over the scene, nodata left out; where they hold nothing else,
    from windows around what an overview shows. (3, 0) where that shows nothing, either.

    So is what is damaged in a local file: a scan names it. Raises ReadError when a server does not give them, or when
    no part of a local file can be read.
    """
    for side in (_SIDE, _SMALL_SIDE):
        lattice = [
            Window(row, col, rows, cols)
            for row, rows in _spread(scene.rows, side)
            for col, cols in _spread(scene.cols, side)
        ]
        parts, error = _read(scene, lattice)
        if parts:
            values = np.concatenate(parts, axis=1)
            return values if values.size else _found_in_overview(scene)
    assert error is not None, "what can be read has parts"
    raise error


def _spread(size: int, side: int) -> list[tuple[int, int]]:
    """Spread pieces of at most `side` px over a row of pixels: where each begins, and its length.

    They lie side by side where so many cover all of it.
    """
    if size <= side * (_STEPS + 1):
        return [(start, min(side, size - start)) for start in range(0, size, side)]
    return [(round((size - side) * step / _STEPS), side) for step in range(_STEPS + 1)]


def _read(scene: Scene, windows: Sequence[Window]) -> tuple[list[Values], ReadError | None]:
    """Give the pixels of those windows that can be read, and why the last of the others cannot."""
    parts, failure = [], None
    for window in windows:
        try:
            native, valid = scene.read(window)
        except ReadError as error:
            if gdal.is_remote(scene.address):
                raise
            failure = error
            continue
        parts.append(native[:, valid].astype(np.float64))
    return parts, failure


def _found_in_overview(scene: Scene) -> Values:
    """Take pixels as `sample` does of a scene that holds few, such as a narrow strip."""
    _, valid = scene.overview()
    places = np.argwhere(valid)
    places = places[np.linspace(0, len(places) - 1, min(len(places), (_STEPS + 1) ** 2)).astype(int)]
    side = min(_SIDE, scene.rows), min(_SIDE, scene.cols)
    corners = ((places + 0.5) * (scene.rows, scene.cols) / valid.shape - np.array(side) / 2).astype(int)
    corners = corners.clip(0, np.subtract((scene.rows, scene.cols), side))
    parts, error = _read(scene, [Window(row, col, *side) for row, col in corners.tolist()])
    if error and not parts:
        raise error
    return np.concatenate([np.empty((3, 0)), *parts], axis=1)


def _assumed(scene: Scene) -> Scaling:
    """Give what most files of a type mean, for a scene that shows no data; some may lie between what was looked at."""
    scale = 1.0 if np.issubdtype(np.dtype(scene.dtype), np.floating) else TEN_THOUSAND
    scaling = Scaling((scale,) * 3, (0.0,) * 3, "assumed, without any pixels")
    log.warning("%s shows no data wherever it was looked at; should there be some, %s", scene.name, described(scaling))
    return scaling


def described(scaling: Scaling | None) -> str:
    """Say in words how values become reflectance."""
    if scaling is None:
        return "values as they are"
    scale, offset = (_short(numbers) for numbers in (scaling.scale, scaling.offset))
    added = "" if not any(scaling.offset) else f" + {offset}" if not offset.startswith("-") else f" - {offset[1:]}"
    return f"reflectance = value x {scale}{added} ({scaling.source})"


def _short(numbers: Levels) -> str:
    texts = [f"{number:.6g}" for number in numbers]
    return texts[0] if len(set(texts)) == 1 else "/".join(texts)


def _asked(scale: Levels | None, offset: Levels | None) -> Scaling:
    if scale is not None and not all(scale):
        raise RadiometryError("a scale of 0 makes everything black; pass --scale 0.0001 for integers x 10,000")
    return Scaling(scale or (1.0,) * 3, offset or (0.0,) * 3, "option")


def _doubt(stated: Scaling, values: Values) -> str:
    """Say why what metadata states cannot be; empty where it can."""
    if not all(np.isfinite((*stated.scale, *stated.offset))) or min(stated.scale) <= 0:
        return "which no reflectance has"
    reflected = values * np.array(stated.scale)[:, None] + np.array(stated.offset)[:, None]
    high = float(np.percentile(reflected, 99.9))
    if not _LEAST_REFLECTED <= high - min(0.0, *stated.offset) <= _MOST_REFLECTED + ADDED:
        return f"by which the brightest ground would reflect {high:.3g}"
    return ""


def _checked(stated: Scaling, values: Values, scene: Scene) -> Scaling:
    """Leave out an offset that was taken off already: with it much of the ground would reflect less than nothing.

    Take off one that a plain raster does not state: GDAL gives 0 for no offset, too. Warns of either.
    """
    darkest, dark = np.percentile(values, (DARK_PERCENT, _NEGATIVE_PERCENT), axis=1) * stated.scale
    # Landsat's offset is a fifth, and its shadows may reflect a little less than nothing with it.
    if (dark + stated.offset).min() < _NEGATIVE and 0 <= darkest.min() < _SHIFTED[0]:
        log.warning(
            "%s: its metadata says %s, by which much of it would reflect less than nothing; so its offset is left out, "
            "as taken off already: --scale and --offset override",
            scene.name,
            described(stated),
        )
        return replace(stated, offset=(0.0, 0.0, 0.0), source=_AGAINST)
    if not scene.product.kind and scene.dtype != "uint8" and not any(stated.offset) and _is_shifted(darkest):
        log.warning(
            "%s: its metadata says %s, by which nothing is dark; so %g is taken off, which ESA adds: --scale and "
            "--offset override",
            scene.name,
            described(stated),
            ADDED,
        )
        return replace(stated, offset=(-ADDED,) * 3, source=_AGAINST)
    return stated


def _seen(scene: Scene, values: Values) -> Scaling | None:
    """Tell from the pixels, and from what the bands are called."""
    if scene.dtype == "uint8":
        return None
    high = float(np.percentile(values, 99.9))
    darkest = np.percentile(values, DARK_PERCENT, axis=1)
    if np.issubdtype(np.dtype(scene.dtype), np.floating) and high <= _MOST_REFLECTED + ADDED:
        return _with_offset(1.0, darkest)
    if is_landsat(scene.called) and _fits_landsat(values):
        return LANDSAT
    # Values of a picture, in a type that is too large for it, or of neither kind.
    if high <= 255 or high * TEN_THOUSAND > _MOST_REFLECTED + ADDED:
        return None
    if scene.planet and darkest[2] >= _DARKEST_RADIANCE:
        return None
    if scene.raw:
        log.warning(
            "%s: its values have no more bits than what a sensor counts, so they are not taken for reflectance "
            "x 10,000; where they are, pass --scale 0.0001",
            scene.name,
        )
        return None
    return _with_offset(TEN_THOUSAND, darkest)


def _fits_landsat(values: Values) -> bool:
    """Tell whether values may be Landsat's: reflectance x 10,000 would come out far below 0."""
    dark, bright = np.percentile(values, (DARK_PERCENT, 99.9), axis=1) * LANDSAT.scale + LANDSAT.offset
    return bool(dark.min() >= DARKEST_LANDSAT and bright.max() <= _MOST_REFLECTED)


def _with_offset(scale: float, darkest: NDArray[np.float64]) -> Scaling:
    """Tell from the darkest stored red, green and blue whether an offset is to be taken off."""
    return Scaling((scale,) * 3, (-ADDED if _is_shifted(darkest * scale) else 0.0,) * 3, "pixels")


def _is_shifted(darkest: NDArray[np.float64]) -> bool:
    """Tell from the reflectance of the darkest red, green and blue whether `ADDED` was not taken off."""
    red, _, blue = darkest
    return bool(_SHIFTED[0] <= red <= _SHIFTED[1] and red - blue <= _REDDER)
