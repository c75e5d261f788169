"""Flagging, outlines in WGS84, and the attributes of detections."""

import itertools
import math
import subprocess
import sys

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from geoscan.errors import InputError
from geoscan.grid import TileGrid
from geoscan.labels import LABELS, MINE
from geoscan.outlines import areas_ha
from geoscan.polygons import Detection, Hysteresis, Provenance, detections, flag, joined, properties

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
        ((0.6, 0.7, 0.9), r"--low 0\.7 is above --high 0\.6; pass --low 0\.\.0\.6, or a higher --high"),
        ((0.6, 0.3, 0.5), r"--isolated 0\.5 is below --high 0\.6; pass --isolated 0\.6\.\.1, or a lower --high"),
        ((1, 0.3, 0), "--isolated 0 is below --high 1; pass --isolated 1, or a lower --high"),
        ((0, 0.5, 1), r"--low 0\.5 is above --high 0; pass --low 0, or a higher --high"),
    ],
)
def test_thresholds_out_of_range_or_order_are_refused(levels, message):
    with pytest.raises(InputError, match=message):
        Hysteresis(*levels)


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
        "status": None,
        "gained_ha": None,
        "first_seen": None,
        "review": "unreviewed",
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
    assert [one.area_ha for one in found] == areas_ha([one.geometry for one in found]).tolist()
    assert shapely.union_all([one.geometry for one in found]).area == pytest.approx(
        sum(one.geometry.area for one in found), rel=1e-9
    )
    assert found == detections(grid, scores, LABELS, SOURCE, UTM, "EPSG:32721")


def test_a_model_without_weather_has_no_haze():
    grid = TileGrid(256, 256, 256, 256)
    (one,) = detections(grid, np.ones((1, 1), np.float32), (MINE,), SOURCE, UTM, "EPSG:32721")
    assert one.weather == ""
    assert properties(one)["haze"] is None


def test_scores_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="do not fit 1 tiles and 17 labels"):
        detections(TileGrid(9, 9, 9, 9), np.ones((2, 17), np.float32), LABELS, SOURCE, UTM, "EPSG:32721")


@pytest.mark.parametrize("stride", [256, 128])
def test_chips_of_scenes_that_show_the_same_ground_count_once(stride):
    grid = TileGrid(4 * stride, 4 * stride, 256, stride)
    mine = np.zeros((4, 4), np.float32)
    mine[1:3, :3] = 0.95

    def scene(east: float) -> list[Detection]:
        place = UTM @ Affine.translation(east, 0)
        return detections(grid, scene_scores(grid, mine), LABELS, SOURCE, place, "EPSG:32721")

    (single,) = scene(0)
    for count in (2, 3, 7):
        (same,) = joined([scene(0)] * count)
        assert (same.n_chips, same.area_ha) == (6, pytest.approx(single.area_ha))
    (half,), (beside,) = joined([scene(0), scene(1.5 * stride)]), joined([scene(0), scene(3 * stride)])
    assert (half.n_chips, beside.n_chips) == (9, 12)


def test_import_leaves_geopandas_alone():
    code = (
        "import sys, geoscan.polygons, geoscan.layers; sys.exit('geopandas' in sys.modules or 'pandas' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
