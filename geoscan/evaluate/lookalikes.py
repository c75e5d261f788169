"""What a model makes of places that look like mines: sandbars, fish ponds, landslides, industry, remnants of cloud."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from geoscan.evaluate.metrics import Interval

KINDS = {
    "riverbank": ("riverbank", "sandbar"),
    "fish_pond": ("aquaculture", "pond"),
    "landslide": ("landslide",),
    "industry": ("industr",),
    "cloud_remnant": ("cloud_remnant",),
    "random": ("random",),
}
"""Kinds of look-alike, and the words in a sampling campaign's name that tell them; `random` is places drawn blindly."""

REST = "other_negatives"
"""Chips without a mine from all other campaigns."""


def kind(campaign: str) -> str:
    """Name the kind of look-alike that a sampling campaign collected."""
    name = campaign.lower()
    return next((kind for kind, words in KINDS.items() if any(word in name for word in words)), REST)


def lookalikes(
    campaigns: Sequence[str], targets: NDArray[np.floating], scores: NDArray[np.floating], threshold: float
) -> dict[str, dict[str, Any]]:
    """Share of the chips without a mine that are called mine, for each kind of look-alike that occurs.

    campaigns: n names. targets: (n,) of the mine label, 1 = mine, 0 = other; only others count.
    scores: (n,); a chip is called mine where its score is at least the threshold.
    Returns {kind: {n, called_mine, called_mine_interval}}, kinds in the order of `KINDS`.
    """
    kinds = np.array([kind(campaign) for campaign in campaigns])
    found = {}
    for name in (*KINDS, REST):
        rows = (kinds == name) & (targets == 0)
        if n := int(rows.sum()):
            called = int((scores[rows] >= threshold).sum())
            found[name] = {"n": n, "called_mine": called / n, "called_mine_interval": share_interval(called, n)}
    return found


def share_interval(hits: int, n: int) -> Interval:
    """95 % interval of a share (Wilson 1927), which stays wide where none of a few chips was hit. NaN without chips.

    It takes the chips for independent: two composites of one place make it too narrow.
    """
    if n == 0:
        return float("nan"), float("nan")
    interval = binomtest(hits, n).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def threshold_at_specificity(targets: NDArray[np.floating], scores: NDArray[np.floating], specificity: float) -> float:
    """Lowest threshold at which at least this fraction of the others scores below it; NaN without others.

    targets: (n,) 1 = mine, 0 = other, NaN left out. It is a score of the set, or lies just above its highest.
    """
    others = np.sort(scores[targets == 0])[::-1]
    if not len(others):
        return float("nan")
    allowed = int((1 - specificity) * len(others) + 1e-9)
    if allowed >= len(others):
        return float(scores.min())
    refused = others[allowed]
    above = scores[scores > refused]
    return float(above.min() if len(above) else np.nextafter(refused, np.inf, dtype=scores.dtype))
