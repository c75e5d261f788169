"""Assign chips to folds: chips of one place stay together, and every fold gets its share of every label."""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from geoscan.errors import DatasetError

Groups: TypeAlias = NDArray[np.int64]
"""(n,) group of each chip, numbered from 0 in the order of their first chips."""


def renumber(labels: Sequence[object] | NDArray[np.generic]) -> Groups:
    """Turn any names of groups into ids from 0, in the order of first appearance."""
    groups: Groups = pd.factorize(np.asarray(labels))[0].astype(np.int64)
    return groups


def stratified_group_split(
    targets: NDArray[np.floating], groups: NDArray[np.integer], folds: int | Sequence[float], seed: int
) -> NDArray[np.int64]:
    """Assign whole groups to folds so that each fold gets its share of each label.

    targets: (n, labels), 1 = holds, 0 = does not, NaN = unknown and counted nowhere.
    groups: (n,) ids; no group is ever cut. folds: a number of equal folds, or the share of each, such as (0.8, 0.2).
    Returns (n,) fold ids, 0-based, the same for the same arguments. A label that occurs in as many groups as there are
    folds is brought into every fold, unless that would take another such label out of one.

    Iterative stratification (Sechidis, Tsoumakas, Vlahavas 2011, algorithm 1), with groups in place of examples:
    the rarest label first, its largest group first, to the fold that still needs most of it.
    Raises DatasetError when there are fewer groups than folds, ValueError for shares that are not above 0.
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
    fold = _assign(counts, shares, np.random.default_rng(seed))
    _repair(counts > 0, fold, len(shares))
    folds_of_chips: NDArray[np.int64] = fold[group]
    return folds_of_chips


def _assign(counts: NDArray[np.float64], shares: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int64]:
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
