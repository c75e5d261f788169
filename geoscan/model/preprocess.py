"""From visual pixels to the chip that a model takes: the same in training, prediction and scans."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from geoscan.arrays import Chips, Mask, Visual
from geoscan.dehazing import Dehazing, dehaze, dehaze_framed
from geoscan.errors import InputError


@dataclass(frozen=True, slots=True)
class Preprocess:
    """What a model wants done to pixels; written in its card, and nowhere else."""

    chip: int
    """Side of a chip, in pixels."""

    gsd: float
    """Ground sample distance that the model was trained at, in metres per pixel."""

    radiometry: str
    """Look that the model was trained on, by the name of its adapter; `visual` is 8-bit as is."""

    dehaze: Dehazing | None
    """How haze is removed; None leaves it."""

    def __post_init__(self) -> None:
        if self.chip < 1 or not self.gsd > 0:
            raise InputError(f"a chip of {self.chip} px at {self.gsd} m does not fit; both must be above 0")

    def __call__(self, pixels: Visual, valid: Mask | None = None) -> NDArray[np.uint8]:
        """Return the prepared chip, (chip, chip, 3): without its haze, in its frame; see `frame`."""
        if self.dehaze is not None:
            pixels = dehaze(pixels, valid, self.dehaze)
        return self.frame(pixels, valid)

    def frame(self, pixels: Visual, valid: Mask | None = None) -> NDArray[np.uint8]:
        """Return the chip with its haze, (chip, chip, 3).

        pixels: (3, rows, cols) with at most `chip` rows and columns; less is filled up by reflection.
        valid: (rows, cols); nodata takes the mean colour of the chip's valid pixels, which says nothing to the model.
        Raises InputError when the pixels are more than a chip, or not three bands.
        """
        if pixels.shape[0] != 3 or max(pixels.shape[1:]) > self.chip:
            raise InputError(f"pixels of shape {pixels.shape} do not fit; give (3, rows, cols), {self.chip} px at most")
        if valid is not None and valid.any() and not valid.all():
            mean = np.rint(pixels[:, valid].mean(axis=1)).astype(np.uint8)
            pixels = np.where(valid, pixels, mean[:, None, None])
        _, rows, cols = pixels.shape
        if (rows, cols) != (self.chip, self.chip):
            pixels = np.pad(pixels, ((0, 0), (0, self.chip - rows), (0, self.chip - cols)), mode="symmetric")
        return np.asarray(cv2.merge(list(pixels)), np.uint8)

    def clear(self, chip: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Remove the haze of a chip that is in its frame already, (chip, chip, 3), as training varies them."""
        return chip if self.dehaze is None else dehaze_framed(chip, self.dehaze)

    def cleared(self, chips: Chips) -> Chips:
        """Remove the haze of each of several chips, (n, chip, chip, 3), as `clear` does."""
        return chips if self.dehaze is None else np.stack([self.clear(chip) for chip in chips])
