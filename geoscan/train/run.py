"""One training run, from directories to a model package."""

from __future__ import annotations

import json
import logging
import os
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoscan import __version__
from geoscan.arrays import Chips, Scores, filled
from geoscan.data.cache import AnyChips
from geoscan.data.class_folders import read_folders
from geoscan.data.images import Images, listed
from geoscan.data.material import Material, Ticker, alike, gather, gather_small, same_split
from geoscan.data.mine_chips import PartialSet
from geoscan.errors import DatasetError, OutputError
from geoscan.evaluate.metrics import mine_figures
from geoscan.files import replacing
from geoscan.labels import LABELS, MINE, columns
from geoscan.machine import BATCH
from geoscan.model.backend import keras
from geoscan.model.figures import MineFigures
from geoscan.model.network import POOL, build, with_output
from geoscan.model.origin import Training
from geoscan.model.package import Package, find, save
from geoscan.model.pretrained import imagenet, scaled
from geoscan.model.runtime import Averaged, TensorFlowDetector
from geoscan.model.spec import PLANET_MEAN, PLANET_STD, Spec
from geoscan.train.batches import Batches
from geoscan.train.card import Judged, figure, make_card
from geoscan.train.devices import policy, strategy
from geoscan.train.loop import Epochs, Judge, Outcome, fit
from geoscan.train.losses import likeness, loss_of, positive_weights
from geoscan.train.mosaics import Blends, Mosaics, Source
from geoscan.train.pretrain import CHECKPOINT as PRETRAINING
from geoscan.train.pretrain import pretrain, transfer
from geoscan.train.recipe import Data, Recipe
from geoscan.train.teachers import FORETOLD, Taught, of_fold, teachers_of

log = logging.getLogger(__name__)
CHECKPOINT = ".checkpoint.npz"
_LEFTOVERS = ".*.npz"
"""What a run keeps beside its package until it is done, for another to resume."""
_NO_PACKAGE = ("none", "imagenet")
"""What weights may begin with that is no model package."""
_MINE = LABELS.index(MINE)
_PLANET_LOOK = (PLANET_MEAN, PLANET_STD)
_MOSAICS_JUDGED = 256
_FEWEST = 2
"""Chips in the validation set: one to tune thresholds on, one to judge them by."""


def run(
    recipe: Recipe,
    data: Data,
    out: Path,
    *,
    resume: bool = False,
    keep_folds: bool = False,
    cache: Path,
    ticker: Ticker = iter,
    tick: Callable[[int], None] = lambda _: None,
) -> tuple[Package, Outcome]:
    """Train a model and write its package to `out`.

    With folds, a network is trained without each of them and judged by it; the package's own is then trained on all
    chips, and its figures are those of the others. Those networks are lost, unless `keep_folds` writes their packages
    too, to `out`/fold1 and so on: for another run with the same folds they are teachers that have not seen them.
    Returns the package, and how its own training went.
    Raises DatasetError for data that cannot be used or nothing to resume, OutputError when something cannot be written,
    PackageError for a model to begin with or a teacher that does not fit, KeyboardInterrupt after Ctrl-C where there is
    nothing to keep yet: in a fold, in pre-training, in the first epoch.
    Without `resume`, what an earlier run left to resume is deleted.
    """
    _check_out(out)
    if resume and not any(out.glob(_LEFTOVERS)):
        raise DatasetError(f"{out} holds no checkpoint, so there is nothing to resume; leave --resume out")
    init = None if recipe.init in _NO_PACKAGE else find(recipe.init)
    recipe = replace(recipe, spec=_as_it_begins(recipe, init))
    if recipe.split.folds:  # no epoch may be chosen by the chips that judge
        recipe = replace(recipe, schedule=replace(recipe.schedule, keep="last"))
    material = material_of(recipe, data, cache, ticker)
    trainer = _Trainer(recipe, data, material, init, out, resume, keep_folds, ticker, tick)
    if not resume:
        _clear_up(out)
    held_out = None if recipe.split.folds else 1
    crossed = trainer.cross_validate(recipe.split.folds) if recipe.split.folds else None
    network, outcome, judged = trainer.train(held_out, CHECKPOINT)
    card = make_card(
        out.resolve().name,
        recipe.spec,
        recipe.preprocess,
        material,
        crossed or judged,
        trainer.facts(held_out, network, outcome),
        trainer.judged_mosaics(network),
    )
    package = save(out, network, card)
    if not outcome.interrupted:
        _clear_up(out)
    return package, outcome


