"""TensorFlow and Keras, started without the noise that they make on stderr.

Whoever needs them takes them from here, `from geoscan.model.backend import keras, tf`, and nowhere else: importing this
module starts TensorFlow, which takes seconds, and the settings below must be made before. With KERAS_BACKEND=jax it
starts JAX in its place: networks are then built, loaded and trained as ever, and whatever takes `tf` says that it
cannot.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from geoscan.errors import PackageError

__all__ = ["ONE_DNN", "ON_JAX", "gpus", "keras", "seed", "tf"]

log = logging.getLogger(__name__)

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # a machine without a GPU is no error
# TensorFlow has oneDNN everywhere, but off on CPUs without AVX-512: there too training is up to 1.5 times as fast.
ONE_DNN = os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1") != "0"
"""Whether TensorFlow computes with oneDNN."""

_NOISE = re.compile(rb"WARNING: All log messages before absl|[IWE]\d{4} \d\d:|[IWE]0000 |To enable the following")

_STDERR = 2  # where libraries write; in a notebook sys.stderr is another file


@contextmanager
def _without_noise() -> Iterator[None]:
    """Buffer stderr, then write back every line but TensorFlow's start-up messages.

    They write to the file descriptor before their own log levels are in force.
    """
    try:
        sys.stderr.flush()
        saved = os.dup(_STDERR)
    except (AttributeError, OSError, ValueError):  # closed
        yield
        return
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), _STDERR)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(saved, _STDERR)
            os.close(saved)
            held.seek(0)
            for line in held:
                if not _NOISE.match(line):
                    os.write(_STDERR, line)


_BACKEND = os.environ["KERAS_BACKEND"]
ON_JAX = _BACKEND == "jax"
"""Whether JAX computes, not TensorFlow."""
if _BACKEND not in ("tensorflow", "jax"):
    raise PackageError(f"KERAS_BACKEND is {_BACKEND}, geoscan's networks run on tensorflow and jax; unset it")
with _without_noise():
    import keras

    # Networks are built, and weights read, as nobody's keras.json may have it otherwise.
    keras.config.set_image_data_format("channels_last")
    keras.config.set_floatx("float32")
    keras.config.set_epsilon(1e-7)
    if _BACKEND == "tensorflow":
        import tensorflow as tf

        tf.config.list_physical_devices()  # looks for GPUs, which is what makes most of the noise


def __getattr__(name: str) -> Any:
    """Say why there is no `tf`, where there is none."""
    if name == "tf":
        raise PackageError(f"KERAS_BACKEND is {_BACKEND}, this takes tensorflow; unset it")
    raise AttributeError(name)


def seed(number: int) -> None:
    """Seed whatever Keras draws from. On JAX too it imports TensorFlow for that, where there is one."""
    with _without_noise():
        keras.utils.set_random_seed(number)


@cache
def gpus() -> list[Any]:
    """List the GPUs that TensorFlow or JAX sees, and let TensorFlow take their memory bit by bit as it needs it."""
    if ON_JAX:
        import jax

        return [device for device in jax.devices() if device.platform == "gpu"]
    found: list[Any] = tf.config.list_physical_devices("GPU")
    for gpu in found:
        try:
            tf.config.experimental.set_memory_growth(gpu, True)
        except RuntimeError:
            log.debug("%s is in use already, its memory setting stays", gpu)
    return found
