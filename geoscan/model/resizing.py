"""Chips in a size of a network's own."""

from __future__ import annotations

from geoscan.model.backend import keras


def resized(x: keras.KerasTensor, side: int, chip: int, dtype: str | keras.DTypePolicy) -> keras.KerasTensor:
    """Bring chips, (n, chip, chip, 3), to (n, side, side, 3), bilinear, and smoothed where they become smaller."""
    resize = keras.layers.Resizing(side, side, antialias=side < chip, dtype=dtype, name="resize")
    # Else every layer after it takes over its default, training=True, when the network is called without saying.
    return resize(x, training=False)
