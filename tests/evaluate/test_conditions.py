import numpy as np
import pytest

from geoscan.evaluate.conditions import CONDITIONS, OFFSET, WHITE, coarser, haze, jpeg, shifted, surface

CHIPS = np.random.default_rng(0).integers(30, 160, (3, 16, 16, 3)).astype(np.uint8)


@pytest.mark.parametrize("name", CONDITIONS)
def test_chips_stay_chips_and_change_as_they_are_named(name):
    before = CHIPS.copy()
    changed = CONDITIONS[name](CHIPS)
    np.testing.assert_array_equal(CHIPS, before)
    assert (changed.shape, changed.dtype) == (CHIPS.shape, np.uint8)
    np.testing.assert_array_equal(changed, CONDITIONS[name](CHIPS))
    assert np.array_equal(changed, CHIPS) == (name == "as they are")


def test_haze_is_the_model_that_dehazing_inverts():
    np.testing.assert_allclose(haze(0.6)(CHIPS), CHIPS * 0.6 + WHITE * 0.4, atol=0.5)
    np.testing.assert_array_equal(haze(1.0)(CHIPS), CHIPS)


def test_an_offset_is_added_and_clipped():
    np.testing.assert_array_equal(
        CONDITIONS["0.1 reflectance added"](CHIPS), np.minimum(CHIPS.astype(int) + int(OFFSET), 255)
    )


def test_less_atmosphere_is_less_blue():
    change = surface(CHIPS).astype(float) - CHIPS
    assert change[..., 2].mean() < change[..., 0].mean() < 0


def test_what_is_lost_is_detail():
    assert coarser(CHIPS).std() < 0.7 * CHIPS.std()
    assert abs(coarser(CHIPS).mean() - CHIPS.mean()) < 1
    flat = np.full_like(CHIPS, 90)
    np.testing.assert_array_equal(coarser(flat), flat)
    assert np.abs(jpeg(95)(CHIPS).astype(int) - CHIPS).mean() < np.abs(jpeg(20)(CHIPS).astype(int) - CHIPS).mean()


def test_a_shift_moves_what_is_seen():
    np.testing.assert_array_equal(shifted(CHIPS)[:, :12, :12], CHIPS[:, 4:, 4:])
