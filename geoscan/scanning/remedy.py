"""Which option would make a scene that is refused look as it should: its chips are tried in other readings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from geoscan.arrays import Chips, Mask, Native
from geoscan.errors import GeoscanError
from geoscan.model.look import Look, is_white
from geoscan.products import Levels, Scaling
from geoscan.radiometry import WHITE, Radiometry, resolve, suited
from geoscan.scaling import DARK_PERCENT, DARKEST_LANDSAT, LANDSAT
from geoscan.scanning.plan import Plan
from geoscan.scene import Scene

_FACTORS: Final = (10.0, 0.1)
"""By which a scale may be off: reflectance in percent or per mille, or stored x 1,000 or x 100,000."""

_USUAL: Final = (1e-4, 1.0)
"""Scales of nearly all makers: integers x 10,000, and floats."""

_OFFSETS: Final = (-0.1, 0.1)
"""Of reflectance: ESA's, which is to be taken off, or was taken off twice."""

_NEARLY: Final = 0.95
"""Share of an offset that the darkest ground shows at least where it was not taken off."""

_ORDERS: Final = ((3, 2, 1), (1, 2, 3), (4, 3, 2), (6, 4, 2))
"""Bands that often are red, green and blue: of files that begin with blue or red, of Sentinel-2's, of PlanetScope's of
eight bands."""

_MOST_CLIPPED: Final = 0.5
"""Share of values that may be the highest that their type holds: what was cut off there, no scale brings back."""

_MOST_WHITE: Final = 0.5
"""Share of chips that may be white all over in a reading that helps: white chips say nothing."""


class _Reading(NamedTuple):
    """Another way to read a scene."""

    option: str
    """What a user passes for it."""

    radiometry: Radiometry
    scaling: Scaling | None


def remedy(plan: Plan, tiles: Sequence[int], look: Look) -> str:
    """Say what seems to be wrong with a scene, and which option helps; empty where nothing that is tried does.

    tiles: some that can be read, and hold data.
    """
    pixels = _pixels(plan.scene, plan, tiles)
    shares = np.array([valid.mean() for _, valid in pixels])
    tried = [*_tried(plan, pixels, shares, look), *_of_other_bands(plan, tiles, shares, look)]
    if (best := max(tried, key=lambda one: one[0], default=(-1.0, "")))[0] >= 0:
        return best[1]
    chips = _chips(plan, plan.radiometry, pixels)
    if is_white(chips).mean() <= _MOST_WHITE and look.verdict(look.log_odds(255 - chips, shares)) >= 0:
        return "bright and dark seem to be swapped, and no option undoes that"
    return ""


def _pixels(scene: Scene, plan: Plan, tiles: Sequence[int]) -> list[tuple[Native, Mask]]:
    return [scene.read(plan.grid[tile].read) for tile in tiles]


def _chips(plan: Plan, radiometry: Radiometry, pixels: Sequence[tuple[Native, Mask]]) -> Chips:
    preprocess = plan.package.card.preprocess
    return np.stack([preprocess.frame(radiometry.apply(native, valid), valid) for native, valid in pixels])


def _of_other_bands(
    plan: Plan, tiles: Sequence[int], shares: NDArray[np.float64], look: Look
) -> Iterator[tuple[float, str]]:
    """By how much a scene of more bands would be understood if red, green and blue were others, and with which."""
    for bands in _ORDERS:
        if bands in (plan.scene.bands, plan.scene.bands[::-1]):
            continue
        with suppress(GeoscanError):  # where it has no such bands
            scene = plan.scene.with_bands(bands)
            chips = _chips(plan, plan.radiometry, _pixels(scene, plan, tiles))
            words = f"it looks as it should with --bands {','.join(map(str, bands))}"
            yield look.verdict(look.log_odds(chips, shares)), words


