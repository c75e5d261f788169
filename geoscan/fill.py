"""Fill that no file declares: a border of one value where a scene holds no data.

Dark water and clouds show one value, too, where it is the least or the most that a file can hold. But there each band
reaches it at its own place, and comes near it before; around fill, ground begins at once. What cannot be told apart is
taken for ground.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Pixels: TypeAlias = NDArray[Any]
"""(3, rows, cols): red, green, blue."""

Look: TypeAlias = Callable[[int, int, int], Pixels | None]
"""(row, col, side) of a square to its pixels; None where they cannot be read."""

At: TypeAlias = tuple[int, int]
"""Row and column."""

_STEPS: Final = 4
"""From side to side; at their ends one looks for fill."""

_PATCH: Final = 8
"""Side of what must be of one value, in pixels."""

_EDGE: Final = 64
"""Side of what is looked at where fill ends, in pixels."""

_DEPTH: Final = 3
"""Pixels from the end of fill to the ground that is compared with it: resampling blends the two over one or two."""

_FEWEST: Final = 16
"""Pixels along the end of fill; less tell nothing."""

_AT_LIMIT: Final = 0.2
"""Share of the pixels next to fill that may show its value in one band or two."""

_JUMP: Final = 3.0
"""From fill to ground at least, as a multiple of what pixels of the ground differ by that are as far apart."""

_MISTAKEN: Final = 0.01
"""Share of the ground that may reach the highest value of its type in some band: more does so in all bands, too."""


class Fill(NamedTuple):
    """What fills the border of a scene."""

    value: float
    """In all bands."""

    sure: bool
    """No ground shows it: a pixel of this value is fill wherever it lies."""


def find(
    look: Look, rows: int, cols: int, dtype: str, hidden: Callable[[float], bool] = lambda _: False
) -> Fill | None:
    """Find the fill along the border of a scene; None where there is none, or it may be ground.

    rows, cols: size of the scene. dtype: of what `look` gives. hidden: tells values that are known to be fill.
    A few dozen small squares are read, whatever the size of the scene.
    """
    if min(rows, cols) < _EDGE:
        return None
    places = _lattice(rows, cols)
    border = _looked_at(look, [at for at in places if at[0] in (0, rows - _PATCH) or at[1] in (0, cols - _PATCH)])
    candidates = [value for patch in border.values() if (value := _one_value(patch)) is not None]
    candidates = [value for value in dict.fromkeys(candidates) if not hidden(value)]
    if not candidates:
        return None
    patches = border | _looked_at(look, [at for at in places if at not in border])
    for value in candidates:
        ground = _ground(value, patches.values())
        if ground.size and _may_be_fill(value, ground, dtype):
            edges = list(_edges(look, value, patches, (rows, cols)))
            if edges and _ends_at_once(value, edges):
                at_limit = (_ground(value, (*patches.values(), *edges)) == value).any(axis=0).mean()
                return Fill(value, sure=value != _most(dtype) or bool(at_limit <= _MISTAKEN))
    return None


def _lattice(rows: int, cols: int) -> list[At]:
    down, across = (np.linspace(0, size - _PATCH, _STEPS + 1).astype(int).tolist() for size in (rows, cols))
    return [(row, col) for row in down for col in across]


def _looked_at(look: Look, places: Sequence[At]) -> dict[At, Pixels]:
    return {at: patch for at in places if (patch := look(*at, _PATCH)) is not None}


def _one_value(pixels: Pixels) -> float | None:
    """Give the value that all pixels show in all bands; None where they differ, or are NaN."""
    first = pixels.flat[0]
    return first.item() if (pixels == first).all() else None


def _ground(value: float, patches: Iterable[Pixels]) -> Pixels:
    """Pixels that do not show the value in all bands, (3, n)."""
    shown = np.concatenate([patch.reshape(3, -1) for patch in patches], axis=1)
    return shown[:, ~(shown == value).all(axis=0) & np.isfinite(shown).all(axis=0)]


def _may_be_fill(value: float, ground: Pixels, dtype: str) -> bool:
    """Tell whether a value is one that people fill with: 0, an end of the type, or one far from what ground shows."""
    if value in (0, _least(dtype), _most(dtype)):
        return True
    low, high = float(ground.min()), float(ground.max())
    return dtype != "uint8" and not 2 * low - high <= value <= 2 * high - low


def _least(dtype: str) -> float | None:
    return np.iinfo(dtype).min if np.issubdtype(np.dtype(dtype), np.integer) else None


def _most(dtype: str) -> float | None:
    return np.iinfo(dtype).max if np.issubdtype(np.dtype(dtype), np.integer) else None


def _edges(look: Look, value: float, patches: dict[At, Pixels], size: At) -> Iterator[Pixels]:
    """Look at places where fill ends: one for each patch of fill, on the way to the nearest patch of ground."""
    filled = [at for at, patch in patches.items() if _one_value(patch) == value]
    ground = [at for at in patches if at not in filled]
    for start in filled:
        near = min(ground, key=lambda at: (at[0] - start[0]) ** 2 + (at[1] - start[1]) ** 2)
        end = _last_of_fill(look, value, start, near)
        if end is not None:
            row, col = (min(max(at - _EDGE // 2, 0), length - _EDGE) for at, length in zip(end, size, strict=True))
            edge = look(row, col, _EDGE)
            if edge is not None:
                yield edge


def _last_of_fill(look: Look, value: float, fill: At, ground: At) -> At | None:
    """Halve the way from fill to ground until they are neighbours."""
    while max(abs(fill[0] - ground[0]), abs(fill[1] - ground[1])) > 1:
        middle = (fill[0] + ground[0]) // 2, (fill[1] + ground[1]) // 2
        if middle in (fill, ground):
            break
        pixel = look(*middle, 1)
        if pixel is None:
            return None
        fill, ground = (middle, ground) if (pixel == value).all() else (fill, middle)
    return fill


def _ends_at_once(value: float, edges: Sequence[Pixels]) -> bool:
    """Tell whether ground begins next to fill: bands do not come near its value, nor reach it one by one."""
    ways = [_out_of_fill(value, np.rot90(edge, turn, axes=(1, 2))) for edge in edges for turn in range(4)]
    beside, ground, further = (np.concatenate(parts, axis=1) for parts in zip(*ways, strict=True))
    if beside.shape[1] < _FEWEST:
        return False
    at_limit = (beside == value).any(axis=0).mean()
    jump = np.median(np.abs(ground - value).max(axis=0))
    own = np.median(np.abs(further - ground).max(axis=0))
    return bool(at_limit <= _AT_LIMIT and jump > 0 and jump >= _JUMP * own)


def _out_of_fill(value: float, pixels: Pixels) -> tuple[Pixels, Pixels, Pixels]:
    """Find the pixels to the right of fill, (3, n) each: next to it, `_DEPTH` from it, and as far again."""
    reach = pixels.shape[2] - 2 * _DEPTH
    fill, beside, ground, further = (pixels[:, :, by : by + reach].astype(float) for by in (0, 1, _DEPTH, 2 * _DEPTH))
    shown = [(part == value).all(axis=0) for part in (fill, beside, ground, further)]
    finite = np.isfinite([beside, ground, further]).all(axis=(0, 1))
    ends = shown[0] & ~np.logical_or.reduce(shown[1:]) & finite
    return beside[:, ends], ground[:, ends], further[:, ends]
