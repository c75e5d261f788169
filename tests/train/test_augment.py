from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoscan.errors import InputError
from geoscan.symmetry import symmetry
from geoscan.train.augment import Augmentation

CHIP = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)
NONE = Augmentation(symmetries=False, zoom=1, gain=1, haze=0)


def test_the_eight_symmetries_differ():
    assert len({symmetry(CHIP, which).tobytes() for which in range(8)}) == 8


def test_each_symmetry_moves_pixels_and_has_an_inverse():
    """A turn is undone by the turn that makes it whole; a mirror image undoes itself."""
    for which in range(8):
        moved = symmetry(CHIP, which)
        assert moved.flags.c_contiguous
        np.testing.assert_array_equal(np.sort(moved.reshape(-1, 3), axis=0), np.sort(CHIP.reshape(-1, 3), axis=0))
        back = [other for other in range(8) if (symmetry(moved, other) == CHIP).all()]
        assert back == [which if which >= 4 else -which % 4]


def test_all_symmetries_are_drawn():
    only = Augmentation(zoom=1, gain=1, haze=0)
    rng = np.random.default_rng(0)
    drawn = [only(CHIP, rng).tobytes() for _ in range(200)]
    wanted = {symmetry(CHIP, which).tobytes() for which in range(8)}
    assert set(drawn) == wanted
    assert min(drawn.count(one) for one in wanted) > 10


def test_nothing_asked_nothing_done():
    np.testing.assert_array_equal(NONE(CHIP, np.random.default_rng(0)), CHIP)


@given(seed=st.integers(0, 10_000), side=st.sampled_from([16, 31, 64]))
def test_keeps_shape_and_type_and_is_the_same_for_the_same_seed(seed, side):
    chip = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    before = chip.copy()
    one, other = (Augmentation()(chip, np.random.default_rng(seed)) for _ in range(2))
    assert (one.shape, one.dtype) == (chip.shape, np.uint8)
    np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(chip, before, "the chip itself may lie in a cache")


def test_draws_differ():
    rng = np.random.default_rng(0)
    assert len({Augmentation()(CHIP, rng).tobytes() for _ in range(50)}) == 50


def test_zoom_keeps_a_plain_chip_plain():
    plain = np.full((32, 32, 3), (40, 90, 45), np.uint8)
    zoomed = Augmentation(symmetries=False, zoom=1.5, gain=1, haze=0)
    rng = np.random.default_rng(0)
    for _ in range(20):
        np.testing.assert_array_equal(zoomed(plain, rng), plain)


def test_zoom_changes_the_size_of_things_within_its_factor():
    disc = (np.hypot(*np.mgrid[-64:64, -64:64]) < 30).astype(np.uint8)[:, :, None].repeat(3, axis=2) * 255
    zoomed = Augmentation(symmetries=False, zoom=1.25, gain=1, haze=0)
    rng = np.random.default_rng(0)
    areas = np.array([(zoomed(disc, rng) > 127).mean() for _ in range(60)]) / (disc > 127).mean()
    assert areas.min() > 0.95 / 1.25**2
    assert areas.max() < 1.05 * 1.25**2
    assert areas.min() < 0.75
    assert areas.max() > 1.3


def test_gain_scales_brightness_within_its_factor():
    plain = np.full((4, 4, 3), 100, np.uint8)
    lit = Augmentation(symmetries=False, zoom=1, gain=1.3, haze=0)
    rng = np.random.default_rng(0)
    means = np.array([lit(plain, rng).reshape(-1, 3)[0] for _ in range(300)]) / 100
    assert means.min() >= 1.3 ** (-4 / 3) - 0.01
    assert means.max() <= 1.3 ** (4 / 3) + 0.01
    assert means.min() < 0.8
    assert means.max() > 1.25


def test_haze_brightens_the_dark_and_flattens_contrast():
    ramp = np.linspace(0, 160, 32).astype(np.uint8)[None, :, None].repeat(32, axis=0).repeat(3, axis=2)
    hazy = Augmentation(symmetries=False, zoom=1, gain=1, haze=0.5)
    rng = np.random.default_rng(0)
    spans, darkest = [], []
    for _ in range(200):
        chip = hazy(ramp, rng).astype(int)
        spans.append(chip.max() - chip.min())
        darkest.append(chip.min())
    unchanged = np.mean(np.array(darkest) == 0)
    assert unchanged == pytest.approx(0.5, abs=0.15)
    assert max(spans) <= 160
    assert min(spans) < 110
    assert max(darkest) > 60


