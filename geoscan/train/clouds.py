"""Remnants of clouds, as masks and composites of several dates leave them over: thin, ragged, partly cut out."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_Map = NDArray[np.float32]
"""(rows, cols), 0..1"""

_OCTAVES = ((3, 1.0), (6, 0.6), (12, 0.4), (24, 0.25))
"""Cells along a side, and weight: the raggedness of a cloud is noise of several sizes."""

_RAGGED = 0.8
_MOST_OPAQUE = 0.64
_THINNEST = 0.04
_WHITE = (170, 255)
_RARE = 0.3
"""Share of the clouds with a shadow beside them, and of those whose bands lie apart: a cloud moves, or is seen from
another place, while the bands are recorded one after the other."""
_SHADOW = (3, 12)
"""Pixels, down and across, between a cloud and its shadow."""
_APART = 1.5
"""Pixels between two bands."""
_MASKED, _EMPTY = 0.35, 0.12
"""Share of the clouds whose middle is cut out and filled from a clear date, and of those where it is black."""
_CELLS = (1, 2, 3, 6)
"""Pixels of a mask's cell."""
_LARGEST_HOLE = 0.02
"""Share of the chip; more black would be its dark level."""


def clouded(chip: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Lay the remnants of one to three clouds over a chip, (rows, cols, 3) -> the same shape.

    What the chip shows can still be seen, or guessed from its surroundings: each cloud is at most 64 % opaque, and thin
    ones are the most frequent. It is mixed with the ground by the scattering model, I = J t + A (1 - t), with a
    transmission that changes from pixel to pixel.
    """
    thick = _thickness(chip.shape[0], chip.shape[1], rng)
    ground = chip.astype(np.float32)
    if rng.random() < _RARE:
        away = rng.integers(*_SHADOW, 2) * rng.choice([-1, 1], 2)
        ground *= (1 - rng.uniform(0.1, 0.6) * _moved(thick, away))[..., None]
    opaque = _THINNEST + (_MOST_OPAQUE - _THINNEST) * rng.random() ** 1.5
    apart = rng.uniform(-_APART, _APART, 2) if rng.random() < _RARE else np.zeros(2)
    veil = opaque * np.stack([_moved(thick, apart * place) for place in (1, 0, -1)], axis=-1)
    light = rng.uniform(*_WHITE) + rng.uniform(-12, 12, 3)
    made = np.asarray(np.rint((ground * (1 - veil) + light * veil).clip(0, 255)), np.uint8)
    chance = rng.random()
    if chance < _MASKED:
        hole = _coarse(thick, int(rng.choice(_CELLS))) > rng.uniform(0.5, 0.95)
        empty = chance < _EMPTY and hole.mean() < _LARGEST_HOLE
        made[hole] = 0 if empty else chip[hole]
    return made


def _thickness(rows: int, cols: int, rng: np.random.Generator) -> _Map:
    """Where the clouds are: ellipses that fade out, roughened."""
    y, x = np.mgrid[:rows, :cols].astype(np.float32)
    inside = np.zeros((rows, cols), np.float32)
    for _ in range(rng.integers(1, 4)):
        down, across = y - rng.uniform(0, rows), x - rng.uniform(0, cols)
        length, slim, turn = rng.uniform(0.06, 0.3) * rows, rng.uniform(0.4, 1), rng.uniform(0, np.pi)
        along = across * np.cos(turn) + down * np.sin(turn)
        beside = (down * np.cos(turn) - across * np.sin(turn)) / slim
        inside = np.maximum(inside, np.exp(-(along**2 + beside**2) / (2 * length**2)))
    rough = np.zeros_like(inside)
    for cells, weight in _OCTAVES:
        noise = rng.normal(size=(cells, cells)).astype(np.float32)
        rough += weight * cv2.resize(noise, (cols, rows), interpolation=cv2.INTER_CUBIC)
    thick: _Map = (inside * (1 + _RAGGED * rough)).clip(0, 1)
    return thick


def _moved(thick: _Map, away: NDArray[np.floating | np.integer]) -> _Map:
    """Move a map by some pixels, down and across."""
    if not away.any():
        return thick
    matrix = np.array([[1, 0, away[1]], [0, 1, away[0]]], np.float32)
    return np.asarray(cv2.warpAffine(thick, matrix, thick.shape[::-1], flags=cv2.INTER_LINEAR), np.float32)


def _coarse(thick: _Map, cell: int) -> _Map:
    """Average a map over squares of so many pixels, as masks of larger pixels do."""
    rows, cols = thick.shape
    small = cv2.resize(thick, (max(1, cols // cell), max(1, rows // cell)), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (cols, rows), interpolation=cv2.INTER_NEAREST), np.float32)
