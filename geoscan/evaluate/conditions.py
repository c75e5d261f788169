"""What scenes bring that training chips do not have: changes of chips, to see what they cost a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from geoscan.arrays import Chips
from geoscan.train.augment import Augmentation, through_fewer_pixels, through_jpeg
from geoscan.train.clouds import clouded

Change: TypeAlias = Callable[[Chips], Chips]
"""(n, rows, cols, 3) chips with their haze -> the same places, seen otherwise."""

WHITE: Final = 205.0
"""Counts of 255 that synthetic haze has in every band."""

OFFSET: Final = 85.0
"""Counts of 255 that 0.1 reflectance is at Sentinel-2's DN / 3000."""

_ATMOSPHERE: Final = Augmentation(symmetries=False, zoom=1, gain=1, haze=0, clear=1)


def _curve(change: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> Change:
    """Change the counts of all bands alike."""
    table = np.rint(change(np.arange(256, dtype=np.float64)).clip(0, 255)).astype(np.uint8)
    return lambda chips: table[chips]


def haze(through: float) -> Change:
    """Haze that lets a share of the light through, 0..1, by I = J t + A (1 - t)."""
    return _curve(lambda values: values * through + WHITE * (1 - through))


def surface(chips: Chips) -> Chips:
    """Take a share of the atmosphere away, as surface reflectance (L2A) lacks it; the same share each time."""
    return np.stack([_ATMOSPHERE(chip, np.random.default_rng(i)) for i, chip in enumerate(chips)])


def under_clouds(chips: Chips) -> Chips:
    """Lay remnants of thin cloud over chips, as masks leave them over; the same ones each time."""
    return np.stack([clouded(chip, np.random.default_rng(i)) for i, chip in enumerate(chips)])


def coarser(chips: Chips) -> Chips:
    """Bring chips to half of their resolution and back."""
    half = chips.shape[1] // 2
    return np.stack([through_fewer_pixels(chip, half, half) for chip in chips])


def jpeg(quality: int) -> Change:
    """Compress chips as JPEG and open them again. quality: 1..100."""
    return lambda chips: np.stack([through_jpeg(chip, quality) for chip in chips])


def shifted(chips: Chips) -> Chips:
    """Move chips by a quarter of their side, down and across; what is not known is mirrored."""
    by = chips.shape[1] // 4
    wide = np.pad(chips, ((0, 0), (0, by), (0, by), (0, 0)), mode="symmetric")
    return wide[:, by:, by:]


CONDITIONS: Final[Mapping[str, Change]] = {
    "as they are": lambda chips: chips,
    "a fifth darker": _curve(lambda values: values * 0.8),
    "a fifth brighter": _curve(lambda values: values * 1.2),
    "0.1 reflectance added": _curve(lambda values: values + OFFSET),
    "less atmosphere": surface,
    "thin haze (0.8 comes through)": haze(0.8),
    "haze (0.6 comes through)": haze(0.6),
    "thick haze (0.4 comes through)": haze(0.4),
    "remnants of thin cloud": under_clouds,
    "half of the resolution": coarser,
    "JPEG of quality 60": jpeg(60),
    "shifted by a quarter of a chip": shifted,
}
"""By name, as people read it; the first changes nothing."""
