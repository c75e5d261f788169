"""What a step on JAX is compiled to, and where that is kept: `jax_programs.py FOLDER`, where Keras runs on JAX."""

import os
import sys
from pathlib import Path

import jax
import numpy as np
from jax_fit import SPEC

from geoscan.model.backend import keras
from geoscan.model.network import POOL, build, with_output
from geoscan.train import jax_step
from geoscan.train.jax_step import JaxStep
from geoscan.train.losses import FeatureLoss, loss_of
from geoscan.train.teachers import TEACHER_FEATURES

RNG = np.random.default_rng(0)
CHIPS = RNG.integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
TARGETS = {head.name: RNG.random((4, len(head.labels))).astype(np.float32) for head in SPEC.heads}
TARGETS[TEACHER_FEATURES] = np.ones((4, 2), np.float32)


def program(weight, rate, epsilon=1e-7):
    """Return the texts of three steps and their losses, at this rate, at 0, and at the same again."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    network = with_output(build(SPEC), TEACHER_FEATURES, POOL, 2)
    losses = {head.name: loss_of(head, np.full(len(head.labels), weight, np.float32)) for head in SPEC.heads}
    losses[TEACHER_FEATURES] = FeatureLoss(weight)
    step = JaxStep(network, losses, keras.optimizers.Adam(rate, epsilon=epsilon))
    texts = []
    compiled = step._run

    def told(*given):
        texts.append(compiled.lower(*given).as_text())
        return compiled(*given)

    step._run = told
    came = [float(step(CHIPS, TARGETS, rate)), float(step(CHIPS, TARGETS, 0.0)), float(step(CHIPS, TARGETS))]
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
    os.environ["XDG_CACHE_HOME"] = sys.argv[1]
    kept = Path(sys.argv[1]) / "geoscan" / "jax"
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    program(1.0, 0.01)
    assert list(kept.glob("jit__changed-*")), "though JAX has compiled others before"
    assert Path(jax.config.jax_compilation_cache_dir) == kept
    jax.config.update("jax_compilation_cache_dir", "elsewhere")
    jax_step._keep_programs()
    assert jax.config.jax_compilation_cache_dir == "elsewhere", "which was asked for"
