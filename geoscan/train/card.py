"""What a card says of a model: figures on chips that it has not seen, thresholds, calibration."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoscan.arrays import Scores, Targets
from geoscan.data.material import Material, positives
from geoscan.evaluate.calibration import fit_calibration
from geoscan.evaluate.figures import Answers, figures
from geoscan.evaluate.metrics import auc, average_precision, f2_samples
from geoscan.evaluate.operating import balanced, sensitive, strict
from geoscan.evaluate.thresholds import best_common, tune_f2, tune_label
from geoscan.labels import MINE, MINE_COLUMN
from geoscan.model.card import Card
from geoscan.model.figures import MineFigures
from geoscan.model.origin import Training
from geoscan.model.preprocess import Preprocess
from geoscan.model.spec import Spec

_HELD_OUT = (
    "Measured on chips that were kept out of training. Which epoch was kept was decided on these chips, and thresholds "
    "and calibration were fitted to them."
)
_ONE_FOLD = (
    "Measured on the one fold of chips that was kept out of training. No epoch was chosen by these chips; thresholds "
    "and calibration were fitted to them."
)
_OUT_OF_FOLD = (
    "Measured by networks that have not seen the chips that they judge: one for each fold, trained like this model, "
    "which then learned from all chips. No epoch was chosen by these chips; thresholds and calibration were fitted to "
    "them."
)
_TUNED = "Tuned F2 has thresholds of its own: the chips of a place are judged by thresholds tuned on other places."
_CALIBRATED = (
    "Calibration and reliability are crossed: the chips of a {part} are judged by what was fitted to other {part}s."
)


@dataclass(frozen=True, slots=True)
class UnseenScores:
    """Chips that a network has not seen, and its scores of them.

    rows: (n,), indexes in the material. scores: (n, 17), columns as in `LABELS`.
    tta: whether they are means over symmetries.
    """

    rows: NDArray[np.intp]
    scores: Scores
    tta: bool = False


def epoch_figures(targets: Targets, scores: Scores, labels: tuple[str, ...]) -> dict[str, float]:
    """Figures of one epoch; the first one decides: F2 at its best common threshold, or average precision of mines.

    targets, scores: (n, 17).
    """
    if labels == (MINE,):
        mines = targets[:, MINE_COLUMN], scores[:, MINE_COLUMN]
        return {"ap": average_precision(*mines), "auc": auc(*mines)}
    common = best_common(targets, scores)
    return {"f2": f2_samples(targets, scores >= common), "threshold": common}


def make_card(
    name: str,
    spec: Spec,
    preprocess: Preprocess,
    material: Material,
    unseen: UnseenScores,
    training: Training,
    mosaics: MineFigures | None = None,
    *,
    without: int | None = None,
    leak: str = "",
) -> Card:
    """Return the card of a network: `unseen` decides thresholds, calibration and figures.

    mosaics: figures of mosaics that were kept out of training.
    without: the one of several folds that this network has not seen, from 0; None where all were kept out in turn.
    leak: why the figures may flatter all the same, if there is a reason.
    """
    split = material.split if without is None else material.split.without_fold(without)
    crossed = split.unseen_part is None
    counts = _counts(material, None if crossed else material.sides(without))
    targets, scores = material.targets[unseen.rows], unseen.scores
    thresholds = _thresholds(targets, scores, spec)
    mines = targets[:, MINE_COLUMN], scores[:, MINE_COLUMN]
    default = balanced(mines[1][mines[0] == 0], thresholds[MINE])
    card = Card(
        name=name,
        spec=spec,
        preprocess=preprocess,
        thresholds=thresholds,
        detection=default,
        sensitive=sensitive(*mines, default),
        strict=strict(*mines, default),
        calibration=fit_calibration(targets, scores, spec),
        tta=unseen.tta,
        data=replace(material.facts, **counts),
        split=split,
        training=training,
    )
    answers = Answers(
        targets,
        scores,
        tuple(material.campaigns[i] for i in unseen.rows) if material.campaigns else None,
        material.groups[unseen.rows],
        material.fold[unseen.rows] if crossed else None,
    )
    found = figures(card, answers)
    note = _HELD_OUT if split.folds is None else _OUT_OF_FOLD if crossed else _ONE_FOLD
    apart = _CALIBRATED.format(part="fold" if crossed else "place")
    notes = (f"{leak[:1].upper()}{leak[1:]}." if leak else "", note, _TUNED if found.f2 else "", apart)
    return replace(card, figures=replace(found, notes=tuple(filter(None, notes)), mosaics=mosaics))


def _thresholds(targets: Targets, scores: Scores, spec: Spec) -> dict[str, float]:
    """Threshold of each label that the model knows."""
    if spec.mines_alone:
        return {MINE: tune_label(targets[:, MINE_COLUMN], scores[:, MINE_COLUMN])}
    return tune_f2(targets, scores)


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