class _Trainer:
    """Trains the networks of one run."""

    def __init__(
        self,
        recipe: Recipe,
        data: Data,
        material: Material,
        init: Package | None,
        out: Path,
        resume: bool,
        keep_folds: bool,
        ticker: Ticker,
        tick: Callable[[int], None],
    ) -> None:
        self._recipe, self._material, self._init, self._out = recipe, material, init, out
        self._resume, self._keep_folds, self._tick = resume, keep_folds, tick
        self._teachers = teachers_of(recipe, material.split)
        self._classes = read_folders(data.classes, ticker) if data.classes else None
        self._unlabelled = _unlabelled(data.unlabelled, recipe, ticker) if data.unlabelled else None
        self._trunk: keras.Model | None = None
        self._begins = init.card.digest if init else recipe.init
        _, small = material.small_sides()
        self._held_out = None if small is None or recipe.split.folds else self._mosaics(small)
        self._devices = strategy()

    def facts(self, held_out: int | None, network: keras.Model, outcome: Outcome) -> Training:
        """What a card says of how its network came to be, trained without one fold, None for on all chips."""
        return Training(
            geoscan=__version__,
            keras=keras.version(),
            recipe=_plain(self._recipe),
            teachers=tuple(self._digests(held_out)),
            parameters=network.count_params(),
            history=tuple(outcome.history),
            best_epoch=outcome.best_epoch,
            seconds=outcome.seconds,
            interrupted=outcome.interrupted,
        )

    def cross_validate(self, folds: int) -> Judged:
        """Train a network without each fold, and return what each says of the fold that it has not seen."""
        scores = np.full(self._material.targets.shape, np.nan, np.float32)
        for fold in range(folds):
            rows = self._material.sides(fold)[1]
            kept = self._out / f".fold{fold + 1}-scores.npz"
            identity = json.dumps(self._identity(fold), sort_keys=True)
            lost = self._keep_folds and not of_fold(self._out, fold).is_dir()
            if self._resume and not lost and (done := _scores_of(kept, identity)) is not None:
                scores[rows] = done
                continue
            log.info("fold %d of %d: %d chips kept out", fold + 1, folds, len(rows))
            network, outcome, judged = self.train(fold, f".fold{fold + 1}.npz")
            if outcome.interrupted:
                raise KeyboardInterrupt
            if self._keep_folds:
                self._save_fold(fold, network, outcome, judged)
            scores[rows] = judged.scores
            with replacing(kept) as part, part.open("wb") as file:
                np.savez(file, scores=judged.scores, identity=np.array(identity))
        return Judged(self._material.readable, scores[self._material.readable], self._recipe.tta)

    def train(self, held_out: int | None, checkpoint: str) -> tuple[keras.Model, Outcome, Judged]:
        """Train a network without one fold, None for on all chips, and judge it by that fold."""
        recipe, material = self._recipe, self._material
        training, validation = material.sides(held_out)
        small, _ = material.small_sides(held_out)
        keras.utils.set_random_seed(recipe.split.seed)
        path = self._out / checkpoint
        with self._devices.scope():
            network = self._begin()
        keras.utils.set_random_seed(recipe.split.seed)
        heads, seen = recipe.spec.heads, material.targets[training]
        weights = dict(zip(LABELS, positive_weights(seen), strict=True))
        losses = {
            head.name: loss_of(head, np.array([weights[label] for label in head.labels]), recipe.focus)
            for head in heads
        }
        batches = Batches(
            material.chips,
            training,
            material.targets,
            heads,
            batch=recipe.batch,
            seed=recipe.split.seed,
            augmentation=recipe.augmentation,
            mixup=recipe.mixup,
            drawn=self._drawn(small, training),
        )
        learner = network
        lessons: Epochs = batches
        if recipe.distill:
            packages = self._teachers[held_out]
            teachers = [TensorFlowDetector(package, recipe.batch, features=True) for package in packages]
            lessons = taught = Taught(batches, [teacher.describe for teacher in teachers], heads)
            with self._devices.scope():
                learner = with_output(network, FORETOLD, POOL, taught.channels)
            losses[FORETOLD] = likeness(recipe.features)
        outcome = fit(
            learner,
            losses,
            lessons,
            self._judge(validation) if len(validation) else None,
            recipe.schedule,
            path,
            resume=self._resume and path.exists(),
            identity=self._identity(held_out),
            tick=self._tick,
        )
        return network, outcome, Judged(validation, self._score(network, material.chips, validation), recipe.tta)

    def _score(self, network: keras.Model, chips: AnyChips, rows: NDArray[np.integer] | None = None) -> Scores:
        """Score chips as the card has it."""
        return score(network, chips, self._recipe.spec, rows, tta=self._recipe.tta)

    def _save_fold(self, fold: int, network: keras.Model, outcome: Outcome, judged: Judged) -> None:
        out, recipe = of_fold(self._out, fold), self._recipe
        name = f"{self._out.resolve().name}-{out.name}"
        facts = self.facts(fold, network, outcome)
        save(out, network, make_card(name, recipe.spec, recipe.preprocess, self._material, judged, facts, without=fold))

    def judged_mosaics(self, network: keras.Model) -> MineFigures | None:
        """Figures on mosaics of small chips that were held out, for the card."""
        if self._held_out is None:
            return None
        rng = np.random.default_rng(self._recipe.split.seed)
        drawn = [self._held_out.draw(rng) for _ in range(_MOSAICS_JUDGED)]
        scores = self._score(network, np.stack([chip for chip, _ in drawn]))[:, _MINE]
        return mine_figures(np.stack([targets[_MINE] for _, targets in drawn]), scores)

    def _begin(self) -> keras.Model:
        """Return the network as the recipe has it begin."""
        recipe, dtype = self._recipe, policy()
        if recipe.init == "imagenet":
            network = imagenet(recipe.spec, dtype)
        else:
            network = build(recipe.spec, dtype)
            if self._init is not None:
                _warn_of_leak(self._init, self._material.split)
                log.info("%d layers begin as in %s", transfer(self._init.network(), network), self._init.path)
        if self._classes is not None and recipe.pretrain_epochs:
            self._trunk = self._trunk or self._pretrained(network)
            log.info("%d layers begin as %s taught them", transfer(self._trunk, network), self._classes.source)
        return network

    def _pretrained(self, begin: keras.Model) -> keras.Model:
        assert self._classes is not None
        recipe = self._recipe
        return pretrain(
            recipe.spec,
            self._classes,
            epochs=recipe.pretrain_epochs,
            batch=recipe.batch,
            rate=recipe.schedule.rate,
            seed=recipe.split.seed,
            out=self._out,
            resume=self._resume and (self._out / PRETRAINING).exists(),
            tick=self._tick,
            begin=begin,
            begins_as=self._begins,
        )

    def _drawn(self, small: PartialSet | None, training: NDArray[np.intp]) -> list[tuple[Source, int]]:
        recipe = self._recipe
        drawn: list[tuple[Source, int]] = []
        if small is not None:
            drawn.append((self._mosaics(small), recipe.mosaics))
        if recipe.distill:
            drawn.append((Blends(self._material.chips, training), recipe.blends))
        if self._unlabelled is not None:
            drawn.append((Mosaics(self._unlabelled, recipe.preprocess, _PLANET_LOOK), recipe.foreign))
        return drawn

    def _mosaics(self, small: PartialSet) -> Mosaics:
        return Mosaics(small, self._recipe.preprocess, _PLANET_LOOK, small.targets[:, _MINE])

    def _judge(self, validation: NDArray[np.intp]) -> Judge:
        spec, chips, targets = self._recipe.spec, self._material.chips, self._material.targets[validation]
        return lambda network: figure(targets, score(network, chips, spec, validation), spec.labels)

    def _identity(self, held_out: int | None) -> dict[str, Any]:
        """What decides how a run goes, by name; patience only decides how long."""
        options = asdict(self._recipe)
        schedule = {key: value for key, value in options.pop("schedule").items() if key != "patience"}
        data = {
            "split": dict(self._material.split),
            "classes": self._classes and self._classes.fingerprint[:12],
            "unlabelled": self._unlabelled and self._unlabelled.fingerprint[:12],
            "begins as": self._begins,
        }
        return options | schedule | data | {"teachers": self._digests(held_out), "without": held_out}

    def _digests(self, held_out: int | None) -> list[str]:
        return [package.card.digest for package in self._teachers.get(held_out, ())]


