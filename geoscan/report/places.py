"""Where detections lie in the pixels of a scene, and which way is up there: what a map in a report is drawn by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray
from shapely.geometry import MultiPolygon

from geoscan.grid import Window
from geoscan.ground import corner
from geoscan.outlines import Outline
from geoscan.polygons import Detection
from geoscan.scanning.batch import SQUARE
from geoscan.seen import Seen

Rings: TypeAlias = list[list[list[float]]]
"""Rings of [col, row] in pixels of a scene; of several polygons, those of holes too: inside is what is odd."""

_SLACK: Final = 0.05
"""Pixels by which a ring may be off: outlines have points between their corners, to be straight on the globe."""

_TURNED: Final = 0.5
"""Degrees by which up may differ from north and still be called so."""


class Place:
    """A scene's pixels on Earth."""

    def __init__(self, seen: Seen) -> None:
        self.seen = seen
        self._crs = pyproj.CRS.from_user_input(seen.crs)
        self._to_crs = pyproj.Transformer.from_crs("OGC:CRS84", self._crs, always_xy=True)

    def rings(self, outline: Outline) -> Rings:
        """Bring an outline to pixels."""
        parts = outline.geoms if isinstance(outline, MultiPolygon) else [outline]
        found = []
        for ring in (ring for part in parts for ring in (part.exterior, *part.interiors)):
            points = shapely.LinearRing(self.pixels(shapely.get_coordinates(ring))).simplify(_SLACK)
            found.append(np.round(shapely.get_coordinates(points), 1).tolist())
        return found

    def pixels(self, lonlat: NDArray[np.float64]) -> NDArray[np.float64]:
        """Bring (n, 2) longitude, latitude to (n, 2) col, row."""
        x, y = self._to_crs.transform(*lonlat.T)
        grid, transform = self.seen.grid, self.seen.transform
        if self._crs.is_geographic:  # a scene may go on beyond 180 degrees, where outlines do not
            middle = corner(transform, grid.rows / 2, grid.cols / 2)[0]
            x = middle + (x - middle + 180) % 360 - 180
        back = ~transform
        return np.column_stack([back.a * x + back.b * y + back.c, back.d * x + back.e * y + back.f])

    def window(self, detection: Detection) -> Window:
        """Give what the model saw of a detection of this scene; where that is much, what lies around its best chip."""
        seen, grid = self.seen, self.seen.grid
        groups = seen.flagged
        inside = shapely.get_coordinates(detection.geometry.representative_point())
        col, row = np.floor(self.pixels(inside)[0] / grid.stride).astype(int).tolist()
        group, own = groups[row, col], row * grid.shape[1] + col
        tiles = np.flatnonzero(groups == group) if group else np.array([own])
        window = grid.around(tiles)
        if max(window.rows, window.cols) <= max(SQUARE, grid.chip):
            return window
        core = grid[int(tiles[seen.mine[tiles].argmax()])].core
        return _around(core, SQUARE, grid.rows, grid.cols)

    def up(self) -> str:
        """Say which way is up, at the centre of the scene, and whether it is shown as in a mirror."""
        grid = self.seen.grid
        above, middle = (corner(self.seen.transform, grid.rows / 2 - step, grid.cols / 2) for step in (1, 0))
        to_lonlat = pyproj.Transformer.from_crs(self._crs, "OGC:CRS84", always_xy=True)
        turned = pyproj.Geod(ellps="WGS84").inv(*to_lonlat.transform(*middle), *to_lonlat.transform(*above))[0]
        mirrored = " The picture is mirrored." if self.seen.transform.determinant > 0 else ""
        if abs(turned) < _TURNED:
            return f"North is up.{mirrored}"
        return f"Up is {abs(turned):.0f} degrees {'east' if turned > 0 else 'west'} of north.{mirrored}"


def _around(core: Window, side: int, rows: int, cols: int) -> Window:
    """Give a square around a core, within a raster."""
    high, wide = min(side, rows), min(side, cols)
    row = min(max(core.row + core.rows // 2 - high // 2, 0), rows - high)
    col = min(max(core.col + core.cols // 2 - wide // 2, 0), cols - wide)
    return Window(row, col, high, wide)


def shown_by(scenes: Sequence[Sequence[Detection]], found: Sequence[Detection]) -> list[dict[int, Detection]]:
    """Tell for each scene which of the detections it shows, and the best of its own that is part of each.

    scenes: detections of each scene by itself. found: of all scenes, each mine once.
    Returns indexes among `found`, each with a detection of the scene.
    """
    tree = shapely.STRtree([one.geometry for one in found])
    shown = []
    for own in scenes:
        points = np.array([one.geometry.representative_point() for one in own], object)
        best: dict[int, Detection] = {}
        for part, whole in zip(*tree.query(points, "intersects").tolist(), strict=True):
            if whole not in best or own[part].score_max > best[whole].score_max:
                best[whole] = own[part]
        shown.append(dict(sorted(best.items())))
    return shown
