"""Chips in a size of a network's own."""

from __future__ import annotations

from geoscan.model.backend import keras


def resized(x: keras.KerasTensor, side: int | None, chip: int, dtype: str | keras.DTypePolicy) -> keras.KerasTensor:
    """Bring chips, (n, chip, chip, 3), to (n, side, side, 3), bilinear, and smoothed where they become smaller.

    Without a side, or with one that is the chip's, they stay as they are.
    """
    if side is None or side == chip:
        return x
    resize = keras.layers.Resizing(side, side, antialias=side < chip, dtype=dtype, name="resize")
    # Else every layer after it takes over its default, training=True, when the network is called without saying.
    return resize(x, training=False)
