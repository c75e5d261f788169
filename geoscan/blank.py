"""Where a raster holds nothing, known without reading: blocks that a sparse file does not store, gaps of a mosaic."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple
from xml.etree.ElementTree import Element

import defusedxml.ElementTree
import numpy as np
from affine import Affine
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.crs import CRS

from geoscan.grid import TileGrid, Window

_MOST_BLOCKS: Final = 10**6
"""To ask GDAL for each takes microseconds."""

_SIMPLE: Final = {"SimpleSource", "ComplexSource"}
_MARGIN_PX: Final = 2
"""What resampling reaches beyond a pixel."""


class Place(NamedTuple):
    """A grid of pixels on Earth."""

    crs: CRS
    transform: Affine
    """(col, row) of a pixel's corner to (x, y) in `crs`."""


def stored(source: Any, bands: Sequence[int], masked: bool) -> list[Window] | None:
    """Windows of an open dataset, outside of which all pixels of `bands` read alike, for none is stored.

    masked: whether masks of bands matter, too. None where the dataset does not tell, or stores all pixels.
    """
    if source.driver == "GTiff" and not masked:
        return _blocks(source, bands)
    if source.driver == "VRT":
        return _parts(source, bands, masked)
    return None


def outside(windows: Sequence[Window], rows: int, cols: int) -> tuple[int, int] | None:
    """Row and column of a pixel that lies in none of the windows; None where there is none."""
    # A window that begins behind another's end is bounded by it: some pixel just behind an end, or the first, is free.
    ends = sorted({0, *(window.row + window.rows for window in windows)} - {rows})
    for row in ends:
        across = sorted((w.col, w.col + w.cols) for w in windows if w.row <= row < w.row + w.rows)
        col = 0
        for start, end in across:
            if start > col:
                break
            col = max(col, end)
        if row < rows and col < cols:
            return row, col
    return None


def blank_tiles(windows: Iterable[Window], at: Place, grid: TileGrid, to: Place) -> NDArray[np.bool_]:
    """Tell which tiles touch none of the windows: (len(grid),).

    windows: on the grid `at`; the tiles are on `to`, which may be another, coarser or finer and in another CRS.
    """
    down, across = grid.shape
    row_starts, row_ends = _reads([grid[i * across].read for i in range(down)], "row")
    col_starts, col_ends = _reads([grid[i].read for i in range(across)], "col")
    blank = np.ones(grid.shape, bool)
    for top, left, bottom, right in _boxes(list(windows), at, to):
        rows = slice(np.searchsorted(row_ends, top, "right"), np.searchsorted(row_starts, bottom))
        cols = slice(np.searchsorted(col_ends, left, "right"), np.searchsorted(col_starts, right))
        blank[rows, cols] = False
    return blank.ravel()


def _blocks(source: Any, bands: Sequence[int]) -> list[Window] | None:
    """Blocks of a GeoTIFF that are stored."""
    height, width = source.block_shapes[0]
    down, across = -(-source.height // height), -(-source.width // width)
    if down * across > _MOST_BLOCKS:
        return None
    found = [
        Window(i * height, j * width, min(height, source.height - i * height), min(width, source.width - j * width))
        for i, j in itertools.product(range(down), range(across))
        if any(source.get_tag_item(f"BLOCK_OFFSET_{j}_{i}", "TIFF", bidx=band) for band in bands)
    ]
    return found if len(found) < down * across else None


def _parts(source: Any, bands: Sequence[int], masked: bool) -> list[Window] | None:
    """Windows that the rasters of a mosaic cover."""
    root = defusedxml.ElementTree.fromstring(source.tags(ns="xml:VRT")["xml:VRT"])
    own = [root.find(f"VRTRasterBand[@band='{n}']") for n in bands]
    own += [root.find("MaskBand/VRTRasterBand")] if masked else []
    found: set[Window] = set()
    for band in own:
        windows = [None] if band is None or band.get("subClass") else list(_rectangles(band))
        if None in windows:
            return None
        found |= {window for window in windows if window}
    return sorted(found, key=lambda window: (window.row, window.col))


def _rectangles(band: Element) -> Iterator[Window | None]:
    """Where the sources of a band lie; None for one that may lie anywhere."""
    for child in band:
        if child.tag.endswith("Source"):
            place = child.find("DstRect")
            if child.tag not in _SIMPLE or place is None:
                yield None
            else:
                yield _whole(*(float(place.get(key, "nan")) for key in ("yOff", "xOff", "ySize", "xSize")))


def _whole(row: float, col: float, rows: float, cols: float) -> Window | None:
    """Make whole pixels of a rectangle, all that it touches."""
    if not np.isfinite([row, col, rows, cols]).all():
        return None
    top, left, bottom, right = (
        int(np.floor(row)),
        int(np.floor(col)),
        int(np.ceil(row + rows)),
        int(np.ceil(col + cols)),
    )
    return Window(top, left, bottom - top, right - left)


def _reads(windows: Sequence[Window], axis: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    starts = np.array([getattr(window, axis) for window in windows])
    return starts, starts + [getattr(window, f"{axis}s") for window in windows]


def _boxes(windows: Sequence[Window], at: Place, to: Place) -> NDArray[np.float64]:
    """Top, left, bottom and right of each window on another grid, (n, 4); generously where it is another."""
    box = np.array([(w.row, w.col, w.row + w.rows, w.col + w.cols) for w in windows], float).reshape(-1, 4)
    if at == to or not len(box):
        return box
    # Points along the sides: in another CRS a side is bent.
    steps = np.linspace(0, 1, 5)
    corners = np.array([(u, v) for u in steps for v in steps if {u, v} & {0.0, 1.0}])
    rows = box[:, :1] + (box[:, 2:3] - box[:, :1]) * corners[:, 0]
    cols = box[:, 1:2] + (box[:, 3:] - box[:, 1:2]) * corners[:, 1]
    x, y = at.transform @ (cols, rows)
    x, y = Transformer.from_crs(at.crs, to.crs, always_xy=True).transform(x, y)
    cols, rows = ~to.transform @ (np.asarray(x), np.asarray(y))
    found = np.stack([rows.min(axis=1), cols.min(axis=1), rows.max(axis=1), cols.max(axis=1)], axis=1)
    margin = _MARGIN_PX + (found[:, 2:] - found[:, :2]) / 20
    found += np.concatenate([-margin, margin], axis=1)
    found[~np.isfinite(found).all(axis=1)] = -np.inf, -np.inf, np.inf, np.inf  # it may lie anywhere
    return found
