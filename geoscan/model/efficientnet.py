"""The trunk of an EfficientNet-Lite in Keras."""

from __future__ import annotations

import math
from collections.abc import Iterator

from geoscan.model.backend import keras
from geoscan.model.normalization import BatchNormalization
from geoscan.model.resizing import resized
from geoscan.model.spec import EfficientNetSpec

_BLOCKS = (  # expansion, channels, repeats, stride, kernel
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)
_STEM, _LAST = 32, 1280
_SCALES = {"efficientnet-lite0": (1.0, 1.0), "efficientnet-lite1": (1.0, 1.1), "efficientnet-lite2": (1.1, 1.2)}
"""By family, factors of channels and repeats (Tan and Le 2019, section 3.3). In Lite both ends are spared."""
_MULTIPLE = 8
"""Channels come in multiples of this."""


def trunk(x: keras.KerasTensor, spec: EfficientNetSpec, dtype: str | keras.DTypePolicy) -> keras.KerasTensor:
    """Last feature map, (n, rows, cols, 1280), of scaled chips, (n, chip, chip, 3)."""
    x = resized(x, spec.side, spec.chip, dtype)
    x = keras.layers.Conv2D(_STEM, 3, strides=2, padding="same", use_bias=False, dtype=dtype, name="stem_conv")(x)
    x = _norm(x, "stem", dtype)
    channels = _STEM
    for i, (expansion, wanted, repeats, stride, kernel) in enumerate(_scaled(spec.family), start=1):
        for j in range(1, repeats + 1):
            x = _block(x, channels, expansion, wanted, stride if j == 1 else 1, kernel, f"block{i}_{j}", dtype)
            channels = wanted
    x = keras.layers.Conv2D(_LAST, 1, use_bias=False, dtype=dtype, name="last_conv")(x)
    return _norm(x, "last", dtype)


def _scaled(family: str) -> Iterator[tuple[int, int, int, int, int]]:
    """Yield the rows of the table, scaled as a family scales them."""
    width, depth = _SCALES[family]
    for i, (expansion, channels, repeats, stride, kernel) in enumerate(_BLOCKS):
        inner = 0 < i < len(_BLOCKS) - 1
        wide = int(channels * width + _MULTIPLE / 2) // _MULTIPLE * _MULTIPLE
        yield expansion, wide, math.ceil(repeats * depth) if inner else repeats, stride, kernel


def _block(
    x: keras.KerasTensor,
    channels: int,
    expansion: int,
    wanted: int,
    stride: int,
    kernel: int,
    name: str,
    dtype: str | keras.DTypePolicy,
) -> keras.KerasTensor:
    """Inverted residual (Sandler et al. 2018, section 3.3): widen, look around each channel, narrow, add."""
    y = x
    if expansion > 1:
        y = keras.layers.Conv2D(channels * expansion, 1, use_bias=False, dtype=dtype, name=f"{name}_wide_conv")(y)
        y = _norm(y, f"{name}_wide", dtype)
    y = keras.layers.DepthwiseConv2D(
        kernel, strides=stride, padding="same", use_bias=False, dtype=dtype, name=f"{name}_deep_conv"
    )(y)
    y = _norm(y, f"{name}_deep", dtype)
    y = keras.layers.Conv2D(wanted, 1, use_bias=False, dtype=dtype, name=f"{name}_narrow_conv")(y)
    y = _norm(y, f"{name}_narrow", dtype, relu=False)
    return keras.layers.Add(dtype=dtype, name=f"{name}_add")([x, y]) if stride == 1 and channels == wanted else y


def _norm(x: keras.KerasTensor, name: str, dtype: str | keras.DTypePolicy, *, relu: bool = True) -> keras.KerasTensor:
    # Momentum 0.9, not the paper's 0.99: fine-tuning has too few steps for the slower average to arrive.
    x = BatchNormalization(momentum=0.9, epsilon=1e-3, dtype=dtype, name=f"{name}_norm")(x)
    return keras.layers.ReLU(6.0, dtype=dtype, name=f"{name}_relu")(x) if relu else x
