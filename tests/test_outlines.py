"""Outlines of groups of tiles, in WGS84."""

import math

import numpy as np
import pyproj
import pytest
import shapely
from affine import Affine
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from shapely.geometry import MultiPolygon, Point, Polygon, box

from geoscan.errors import SceneError
from geoscan.grid import TileGrid
from geoscan.outlines import area_ha, areas_ha, outlines, outlines_of

UTM = Affine(3.7, 0, 552_000, 0, -3.7, 9_317_000)


def outlined(mask, grid, transform, crs):
    """The outline of the tiles of a grid that a mask names, as one group."""
    (shape,) = outlines(np.asarray(mask, np.int32), grid, transform, crs)
    return shape


def grid_of(mask, chip=256, stride=200):
    """A grid whose last row and column are short."""
    down, across = mask.shape
    return TileGrid(down * stride - 37, across * stride - 61, chip, stride)


def squares(down, across, side):
    """A grid whose tiles are all whole."""
    return TileGrid(down * side, across * side, side, side)


def projected(geometry, crs):
    """From longitude, latitude back to `crs`."""
    transformer = pyproj.Transformer.from_crs("OGC:CRS84", crs, always_xy=True)
    return shapely.transform(geometry, lambda xy: np.column_stack(transformer.transform(*xy.T)))


def assert_rfc7946(geometry):
    assert geometry.is_valid
    assert geometry.area > 0
    west, south, east, north = geometry.bounds
    assert -180 <= west < east <= 180
    assert -90 <= south < north <= 90
    assert np.array_equal(shapely.get_coordinates(geometry), np.round(shapely.get_coordinates(geometry), 9))
    for part in shapely.get_parts(geometry):
        assert part.exterior.is_ccw
        assert not any(hole.is_ccw for hole in part.interiors)


@pytest.mark.parametrize("west", [552_000, 815_000])
def test_shapes_in_pixels_are_placed_as_groups_of_tiles_are(west):
    """With a hole and parts, and across the antimeridian as well."""
    transform, crs = Affine(3.7, 0, west, 0, -3.7, 9_317_000), "EPSG:32760"
    groups = np.zeros((6, 30), np.int32)
    groups[1:4, 1:4], groups[2, 2], groups[5, 29] = 1, 0, 2
    groups[4, 5] = groups[5, 6] = 1
    groups[0] = 3
    grid = squares(*groups.shape, 256)
    corners = [np.argwhere(groups == n)[:, ::-1].T * 256 for n in (1, 2, 3)]
    shapes = [shapely.union_all(shapely.box(col, row, col + 256, row + 256)) for col, row in corners]
    placed = outlines_of(shapes, transform, crs)
    expected = outlines(groups, grid, transform, crs)
    assert (max(one.bounds[2] for one in expected) == 180) == (west > 600_000)
    for one, other in zip(placed, expected, strict=True):
        assert_rfc7946(one)
        assert one.symmetric_difference(other).area < 1e-6 * other.area
    assert outlines_of([], transform, crs) == []


masks = arrays(bool, st.tuples(st.integers(1, 6), st.integers(1, 6)))


def pixels(mask, grid):
    return grid.cores(np.flatnonzero(mask))[:, 2:].prod(axis=1).sum()


@settings(deadline=None)
@given(masks, st.floats(0, 360), st.booleans())
def test_the_area_is_the_area_of_the_cores_also_when_rotated(mask, degrees, northern):
    assume(mask.any())
    crs = "EPSG:32621" if northern else "EPSG:32721"
    across, down = 3.7 * math.cos(math.radians(degrees)), 3.7 * math.sin(math.radians(degrees))
    transform = Affine(across, down, 552_000, down, -across, 685_000 if northern else 9_317_000)
    grid = grid_of(mask)
    shape = outlined(mask, grid, transform, crs)
    assert_rfc7946(shape)
    assert projected(shape, crs).area == pytest.approx(pixels(mask, grid) * 3.7**2, rel=1e-6)


@settings(deadline=None, max_examples=30)
@given(masks)
def test_the_outline_is_the_union_of_the_cores(mask):
    assume(mask.any())
    grid = grid_of(mask)
    cores = grid.cores(np.flatnonzero(mask)).tolist()
    boxes = [box(col, row, col + cols, row + rows) for row, col, rows, cols in cores]
    union = shapely.transform(shapely.union_all(boxes), lambda xy: xy * (3.7, -3.7) + (552_000, 9_317_000))
    back = projected(outlined(mask, grid, UTM, "EPSG:32721"), "EPSG:32721")
    assert back.symmetric_difference(union).area <= 1e-6 * union.area


def test_edges_follow_the_projection_within_a_millimetre():
    shape = outlined([[1]], squares(1, 1, 30_000), UTM, "EPSG:32721")  # 111 km: a straight line would be metres off
    edges = shapely.get_coordinates(projected(shapely.segmentize(shape, 1e-3), "EPSG:32721"))
    rim = box(552_000, 9_317_000 - 111_000, 552_000 + 111_000, 9_317_000).exterior
    assert max(rim.distance(Point(*xy)) for xy in edges) < 1.5e-3
    assert len(shape.exterior.coords) < 2000


def test_a_row_of_tiles_has_four_corners():
    shape = outlined([[1, 1, 1]], squares(1, 3, 256), Affine(1e-4, 0, -56, 0, -1e-4, -6), "EPSG:4326")
    assert shape.equals(box(-56, -6.0256, -55.9232, -6))
    assert len(shape.exterior.coords) == 5


