"""One training step of TensorFlow, on one device or shared by several."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoscan.arrays import Chips
from geoscan.errors import DatasetError
from geoscan.model.backend import keras, tf
from geoscan.train.devices import strategy_of
from geoscan.train.losses import Loss
from geoscan.train.step import Targets


class TensorFlowStep:
    """Changes a network's weights by one batch.

    The network is trained by the tf.distribute.Strategy within whose scope it was built: each replica gets an equal
    part of the batch and normalises over that part alone. Where the network computes in half precision (float16) the
    loss is scaled, so that small gradients do not vanish (Micikevicius et al. 2018, section 3.2); bfloat16 has the
    exponents of single precision.

    losses: by name of the head; their means over the batch are added up.
    optimizer: belongs to the step from then on. Its `clipnorm`, if any, is for the gradient of the whole batch.
    compiled: by XLA; with several replicas it is not.
    """

    def __init__(
        self,
        network: keras.Model,
        losses: Mapping[str, Loss],
        optimizer: keras.optimizers.Optimizer,
        *,
        compiled: bool = False,
    ) -> None:
        self._network, self._losses = network, losses
        self._strategy: Any = strategy_of(network)
        self._replicas: int = self._strategy.num_replicas_in_sync
        if optimizer.clipnorm:  # each replica clips its share of the gradient
            optimizer.clipnorm /= self._replicas
        with self._strategy.scope():
            half = any(layer.compute_dtype == "float16" for layer in network.layers)
            self.optimizer = keras.optimizers.LossScaleOptimizer(optimizer) if half else optimizer
            self.optimizer.build(network.trainable_variables)
        self._run = tf.function(self._shared, jit_compile=compiled and self._replicas == 1, autograph=False)

    def __call__(self, chips: Chips, targets: Targets, rate: float | None = None) -> float:
        """Make the step, and return the loss of the weights before it.

        rate: see `Step`. Raises DatasetError when the replicas cannot share the batch equally.
        """
        if rate is not None:
            self.optimizer.learning_rate = rate
        return float(self._run(self._split(chips), {name: self._split(part) for name, part in targets.items()}))

    def settle(self) -> None:
        """Do nothing: TensorFlow changes the variables themselves."""

    def _split(self, values: NDArray[Any]) -> Any:
        if self._replicas == 1:
            return tf.convert_to_tensor(values)
        if len(values) % self._replicas:
            raise DatasetError(
                f"{self._replicas} GPUs cannot share a batch of {len(values)} equally; pass --batch "
                f"{len(values) // self._replicas * self._replicas or self._replicas}"
            )
        parts = np.split(values, self._replicas)
        return self._strategy.experimental_distribute_values_from_function(
            lambda context: tf.convert_to_tensor(parts[context.replica_id_in_sync_group])
        )

    def _shared(self, chips: Any, targets: Any) -> Any:
        return self._strategy.reduce("SUM", self._strategy.run(self._replica, args=(chips, targets)), axis=None)

    def _replica(self, chips: Any, targets: Any) -> Any:
        """Take one replica's part in the step.

        Keras 3.15 clips gradients, and checks whether they have overflown, before it adds up those of all replicas.
        Here they are added up first, so that both are done to the same numbers on every replica, and then divided.
        """
        variables = self._network.trainable_variables
        with tf.GradientTape() as tape:
            answers = self._network(chips, training=True)
            each = [tf.reduce_mean(loss(targets[name], answers[name])) for name, loss in self._losses.items()]
            loss = tf.add_n(each) / self._replicas
            scaled = self.optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled, [variable.value for variable in variables])
        if self._replicas > 1:
            gradients = [gradient / self._replicas for gradient in _sum(gradients)]
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return loss


def _sum(gradients: list[Any]) -> list[Any]:
    summed: list[Any] = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, gradients)
    return summed
