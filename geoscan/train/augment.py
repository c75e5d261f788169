"""Random changes of a chip that leave its labels right; for training, never for validation."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from geoscan.errors import InputError
from geoscan.symmetry import SYMMETRIES, symmetry
from geoscan.train.clouds import clouded

_LEVELS = np.arange(256, dtype=np.float32)[:, None]

_PATH = np.array([22, 38, 62], np.float32)
"""Path radiance of a clear tropical atmosphere in red, green and blue, in counts of 255 at Sentinel-2's DN / 3000."""

_LIFTED = 0.25
"""Share of the chips that an offset is added to."""

_QUALITY = (30, 96)
"""Of JPEG files, 1 to 100; the last is left out."""

_COARSER = (0.4, 0.9)
"""Of a chip's pixels along each side that resampling leaves."""

_TRANSMISSION = np.array([0.95, 0.92, 0.88], np.float32)
_MOST_CLEARED = 1.1
"""A surface reflectance product may remove more of the atmosphere than there was."""


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How far augmentation goes; each amount is the largest that is drawn.

    symmetries: draw one of the 8 of the square.
    zoom: resolution jitter, as a factor of 1 or more: 1.25 draws between 0.8 and 1.25.
    gain: brightness jitter, as a factor of 1 or more for all bands together; a band alone gets a third of it.
    haze: share of light that synthetic haze takes, 0..1, by the scattering model I = J t + A (1 - t) that dehazing
        inverts (He, Sun, Tang 2009, eq. 1), with one transmission t for the chip.
    clear: probability, 0..1, that a chip loses a random share of a clear tropical atmosphere, by the same model solved
        for J: top-of-atmosphere chips (Sentinel-2 L1C) come to look like surface reflectance (L2A).
    offset: counts of 255 that are added to all bands of every fourth chip, as by an offset that nobody declared: the
        0.1 reflectance of Sentinel-2's are 85 counts at DN / 3000.
    clouded: probability, 0..1, that `degrade` lays the remnants of clouds over a chip.
    degraded: probability, 0..1, that it spoils one as files and resampling do.
    Raises InputError for values out of range.
    """

    symmetries: bool = True
    zoom: float = 1.25
    gain: float = 1.3
    haze: float = 0.35
    clear: float = 0.0
    offset: float = 0.0
    clouded: float = 0.0
    degraded: float = 0.0

    def __post_init__(self) -> None:
        if not (self.zoom >= 1 and self.gain >= 1):
            raise InputError(f"zoom {self.zoom} or gain {self.gain} does not fit; give factors of 1 or more")
        shares = {name: getattr(self, name) for name in ("haze", "clear", "clouded", "degraded")}
        if wrong := [f"{name} {share}" for name, share in shares.items() if not 0 <= share <= 1]:
            raise InputError(f"{' and '.join(wrong)} does not fit; give 0..1")
        if not 0 <= self.offset <= 255:
            raise InputError(f"offset {self.offset} does not fit; give 0..255")

    def __call__(self, chip: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
        """(rows, cols, 3) uint8 -> another chip of the same shape."""
        chip = self._moved(chip, rng)
        gains = self.gain ** rng.uniform(-1, 1) * self.gain ** (rng.uniform(-1, 1, 3) / 3)
        veil = self.haze * rng.uniform(0, 1) if rng.random() < 0.5 else 0.0
        airlight = rng.uniform(170, 235) + rng.uniform(-12, 12, 3)
        cleared = rng.uniform(0, _MOST_CLEARED) if rng.random() < self.clear else 0.0
        lifted = self.offset * rng.uniform(0, 1) if rng.random() < _LIFTED else 0.0
        levels = (_LEVELS - cleared * _PATH) / (1 - (1 - _TRANSMISSION) * cleared)
        curve = np.clip(np.maximum(levels, 0) * gains * (1 - veil) + airlight * veil + lifted, 0, 255)
        return np.asarray(cv2.LUT(chip, np.rint(curve).astype(np.uint8)[:, None, :]), np.uint8)

    def degrade(self, chip: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
        """(rows, cols, 3) uint8 -> the same chip, or with the probabilities `clouded` and `degraded` less of it.

        Half of the degraded have gone through a JPEG file, half through fewer pixels. Apart from the call, because a
        teacher that sees the chip as it was says better what the spoilt one shows.
        """
        if rng.random() < self.clouded:
            chip = clouded(chip, rng)
        if rng.random() >= self.degraded:
            return chip
        if rng.random() < 0.5:
            return through_jpeg(chip, int(rng.integers(*_QUALITY)))
        rows, cols = chip.shape[:2]
        width, height = (max(1, round(side * rng.uniform(*_COARSER))) for side in (cols, rows))
        return through_fewer_pixels(chip, height, width)

    def _moved(self, chip: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
        if self.zoom > 1:
            scale = self.zoom ** rng.uniform(-1, 1)
            rows, cols = chip.shape[:2]
            slack = np.array([cols, rows]) * (1 / scale - 1) / 2
            shift = rng.uniform(-1, 1, 2) * np.abs(slack)  # a zoomed chip shows any part of what there is
            matrix = np.array([[scale, 0, 0], [0, scale, 0]], np.float64)
            matrix[:, 2] = np.array([cols, rows]) * (1 - scale) / 2 + shift * scale
            moved = cv2.warpAffine(chip, matrix, (cols, rows), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
            chip = np.asarray(moved, np.uint8)
        return symmetry(chip, int(rng.integers(SYMMETRIES))) if self.symmetries else chip


def through_jpeg(chip: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """Compress a chip, (rows, cols, 3), as JPEG, and open it again. quality: 1..100."""
    blue_first = cv2.cvtColor(chip, cv2.COLOR_RGB2BGR)  # as OpenCV writes colours
    packed = cv2.imencode(".jpg", blue_first, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR_RGB), np.uint8)


def through_fewer_pixels(chip: NDArray[np.uint8], rows: int, cols: int) -> NDArray[np.uint8]:
    """Bring a chip, (rows, cols, 3), to fewer pixels and back to its own, as scenes of larger pixels are read."""
    small = cv2.resize(chip, (cols, rows), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, chip.shape[1::-1], interpolation=cv2.INTER_LINEAR), np.uint8)
