"""Train on chips of other classes first, and carry over what the trunk of the network has learned."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from geoscan.arrays import Visual
from geoscan.data.chips import warn
from geoscan.data.class_folders import ClassFolders
from geoscan.data.deal import stratified_group_split
from geoscan.errors import DatasetError, PackageError
from geoscan.model.backend import keras, seed
from geoscan.model.network import build
from geoscan.model.preprocess import Preprocess
from geoscan.model.spec import Head, Spec
from geoscan.model.tensorflow_runtime import NetworkDetector
from geoscan.progress import Advance
from geoscan.train.augment import Augmentation
from geoscan.train.batches import Batches, Example
from geoscan.train.checkpoint import Checkpoint
from geoscan.train.devices import policy
from geoscan.train.loop import Schedule, Task, Validate, fit
from geoscan.train.losses import loss_of

log = logging.getLogger(__name__)

HEAD = "classes"
"""Name of the one head of a network that is pre-trained."""
_HELD_OUT = 0.1
"""Share of each class that decides which epoch is kept."""
_AT_ONCE = 256
"""Validation chips that are in memory at a time."""


@dataclass(frozen=True, slots=True)
class Pretraining:
    """How long and how fast a network is pre-trained."""

    epochs: int
    batch: int
    rate: float
    seed: int


@dataclass(frozen=True)
class ClassExamples:
    """Examples of classes: squares cut at random from the chips at `rows`. Targets: one 1 for each chip."""

    source: ClassFolders
    rows: NDArray[np.integer]
    side: int

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.source.class_names

    def __len__(self) -> int:
        return len(self.rows)

    def example(self, position: int, rng: np.random.Generator) -> Example:
        """Cut a square from a chip. Raises ReadError when it can no longer be read."""
        row = int(self.rows[position])
        targets = np.eye(len(self.labels), dtype=np.float32)[self.source.classes[row]]
        return square(self.source.read(row), self.side, rng), targets


def pretrain(
    spec: Spec,
    preprocess: Preprocess,
    source: ClassFolders,
    how: Pretraining,
    checkpoint: Checkpoint,
    *,
    begin: keras.Model | None = None,
    advance: Advance = lambda _: None,
) -> keras.Model:
    """Train the network of a spec on the classes of `source` and return it as it was in its most accurate epoch.

    The network is the spec's with one softmax head, `classes`, in place of its own. Chips are brought to its size by
    `square`, varied, and then lose their haze. A tenth of each class decides which epoch is kept; chips of one place
    may lie on both sides, so the accuracy in the log says little about places that are not in the set.
    begin: a network whose trunk it starts from; random weights if None. advance: called with the number of chips after
    each step. The checkpoint stays: a run that is resumed from one of a finished run gives the network back at once.
    Raises DatasetError when no class has two chips or there is nothing to resume from, OutputError when the
    checkpoint cannot be written, ReadError when a chip has gone, KeyboardInterrupt after Ctrl-C.
    """
    warn(source.source, source.problems.lines())
    training, validation = _sides(source, how.seed)
    log.info(
        "pre-training on %d chips of %d classes, validated on %d",
        len(training),
        len(source.class_names),
        len(validation),
    )
    seed(how.seed)
    head = Head(HEAD, source.class_names, "softmax")
    classifier = replace(spec, heads=(head,))
    network = build(classifier, policy(classifier))
    if begin is not None:
        transfer(begin, network)
    batches = Batches(
        ClassExamples(source, training, spec.chip),
        classifier.heads,
        preprocess,
        batch=how.batch,
        seed=how.seed,
        augmentation=Augmentation(),
    )
    losses = {HEAD: loss_of(head, np.ones(len(head.labels), np.float32))}
    task = Task(
        losses, batches, _accuracy(NetworkDetector(network, classifier, how.batch), source, validation, preprocess)
    )
    identity = {**checkpoint.identity, **_identity(spec, preprocess, source), **asdict(how)}
    schedule = _schedule(how.epochs, how.rate, len(batches))
    outcome = fit(network, task, schedule, replace(checkpoint, identity=identity), advance)
    if outcome.interrupted:
        raise KeyboardInterrupt
    return network


def transfer(source: keras.Model, target: keras.Model) -> int:
    """Copy the weights of each layer that both networks have, by name and shapes, and return how many layers these are.

    The heads of `target` keep their own weights, whatever their names. Chips and heads may differ.
    Raises PackageError, naming both networks, where fewer than half of the layers fit; nothing is copied then.
    """
    given = {layer.name: layer for layer in source.layers}
    wanted = [layer for layer in target.layers if layer.weights and layer.name not in target.output]
    fitting = [layer for layer in wanted if layer.name in given and _shapes(given[layer.name]) == _shapes(layer)]
    if not fitting or 2 * len(fitting) < len(wanted):
        raise PackageError(
            f"{_described(source)} does not fit {_described(target)}: {len(fitting)} of {len(wanted)} below the "
            "heads are alike; start from a network of the same architecture"
        )
    for layer in fitting:
        layer.set_weights(given[layer.name].get_weights())
    return len(fitting)


def square(pixels: Visual, side: int, rng: np.random.Generator | None = None) -> NDArray[np.uint8]:
    """Bring a chip, (3, rows, cols), to (side, side, 3).

    A square is cut from a larger one, at its middle, or anywhere if `rng` is given: its pixels keep their size on the
    ground. A smaller one is cut square and enlarged.
    """
    cut = min(side, *pixels.shape[1:])
    slack = np.array(pixels.shape[1:]) - cut
    top, left = slack // 2 if rng is None else rng.integers(0, slack + 1)
    chip = np.ascontiguousarray(pixels[:, top : top + cut, left : left + cut].transpose(1, 2, 0))
    if cut < side:
        chip = np.asarray(cv2.resize(chip, (side, side), interpolation=cv2.INTER_CUBIC), np.uint8)
    return chip


def _sides(source: ClassFolders, seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Positions of the chips to train on, and of those to validate on."""
    if not len(source) or np.bincount(source.classes).max() < 2:
        raise DatasetError(
            f"no class of the {len(source)} chips in {source.source} has one to train on and one to validate on; "
            "give at least two of each class"
        )
    held = np.eye(len(source.class_names))[source.classes]
    side = stratified_group_split(held, np.arange(len(source)), (1 - _HELD_OUT, _HELD_OUT), seed)
    return np.flatnonzero(side == 0), np.flatnonzero(side == 1)


