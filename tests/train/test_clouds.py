from dataclasses import replace

import numpy as np
import pytest

from geoscan.errors import InputError
from geoscan.train.augment import Augmentation
from geoscan.train.clouds import clouded

SIDE = 48
FOREST = np.full((SIDE, SIDE, 3), (30, 45, 50), np.uint8)
MINE = FOREST.copy()
MINE[10:30, 14:40] = (190, 150, 110)
NONE = Augmentation(symmetries=False, zoom=1, gain=1, haze=0)


@pytest.fixture(scope="module")
def made():
    rng = np.random.default_rng(7)
    return np.stack([clouded(FOREST, rng) for _ in range(400)])


def brighter(made):
    return made.astype(int) - FOREST


def test_chips_stay_chips(made):
    assert made.shape == (400, SIDE, SIDE, 3)
    assert made.dtype == np.uint8


def test_clouds_are_brighter_than_forest_and_never_hide_all(made):
    over = brighter(made).max(axis=-1)
    assert (over.max(axis=(1, 2)) > 4).mean() > 0.95
    # At most 64 % of at most 267, over 36 % of the ground.
    assert made.max() <= np.ceil(0.64 * 267 + 0.36 * 50)
    assert over.max() > 80


def test_most_clouds_are_thin_and_leave_much_of_the_chip(made):
    over = brighter(made).max(axis=-1)
    assert np.median(over.max(axis=(1, 2))) < 70
    assert 0.1 < np.median((over > 3).mean(axis=(1, 2))) < 0.9


def test_some_have_shadows_coloured_edges_and_holes(made):
    black = (made == 0).all(axis=-1)
    shadow = (brighter(made) < -2).all(axis=-1) & ~black
    assert 0.1 < shadow.any(axis=(1, 2)).mean() < 0.4
    assert 0.02 < black.any(axis=(1, 2)).mean() < 0.2
    assert black.mean(axis=(1, 2)).max() < 0.02


def test_a_mask_gives_the_ground_back_in_whole_cells():
    """Where a cloud is cut out in cells of 6 px, the border of what is left runs along them."""
    rng = np.random.default_rng(3)
    cut = 0
    for _ in range(400):
        chip = clouded(FOREST, rng)
        same = (chip == FOREST).all(axis=-1)
        cells = same.reshape(SIDE // 6, 6, SIDE // 6, 6).all(axis=(1, 3))
        inside = cells[1:-1, 1:-1] & ~(cells[:-2, 1:-1] | cells[2:, 1:-1]) & ~(cells[1:-1, :-2] | cells[1:-1, 2:])
        cut += bool(inside.any())
    assert cut > 4


def test_a_mine_is_still_seen_under_them():
    rng = np.random.default_rng(5)
    inside = (MINE != FOREST).any(axis=-1)
    contrast = [one[inside].mean() - one[~inside].mean() for one in (clouded(MINE, rng) for _ in range(200))]
    assert np.mean(np.array(contrast) > 30) > 0.9


def test_chips_of_any_shape():
    for shape in ((5, 9, 3), (256, 256, 3)):
        assert clouded(np.zeros(shape, np.uint8), np.random.default_rng(0)).shape == shape


def test_the_same_draws_make_the_same_clouds():
    one, other = (clouded(MINE, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("share", "least", "most"), [(0.0, 0, 0), (0.4, 60, 100), (1.0, 185, 200)])
def test_a_share_of_the_chips_is_clouded(share, least, most):
    rng, how = np.random.default_rng(3), replace(NONE, clouded=share)
    assert least <= sum((how.degrade(MINE, rng) != MINE).any() for _ in range(200)) <= most
    np.testing.assert_array_equal(how(MINE, rng), MINE)


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_is_a_share(share):
    with pytest.raises(InputError, match=r"clouded .* does not fit; give 0\.\.1"):
        Augmentation(clouded=share)
