"""Groups of tiles into outlines in WGS84: all of a scene at once, for there may be a hundred thousand.

Rings lie one after the other in long arrays, and each step of work is done on all of them. What lies at or across the
antimeridian, or around a pole, is few, and done one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

import numpy as np
import pyproj
import shapely
import shapely.affinity
from affine import Affine
from numpy.typing import NDArray
from shapely.geometry import MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry

from geoscan.errors import SceneError
from geoscan.grid import TileGrid

Points: TypeAlias = NDArray[np.float64]
"""(n, 2): x, y, or longitude, latitude."""

Projector: TypeAlias = Callable[[Points], Points]

Outline: TypeAlias = Polygon | MultiPolygon
"""WGS84 longitude, latitude; exterior rings counter-clockwise; cut at the antimeridian."""

CHIP: Final = "chip"
"""Outlines are those of whole cores."""

ACTIVATION: Final = "activation"
"""They are cut down to where the evidence is: see `activation`."""

OUTLINES: Final = (CHIP, ACTIVATION)

_SAG_M: Final = 1e-3
"""How far a straight line in the scene's CRS may lie from one in longitude and latitude."""

_ROUNDS: Final = 5
"""The sagitta falls with the square of the pieces, so one round is enough but near a pole."""

_MOST_POINTS: Final = (10**5, 2**24)
"""An edge is cut into, on average, and all edges are; an edge of half an ocean needs 20,000."""

DECIMALS: Final = 9
"""Of a degree: 0.1 mm. The usual 7 (1 cm) would move the area of a single chip by more than 1 in a million."""

_LONGEST: Final = 0.01
"""Degrees of an edge whose area is taken; what is straight in longitude and latitude is not a geodesic."""

METRES_PER_DEGREE: Final = 111_320.0
_GEOD: Final = pyproj.Geod(ellps="WGS84")


@dataclass(frozen=True, slots=True)
class _Rings:
    """Closed rings, one after the other; those of one polygon follow its exterior."""

    points: Points
    """Of all rings; the first of each comes again as its last."""

    starts: NDArray[np.int64]
    """(rings,): index of the first point of each."""

    polygon: NDArray[np.int64]
    """(rings,): number of the polygon that each is of, from 0, ascending."""

    group: NDArray[np.int64]
    """(polygons,): number of the group that each is of, from 0, ascending."""

    @property
    def ends(self) -> NDArray[np.int64]:
        """(rings,): index of the last point of each."""
        return np.append(self.starts[1:], len(self.points)) - 1

    @property
    def ring(self) -> NDArray[np.int64]:
        """(points,): number of the ring that each is of."""
        return np.repeat(np.arange(len(self.starts)), self.ends - self.starts + 1)


def outlines(groups: NDArray[np.int32], grid: TileGrid, transform: Affine, crs: Any) -> list[Outline]:
    """The union of the cores of each group of tiles, RFC 7946: valid, wound, cut at the antimeridian.

    groups: (down, across), 0 for tiles of no group, else its number, 1..n, each of them at least once.
    transform: (col, row) of the grid's raster to the coordinates of `crs`.
    Edges get as many vertices as keep them within 1 mm of the straight edges in `crs`, so that the area is the cores'.
    A union around a pole includes the pole. Raises SceneError when one has no place in longitude and latitude.
    """
    return _outlined(_traced(groups, grid), transform, crs) if groups.any() else []


def outlines_of(grounds: Sequence[Outline], transform: Affine, crs: Any) -> list[Outline]:
    """Shapes in pixels, (col, row), as outlines; see `outlines`. None of them is empty."""
    return _outlined(_rings_of(grounds), transform, crs) if len(grounds) else []


def _outlined(rings: _Rings, transform: Affine, crs: Any) -> list[Outline]:
    """An outline for each group of rings of (col, row)."""
    rings = _placed(rings, transform, projector(crs))
    around = _unwrapped(rings)
    first, last = around[rings.starts], around[rings.ends]
    beyond = np.maximum.reduceat(np.abs(around[:, 0]), rings.starts) > 180
    special = np.zeros(len(rings.group), bool)
    np.logical_or.at(special, rings.polygon, beyond | (first[:, 0] != last[:, 0]))
    difficult = np.unique(rings.group[special])
    shapes = _shapes(replace(rings, points=_round(around)))
    for group in difficult.tolist():
        shapes[group] = _finished(MultiPolygon(_cut_polygons(rings, around, group)))
    return shapes


def area_ha(geometry: Outline) -> float:
    """Geodesic area on the WGS84 ellipsoid, hectares."""
    return float(areas_ha([geometry])[0])


