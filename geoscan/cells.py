"""The cores of tiles as polygons in WGS84, each by itself: all of a scene at once, for there may be millions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import MultiPolygon, Polygon

from geoscan.errors import SceneError
from geoscan.outlines import DECIMALS, outlines, to_lonlat
from geoscan.seen import Seen

_RING: Final = ((0, 0), (1, 0), (1, 1), (0, 1), (0, 0))
"""(down, across) of the corners of a core on the lattice."""


@dataclass(frozen=True, slots=True)
class Cells:
    """The corners of the cores of one scene, on the globe."""

    corners: NDArray[np.float64]
    """(down + 1, across + 1, 2): longitude, latitude, -180..180; not finite where a corner has no place."""

    special: dict[int, MultiPolygon | None]
    """Tiles across the antimeridian or around a pole; None where one has no place."""

    @classmethod
    def of(cls, seen: Seen) -> Cells:
        """Place the corners of all cores of a scene."""
        corners = _corners(seen)
        lon = corners[..., 0]
        of_cores = np.stack([lon[:-1, :-1], lon[:-1, 1:], lon[1:, 1:], lon[1:, :-1]])
        with np.errstate(invalid="ignore"):
            far = np.isfinite(of_cores).all(axis=0) & (np.ptp(of_cores, axis=0) > 180)
        return cls(corners, _special(far, seen) if far.any() else {})

    def polygons(self, tiles: NDArray[np.int64]) -> NDArray[np.object_]:
        """The cores of some tiles by their indexes, (n,): MultiPolygons as RFC 7946 has them; None without a place.

        Edges are straight in longitude and latitude, from corner to corner: neighbours share them.
        """
        down, across = np.divmod(tiles, self.corners.shape[1] - 1)
        rings = np.stack([self.corners[down + south, across + east] for south, east in _RING], axis=1)
        found = np.full(len(tiles), None, object)
        fine = np.isfinite(rings).all(axis=(1, 2))
        quads: Any = shapely.orient_polygons(shapely.polygons(rings[fine]))
        found[fine] = shapely.multipolygons(quads, indices=np.arange(len(quads)))
        for row in np.flatnonzero(np.isin(tiles, list(self.special))):
            found[row] = self.special[int(tiles[row])]
        return found


def _corners(seen: Seen) -> NDArray[np.float64]:
    grid, to = seen.grid, seen.transform
    down, across = (np.arange(n + 1) * grid.stride for n in grid.shape)
    row, col = np.meshgrid(np.minimum(down, grid.rows), np.minimum(across, grid.cols), indexing="ij")
    x, y = to.a * col + to.b * row + to.c, to.d * col + to.e * row + to.f
    lon, lat = to_lonlat(seen.crs).transform(x, y)
    with np.errstate(invalid="ignore"):
        lon = np.where(np.abs(lon) > 180, (lon + 180) % 360 - 180, lon)
    return np.round(np.stack([lon, lat], axis=-1), DECIMALS) + 0.0


def _special(far: NDArray[np.bool_], seen: Seen) -> dict[int, MultiPolygon | None]:
    """Outline tiles whose corners lie on both sides of the antimeridian, one by one."""
    groups = np.zeros(far.shape, np.int32)
    groups[far] = np.arange(1, far.sum() + 1)
    try:
        shapes = outlines(groups, seen.grid, seen.transform, seen.crs)
    except SceneError:  # an edge of one of them leaves what the projection maps
        return dict.fromkeys(np.flatnonzero(far).tolist())
    return {
        int(tile): MultiPolygon([shape]) if isinstance(shape, Polygon) else shape
        for tile, shape in zip(np.flatnonzero(far), shapes, strict=True)
    }
