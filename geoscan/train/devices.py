"""What a training computes on: one GPU, several, or the CPU; in numbers of 16 bits where that is faster."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

from geoscan.machine import multiplies_bfloat16
from geoscan.model.backend import ON_JAX, ONE_DNN, gpus
from geoscan.model.spec import DenseNetSpec, Spec

_TENSOR_CORES = (7, 0)
"""Compute capability of NVIDIA GPUs from which on half-precision matrices multiply much faster than single ones."""


class Strategy(Protocol):
    """What of a tf.distribute.Strategy a training needs. A network that is built within its scope is trained by it."""

    num_replicas_in_sync: int

    def scope(self) -> AbstractContextManager[Any]:
        """Build networks and optimizers within this."""


class OneDevice:
    """The only strategy of JAX: its first device, whatever there is beside it."""

    num_replicas_in_sync = 1

    def scope(self) -> AbstractContextManager[None]:
        """Return what changes nothing."""
        return nullcontext()


def strategy() -> Strategy:
    """Return the strategy over all GPUs that TensorFlow sees; the default one where there is none, or JAX computes.

    CUDA_VISIBLE_DEVICES decides which GPUs are seen.
    """
    if ON_JAX:
        return OneDevice()
    from geoscan.model.backend import tf

    found: Strategy
    if len(gpus()) > 1:
        found = tf.distribute.MirroredStrategy()
    else:
        found = tf.distribute.OneDeviceStrategy("/GPU:0") if gpus() else tf.distribute.get_strategy()
    return found


def strategy_of(network: Any) -> Strategy:
    """Return the strategy within whose scope a network was built."""
    found: Strategy = OneDevice() if ON_JAX else network.distribute_strategy
    return found


def policy(spec: Spec) -> str:
    """Return the Keras dtype policy to train a network with: numbers of 16 bits where that is faster, or `float32`.

    `mixed_float16` if all GPUs are fast at it. A CPU is not: it would convert each number to single precision and back;
    but newer ones multiply bfloat16, by oneDNN. A step of a DenseNet then takes 0.6 of the time. Convolutions of single
    channels, of which an EfficientNet has many, would take 1.5 times as long. On JAX it is `float32`: its tensor cores
    multiply such numbers too, and with half precision a step of an EfficientNet was not compiled on an H100 in the time
    in which this one had trained.
    """
    if ON_JAX:
        return "float32"
    if not gpus():
        quick = isinstance(spec, DenseNetSpec) and multiplies_bfloat16() and ONE_DNN
        return "mixed_bfloat16" if quick else "float32"
    from geoscan.model.backend import tf

    details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus()]
    fast = [detail.get("compute_capability", (0, 0)) >= _TENSOR_CORES for detail in details]
    return "mixed_float16" if all(fast) else "float32"
