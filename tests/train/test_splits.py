import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from geoscan.errors import DatasetError
from geoscan.train.splits import join, neighbour_groups, renumber, stratified_group_split

SIDE = 64


def landscape(seed, rows, cols, rough=1.5):
    noise = np.random.default_rng(seed).normal(size=(3, rows * SIDE, cols * SIDE))
    smooth = gaussian_filter(noise, (0, rough, rough)) * 40 + gaussian_filter(noise, (0, 20, 20)) * 400
    return np.clip(110 + smooth, 0, 255).astype(np.uint8)


def cut(image):
    _, rows, cols = image.shape
    return [image[:, y : y + SIDE, x : x + SIDE] for y in range(0, rows, SIDE) for x in range(0, cols, SIDE)]


def test_adjoining_chips_are_found_and_others_are_not():
    chips = [*cut(landscape(1, 3, 4)), *cut(landscape(2, 1, 2)), *(landscape(s, 1, 1) for s in range(10, 60))]
    truth = renumber([0] * 12 + [1] * 2 + list(range(2, 52)))
    order = np.random.default_rng(0).permutation(len(chips))
    groups = neighbour_groups(chips[i] for i in order)
    assert (groups == renumber(truth[order])).all()


def test_featureless_and_mirrored_borders_do_not_match():
    cloud = [np.full((3, SIDE, SIDE), 250 + i % 5, np.uint8) for i in range(20)]
    chip = landscape(5, 1, 1)
    noisy = [c + np.random.default_rng(i).integers(0, 2, c.shape, dtype=np.uint8) for i, c in enumerate(cloud)]
    chips = [*noisy, chip, chip[:, ::-1], chip[:, :, ::-1]]
    groups = neighbour_groups(chips)
    assert len(set(groups[:20])) == 20
    assert not set(groups[:20]) & set(groups[20:])


def test_a_brighter_neighbour_is_no_neighbour():
    left, right = cut(landscape(3, 1, 2))
    assert len(set(neighbour_groups([left, right]))) == 1
    assert len(set(neighbour_groups([left, np.clip(right.astype(int) + 12, 0, 255).astype(np.uint8)]))) == 2


def test_identical_chips_are_one_group_and_unreadable_ones_stand_alone():
    chip = landscape(4, 1, 1)
    groups = neighbour_groups([None, chip, landscape(6, 1, 1), None, chip.copy()])
    assert groups.tolist() == [0, 1, 2, 3, 1]
    assert neighbour_groups([]).shape == (0,)
    assert neighbour_groups([None]).tolist() == [0]


def test_join_is_transitive():
    assert join(6, [(0, 1), (4, 1), (3, 5)]).tolist() == [0, 0, 1, 2, 0, 2]
    assert join(3, []).tolist() == [0, 1, 2]


def test_renumber_counts_from_first_appearance():
    assert renumber(["b", "a", "b", "c"]).tolist() == [0, 1, 0, 2]


@st.composite
def problems(draw):
    n = draw(st.integers(5, 80))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    targets = (rng.random((n, 5)) < [0.6, 0.3, 0.1, 0.05, 0.5]).astype(np.float32)
    targets[rng.random((n, 5)) < draw(st.sampled_from([0, 0.3]))] = np.nan
    return targets, rng.integers(0, draw(st.integers(5, n)), n), draw(st.integers(0, 99))


@given(problems(), st.integers(1, 4))
def test_groups_are_never_cut_and_every_chip_has_one_fold(problem, k):
    targets, groups, seed = problem
    if len(set(groups)) < k:
        return
    folds = stratified_group_split(targets, groups, k, seed)
    assert folds.shape == groups.shape
    assert set(folds) == set(range(k))
    for group in set(groups):
        assert len(set(folds[groups == group])) == 1
    assert (folds == stratified_group_split(targets, groups, k, seed)).all()


@given(st.integers(0, 999), st.integers(2, 5))
def test_labels_are_balanced_and_rare_ones_reach_every_fold(seed, k):
    rng = np.random.default_rng(seed)
    targets = (rng.random((300, 4)) < [0.7, 0.3, 0.1, 0]).astype(float)
    targets[rng.choice(300, k, replace=False), 3] = 1
    folds = stratified_group_split(targets, np.arange(300) // 2, k, seed)
    counts = np.array([[targets[folds == f, label].sum() for f in range(k)] for label in range(4)])
    assert (counts[0] >= 0.85 * counts[0].sum() / k).all()
    assert (counts[1:3].max(1) - counts[1:3].min(1) <= 6).all()
    carriers = len(set((targets[:, 3] == 1).nonzero()[0] // 2))
    assert (counts[3] > 0).sum() == min(carriers, k)


def test_shares_and_a_label_of_two_groups():
    targets = np.zeros((100, 2))
    targets[:, 0] = 1
    targets[:2, 1] = 1
    folds = stratified_group_split(targets, np.arange(100), (0.8, 0.2), seed=0)
    assert np.bincount(folds).tolist() == [80, 20]
    assert sorted(folds[:2]) == [0, 1]


def test_unknown_targets_are_not_counted():
    targets = np.full((40, 2), np.nan)
    targets[:8, 0] = 1
    folds = stratified_group_split(targets, np.arange(40), 4, seed=3)
    assert np.bincount(folds).tolist() == [10] * 4
    assert np.bincount(folds[:8]).tolist() == [2] * 4


def test_too_few_groups_and_bad_shares():
    with pytest.raises(DatasetError, match="2 groups"):
        stratified_group_split(np.ones((4, 1)), np.array([0, 0, 1, 1]), 3, seed=0)
    with pytest.raises(ValueError, match="folds"):
        stratified_group_split(np.ones((4, 1)), np.arange(4), (1.0, -0.5), seed=0)
