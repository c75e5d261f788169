"""The arrays that travel through geoscan. Rasters are planar (bands, rows, cols) until the model."""

from collections.abc import Iterator
from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

Native: TypeAlias = NDArray[np.generic]
"""(3, rows, cols), red, green, blue, in the scene's own dtype and units."""

Visual: TypeAlias = NDArray[np.uint8]
"""(3, rows, cols), red, green, blue, 0..255: the look that the models were trained on."""

Reflectance: TypeAlias = NDArray[np.float32]
"""(bands, rows, cols), 0..1: `Visual` / 255, what dehazing computes with."""

Mask: TypeAlias = NDArray[np.bool_]
"""(rows, cols), True where the pixel is real, False on nodata."""

Chips: TypeAlias = NDArray[np.uint8]
"""(n, rows, cols, 3), red, green, blue, 0..255: prepared chips as the model takes them."""

Scores: TypeAlias = NDArray[np.float32]
"""(n, labels), 0..1, one column a label in the order of the card."""

Evidence: TypeAlias = NDArray[np.float32]
"""(n, rows, cols), where in each chip the evidence for a mine lies: a class activation map, of a cell for each place of
the last feature map. Its mean is the logit of the chip's mine score, but for what the heads may be given beside the
features, which is the same everywhere."""

Features: TypeAlias = NDArray[np.float32]
"""(n, channels), the last layer of a network before its heads; see `model.network.POOL`."""

Targets: TypeAlias = NDArray[np.float32]
"""(n, 17), columns as in `labels.LABELS`: 1 = the label holds, 0 = it does not, NaN = unknown."""


_Type = TypeVar("_Type", bound=np.generic)


def filled(items: NDArray[_Type], size: int) -> Iterator[tuple[NDArray[_Type], int]]:
    """Cut an array along its first axis into batches of one size, so that one traced or compiled shape serves all.

    Yields each batch, and how many of its items count: the last one is filled up with its own, over again.
    """
    for first in range(0, len(items), size):
        part = items[first : first + size]
        yield part if len(part) == size else np.resize(part, (size, *part.shape[1:])), len(part)


def to_reflectance(visual: Visual) -> Reflectance:
    """0..255 -> 0..1."""
    return visual.astype(np.float32) / np.float32(255)


def to_visual(reflectance: Reflectance) -> Visual:
    """0..1 -> 0..255, rounded."""
    return np.rint(reflectance * 255).astype(np.uint8)
