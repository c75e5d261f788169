"""Detections cut down to where the evidence is, by the class activation maps of their chips. Arrays and shapes only.

The maps of neighbouring chips are laid beside and over each other, smoothed, and the ground above a level is kept: work
on a block of chips at a time, so memory does not grow with a detection.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import numpy as np
import scipy.ndimage
import shapely
from numpy.typing import NDArray

from geoscan.grid import TileGrid

Ground: TypeAlias = shapely.Polygon | shapely.MultiPolygon
"""In pixels of the grid's raster, (col, row)."""

Maps: TypeAlias = Mapping[int, NDArray[np.float32]]
"""(rows, cols) by tile: where in its chip the evidence lies, see `arrays.Evidence`."""

_SAMPLES: Final = 32
"""Along the side of a chip, at which evidence is looked at."""

_SMOOTH: Final = 0.5
"""Standard deviation of the smoothing, in cells of a map."""

_REACH: Final = 3.0
"""Of the smoothing, in standard deviations."""

_BLOCK: Final = 8
"""Side of what is worked on at a time, in chips."""

_SNAP: Final = 1e-4
"""Pixels, within which the edges of blocks meet."""

_PLAIN: Final = 0.25
"""Of the step between samples: how far an outline may be moved to leave out a point."""


def grounds(groups: NDArray[np.int32], grid: TileGrid, maps: Maps, level: float) -> list[Ground]:
    """Give the ground of each group of tiles where the evidence reaches a level, within the cores of its tiles.

    groups: (down, across), 0 for tiles of no group, else its number, 1..n, each of them at least once.
    maps: of tiles of groups, all of one shape; a tile without a map keeps its whole core.
    A group without any such ground keeps all of its cores. No part but the largest, and no hole, is less than a cell of
    a map.
    """
    flat = groups.ravel()
    tiles = np.flatnonzero(flat)
    tiles = tiles[np.argsort(flat[tiles], kind="stable")]
    parts = np.split(tiles, np.flatnonzero(np.diff(flat[tiles])) + 1)
    return [_ground(members, grid, maps, level) for members in parts]


def _ground(members: NDArray[np.int64], grid: TileGrid, maps: Maps, level: float) -> Ground:
    """The ground of one group of tiles, by their indexes."""
    whole = _union(_boxes(grid.cores(members)))
    known = np.array([tile for tile in members.tolist() if tile in maps], int)
    if not len(known):
        return whole
    found = _boxes(grid.cores(np.setdiff1d(members, known)))
    for block in grid.squares(known, _BLOCK * grid.chip):
        found += _above(level, block, known, grid, maps)
    kept = _without_slivers(_union(found), grid.chip**2 / maps[int(known[0])].size)
    cut = _polygons(kept.simplify(_PLAIN * grid.chip / _SAMPLES).intersection(whole))
    return _union(cut) if cut else whole


def _above(
    level: float, block: NDArray[np.int64], known: NDArray[np.int64], grid: TileGrid, maps: Maps
) -> list[shapely.Polygon]:
    """The parts of the cores of a block of tiles where the evidence is above a level."""
    from contourpy import FillType, contour_generator

    cores = _union(_boxes(grid.cores(block)))
    across, down, evidence = _field(shapely.bounds(cores), known, grid, maps)
    lines = contour_generator(across, down, evidence, fill_type=FillType.OuterOffset)
    shapes: Any = lines.filled(level, np.inf)
    found: list[shapely.Polygon] = []
    for points, starts in zip(*shapes, strict=True):
        outer, *holes = np.split(points, starts[1:-1])
        found += _polygons(shapely.make_valid(shapely.Polygon(outer, holes)))
    return _polygons(_union(found).intersection(cores))


def _field(
    bounds: NDArray[np.float64], known: NDArray[np.int64], grid: TileGrid, maps: Maps
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Columns, rows, and the smoothed evidence at each of them, around a part of the raster.

    The places are multiples of one step, so that two parts agree where they meet.
    """
    cells = maps[int(known[0])].shape
    step, sigma = grid.chip / _SAMPLES, [_SMOOTH * _SAMPLES / count for count in cells]
    halo = int(np.ceil(_REACH * max(sigma))) + 2
    across, down = (
        np.arange(np.floor(low / step) - halo, np.ceil(high / step) + halo + 1) * step
        for low, high in zip(bounds[:2], bounds[2:], strict=True)
    )
    total, count = np.zeros((2, len(down), len(across)))
    for tile in _near(known, grid, (down[0], across[0], down[-1], across[-1])):
        read = grid[tile].read
        rows, by_row = _spread(down, read.row, read.rows, grid.chip, cells[0])
        cols, by_col = _spread(across, read.col, read.cols, grid.chip, cells[1])
        total[rows, cols] += by_row @ maps[tile] @ by_col.T
        count[rows, cols] += 1
    total, count = (scipy.ndimage.gaussian_filter(one, sigma, truncate=_REACH) for one in (total, count))
    return across, down, total / np.maximum(count, np.finfo(np.float32).tiny)


def _near(known: NDArray[np.int64], grid: TileGrid, part: tuple[float, float, float, float]) -> list[int]:
    """Those of some tiles whose chips may reach into a part of the raster: its top, left, bottom, right."""
    cores = grid.cores(known)
    first, last = cores[:, :2] + cores[:, 2:] + grid.chip, cores[:, :2] - grid.chip
    near: list[int] = known[((first >= part[:2]) & (last <= part[2:])).all(axis=1)].tolist()
    return near


def _spread(
    places: NDArray[np.float64], start: int, size: int, chip: int, cells: int
) -> tuple[slice, NDArray[np.float64]]:
    """Which places along an axis a chip covers, and the weights, (places, cells), by which its cells give values there.

    Between the middles of cells they are linear, and beyond the outermost constant.
    """
    inside = slice(*np.searchsorted(places, (start, start + size + 1e-9)).tolist())
    at = ((places[inside] - start) / chip * cells - 0.5).clip(0, cells - 1)[:, None]
    return inside, np.maximum(0, 1 - np.abs(at - np.arange(cells)))


def _without_slivers(ground: Ground, cell: float) -> Ground:
    """Leave out parts, but for the largest, and fill holes, of less than a cell."""
    parts = _polygons(ground)
    least = min(cell, max((part.area for part in parts), default=0))
    return _union(
        [
            shapely.Polygon(one.exterior, [hole for hole in one.interiors if shapely.Polygon(hole).area >= cell])
            for one in parts
            if one.area >= least
        ]
    )


def _union(parts: list[shapely.Polygon]) -> Ground:
    joined: Any = shapely.union_all(parts, grid_size=_SNAP)
    polygons = _polygons(joined)
    return polygons[0] if len(polygons) == 1 else shapely.MultiPolygon(polygons)


def _polygons(geometry: Any) -> list[shapely.Polygon]:
    """The polygons in a geometry, without the points and lines that an intersection leaves."""
    parts = shapely.get_parts(shapely.get_parts(geometry))  # twice: a collection may hold a multipolygon
    return [part for part in parts.tolist() if part.geom_type == "Polygon" and part.area > 0]


def _boxes(cores: NDArray[np.int64]) -> list[shapely.Polygon]:
    """Cores, (n, 4) row, col, rows, cols, as polygons."""
    row, col, rows, cols = cores.T
    boxes: list[shapely.Polygon] = shapely.box(col, row, col + cols, row + rows).tolist()
    return boxes
