"""Which chips of a scene show what a person has reviewed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyproj
import shapely
from affine import Affine
from numpy.typing import NDArray

from geoscan.grid import TileGrid, Window
from geoscan.reviewing.layer import Reviewed
from geoscan.scanning.plan import Plan
from geoscan.states import Review

_HALF: Final = 0.5 - 1e-6
"""Share of a core that a polygon must cover; it has seen a change of CRS."""

_SLIVER: Final = 0.01
"""Share of a chip that other polygons may cover: outlines of neighbours overlap by a hair in another CRS."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Chips of one scene that are known to show a mine, or none."""

    chips: dict[int, tuple[Review, int]]
    """By the index of their tile, in order: what they show, and the position of the polygon that says so."""

    mixed: int
    """Chips under polygons that are no mine which also show a mine, or what nobody has reviewed: left out."""

    here: frozenset[int]
    """Positions of the reviewed polygons that lie in the scene."""


def choose(plan: Plan, reviewed: Reviewed) -> Choice:
    """Choose the chips whose cores a reviewed polygon covers by half or more, and at least the one it covers most.

    A chip that shows a mine is one of a mine, whatever else lies in it. No ground that nobody has reviewed is called
    no mine: a chip under such a polygon is left out where it reaches into another one.
    """
    shapes = _in_pixels(reviewed, plan)
    own = [n for n in reviewed.judged if of_scene(reviewed.scenes[n], plan.name)]
    covered = {n: tiles for n in own if len(tiles := _covered(shapes[n], plan.grid))}
    mines = {tile: n for n in covered if reviewed.reviews[n] is Review.MINE for tile in covered[n].tolist()}
    others = {tile: n for n in covered if reviewed.reviews[n] is Review.NOT_MINE for tile in covered[n].tolist()}
    doubtful = shapely.union_all(shapes[[review is not Review.NOT_MINE for review in reviewed.reviews]])
    mixed = [tile for tile in others if tile in mines or _reaches_into(plan.grid[tile].read, doubtful)]
    chips = {tile: (Review.NOT_MINE, n) for tile, n in others.items() if tile not in set(mixed)}
    chips |= {tile: (Review.MINE, n) for tile, n in mines.items()}
    return Choice(dict(sorted(chips.items())), len(mixed), frozenset(covered))


def of_scene(names: str, scene: str) -> bool:
    """Tell whether a polygon may be of a scene. names: of its scenes, separated by commas; empty for any.

    A name may have more folders in front of it than the other.
    """
    return not names or any(_same(name, scene) for name in (names, *names.split(", ")))


def _same(one: str, other: str) -> bool:
    return one == other or one.endswith(f"/{other}") or other.endswith(f"/{one}")


def _in_pixels(reviewed: Reviewed, plan: Plan) -> NDArray[np.object_]:
    """Outlines in (col, row) of the scene; what its CRS cannot hold is empty."""
    crs = pyproj.CRS.from_wkt(plan.scene.crs.to_wkt())
    change = pyproj.Transformer.from_crs(reviewed.crs, crs, always_xy=True)
    back: Affine = ~plan.scene.transform

    def move(points: NDArray[np.float64]) -> NDArray[np.float64]:
        x, y = change.transform(points[:, 0], points[:, 1])
        return np.column_stack([back.a * x + back.b * y + back.c, back.d * x + back.e * y + back.f])

    flat = shapely.force_2d(reviewed.shapes)
    moved = [shapely.transform(shape, move) for shape in flat]
    shapes = [shape if np.isfinite(shapely.get_coordinates(shape)).all() else shapely.Polygon() for shape in moved]
    made: NDArray[np.object_] = shapely.make_valid(np.array(shapes, object))
    return made


def _covered(shape: shapely.Geometry, grid: TileGrid) -> NDArray[np.int64]:
    """Indexes of the tiles that a polygon covers by half or more, or of the one that it covers most; none outside."""
    scene = shapely.intersection(shape, shapely.box(0, 0, grid.cols, grid.rows))
    if not shapely.area(scene) > 0:
        return np.empty(0, np.int64)
    left, top, right, bottom = shapely.bounds(scene) / grid.stride
    down, across = grid.shape
    rows = np.arange(int(top), min(int(bottom) + 1, down))
    cols = np.arange(int(left), min(int(right) + 1, across))
    tiles: NDArray[np.int64] = (rows[:, None] * across + cols).ravel()
    shapely.prepare(scene)
    boxes = _boxes(Window(*core) for core in grid.cores(tiles).tolist())
    share = shapely.area(shapely.intersection(scene, boxes)) / shapely.area(boxes)
    most = share >= _HALF
    return tiles[most] if most.any() else tiles[[int(share.argmax())]]


def _reaches_into(window: Window, shape: shapely.Geometry) -> bool:
    box = _boxes([window])[0]
    return bool(shapely.area(shapely.intersection(box, shape)) > _SLIVER * shapely.area(box))


def _boxes(windows: Iterable[Window]) -> NDArray[np.object_]:
    """Give windows as polygons in (col, row)."""
    sides = np.array([(one.col, one.row, one.col + one.cols, one.row + one.rows) for one in windows], float)
    boxes: NDArray[np.object_] = shapely.box(*sides.T)
    return boxes
