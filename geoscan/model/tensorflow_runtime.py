"""Networks that TensorFlow runs: in training, and in scans where there is a GPU."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from geoscan.arrays import Chips, Features, Scores, filled
from geoscan.machine import BATCH
from geoscan.model.package import Package
from geoscan.model.spec import Spec

if TYPE_CHECKING:
    from geoscan.model.backend import keras


class NetworkDetector:
    """Runs a network of TensorFlow for one fixed batch shape, compiled by XLA on a GPU.

    One call at a time computes, in whatever thread: TensorFlow uses all cores, or the GPU, for it. Weights may change
    between calls, as they do in training.
    """

    def __init__(
        self,
        network: keras.Model,
        spec: Spec,
        batch: int = BATCH,
        *,
        compiled: bool | None = None,
        features: bool = False,
    ) -> None:
        """Wrap a network that `spec` builds.

        compiled: by XLA or not; if None, on a GPU only. features: whether `describe` will be called.
        """
        from geoscan.model import backend  # starts TensorFlow, which takes seconds: only where a model runs

        gpus, tf = backend.gpus(), backend.tf

        # On a CPU, XLA takes seconds to compile a DenseNet that TensorFlow's own kernels run faster, and runs the
        # convolutions of single channels in an EfficientNet 12 times slower.
        compiled = bool(gpus) if compiled is None else compiled
        self._batch, self._labels = batch, len(spec.labels)
        self._heads = [head.name for head in spec.heads]
        self._lock = threading.Lock()
        if features:
            from geoscan.model.network import POOL, with_output

            network = with_output(network, POOL, POOL)
        self._network = network
        self._device = "/GPU:0" if gpus else "/CPU:0"
        with tf.device(self._device):
            self._run = tf.function(
                lambda chips: self._network(chips, training=False),
                input_signature=[tf.TensorSpec((batch, spec.chip, spec.chip, 3), tf.uint8)],
                jit_compile=compiled,
                autograph=False,
            )

    def __call__(self, chips: Chips) -> Scores:
        """(n, chip, chip, 3) -> (n, labels), in batches of one compiled shape."""
        parts = [self._scores(answers) for answers in self._answers(chips)]
        return np.concatenate(parts) if parts else np.empty((0, self._labels), np.float32)

    def describe(self, chips: Chips) -> tuple[Scores, Features]:
        """(n, chip, chip, 3) -> (n, labels) scores, and (n, channels), the means of the last feature map; n >= 1."""
        from geoscan.model.network import POOL

        parts = [(self._scores(answers), answers[POOL]) for answers in self._answers(chips)]
        return np.concatenate([scores for scores, _ in parts]), np.concatenate([features for _, features in parts])

    def _scores(self, answers: Mapping[str, NDArray[np.float32]]) -> Scores:
        return np.concatenate([answers[name] for name in self._heads], axis=1)

    def _answers(self, chips: Chips) -> Iterator[dict[str, NDArray[np.float32]]]:
        from geoscan.model.backend import tf

        for batch, count in filled(chips, self._batch):
            with self._lock, tf.device(self._device):
                answers = self._run(tf.constant(batch))
            yield {name: answer.numpy()[:count] for name, answer in answers.items()}


class TensorFlowDetector(NetworkDetector):
    """Runs a package with TensorFlow. On a GPU the network computes in half precision, its heads in single."""

    def __init__(
        self, package: Package, batch: int = BATCH, *, compiled: bool | None = None, features: bool = False
    ) -> None:
        """Load the network; see `NetworkDetector`. Raises PackageError when that cannot be done."""
        from geoscan.model.backend import gpus

        network = _half_precision(package) if gpus() else package.network()
        super().__init__(network, package.card.spec, batch, compiled=compiled, features=features)


def _half_precision(package: Package) -> keras.Model:
    from geoscan.model.network import build

    network = build(package.card.spec, dtype="mixed_float16")
    network.set_weights(package.network().get_weights())
    return network