def areas_ha(shapes: Sequence[Outline]) -> NDArray[np.float64]:
    """Geodesic areas on the WGS84 ellipsoid, hectares, (n,)."""
    parts, of_shape = shapely.get_parts(np.array(shapes, object), return_index=True)
    rings, of_part = shapely.get_rings(shapely.segmentize(parts, _LONGEST), return_index=True)
    points, of_ring = shapely.get_coordinates(rings, return_index=True)
    each = np.split(points, np.flatnonzero(np.diff(of_ring)) + 1)
    # Holes are wound the other way, so their area is negative.
    area = np.array([_GEOD.polygon_area_perimeter(*ring.T)[0] for ring in each])
    return np.abs(np.bincount(of_shape[of_part], area, minlength=len(shapes))) / 1e4


def union(shapes: Sequence[Outline]) -> Outline:
    """Join outlines."""
    return _finished(shapely.union_all(shapes))


def to_lonlat(crs: Any) -> pyproj.Transformer:
    """Make what brings x, y of `crs` to longitude, latitude; infinite where a place has none."""
    return pyproj.Transformer.from_crs(pyproj.CRS.from_user_input(crs), "OGC:CRS84", always_xy=True)


def projector(crs: Any) -> Projector:
    """Make what brings coordinates of `crs` to longitude and latitude; raises SceneError for those that have none."""
    transformer = to_lonlat(crs)

    def project(points: Points) -> Points:
        lonlat = np.column_stack(transformer.transform(points[:, 0], points[:, 1]))
        if not np.isfinite(lonlat).all():
            x, y = points[~np.isfinite(lonlat).all(axis=1)][0]
            raise SceneError(
                f"({x:.6g}, {y:.6g}) in {crs} has no longitude and latitude; check the scene's georeference"
            )
        return lonlat

    return project


def _traced(groups: NDArray[np.int32], grid: TileGrid) -> _Rings:
    """Walk around the groups: rings of (col, row) in pixels, with a point at each turn."""
    from rasterio.features import shapes  # takes a while to import: only where there is something to trace

    # Tiles of one group that touch at a corner alone are polygons of their own.
    found = sorted(
        ((int(value) - 1, shape["coordinates"]) for shape, value in shapes(groups, groups > 0, connectivity=4)),
        key=lambda one: one[0],
    )
    rings = [np.array(ring, float) for _, polygon in found for ring in polygon]
    length = np.array([len(ring) for ring in rings])
    tiles = np.concatenate(rings)
    return _Rings(
        points=np.minimum(tiles * grid.stride, (grid.cols, grid.rows)),  # the last cores may be short
        starts=np.cumsum(length) - length,
        polygon=np.repeat(np.arange(len(found)), [len(polygon) for _, polygon in found]),
        group=np.array([group for group, _ in found]),
    )


def _rings_of(shapes: Sequence[Outline]) -> _Rings:
    """Take shapes apart, each a group."""
    polygons, group = shapely.get_parts(np.array(shapes, object), return_index=True)
    rings, polygon = shapely.get_rings(polygons, return_index=True)
    points, ring = shapely.get_coordinates(rings, return_index=True)
    return _Rings(points, np.flatnonzero(np.diff(ring, prepend=-1)), polygon, group)


def _placed(rings: _Rings, transform: Affine, to_lonlat: Projector) -> _Rings:
    """Bring rings of (col, row) to longitude and latitude, with vertices added where their edges are curved."""
    col, row = rings.points.T
    x = transform.a * col + transform.b * row + transform.c
    y = transform.d * col + transform.e * row + transform.f
    rings = replace(rings, points=np.column_stack([x, y]))
    for _ in range(_ROUNDS):
        pieces = np.ceil(np.sqrt(_sagitta(rings, to_lonlat) / _SAG_M)).clip(1, 1000).astype(int)
        if (pieces == 1).all():
            break
        if pieces.sum() > min(_MOST_POINTS[0] * len(col), _MOST_POINTS[1]):
            raise SceneError("its chips are too large to be placed on the globe; check the scene's georeference")
        rings = _divided(rings, pieces)
    return replace(rings, points=to_lonlat(rings.points))


def _divided(rings: _Rings, pieces: NDArray[np.int64]) -> _Rings:
    """Cut the edge that begins at each point into equal pieces; 1 where a ring ends."""
    edge = np.repeat(np.arange(len(pieces)), pieces)
    share = ((np.arange(len(edge)) - np.repeat(np.cumsum(pieces) - pieces, pieces)) / pieces[edge])[:, None]
    points = rings.points[edge] * (1 - share) + _next(rings, rings.points)[edge] * share
    length = np.add.reduceat(pieces, rings.starts)
    return replace(rings, points=points, starts=np.cumsum(length) - length)


