from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoscan.dark_channel import DarkChannel
from geoscan.dehazing import DarkLevel
from geoscan.errors import InputError
from geoscan.model.preprocess import Preprocess

PLAIN = Preprocess(32, 3.7, "visual", None)
CLEAR = replace(PLAIN, dehaze=DarkLevel())


def pixels(rows=32, cols=32, seed=0):
    return np.random.default_rng(seed).integers(90, 250, (3, rows, cols), dtype=np.uint8)


def test_without_dehazing_a_whole_chip_comes_back_as_it_was():
    chip = PLAIN(pixels())
    assert chip.dtype == np.uint8
    assert chip.flags.c_contiguous
    np.testing.assert_array_equal(chip, pixels().transpose(1, 2, 0))


@given(rows=st.integers(1, 32), cols=st.integers(1, 32))
def test_less_than_a_chip_is_filled_up_by_reflection(rows, cols):
    chip = PLAIN(pixels(rows, cols))
    across = np.tile(np.r_[np.arange(cols), np.arange(cols)[::-1]], 32)[:32]
    down = np.tile(np.r_[np.arange(rows), np.arange(rows)[::-1]], 32)[:32]
    np.testing.assert_array_equal(chip, pixels(rows, cols)[:, down][:, :, across].transpose(1, 2, 0))


@pytest.mark.parametrize("preprocess", [PLAIN, CLEAR, replace(PLAIN, dehaze=DarkChannel())])
def test_nodata_takes_the_mean_colour_of_the_rest(preprocess):
    valid = np.ones((32, 32), bool)
    valid[:10, :20] = False
    dark = pixels()
    dark[:, ~valid] = 0
    bright = pixels()
    bright[:, ~valid] = 255
    chip = preprocess(dark, valid)
    np.testing.assert_array_equal(chip, preprocess(bright, valid), "what lies under nodata says nothing")
    mean = chip[valid].mean(axis=0)
    assert (np.abs(chip[~valid] - mean) <= 0.5).all()


def test_a_mask_of_all_valid_is_no_mask():
    np.testing.assert_array_equal(CLEAR(pixels(), np.ones((32, 32), bool)), CLEAR(pixels(), None))


def test_dehazing_darkens_what_haze_brightened():
    chip = CLEAR(pixels())
    assert chip.mean() < pixels().mean() - 5


@pytest.mark.parametrize("dehaze", [None, DarkLevel(), DarkChannel()])
def test_a_framed_chip_loses_its_haze_as_one_that_is_prepared(dehaze):
    preprocess = replace(PLAIN, dehaze=dehaze)
    framed = preprocess.frame(pixels())
    np.testing.assert_array_equal(framed, pixels().transpose(1, 2, 0))
    np.testing.assert_array_equal(preprocess.clear(framed), preprocess(pixels()))
    np.testing.assert_array_equal(preprocess.cleared(framed[None])[0], preprocess(pixels()))


@pytest.mark.parametrize("shape", [(3, 33, 32), (3, 32, 33), (4, 32, 32), (1, 32, 32)])
def test_refuses_what_is_no_chip(shape):
    with pytest.raises(InputError, match="do not fit"):
        PLAIN(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("change", [{"chip": 0}, {"gsd": 0.0}, {"gsd": -1.0}, {"gsd": float("nan")}])
def test_refuses_impossible_settings(change):
    with pytest.raises(InputError, match="above 0"):
        replace(PLAIN, **change)
