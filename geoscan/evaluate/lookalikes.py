"""What a model makes of places that look like mines: sandbars, fish ponds, landslides, industry, remnants of cloud."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from geoscan.model.figures import Interval, LookalikeFigures

BLIND = "random"
"""Places that were drawn blindly: what a model makes of them is what it makes of the ground."""

KINDS = {
    "riverbank": ("riverbank", "sandbar"),
    "fish_pond": ("aquaculture", "pond"),
    "landslide": ("landslide",),
    "industry": ("industr",),
    "cloud_remnant": ("cloud_remnant",),
    BLIND: ("random",),
}
"""Kinds of look-alike, and the words in a sampling campaign's name that tell them."""

REST = "other_negatives"
"""Chips without a mine from all other campaigns."""


def kind(campaign: str) -> str:
    """Name the kind of look-alike that a sampling campaign collected."""
    name = campaign.lower()
    return next((kind for kind, words in KINDS.items() if any(word in name for word in words)), REST)


def lookalikes(
    campaigns: Sequence[str],
    targets: NDArray[np.floating],
    scores: NDArray[np.floating],
    threshold: float,
    strict: float | None,
) -> dict[str, LookalikeFigures]:
    """Share of the chips without a mine that are called mine, for each kind of look-alike that occurs.

    campaigns: n names. targets: (n,) of the mine label, 1 = mine, 0 = other; only others count.
    scores: (n,); a chip is called mine where its score is at least the threshold. strict: a second threshold.
    Returns the figures by kind, in the order of `KINDS`.
    """
    kinds = np.array([kind(campaign) for campaign in campaigns])
    found = {}
    for name in (*KINDS, REST):
        rows = (kinds == name) & (targets == 0)
        if n := int(rows.sum()):
            strictly = (None, None) if strict is None else called(scores[rows], strict)
            found[name] = LookalikeFigures(n, *called(scores[rows], threshold), *strictly)
    return found


def called(scores: NDArray[np.floating], threshold: float) -> tuple[float, Interval | None]:
    """Share of the scores, (n,) of 1 or more, that are at least the threshold, and its interval."""
    hits = int((scores >= threshold).sum())
    return hits / len(scores), share_interval(hits, len(scores))


def share_interval(hits: int, n: int) -> Interval | None:
    """95 % interval of a share (Wilson 1927), which stays wide where none of a few chips was hit. None without chips.

    It takes the chips for independent: two composites of one place make it too narrow.
    """
    if n == 0:
        return None
    interval = binomtest(hits, n).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)
