"""The networks of one training run: of each fold, and of the package."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from geoscan import __version__
from geoscan.arrays import Chips, Scores
from geoscan.data.cache import AnyChips
from geoscan.data.chips import parts_fingerprint
from geoscan.data.images import Images
from geoscan.data.material import Material
from geoscan.data.mine_chips import MineChips
from geoscan.evaluate.metrics import mine_figures
from geoscan.labels import LABELS, MINE_COLUMN
from geoscan.machine import BATCH
from geoscan.model.backend import keras, seed
from geoscan.model.card import Card
from geoscan.model.figures import MineFigures
from geoscan.model.look import Look
from geoscan.model.network import POOL, build, with_output
from geoscan.model.origin import Training
from geoscan.model.package import Package, save
from geoscan.model.runtime import Averaged, Detector
from geoscan.model.spec import PLANET_MEAN, PLANET_STD, Spec
from geoscan.model.tensorflow_runtime import NetworkDetector
from geoscan.train import look as looks
from geoscan.train.batches import Batches, StoredExamples, Synthetic, degraded
from geoscan.train.card import UnseenScores, epoch_figures, make_card
from geoscan.train.checkpoint import Checkpoint
from geoscan.train.devices import Strategy, strategy
from geoscan.train.job import CHECKPOINT, Job, fold_directory
from geoscan.train.last_layer import MineRow
from geoscan.train.loop import Outcome, Task, Validate, fit
from geoscan.train.losses import FeatureLoss, Loss, loss_of, positive_weights
from geoscan.train.mosaics import Crops, MixedChips, Mosaics
from geoscan.train.recipe import Recipe
from geoscan.train.scoring import score
from geoscan.train.start import Start, leak
from geoscan.train.teachers import TEACHER_FEATURES, DistilledBatches, teacher

log = logging.getLogger(__name__)

_PLANET_COLOURS = (PLANET_MEAN, PLANET_STD)
_MOSAICS_SCORED = 256
_LAST_LAYER = 2**20
"""In place of an epoch's number, which is less, where chips are varied for the last layer."""


class Trained(NamedTuple):
    """A network of a run.

    without: the fold that it was trained without, None for none. scores: of the chips that it was not trained on.
    """

    without: int | None
    network: keras.Model
    outcome: Outcome
    scores: UnseenScores


