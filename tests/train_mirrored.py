"""Train the tiniest network on one CPU and on two halves of it, in a process of its own, and print what came as JSON.

TensorFlow splits a CPU in two only before it is used, so this cannot be done where other tests run.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from geoscan.errors import DatasetError
from geoscan.model.backend import keras, tf
from geoscan.model.network import build
from geoscan.model.spec import DenseNetSpec, Head
from geoscan.model.tensorflow_runtime import NetworkDetector
from geoscan.train.checkpoint import Checkpoint
from geoscan.train.loop import Outcome, Schedule, Task, fit
from geoscan.train.losses import loss_of
from geoscan.train.tensorflow_step import TensorFlowStep

HEAD = Head("land", ("road", "water"), "sigmoid")
SPEC = DenseNetSpec(blocks=(1,), growth=4, stem=4, chip=8, stem_stride=1, dropout=0.0, heads=(HEAD,))
LOSSES = {"land": loss_of(HEAD, np.ones(2, np.float32))}
RNG = np.random.default_rng(0)
CHIPS = RNG.integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
TARGETS = RNG.integers(0, 2, (12, 2)).astype(np.float32)
TARGETS[[0, 5], [0, 1]] = np.nan


class Halves:
    """Two batches an epoch; `stop` is the epoch in which it is as if the process were killed."""

    def __init__(self, stop: int = 99) -> None:
        self.stop = stop

    def __len__(self) -> int:
        return 2

    def epoch(self, number: int) -> Any:
        for rows in np.random.default_rng(number).permutation(12).reshape(2, 6):
            if number == self.stop:
                raise InterruptedError
            yield CHIPS[rows], {"land": TARGETS[rows]}


def network(strategy: tf.distribute.Strategy, *, frozen: bool = True, dtype: str = "float32") -> keras.Model:
    """Build it, its normalisations frozen: they are the one thing that sees only a part of the batch."""
    keras.utils.set_random_seed(0)
    with strategy.scope():
        built = build(SPEC, dtype)
    for layer in built.layers:
        layer.trainable = not (frozen and isinstance(layer, keras.layers.BatchNormalization))
    return built


def train(built: keras.Model, checkpoint: Path, *, stop: int = 99, resume: bool = False) -> Outcome:
    detect = NetworkDetector(built, SPEC)

    def validate() -> dict[str, float]:
        return {"ap": float(detect(CHIPS).mean())}

    schedule = Schedule(3, rate=0.01, warmup=1, average=0.8)
    return fit(built, Task(LOSSES, Halves(stop), validate), schedule, Checkpoint(checkpoint, resume=resume))


def overflow(strategy: tf.distribute.Strategy) -> dict[str, bool]:
    """Make a step of which only the last chip's gradient overflows."""
    built = network(strategy, dtype="mixed_float16")
    with strategy.scope():
        step = TensorFlowStep(built, LOSSES, keras.optimizers.SGD(0.1))
    targets = np.zeros((6, 2), np.float32)
    targets[5] = np.inf
    before = built.get_weights()
    scale = float(keras.ops.convert_to_numpy(step.optimizer.dynamic_scale))
    step(CHIPS[:6], {"land": targets})
    same = all((a == b).all() for a, b in zip(before, built.get_weights(), strict=True))
    return {"untouched": same, "halved": float(keras.ops.convert_to_numpy(step.optimizer.dynamic_scale)) == scale / 2}


def main(folder: Path) -> None:
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    one, two = tf.distribute.get_strategy(), tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    alone, shared = network(one), network(two)
    found: dict[str, Any] = {
        "alone": train(alone, folder / "alone.npz").history,
        "shared": train(shared, folder / "shared.npz").history,
        "apart": max(
            float(np.abs(a - b).max()) for a, b in zip(alone.get_weights(), shared.get_weights(), strict=True)
        ),
    }
    normalising = network(two, frozen=False)
    found["normalising"] = train(normalising, folder / "normalising.npz").history
    try:
        train(network(two, frozen=False), folder / "killed.npz", stop=2)
    except InterruptedError:
        found["resumed"] = train(network(two, frozen=False), folder / "killed.npz", resume=True).history
    found["overflow"] = overflow(two)
    try:
        TensorFlowStep(shared, LOSSES, keras.optimizers.SGD())(CHIPS[:5], {"land": TARGETS[:5]})
    except DatasetError as err:
        found["odd"] = str(err)
    json.dump(found, sys.stdout)


main(Path(sys.argv[1]))
