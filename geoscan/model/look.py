"""What the chips that a model has learned from look like, and whether a chip looks like one of them.

A scene that is misread (a wrong scale, red and blue swapped, a radar image) still gives scores, and they look like good
news. So fourteen features describe a chip: how bright each band is and how much it varies, how the bands vary together,
how rough and how lopsided the brightness is, how near to white it is, and which band is darkest where the chip is dark.
A small network, fitted by `train.look` when a model is trained, makes of them the log odds that a chip is one the model
knows, and not one of the usual misreadings of such a chip. Its numbers are kept in the model's card.

Single chips mislead, so a scene is judged by the mean over many: tests/benchmarks/test_look_real.py prints how many
chips and scenes of each kind are told.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeAlias, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from geoscan.arrays import Chips

Floats: TypeAlias = NDArray[np.float32]

_Type = TypeVar("_Type", np.float32, np.float64)

FEATURES: Final = 14
_SIDE: Final = 64
"""Pixels along a chip's side that are looked at, or up to twice as many."""

_CELLS: Final = 12
"""The darkest part of a chip is the darkest of so many cells along each side: steadier than its darkest pixel."""

_FAR: Final = 8.0
"""Standard deviations from the usual; what is farther away is as strange."""

_WHITE: Final = 245
"""Of 255; what is not darker is white."""

_ALL_OVER: Final = 0.98
"""Share of the values of a chip that is white all over."""

_LEAST: Final = 0.1
"""Share of a chip's pixels that must be no nodata for it to be judged."""

_CERTAIN: Final = (-3.0, 6.0)
"""Log odds between which a chip has a say on its scene, so that none outweighs many: clouds and the sea look strange
in any scene."""


@dataclass(frozen=True, slots=True)
class Look:
    """The look of the chips that a model was trained on, as plain numbers."""

    centre: tuple[float, ...]
    """(14,), mean of each feature over the training chips."""

    width: tuple[float, ...]
    """(14,), standard deviation of each."""

    hidden: tuple[tuple[float, ...], ...]
    """(units, 15), weights of each hidden unit, its bias last."""

    output: tuple[float, ...]
    """(units + 1,), weights of the log odds, the bias last."""

    limit: float
    """Log odds under which a chip is not understood; one training chip in some thousand lies lower."""

    def log_odds(self, chips: Chips, seen: NDArray[np.floating]) -> Floats:
        """Log odds, (n,), that each of the prepared `chips` is one that the model knows.

        chips: (n, chip, chip, 3).
        seen: (n,), share of each chip's pixels that are no nodata, above 0 and at most 1; the others have the chip's
        mean colour, as `Preprocess` fills them. With fewer than a tenth of them there is nothing to judge by: the log
        odds are 0 or more.
        """
        odds = self.judge(features(chips, seen))
        return np.where(seen < _LEAST, np.maximum(odds, 0), odds)

    def judge(self, described: Floats) -> Floats:
        """Log odds, (n,), of chips that are described by their `features`, (n, 14)."""
        hidden, output = np.array(self.hidden, np.float32), np.array(self.output, np.float32)
        near = usual(described, np.array(self.centre, np.float32), np.array(self.width, np.float32))
        odds: Floats = np.tanh(near @ hidden[:, :-1].T + hidden[:, -1]) @ output[:-1] + output[-1]
        return odds

    def knows(self, odds: NDArray[np.floating]) -> bool:
        """Tell whether a scene is understood as a whole, by the log odds of some of its chips, (n,) with n above 0.

        Their mean is what counts, each within limits. Of a few chips it may be as low as `limit` allows, of many hardly
        under 0: single chips mislead, many do not.
        """
        return bool(self.verdict(odds) >= 0)

    def verdict(self, odds: NDArray[np.floating]) -> float:
        """By how much a scene is understood, 0 or more, or not, under 0; see `knows`."""
        return float(np.clip(odds, *_CERTAIN).mean() - self.limit / len(odds) ** 0.5)


def is_white(chips: Chips) -> NDArray[np.bool_]:
    """Tell, (n,), which chips are white all over: thick cloud, which says nothing of how a scene is read."""
    white: NDArray[np.bool_] = (chips >= _WHITE).mean(axis=(1, 2, 3)) >= _ALL_OVER
    return white


def usual(described: Floats, centre: NDArray[_Type], width: NDArray[_Type]) -> NDArray[_Type]:
    """Features, (n, 14), in standard deviations from the usual, within the limits that count."""
    near: NDArray[_Type] = np.clip((described - centre) / width, -_FAR, _FAR)
    return near


def features(chips: Chips, seen: NDArray[np.floating]) -> Floats:
    """Describe prepared chips, (n, rows, cols, 3), by `FEATURES` numbers each: (n, 14).

    seen: (n,), share of each chip's pixels that are no nodata; the others have the chip's mean colour.
    """
    planes = _smaller(chips).transpose(0, 3, 1, 2).astype(np.float32, order="C")
    n, _, rows, cols = planes.shape
    mean = planes.mean(axis=(2, 3))
    dark = np.log(_darkest(planes) + 4)
    planes -= mean[:, :, None, None]
    flat = planes.reshape(n, 3, -1)
    share = np.asarray(seen, np.float32)[:, None] * (rows * cols)
    together = np.matmul(flat, flat.transpose(0, 2, 1)) / share[:, :, None]
    spread = np.sqrt(np.diagonal(together, axis1=1, axis2=2))
    alike = [together[:, i, j] / (spread[:, i] * spread[:, j] + 1) for i, j in ((0, 1), (1, 2), (0, 2))]
    grey = planes.mean(axis=1)
    varied = np.sqrt(np.square(grey).sum(axis=(1, 2)) / share[:, 0]) + 2
    rough = np.abs(np.diff(grey, axis=1)).mean(axis=(1, 2)) + np.abs(np.diff(grey, axis=2)).mean(axis=(1, 2))
    lopsided = np.cbrt((grey * grey * grey).sum(axis=(1, 2)) / share[:, 0]) / varied
    rest = (
        np.log(rough / (varied * np.asarray(seen, np.float32)) + 0.02),
        lopsided,
        np.log(255.5 - mean.max(axis=1)),
        dark[:, 0] - dark[:, 1],
        dark[:, 2] - dark[:, 1],
    )
    described: Floats = np.column_stack([np.log(mean + 4), np.log(spread + 1), *alike, *rest])
    return described


def _smaller(chips: Chips) -> Chips:
    """Halve large chips, or divide them by more: what is left are means, so noise stays rough and ground does not."""
    step = chips.shape[1] // _SIDE
    if step < 2:
        return chips
    size = chips.shape[2] // step, chips.shape[1] // step
    return np.stack([cv2.resize(chip, size, interpolation=cv2.INTER_AREA) for chip in chips])


def _darkest(planes: Floats) -> Floats:
    """Of each band the mean of its darkest cell, (n, 3)."""
    down, across = _pool(planes.shape[2]), _pool(planes.shape[3])
    cells: Floats = np.matmul(down.T, np.matmul(planes, across))  # ten times as fast as the mean over axes of a few
    darkest: Floats = cells.min(axis=(2, 3))
    return darkest


@lru_cache
def _pool(side: int) -> Floats:
    """Matrix, (side, cells), that takes means over cells of equal size; what is left over at the end has no part."""
    size = max(1, side // _CELLS)
    count = side // size
    pool = np.zeros((side, count), np.float32)
    pool[: size * count] = np.repeat(np.eye(count, dtype=np.float32), size, axis=0) / size
    return pool
