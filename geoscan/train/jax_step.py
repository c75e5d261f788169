"""One training step of JAX."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import jax
import numpy as np

from geoscan.arrays import Chips
from geoscan.errors import OutputError
from geoscan.files import cache_directory
from geoscan.model.backend import gpus, keras
from geoscan.train.losses import CrossEntropy, FeatureLoss, Loss
from geoscan.train.step import Targets

jax.tree_util.register_dataclass(CrossEntropy, data_fields=["weights"], meta_fields=["exclusive"])
jax.tree_util.register_dataclass(FeatureLoss, data_fields=["weight"], meta_fields=[])


class JaxStep:
    """Changes a network's weights by one batch, compiled, on JAX' first device.

    All that changes stays on the device between the steps: to assign hundreds of variables takes as long as a step.
    Each step gives its memory to the next, so that the variables hold copies.

    To compile a step for a GPU takes a minute. What differs between the folds of a run, the weights of labels and the
    learning rate, is therefore given to the program, not part of it, and JAX keeps programs on disk: one serves all.

    losses, optimizer: as in `TensorFlowStep`; losses of `train.losses`, the optimizer without a schedule of its own.
    """

    def __init__(self, network: keras.Model, losses: Mapping[str, Loss], optimizer: keras.optimizers.Optimizer) -> None:
        _keep_programs()
        self._network, self._losses, self.optimizer = network, dict(losses), optimizer
        optimizer.build(network.trainable_variables)
        self._variables = (network.trainable_variables, network.non_trainable_variables, optimizer.variables)
        self._rate = next(n for n, one in enumerate(optimizer.variables) if one.path == optimizer.learning_rate.path)
        self._run = jax.jit(self._changed, donate_argnums=0)
        self._state: tuple[list[Any], ...] | None = None
        self._before: Any = None

    def __call__(self, chips: Chips, targets: Targets, rate: float | None = None) -> Any:
        """Make the step, and return the loss of the weights before it, which is on its way. rate: see `Step`."""
        state, self._state = self._state, None  # whatever breaks a step off leaves the variables as they were
        if state is None:
            state = tuple([jax.numpy.array(one.value) for one in some] for some in self._variables)
        if rate is not None:
            state[-1][self._rate] = np.float32(rate)
        loss, self._state = self._run(state, self._losses, chips, dict(targets))
        if self._before is not None:
            self._before.block_until_ready()  # or batches without end would wait on the device
        self._before = loss
        return loss

    def settle(self) -> None:
        """Leave everything in the variables of the network and the optimizer."""
        if self._state is None:
            return
        for some, values in zip(self._variables, self._state, strict=True):
            for one, value in zip(some, values, strict=True):
                one.assign(value)
        self._state = None

    def _changed(
        self, state: tuple[list[Any], ...], losses: Mapping[str, Loss], chips: Any, targets: dict[str, Any]
    ) -> tuple[Any, Any]:
        trained, others, memory = state
        following = jax.value_and_grad(self._loss, has_aux=True)
        (loss, others), gradients = following(trained, others, losses, chips, targets)
        trained, memory = self.optimizer.stateless_apply(memory, gradients, trained)
        return loss, (trained, others, memory)

    def _loss(
        self, trained: list[Any], others: list[Any], losses: Mapping[str, Loss], chips: Any, targets: dict[str, Any]
    ) -> tuple[Any, Any]:
        answers, others = self._network.stateless_call(trained, others, chips, training=True)
        each = [loss(targets[name], answers[name]).mean() for name, loss in losses.items()]
        return sum(each), others


def _keep_programs() -> None:
    """Have JAX keep what it compiles for a GPU, unless it was told where; without a home it does not."""
    config: Any = jax.config
    if gpus() and config.jax_compilation_cache_dir is None:
        with suppress(OutputError):
            config.update("jax_compilation_cache_dir", str(cache_directory() / "jax"))
