"""Flagging, outlines in WGS84, and the attributes of detections."""

import itertools
import math
import subprocess
import sys

import numpy as np
import pyproj
import pytest
import shapely
from affine import Affine
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from shapely.geometry import MultiPolygon, Point, Polygon, box

from geoscan.errors import InputError, SceneError
from geoscan.grid import TileGrid, Window
from geoscan.labels import LABELS, MINE
from geoscan.polygons import Hysteresis, Provenance, area_ha, detections, flag, outline, projector, properties

T = Hysteresis(high=0.6, low=0.3, isolated=0.9)
SOURCE = Provenance("scene.tif", "planet", "sha256:00", T, "0.1.0")
UTM = Affine(3.7, 0, 552_000, 0, -3.7, 9_317_000)


def flood(scores, t):
    """The slow and obvious flag()."""
    out, n = np.zeros(scores.shape, int), 0
    seen = set()
    for start in itertools.product(*map(range, scores.shape)):
        if start in seen or not scores[start] >= t.low:
            continue
        group, todo = [], [start]
        seen.add(start)
        while todo:
            row, col = todo.pop()
            group.append((row, col))
            for at in itertools.product((row - 1, row, row + 1), (col - 1, col, col + 1)):
                inside = 0 <= at[0] < scores.shape[0] and 0 <= at[1] < scores.shape[1]
                if inside and at not in seen and scores[at] >= t.low:
                    seen.add(at)
                    todo.append(at)
        if max(scores[at] for at in group) >= (t.isolated if len(group) == 1 else t.high):
            n += 1
            out[tuple(np.transpose(group))] = n
    return out


score_grids = arrays(
    np.float32,
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    elements=st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.6, 0.8, 0.9, 1.0, math.nan]),
)


@given(score_grids, st.tuples(*[st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.6, 0.9, 1.0])] * 3))
def test_flag_is_a_flood_fill(scores, levels):
    low, high, isolated = sorted(levels)
    t = Hysteresis(high, low, isolated)
    assert np.array_equal(flag(scores, t), flood(scores, t))


def test_flag_of_nothing_scored_is_nothing():
    assert not flag(np.full((3, 4), np.nan, np.float32), Hysteresis(0, 0, 0)).any()


def test_an_isolated_tile_needs_more():
    scores = np.zeros((3, 7), np.float32)
    scores[1, 1] = 0.8  # alone, below the threshold of isolated ones
    scores[1, 3] = 0.95  # alone, above it
    scores[0, 5], scores[1, 6] = 0.7, 0.3  # neighbours at a corner
    assert flag(scores, T).tolist() == [[0, 0, 0, 0, 0, 1, 0], [0, 0, 0, 2, 0, 0, 1], [0] * 7]


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        ((1.2, 0.3, 0.9), r"--high 1\.2 .*0 to 1"),
        ((0.6, -1, 0.9), "--low -1 "),
        ((0.6, 0.3, math.nan), "--isolated nan "),
        ((0.6, 0.7, 0.9), r"--low 0\.7 is above --high 0\.6; pass --low 0\.\.0\.6"),
        ((0.6, 0.3, 0.5), r"--isolated 0\.5 is below --high 0\.6; pass --isolated 0\.6\.\.1"),
    ],
)
def test_thresholds_out_of_range_or_order_are_refused(levels, message):
    with pytest.raises(InputError, match=message):
        Hysteresis(*levels)


def outlined(cores, transform, crs):
    table = np.array([(core.row, core.col, core.rows, core.cols) for core in cores])
    return outline(table, transform, projector(crs))


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


masks = arrays(bool, st.tuples(st.integers(1, 6), st.integers(1, 6)))


def cores_of(mask, chip=256, stride=200, rows=None, cols=None):
    """Cores of the flagged tiles of a grid whose last row and column are short."""
    down, across = mask.shape
    grid = TileGrid(rows or down * stride - 37, cols or across * stride - 61, chip, stride)
    return [grid[int(i)].core for i in np.flatnonzero(mask)]


def pixels(cores):
    return sum(core.rows * core.cols for core in cores)


@settings(deadline=None)
@given(masks, st.floats(0, 360), st.booleans())
def test_the_area_is_the_area_of_the_cores_also_when_rotated(mask, degrees, northern):
    assume(mask.any())
    crs = "EPSG:32621" if northern else "EPSG:32721"
    across, down = 3.7 * math.cos(math.radians(degrees)), 3.7 * math.sin(math.radians(degrees))
    transform = Affine(across, down, 552_000, down, -across, 685_000 if northern else 9_317_000)
    cores = cores_of(mask)
    shape = outlined(cores, transform, crs)
    assert_rfc7946(shape)
    assert projected(shape, crs).area == pytest.approx(pixels(cores) * 3.7**2, rel=1e-6)


