"""Batch normalisation, in one kernel where TensorFlow computes."""

from __future__ import annotations

from typing import Any

from geoscan.model.backend import ON_JAX, keras


class FusedNormalization(keras.layers.BatchNormalization):  # type: ignore[misc] # Keras ships no types
    """Keras' layer over the last axis, (n, rows, cols, channels), with the same weights and the same answers.

    Keras 3.15 goes over a feature map many times where the fused kernel goes over it twice; a third of a training step
    on a CPU went there. The moving variance is the unbiased one, n / (n - 1) times the batch's, as in PyTorch.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalise by the batch in training, by the moving averages otherwise and where the layer is frozen."""
        learning = bool(training) and self.trainable
        from geoscan.model.backend import tf

        known = {} if learning else {"mean": self.moving_mean, "variance": self.moving_variance}
        outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            inputs,
            tf.cast(self.gamma, tf.float32),  # the kernel takes half precision for the map only
            tf.cast(self.beta, tf.float32),
            epsilon=self.epsilon,
            is_training=learning,
            **known,
        )
        if learning:
            for average, of_batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
                average.assign(average * self.momentum + of_batch * (1 - self.momentum))
        return outputs


BatchNormalization = keras.layers.BatchNormalization if ON_JAX else FusedNormalization
