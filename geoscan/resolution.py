"""Which pixel sizes a model can take: as they are, after resampling, or not at all."""

from __future__ import annotations

from typing import Final

NATIVE: Final = 0.25
"""Pixels that differ from the size that a model wants by no more than this share are not resampled."""

MAX_RESAMPLING: Final = 4.0
"""A scene this many times finer or coarser than its model is refused: it no longer shows what the model learned."""


def native_range(gsd: float) -> tuple[float, float]:
    """Smallest and largest pixel, in metres, that a model of `gsd` metres per pixel takes as it is."""
    return gsd * (1 - NATIVE), gsd * (1 + NATIVE)


def usable_range(gsd: float) -> tuple[float, float]:
    """Smallest and largest pixel, in metres, that is resampled for a model of `gsd` metres per pixel."""
    return gsd / MAX_RESAMPLING, gsd * MAX_RESAMPLING


def is_native(pixel: float, gsd: float) -> bool:
    """Tell whether a model of `gsd` metres takes pixels of `pixel` metres as they are, ends included."""
    return abs(pixel / gsd - 1) <= NATIVE


def is_usable(pixel: float, gsd: float) -> bool:
    """Tell whether pixels of `pixel` metres can be resampled for a model of `gsd` metres, ends included."""
    return 1 / MAX_RESAMPLING <= pixel / gsd <= MAX_RESAMPLING
