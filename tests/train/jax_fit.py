"""Train a small network on whatever Keras runs on: `jax_fit.py CHECKPOINT EPOCHS OUT`, and go on where one was left."""

import sys
from pathlib import Path

import numpy as np

from geoscan.labels import LABELS
from geoscan.model.backend import keras
from geoscan.model.network import build
from geoscan.model.spec import DenseNetSpec
from geoscan.model.tensorflow_runtime import NetworkDetector
from geoscan.train.augment import Augmentation
from geoscan.train.batches import Batches, StoredExamples
from geoscan.train.checkpoint import Checkpoint
from geoscan.train.loop import Schedule, Task, fit
from geoscan.train.losses import loss_of

SPEC = DenseNetSpec(blocks=(1,), growth=4, stem=4, chip=8, stem_stride=1, dropout=0.0)
EPOCHS = 3
"""Of the whole run, which ends early where fewer are asked for."""


class Stopped(Exception):  # noqa: N818
    """Stands for a kill."""


def train(checkpoint: Path, epochs: int):
    """Return the network and the history after so many epochs of the run."""
    rng = np.random.default_rng(0)
    chips = rng.integers(0, 256, (20, 8, 8, 3), dtype=np.uint8)
    targets = rng.integers(0, 2, (20, len(LABELS))).astype(np.float32)
    made = build(SPEC)
    # The same wherever it is drawn: of each backend the same seed makes other weights.
    drawn = (rng.normal(0, 0.3, weights.shape) for weights in made.get_weights())
    made.set_weights([np.abs(one) + 0.5 if one.ndim == 1 else one for one in drawn])
    detect = NetworkDetector(made, SPEC, 20)
    losses = {head.name: loss_of(head, np.ones(len(head.labels), np.float32)) for head in SPEC.heads}
    batches = Batches(
        StoredExamples(chips, targets, np.arange(20)), SPEC.heads, None, batch=10, seed=0, augmentation=Augmentation()
    )
    history = []

    def validate():
        history.append({"score": float(detect(chips).mean())})
        return history[-1]

    def stop(_):
        if len(history) == epochs:
            raise Stopped

    schedule = Schedule(EPOCHS, rate=0.003, warmup=1, average=0.5, keep="last")
    kept = Checkpoint(checkpoint, resume=checkpoint.exists())
    try:
        history = fit(made, Task(losses, batches, validate), schedule, kept, stop).history
    except Stopped:
        assert epochs < EPOCHS
    return made, history


if __name__ == "__main__":
    assert keras.backend.backend() == "jax"
    assert "tensorflow" not in sys.modules
    trained, figures = train(Path(sys.argv[1]), int(sys.argv[2]))
    weights = {f"w{n}": value for n, value in enumerate(trained.get_weights())}
    losses = [one.get("loss", np.nan) for one in figures]
    np.savez(sys.argv[3], losses=losses, scores=[one["score"] for one in figures], **weights)
