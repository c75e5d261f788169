"""Build the Keras network that a spec describes."""

from __future__ import annotations

from geoscan.model import densenet, efficientnet
from geoscan.model.backend import keras
from geoscan.model.spec import DenseNetSpec, Spec

FEATURES = "features"
"""Name of the last feature map, (n, rows, cols, channels): global pooling and the heads follow it."""
POOL = "pool"
"""Name of its mean over rows and columns, (n, channels): what the heads get."""


def build(spec: Spec, dtype: str | keras.DTypePolicy = "float32") -> keras.Model:
    """Return the untrained network.

    Input: (n, chip, chip, 3) chips, red, green, blue, 0..255, any number type. Output: a dict of one (n, labels)
    float32 array a head, each in 0..1. dtype: `mixed_float16` computes in half precision on a GPU, `mixed_bfloat16` in
    bfloat16 on a CPU; both keep the heads in float32, where sums of many small numbers would overflow or be coarse.
    """
    chips = keras.Input((spec.chip, spec.chip, 3), name="chips")
    x = keras.layers.Rescaling(
        [1 / s for s in spec.std], [-m / s for m, s in zip(spec.mean, spec.std, strict=True)], dtype=dtype, name="scale"
    )(chips)
    x = densenet.trunk(x, spec, dtype) if isinstance(spec, DenseNetSpec) else efficientnet.trunk(x, spec, dtype)
    x = keras.layers.Activation("linear", dtype="float32", name=FEATURES)(x)
    x = keras.layers.GlobalAveragePooling2D(dtype="float32", name=POOL)(x)
    x = keras.layers.Dropout(spec.dropout, dtype="float32", name="dropout")(x)
    heads = {
        head.name: keras.layers.Dense(len(head.labels), activation=head.activation, dtype="float32", name=head.name)(x)
        for head in spec.heads
    }
    return keras.Model(chips, heads, name=spec.family)


def with_output(network: keras.Model, name: str, layer: str, width: int | None = None) -> keras.Model:
    """Return a network of the same weights with one more output.

    The new output `name` is the output of `layer`, passed through a new dense layer of `width` units if given.
    """
    given = network.get_layer(layer).output
    more = given if width is None else keras.layers.Dense(width, dtype="float32", name=name)(given)
    return keras.Model(network.input, {**network.output, name: more}, name=network.name)
