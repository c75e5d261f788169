"""The 8 symmetries of the square: seen from above, no side of a place is up."""

import numpy as np
from numpy.typing import NDArray

SYMMETRIES = 8


def symmetry(chips: NDArray[np.uint8], which: int) -> NDArray[np.uint8]:
    """Turn or mirror chips, (..., rows, cols, 3): 0 leaves them, 1 to 3 are their turns, 4 to 7 the mirror images."""
    turned = np.rot90(chips, which % 4, axes=(-3, -2))
    return np.ascontiguousarray(turned[..., ::-1, :] if which >= 4 else turned)
