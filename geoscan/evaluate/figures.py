"""The figures of a model on chips that it has not seen: what `train` writes into a card, and `evaluate` prints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoscan.arrays import Scores, Targets
from geoscan.data.chips import only_cloudy
from geoscan.data.deal import stratified_group_split
from geoscan.evaluate.calibration import calibrated_apart, calibration_figures, mine_share, reliability
from geoscan.evaluate.lookalikes import called, lookalikes
from geoscan.evaluate.metrics import f2_interval, f2_samples, label_figures, mine_figures
from geoscan.evaluate.operating import detection_figures
from geoscan.evaluate.thresholds import START, cross_tuned_f2, predict
from geoscan.labels import LABELS, MINE, MINE_COLUMN, columns
from geoscan.model.calibration import Calibration
from geoscan.model.card import Card
from geoscan.model.figures import (
    CampaignFigures,
    DetectionFigures,
    F2Figures,
    Figures,
    LookalikeFigures,
    MineFigures,
    ReliabilityBin,
    measured,
)

_CONSTANT = np.isin(LABELS, ("clear", "primary"))
_FOLDS = 5
"""Into so many parts chips are dealt to fit thresholds and calibration on some and judge them by another."""


@dataclass(frozen=True, slots=True)
class Answers:
    """A model's scores of labelled chips that it has not seen."""

    targets: Targets
    """(n, 17)"""

    scores: Scores
    """(n, 17), columns as in `LABELS`; what the model does not know scores 0."""

    campaigns: tuple[str, ...] | None = None
    """(n,), where each chip comes from; None for Kaggle's, which do not tell."""

    places: NDArray[np.integer] | None = None
    """(n,), numbers of the places that chips show, where the card's thresholds and calibration were fitted to these
    same chips: the tuned F2, and the probabilities, are then by what was fitted to other places. None where the card's
    were fitted to other chips."""

    folds: NDArray[np.integer] | None = None
    """(n,), from 0, which of several networks gave each score; None where there is one."""

    km2: NDArray[np.floating] | None = None
    """(n,), ground that each chip shows; None where each is one of the model's own chips."""

    def of_mines(self, rows: NDArray[np.bool_] | None = None) -> tuple[NDArray[np.float32], Scores]:
        """Targets and scores of the mine label, each (n,), of all chips or of those at `rows`."""
        chosen = slice(None) if rows is None else rows
        return self.targets[chosen, MINE_COLUMN], self.scores[chosen, MINE_COLUMN]


def figures(card: Card, answers: Answers) -> Figures:
    """Measure what a model is worth, with the thresholds and the calibration of its card; its own figures are not read.

    Where they were fitted to these chips, as `Answers.places` tells, F2 and calibration are crossed.
    Of every model each label, mines against the rest, and the operating points of its card; of one that knows all 17
    labels, on Kaggle's chips, F2; of chips that name their sampling campaigns, each of them and each kind of
    look-alike.
    """
    kept = ~only_cloudy(answers.targets)
    f2 = has_f2(card, answers)
    mine = mine_figures(*answers.of_mines(), campaigns=answers.campaigns)
    calibrated, reliable = _calibrated(card, answers)
    chosen = columns(card.labels)
    labels = label_figures(
        answers.targets[kept][:, chosen], answers.scores[kept][:, chosen], card.thresholds, card.labels
    )
    return Figures(
        f2=_f2(card, answers, kept) if f2 else None,
        f2_all=_f2(card, answers, np.ones(len(kept), bool)) if f2 else None,
        labels={label: one for label, one in labels.items() if one.n_known},
        mine=mine,
        mine_folds=_folds(answers),
        detection=_detection(card, answers),
        campaigns=_campaigns(answers, card.thresholds[MINE]),
        lookalikes=_lookalikes(answers, card.thresholds[MINE], mine.operating_points[-1].threshold),
        calibration=calibration_figures(answers.targets, answers.scores, calibrated, card.spec),
        reliability=reliable,
    )


def has_f2(card: Card, answers: Answers) -> bool:
    """Tell whether Kaggle's measure exists: over all of its labels, for chips that have them all."""
    return answers.campaigns is None and set(card.labels) == set(LABELS)


def predicted(card: Card, scores: Scores) -> NDArray[np.bool_]:
    """(n, 17), what a model that knows all 17 labels predicts at the thresholds of its card. scores: (n, 17)."""
    return predict(scores, dict(card.thresholds), LABELS)