def test_a_geographic_scene_keeps_its_coordinates():
    shape = outlined([[0, 1, 1]], squares(1, 3, 100), Affine(3e-5, 0, -56.5, 0, -3e-5, -6.2), "EPSG:4326")
    assert shape.bounds == pytest.approx((-56.497, -6.203, -56.491, -6.2), abs=1e-9)


def test_a_ring_of_tiles_has_a_hole():
    shape = outlined([[1, 1, 1], [1, 0, 1], [1, 1, 1]], squares(3, 3, 256), UTM, "EPSG:32721")
    assert_rfc7946(shape)
    assert isinstance(shape, Polygon)
    assert len(shape.interiors) == 1


def test_tiles_that_touch_at_a_corner_are_one_valid_multipolygon():
    shape = outlined([[1, 0], [0, 1]], squares(2, 2, 256), UTM, "EPSG:32721")
    assert_rfc7946(shape)
    assert isinstance(shape, MultiPolygon)
    assert len(shape.geoms) == 2


@settings(deadline=None)
@given(masks, st.integers(-900, 900), st.sampled_from(["EPSG:32601", "EPSG:32660", "EPSG:32701"]))
def test_a_scene_across_the_antimeridian_is_cut_there(mask, shift, crs):
    assume(mask.any())
    middle = pyproj.Transformer.from_crs("OGC:CRS84", crs, always_xy=True).transform(180, -17 if "327" in crs else 17)
    transform = Affine(3.7, 0, middle[0] + shift * 3.7 - 2000, 0, -3.7, middle[1])
    grid = grid_of(mask)
    shape = outlined(mask, grid, transform, crs)
    assert_rfc7946(shape)
    assert all(part.bounds[2] - part.bounds[0] < 1 for part in shapely.get_parts(shape))
    assert projected(shape, crs).area == pytest.approx(pixels(mask, grid) * 3.7**2, rel=1e-6)


@settings(deadline=None)
@given(masks, st.sampled_from([-180, 180, 179, 179.9, -180.05, 539.9]), st.integers(-6, 0))
def test_a_geographic_scene_across_or_at_the_antimeridian(mask, west, columns):
    assume(mask.any())
    grid = grid_of(mask)
    shape = outlined(mask, grid, Affine(1e-4, 0, west + columns * 0.02, 0, -1e-4, 10), "EPSG:4326")
    assert_rfc7946(shape)
    assert shape.area == pytest.approx(pixels(mask, grid) * 1e-8, rel=1e-6)


@pytest.mark.parametrize(("crs", "pole"), [("EPSG:3031", -90), ("EPSG:3413", 90)])
@pytest.mark.parametrize("hole", [False, True])
def test_tiles_around_a_pole(crs, pole, hole):
    mask = np.ones((3, 3), bool)
    mask[1, 1] = not hole
    shape = outlined(mask, squares(3, 3, 100), Affine(100, 0, -14_000, 0, -100, 13_000), crs)
    assert_rfc7946(shape)
    assert (Point(33.0, pole).distance(shape) < 1e-6) is not hole
    # EPSG:3413 is true to scale at 70 N and 3031 at 71 S: near the pole its metres are 3 % shorter.
    assert area_ha(shape) == pytest.approx(mask.sum() * 100 * 100, rel=0.08)


def test_a_place_off_the_projection_is_refused():
    with pytest.raises(SceneError, match="check the scene's georeference"):
        outlined([[1]], squares(1, 1, 256), Affine(1e6, 0, 1e12, 0, -1e6, 1e12), "EPSG:32721")


@pytest.mark.parametrize("metres", [1e5, 1e7, 1e30])
def test_chips_of_impossible_size_are_refused_before_they_take_memory(metres):
    with pytest.raises(SceneError, match="check the scene's georeference"):
        outlined([[1]], squares(1, 1, 256), Affine(metres, 0, 552_000, 0, -metres, 9_317_000), "EPSG:32721")


def test_area_is_geodesic():
    # 1 degree by 1 degree at the equator: 12308.78 km2 on the WGS84 ellipsoid.
    assert area_ha(box(10, 0, 11, 1)) == pytest.approx(1_230_878, rel=1e-4)
    utm = outlined([[1]], squares(1, 1, 256), UTM, "EPSG:32721")
    scale = pyproj.Proj("EPSG:32721").get_factors(*utm.centroid.coords[0]).areal_scale
    assert area_ha(utm) == pytest.approx((256 * 3.7) ** 2 / 1e4 / scale, rel=1e-6)


@settings(deadline=None, max_examples=30)
@given(
    arrays(np.int32, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 3)),
    st.sampled_from([("EPSG:32721", 552_000), ("EPSG:32601", 170_000), ("EPSG:4326", 179.99), ("EPSG:3031", -1000)]),
)
def test_many_groups_have_the_outlines_that_each_has_alone(groups, place):
    """Those across the antimeridian or around a pole, which take a way of their own, among them."""
    _, groups = np.unique(np.append(groups.ravel(), 0), return_inverse=True)
    groups = groups[:-1].reshape(1, -1).astype(np.int32)
    crs, west = place
    metres = 1e-4 if crs == "EPSG:4326" else 10
    transform = Affine(metres, 0, west, 0, -metres, 1000 if crs == "EPSG:3031" else 10)
    grid = grid_of(groups)
    together = outlines(groups, grid, transform, crs)
    alone = [outlined(groups == n, grid, transform, crs) for n in range(1, groups.max() + 1)]
    assert [shape.wkb for shape in together] == [shape.wkb for shape in alone]
    assert areas_ha(together).tolist() == [area_ha(shape) for shape in alone]


def test_no_group_has_no_outline():
    assert outlines(np.zeros((2, 3), np.int32), squares(2, 3, 256), UTM, "EPSG:32721") == []
