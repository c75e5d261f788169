"""How good scores are: Kaggle's sample-averaged F2, figures per label, figures for mines against the rest."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from geoscan.labels import LABELS
from geoscan.model.figures import SPECIFICITIES, Interval, LabelFigures, MineFigures, OperatingPoint, measured

_Weights: TypeAlias = NDArray[np.float64]
_RESAMPLES_AT_ONCE = 64
_FEWEST_CAMPAIGNS = 5


def f2_samples(targets: NDArray[np.floating], predicted: NDArray[np.bool_]) -> float:
    """Kaggle's score: F2 of each chip's labels, averaged over chips.

    targets: (n, labels) 1, 0 or NaN; predicted: the same shape. Unknown labels count neither for nor against; chips
    without a known label are left out. A chip with no true and no predicted label counts 0, as in scikit-learn
    (on Kaggle it does not occur: every chip has its weather). NaN without any chip.
    """
    each = f2_each(targets, predicted)
    return float(np.nanmean(each)) if np.isfinite(each).any() else float("nan")


def f2_each(targets: NDArray[np.floating], predicted: NDArray[np.bool_]) -> NDArray[np.float64]:
    """F2 of each chip, (n,); NaN where no label is known."""
    known = ~np.isnan(targets)
    true = targets == 1
    predicted = predicted & known
    hits = (true & predicted).sum(1)
    size = 4 * true.sum(1) + predicted.sum(1)
    return np.where(known.any(1), 5 * hits / np.maximum(size, 1), np.nan)


def f2_interval(
    targets: NDArray[np.floating], predicted: NDArray[np.bool_], resamples: int = 1000, seed: int = 0
) -> Interval | None:
    """Bootstrap interval of `f2_samples`; None without any chip."""
    each = f2_each(targets, predicted)
    each = each[np.isfinite(each)]
    return bootstrap(lambda weights: weights @ each / weights.sum(1), len(each), resamples, seed)


def label_figures(
    targets: NDArray[np.floating],
    scores: NDArray[np.floating],
    thresholds: Mapping[str, float],
    labels: Sequence[str] = LABELS,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, LabelFigures]:
    """Precision, recall, F2 and average precision of every label, in the order of the columns.

    targets, scores: (n, labels); a label is predicted where its score is at least its threshold.
    """
    return {
        label: _label_figures(targets[:, column], scores[:, column], thresholds[label], resamples, seed)
        for column, label in enumerate(labels)
    }


def mine_figures(
    targets: NDArray[np.floating],
    scores: NDArray[np.floating],
    specificities: Sequence[float] = SPECIFICITIES,
    campaigns: Sequence[str] | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> MineFigures:
    """Figures for one column, targets and scores (n,): 1 = mine, 0 = other, NaN left out.

    campaigns: (n,), where each chip comes from. Of 5 or more, the intervals draw whole campaigns: chips of one are
    alike, and what people want to know is what a new one would bring.
    """
    known = ~np.isnan(targets)
    groups = _groups(campaigns, known)
    true, ranked = targets[known] == 1, scores[known]
    curve = _Curve(true, ranked)

    def estimate(figure: Callable[[_Weights], _Weights]) -> tuple[float | None, Interval | None]:
        value = float(figure(np.ones((1, len(true))))[0])
        return measured(value), bootstrap(figure, len(true), resamples, seed, groups)

    (auc, auc_interval), (ap, ap_interval) = estimate(curve.auc), estimate(curve.ap)
    points = []
    for specificity in specificities:
        bar = measured(threshold_at_specificity(true, ranked, specificity))
        points.append(OperatingPoint(specificity, *estimate(partial(curve.sensitivity, specificity=specificity)), bar))
    return MineFigures(
        n=int(true.sum()),
        n_other=int((~true).sum()),
        auc=auc,
        auc_interval=auc_interval,
        ap=ap,
        ap_interval=ap_interval,
        operating_points=tuple(points),
        resampled="chips" if groups is None else "campaigns",
    )


def threshold_at_specificity(targets: NDArray[np.generic], scores: NDArray[np.floating], specificity: float) -> float:
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


def f2_difference(
    targets: NDArray[np.floating],
    first: NDArray[np.bool_],
    second: NDArray[np.bool_],
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[float | None, Interval | None]:
    """How much better the first predictions' `f2_samples` is than the second's, and its paired bootstrap interval.

    targets, first, second: (n, labels), as in `f2_samples`; each draw takes the same chips for both.
    """
    each = f2_each(targets, first) - f2_each(targets, second)
    each = each[np.isfinite(each)]
    if not len(each):
        return None, None
    return float(each.mean()), bootstrap(lambda w: w @ each / w.sum(1), len(each), resamples, seed)


def ap_difference(
    targets: NDArray[np.floating],
    first: NDArray[np.floating],
    second: NDArray[np.floating],
    campaigns: Sequence[str] | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[float | None, Interval | None]:
    """How much higher the first scores' average precision is than the second's, and its paired bootstrap interval.

    targets, first, second, campaigns: (n,), as in `mine_figures`; each draw takes the same chips for both.
    """
    known = ~np.isnan(targets)
    one, two = (_Curve(targets[known] == 1, scores[known]) for scores in (first, second))

    def difference(weights: _Weights) -> _Weights:
        return one.ap(weights) - two.ap(weights)

    estimate = float(difference(np.ones((1, int(known.sum()))))[0])
    groups = _groups(campaigns, known)
    return measured(estimate), bootstrap(difference, int(known.sum()), resamples, seed, groups)


def auc(targets: NDArray[np.floating], scores: NDArray[np.floating]) -> float:
    """Chance that a random positive scores above a random negative, ties counting half; NaN without both kinds."""
    return _whole(targets, scores, _Curve.auc)


def average_precision(targets: NDArray[np.floating], scores: NDArray[np.floating]) -> float:
    """Sum precision times gained recall over thresholds, as scikit-learn does; NaN without positives."""
    return _whole(targets, scores, _Curve.ap)


def bootstrap(
    figure: Callable[[_Weights], _Weights],
    n: int,
    resamples: int,
    seed: int,
    groups: NDArray[np.generic] | None = None,
) -> Interval | None:
    """95 % percentile interval of a figure over n chips drawn with replacement, one by one or in whole groups.

    It is widened where needed to hold the figure itself; None where no draw has the figure, as without chips.
    figure: takes weights (b, n), how often each chip was drawn, and gives (b,) values, NaN where undefined.
    groups: (n,), names or numbers of the groups (Davison, Hinkley 1997, section 3.8); None draws single chips.
    """
    if n == 0:
        return None
    values = np.concatenate([figure(weights) for weights in _draws(n, resamples, seed, groups)])
    if not np.isfinite(values).any():
        return None
    low, high = np.nanpercentile(values, [2.5, 97.5])
    estimate = float(figure(np.ones((1, n)))[0])
    return float(np.fmin(low, estimate)), float(np.fmax(high, estimate))


def _groups(campaigns: Sequence[str] | None, known: NDArray[np.bool_]) -> NDArray[np.str_] | None:
    """Campaigns of the known chips where there are enough to draw from, and not as many as chips, else None."""
    if campaigns is None:
        return None
    named = np.asarray(campaigns, np.str_)[known]
    return named if _FEWEST_CAMPAIGNS <= len(np.unique(named)) < len(named) else None


def _draws(n: int, resamples: int, seed: int, groups: NDArray[np.generic] | None) -> Iterator[_Weights]:
    if groups is not None:
        names, group = np.unique(groups, return_inverse=True)
        yield from (weights[:, group] for weights in _draws(len(names), resamples, seed, None))
        return
    rng = np.random.default_rng(seed)
    for start in range(0, resamples, _RESAMPLES_AT_ONCE):
        size = min(_RESAMPLES_AT_ONCE, resamples - start)
        drawn = rng.integers(0, n, (size, n)) + n * np.arange(size)[:, None]
        yield np.bincount(drawn.ravel(), minlength=size * n).reshape(size, n).astype(float)


def _label_figures(
    targets: NDArray[np.floating], scores: NDArray[np.floating], threshold: float, resamples: int, seed: int
) -> LabelFigures:
    known = ~np.isnan(targets)
    true, score = targets[known] == 1, scores[known]
    predicted = score >= threshold
    hits = (true & predicted).astype(float)

    def f2(weights: _Weights) -> _Weights:
        return _ratio(5 * weights @ hits, 4 * weights @ true + weights @ predicted)

    curve = _Curve(true, score)
    whole = np.ones((1, len(true)))
    return LabelFigures(
        n=int(true.sum()),
        n_known=len(true),
        precision=measured(float(_ratio(hits.sum(), predicted.sum()))),
        recall=measured(float(_ratio(hits.sum(), true.sum()))),
        f2=measured(float(f2(whole)[0])),
        f2_interval=bootstrap(f2, len(true), resamples, seed),
        ap=measured(float(curve.ap(whole)[0])),
        ap_interval=bootstrap(curve.ap, len(true), resamples, seed),
        threshold=threshold,
    )


class _Curve:
    """Weighted true and false positives at every distinct threshold, from the highest score down."""

    def __init__(self, true: NDArray[np.bool_], scores: NDArray[np.floating]) -> None:
        self._order = np.argsort(-scores, kind="stable")
        self._true = true[self._order].astype(float)
        ranked = scores[self._order]
        self._ends = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)  # ties are one threshold

    def _counts(self, weights: _Weights) -> tuple[_Weights, _Weights]:
        ordered = weights[:, self._order]
        positives = np.cumsum(ordered * self._true, axis=1)[:, self._ends]
        return positives, np.cumsum(ordered, axis=1)[:, self._ends] - positives

    def ap(self, weights: _Weights) -> _Weights:
        """Average precision of each row of weights."""
        if not len(self._true):
            return np.full(len(weights), np.nan)
        hits, false = self._counts(weights)
        gained = np.diff(hits, axis=1, prepend=0)
        return _ratio((gained * hits / np.maximum(hits + false, 1)).sum(1), hits[:, -1])

    def auc(self, weights: _Weights) -> _Weights:
        """Area under the ROC curve of each row of weights."""
        if not len(self._true):
            return np.full(len(weights), np.nan)
        hits, false = self._counts(weights)
        below = hits - np.diff(hits, axis=1, prepend=0) / 2
        return _ratio((np.diff(false, axis=1, prepend=0) * below).sum(1), hits[:, -1] * false[:, -1])

    def sensitivity(self, weights: _Weights, specificity: float) -> _Weights:
        """Of each row of weights the largest recall of any threshold that rejects this share of the negatives."""
        if not len(self._true):
            return np.full(len(weights), np.nan)
        hits, false = self._counts(weights)
        allowed = false <= (1 - specificity) * false[:, -1:] + 1e-9
        return _ratio(np.where(allowed, hits, 0).max(1), np.where(false[:, -1] > 0, hits[:, -1], 0))


def _whole(
    targets: NDArray[np.floating], scores: NDArray[np.floating], figure: Callable[[_Curve, _Weights], _Weights]
) -> float:
    known = ~np.isnan(targets)
    return float(figure(_Curve(targets[known] == 1, scores[known]), np.ones((1, int(known.sum()))))[0])


def _ratio(above: object, below: object) -> _Weights:
    """Divide, with NaN where below is 0."""
    top, bottom = np.asarray(above, float), np.asarray(below, float)
    out: _Weights = np.full(np.broadcast_shapes(top.shape, bottom.shape), np.nan)
    np.divide(top, bottom, out=out, where=bottom > 0)
    return out
