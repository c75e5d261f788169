"""Networks that TensorFlow runs, or JAX where Keras is on it: in training, and in scans where there is a GPU."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from geoscan.arrays import Chips, Features, Scores, filled
from geoscan.machine import BATCH
from geoscan.model.package import Package
from geoscan.model.spec import Spec

if TYPE_CHECKING:
    from geoscan.model.backend import keras

_GPU_PIXELS: Final = 2**22
"""Of the chips that a GPU is given at once, at most: 64 of 256 px. More make it no faster."""

_AHEAD: Final = 2
"""Batches that wait for each device: while it computes one, the next travels to it."""

_Lane: TypeAlias = Callable[[Chips], Mapping[str, Any]]
"""A device that is given a batch and goes to work on it; its answers are tensors that may still be on their way."""


class NetworkDetector:
    """Runs a network of Keras for one fixed batch shape, compiled by XLA on a GPU, and by JAX anywhere.

    One call at a time computes, in whatever thread: it has all cores, or the GPU. Weights may change between calls, as
    they do in training.
    """

    _lanes: list[_Lane]

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

        gpus = backend.gpus()

        # On a CPU, XLA takes seconds to compile a DenseNet that TensorFlow's own kernels run faster, and runs the
        # convolutions of single channels in an EfficientNet 12 times slower.
        self._compiled = bool(gpus) if compiled is None else compiled
        self._batch, self._chip, self._labels = batch, spec.chip, len(spec.labels)
        self._heads = [head.name for head in spec.heads]
        self._lock = threading.Lock()
        if features:
            from geoscan.model.network import POOL, with_output

            network = with_output(network, POOL, POOL)
        if backend.ON_JAX:
            self._lanes = [_jax_lane(network)]
        else:
            self._lanes = [self._lane(network, "/GPU:0" if gpus else "/CPU:0")]

    def _lane(self, network: keras.Model, device: str) -> _Lane:
        """Make what sends batches through a network on a device."""
        from geoscan.model.backend import tf

        with tf.device(device):
            run = tf.function(
                lambda chips: network(chips, training=False),
                input_signature=[tf.TensorSpec((self._batch, self._chip, self._chip, 3), tf.uint8)],
                jit_compile=self._compiled,
                autograph=False,
            )

        def lane(batch: Chips) -> Mapping[str, Any]:
            with self._lock, tf.device(device):
                answers: Mapping[str, Any] = run(tf.constant(batch))
                return answers

        return lane

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
        """Yield the answers to each batch in order; the devices take turns, and are given batches ahead."""
        waiting: deque[tuple[Mapping[str, Any], int]] = deque()
        for turn, (batch, count) in enumerate(filled(chips, self._batch)):
            if len(waiting) == _AHEAD * len(self._lanes):
                yield _arrived(*waiting.popleft())
            waiting.append((self._lanes[turn % len(self._lanes)](batch), count))
        while waiting:
            yield _arrived(*waiting.popleft())


def _jax_lane(network: keras.Model) -> _Lane:
    """Make what sends batches through a network on JAX' first device."""
    import jax

    @jax.jit
    def run(trained: list[Any], others: list[Any], chips: Any) -> Mapping[str, Any]:
        answers: Mapping[str, Any] = network.stateless_call(trained, others, chips, training=False)[0]
        return answers

    def lane(batch: Chips) -> Mapping[str, Any]:
        trained, others = network.trainable_variables, network.non_trainable_variables
        answers: Mapping[str, Any] = run([one.value for one in trained], [one.value for one in others], batch)
        return answers

    return lane


def _arrived(answers: Mapping[str, Any], count: int) -> dict[str, NDArray[np.float32]]:
    """Wait for answers, and leave out those to what fills up the batch."""
    return {name: np.asarray(answer)[:count] for name, answer in answers.items()}


class TensorFlowDetector(NetworkDetector):
    """Runs a package with TensorFlow. On GPUs the network computes in half precision, its heads in single; several
    share the batches of a call, and each takes as many chips at once as its memory holds. JAX takes the first alone,
    and single precision.
    """

    def __init__(
        self, package: Package, batch: int = BATCH, *, compiled: bool | None = None, features: bool = False
    ) -> None:
        """Load the network; see `NetworkDetector`. Raises PackageError when that cannot be done."""
        from geoscan.model.backend import ON_JAX, gpus

        spec, devices = package.card.spec, [f"/GPU:{n}" for n in range(len(gpus()))]
        if ON_JAX or not devices:
            super().__init__(package.network(), spec, batch, compiled=compiled, features=features)
            return
        networks = _half_precision(package, devices)
        batch = min(batch, max(1, _GPU_PIXELS // spec.chip**2))
        super().__init__(networks[0], spec, batch, compiled=compiled, features=features)
        if not features:
            self._share(networks, devices)

    def _share(self, networks: list[keras.Model], devices: list[str]) -> None:
        """Let all devices work, on batches of a size for which each has the memory."""
        from geoscan.model.backend import tf

        self._lanes = [self._lane(*pair) for pair in zip(networks, devices, strict=True)]
        nothing = np.zeros((self._batch, self._chip, self._chip, 3), np.uint8)
        try:
            for lane in self._lanes:
                _arrived(lane(nothing), 1)
        except tf.errors.ResourceExhaustedError:
            if self._batch == 1:
                raise
            self._batch //= 2
            self._share(networks, devices)


def _half_precision(package: Package, devices: list[str]) -> list[keras.Model]:
    """Build the network on each device."""
    from geoscan.model.backend import tf
    from geoscan.model.network import build

    weights = package.network().get_weights()
    networks = []
    for device in devices:
        with tf.device(device):
            networks.append(build(package.card.spec, dtype="mixed_float16"))
            networks[-1].set_weights(weights)
    return networks
