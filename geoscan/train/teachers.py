"""Teachers: models whose scores and features a student learns from (distillation)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import TypeAlias

import numpy as np

from geoscan.ahead import made_ahead
from geoscan.arrays import Chips, Features, Scores
from geoscan.errors import PackageError
from geoscan.model.package import Package
from geoscan.model.preprocess import Preprocess
from geoscan.model.shipped import find
from geoscan.model.spec import Head
from geoscan.model.split import Split
from geoscan.model.tensorflow_runtime import TensorFlowDetector
from geoscan.train.augment import Augmentation
from geoscan.train.batches import Batch, Epochs, degraded
from geoscan.train.job import fold_directory
from geoscan.train.recipe import Recipe

TEACHER_FEATURES = "teacher_features"
"""Name of the target, and of the student's output, that holds the teachers' features."""

_TRUST = 0.7
"""Weight of a label that is known beside the teacher's score."""
_PROBE = 8
"""Batches from which mean and standard deviation of the teachers' features are taken."""
_FARTHEST = 4.0
"""Standard deviations from the mean at which a feature is clipped."""
_LEAST_SPREAD = 1e-3
"""Added to each standard deviation, so that a channel that never changes is not divided by 0."""

_SPOILING = 1
"""Tells the random numbers by which chips are degraded from those by which the batch was made."""

Teacher: TypeAlias = Callable[[Chips], tuple[Scores, Features]]
"""(n, chip, chip, 3) with their haze -> (n, labels) scores, columns in the order of the heads' labels, and
(n, channels) features."""


def teachers_of(recipe: Recipe, split: Split) -> dict[int | None, list[Package]]:
    """Open the teachers of each network that is to be trained, by the fold that it is trained without.

    The key None stands for a network that no fold is kept from.
    Raises PackageError when one does not fit, or may have seen chips that its student is validated on.
    """
    teachers: dict[int | None, list[Package]] = {None: [_teacher(name, recipe, split) for name in recipe.distill]}
    for fold in range(split.folds or 0):
        names = [_teacher_without(name, fold) for name in recipe.distill]
        teachers[fold] = [_teacher(name, recipe, split.without_fold(fold)) for name in names]
    return teachers


def _teacher_without(name: str, fold: int) -> str:
    """Directory of the network of a package that has not seen a fold."""
    where = fold_directory(find(name).path, fold)
    if not where.is_dir():
        raise PackageError(
            f"the teacher {name} has seen chips of every fold, and there is no {where} that has not; train it with "
            "--keep-folds, or leave --distill or --folds out"
        )
    return str(where.absolute())


def _teacher(name: str, recipe: Recipe, split: Split) -> Package:
    """Open a teacher.

    Raises PackageError when it takes other chips, knows other labels, or may have seen validation chips.
    """
    package = find(name)
    card = package.card
    wanted, taken = (replace(one, dehaze=None) for one in (recipe.preprocess, card.preprocess))
    if card.labels != recipe.spec.labels or taken != wanted:
        raise PackageError(
            f"the teacher {package.path} takes {_described(taken)} and answers {', '.join(card.labels)}; the student "
            f"takes {_described(wanted)} and answers {', '.join(recipe.spec.labels)}: they must be alike"
        )
    if card.split is None or not card.split.same_as(split):
        learned = card.split.facts() if card.split else "not said"
        raise PackageError(
            f"the teacher {package.path} learned from another split ({learned}, now {split.facts()}) and may have seen "
            "chips that are kept for validation; train it with the same data, --seed, --held-out and --folds"
        )
    return package


def _described(preprocess: Preprocess) -> str:
    return f"{preprocess.chip} px at {preprocess.gsd:g} m in the look of {preprocess.radiometry}"


def teacher(package: Package, batch: int) -> Teacher:
    """Start a teacher, which removes haze as its own card says, whatever the student's."""
    detect = TensorFlowDetector(package, batch, features=True)
    return lambda chips: detect.describe(package.card.preprocess.cleared(chips))


class DistilledBatches:
    """Batches whose targets come from teachers too.

    Where a label is unknown, the target is the teachers' mean score; where it is known, a weighted mean of both (soft
    targets). One more target, `TEACHER_FEATURES`, (n, channels), holds the features of all teachers side by side: a
    student that must predict them learns from chips of which 17 scores tell little (Romero et al. 2015, section 2.2).

    batches: of chips with their haze. preprocess: removes it for the student. augmentation: how many of the student's
    chips are degraded; the teachers see them as they were. seed: of the degradation.
    """

    def __init__(
        self,
        batches: Epochs,
        teachers: Sequence[Teacher],
        heads: tuple[Head, ...],
        preprocess: Preprocess,
        augmentation: Augmentation,
        seed: int,
    ) -> None:
        self._batches, self._teachers, self._heads, self._preprocess = batches, teachers, heads, preprocess
        self._augmentation, self._seed = augmentation, seed
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
        """Yield the batches of an epoch; the teachers score one while the student learns from another."""
        batches = self._batches.epoch(number)
        return made_ahead(lambda step: self._distilled(next(batches), (number, step)), len(self), workers=1)

    def _ask(self, chips: Chips) -> tuple[Scores, Features]:
        """Mean scores of the teachers, and the features of all."""
        answers = [teacher(chips) for teacher in self._teachers]
        scores = np.mean([scores for scores, _ in answers], axis=0)
        return scores, np.concatenate([features for _, features in answers], axis=1)

    def _distilled(self, batch: Batch, place: tuple[int, int]) -> Batch:
        """Place: epoch and step."""
        chips, known = batch
        scores, features = self._ask(chips)
        # Of channels that are seldom other than 0 a few values would outweigh all others.
        standard = np.clip((features - self._mean) / self._spread, -_FARTHEST, _FARTHEST)
        targets, column = {TEACHER_FEATURES: standard.astype(np.float32)}, 0
        for head in self._heads:
            labels = known[head.name]
            score = scores[:, column : column + len(head.labels)]
            soft = np.where(np.isnan(labels), score, _TRUST * labels + (1 - _TRUST) * score)
            targets[head.name] = soft.astype(np.float32)
            column += len(head.labels)
        rng = np.random.default_rng((self._seed, *place, _SPOILING))
        return self._preprocess.cleared(degraded(chips, self._augmentation, rng)), targets
