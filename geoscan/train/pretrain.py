"""Learn to see from chips of other classes first, and carry over what the trunk of the network has learned."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from geoscan.ahead import made_ahead
from geoscan.arrays import Visual, filled
from geoscan.data.class_folders import ClassFolders
from geoscan.data.deal import stratified_group_split
from geoscan.errors import DatasetError, PackageError
from geoscan.model.backend import keras
from geoscan.model.network import build
from geoscan.model.spec import Head, Spec
from geoscan.train.augment import Augmentation
from geoscan.train.batches import Batch
from geoscan.train.loop import Schedule, fit
from geoscan.train.losses import loss_of

log = logging.getLogger(__name__)

CHECKPOINT = ".pretrain.npz"
HEAD = "classes"
"""Name of the one head of a network that is pre-trained."""


class ClassBatches:
    """(chips, targets) of one epoch after another: all chips once, shuffled, augmented, read where they are needed.

    chips: (n, side, side, 3). targets: of the head `classes`, (n, classes), one 1 in each row.
    indexes: of the chips to take. The same seed and epoch give the same batches.
    """

    def __init__(
        self,
        source: ClassFolders,
        indexes: NDArray[np.integer],
        side: int,
        *,
        batch: int,
        seed: int,
        augmentation: Augmentation,
    ) -> None:
        self._source, self._indexes, self._side = source, indexes, side
        self._batch = max(1, min(batch, len(indexes)))
        self._seed, self._augmentation = seed, augmentation

    def __len__(self) -> int:
        # The last few chips wait for another epoch's order, so that every batch has one shape and is compiled once.
        return len(self._indexes) // self._batch

    def epoch(self, number: int) -> Iterator[Batch]:
        """Yield the batches of an epoch. Raises ReadError when a chip can no longer be read."""
        order = np.random.default_rng((self._seed, number)).permutation(self._indexes)

        def make(step: int) -> Batch:
            rng = np.random.default_rng((self._seed, number, step))
            own = order[step * self._batch : (step + 1) * self._batch]
            chips = [self._augmentation(square(self._source.read(int(i)), self._side, rng), rng) for i in own]
            targets = np.eye(len(self._source.class_names), dtype=np.float32)[self._source.classes[own]]
            return np.stack(chips), {HEAD: targets}

        return made_ahead(make, len(self))


def pretrain(
    spec: Spec,
    source: ClassFolders,
    *,
    epochs: int,
    batch: int,
    rate: float,
    seed: int,
    held_out: float = 0.1,
    out: Path,
    resume: bool = False,
    tick: Callable[[int], None] = lambda _: None,
    begin: keras.Model | None = None,
    begins_as: str = "none",
) -> keras.Model:
    """Train the network of a spec on the classes of `source` and return it as it was in its most accurate epoch.

    The network is the spec's with one softmax head, `classes`, in place of its own. Chips are brought to its size by
    `square`; their colours stay as they are. A share `held_out` of each class decides which epoch is kept; chips of one
    place may lie on both sides, so the accuracy in the log says little about places that are not in the set.
    begin: a network whose trunk it starts from; random weights if None. begins_as: by which `resume` knows it again.
    The checkpoint in `out` stays, for `resume` to go on from; of a finished run it gives the network back at once.
    Raises DatasetError when no class has two chips or there is nothing to resume from, OutputError when the
    checkpoint cannot be written, ReadError when a chip has gone, KeyboardInterrupt after Ctrl-C.
    """
    for line in source.problems.lines():
        log.warning("%s: %s", source.source, line)
    training, validation = _split(source, held_out, seed)
    log.info(
        "pre-training on %d chips of %d classes, judged on %d",
        len(training),
        len(source.class_names),
        len(validation),
    )
    keras.utils.set_random_seed(seed)
    head = Head(HEAD, source.class_names, "softmax")
    network = build(replace(spec, heads=(head,)))
    if begin is not None:
        transfer(begin, network)
    batches = ClassBatches(source, training, spec.chip, batch=batch, seed=seed, augmentation=Augmentation())
    outcome = fit(
        network,
        {HEAD: loss_of(head, np.ones(len(head.labels), np.float32))},
        batches,
        lambda judged: {"accuracy": _accuracy(judged, source, validation, spec.chip, batch)},
        _schedule(epochs, rate, len(batches)),
        out / CHECKPOINT,
        resume=resume,
        identity=_identity(
            spec, source, epochs=epochs, batch=batch, rate=rate, seed=seed, held_out=held_out, begins_as=begins_as
        ),
        tick=tick,
    )
    if outcome.interrupted:
        raise KeyboardInterrupt
    return network


def transfer(source: keras.Model, target: keras.Model) -> int:
    """Copy the weights of each layer that both networks have, by name and shapes; how many layers that were.

    The heads of `target` keep their own weights, whatever the names. Chips and heads may differ; where less than half
    of the layers fit, the architecture does, and nothing is copied.
    Raises PackageError then, naming both networks.
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

    Of a larger one a square is cut, the middle one, or any if `rng` is given: its pixels keep their size on the ground.
    A smaller one is enlarged, after cutting it square.
    """
    cut = min(side, *pixels.shape[1:])
    slack = np.array(pixels.shape[1:]) - cut
    top, left = slack // 2 if rng is None else rng.integers(0, slack + 1)
    chip = np.ascontiguousarray(pixels[:, top : top + cut, left : left + cut].transpose(1, 2, 0))
    if cut < side:
        chip = cv2.resize(chip, (side, side), interpolation=cv2.INTER_CUBIC)  # type: ignore[assignment]
    return chip


def _split(source: ClassFolders, held_out: float, seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Positions of the chips to learn from, and of those to judge by."""
    if not len(source) or np.bincount(source.classes).max() < 2:
        raise DatasetError(
            f"no class of the {len(source)} chips in {source.source} has one to learn from and one to judge by; "
            "give at least two of each class"
        )
    held = np.eye(len(source.class_names))[source.classes]
    fold = stratified_group_split(held, np.arange(len(source)), (1 - held_out, held_out), seed)
    return np.flatnonzero(fold == 0), np.flatnonzero(fold == 1)


def _schedule(epochs: int, rate: float, steps: int) -> Schedule:
    """One of a fixed length; in a short run the averaged weights would never leave the random ones they start from."""
    usual = Schedule()
    average = min(usual.average, max(0.0, 1 - 10 / max(1, epochs * steps)))
    return Schedule(epochs, patience=epochs, rate=rate, warmup=min(usual.warmup, epochs / 10), average=average)


def _identity(spec: Spec, source: ClassFolders, **options: float | str) -> dict[str, Any]:
    trunk = {name: value for name, value in asdict(spec).items() if name != "heads"}
    return trunk | options | {"classes": list(source.class_names), "chips": source.fingerprint[:12]}


def _accuracy(network: keras.Model, source: ClassFolders, rows: NDArray[np.intp], side: int, batch: int) -> float:
    """Share of the chips at `rows` whose class the network finds, 0..1."""
    hits, batch = 0, min(batch, len(rows))
    for part, count in filled(rows, batch):
        chips = np.stack([square(source.read(int(i)), side) for i in part])
        found = network.predict_on_batch(chips)[HEAD].argmax(axis=1) == source.classes[part]
        hits += int(found[:count].sum())
    return hits / len(rows)


def _shapes(layer: keras.Layer) -> list[tuple[int, ...]]:
    return [tuple(weight.shape) for weight in layer.weights]


def _described(network: keras.Model) -> str:
    layers = sum(bool(layer.weights) for layer in network.layers)
    return f"{network.name} ({layers} layers with weights, {network.count_params():,} numbers)"