def _sagitta(rings: _Rings, to_lonlat: Projector) -> NDArray[np.float64]:
    """(points,): metres between the edge that begins there, straight in its CRS, and the straight line in longitude,
    latitude; 0 where a ring ends.
    """
    along = _unwrapped(replace(rings, points=to_lonlat(rings.points)))
    share = np.array([0.25, 0.5, 0.75])[:, None, None]

    def between(ends: Points) -> NDArray[np.float64]:
        places: NDArray[np.float64] = ends * (1 - share) + _next(rings, ends) * share
        return places

    true = to_lonlat(between(rings.points).reshape(-1, 2)).reshape(3, -1, 2)
    off = true - between(along)
    off[..., 0] = (off[..., 0] + 180) % 360 - 180
    off[..., 0] *= np.cos(np.radians(true[..., 1]))
    worst: NDArray[np.float64] = np.hypot(off[..., 0], off[..., 1]).max(axis=0)
    worst[rings.ends] = 0
    return worst * METRES_PER_DEGREE


def _next(rings: _Rings, points: Points) -> Points:
    """The point that follows each on its ring; the last point itself where a ring ends."""
    following = np.roll(points, -1, axis=0)
    following[rings.ends] = points[rings.ends]
    return following


def _unwrapped(rings: _Rings) -> Points:
    """Points of rings in longitude, latitude, whose longitude runs on past 180 instead of jumping to -180."""
    step = np.diff(rings.points[:, 0], prepend=0)
    step[rings.starts] = 0
    laps = np.cumsum(np.rint(step / 360))
    laps -= laps[rings.starts][rings.ring]
    return np.column_stack([rings.points[:, 0] - 360 * laps, rings.points[:, 1]])


def _shapes(rings: _Rings) -> list[Outline]:
    """Make rings, whose points are rounded, into an outline a group."""
    lines: Any = shapely.linearrings(rings.points, indices=rings.ring)
    polygons: Any = shapely.polygons(lines, indices=rings.polygon)
    shapes: Any = shapely.normalize(shapely.multipolygons(polygons, indices=rings.group))
    single = shapely.get_num_geometries(shapes) == 1
    shapes[single] = shapely.get_geometry(shapes[single], 0)
    valid: Any = shapely.is_valid(shapes)
    wound: Any = shapely.orient_polygons(shapes)
    return [shape if fine else _finished(shape) for shape, fine in zip(wound.tolist(), valid.tolist(), strict=True)]


def _finished(geometry: BaseGeometry) -> Outline:
    """Round, mend, sort and wind: the same ground, the same bytes."""
    rounded = shapely.transform(geometry, _round)
    valid = rounded if rounded.is_valid else shapely.make_valid(rounded)
    wound = [shapely.orient_polygons(polygon) for polygon in polygons_in(shapely.normalize(valid))]
    return wound[0] if len(wound) == 1 else MultiPolygon(wound)


def _cut_polygons(rings: _Rings, around: Points, group: int) -> list[Polygon]:
    """The polygons of a group of which one lies at or across the antimeridian, or around a pole."""
    found = []
    for polygon in np.flatnonzero(rings.group == group):
        of_it = np.flatnonzero(rings.polygon == polygon)
        found += on_globe([around[rings.starts[ring] : rings.ends[ring] + 1] for ring in of_it])
    return found


def on_globe(rings: Sequence[Points]) -> list[Polygon]:
    """One polygon of closed, unwrapped rings, the exterior first, cut at the antimeridian.

    Not left to the `antimeridian` package (0.4.9): it fails on a hole across the antimeridian, and answers with a
    part without area where an edge lies on it.
    """
    if all(np.abs(ring[:, 0]).max() <= 180 and ring[0, 0] == ring[-1, 0] for ring in rings):
        return [Polygon(rings[0], rings[1:])]
    exterior, *holes = (shapely.union_all(_cut(ring)) for ring in rings)
    return polygons_in(exterior.difference(shapely.union_all(holes)))


def _cut(ring: Points) -> list[Polygon]:
    """The inside of an unwrapped ring, in parts from -180 to 180."""
    if ring[0, 0] != ring[-1, 0]:  # once around the globe: close it over the pole
        pole = np.copysign(90, ring[:, 1].mean())
        ring = np.vstack([ring, [(ring[-1, 0], pole), (ring[0, 0], pole), ring[0]]])
    inside, west, east = Polygon(ring), ring[:, 0].min(), ring[:, 0].max()
    parts = []
    for lap in range(int((west + 180) // 360), int((east + 180) // 360) + 1):
        part = inside.intersection(shapely.box(360 * lap - 180, -90, 360 * lap + 180, 90))
        parts += [shapely.affinity.translate(polygon, -360 * lap) for polygon in polygons_in(part)]
    return parts


def polygons_in(geometry: BaseGeometry) -> list[Polygon]:
    """The polygons in a geometry, without the points and lines that an intersection leaves."""
    parts = shapely.get_parts(shapely.get_parts(geometry))  # twice: a collection may hold a multipolygon
    return [part for part in parts if isinstance(part, Polygon) and part.area > 0]


def _round(points: Points) -> Points:
    return np.round(points, DECIMALS) + 0.0  # no -0.0 in a file
