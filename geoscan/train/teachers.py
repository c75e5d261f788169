"""Teachers: models whose scores and features a student learns from (distillation)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from geoscan.ahead import made_ahead
from geoscan.arrays import Chips, Features, Scores
from geoscan.data.material import same_split
from geoscan.errors import PackageError
from geoscan.model.package import Package, find
from geoscan.model.spec import Head
from geoscan.train.batches import Batch, Batches
from geoscan.train.recipe import Recipe


def of_fold(package: Path, fold: int) -> Path:
    """Directory of the network that was trained without a fold."""
    return package / f"fold{fold + 1}"


def teachers_of(recipe: Recipe, split: Mapping[str, Any]) -> dict[int | None, list[Package]]:
    """Open the teachers of each network that is to be trained, by the fold that none of them may have seen.

    Raises PackageError when one does not fit.
    """
    if not recipe.split.folds:
        return {1: [_teacher(name, recipe, split) for name in recipe.distill]}
    taught: dict[int | None, list[Package]] = {None: [_teacher(name, recipe, split) for name in recipe.distill]}
    for fold in range(recipe.split.folds):
        without = {**split, "without": fold + 1}
        taught[fold] = [_teacher(_teacher_of_fold(name, fold), recipe, without) for name in recipe.distill]
    return taught


def _teacher_of_fold(name: str, fold: int) -> str:
    where = of_fold(find(name).path, fold)
    if not where.is_dir():
        raise PackageError(
            f"the teacher {name} has seen chips of every fold, and there is no {where} that has not; train it with "
            "--keep-folds, or leave --distill or --folds out"
        )
    return str(where.absolute())


def _teacher(name: str, recipe: Recipe, split: Mapping[str, Any]) -> Package:
    """Open a teacher.

    Raises PackageError when it takes other chips, knows other labels, or may have seen validation chips.
    """
    package = find(name)
    card = package.card
    if card.labels != recipe.spec.labels or card.preprocess != recipe.preprocess:
        raise PackageError(
            f"the teacher {package.path} takes {card.preprocess} and answers {', '.join(card.labels)}; "
            f"the student takes {recipe.preprocess} and answers {', '.join(recipe.spec.labels)}: they must be alike"
        )
    if not same_split(taught := card.data.split, split):
        raise PackageError(
            f"the teacher {package.path} learned from another split ({taught}, now {dict(split)}) and may have seen "
            "chips that are kept for validation; train it with the same data, --seed, --held-out and --folds"
        )
    return package


_TRUST = 0.7
"""Weight of a label that is known beside the teacher's score."""
FORETOLD = "teachers"
"""Name of the target that holds the teachers' features."""
_PROBE = 8
"""Batches from which mean and spread of the teachers' features are taken."""
_FARTHEST = 4.0
"""Spreads from the mean beyond which a feature counts no more."""
_LEAST_SPREAD = 1e-3
"""Added to each spread: a channel that never changes divides by it."""


class Taught:
    """Batches in which teachers have their say.

    A target that is unknown is their mean score, a known one is drawn to it. Beside the heads' targets comes one more,
    `FORETOLD`: (n, channels), what the teachers make of each chip before they answer, side by side. A student that
    must foretell it learns from chips of which 17 scores tell little (Romero et al. 2015, section 2.2).
    teachers: each takes (n, chip, chip, 3) and gives (n, labels) scores, columns in the order of the heads' labels,
    and (n, channels) features.
    """

    def __init__(
        self,
        batches: Batches,
        teachers: Sequence[Callable[[Chips], tuple[Scores, Features]]],
        heads: tuple[Head, ...],
    ) -> None:
        self._batches, self._teachers, self._heads = batches, teachers, heads
        probe = list(islice(batches.epoch(0), _PROBE))
        features = np.concatenate([self._ask(chips)[1] for chips, _ in probe])
        self._mean, self._spread = features.mean(0), features.std(0) + _LEAST_SPREAD

    def __len__(self) -> int:
        return len(self._batches)

    @property
    def channels(self) -> int:
        """How many features the teachers have together."""
        return len(self._mean)

    def epoch(self, number: int) -> Iterator[Batch]:
        """Yield the batches of an epoch; the teachers judge one while the student learns from another."""
        batches = self._batches.epoch(number)
        return made_ahead(lambda _: self._judged(next(batches)), len(self), workers=1)

    def _ask(self, chips: Chips) -> tuple[Scores, Features]:
        """Mean scores of the teachers, and the features of all."""
        said = [teacher(chips) for teacher in self._teachers]
        return np.mean([scores for scores, _ in said], axis=0), np.concatenate([seen for _, seen in said], axis=1)

    def _judged(self, batch: Batch) -> Batch:
        chips, targets = batch
        said, seen = self._ask(chips)
        # Of channels that are seldom other than 0 a few values would outweigh all others.
        standard = np.clip((seen - self._mean) / self._spread, -_FARTHEST, _FARTHEST)
        judged, column = {FORETOLD: standard.astype(np.float32)}, 0
        for head in self._heads:
            known = targets[head.name]
            says = said[:, column : column + len(head.labels)]
            judged[head.name] = np.where(np.isnan(known), says, _TRUST * known + (1 - _TRUST) * says).astype(np.float32)
            column += len(head.labels)
        return chips, judged
