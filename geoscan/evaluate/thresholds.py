"""From scores to labels: a threshold for each label, tuned for Kaggle's sample-averaged F2."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from geoscan.evaluate.metrics import f2_interval, f2_samples
from geoscan.labels import LABELS
from geoscan.model.figures import Interval

START = 0.2
"""Under F2 a miss costs four times as much as a false alarm: from about this score on, a label is best called."""
FLOOR, CEILING = 0.02, 0.9
"""Thresholds are kept in this range, whatever a few chips suggest."""
SHRINKAGE = 20.0
"""Positives at which a label's own threshold and the common one weigh the same."""

_PASSES = 20


@dataclass(frozen=True, slots=True)
class CrossTuned:
    """Sample-averaged F2 of chips whose thresholds were tuned on other chips."""

    f2: float
    """With a threshold for each label."""
    f2_interval: Interval | None
    f2_common: float
    """With the best common threshold of the other chips."""
    f2_start: float
    """With 0.2 everywhere, which needs no tuning."""


def tune_f2(
    targets: NDArray[np.floating],
    scores: NDArray[np.floating],
    labels: Sequence[str] = LABELS,
    shrinkage: float = SHRINKAGE,
) -> dict[str, float]:
    """Threshold of each label; a label is predicted where its score is at least that.

    targets: (n, labels) 1, 0 or NaN for unknown; scores: (n, labels) 0..1.
    Coordinate ascent from 0.2, the label with most positives first: each step takes the best threshold of one label
    given all others, halfway between two scores. Then each threshold is shrunk towards the best common one, in log
    odds, which weighs as much as `shrinkage` positives: a label without positives has the common threshold.
    Deterministic. Every threshold lies in 0.02..0.9.
    """
    true, known = targets == 1, ~np.isnan(targets)
    common = best_common(targets, scores)
    thresholds = _ascend(true, known, scores.astype(np.float64))
    positives = true.sum(0)
    own = positives / np.maximum(positives + shrinkage, 1e-9)
    shrunk = expit(own * logit(thresholds) + (1 - own) * logit(common))
    return {label: float(value) for label, value in zip(labels, shrunk, strict=True)}


def tune_label(targets: NDArray[np.floating], scores: NDArray[np.floating]) -> float:
    """Threshold of one label by itself: the one with the best F2 of that label over all chips.

    targets: (n,) 1, 0 or NaN for unknown; scores: (n,) 0..1. For a model that knows one label, where the average over
    chips says nothing: a chip that rightly has no label would count as a failure. In 0.02..0.9; 0.2 without positives.
    """
    known = ~np.isnan(targets)
    true, said = targets[known] == 1, scores[known].astype(np.float64)
    if not true.any():
        return START
    order = np.argsort(-said, kind="stable")
    ranked, hits = said[order], np.append(0, np.cumsum(true[order]))
    between = (ranked + np.append(ranked[1:], ranked[-1])) / 2
    candidates = np.clip(between, FLOOR, CEILING)
    called = np.searchsorted(-ranked, -candidates, side="right")
    f2 = 5 * hits[called] / (4 * true.sum() + called)
    # Several may call the same chips; that after the last of these lies halfway to the next score, or at an end.
    return float(candidates[called[f2.argmax()] - 1])


def best_common(targets: NDArray[np.floating], scores: NDArray[np.floating]) -> float:
    """Find the one threshold for all labels with the best F2, in steps of 0.01; the one nearest to 0.2 among equals.

    targets, scores: (n, labels), as for `tune_f2`. 0.2 where no label of any chip is known.
    """
    steps = np.round(np.arange(FLOOR, CEILING + 0.005, 0.01), 2)
    quality = [f2_samples(targets, scores >= step) for step in steps]
    if not np.isfinite(quality).any():
        return START
    return float(min(zip(quality, steps, strict=True), key=lambda pair: (-pair[0], abs(pair[1] - START)))[1])


def predict(
    scores: NDArray[np.floating], thresholds: dict[str, float], labels: Sequence[str] = LABELS
) -> NDArray[np.bool_]:
    """(n, labels), True where the score is at least the threshold of its label."""
    predicted: NDArray[np.bool_] = scores >= np.array([thresholds[label] for label in labels])
    return predicted


def cross_tuned_f2(
    targets: NDArray[np.floating], scores: NDArray[np.floating], folds: NDArray[np.integer]
) -> CrossTuned:
    """Estimate F2 on chips that no threshold was tuned on: each fold gets thresholds from all other folds.

    targets, scores: (n, 17), columns as in `LABELS`. folds: (n,) ids; chips of one place must share one.
    Raises ValueError when there are fewer than two folds.
    """
    if len(np.unique(folds)) < 2:
        raise ValueError("one fold leaves nothing to tune on; pass at least two")
    tuned = np.zeros(scores.shape, bool)
    common = np.zeros(scores.shape, bool)
    for fold in np.unique(folds):
        here, rest = folds == fold, folds != fold
        tuned[here] = predict(scores[here], tune_f2(targets[rest], scores[rest]))
        common[here] = scores[here] >= best_common(targets[rest], scores[rest])
    f2, f2_common, f2_start = (f2_samples(targets, predicted) for predicted in (tuned, common, scores >= START))
    return CrossTuned(f2, f2_interval(targets, tuned), f2_common, f2_start)


def _ascend(true: NDArray[np.bool_], known: NDArray[np.bool_], scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Thresholds from which no change of a single one improves the F2 of these chips."""
    thresholds = np.full(true.shape[1], START)
    predicted = (scores >= START) & known
    order = np.argsort(-true.sum(0), kind="stable")
    for _ in range(_PASSES):
        before = thresholds.copy()
        for label in order:
            predicted[:, label] = False
            gain = _gain(true, predicted, label)
            rows = known[:, label]
            thresholds[label] = _best(scores[rows, label], gain[rows], thresholds[label])
            predicted[rows, label] = scores[rows, label] >= thresholds[label]
        if (thresholds == before).all():
            break
    return thresholds


def _gain(true: NDArray[np.bool_], predicted: NDArray[np.bool_], label: int) -> NDArray[np.float64]:
    """Compute what predicting the label adds to each chip's F2, given the other predictions."""
    hits, size = (true & predicted).sum(1), 4 * true.sum(1) + predicted.sum(1)
    gained: NDArray[np.float64] = 5 * (hits + true[:, label]) / (size + 1) - 5 * hits / np.maximum(size, 1)
    return gained


def _best(scores: NDArray[np.float64], gain: NDArray[np.float64], current: float) -> float:
    """Threshold in FLOOR..CEILING that predicts the chips with the largest total gain; the current one among equals."""
    inside = np.unique(np.clip(scores, FLOOR, CEILING))
    candidates = np.concatenate([[current, FLOOR, CEILING], (inside[1:] + inside[:-1]) / 2])
    order = np.argsort(-scores, kind="stable")
    total = np.concatenate([[0.0], np.cumsum(gain[order])])
    quality = total[np.searchsorted(-scores[order], -candidates, side="right")]
    best = quality >= quality.max() - 1e-12
    if best[0]:
        return current
    among = candidates[best]
    return float(among[np.argmin(np.abs(among - current))])
