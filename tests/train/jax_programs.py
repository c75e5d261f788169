"""What a step on JAX is compiled to, and where that is kept, checked where Keras runs on JAX."""

import os
from pathlib import Path

import jax
import numpy as np
from jax_fit import SPEC

from geoscan.model.backend import keras
from geoscan.model.network import POOL, build, with_output
from geoscan.train import jax_step
from geoscan.train.jax_step import JaxStep
from geoscan.train.losses import FeatureLoss, loss_of

RNG = np.random.default_rng(0)
CHIPS = RNG.integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
TARGETS = {head.name: RNG.random((4, len(head.labels))).astype(np.float32) for head in SPEC.heads}
FEATURES = {"features_of_others": np.ones((4, 2), np.float32)}


def program(weight, rate, epsilon=1e-7):
    """Return the text of a step, and its losses at two rates, the second 0."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    network = with_output(build(SPEC), "features_of_others", POOL, 2)
    losses = {head.name: loss_of(head, np.full(len(head.labels), weight, np.float32)) for head in SPEC.heads}
    step = JaxStep(
        network, {**losses, "features_of_others": FeatureLoss(weight)}, keras.optimizers.Adam(rate, epsilon=epsilon)
    )
    texts = []
    compiled = step._run

    def told(*given):
        texts.append(compiled.lower(*given).as_text())
        return compiled(*given)

    step._run = told
    targets = {**TARGETS, **FEATURES}
    came = [float(step(CHIPS, targets, rate)), float(step(CHIPS, targets, 0.0)), float(step(CHIPS, targets))]
    step.settle()
    assert step.optimizer.learning_rate == 0
    return texts, came


if __name__ == "__main__":
    (first, again, _), came = program(1.0, 0.01)
    (other, *_), weighted = program(1.7, 0.02)
    (changed, *_), _ = program(1.0, 0.01, epsilon=1e-3)
    assert first == again == other
    assert first != changed, "what is part of the program shows in it"
    assert weighted[0] > came[0], "the weights count"
    assert came[0] != came[1] == came[2], "a step at a rate of 0 changes no weights"

    jax_step.gpus = lambda: ["one"]
    os.environ["XDG_CACHE_HOME"] = "somewhere"
    jax_step._keep_programs()
    assert Path(jax.config.jax_compilation_cache_dir) == Path("somewhere/geoscan/jax")
    jax.config.update("jax_compilation_cache_dir", "elsewhere")
    jax_step._keep_programs()
    assert jax.config.jax_compilation_cache_dir == "elsewhere", "which was asked for"