@pytest.mark.parametrize(
    "values", [{"zoom": 0.5}, {"gain": 0.9}, {"haze": 1.1}, {"haze": -0.1}, {"clear": 2}, {"clear": float("nan")}]
)
def test_amounts_out_of_range_are_one_line(values):
    with pytest.raises(InputError, match="does not fit") as caught:
        Augmentation(**values)
    assert "\n" not in str(caught.value)


CLEARED = Augmentation(symmetries=False, zoom=1, gain=1, haze=0, clear=1)
PATH, THROUGH = np.array([22, 38, 62]), np.array([0.95, 0.92, 0.88])


def seen_from_above(ground, share):
    """The scattering model forwards, with a share of the atmosphere: what the satellite sees of the ground."""
    return ground * (1 - (1 - THROUGH) * share) + share * PATH


def test_clearing_undoes_a_share_of_the_atmosphere():
    ground = np.array([40, 55, 30])
    chip = np.full((4, 4, 3), np.rint(seen_from_above(ground, 1)), np.uint8)
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(200):
        pixel = CLEARED(chip, rng)[0, 0].astype(float)
        # Each band alone tells what share it lost; all must tell the same, up to the rounding of a level.
        share = (chip[0, 0] - pixel) / (PATH - (1 - THROUGH) * pixel)
        assert np.ptp(share) < 0.06
        shares.append(share.mean())
    assert -0.03 < min(shares) < 0.05
    assert 1.05 < max(shares) < 1.13
    assert any(np.abs(CLEARED(chip, rng)[0, 0] - ground).max() < 3 for _ in range(200))


def test_clearing_never_passes_black_and_hardly_dims_the_bright():
    rng = np.random.default_rng(0)
    dark, bright = (np.full((2, 2, 3), level, np.uint8) for level in (0, 255))
    assert all((CLEARED(dark, rng) == 0).all() for _ in range(20))
    assert all(CLEARED(bright, rng).min() >= 215 for _ in range(20))


def test_clearing_is_drawn_with_its_probability():
    half = Augmentation(symmetries=False, zoom=1, gain=1, haze=0, clear=0.25)
    rng = np.random.default_rng(0)
    changed = np.mean([(half(CHIP, rng) != CHIP).any() for _ in range(400)])
    assert changed == pytest.approx(0.25, abs=0.06)


def ground(side=48):
    """Smooth ground with edges, as chips have: files spoil it less than noise."""
    rows, cols = np.mgrid[:side, :side] / side
    pixels = np.stack([90 + 80 * rows, 60 + 90 * cols, 40 + 60 * rows * cols], axis=-1)
    pixels[side // 3 : side // 2, side // 4 : side // 2] = (220, 190, 140)
    return np.rint(pixels).astype(np.uint8)


def spoilt(how, n=200):
    chip, rng = ground(), np.random.default_rng(3)
    return chip, [how.degrade(chip, rng) for _ in range(n)]


@pytest.mark.parametrize(("share", "least", "most"), [(0.0, 0, 0), (0.4, 60, 100), (1.0, 195, 200)])
def test_a_share_of_the_chips_is_degraded(share, least, most):
    chip, made = spoilt(replace(NONE, degraded=share))
    assert least <= sum((one != chip).any() for one in made) <= most
    assert {(one.shape, one.dtype.name) for one in made} == {((48, 48, 3), "uint8")}


def test_a_degraded_chip_shows_the_same_in_the_same_colours():
    chip, made = spoilt(replace(NONE, degraded=1.0))
    for one in made:
        apart = one.astype(float) - chip
        np.testing.assert_allclose(apart.mean(axis=(0, 1)), 0, atol=3)
        assert np.abs(apart).mean() < 12


def test_degraded_by_files_and_by_resampling():
    """A file leaves the blocks' own edges where they are; resampling draws the edge of the bright field out."""
    chip, made = spoilt(replace(NONE, degraded=1.0))
    edge = np.abs(np.diff(chip.astype(float), axis=0)).max()
    soft = [np.abs(np.diff(one.astype(float), axis=0)).max() < 0.75 * edge for one in made]
    assert 0.25 < np.mean(soft) < 0.75


def test_the_same_draws_degrade_alike():
    for _ in range(3):
        one, other = (replace(NONE, degraded=1.0).degrade(CHIP, np.random.default_rng(5)) for _ in range(2))
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_is_a_share(share):
    with pytest.raises(InputError, match=r"degraded .* does not fit"):
        Augmentation(degraded=share)
