"""Cut a raster into tiles: a sequence, whose cores partition the raster."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, overload

import numpy as np
from numpy.typing import NDArray

from geoscan.errors import GridError

MOST_TILES: Final = 2**24
"""Of a grid; all their scores are held at a time, 1.3 GB with 17 labels. At 3 m they cover twice the Amazon basin."""


@dataclass(frozen=True, slots=True)
class Window:
    """A rectangle of pixels, in (row, col) order like the arrays it cuts."""

    row: int
    col: int
    rows: int
    cols: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """The window as an index into a (rows, cols) array."""
        return slice(self.row, self.row + self.rows), slice(self.col, self.col + self.cols)


@dataclass(frozen=True, slots=True)
class Tile:
    """One step of a scan."""

    index: int
    """Position in the grid's row-major order."""

    core: Window
    """Pixels that this tile alone answers for; the cores of a grid partition the raster."""

    read: Window
    """Pixels that the model sees: a full chip, shifted inward at the border, smaller only when the raster is."""


@dataclass(frozen=True, slots=True)
class TileGrid(Sequence[Tile]):
    """Tiles over a raster of `rows` x `cols` pixels, row by row from the upper left.

    chip: side of what the model sees, in pixels.
    stride: side of a core, at most `chip`; a smaller one lets chips overlap. The last row and column of cores are
    short where `stride` does not divide the raster; they are never dropped.
    """

    rows: int
    cols: int
    chip: int
    stride: int

    def __post_init__(self) -> None:
        for name in ("rows", "cols", "chip", "stride"):  # NumPy's small integers would overflow
            given = getattr(self, name)
            try:
                object.__setattr__(self, name, operator.index(given))
            except TypeError as err:
                raise GridError(f"{name} {given!r} does not fit; give a whole number of pixels") from err
        if self.rows < 1 or self.cols < 1:
            raise GridError(f"a raster of {self.rows} x {self.cols} px has no pixels; give one with at least 1 x 1")
        down, across = (-(-side // max(self.stride, 1)) for side in (self.rows, self.cols))
        if down * across > MOST_TILES:
            raise GridError(
                f"{self.rows} x {self.cols} px at a stride of {self.stride} px make {down * across:,} tiles, of which "
                f"{MOST_TILES:,} fit into memory; cut the scene into parts, or pass a larger --stride"
            )
        if not 1 <= self.stride <= self.chip:
            raise GridError(f"stride {self.stride} px does not fit {self.chip} px chips; pass --stride 1..{self.chip}")

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of tiles."""
        return -(-self.rows // self.stride), -(-self.cols // self.stride)

    def __len__(self) -> int:
        down, across = self.shape
        return down * across

    @overload
    def __getitem__(self, index: int) -> Tile: ...
    @overload
    def __getitem__(self, index: slice) -> list[Tile]: ...
    def __getitem__(self, index: int | slice) -> Tile | list[Tile]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"tile {index} of {len(self)}")
        index %= len(self)
        down, across = divmod(index, self.shape[1])
        row, rows, read_row, read_rows = self._axis(down, self.rows)
        col, cols, read_col, read_cols = self._axis(across, self.cols)
        return Tile(index, Window(row, col, rows, cols), Window(read_row, read_col, read_rows, read_cols))

    def cores(self, tiles: NDArray[np.integer]) -> NDArray[np.int64]:
        """Give the cores of many tiles by their indexes, (n,): row, col, rows, cols, (n, 4)."""
        down, across = np.divmod(tiles.astype(np.int64), self.shape[1])
        start = np.column_stack([down, across]) * self.stride
        size = np.minimum(self.stride, np.array([self.rows, self.cols]) - start)
        return np.hstack([start, size])

    def areas(self, tiles: NDArray[np.integer] | None = None) -> NDArray[np.int64]:
        """Count the pixels of the cores of some tiles by their indexes, (n,), or of all: (n,)."""
        areas: NDArray[np.int64] = self.cores(np.arange(len(self)) if tiles is None else tiles)[:, 2:].prod(axis=1)
        return areas

    def squares(self, tiles: NDArray[np.integer], side: int) -> list[NDArray[np.int64]]:
        """Sort tiles by their indexes, (n,), into squares of neighbours, row by row within each.

        side: of a square, in pixels; one of fewer pixels than a stride holds one tile.
        """
        down, across = np.divmod(tiles.astype(np.int64), self.shape[1])
        step = max(1, side // self.stride)
        order = np.lexsort((across, down, across // step, down // step))
        square = (down // step * self.shape[1] + across // step)[order]
        groups = np.split(tiles.astype(np.int64)[order], np.flatnonzero(np.diff(square)) + 1)
        return [group for group in groups if len(group)]

    def around(self, tiles: NDArray[np.integer]) -> Window:
        """Give the least window that holds all that the model sees of some tiles, by their indexes, (n,), n >= 1."""
        down, across = np.divmod(tiles, self.shape[1])
        _, _, first_row, rows = self._axis(int(down.min()), self.rows)
        _, _, last_row, _ = self._axis(int(down.max()), self.rows)
        _, _, first_col, cols = self._axis(int(across.min()), self.cols)
        _, _, last_col, _ = self._axis(int(across.max()), self.cols)
        return Window(first_row, first_col, last_row + rows - first_row, last_col + cols - first_col)

    def _axis(self, step: int, size: int) -> tuple[int, int, int, int]:
        """Start and length of the core, then of the read window, along one axis of `size` pixels."""
        start = step * self.stride
        # The core is the centre of its chip; at the border the chip moves inward, so that it holds real pixels only.
        read = min(max(start - (self.chip - self.stride) // 2, 0), max(size - self.chip, 0))
        return start, min(self.stride, size - start), read, min(self.chip, size)