@settings(deadline=None, max_examples=30)
@given(masks)
def test_the_outline_is_the_union_of_the_cores(mask):
    assume(mask.any())
    cores = cores_of(mask)
    boxes = [box(c.col, c.row, c.col + c.cols, c.row + c.rows) for c in cores]
    union = shapely.transform(shapely.union_all(boxes), lambda xy: xy * (3.7, -3.7) + (552_000, 9_317_000))
    back = projected(outlined(cores, UTM, "EPSG:32721"), "EPSG:32721")
    assert back.symmetric_difference(union).area <= 1e-6 * union.area


def test_edges_follow_the_projection_within_a_millimetre():
    shape = outlined([Window(0, 0, 30_000, 30_000)], UTM, "EPSG:32721")  # 111 km: a straight line would be metres off
    edges = shapely.get_coordinates(projected(shapely.segmentize(shape, 1e-3), "EPSG:32721"))
    rim = box(552_000, 9_317_000 - 111_000, 552_000 + 111_000, 9_317_000).exterior
    assert max(rim.distance(Point(*xy)) for xy in edges) < 1.5e-3
    assert len(shape.exterior.coords) < 2000


def test_a_row_of_tiles_has_four_corners():
    cores = [Window(0, 256 * i, 256, 256) for i in range(3)]
    shape = outlined(cores, Affine(1e-4, 0, -56, 0, -1e-4, -6), "EPSG:4326")
    assert shape.equals(box(-56, -6.0256, -55.9232, -6))
    assert len(shape.exterior.coords) == 5


def test_a_geographic_scene_keeps_its_coordinates():
    shape = outlined([Window(10, 20, 100, 200)], Affine(3e-5, 0, -56.5, 0, -3e-5, -6.2), "EPSG:4326")
    assert shape.bounds == pytest.approx((-56.4994, -6.2033, -56.4934, -6.2003), abs=1e-9)


def test_a_ring_of_tiles_has_a_hole():
    cores = [Window(256 * r, 256 * c, 256, 256) for r in range(3) for c in range(3) if (r, c) != (1, 1)]
    shape = outlined(cores, UTM, "EPSG:32721")
    assert_rfc7946(shape)
    assert isinstance(shape, Polygon)
    assert len(shape.interiors) == 1


def test_tiles_that_touch_at_a_corner_are_one_valid_multipolygon():
    shape = outlined([Window(0, 0, 256, 256), Window(256, 256, 256, 256)], UTM, "EPSG:32721")
    assert_rfc7946(shape)
    assert isinstance(shape, MultiPolygon)
    assert len(shape.geoms) == 2


@settings(deadline=None)
@given(masks, st.integers(-900, 900), st.sampled_from(["EPSG:32601", "EPSG:32660", "EPSG:32701"]))
def test_a_scene_across_the_antimeridian_is_cut_there(mask, shift, crs):
    assume(mask.any())
    middle = pyproj.Transformer.from_crs("OGC:CRS84", crs, always_xy=True).transform(180, -17 if "327" in crs else 17)
    transform = Affine(3.7, 0, middle[0] + shift * 3.7 - 2000, 0, -3.7, middle[1])
    cores = cores_of(mask)
    shape = outlined(cores, transform, crs)
    assert_rfc7946(shape)
    assert all(part.bounds[2] - part.bounds[0] < 1 for part in shapely.get_parts(shape))
    assert projected(shape, crs).area == pytest.approx(pixels(cores) * 3.7**2, rel=1e-6)


@settings(deadline=None)
@given(masks, st.sampled_from([-180, 180, 179, 179.9, -180.05, 539.9]), st.integers(-6, 0))
def test_a_geographic_scene_across_or_at_the_antimeridian(mask, west, columns):
    assume(mask.any())
    cores = cores_of(mask)
    shape = outlined(cores, Affine(1e-4, 0, west + columns * 0.02, 0, -1e-4, 10), "EPSG:4326")
    assert_rfc7946(shape)
    assert shape.area == pytest.approx(pixels(cores) * 1e-8, rel=1e-6)


@pytest.mark.parametrize(("crs", "pole"), [("EPSG:3031", -90), ("EPSG:3413", 90)])
@pytest.mark.parametrize("hole", [False, True])
def test_tiles_around_a_pole(crs, pole, hole):
    cores = [Window(100 * r, 100 * c, 100, 100) for r in range(3) for c in range(3) if not hole or (r, c) != (1, 1)]
    shape = outlined(cores, Affine(100, 0, -14_000, 0, -100, 13_000), crs)
    assert_rfc7946(shape)
    assert (Point(33.0, pole).distance(shape) < 1e-6) is not hole
    # EPSG:3413 is true to scale at 70 N and 3031 at 71 S: near the pole its metres are 3 % shorter.
    assert area_ha(shape) == pytest.approx(len(cores) * 100 * 100, rel=0.08)


def test_a_place_off_the_projection_is_refused():
    with pytest.raises(SceneError, match="check the scene's georeference"):
        outlined([Window(0, 0, 256, 256)], Affine(1e6, 0, 1e12, 0, -1e6, 1e12), "EPSG:32721")