def score(
    network: keras.Model,
    chips: AnyChips,
    spec: Spec,
    rows: NDArray[np.integer] | None = None,
    batch: int = BATCH,
    *,
    tta: bool = False,
) -> Scores:
    """Scores of prepared chips, (n, 17), columns as in `LABELS`; of the chips at `rows` if given.

    What the network does not know scores 0. Only some batches at a time are in memory.
    tta: means over symmetries, see `Averaged`.
    """
    rows = np.arange(len(chips)) if rows is None else rows
    scores = np.zeros((len(rows), len(LABELS)), np.float32)

    def detect(some: Chips) -> Scores:
        parts = []
        for part, count in filled(some, batch):
            answers = network.predict_on_batch(part)
            parts.append(np.concatenate([answers[head.name] for head in spec.heads], axis=1)[:count])
        return np.concatenate(parts)

    answer = Averaged(detect) if tta else detect
    for start in range(0, len(rows), batch):
        part = rows[start : start + batch]
        scores[start : start + batch, columns(spec.labels)] = answer(np.asarray(chips[part]))
    return scores


def material_of(recipe: Recipe, data: Data, cache: Path, ticker: Ticker = iter) -> Material:
    """Read the chips of a run and deal them. Raises DatasetError when too few are left."""
    options: dict[str, Any] = {"cache": cache, "ticker": ticker, "licence": data.licence}
    if data.kaggle is not None:
        options |= {"small": data.small, "cap": recipe.cap_cloudy}
        material = gather(data.kaggle, recipe.preprocess, recipe.split, **options)
    else:
        assert data.small is not None
        material = gather_small(data.small, recipe.preprocess, recipe.split, **options)
    training, validation = (material.readable,) * 2 if recipe.split.folds else material.sides()
    judged = len(validation) - int(material.tagged_only_cloudy[validation].sum())
    if len(training) < 1 or judged < _FEWEST:
        raise DatasetError(
            f"of {len(material.names)} chips {len(training)} are left to train and {judged} that are not only "
            f"cloudy to validate; give more chips (at least {_FEWEST} to validate are needed), or another --held-out"
        )
    if recipe.spec.labels == (MINE,):
        _check_kinds(recipe, material)
    return material


