"""One training run, from directories to a model package."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from geoscan import __version__
from geoscan.arrays import Chips, Scores
from geoscan.errors import DatasetError
from geoscan.labels import LABELS, MINE
from geoscan.model.densenet import build
from geoscan.model.package import Card, Package, save
from geoscan.model.preprocess import Preprocess
from geoscan.model.spec import DenseNetSpec
from geoscan.polygons import Thresholds
from geoscan.train.augment import Augmentation
from geoscan.train.batches import Batches, Lessons, Mosaics, Source
from geoscan.train.kaggle import Targets
from geoscan.train.loop import Outcome, Schedule, fit
from geoscan.train.losses import loss_of, positive_weights
from geoscan.train.material import Material, Ticker, gather
from geoscan.train.metrics import f2_interval, f2_samples, label_metrics, mine_metrics
from geoscan.train.partial import PartialSet
from geoscan.train.splits import stratified_group_split
from geoscan.train.store import AnyChips
from geoscan.train.thresholds import START, best_common, cross_tuned_f2, tune_f2

log = logging.getLogger(__name__)

CHECKPOINT = ".checkpoint.npz"
_MINE = LABELS.index(MINE)
_MOSAICS_JUDGED = 256
_FOLDS = 5
_FEWEST = 2
"""Chips in the validation set: one to tune thresholds on, one to judge them by."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides what a run learns; with the same data, on the same CPU, it gives the same model."""

    spec: DenseNetSpec
    preprocess: Preprocess
    schedule: Schedule = field(default_factory=Schedule)
    augmentation: Augmentation = field(default_factory=Augmentation)
    batch: int = 32
    cap_cloudy: int = 100
    held_out: float = 0.2
    mosaics: int = 8
    """Mosaics of small chips in a batch, where there are small chips."""

    lessons: int = 16
    """Chips in a batch that a teacher scored, where there is one."""

    seed: int = 0


def run(
    recipe: Recipe,
    kaggle_dir: Path,
    out: Path,
    *,
    small: tuple[Path, Path] | None = None,
    lessons: Path | None = None,
    resume: bool = False,
    cache: Path,
    ticker: Ticker = iter,
    tick: Callable[[int], None] = lambda _: None,
) -> tuple[Package, Outcome]:
    """Train a model on a Kaggle directory and write its package to `out`.

    small: archive or directory of small chips of a coarser sensor, and their index (see `train.partial`).
    lessons: directory of chips that a teacher scored (see `batches.Lessons`).
    Raises DatasetError for data that cannot be used, OutputError when something cannot be written.
    """
    keras.utils.set_random_seed(recipe.seed)
    material = gather(
        kaggle_dir,
        recipe.preprocess,
        small=small,
        cap=recipe.cap_cloudy,
        held_out=recipe.held_out,
        seed=recipe.seed,
        cache=cache,
        ticker=ticker,
    )
    judged = len(material.validation) - int(material.tagged_only_cloudy[material.validation].sum())
    if len(material.training) < 1 or judged < _FEWEST:
        raise DatasetError(
            f"of {len(material.names)} chips {len(material.training)} are left to train and {judged} that are not only "
            f"cloudy to validate; give more chips (at least {_FEWEST} are needed to validate), or another --held-out"
        )
    mosaics = _mosaics(material.small_training, recipe)
    judged_mosaics = _judged_mosaics(_mosaics(material.small_validation, recipe), recipe.seed)
    drawn: list[tuple[Source, int]] = [(mosaics, recipe.mosaics)] if mosaics else []
    if lessons is not None:
        drawn.append((Lessons(lessons, recipe.preprocess, material.split), recipe.lessons))
    network = build(recipe.spec)
    seen = material.targets[material.training]
    weights = dict(zip(LABELS, positive_weights(seen), strict=True))
    batches = Batches(
        material.chips,
        material.training,
        material.targets,
        recipe.spec.heads,
        batch=recipe.batch,
        seed=recipe.seed,
        augmentation=recipe.augmentation,
        drawn=drawn,
    )
    heads = recipe.spec.heads
    losses = {head.name: loss_of(head, np.array([weights[label] for label in head.labels])) for head in heads}
    targets = material.targets[material.validation]

    def judge(network: keras.Model) -> dict[str, float]:
        scores = score(network, material.chips, recipe.spec, material.validation)
        common = best_common(targets, scores)
        return {"f2": f2_samples(targets, scores >= common), "threshold": common}

    outcome = fit(
        network,
        losses,
        batches,
        judge,
        recipe.schedule,
        out / CHECKPOINT,
        resume=resume,
        identity=_identity(recipe, material, lessons),
        tick=tick,
    )
    card = _card(out.resolve().name, recipe, material, network, outcome, judged_mosaics)
    trained = build(recipe.spec)  # what was compiled would be saved with its optimizer, which is three times as large
    trained.set_weights(network.get_weights())
    package = save(out, trained, card)
    if not outcome.interrupted:
        (out / CHECKPOINT).unlink(missing_ok=True)
    return package, outcome


