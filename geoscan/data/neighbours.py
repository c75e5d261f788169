"""Which chips show one place: their borders match, or all of their pixels."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from geoscan.arrays import Visual
from geoscan.data.deal import Groups, renumber

# Calibrated on 2,319 real chips, 5.4 million pairs each way: 69 pairs pass, the 36 least correlated of them were looked
# at, stitched together, and every one is continuous; with one border reversed, which leaves only chance, none passes.
_CORRELATION = 0.6
"""Least correlation of the detail of two borders."""
_BIAS = 2.5
"""Largest difference between the means of two borders in any channel, in levels of 255."""
_ROUGHNESS = 4.0
"""Largest change across the seam, as a multiple of the change between a border and the line inside it."""
_DETAIL = 1.0
"""Least root mean square of a border's detail, in levels. Smoother borders, such as those of cloud, match by chance."""
_PAIR = 2
_WAVELENGTH = 32
_BLOCK = 512
_CANDIDATES = 8192


@dataclass(frozen=True, slots=True)
class _Border:
    """One side of every chip."""

    pixels: NDArray[np.uint8]
    """(n, length, 3)"""
    step: NDArray[np.float32]
    """(n,) mean absolute difference to the next line inside the chip."""


def neighbour_groups(chips: Iterable[Visual | None]) -> Groups:
    """Group chips that adjoin: right border on left border, or bottom on top, directly or through others.

    chips: (3, side, side) uint8, all of one size; None is a chip that could not be read, a group of its own.
    Identical chips are one group too. Only the borders are kept in memory, 3 KB a chip of 256 px.
    Returns (n,) group ids. The search compares all pairs: 40,000 chips take a minute or two.
    """
    sides: list[NDArray[np.uint8]] = []
    steps: list[NDArray[np.float32]] = []
    where: list[int] = []
    first: dict[bytes, int] = {}
    pairs: list[tuple[int, int]] = []
    count = 0
    for count, chip in enumerate(chips, start=1):
        if chip is None:
            continue
        twin = first.setdefault(hashlib.sha256(chip.tobytes()).digest(), count - 1)
        if twin != count - 1:
            pairs.append((twin, count - 1))
            continue
        where.append(count - 1)
        side, step = _sides(chip)
        sides.append(side)
        steps.append(step)
    if sides:
        right, left, bottom, top = (
            _Border(pixels, step) for pixels, step in zip(np.stack(sides, axis=1), np.stack(steps, axis=1), strict=True)
        )
        pairs += [(where[i], where[j]) for i, j in (*_adjoining(right, left), *_adjoining(bottom, top))]
    return join(count, pairs)


def identical(chips: Iterable[Visual | None]) -> list[tuple[int, int]]:
    """Pair each chip that has the pixels of an earlier one with the first of these: (first, other), positions.

    None, a chip that could not be read, has no pair; neither has a chip of one colour all over, which shows no place.
    """
    first: dict[bytes, int] = {}
    pairs = []
    for i, chip in enumerate(chips):
        if chip is None or (chip == chip[:, :1, :1]).all():
            continue
        if (twin := first.setdefault(hashlib.sha256(chip.tobytes()).digest(), i)) != i:
            pairs.append((twin, i))
    return pairs


def join(count: int, pairs: Sequence[tuple[int, int]]) -> Groups:
    """Group `count` chips so that the two of every pair are in one group."""
    one, other = np.array(pairs, np.int64).reshape(-1, 2).T
    graph = coo_array((np.ones(len(one), np.int8), (one, other)), shape=(count, count))
    _, labels = connected_components(graph, directed=False)
    return renumber(labels)


def _sides(chip: Visual) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Right, left, bottom and top border, (4, side, 3), and how much the image changes to the line inside each."""
    planes = chip.transpose(1, 2, 0)
    lines = [
        (planes[:, -1], planes[:, -2]),
        (planes[:, 0], planes[:, 1]),
        (planes[-1], planes[-2]),
        (planes[0], planes[1]),
    ]
    borders = np.stack([outer for outer, _ in lines])
    inner = np.stack([line for _, line in lines])
    return borders, np.abs(borders.astype(np.float32) - inner).mean((1, 2))


def _adjoining(one: _Border, other: _Border) -> Iterator[tuple[int, int]]:
    """Pairs (i, j), i != j, where border `one` of chip i continues as border `other` of chip j."""
    left, right = _detail(one.pixels), _detail(other.pixels)
    for start in range(0, len(left), _BLOCK):
        near, far = np.nonzero(left[start : start + _BLOCK] @ right.T >= _CORRELATION)
        for part in range(0, len(near), _CANDIDATES):
            i, j = near[part : part + _CANDIDATES] + start, far[part : part + _CANDIDATES]
            change = one.pixels[i].astype(np.float32) - other.pixels[j]
            smooth = np.abs(change).mean((1, 2)) <= _ROUGHNESS * np.maximum(one.step[i], other.step[j])
            unbiased = np.abs(change.mean(1)).max(1) <= _BIAS
            found = smooth & unbiased & (i != j)
            yield from zip(i[found].tolist(), j[found].tolist(), strict=True)


def _detail(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Take the fine structure along each border as a unit vector, zero where there is too little to compare.

    The dot product of two is their correlation. Long waves are removed, or any two clouds would match.
    """
    count, length, _ = pixels.shape
    usable = length - length % _PAIR
    fine = pixels[:, :usable].reshape(count, -1, _PAIR, 3).astype(np.float32).mean(2)
    fine -= uniform_filter1d(fine, _WAVELENGTH // _PAIR, axis=1, mode="nearest")
    fine = fine.reshape(count, -1)
    size = np.linalg.norm(fine, axis=1, keepdims=True)
    enough = size >= _DETAIL * np.sqrt(fine.shape[1])
    unit: NDArray[np.float32] = np.where(enough, fine / np.maximum(size, 1e-6), 0).astype(np.float32)
    return unit