def _check_kinds(recipe: Recipe, material: Material) -> None:
    """Raise DatasetError unless there are mines and others to train on, without each fold, and to judge by."""
    folds = recipe.split.folds
    sides = [("to train on", material.sides(fold)[0]) for fold in (range(folds) if folds else (1,))]
    for what, rows in [*sides, ("to judge by", material.readable if folds else material.sides()[1])]:
        mines = int((material.targets[rows, _MINE] == 1).sum())
        if not 0 < mines < len(rows):
            raise DatasetError(
                f"there are {mines} mines and {len(rows) - mines} others {what}, for campaigns are never cut; give "
                "more campaigns that hold mines, or others, or choose another --seed, --held-out or --folds"
            )


def _unlabelled(source: Path, recipe: Recipe, ticker: Ticker) -> Images:
    """List the unlabelled chips. Raises DatasetError when none can be read, or nobody is there to judge them."""
    if not recipe.distill:
        raise DatasetError(f"nobody says what the unlabelled chips in {source} show; pass --distill too")
    found = Images(source, tuple(listed(source)))
    if not found.names:
        raise DatasetError(f"{source} holds no PNG or JPEG images")
    return Images(source, tuple(found.names[i] for i in alike(found, ticker)))


def _as_it_begins(recipe: Recipe, init: Package | None) -> Spec:
    """Return the architecture with the scaling of the colours that the weights it begins with were trained for."""
    if recipe.init == "imagenet":
        return scaled(recipe.spec)
    if init is not None and init.card.spec.family == recipe.spec.family:
        return replace(recipe.spec, mean=init.card.spec.mean, std=init.card.spec.std)
    return recipe.spec


def _clear_up(out: Path) -> None:
    """Delete what a run keeps beside its package to be resumed. Raises OutputError when it cannot be deleted."""
    for leftover in out.glob(_LEFTOVERS):
        try:
            leftover.unlink()
        except OSError as err:
            raise OutputError(f"{leftover} cannot be deleted: {err.strerror}") from err


def _warn_of_leak(package: Package, split: Mapping[str, Any]) -> None:
    before = package.card.data.split
    seen, judged = ({facts.get("data"), facts.get("small")} - {None} for facts in (before, split))
    if seen & judged and (not same_split(before, split) or "folds" in split):
        log.warning(
            "%s learned from another split of these chips: figures on the validation chips will flatter", package.path
        )


def _check_out(out: Path) -> None:
    """Say before the work whether a package can be written. Raises OutputError."""
    there = next(folder for folder in (out.resolve(), *out.resolve().parents) if folder.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise OutputError(f"{out} cannot be written: {there} is no folder that may be written to; choose another --out")


def _plain(recipe: Recipe) -> dict[str, Any]:
    """Return the recipe as JSON has it, without what the card says elsewhere; packages by their names alone."""
    plain: dict[str, Any] = json.loads(json.dumps(asdict(recipe)))
    plain |= {"init": Path(recipe.init).name, "distill": [Path(name).name for name in recipe.distill]}
    return {key: value for key, value in plain.items() if key not in {"spec", "preprocess"}}


def _scores_of(path: Path, identity: str) -> Scores | None:
    """Scores of a fold that is finished, or None. Raises DatasetError when a run with another identity finished it."""
    if not path.exists():
        return None
    try:
        with np.load(path) as stored:
            scores: Scores = stored["scores"]
            other = str(stored["identity"]) != identity
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile):
        log.warning("%s cannot be read; that fold is trained anew", path)
        return None
    if other:
        raise DatasetError(
            f"{path} is of another run; resume with the options and data it was started with, or leave --resume out"
        )
    return scores