def _schedule(epochs: int, rate: float, steps: int) -> Schedule:
    """A schedule of a fixed length.

    In a short run the usual average would never get away from the random weights that it starts from.
    """
    usual = Schedule()
    average = min(usual.average, max(0.0, 1 - 10 / max(1, epochs * steps)))
    return Schedule(epochs, patience=epochs, rate=rate, warmup=min(usual.warmup, epochs / 10), average=average)


def _identity(spec: Spec, preprocess: Preprocess, source: ClassFolders) -> dict[str, Any]:
    trunk = {name: value for name, value in asdict(spec).items() if name != "heads"}
    haze = preprocess.dehaze and asdict(preprocess.dehaze)
    return trunk | {"dehaze": haze, "classes": list(source.class_names), "chips": source.fingerprint[:12]}


def _accuracy(
    detect: NetworkDetector, source: ClassFolders, rows: NDArray[np.intp], preprocess: Preprocess
) -> Validate:
    """Return what finds the share of the chips at `rows` whose class the network finds, 0..1."""

    def accuracy() -> dict[str, float]:
        hits = 0
        for part in np.array_split(rows, -(-len(rows) // _AT_ONCE)):
            chips = np.stack([square(source.read(int(i)), preprocess.chip) for i in part])
            hits += int((detect(preprocess.cleared(chips)).argmax(axis=1) == source.classes[part]).sum())
        return {"accuracy": hits / len(rows)}

    return accuracy


def _shapes(layer: keras.Layer) -> list[tuple[int, ...]]:
    return [tuple(weight.shape) for weight in layer.weights]


def _described(network: keras.Model) -> str:
    layers = sum(bool(layer.weights) for layer in network.layers)
    return f"{network.name} ({layers} layers with weights, {network.count_params():,} numbers)"