def test_area_is_geodesic():
    # 1 degree by 1 degree at the equator: 12308.78 km2 on the WGS84 ellipsoid.
    assert area_ha(box(10, 0, 11, 1)) == pytest.approx(1_230_878, rel=1e-4)
    utm = outlined([Window(0, 0, 256, 256)], UTM, "EPSG:32721")
    scale = pyproj.Proj("EPSG:32721").get_factors(*utm.centroid.coords[0]).areal_scale
    assert area_ha(utm) == pytest.approx((256 * 3.7) ** 2 / 1e4 / scale, rel=1e-6)


def scene_scores(grid, mine):
    """(tiles, 17): the mine scores given, water 0.5, haze a tenth of the mine score, clear the rest."""
    scores = np.zeros((len(grid), len(LABELS)), np.float32)
    scores[:, LABELS.index(MINE)] = np.ravel(mine)
    scores[:, LABELS.index("water")] = 0.5
    scores[:, LABELS.index("haze")] = np.ravel(mine) / 10
    scores[:, LABELS.index("clear")] = 1 - np.ravel(mine) / 10
    scores[np.isnan(np.ravel(mine))] = np.nan
    return scores


def test_detections_carry_means_over_their_area():
    grid = TileGrid(256 + 64, 512, 256, 256)  # the lower row of cores is a quarter as high
    found = detections(
        grid,
        scene_scores(grid, [[0.9, 0.1], [0.4, math.nan]]),
        LABELS,
        SOURCE,
        UTM,
        "EPSG:32721",
        probabilities=np.array([0.25, 0.01, 0.125, math.nan]),
        label_thresholds={"water": 0.4, "primary": 0.2, "clear": 0.1, MINE: 0.1},
    )
    assert len(found) == 1
    one = found[0]
    assert one.score_max == pytest.approx(0.9)
    assert one.score_mean == pytest.approx((4 * 0.9 + 0.4) / 5)
    assert one.haze == pytest.approx((4 * 0.09 + 0.04) / 5)
    assert (one.n_chips, one.weather, one.other_labels) == (2, "clear", {"water": 0.5})
    assert properties(one) == {
        "scene": "scene.tif",
        "score_max": 0.9,
        "score_mean": 0.8,
        "probability": 0.25,
        "n_chips": 2,
        "area_ha": pytest.approx(320 * 256 * 3.7**2 / 1e4, rel=1e-3),
        "other_labels": "water",
        "other_scores": "0.5000",
        "weather": "clear",
        "haze": 0.08,
        "model": "planet",
        "digest": "sha256:00",
        "operate": "custom",
        "threshold_high": 0.6,
        "threshold_low": 0.3,
        "threshold_isolated": 0.9,
        "tta": False,
        "prior": None,
        "geoscan": "0.1.0",
    }


def test_a_model_that_nobody_calibrated_gives_no_probability():
    grid = TileGrid(256, 256, 256, 256)
    (one,) = detections(grid, scene_scores(grid, [[0.95]]), LABELS, SOURCE, UTM, "EPSG:32721")
    assert one.probability is properties(one)["probability"] is None


@settings(deadline=None, max_examples=40)
@given(score_grids)
def test_detections_are_the_flagged_groups_sorted_by_bounds(mine):
    grid = TileGrid(mine.shape[0] * 200 - 37, mine.shape[1] * 200 - 61, 256, 200)
    scores = scene_scores(grid, mine)
    found = detections(grid, scores, LABELS, SOURCE, UTM, "EPSG:32721")
    groups = flag(mine, T)
    assert sorted(one.n_chips for one in found) == sorted(np.bincount(groups.ravel())[1:].tolist())
    assert [one.geometry.bounds for one in found] == sorted(one.geometry.bounds for one in found)
    flagged = pixels([grid[int(i)].core for i in np.flatnonzero(groups)]) * 3.7**2
    union = projected(shapely.union_all([one.geometry for one in found]), "EPSG:32721") if found else Polygon()
    assert union.area == pytest.approx(flagged, rel=1e-6)
    assert found == detections(grid, scores, LABELS, SOURCE, UTM, "EPSG:32721")


def test_a_model_without_weather_has_no_haze():
    grid = TileGrid(256, 256, 256, 256)
    (one,) = detections(grid, np.ones((1, 1), np.float32), (MINE,), SOURCE, UTM, "EPSG:32721")
    assert one.weather == ""
    assert properties(one)["haze"] is None


def test_scores_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="do not fit 1 tiles and 17 labels"):
        detections(TileGrid(9, 9, 9, 9), np.ones((2, 17), np.float32), LABELS, SOURCE, UTM, "EPSG:32721")


def test_import_leaves_geopandas_alone():
    code = (
        "import sys, geoscan.polygons, geoscan.layers; sys.exit('geopandas' in sys.modules or 'pandas' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
