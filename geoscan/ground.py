"""From a grid in some CRS to metres on the ground, and back."""

from __future__ import annotations

import math

import numpy as np
import pyproj
from affine import Affine
from pyproj.exceptions import CRSError, ProjError
from rasterio.crs import CRS

from geoscan.errors import SceneError, one_line

_EARTH_RADII_M = (6.34e6, 6.40e6)
"""Every ellipsoid and sphere in use for Earth lies between; Venus, the nearest other body, has 6.05e6."""


def check_earth(crs: CRS, name: str) -> None:
    """Raise SceneError unless `crs` is tied to Earth."""
    try:
        known = pyproj.CRS.from_wkt(crs.to_wkt())
    except CRSError as error:
        raise SceneError(f"{name} has a CRS that PROJ cannot read ({one_line(error)}); assign the right one") from error
    if known.geodetic_crs is None or known.ellipsoid is None:
        raise SceneError(f"{name} has a local CRS ({known.name}), not one on Earth; give a scene that is georeferenced")
    if not _EARTH_RADII_M[0] < known.ellipsoid.semi_major_metre < _EARTH_RADII_M[1]:
        raise SceneError(f"{name} lies on another planet ({known.name}); geoscan works on Earth")


def ground_size(crs: CRS, origin: tuple[float, float], *steps: tuple[float, float]) -> tuple[float, ...]:
    """Geodesic length in metres of each step (dx, dy), in units of `crs`, centred on `origin`.

    One way for all: it takes feet, degrees and the stretch of Web Mercator in its stride.
    Raises SceneError when `origin` lies where the CRS does not reach.
    """
    projected = pyproj.CRS.from_wkt(crs.to_wkt())
    geodetic = projected.geodetic_crs
    assert geodetic is not None, "check_earth lets no such CRS pass"
    geod = geodetic.get_geod()
    assert geod is not None
    to_lonlat = pyproj.Transformer.from_crs(projected, geodetic, always_xy=True)
    x, y = origin
    lengths = []
    try:
        for dx, dy in steps:
            lon, lat = to_lonlat.transform([x - dx / 2, x + dx / 2], [y - dy / 2, y + dy / 2], errcheck=True)
            lengths.append(float(geod.inv(lon[0], lat[0], lon[1], lat[1])[2]))
    except ProjError as error:
        raise SceneError(f"the point {x:g}, {y:g} lies outside of its CRS ({one_line(error)}); check it") from error
    if not all(math.isfinite(length) and length > 0 for length in lengths):
        raise SceneError(f"pixels at {x:g}, {y:g} have no size on the ground; check the transform and the CRS")
    return tuple(lengths)


def corner(transform: Affine, row: float, col: float) -> tuple[float, float]:
    """Place the upper left corner of pixel (row, col) at (x, y)."""
    x, y = transform @ (col, row)
    return float(x), float(y)


def gsd(crs: CRS, transform: Affine, rows: int, cols: int) -> tuple[float, float]:
    """Metres on the ground per pixel along a row and along a column, at the centre of the grid."""
    across, down = ground_size(
        crs, corner(transform, rows / 2, cols / 2), (transform.a, transform.d), (transform.b, transform.e)
    )
    return across, down


def utm_at(crs: CRS, transform: Affine, rows: int, cols: int) -> CRS:
    """Give the UTM zone (near the poles: UPS) of the centre of a grid in geographic `crs`, on WGS84."""
    to_lonlat = pyproj.Transformer.from_crs(pyproj.CRS.from_wkt(crs.to_wkt()), 4326, always_xy=True)
    lon, lat = to_lonlat.transform(*corner(transform, rows / 2, cols / 2))
    if not -80 <= lat <= 84:
        return CRS.from_epsg(32661 if lat > 0 else 32761)
    zone = int((lon + 180) % 360 // 6) + 1
    return CRS.from_epsg((32600 if lat >= 0 else 32700) + zone)


def north_up(crs: CRS, transform: Affine, rows: int, cols: int, gsd_m: float, to: CRS) -> tuple[Affine, int, int]:
    """Lay the grid in CRS `to`, north up and of `gsd_m` metres per pixel, that covers a grid in `crs`.

    Returns its transform, rows and columns.
    """
    # 21 points a side follow an edge that the change of CRS bends.
    side = np.linspace(0, 1, 21)
    across = np.concatenate([side, side, side * 0, side * 0 + 1]) * cols
    down = np.concatenate([side * 0, side * 0 + 1, side, side]) * rows
    xs = transform.a * across + transform.b * down + transform.c
    ys = transform.d * across + transform.e * down + transform.f
    if to != crs:
        change = pyproj.Transformer.from_crs(
            pyproj.CRS.from_wkt(crs.to_wkt()), pyproj.CRS.from_wkt(to.to_wkt()), always_xy=True
        )
        xs, ys = change.transform(xs, ys)
    left, right, bottom, top = xs.min(), xs.max(), ys.min(), ys.max()
    step = max(right - left, top - bottom) / 1000
    metres_x, metres_y = ground_size(to, ((left + right) / 2, (bottom + top) / 2), (step, 0), (0, step))
    dx, dy = gsd_m * step / metres_x, gsd_m * step / metres_y
    # The slack keeps a scene whose sides are whole pixels from growing by one for a rounding error.
    wide, high = math.ceil((right - left) / dx - 1e-6), math.ceil((top - bottom) / dy - 1e-6)
    return Affine(dx, 0, float(left), 0, -dy, float(top)), max(high, 1), max(wide, 1)
