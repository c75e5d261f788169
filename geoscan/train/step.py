"""One training step, whatever computes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from geoscan.arrays import Chips
from geoscan.model.backend import ON_JAX, keras
from geoscan.train.losses import Loss

Targets: TypeAlias = Mapping[str, NDArray[np.float32]]
"""By name of the head, (n, labels)."""


class Step(Protocol):
    """Changes a network's weights by one batch after another."""

    optimizer: keras.optimizers.Optimizer

    def __call__(self, chips: Chips, targets: Targets, rate: float | None = None) -> Any:
        """Make a step, and return the loss of the weights before it, a number that may still be on its way.

        rate: learning rate of the optimizer from now on; None leaves it.
        """

    def settle(self) -> None:
        """Leave the weights in the network's variables, and the optimizer's in its own: they may lag behind till then.

        Whoever changes these calls it before.
        """


def step_of(
    network: keras.Model, losses: Mapping[str, Loss], optimizer: keras.optimizers.Optimizer, *, compiled: bool = False
) -> Step:
    """Return the step of what Keras runs on. compiled: by XLA, as JAX always is."""
    if ON_JAX:
        from geoscan.train.jax_step import JaxStep

        return JaxStep(network, losses, optimizer)
    from geoscan.train.tensorflow_step import TensorFlowStep

    return TensorFlowStep(network, losses, optimizer, compiled=compiled)
