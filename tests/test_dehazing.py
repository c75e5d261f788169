import json
import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from geoscan.dark_channel import DarkChannel
from geoscan.dark_channel import dehaze as by_dark_channel
from geoscan.dehazing import MARGIN, DarkLevel, Dehazing, dark_levels, dehaze, histograms, restored, transmission_map
from geoscan.errors import InputError

PARAMS = DarkLevel()
LIGHT = np.array(PARAMS.airlight)[:, None, None]


def ground(rows=48, cols=48, seed=0):
    """Clear ground, (3, rows, cols), 0..1: something dark in every band, and something as bright as sand."""
    random = np.random.default_rng(seed)
    coarse = cv2.resize(random.random((rows // 8 + 2, cols // 8 + 2, 3)), (cols, rows)).transpose(2, 0, 1)
    return (coarse * 0.5 + random.normal(0, 0.01, coarse.shape)).clip(0.02, 1)


def under(haze, clear):
    """The ground under haze that lets the share `haze` of the light through, (3, rows, cols) uint8."""
    return np.rint((clear * haze + LIGHT * (1 - haze)) * 255).astype(np.uint8)


def holes(rows, cols, seed):
    valid = np.random.default_rng(seed).random((rows, cols)) > 0.3
    valid[: rows // 3, : cols // 2] = False
    return valid


@given(seed=st.integers(0, 99), masked=st.booleans())
def test_is_the_line_of_the_paper_with_the_percentile_of_the_chip(seed, masked):
    chip = under(0.7, ground(30, 40, seed))
    valid = holes(30, 40, seed) if masked else None
    seen = chip.reshape(3, -1) if valid is None else chip[:, valid]
    rank = max(1, math.ceil(seen.shape[1] * PARAMS.percent / 100))
    dark = np.sort(seen, axis=1)[:, rank - 1, None, None] / 255
    transmission = np.maximum(1 - PARAMS.omega * dark / LIGHT, PARAMS.t0)
    expected = (((chip / 255 - LIGHT) / transmission + LIGHT) * 255).clip(0, 255)
    clear = dehaze(chip, valid, PARAMS)
    assert clear.dtype == np.uint8
    real = np.ones((30, 40), bool) if valid is None else valid
    assert np.abs(clear.astype(float) - expected)[:, real].max() <= 0.51


@pytest.mark.parametrize("through", [0.8, 0.6, 0.4])
def test_a_chip_looks_the_same_under_any_haze(through):
    clear = ground()
    plain = dehaze(under(1.0, clear), None, PARAMS).astype(float)
    hazy = dehaze(under(through, clear), None, PARAMS).astype(float)
    assert np.abs(under(through, clear) - under(1.0, clear).astype(float)).mean() > 20
    assert np.abs(hazy - plain).mean() < 0.35 * np.abs(under(through, clear) - under(1.0, clear).astype(float)).mean()


def test_sand_beside_forest_is_not_dimmed_as_the_small_window_dims_it():
    chip = np.full((3, 48, 48), 25, np.uint8)
    chip[:, 10:30, 10:30] = 140
    sand = np.s_[:, 20, 20]
    assert (dehaze(chip, None, PARAMS)[sand] > 128).all()
    assert (dehaze(chip, None, DarkChannel(patch=5, radius=10))[sand] < 115).all()


@pytest.mark.parametrize("level", [220, 255])
def test_a_chip_of_nothing_dark_is_left_as_it_is(level):
    cloud = np.random.default_rng(0).integers(level - 5, level + 1, (3, 48, 48)).astype(np.uint8)
    np.testing.assert_array_equal(dehaze(cloud, None, PARAMS), cloud)
    sand = cloud.copy()
    sand[2] = 60
    assert not np.array_equal(dehaze(sand, None, PARAMS), sand), "haze is bright in every band, and sand is not"


def test_nodata_alone_comes_back():
    chip = under(0.6, ground())
    np.testing.assert_array_equal(dehaze(chip, np.zeros((48, 48), bool), PARAMS), chip)


def test_the_small_window_goes_through_the_same_door():
    chip, params = under(0.6, ground()), DarkChannel(patch=5, radius=6)
    expected = np.rint(by_dark_channel(chip / np.float32(255), None, params) * 255)
    np.testing.assert_array_equal(dehaze(chip, None, params), expected)


def test_dark_levels_are_ranks_of_what_is_there():
    counts = np.zeros((3, 256), np.int64)
    counts[0, [7, 9]] = 1, 99
    counts[1, 200] = 5
    assert dark_levels(counts, 1.0).tolist() == [7, 200, 255]
    assert dark_levels(counts, 2.0).tolist() == [9, 200, 255]
    chip = np.arange(12, dtype=np.uint8).reshape(3, 2, 2)
    assert dark_levels(histograms(chip, np.array([[False, True], [True, True]])), 1.0).tolist() == [1, 5, 9]


@settings(deadline=None, max_examples=30)
@given(rows=st.integers(1, 90), cols=st.integers(1, 90), cell=st.integers(4, 20), data=st.data())
def test_a_part_of_a_raster_has_the_transmission_of_the_whole(rows, cols, cell, data):
    pixels, valid = under(0.6, ground(rows, cols)), holes(rows, cols, 1)
    whole = transmission_map(pixels, valid, PARAMS, cell)
    row, col = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, cols - 1))
    top, left = max(row // cell - MARGIN, 0) * cell, max(col // cell - MARGIN, 0) * cell
    bottom, right = (row // cell + 1 + MARGIN) * cell, (col // cell + 1 + MARGIN) * cell
    part = transmission_map(pixels[:, top:bottom, left:right], valid[top:bottom, left:right], PARAMS, cell)
    assert part[:, row - top, col - left] == pytest.approx(whole[:, row, col], abs=1e-6)


def test_the_map_follows_haze_that_grows_and_has_no_steps():
    haze = np.linspace(0.9, 0.5, 400)[None, None]
    pixels = np.rint((np.tile(ground(40, 40), (1, 10, 10)) * haze + LIGHT * (1 - haze)) * 255).astype(np.uint8)
    valid = np.ones((400, 400), bool)
    found = transmission_map(pixels, valid, PARAMS, 40)
    assert np.abs(np.diff(found, axis=2)).max() < 0.004
    middle = found[:, 200]
    assert (np.diff(middle[:, 40:360:40], axis=1) < 0).all()
    clear = restored((pixels / 255).astype(np.float32), found, PARAMS.airlight)
    columns = clear.mean(axis=(0, 1))
    assert np.ptp(columns[40:360].reshape(8, 40).mean(axis=1)) < 0.5 * np.ptp(pixels.mean(axis=(0, 1))[40:360] / 255)


def test_nodata_and_cloud_take_the_haze_around_them():
    pixels = under(0.6, np.tile(ground(40, 40), (1, 5, 5)))
    valid = np.ones((200, 200), bool)
    plain = transmission_map(pixels, valid, PARAMS, 20)
    cloudy = pixels.copy()
    cloudy[:, 80:120, 80:120] = 250
    hidden = valid.copy()
    hidden[80:120, 80:120] = False
    for other in (transmission_map(cloudy, valid, PARAMS, 20), transmission_map(pixels, hidden, PARAMS, 20)):
        assert np.abs(other - plain)[:, 100, 100].max() < 0.1
    assert (transmission_map(np.full_like(pixels, 250), valid, PARAMS, 20) == 1).all()
    assert (transmission_map(pixels, np.zeros_like(valid), PARAMS, 20) == 1).all()


def test_wide_cloud_beside_forest_is_left_as_it_is():
    share = np.linspace(0, 2, 600).clip(0, 1)[:, None]  # forest above, then more and more cloud, then cloud alone
    pixels = np.rint(under(0.9, np.tile(ground(40, 40), (1, 15, 15))) * (1 - share) + 250 * share).astype(np.uint8)
    found = transmission_map(pixels, np.ones((600, 600), bool), PARAMS, 20)
    assert PARAMS.t0 - 1e-6 <= found.min() < 0.9
    assert found.max() <= 1 + 1e-6
    np.testing.assert_allclose(found[:, 400:], 1, atol=1e-6)


def test_one_transmission_keeps_colours():
    pixels = under(0.6, ground()) // np.array([1, 2, 3], np.uint8)[:, None, None]
    one = DarkLevel(by_band=False)
    found = transmission_map(pixels, np.ones((48, 48), bool), one, 24)
    assert (found[0] == found[1]).all()
    assert (found[0] == found[2]).all()
    each = transmission_map(pixels, np.ones((48, 48), bool), PARAMS, 24)
    assert (each[0] < each[1]).all()
    assert (each[1] < each[2]).all()


@pytest.mark.parametrize("params", [DarkLevel(omega=0.7, t0=0.3, percent=2), DarkChannel(patch=9, omega=0.5)])
def test_params_round_trip_through_json(params):
    card = TypeAdapter(Dehazing)
    assert card.validate_json(json.dumps(json.loads(card.dump_json(params)))) == params


@pytest.mark.parametrize(
    "wrong",
    [
        {"airlight": (0.5, 0.5)},
        {"airlight": (0, 0.5, 0.5)},
        {"airlight": (math.nan, 0.5, 0.5)},
        {"omega": 1.1},
        {"omega": math.nan},
        {"percent": 0},
        {"percent": 100},
        {"t0": 0},
        {"t0": 1.5},
    ],
)
def test_params_out_of_range_are_refused(wrong):
    with pytest.raises(InputError) as refused:
        DarkLevel(**wrong)
    assert next(iter(wrong)) in str(refused.value)
    assert "\n" not in str(refused.value)