def score(
    network: keras.Model,
    chips: AnyChips,
    spec: DenseNetSpec,
    rows: NDArray[np.integer] | None = None,
    batch: int = 32,
) -> Scores:
    """Scores of prepared chips, (n, 17), columns as in `LABELS`; of the chips at `rows` if given.

    Only a batch at a time is in memory, and the last one is filled up, so that one traced shape serves all.
    """
    rows = np.arange(len(chips)) if rows is None else rows
    scores = np.zeros((len(rows), len(LABELS)), np.float32)
    for start in range(0, len(rows), batch):
        part = rows[start : start + batch]
        answers = network.predict_on_batch(np.asarray(chips[np.resize(part, batch)]))
        for head in spec.heads:
            columns = [LABELS.index(label) for label in head.labels]
            scores[start : start + batch, columns] = answers[head.name][: len(part)]
    return scores


def _identity(recipe: Recipe, material: Material, lessons: Path | None) -> dict[str, Any]:
    """What decides how a run goes, by name; patience only decides how long."""
    options = asdict(recipe)
    schedule = {key: value for key, value in options.pop("schedule").items() if key != "patience"}
    data = {"data": material.facts["fingerprint"][:12], "small chips": material.facts.get("small_chips")}
    return options | schedule | data | {"lessons from": lessons and lessons.name}


def _mosaics(small: PartialSet | None, recipe: Recipe) -> Mosaics | None:
    if small is None:
        return None
    return Mosaics(small, recipe.preprocess, (recipe.spec.mean, recipe.spec.std))


def _judged_mosaics(mosaics: Mosaics | None, seed: int) -> tuple[Chips, NDArray[np.float32]] | None:
    if mosaics is None:
        return None
    rng = np.random.default_rng(seed)
    drawn = [mosaics.draw(rng) for _ in range(_MOSAICS_JUDGED)]
    return np.stack([chip for chip, _ in drawn]), np.stack([targets[_MINE] for _, targets in drawn])


def _card(
    name: str,
    recipe: Recipe,
    material: Material,
    network: keras.Model,
    outcome: Outcome,
    mosaics: tuple[Chips, NDArray[np.float32]] | None,
) -> Card:
    targets = material.targets[material.validation]
    scores = score(network, material.chips, recipe.spec, material.validation)
    thresholds = tune_f2(targets, scores)
    kept = ~material.tagged_only_cloudy[material.validation]
    metrics = figures(targets, scores, kept, material.groups[material.validation], recipe.seed)
    if mosaics is not None:
        metrics["mosaics"] = asdict(mine_metrics(mosaics[1], score(network, mosaics[0], recipe.spec)[:, _MINE]))
    return Card(
        name=name,
        spec=recipe.spec,
        preprocess=recipe.preprocess,
        thresholds=thresholds,
        detection=detection_thresholds(scores[targets[:, _MINE] == 0, _MINE], thresholds[MINE]),
        metrics=metrics,
        data=dict(material.facts),
        training={
            "geoscan": __version__,
            "keras": keras.version(),
            "recipe": {key: value for key, value in asdict(recipe).items() if key not in {"spec", "preprocess"}},
            "seconds": round(outcome.seconds),
            "best_epoch": outcome.best_epoch,
            "history": outcome.history,
            "interrupted": outcome.interrupted,
        },
    )


def figures(
    targets: Targets, scores: Scores, kept: NDArray[np.bool_], groups: NDArray[np.integer], seed: int
) -> dict[str, Any]:
    """Return what the card says of validation chips.

    targets, scores: (n, 17). kept: (n,), True for the chips that are not tagged only `cloudy`: the figures that count
    are theirs. groups: (n,), the place of each chip. Thresholds are tuned on other places of the validation set, in 5
    folds, so no F2 is tuned on what it judges; which epoch was kept, however, was decided on these same chips, and the
    figures of single labels are at the card's thresholds, tuned on all of them.
    """
    thresholds = tune_f2(targets, scores)
    named = {}
    for key, rows in (("not_only_cloudy", kept), ("all", np.ones(len(targets), bool))):
        n = int(rows.sum())
        folds = min(_FOLDS, len(np.unique(groups[rows])))
        fold = stratified_group_split(targets[rows], groups[rows], folds, seed)
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


def detection_thresholds(others: NDArray[np.floating], tuned: float) -> Thresholds:
    """Thresholds for polygons.

    others: (n,), mine scores of validation chips without a mine. tuned: the label's own threshold.
    Neighbours confirm each other, so among them one chip needs no more than the label's threshold and the others half
    of it; a chip alone must score more than 99 % of the chips without a mine.
    """
    rare = float(np.quantile(others, 0.99)) if len(others) else tuned
    return Thresholds(seed=round(tuned, 3), join=round(tuned / 2, 3), lone=round(max(rare, tuned), 3))