@dataclass(frozen=True)
class Trainer:
    """Trains the networks of one run.

    recipe: resolved. teachers: of each network, by the fold that it is trained without, None for none.
    unlabelled: pictures at about 10 m for teachers to label, if there are any.
    """

    recipe: Recipe
    material: Material
    job: Job
    start: Start
    teachers: Mapping[int | None, Sequence[Package]]
    unlabelled: Images | None
    devices: Strategy = field(default_factory=strategy)

    def cross_validate(self) -> UnseenScores:
        """Train a network without each fold, and return the scores of each fold by the one that has not seen it."""
        scores = np.full(self.material.targets.shape, np.nan, np.float32)
        folds = self.recipe.split.folds or 0
        for fold in range(folds):
            rows = self.material.sides(fold)[1]
            kept = self.job.checkpoint(f".fold{fold + 1}-scores.npz", self._identity(fold) | self._afterwards)
            if (known := self._known_scores(fold, kept)) is None:
                log.info("fold %d of %d: %d chips kept out", fold + 1, folds, len(rows))
                known = self._fold_scores(fold)
                kept.write({"tta": self.recipe.tta}, {"scores": known})
            scores[rows] = known
        return UnseenScores(self.material.judging, scores[self.material.judging], self.recipe.tta)

    def train(self, without: int | None = None) -> Trained:
        """Train a network, without one fold if it is given, and score the chips that it was not trained on.

        Raises KeyboardInterrupt after Ctrl-C where a fold is given, for half a training says nothing of the recipe.
        """
        recipe = self.recipe
        training, validation = self.material.sides(without)
        seed(recipe.split.seed)
        with self.devices.scope():
            network = self.start.network(without)
        seed(recipe.split.seed)
        detect = self._detector(network)
        task = Task(self._losses(training), self._batches(training, without), self._validate(detect, validation))
        student = network
        if recipe.distill:
            student, task = self._distilled(network, task, self.teachers[without])
        name = CHECKPOINT if without is None else f".fold{without + 1}.npz"
        checkpoint = self.job.checkpoint(name, self._identity(without))
        outcome = fit(student, task, recipe.schedule, checkpoint, self.job.advance)
        if outcome.interrupted and without is not None:
            raise KeyboardInterrupt
        if _in_less_than_single_precision(network):  # figures are of the network as a package holds it
            network = _in_single_precision(network, recipe.spec)
            detect = self._detector(network)
        if recipe.spec.mines_alone:
            self._fit_last_layer(network, training)
        scores = self._score(self._as_scans(detect), self.material.chips, validation)
        return Trained(without, network, outcome, UnseenScores(validation, scores, recipe.tta))

    def facts(self, trained: Trained) -> Training:
        """What a card says of how its network was trained."""
        outcome = trained.outcome
        return Training(
            geoscan=__version__,
            keras=keras.version(),
            recipe=self.recipe.facts() | self._afterwards,
            teachers=tuple(self._digests(trained.without)),
            parameters=trained.network.count_params(),
            history=tuple(outcome.history),
            best_epoch=outcome.best_epoch,
            seconds=outcome.seconds,
            interrupted=outcome.interrupted,
        )

    def validation_mosaics(self) -> Mosaics | None:
        """Return mosaics of the small chips that are held out, where a share is. Raises DatasetError."""
        _, small = self.material.small_sides()
        return None if small is None else self._mosaics(small)

    def mosaic_figures(self, mosaics: Mosaics | None, network: keras.Model) -> MineFigures | None:
        """Figures of a network on mosaics, for the card; None without mosaics."""
        if mosaics is None:
            return None
        rng = np.random.default_rng(self.recipe.split.seed)
        drawn = [mosaics.draw(rng) for _ in range(_MOSAICS_SCORED)]
        detect = self._as_scans(self._detector(network))
        scores = self._score(detect, np.stack([chip for chip, _ in drawn]))
        targets = np.stack([targets for _, targets in drawn])
        return mine_figures(targets[:, MINE_COLUMN], scores[:, MINE_COLUMN])

    def _known_scores(self, fold: int, kept: Checkpoint) -> Scores | None:
        """Scores of a fold that an earlier run has finished, None where it must be trained, or only judged otherwise.

        Raises DatasetError when a run with other options or data finished it.
        """
        if not kept.resume or (self.job.keep_folds and not fold_directory(self.job.out, fold).is_dir()):
            return None
        if (found := kept.read()) is None:
            log.warning("%s cannot be read; that fold is trained anew", kept.path)
            return None
        notes, arrays = found
        return arrays["scores"] if notes.get("tta") == self.recipe.tta else None

    def _fold_scores(self, fold: int) -> Scores:
        """Train a network without a fold, keep it if asked to, and return its scores of that fold."""
        trained = self.train(fold)
        if self.job.keep_folds:
            out = fold_directory(self.job.out, fold)
            card = self.card(self.job.fold_name(fold), trained, trained.scores)
            save(out, trained.network, card)
        return trained.scores.scores

    def card(self, name: str, trained: Trained, unseen: UnseenScores, mosaics: MineFigures | None = None) -> Card:
        """Return the card of a network that was trained. unseen: what its figures are of. mosaics: figures of these."""
        return replace(
            make_card(
                name,
                self.recipe.spec,
                self.recipe.preprocess,
                self.material,
                unseen,
                self.facts(trained),
                mosaics,
                without=trained.without,
                leak=leak(self.start.packages, self.material.split, trained.without),
            ),
            look=self._look(trained.without),
        )

    def _look(self, without: int | None) -> Look | None:
        """What the training chips look like, with their haze, all but those of one part."""
        training, _ = self.material.sides(without)
        return looks.fit(self.material.chips, training, self.recipe.augmentation, self.recipe.split.seed)

    @property
    def _afterwards(self) -> dict[str, str]:
        """What is done to a network once it has learned."""
        return {"last_layer": "each campaign alike"} if self.recipe.spec.mines_alone else {}

    def _fit_last_layer(self, network: keras.Model, training: NDArray[np.intp]) -> None:
        """Fit the last layer anew, with each campaign counted alike; mines that nobody has checked are left out.

        Chips are varied as in training: a fit to chips as they are weighs what the next haze or pixel size changes.
        """
        recipe, targets = self.recipe, self.material.targets[training, MINE_COLUMN]
        sure = np.isin(targets, (0, 1))
        rows, mines = training[sure], targets[sure] == 1
        campaigns = self.material.groups[rows]
        log.info("the last layer is fitted anew to %d chips of %d campaigns", len(rows), len(np.unique(campaigns)))
        detect, rng = self._detector(network, features=True), np.random.default_rng((recipe.split.seed, _LAST_LAYER))
        features = np.concatenate([detect.describe(chips)[1] for chips in self._varied(rows, rng)])
        MineRow.of(network, recipe.spec, self.job.name).by_campaigns(features, mines, campaigns).put(network)

    def _varied(self, rows: NDArray[np.intp], rng: np.random.Generator) -> Iterator[Chips]:
        """Yield the chips at `rows` in their order, in batches, as the network sees them in training."""
        vary = self.recipe.augmentation
        for start in range(0, len(rows), BATCH):
            chips = np.stack([vary(np.asarray(self.material.chips[row]), rng) for row in rows[start : start + BATCH]])
            yield self.recipe.preprocess.cleared(degraded(chips, vary, rng))

    def _detector(self, network: keras.Model, *, features: bool = False) -> NetworkDetector:
        one_device = self.devices.num_replicas_in_sync == 1
        return NetworkDetector(network, self.recipe.spec, compiled=None if one_device else False, features=features)

    def _losses(self, training: NDArray[np.intp]) -> dict[str, Loss]:
        weights = dict(zip(LABELS, positive_weights(self.material.targets[training]), strict=True))
        return {
            head.name: loss_of(head, np.array([weights[label] for label in head.labels]))
            for head in self.recipe.spec.heads
        }

    def _batches(self, training: NDArray[np.intp], without: int | None) -> Batches:
        recipe, material = self.recipe, self.material
        return Batches(
            StoredExamples(material.chips, material.targets, training),
            recipe.spec.heads,
            None if recipe.distill else recipe.preprocess,
            batch=recipe.batch,
            seed=recipe.split.seed,
            augmentation=recipe.augmentation,
            synthetic=self._synthetic(training, without),
        )

    def _synthetic(self, training: NDArray[np.intp], without: int | None) -> list[tuple[Synthetic, int]]:
        """What is made for a batch beside its labelled chips, and how many of each."""
        recipe = self.recipe
        made: list[tuple[Synthetic, int]] = []
        small, _ = self.material.small_sides(without)
        if small is not None:
            made.append((self._mosaics(small), recipe.mosaics))
        if recipe.distill:
            made.append((MixedChips(self.material.chips, training), recipe.mixed))
        if self.unlabelled is not None:
            made.append((self._unlabelled(self.unlabelled), recipe.unlabelled))
        return made

    def _unlabelled(self, pictures: Images) -> Synthetic:
        """Chips for teachers to label: as they are where the model's own are of 10 m, too, else in mosaics."""
        chip = self.recipe.preprocess.chip
        if self.recipe.spec.mines_alone:
            return Crops(pictures, chip)
        return Mosaics(pictures, chip, _PLANET_COLOURS)

    def _mosaics(self, small: MineChips) -> Mosaics:
        return Mosaics(small, self.recipe.preprocess.chip, _PLANET_COLOURS, small.targets[:, MINE_COLUMN])

    def _distilled(self, network: keras.Model, task: Task, teachers: Sequence[Package]) -> tuple[keras.Model, Task]:
        """Return a student, which is the network with one more output, and what it learns from teachers too."""
        recipe = self.recipe
        asked = [teacher(package, recipe.batch) for package in teachers]
        batches = DistilledBatches(
            task.batches, asked, recipe.spec.heads, recipe.preprocess, recipe.augmentation, recipe.split.seed
        )
        with self.devices.scope():
            student = with_output(network, TEACHER_FEATURES, POOL, batches.channels)
        losses: dict[str, Loss] = {**task.losses, TEACHER_FEATURES: FeatureLoss(recipe.feature_weight)}
        return student, replace(task, losses=losses, batches=batches)

    def _validate(self, detect: Detector, validation: NDArray[np.intp]) -> Validate | None:
        """Return what measures a network after each epoch; None without validation chips.

        It compares epochs by single scores even where the recipe averages them over symmetries: averaging would take
        up to eight times as long, after every epoch. They are those of the precision that it learns in, and of the last
        layer as it learned.
        """
        if not len(validation):
            return None
        labels, targets = self.recipe.spec.labels, self.material.targets[validation]
        return lambda: epoch_figures(targets, self._score(detect, self.material.chips, validation), labels)

    def _score(self, detect: Detector, chips: AnyChips, rows: NDArray[np.integer] | None = None) -> Scores:
        """Scores of chips in their frames, (n, 17); of those at `rows` if given."""
        return score(detect, self.recipe.spec.labels, self.recipe.preprocess, chips, rows)

    def _as_scans(self, detect: Detector) -> Detector:
        """Return a detector that averages scores over symmetries where the recipe, and so the card, says so."""
        return Averaged(detect, self.recipe.spec.mine_column) if self.recipe.tta else detect

    def _identity(self, without: int | None) -> dict[str, Any]:
        """What decides how a training goes, by name: not how it is judged; and patience only decides how long."""
        options, material = asdict(self.recipe), self.material
        # Of the chips that can be read: a checkpoint holds the scores of a part in their order.
        parts = parts_fingerprint(material.names, material.fold)
        del options["tta"]
        schedule = {key: value for key, value in options.pop("schedule").items() if key != "patience"}
        classes = self.start.classes
        data = {
            "split": material.split.facts() | {"parts": parts[:12]},
            "classes": classes and classes.fingerprint[:12],
            "unlabelled": self.unlabelled and self.unlabelled.fingerprint[:12],
            "begins as": self.start.name(without),
        }
        return options | schedule | data | {"teachers": self._digests(without), "without": without}

    def _digests(self, without: int | None) -> list[str]:
        return [package.card.digest for package in self.teachers[without]]


def _in_less_than_single_precision(network: keras.Model) -> bool:
    return any(layer.compute_dtype in ("float16", "bfloat16") for layer in network.layers)


def _in_single_precision(network: keras.Model, spec: Spec) -> keras.Model:
    whole = build(spec)
    whole.set_weights(network.get_weights())
    return whole
