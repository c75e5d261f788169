"""Fit a card's calibration on chips that training did not see, and say how well the scores are calibrated."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit

from geoscan.arrays import Scores, Targets
from geoscan.evaluate.lookalikes import share_interval
from geoscan.labels import MINE_COLUMN, columns
from geoscan.model.calibration import Calibration, Curve, scaled
from geoscan.model.figures import CalibrationFigures, ReliabilityBin, measured
from geoscan.model.spec import Head, Spec

COLDEST, HOTTEST = 0.1, 10.0
"""No temperature leaves this range: on a few chips that are told apart without a mistake the best one would be 0."""

FLATTEST, STEEPEST = 1 / HOTTEST, 1 / COLDEST
"""Slopes of a curve do not, either; one below 0 would turn the order of chips around."""

FEWEST = 5
"""Known positives, and negatives, from which a head's temperature or a label's curve is fitted: for a curve, of those
with scores between 0 and 1, which alone it moves."""

_BINS = 15
_EDGES = (0.0, 0.01, 0.03, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0)
"""Of the bins of `reliability`: narrow near 0, where most chips are."""

_SMALLEST = 1e-7  # about where a float32 below 1 ends; keeps the logarithms of scores finite

_Array = NDArray[np.float64]


def fit_calibration(targets: Targets, scores: Scores, spec: Spec) -> Calibration:
    """Fit a curve for each label of a sigmoid head, and a temperature for each softmax head, by their likelihood.

    targets, scores: (n, 17), columns as `LABELS`, of chips that training did not see; targets 1, 0 or NaN for unknown,
    scores 0..1 as the model gives them. Columns of labels that the spec lacks are not looked at.
    With fewer than 5 positives or negatives, or when nothing is more likely, scores stay as they are.
    """
    curves: dict[str, Curve] = {}
    temperatures: dict[str, float] = {}
    for head in spec.heads:
        if head.activation == "softmax":
            temperatures[head.name] = _temperature(*_counted(targets, scores, head), head)
            continue
        for label, column in zip(head.labels, columns(head.labels), strict=True):
            if curve := _curve(targets[:, column], scores[:, column]):
                curves[label] = curve
    return Calibration(temperatures, seen_prior=mine_share(targets), curves=curves)


def mine_share(targets: Targets) -> float | None:
    """Share of mines among the chips whose label is known, (n, 17); None where all of them are mines, or none is."""
    mines = targets[:, MINE_COLUMN]
    share = float((mines == 1).sum() / max(1, (~np.isnan(mines)).sum()))
    return share if 0 < share < 1 else None


def calibrated_apart(
    targets: Targets, scores: Scores, spec: Spec, parts: NDArray[np.integer]
) -> Iterator[tuple[NDArray[np.bool_], Calibration]]:
    """Calibrations that have not seen the chips that they are for: each part's is fitted on all the other parts.

    targets, scores: (n, 17), as for `fit_calibration`. parts: (n,). Yields which chips are of a part, (n,), and its
    calibration.
    """
    for part in np.unique(parts):
        inside = parts == part
        yield inside, fit_calibration(targets[~inside], scores[~inside], spec)


def calibration_figures(
    targets: Targets, scores: Scores, calibrated: NDArray[np.floating], spec: Spec
) -> dict[str, CalibrationFigures]:
    """Say what calibration changes for each head, by its name. targets, scores, calibrated: (n, 17)."""
    return {head.name: _figures(targets, scores, calibrated, head) for head in spec.heads}


def reliability(mines: NDArray[np.floating], probabilities: NDArray[np.floating]) -> tuple[ReliabilityBin, ...]:
    """Say how many mines there are among chips of about one probability, from low to high; empty bins are left out.

    mines: (n,) 1 = mine, 0 = other, NaN left out. probabilities: (n,), 0..1, for the share of mines of these chips.
    """
    known = ~np.isnan(mines)
    true, chance = mines[known] == 1, probabilities[known]
    where = np.clip(np.searchsorted(_EDGES, chance, side="right") - 1, 0, len(_EDGES) - 2)
    found = []
    for i, (low, high) in enumerate(itertools.pairwise(_EDGES)):
        inside = where == i
        if n := int(inside.sum()):
            hits = int(true[inside].sum())
            mean = float(chance[inside].mean())
            found.append(ReliabilityBin(low, high, n, mean, hits / n, share_interval(hits, n)))
    return tuple(found)


def expected_calibration_error(targets: NDArray[np.floating], scores: NDArray[np.floating], bins: int = _BINS) -> float:
    """Mean distance of score and share of positives, over bins that hold equally many scores, weighted by them.

    targets, scores: one shape; 1, 0, NaN left out. The order of the chips does not matter: where equal scores fall into
    two bins, each gets their mean target. NaN without a known target. Guo et al. 2017, eq. 3, with the equal counts of
    Nguyen, O'Connor 2015, section 3.2: most of our scores crowd near 0, where bins of equal width see them as one.
    """
    known = ~np.isnan(targets)
    if not known.any():
        return float("nan")
    distinct, group = np.unique(scores[known].astype(np.float64), return_inverse=True)
    share = np.bincount(group, targets[known]) / np.bincount(group)
    group = np.sort(group)
    error = sum(abs(float((distinct[part] - share[part]).sum())) for part in np.array_split(group, bins))
    return error / len(group)


def _counted(targets: Targets, scores: NDArray[np.floating], head: Head) -> tuple[_Array, _Array]:
    """Targets and scores that a head's loss would count.

    sigmoid: both (known, 1). softmax: both (n, labels), of the chips where all labels are known and exactly one holds.
    """
    true = targets[:, columns(head.labels)].astype(np.float64)
    score = scores[:, columns(head.labels)].astype(np.float64)
    if head.activation == "sigmoid":
        known = ~np.isnan(true)
        return true[known][:, None], score[known][:, None]
    rows = true.sum(axis=1) == 1
    return true[rows], score[rows]


def _nll(true: _Array, scores: _Array) -> float:
    """Mean negative log likelihood; NaN of nothing."""
    if not len(true):
        return float("nan")
    chance = np.clip(scores, _SMALLEST, 1 - _SMALLEST)
    if true.shape[1] == 1:
        chance = np.where(true == 1, chance, 1 - chance)
        return float(-np.log(chance).mean())
    return float(-(true * np.log(chance)).sum(axis=1).mean())


def _temperature(true: _Array, scores: _Array, head: Head) -> float:
    """The most likely temperature, of what the card will make of the scores: it leaves those of exactly 0 and 1."""
    positives = int((true == 1).sum())
    if min(positives, true.size - positives) < FEWEST:
        return 1.0

    def nll(temperature: float) -> float:
        return _nll(true, scaled(scores, head.activation, temperature))

    bounds = (math.log(COLDEST), math.log(HOTTEST))
    found = minimize_scalar(lambda t: nll(math.exp(t)), bounds=bounds, method="bounded")
    temperature = math.exp(found.x)
    return temperature if nll(temperature) < nll(1.0) else 1.0


def _curve(targets: NDArray[np.floating], scores: NDArray[np.floating]) -> Curve | None:
    """The curve of one label that is most likely a posteriori; None where nothing is fitted. targets, scores: (n,).

    How far a, b and c are from what changes nothing has a prior, normal with a deviation of 1: it draws the curve of a
    label of few positives towards its scores, and is nothing beside many.
    """
    usable = ~np.isnan(targets) & (scores > 0) & (scores < 1)
    true, score = targets[usable].astype(np.float64), scores[usable].astype(np.float64)
    if min((true == 1).sum(), (true == 0).sum()) < FEWEST:
        return None
    terms = np.stack([np.log(score), -np.log1p(-score), np.ones_like(score)], axis=1)
    unchanged = np.array([1.0, 1.0, 0.0])

    def loss(curve: _Array) -> tuple[float, _Array]:
        """Negative log of the posterior, and its gradient."""
        odds, away = terms @ curve, curve - unchanged
        value = (np.logaddexp(0, odds) - true * odds).sum() + away @ away / 2
        return float(value), terms.T @ (expit(odds) - true) + away

    slopes = (FLATTEST, STEEPEST)
    found = minimize(loss, unchanged, jac=True, method="L-BFGS-B", bounds=[slopes, slopes, (None, None)])
    return Curve(*(float(value) for value in found.x)) if found.fun < loss(unchanged)[0] else None


def _figures(targets: Targets, scores: Scores, calibrated: NDArray[np.floating], head: Head) -> CalibrationFigures:
    chosen = columns(head.labels)
    true, before = _counted(targets, scores, head)
    _, after = _counted(targets, calibrated, head)
    return CalibrationFigures(
        n_known=len(true),
        nll_before=measured(_nll(true, before)),
        nll=measured(_nll(true, after)),
        ece_before=measured(expected_calibration_error(targets[:, chosen], scores[:, chosen])),
        ece=measured(expected_calibration_error(targets[:, chosen], calibrated[:, chosen])),
    )
