"""What a training computes on: one GPU, several, or the CPU; in half precision where that is faster."""

from __future__ import annotations

from typing import Any

from geoscan.model.backend import gpus, tf

_TENSOR_CORES = (7, 0)
"""Compute capability of NVIDIA GPUs from which on half-precision matrices multiply much faster than single ones."""


def strategy() -> Any:
    """Return the tf.distribute.Strategy over all GPUs that TensorFlow sees; the default one where there is none.

    A network that is built within its `scope()` is trained by it. CUDA_VISIBLE_DEVICES decides which GPUs are seen.
    """
    if len(gpus()) > 1:
        return tf.distribute.MirroredStrategy()
    return tf.distribute.OneDeviceStrategy("/GPU:0") if gpus() else tf.distribute.get_strategy()


def policy() -> str:
    """Return the Keras dtype policy to build a network with: `mixed_float16` if all GPUs are fast at it, or `float32`.

    A CPU is not: it would convert each number to single precision and back.
    """
    details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus()]
    fast = [detail.get("compute_capability", (0, 0)) >= _TENSOR_CORES for detail in details]
    return "mixed_float16" if fast and all(fast) else "float32"