def _f2(card: Card, answers: Answers, rows: NDArray[np.bool_]) -> F2Figures:
    """F2 of the chips at `rows`, (n,)."""
    targets, scores = answers.targets[rows], answers.scores[rows]
    if answers.places is None:
        tuned = predicted(card, scores)
        f2, interval, common = f2_samples(targets, tuned), f2_interval(targets, tuned), None
    else:
        crossed = cross_tuned_f2(targets, scores, _parts(targets, answers.places[rows]))
        f2, interval, common = crossed.f2, crossed.f2_interval, crossed.f2_common
    fixed, constant = scores >= START, np.broadcast_to(_CONSTANT, targets.shape)
    return F2Figures(
        n=len(targets),
        tuned=measured(f2),
        tuned_interval=interval,
        tuned_common=common,
        fixed=measured(f2_samples(targets, fixed)),
        fixed_interval=f2_interval(targets, fixed),
        constant=measured(f2_samples(targets, constant)),
    )


def _parts(targets: Targets, places: NDArray[np.integer]) -> NDArray[np.int64]:
    """Deal chips into parts, (n,), that share no place. targets: (n, 17). places: (n,).

    Chips that all show one place count as places of their own: a leak, but there is nothing else to fit to.
    """
    places = places if len(np.unique(places)) > 1 else np.arange(len(targets))
    return stratified_group_split(targets, places, min(_FOLDS, len(np.unique(places))), seed=0)


def _folds(answers: Answers) -> dict[str, MineFigures]:
    """Mines against the rest in each fold.

    Those of all chips also ask that the networks of the folds agree on a scale; these do not.
    """
    if answers.folds is None:
        return {}
    found = {}
    for fold in np.unique(answers.folds):
        found[f"fold {fold + 1}"] = mine_figures(*answers.of_mines(answers.folds == fold))
    return found


def _detection(card: Card, answers: Answers) -> dict[str, DetectionFigures]:
    """Mines found and false alarms of each operating point."""
    km2 = np.full(len(answers.targets), card.chip_km2) if answers.km2 is None else answers.km2
    return detection_figures(card.points, *answers.of_mines(), km2, answers.campaigns)


def _calibrated(card: Card, answers: Answers) -> tuple[NDArray[np.float64], tuple[ReliabilityBin, ...]]:
    """Calibrated scores, (n, 17), and whether the probability of a mine is one.

    Nothing of the latter where the card gives none, or the chips are all of one kind. A scan assumes a share of mines.
    Here it is known, so that what is measured is the probability, not the assumption.
    """
    targets, scores = answers.targets, answers.scores
    fitted: Iterable[tuple[NDArray[np.bool_], Calibration]] = [(np.ones(len(targets), bool), card.calibration)]
    if answers.places is not None:
        parts = _parts(targets, answers.places) if answers.folds is None else answers.folds
        fitted = calibrated_apart(targets, scores, card.spec, parts)
    share = None if card.calibration.seen_prior is None else mine_share(targets)
    calibrated, probabilities = scores.astype(np.float64), np.zeros(len(targets))
    for rows, calibration in fitted:
        cells = np.ix_(rows, np.array(columns(card.labels)))
        calibrated[cells] = calibration.apply(scores[cells], card.spec)
        if share is not None:
            probabilities[rows] = calibration.mine_probability(calibrated[rows, MINE_COLUMN], share)
    return calibrated, () if share is None else reliability(targets[:, MINE_COLUMN], probabilities)


def _campaigns(answers: Answers, threshold: float) -> dict[str, CampaignFigures]:
    """What each sampling campaign holds, and the share of its chips that is called a mine.

    Those of one chip are left out: of one the share says nothing, and an index without campaigns makes each chip one.
    """
    names, found = np.array(answers.campaigns or ()), {}
    for name in sorted(name for name, n in Counter(answers.campaigns or ()).items() if n > 1):
        targets, scores = answers.of_mines(names == name)
        share = called(scores, threshold)
        found[name] = CampaignFigures(len(targets), int((targets == 1).sum()), int((targets == 0).sum()), *share)
    return found


def _lookalikes(answers: Answers, threshold: float, strict: float | None) -> dict[str, LookalikeFigures]:
    if answers.campaigns is None:
        return {}
    return lookalikes(
        answers.campaigns, answers.targets[:, MINE_COLUMN], answers.scores[:, MINE_COLUMN], threshold, strict
    )
