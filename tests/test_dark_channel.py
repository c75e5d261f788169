import json
import math
from dataclasses import asdict

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from slow_dehaze import by_pixel

from geoscan.dark_channel import DarkChannel, dehaze, estimate_airlight, scene_airlight
from geoscan.errors import InputError

SMALL = DarkChannel(patch=3, radius=4)


def cleared(pixels, valid, params, estimated):
    """Dehaze with an airlight that is estimated, or with the fixed one."""
    return dehaze(pixels, valid, params, estimate_airlight(pixels, valid, params) if estimated else None)


sides = st.integers(1, 40)


def landscape(rows, cols, seed):
    """Smooth ground with edges and grain, (3, rows, cols), 0..1."""
    random = np.random.default_rng(seed)
    coarse = random.random((rows // 8 + 1, cols // 8 + 1, 3), dtype=np.float32)
    ground = cv2.resize(coarse, (cols, rows), interpolation=cv2.INTER_LINEAR).reshape(rows, cols, 3)
    ground[ground.mean(axis=2) > 0.55] *= 0.3
    grain = random.normal(0, 0.02, ground.shape)
    return np.ascontiguousarray((ground + grain).clip(0, 1).transpose(2, 0, 1), np.float32)


def holes(rows, cols, seed):
    """A mask with a block, a border strip and scattered pixels of nodata."""
    random = np.random.default_rng(seed)
    valid = random.random((rows, cols)) > random.choice([0.02, 0.5, 0.95])
    row, col = random.integers(0, rows), random.integers(0, cols)
    valid[row : row + rows // 3, col : col + cols // 3] = False
    valid[:, : random.integers(0, cols // 4 + 1)] = False
    return valid


@given(sides, sides, st.floats(0, 1, width=32), st.booleans(), st.integers(0, 2**32))
def test_constant_image_stays_constant(rows, cols, value, estimated, seed):
    pixels = np.full((3, rows, cols), value, np.float32)
    for valid in (None, holes(rows, cols, seed)):
        clear = cleared(pixels, valid, DarkChannel(patch=3, radius=4), estimated)
        for plane in clear if valid is None else clear[:, valid]:
            assert np.ptp(plane) < 1e-5 if plane.size else True


@given(sides, sides, st.booleans(), st.integers(0, 2**32))
def test_range_shape_type_and_input_are_kept(rows, cols, estimated, seed):
    pixels = np.random.default_rng(seed).random((3, rows, cols), dtype=np.float32)
    before = pixels.copy()
    clear = cleared(pixels, None, DarkChannel(patch=5, radius=3, t0=0.05, omega=1), estimated)
    assert clear.shape == pixels.shape
    assert clear.dtype == np.float32
    assert clear.min() >= 0
    assert clear.max() <= 1
    assert np.array_equal(pixels, before)


@given(sides, sides, st.booleans(), st.integers(0, 2**32), st.sampled_from([0.0, 1.0, -9999.0, np.nan, np.inf]))
def test_nodata_comes_back_unchanged_and_changes_nothing(rows, cols, estimated, seed, nodata):
    params = DarkChannel(patch=5, radius=3)
    pixels, valid = landscape(rows, cols, seed), holes(rows, cols, seed)
    pixels[:, ~valid] = 0.5
    expected = cleared(pixels, valid, params, estimated)
    pixels[:, ~valid] = nodata
    clear = cleared(pixels, valid, params, estimated)
    assert np.array_equal(clear[:, valid], expected[:, valid])
    assert np.array_equal(clear[:, ~valid], pixels[:, ~valid], equal_nan=True)


@settings(deadline=None)
@given(st.integers(1, 200), st.integers(1, 200), st.data(), st.booleans(), st.booleans())
def test_tile_with_halo_equals_whole_scene(rows, cols, data, scene_airlight, masked):
    seed = data.draw(st.integers(0, 2**32))
    params = DarkChannel(patch=data.draw(st.sampled_from([1, 5, 15])), radius=data.draw(st.integers(1, 20)))
    pixels = landscape(rows, cols, seed)
    valid = holes(rows, cols, seed) if masked else None
    airlight = estimate_airlight(pixels, valid, params) if scene_airlight else None
    whole = dehaze(pixels, valid, params, airlight)
    row, col = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, cols - 1))
    height, width = data.draw(st.integers(1, rows - row)), data.draw(st.integers(1, cols - col))
    top, left = max(row - params.context, 0), max(col - params.context, 0)
    window = slice(top, row + height + params.context), slice(left, col + width + params.context)
    tile = dehaze(pixels[:, *window], None if valid is None else valid[window], params, airlight)
    inner = tile[:, row - top : row - top + height, col - left : col - left + width]
    np.testing.assert_allclose(inner, whole[:, row : row + height, col : col + width], rtol=0, atol=1e-6)


def test_context_is_all_that_is_needed_and_no_more():
    params = DarkChannel(patch=5, radius=6)
    pixels = landscape(81, 81, 5)
    touched = pixels.copy()
    touched[:, 40, 40] = 0
    changed = np.abs(dehaze(touched, None, params) - dehaze(pixels, None, params)).max(axis=0) > 0
    reach = np.abs(np.argwhere(changed) - 40).max()
    assert reach == params.context


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 16), st.integers(1, 16), st.integers(0, 2**32), st.booleans(), st.booleans())
def test_agrees_with_the_equations_pixel_by_pixel(rows, cols, seed, masked, wide):
    params = DarkChannel(patch=7, radius=20, t0=0.2) if wide else DarkChannel(patch=3, radius=2, t0=0.2)
    pixels = landscape(rows, cols, seed)
    valid = holes(rows, cols, seed) if masked else None
    light = np.array([0.8, 0.7, 0.6], np.float32)
    np.testing.assert_allclose(
        dehaze(pixels, valid, params, light), by_pixel(pixels, valid, params, light), rtol=0, atol=2e-5
    )


@given(st.integers(0, 2**32), st.floats(0.35, 0.85))
def test_known_haze_is_reduced(seed, transmission):
    params = DarkChannel(patch=7, radius=8, omega=0.9, t0=0.2)
    ground = landscape(64, 64, seed)
    # The prior itself: some band of every patch is dark.
    ground[np.random.default_rng(seed).integers(0, 3, 1)[0]] *= 0.1
    light = np.array([0.8, 0.78, 0.75], np.float32)[:, None, None]
    hazy = (ground * transmission + light * (1 - transmission)).astype(np.float32)
    error = np.abs(dehaze(hazy, None, params, light.ravel()) - ground).mean()
    assert error < 0.6 * np.abs(hazy - ground).mean()


def test_more_omega_removes_more_haze():
    ground = landscape(48, 48, 3) * 0.5
    means = [
        dehaze(ground, None, DarkChannel(patch=3, radius=4, omega=omega, airlight=(0.9, 0.9, 0.9))).mean()
        for omega in (0, 0.3, 0.6, 0.9)
    ]
    assert means[0] == pytest.approx(ground.mean(), abs=1e-6)
    assert means == sorted(means, reverse=True)
    assert means[-1] < means[0]


def test_airlight_is_the_mean_of_the_brightest_dark_channel():
    pixels = np.full((3, 100, 100), 0.2, np.float32)
    pixels[:, 10:20, 10:20] = np.array([0.9, 0.8, 0.7], np.float32)[:, None, None]
    pixels[0, 60, 60] = 1  # one bright pixel of one band is no haze
    np.testing.assert_allclose(estimate_airlight(pixels, None, SMALL), [0.9, 0.8, 0.7], atol=1e-6)


@pytest.mark.parametrize("level", [30, 1, 0])
def test_the_airlight_of_a_dark_scene_is_not_darker_than_haze(level):
    pixels = np.full((3, 64, 64), level / 255, np.float32)
    assert scene_airlight(pixels, None, SMALL).mean() == pytest.approx(np.mean(SMALL.airlight), abs=1e-3)
    pixels[:, 10:20, 10:20] = 0.95
    np.testing.assert_array_equal(scene_airlight(pixels, None, SMALL), estimate_airlight(pixels, None, SMALL))


@given(sides, sides, st.integers(0, 2**32))
def test_airlight_lies_within_the_valid_pixels(rows, cols, seed):
    pixels, valid = landscape(rows, cols, seed), holes(rows, cols, seed)
    pixels[:, ~valid] = 7
    light = estimate_airlight(pixels, valid, SMALL)
    if valid.any():
        assert (light >= pixels[:, valid].min(axis=1) - 1e-6).all()
        assert (light <= pixels[:, valid].max(axis=1) + 1e-6).all()
    else:
        np.testing.assert_allclose(light, SMALL.airlight)


def test_only_nodata_is_returned_as_it_came():
    pixels = np.full((3, 4, 5), np.nan, np.float32)
    nothing = np.zeros((4, 5), bool)
    assert np.isnan(dehaze(pixels, nothing, SMALL)).all()
    np.testing.assert_allclose(estimate_airlight(pixels, nothing, SMALL), SMALL.airlight)


def test_black_chip_stays_black():
    black = np.zeros((3, 32, 32), np.float32)
    assert not dehaze(black, None, DarkChannel(), np.zeros(3, np.float32)).any()


def test_an_airlight_of_other_bands_is_refused():
    pixels = landscape(8, 8, 0)
    with pytest.raises(InputError, match="does not fit 3 bands"):
        dehaze(pixels, None, SMALL, np.ones(4, np.float32))


def test_params_round_trip_through_json():
    params = DarkChannel(airlight=(0.5, 0.6, 0.7), omega=0.7, patch=9, radius=12)
    assert TypeAdapter(DarkChannel).validate_json(json.dumps(asdict(params))) == params, "as the card is read"


@pytest.mark.parametrize(
    "wrong",
    [
        {"airlight": (0.5, 0.5)},
        {"airlight": (0, 0.5, 0.5)},
        {"airlight": (math.nan, 0.5, 0.5)},
        {"omega": 1.1},
        {"omega": math.nan},
        {"patch": 4},
        {"patch": 0},
        {"radius": 0},
        {"eps": 0},
        {"t0": 0},
    ],
)
def test_params_out_of_range_are_refused(wrong):
    with pytest.raises(InputError) as refused:
        DarkChannel(**wrong)
    assert next(iter(wrong)) in str(refused.value)
    assert "\n" not in str(refused.value)