def _tried(
    plan: Plan, pixels: Sequence[tuple[Native, Mask]], shares: NDArray[np.float64], look: Look
) -> Iterator[tuple[float, str]]:
    """By how much a scene would be understood in other readings of the same bands, and in which."""
    swapped = "--bands " + ",".join(map(str, reversed(plan.scene.bands)))
    is_landsat = False
    for option, radiometry, scaling in _readings(plan, _darkest(pixels)):
        if option and _clipped(pixels) > _MOST_CLIPPED:
            return
        if is_landsat:
            return  # what follows fits by chance: a factor says nothing of an offset
        chips = _chips(plan, radiometry, pixels)
        if is_white(chips).mean() > _MOST_WHITE:
            continue
        verdict, reverse = (look.verdict(look.log_odds(one, shares)) for one in (chips, chips[..., ::-1]))
        is_landsat = scaling == LANDSAT and verdict >= 0
        if option:
            yield verdict, f"it looks as it should with {option}"
            if "offset" not in option:  # three faults at a time are rarer than a fit by chance
                yield reverse, f"it looks as it should with {option} {swapped}"
        else:
            yield reverse, f"red and blue seem to be swapped, it looks as it should with {swapped}"


def _clipped(pixels: Sequence[tuple[Native, Mask]]) -> float:
    """Share of values that are the highest of their integer type; 0 for floats."""
    if not np.issubdtype(pixels[0][0].dtype, np.integer):
        return 0.0
    most = np.iinfo(pixels[0][0].dtype).max  # type: ignore[type-var] # that of an integer, as was just asked
    return float(np.mean([(native[:, valid] == most).mean() for native, valid in pixels]))


def _darkest(pixels: Sequence[tuple[Native, Mask]]) -> NDArray[np.float64]:
    """Stored values of the darkest half percent of each band."""
    values = np.concatenate([native[:, valid] for native, valid in pixels], axis=1)
    return np.nanpercentile(values.astype(np.float64), DARK_PERCENT, axis=1)


def _readings(plan: Plan, darkest: NDArray[np.float64]) -> Iterator[_Reading]:
    """Give the reading of a plan, and others by the scales and offsets that may have been meant."""
    yield _Reading("", plan.radiometry, plan.scaling)
    wanted = plan.package.card.preprocess.radiometry
    automatic = _resolved(wanted, plan, plan.scaling)
    auto = "" if automatic and automatic.name == plan.radiometry.name else "--stretch auto "
    if automatic and auto:
        yield _Reading(auto.strip(), automatic, plan.scaling)
    for scaling in _scalings(plan, darkest):
        radiometry = _resolved(wanted, plan, scaling)
        if radiometry and (radiometry.low, radiometry.high) != (plan.radiometry.low, plan.radiometry.high):
            shift = f" --offset {_short(scaling.offset)}" if any(scaling.offset) else ""
            yield _Reading(f"{auto}--scale {_short(scaling.scale)}{shift}", radiometry, scaling)


def _scalings(plan: Plan, darkest: NDArray[np.float64]) -> Iterator[Scaling]:
    """Give what may have been meant: usual scales, that which was taken, with offsets, Landsat's, and at last ten times
    more or less.
    """
    meant: list[Levels] = [(usual, usual, usual) for usual in _USUAL]
    if plan.scaling and plan.scaling.scale not in meant:
        meant.append(plan.scaling.scale)
    for scale in meant:
        dark = float((darkest * scale).min())
        offsets = [offset for offset in _OFFSETS if _explains(offset, dark)]
        yield from (Scaling(scale, (offset,) * 3, "option") for offset in (0.0, *offsets))
    if (darkest * LANDSAT.scale + LANDSAT.offset).min() >= DARKEST_LANDSAT:
        yield LANDSAT
    red, green, blue = _taken(plan)
    for factor in _FACTORS:
        yield Scaling((red * factor, green * factor, blue * factor), (0.0,) * 3, "option")


def _taken(plan: Plan) -> Levels:
    """Scale by which the values became the look that is refused."""
    if plan.scaling:
        return plan.scaling.scale
    lines = zip(plan.radiometry.low, plan.radiometry.high, strict=True)
    red, green, blue = (WHITE / (high - low) for low, high in lines)
    return red, green, blue


def _explains(offset: float, dark: float) -> bool:
    """Tell whether an offset may be missing: the darkest ground reflects too much by it, or less than nothing."""
    return dark >= -_NEARLY * offset if offset < 0 else dark < 0


def _resolved(wanted: str, plan: Plan, scaling: Scaling | None) -> Radiometry | None:
    try:
        return resolve(suited(wanted, plan.scene, scaling), plan.scene, scaling)
    except GeoscanError:
        return None


def _short(numbers: Levels) -> str:
    texts = [f"{number:.4g}" for number in numbers]
    return texts[0] if len(set(texts)) == 1 else ",".join(texts)
