"""Chips that are made of others: mosaics of a coarser sensor, and mixtures and crops for teachers to label."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from geoscan.arrays import Visual
from geoscan.data.cache import AnyChips
from geoscan.data.chips import ChipSet
from geoscan.data.material import SMALL
from geoscan.errors import DatasetError
from geoscan.labels import LABELS, MINE_COLUMN
from geoscan.train.augment import Augmentation
from geoscan.train.batches import Example

_STRONG = Augmentation(zoom=1.5, gain=1.4, haze=0.5)
_SIDE = 2
"""Small chips along one side of a mosaic."""
_COVER = _SIDE * SMALL
"""Pixels of 10 m along one side of a mosaic: larger pictures are cut to their middle."""


class Mosaics:
    """Chips made of 2 x 2 small ones of a coarser sensor, with the size and the colours of the model's own chips.

    source: chips of one size, as `material.of_one_size` picks them out.
    mine: (n,), 0 where a small chip shows no mine, and more, up to 1, where it does: half of the mosaics then hold one
    or two mines, the likelier of which is their target, the others none, and their other labels are unknown. Without it
    all labels of a mosaic are unknown.
    chip: side of the model's own, in pixels.
    colours: mean and standard deviation of red, green and blue, 0..255, that the mosaics are brought to.
    Raises DatasetError when there are no mines, or nothing else, and for pictures that are too small.
    """

    def __init__(
        self,
        source: ChipSet,
        chip: int,
        colours: tuple[tuple[float, float, float], tuple[float, float, float]],
        mine: NDArray[np.floating] | None = None,
    ) -> None:
        n = len(source.names)
        _, rows, cols = source.read(0).shape
        if min(rows, cols) < SMALL:
            raise DatasetError(
                f"pictures of {cols} x {rows} px are too small for mosaics, which show as much ground as Kaggle's "
                f"chips; give such of {SMALL} x {SMALL} px at 10 m, or larger ones"
            )
        self._mine = mine
        self._mines, self._others = np.empty(0, np.intp), np.arange(n)
        if mine is not None:
            self._mines, self._others = np.flatnonzero(mine > 0), np.flatnonzero(mine == 0)
            if not len(self._mines) or not len(self._others):
                raise DatasetError(
                    f"{len(self._mines)} mines and {len(self._others)} other chips are on one side of the split; "
                    "mosaics need both, so give more sampling campaigns"
                )
        self._source, self._chip, self._colours = source, chip, colours
        sample = np.random.default_rng(0).permutation(n)[:300]
        pixels = np.concatenate([source.read(int(i)).reshape(3, -1) for i in sample], axis=1)
        self._mean, self._std = pixels.mean(axis=1), pixels.std(axis=1)

    def draw(self, rng: np.random.Generator) -> Example:
        """Return a mosaic, of which at most one label is known: whether it holds a mine."""
        cells = _SIDE * _SIDE
        mines = int(rng.integers(1, 3)) if len(self._mines) and rng.random() < 0.5 else 0
        chosen = np.concatenate([rng.choice(self._mines, mines), rng.choice(self._others, cells - mines)])
        rng.shuffle(chosen)
        parts = [self._source.read(int(i)) for i in chosen]
        rows = [np.concatenate(parts[r * _SIDE : (r + 1) * _SIDE], axis=2) for r in range(_SIDE)]
        joined = np.concatenate(rows, axis=1)
        top, left = ((side - _COVER) // 2 for side in joined.shape[1:])
        targets = np.full(len(LABELS), np.nan, np.float32)
        if self._mine is not None:
            targets[MINE_COLUMN] = self._mine[chosen].max()
        return self._matched(joined[:, top : top + _COVER, left : left + _COVER]), targets

    def _matched(self, pixels: Visual) -> NDArray[np.uint8]:
        """Bring pixels to the model's colours, and to a chip, (chip, chip, 3)."""
        mean, std = np.array(self._colours)
        scale = (std / self._std)[:, None, None]
        matched = (pixels - self._mean[:, None, None]) * scale + mean[:, None, None]
        side = self._chip
        large = cv2.resize(matched.transpose(1, 2, 0).astype(np.float32), (side, side), interpolation=cv2.INTER_CUBIC)
        chip: NDArray[np.uint8] = np.rint(np.clip(large, 0, 255)).astype(np.uint8)
        return chip


class MixedChips:
    """Unlabelled chips made from training chips: strongly augmented, four joined (CutMix), or two blended (mixup).

    Teachers label them: a student that must agree with its teachers on these learns more than from the training chips
    alone (Beyer et al. 2022, section 3).
    """

    def __init__(self, chips: AnyChips, indexes: NDArray[np.integer]) -> None:
        self._chips, self._indexes = chips, indexes

    def draw(self, rng: np.random.Generator) -> Example:
        """Return a chip, all of whose labels are unknown."""
        chip, kind = self._one(rng), rng.random()
        if kind < 0.35:
            quarter = len(chip) // 4
            row, col = rng.integers(quarter, 3 * quarter + 1, 2)
            chip = chip.copy()
            top, bottom, left, right = slice(row), slice(row, None), slice(col), slice(col, None)
            for part in ((top, right), (bottom, left), (bottom, right)):
                chip[part] = self._one(rng)[part]
        elif kind < 0.55:
            weight = rng.uniform(0.2, 0.8)
            chip = np.rint(chip * weight + self._one(rng) * (1 - weight)).astype(np.uint8)
        return chip, np.full(len(LABELS), np.nan, np.float32)

    def _one(self, rng: np.random.Generator) -> NDArray[np.uint8]:
        return _STRONG(np.asarray(self._chips[int(rng.choice(self._indexes))]), rng)


class Crops:
    """Unlabelled chips of the model's own size and resolution, cut at random out of larger pictures.

    Teachers label them: landscapes that no campaign has, whose scores no teacher has learned by heart.
    Raises DatasetError for pictures that are smaller than a chip.
    """

    def __init__(self, source: ChipSet, chip: int) -> None:
        _, rows, cols = source.read(0).shape
        if min(rows, cols) < chip:
            raise DatasetError(f"unlabelled pictures of {cols} x {rows} px are smaller than a chip of {chip} px")
        self._source, self._chip = source, chip

    def draw(self, rng: np.random.Generator) -> Example:
        """Return a chip, all of whose labels are unknown."""
        pixels = self._source.read(int(rng.integers(len(self._source.names))))
        row, col = (int(rng.integers(side - self._chip + 1)) for side in pixels.shape[1:])
        cut = pixels[:, row : row + self._chip, col : col + self._chip]
        return np.ascontiguousarray(cut.transpose(1, 2, 0)), np.full(len(LABELS), np.nan, np.float32)
