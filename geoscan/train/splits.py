"""Splits that do not leak: chips of one place stay together, and every fold gets its share of every label."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from geoscan.arrays import Visual
from geoscan.errors import DatasetError

Groups: TypeAlias = NDArray[np.int64]
"""(n,) group of each chip, numbered from 0 in the order of their first chips."""

# Calibrated on 2,319 real chips, 5.4 million pairs each way: 69 pairs pass, the 36 least correlated of them were looked
# at, stitched together, and every one is continuous; with one border reversed, which leaves only chance, none passes.
_CORRELATION = 0.6
"""Least correlation of the detail of two borders."""
_BIAS = 2.5
"""Largest difference between the means of two borders in any channel, in levels of 255."""
_ROUGHNESS = 4.0
"""The image may change so many times more across the seam than between a border and the line before it."""
_DETAIL = 1.0
"""Least root mean square of a border's detail in levels; smoother ones, such as open cloud, match by chance."""

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


def join(count: int, pairs: Sequence[tuple[int, int]]) -> Groups:
    """Group `count` chips so that the two of every pair are in one group."""
    one, other = np.array(pairs, np.int64).reshape(-1, 2).T
    graph = coo_array((np.ones(len(one), np.int8), (one, other)), shape=(count, count))
    _, labels = connected_components(graph, directed=False)
    return renumber(labels)


def renumber(labels: Sequence[object] | NDArray[np.generic]) -> Groups:
    """Turn any names of groups into ids from 0, in the order of first appearance."""
    _, first, group = np.unique(np.asarray(labels), return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[group.reshape(-1)]


def stratified_group_split(
    targets: NDArray[np.floating], groups: NDArray[np.integer], folds: int | Sequence[float], seed: int
) -> NDArray[np.int64]:
    """Deal whole groups to folds so that each fold gets its share of each label.

    targets: (n, labels), 1 = holds, 0 = does not, NaN = unknown and counted nowhere.
    groups: (n,) ids; no group is ever cut. folds: a number of equal folds, or the share of each, such as (0.8, 0.2).
    Returns (n,) fold ids, 0-based, the same for the same arguments. A label that occurs in as many groups as there are
    folds is brought into every fold, unless that would take another such label out of one.

    Iterative stratification (Sechidis, Tsoumakas, Vlahavas 2011, algorithm 1), with groups in place of examples:
    the rarest label first, its largest group first, to the fold that still wants most of it.
    Raises DatasetError when there are fewer groups than folds.
    """
    shares = np.full(folds, 1 / folds) if isinstance(folds, int) else np.asarray(folds, float) / np.sum(folds)
    names, group = np.unique(groups, return_inverse=True)
    if len(shares) < 1 or (shares <= 0).any():
        raise ValueError(f"folds {folds} do not fit: a number from 1, or positive shares")
    if len(names) < len(shares):
        raise DatasetError(
            f"{len(names)} groups of chips cannot fill {len(shares)} folds; use fewer folds or more places"
        )
    counts = np.zeros((len(names), targets.shape[1] + 1))
    np.add.at(counts, group, np.column_stack([np.nan_to_num(targets), np.ones(len(group))]))
    fold = _deal(counts, shares, np.random.default_rng(seed))
    _repair(counts > 0, fold, len(shares))
    dealt: NDArray[np.int64] = fold[group]
    return dealt


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

    The dot product of two is their correlation. Without the long waves, or any two clouds would match.
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


def _deal(counts: NDArray[np.float64], shares: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Fold of each group; counts is (groups, labels + 1), the last column holds the number of chips."""
    fold = np.full(len(counts), -1)
    wanted = shares[:, None] * counts.sum(0)
    held = np.zeros_like(wanted)
    order = rng.permutation(len(counts))
    while (left := order[fold[order] < 0]).size:
        remaining = (counts[left, :-1] > 0).sum(0)
        label = int(np.where(remaining > 0, remaining, np.inf).argmin()) if remaining.any() else -1
        mine = left[counts[left, label] > 0]
        for position, g in enumerate(mine[np.argsort(-counts[mine, label], kind="stable")]):
            rank = np.lexsort((rng.random(len(shares)), wanted[:, -1], wanted[:, label]))
            empty = held[rank, label] == 0
            if empty.sum() == len(mine) - position:  # no group to spare: each must reach a fold without the label
                rank = rank[empty]
            fold[g] = rank[-1]
            wanted[fold[g]] -= counts[g]
            held[fold[g]] += counts[g]
    return fold


def _repair(has: NDArray[np.bool_], fold: NDArray[np.int64], folds: int) -> None:
    """Move single groups, in place, into folds that miss a label which occurs in enough groups for all folds.

    has: (groups, labels + 1). A move never takes the last group of such a label out of a fold.
    """
    enough = has.sum(0) >= folds
    held = np.stack([has[fold == f].sum(0) for f in range(folds)])
    for f, label in np.argwhere((held == 0) & enough):
        if held[f, label]:
            continue
        needed = has & enough
        free = has[:, label] & ~(needed & (held[fold] <= 1)).any(1)
        if free.any():
            candidates = free.nonzero()[0]
            g = candidates[np.lexsort((has[candidates].sum(1), -held[fold[candidates], label]))[0]]
            held[fold[g]] -= has[g]
            held[f] += has[g]
            fold[g] = f
