"""What a card says of a model: figures on chips that it has not seen, thresholds, calibration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from geoscan import __version__
from geoscan.arrays import Scores, Targets
from geoscan.data.deal import stratified_group_split
from geoscan.data.material import Material, positives
from geoscan.evaluate.calibration import calibration_figures, fit_calibration
from geoscan.evaluate.lookalikes import lookalikes
from geoscan.evaluate.metrics import (
    auc,
    average_precision,
    f2_interval,
    f2_samples,
    label_metrics,
    mean_of,
    mine_metrics,
)
from geoscan.evaluate.thresholds import START, best_common, cross_tuned_f2, tune_f2, tune_label
from geoscan.labels import LABELS, MINE
from geoscan.model.backend import keras
from geoscan.model.package import Card
from geoscan.model.preprocess import Preprocess
from geoscan.model.spec import Spec
from geoscan.polygons import Hysteresis

_MINE = LABELS.index(MINE)
_FOLDS = 5
_HELD_OUT = "Figures are of chips that were kept out of training; which epoch was kept was decided on them."
_ONE_FOLD = (
    "Figures are of the one fold of chips that was kept out of training. No epoch was chosen by them; thresholds and "
    "calibration were fitted to them."
)
_OUT_OF_FOLD = (
    "Figures are of networks that have not seen the chips they judge: one a fold, by the same recipe as the model, "
    "which has then learned from all chips. No epoch was chosen by them; thresholds and calibration were fitted to "
    "them."
)


@dataclass(frozen=True, slots=True)
class Judged:
    """Chips that a network has not seen, and what it says of them.

    rows: (n,), indexes in the material. scores: (n, 17), columns as in `LABELS`.
    tta: whether they are means over symmetries.
    """

    rows: NDArray[np.intp]
    scores: Scores
    tta: bool = False


def figure(targets: Targets, scores: Scores, labels: tuple[str, ...]) -> dict[str, float]:
    """Figures of one epoch, the one that decides first: F2 at its best common threshold, or mines' average precision.

    targets, scores: (n, 17).
    """
    if labels == (MINE,):
        known, said = targets[:, _MINE], scores[:, _MINE]
        return {"ap": average_precision(known, said), "auc": auc(known, said)}
    common = best_common(targets, scores)
    return {"f2": f2_samples(targets, scores >= common), "threshold": common}


def make_card(
    name: str,
    spec: Spec,
    preprocess: Preprocess,
    material: Material,
    judged: Judged,
    training: Mapping[str, Any],
    extra: Mapping[str, Any] = MappingProxyType({}),
    *,
    without: int | None = None,
) -> Card:
    """Return the card of a network: `judged` decides figures, thresholds and calibration; `extra` are more figures.

    without: the one of several folds that this network has not seen, from 0; None where all were kept out in turn.
    """
    split = material.split if without is None else material.split.without_fold(without)
    crossed = split.unseen_part is None
    targets, scores = material.targets[judged.rows], judged.scores
    if spec.labels == (MINE,):
        thresholds = {MINE: tune_label(targets[:, _MINE], scores[:, _MINE])}
        campaigns = tuple(material.campaigns[i] for i in judged.rows)
        folds = material.fold[judged.rows] if crossed else None
        metrics = _mine_figures(targets[:, _MINE], scores[:, _MINE], campaigns, folds, thresholds[MINE])
    else:
        kept = ~material.tagged_only_cloudy[judged.rows]
        metrics = figures(targets, scores, kept, material.groups[judged.rows], split.seed)
        thresholds = {label: float(one["threshold"]) for label, one in metrics["labels"].items()}
    others = scores[targets[:, _MINE] == 0, _MINE]
    calibration = fit_calibration(targets, scores, spec)
    return Card(
        name=name,
        spec=spec,
        preprocess=preprocess,
        thresholds=thresholds,
        detection=detection_thresholds(others, thresholds[MINE]),
        calibration=calibration,
        tta=judged.tta,
        metrics={
            "notes": _HELD_OUT if split.folds is None else _OUT_OF_FOLD if crossed else _ONE_FOLD,
            **metrics,
            **extra,
            "calibration": calibration_figures(targets, scores, spec, calibration),
        },
        data={**material.facts, **_counts(material, None if crossed else material.sides(without))},
        split=split,
        training={"geoscan": __version__, "keras": keras.version(), **training},
    )


def figures(
    targets: Targets, scores: Scores, kept: NDArray[np.bool_], groups: NDArray[np.integer], seed: int
) -> dict[str, Any]:
    """Return what the card says of validation chips.

    targets, scores: (n, 17). kept: (n,), True for the chips that are not tagged only `cloudy`: the figures that count
    are theirs. groups: (n,), the place of each chip. Thresholds are tuned on other places of the validation set, in 5
    folds, so no F2 is tuned on what it judges; which epoch was kept, however, was decided on these same chips, and the
    figures of single labels are at the card's thresholds, tuned on all of them. Chips of one place only are two or more
    places here: a leak, but there is nothing else to tune on.
    """
    thresholds = tune_f2(targets, scores)
    named = {}
    for key, rows in (("not_only_cloudy", kept), ("all", np.ones(len(targets), bool))):
        n = int(rows.sum())
        places = groups[rows] if len(np.unique(groups[rows])) > 1 else np.arange(n)
        fold = stratified_group_split(targets[rows], places, min(_FOLDS, len(np.unique(places))), seed)
        crossed = cross_tuned_f2(targets[rows], scores[rows], fold)
        predicted = scores[rows] >= START
        baseline = np.isin(LABELS, ("clear", "primary"))[None].repeat(n, axis=0)
        named[key] = {
            "n": n,
            "f2_samples": crossed.f2,
            "f2_common_threshold": crossed.f2_common,
            "f2_at_0.2": crossed.f2_start,
            "f2_at_0.2_interval": f2_interval(targets[rows], predicted, seed=seed),
            "f2_of_always_clear_primary": f2_samples(targets[rows], baseline),
        }
    labels = label_metrics(targets[kept], scores[kept], thresholds)
    return {**named, "labels": {label: asdict(values) for label, values in labels.items()}}


def detection_thresholds(others: NDArray[np.floating], tuned: float) -> Hysteresis:
    """Thresholds for polygons.

    others: (n,), mine scores of validation chips without a mine. tuned: the label's own threshold.
    A chip alone must score more than 99 % of the chips without a mine. Neighbours confirm each other: one of them needs
    no more than what lies halfway between that and the label's own threshold, in log odds, and the others half of it.
    The label's own is too low to begin a polygon: it was tuned where mines are many, and on the ground they are few.
    """
    isolated = max(float(np.quantile(others, 0.99)) if len(others) else tuned, tuned)
    high = float(expit((logit(isolated) + logit(tuned)) / 2))
    return Hysteresis(high=round(high, 3), low=round(high / 2, 3), isolated=round(isolated, 3))


def _mine_figures(
    targets: NDArray[np.floating],
    scores: NDArray[np.floating],
    campaigns: tuple[str, ...],
    folds: NDArray[np.integer] | None,
    threshold: float,
) -> dict[str, Any]:
    """Figures of all chips, with intervals over campaigns, of each fold, which has few of them, and of look-alikes.

    Those of all chips also ask that the networks of the folds agree on a scale; the mean of the folds does not.
    """
    each = () if folds is None else np.unique(folds)
    by_fold = [mine_metrics(targets[folds == f], scores[folds == f]) for f in each]
    return {
        "mine": asdict(mine_metrics(targets, scores, campaigns=campaigns)),
        **({"mean_of_folds": mean_of(by_fold)} if by_fold else {}),
        **{f"fold_{f + 1}": asdict(one) for f, one in zip(each, by_fold, strict=True)},
        "lookalikes": lookalikes(campaigns, targets, scores, threshold),
    }


def _counts(material: Material, sides: tuple[NDArray[np.intp], NDArray[np.intp]] | None) -> dict[str, Any]:
    """Count chips, and those of each label, on both sides of the split; None where each chip is on both in turn."""
    if sides is None:
        rows = material.readable
        return {"training_chips": len(rows), "training_positives": positives(material.targets[rows])}
    training, validation = sides
    return {
        "training_chips": len(training),
        "validation_chips": len(validation),
        "training_positives": positives(material.targets[training]),
        "validation_positives": positives(material.targets[validation]),
    }
