"""Operating points: at which scores a chip is flagged, what that finds, and how often it is wrong."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from geoscan.arrays import Scores
from geoscan.evaluate.lookalikes import BLIND, kind, share_interval
from geoscan.evaluate.metrics import threshold_at_specificity
from geoscan.model.figures import (
    BALANCED,
    SENSITIVE,
    STRICT,
    DetectionFigures,
    FalseAlarms,
    FlaggedFigures,
)
from geoscan.polygons import Hysteresis


def balanced(others: NDArray[np.floating], tuned: float) -> Hysteresis:
    """Thresholds of the default operating point.

    others: (n,), mine scores of chips without a mine that training did not see. tuned: the label's own threshold.
    A chip alone must score more than 99 % of the chips without a mine. Neighbours confirm each other: one of them needs
    no more than what lies halfway between that and the label's own threshold, in log odds, and the others half of it.
    The label's own is too low to begin a polygon: it was tuned where mines are many, and on the ground they are few.
    """
    isolated = max(float(np.quantile(others, BALANCED)) if len(others) else tuned, tuned)
    high = float(expit((logit(isolated) + logit(tuned)) / 2))
    return Hysteresis(high=round(high, 3), low=round(high / 2, 3), isolated=round(isolated, 3))


def sensitive(targets: NDArray[np.floating], scores: Scores, default: Hysteresis) -> Hysteresis:
    """Thresholds at which 90 % of the mines are found, each chip by itself; none is above those of the default point.

    targets, scores: (n,), of chips that training did not see; 1 = mine, 0 = other, NaN left out.
    The highest score that 90 % of the mines reach flags a chip, whether it has neighbours or not; neighbours join at
    half of it.
    """
    mines = np.sort(scores[targets == 1])[::-1]
    reached = float(mines[math.ceil(SENSITIVE * len(mines)) - 1]) if len(mines) else default.high
    high = min(reached, default.high)
    return Hysteresis(high=high, low=min(high / 2, default.low), isolated=high)


def strict(targets: NDArray[np.floating], scores: Scores, default: Hysteresis) -> Hysteresis:
    """Thresholds at which 99.4 % of the chips without a mine are turned down; none is below those of the default point.

    targets, scores: as for `sensitive`. The lowest score with that specificity flags a chip, whether it has neighbours
    or not; neighbours join at half of it.
    """
    reached = threshold_at_specificity(targets, scores, STRICT)
    high = float(np.clip(np.nan_to_num(reached), default.isolated, 1))
    return Hysteresis(high=high, low=max(high / 2, default.low), isolated=high)


def detection_figures(
    points: Mapping[str, Hysteresis],
    targets: NDArray[np.floating],
    scores: Scores,
    km2: NDArray[np.floating],
    campaigns: Sequence[str] | None = None,
) -> dict[str, DetectionFigures]:
    """Measure operating points, by their names, on chips that training did not see.

    targets, scores: (n,), 1 = mine, 0 = other, NaN left out. km2: (n,), ground that each chip shows.
    campaigns: (n,), where each chip comes from; None where nobody tells.
    """
    blind = None if campaigns is None else np.array([kind(campaign) == BLIND for campaign in campaigns], bool)

    def flagged(threshold: float) -> FlaggedFigures:
        mines, called = targets == 1, scores >= threshold
        n, hits = int(mines.sum()), int((mines & called).sum())
        others = targets == 0
        drawn = None if blind is None else others & blind
        return FlaggedFigures(
            threshold=threshold,
            found=hits / n if n else None,
            found_interval=share_interval(hits, n),
            false_alarms=_false_alarms(called[others], km2[others]),
            false_alarms_blind=None if drawn is None or not drawn.any() else _false_alarms(called[drawn], km2[drawn]),
        )

    n = int((targets == 1).sum())
    return {name: DetectionFigures(n, flagged(one.isolated), flagged(one.high)) for name, one in points.items()}


def _false_alarms(called: NDArray[np.bool_], km2: NDArray[np.floating]) -> FalseAlarms:
    """called: (n,), whether each chip without a mine is flagged. km2: (n,)."""
    n, hits, ground = len(called), int(called.sum()), float(km2.sum())
    shares = share_interval(hits, n)
    dense = 1000 * n / ground if n else 0.0
    return FalseAlarms(
        n=n,
        km2=ground,
        flagged=hits,
        per_1000_km2=1000 * hits / ground if hits else None,
        interval=None if shares is None else (dense * shares[0], dense * shares[1]),
    )
