"""One training step of JAX."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax

from geoscan.arrays import Chips
from geoscan.model.backend import keras
from geoscan.train.losses import Loss
from geoscan.train.step import Targets


class JaxStep:
    """Changes a network's weights by one batch, compiled, on JAX' first device.

    All that changes stays on the device between the steps: to assign hundreds of variables takes as long as a step.
    Each step gives its memory to the next, so that the variables hold copies.
    losses, optimizer: as in `TensorFlowStep`.
    """

    def __init__(self, network: keras.Model, losses: Mapping[str, Loss], optimizer: keras.optimizers.Optimizer) -> None:
        self._network, self._losses, self.optimizer = network, losses, optimizer
        optimizer.build(network.trainable_variables)
        self._variables = (network.trainable_variables, network.non_trainable_variables, optimizer.variables)
        self._run = jax.jit(self._changed, donate_argnums=0)
        self._state: tuple[list[Any], ...] | None = None
        self._before: Any = None

    def __call__(self, chips: Chips, targets: Targets) -> Any:
        """Make the step, and return the loss of the weights before it, which is on its way."""
        state, self._state = self._state, None  # whatever breaks a step off leaves the variables as they were
        if state is None:
            state = tuple([jax.numpy.array(one.value) for one in some] for some in self._variables)
        loss, self._state = self._run(state, chips, dict(targets))
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

    def _changed(self, state: tuple[list[Any], ...], chips: Any, targets: dict[str, Any]) -> tuple[Any, Any]:
        trained, others, memory = state
        (loss, others), gradients = jax.value_and_grad(self._loss, has_aux=True)(trained, others, chips, targets)
        trained, memory = self.optimizer.stateless_apply(memory, gradients, trained)
        return loss, (trained, others, memory)

    def _loss(self, trained: list[Any], others: list[Any], chips: Any, targets: dict[str, Any]) -> tuple[Any, Any]:
        answers, others = self._network.stateless_call(trained, others, chips, training=True)
        each = [loss(targets[name], answers[name]).mean() for name, loss in self._losses.items()]
        return sum(each), others
