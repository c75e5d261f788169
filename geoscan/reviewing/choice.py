"""Which chips of a scene show what a person has reviewed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import pyproj
import shapely
import shapely.affinity
from affine import Affine
from numpy.typing import NDArray

from geoscan.changes import date_of
from geoscan.grid import TileGrid, Window
from geoscan.reviewing.layer import Reviewed
from geoscan.scanning.plan import Plan
from geoscan.states import Review

_HALF: Final = 0.5 - 1e-6
"""Share of a core that a polygon must cover; it has seen a change of CRS."""

_SLIVER: Final = 0.01
"""Share of a chip that other polygons, or scenes, may cover: neighbours overlap by a hair in another CRS."""

_EDGE: Final = 32
"""Pieces of the longer side of a scene, which is no straight line in another CRS."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Chips of one scene that are known to show a mine, or none."""

    chips: dict[int, tuple[Review, int]]
    """By the index of their tile, in order: what they show, and the position of the polygon that says so."""

    mixed: int
    """Chips under polygons that are no mine which also show a mine, or what nobody has reviewed: left out."""

    late: int
    """Chips left out: another scene of their polygon may show the ground later, so nobody knows what they show."""

    here: frozenset[int]
    """Positions of the reviewed polygons that lie in the scene."""


def choose(plan: Plan, reviewed: Reviewed, given: Sequence[Plan] = ()) -> Choice:
    """Choose the chips whose cores a reviewed polygon covers by half or more, and at least the one it covers most.

    given: all scenes. A polygon that was found in several has the outline of all together, and what a later one shows
    may not be there in an earlier one: a chip is taken of the latest alone that shows its ground, and of none where
    that is not known, as without dates.
    A chip that shows a mine is one of a mine, whatever else lies in it. No ground that nobody has reviewed is called
    no mine: a chip under such a polygon is left out where it reaches into another one.
    """
    shapes = _in_pixels(reviewed.shapes, reviewed.crs, plan)
    own = [n for n in reviewed.judged if of_scene(reviewed.scenes[n], plan.name)]
    covered = {n: tiles for n in own if len(tiles := _covered(shapes[n], plan.grid))}
    later = _Later.than(plan, reviewed, given)
    shown = {n: later.without(tiles, reviewed.scenes[n], plan.grid) for n, tiles in covered.items()}
    mines = {tile: n for n in shown if reviewed.reviews[n] is Review.MINE for tile in shown[n].tolist()}
    others = {tile: n for n in shown if reviewed.reviews[n] is Review.NOT_MINE for tile in shown[n].tolist()}
    doubtful = shapely.union_all(shapes[[review is not Review.NOT_MINE for review in reviewed.reviews]])
    mixed = [tile for tile in others if tile in mines or _reaches_into(plan.grid[tile].read, doubtful)]
    chips = {tile: (Review.NOT_MINE, n) for tile, n in others.items() if tile not in set(mixed)}
    chips |= {tile: (Review.MINE, n) for tile, n in mines.items()}
    late = sum(len(covered[n]) - len(shown[n]) for n in covered)
    return Choice(dict(sorted(chips.items())), len(mixed), late, frozenset(covered))


@dataclass(frozen=True, slots=True)
class _Later:
    """Scenes that may be later than one: on a later day, or on one that nobody knows."""

    grounds: Sequence[tuple[str, shapely.Geometry]]
    """Name and ground, in (col, row) of the one, of those that are given."""

    known: Sequence[str]
    """Names of all that are given, and of what the layer knows to be no later."""

    dated: Collection[str]
    """Names that the layer gives to its scenes."""

    @classmethod
    def than(cls, plan: Plan, reviewed: Reviewed, given: Sequence[Plan]) -> _Later:
        day = _day(plan)
        others = [one for one in given if one is not plan and _may_be_later(_day(one), day)]
        grounds = [_in_pixels(np.array([_extent(one)], object), one.scene.crs, plan)[0] for one in others]
        before = [name for name in reviewed.dates if not _may_be_later(date_of(name, reviewed.dates), day)]
        known = [plan.name, *(one.name for one in given), *before]
        return cls([(one.name, ground) for one, ground in zip(others, grounds, strict=True)], known, reviewed.dates)

    def without(self, tiles: NDArray[np.int64], names: str, grid: TileGrid) -> NDArray[np.int64]:
        """Leave out tiles that these scenes may show. names: of the scenes of a polygon; empty where it has none."""
        if not names:
            return tiles
        boxes = _boxes(Window(*core) for core in grid.cores(tiles).tolist())
        hidden = np.zeros(len(tiles), bool)
        whole = names in self.dated or any(_same(names, one) for one in self.known)
        for name in [names] if whole else names.split(", "):
            hidden |= not any(_same(name, one) for one in self.known)
            for ground in (ground for other, ground in self.grounds if _same(name, other)):
                hidden |= shapely.area(shapely.intersection(ground, boxes)) > _SLIVER * shapely.area(boxes)
        return tiles[~hidden]


def _day(plan: Plan) -> str | None:
    """Give the day on which a scene was taken, ISO 8601; None where it does not tell."""
    return date_of(plan.name, {plan.name: plan.reading["date"]})


def _may_be_later(one: str | None, other: str | None) -> bool:
    return one is None or other is None or one > other


def _extent(plan: Plan) -> shapely.Polygon:
    """Outline a scene in its CRS."""
    grid = plan.grid
    edge = shapely.segmentize(shapely.box(0, 0, grid.cols, grid.rows), max(grid.cols, grid.rows) / _EDGE)
    return shapely.affinity.affine_transform(edge, plan.scene.transform.to_shapely())


def of_scene(names: str, scene: str) -> bool:
    """Tell whether a polygon may be of a scene. names: of its scenes, separated by commas; empty for any.

    A name may have more folders in front of it than the other.
    """
    return not names or any(_same(name, scene) for name in (names, *names.split(", ")))


def _same(one: str, other: str) -> bool:
    return one == other or one.endswith(f"/{other}") or other.endswith(f"/{one}")


def _in_pixels(outlines: NDArray[np.object_], crs: Any, plan: Plan) -> NDArray[np.object_]:
    """Outlines in (col, row) of the scene; what its CRS cannot hold is empty. crs: theirs.

    Where the scene has longitudes, each outline is also a lap to the west and to the east: a scene may go on beyond 180
    degrees, where outlines do not.
    """
    known, own = (pyproj.CRS.from_user_input(one) for one in (crs, plan.scene.crs))
    change = pyproj.Transformer.from_crs(known, own, always_xy=True)
    jumps = own.is_geographic and not known.is_geographic

    def move(points: NDArray[np.float64]) -> NDArray[np.float64]:
        x, y = change.transform(points[:, 0], points[:, 1])
        return np.column_stack([np.unwrap(x, period=360) if jumps else x, y])

    shapes = [shapely.transform(shape, move) for shape in shapely.force_2d(outlines)]
    shapes = [shape if np.isfinite(shapely.get_coordinates(shape)).all() else shapely.Polygon() for shape in shapes]
    moved: NDArray[np.object_] = shapely.make_valid(np.array(shapes, object))
    if own.is_geographic:
        laps = [shapely.transform(moved, partial(np.add, (lap, 0))) for lap in (-360, 0, 360)]
        moved = np.asarray(shapely.union_all(laps, axis=0))
    back: Affine = ~plan.scene.transform
    found: NDArray[np.object_] = shapely.transform(moved, lambda points: np.column_stack(back @ tuple(points.T)))
    return found


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
