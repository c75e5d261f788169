import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoscan.data.deal import renumber, stratified_group_split
from geoscan.errors import DatasetError


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
