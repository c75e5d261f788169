"""From a grid in some CRS to metres on the ground, and back."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pyproj
from affine import Affine
from pyproj.exceptions import CRSError, ProjError
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS

from geoscan.errors import SceneError, one_line

_EARTH_RADII_M = (6.34e6, 6.40e6)
"""Every ellipsoid and sphere in use for Earth lies between; Venus, the nearest other body, has 6.05e6."""

_WGS84_RADIUS_M = 6_378_137.0
_SAME_M = 5.0
"""Radii that differ by less belong to datums that lie on each other."""

_IN_LINE = 1e-6
"""As a share of the raster's sides, from which points are no longer in one line."""

_CURVED = 9
"""Ground control points from which on a curved surface goes through them, and some are left to tell how well."""

_OFF_PX = 5.0
_OFF_TIMES = 8.0
"""How far a point may be from where the others place it: in pixels, and as a multiple of how far they are off."""


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


def lost_datum(crs: CRS, transform: Affine, rows: int, cols: int) -> str:
    """Give the name of the datum that nobody knows how to bring to WGS84, at the centre of a grid; empty for none.

    PROJ takes such longitudes and latitudes as they are. On a sphere, and on the ellipsoid of WGS84, so they are meant.
    """
    known = pyproj.CRS.from_wkt(crs.to_wkt())
    ellipsoid = known.ellipsoid
    assert ellipsoid is not None, "check_earth lets no such CRS pass"
    is_sphere = ellipsoid.semi_minor_metre == ellipsoid.semi_major_metre
    if is_sphere or abs(ellipsoid.semi_major_metre - _WGS84_RADIUS_M) < _SAME_M:
        return ""
    to_lonlat = pyproj.Transformer.from_crs(known, "OGC:CRS84", always_xy=True)
    place = to_lonlat.transform(*corner(transform, rows / 2, cols / 2))
    if not np.isfinite(place).all():
        return ""  # to place a detection there will tell
    how = to_lonlat.get_last_used_operation().description or ""
    return (known.datum.name if known.datum else "unknown") if "Ballpark" in how else ""


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


def check_points(points: Sequence[GroundControlPoint], crs: CRS, name: str) -> str:
    """Tell which of the ground control points that alone place a raster contradicts the others; empty for none.

    It is told of one that lies more than 5 pixels from where the others place it, and much farther than they lie from a
    smooth surface through them: over hills all of them do.
    Raises SceneError for points that place nothing: fewer than three, all in one line, or beyond 180 degrees.
    """
    pixels = np.array([(point.col, point.row) for point in points], float)
    places = np.array([(point.x, point.y) for point in points], float)
    col, row = ((pixels - pixels.mean(axis=0)) / np.maximum(np.ptp(pixels, axis=0), 1)).T
    flat = np.column_stack([np.ones(len(points)), col, row])
    spread = (places - places.mean(axis=0)) / (np.ptp(places, axis=0).max() or 1)
    if np.linalg.matrix_rank(flat, tol=_IN_LINE) < 3 or np.linalg.matrix_rank(spread, tol=_IN_LINE) < 2:
        raise SceneError(
            f"{name} is placed by ground control points that are fewer than three or in one line; georeference it with "
            "at least three points that are not in one line"
        )
    known = pyproj.CRS.from_wkt(crs.to_wkt())
    unit = known.axis_info[0].unit_conversion_factor
    metres = places * unit
    if crs.is_geographic:
        if np.abs(metres[:, 0]).max() > math.pi or np.ptp(metres[:, 0]) > math.pi:
            raise SceneError(
                f"{name} is placed by ground control points beyond or across 180 degrees; place it by points in "
                "metres, such as in a UTM zone"
            )
        metres *= _EARTH_RADII_M[0] * np.array([math.cos(metres[:, 1].mean()), 1])
    terms = np.column_stack([flat, col**2, col * row, row**2]) if len(points) >= _CURVED else flat
    if len(points) < terms.shape[1] + 2:
        return ""
    basis = np.linalg.qr(terms)[0]
    off = np.hypot(*(metres - basis @ (basis.T @ metres)).T)
    free = 1 - (basis**2).sum(axis=1)  # how little a point draws the surface to itself
    free[free < _IN_LINE] = np.inf
    worst = int((off**2 / free).argmax())
    alone, others = off[worst] / free[worst], (off**2).sum() - off[worst] ** 2 / free[worst]
    usual = math.sqrt(max(others, 0) / (len(points) - 1 - terms.shape[1]))
    sides = np.linalg.lstsq(np.column_stack([pixels, np.ones(len(points))]), metres, rcond=None)[0][:2]
    pixel = math.sqrt(abs(float(np.linalg.det(sides))))
    if alone <= max(_OFF_PX * pixel, _OFF_TIMES * usual):
        return ""
    at = "col {:g}, row {:g}".format(*pixels[worst])
    return f"number {worst + 1}, at {at}, lies {alone:,.0f} m from where the others place it"


def unrolled(crs: CRS, transform: Affine, rows: int, cols: int) -> tuple[CRS, Affine]:
    """Give a grid in geographic `crs` with longitudes from -180 to 180 degrees: PROJ gives no others.

    One from 0 to 360 is moved by a whole turn; one across 180 degrees gets a CRS whose longitudes begin at its centre,
    on the same datum. Any other comes as it is.
    Raises SceneError for one across 180 degrees in a CRS that cannot be turned.
    """
    known = pyproj.CRS.from_wkt(crs.to_wkt())
    unit = known.axis_info[0].unit_conversion_factor
    turn = 2 * math.pi / unit
    middle = corner(transform, rows / 2, cols / 2)[0]
    laps = round(middle / turn)
    transform = Affine.translation(-laps * turn, 0) @ transform
    corners = [corner(transform, row, col)[0] for row in (0, rows) for col in (0, cols)]
    if max(map(abs, corners)) <= turn / 2:
        return crs, transform
    flat = known.sub_crs_list[0] if known.is_compound else known.to_2d()
    base = flat.to_json_dict()
    if base["type"] != "GeographicCRS":
        raise SceneError("it goes across 180 degrees in a CRS of its own; bring it to a UTM zone: gdalwarp -t_srs")
    centre = middle - laps * turn
    names = {"o_lon_p": 0.0, "o_lat_p": 90.0, "lon_0": math.degrees(centre * unit)}
    turned = {
        "type": "DerivedGeographicCRS",
        "name": f"{flat.name}, turned",
        "base_crs": base,
        "conversion": {
            "name": "turn",
            "method": {"name": "PROJ ob_tran o_proj=longlat"},
            "parameters": [{"name": name, "value": value, "unit": "degree"} for name, value in names.items()],
        },
        "coordinate_system": base["coordinate_system"],
    }
    wkt = pyproj.CRS.from_json_dict(turned).to_wkt()
    return CRS.from_wkt(wkt), Affine.translation(-centre, 0) @ transform


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
