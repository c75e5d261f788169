"""The trunk of a DenseNet-BC in Keras."""

from __future__ import annotations

from geoscan.model.backend import keras
from geoscan.model.normalization import BatchNormalization
from geoscan.model.resizing import resized
from geoscan.model.spec import DenseNetSpec


def trunk(x: keras.KerasTensor, spec: DenseNetSpec, dtype: str | keras.DTypePolicy) -> keras.KerasTensor:
    """Last feature map, (n, rows, cols, channels), of scaled chips, (n, chip, chip, 3)."""
    if spec.shrink > 1:
        x = keras.layers.AveragePooling2D(spec.shrink, dtype=dtype, name="shrink")(x)
    x = resized(x, spec.side, spec.chip, dtype)
    x = _stem(x, spec, dtype)
    channels = spec.stem
    for i, depth in enumerate(spec.blocks, start=1):
        for j in range(1, depth + 1):
            x = _dense_layer(x, spec.growth, f"block{i}_{j}", dtype)
        channels += depth * spec.growth
        if i < len(spec.blocks):
            channels = int(channels * spec.compression)
            x = _transition(x, channels, f"transition{i}", dtype)
    return _norm_relu(x, "last", dtype)


def _stem(x: keras.KerasTensor, spec: DenseNetSpec, dtype: str | keras.DTypePolicy) -> keras.KerasTensor:
    if spec.stem_stride == 4:
        x = _conv(x, spec.stem, 7, "stem", dtype, strides=2)
        x = _norm_relu(x, "stem", dtype)
        return keras.layers.MaxPooling2D(3, strides=2, padding="same", dtype=dtype, name="stem_pool")(x)
    x = _conv(x, spec.stem, 3, "stem", dtype, strides=spec.stem_stride)
    return _norm_relu(x, "stem", dtype)


def _dense_layer(x: keras.KerasTensor, growth: int, name: str, dtype: str | keras.DTypePolicy) -> keras.KerasTensor:
    """Concatenate `growth` new channels; the 1 x 1 bottleneck of 4 x growth is the B in DenseNet-BC."""
    y = _norm_relu(x, f"{name}_in", dtype)
    y = _conv(y, 4 * growth, 1, f"{name}_1x1", dtype)
    y = _norm_relu(y, f"{name}_mid", dtype)
    y = _conv(y, growth, 3, f"{name}_3x3", dtype)
    return keras.layers.Concatenate(dtype=dtype, name=f"{name}_concat")([x, y])


def _transition(x: keras.KerasTensor, channels: int, name: str, dtype: str | keras.DTypePolicy) -> keras.KerasTensor:
    x = _norm_relu(x, name, dtype)
    x = _conv(x, channels, 1, f"{name}_1x1", dtype)
    return keras.layers.AveragePooling2D(2, dtype=dtype, name=f"{name}_pool")(x)


def _norm_relu(x: keras.KerasTensor, name: str, dtype: str | keras.DTypePolicy) -> keras.KerasTensor:
    # Momentum 0.9, not Keras' 0.99: a small data set has too few steps for the slower average to arrive.
    x = BatchNormalization(momentum=0.9, epsilon=1.001e-5, dtype=dtype, name=f"{name}_norm")(x)
    return keras.layers.ReLU(dtype=dtype, name=f"{name}_relu")(x)


def _conv(
    x: keras.KerasTensor, channels: int, kernel: int, name: str, dtype: str | keras.DTypePolicy, strides: int = 1
) -> keras.KerasTensor:
    return keras.layers.Conv2D(
        channels,
        kernel,
        strides=strides,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        dtype=dtype,
        name=f"{name}_conv",
    )(x)
