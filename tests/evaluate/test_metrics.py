import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoscan.evaluate.metrics import (
    ap_difference,
    auc,
    average_precision,
    f2_difference,
    f2_interval,
    f2_samples,
    label_figures,
    mine_figures,
    threshold_at_specificity,
)


@st.composite
def tables(draw, columns=4):
    n = draw(st.integers(1, 30))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    targets = (rng.random((n, columns)) < 0.4).astype(float)
    targets[rng.random((n, columns)) < draw(st.sampled_from([0, 0.3]))] = np.nan
    return targets, rng.integers(0, draw(st.integers(2, 100)), (n, columns)) / 100


def slow_f2(targets, predicted):
    each = []
    for truth, guess in zip(targets, predicted, strict=True):
        known = [i for i, t in enumerate(truth) if not np.isnan(t)]
        hits = sum(truth[i] == 1 and guess[i] for i in known)
        if not known:
            continue
        if not hits:
            each.append(0.0)
            continue
        precision, recall = hits / sum(guess[i] for i in known), hits / sum(truth[i] == 1 for i in known)
        each.append(5 * precision * recall / (4 * precision + recall))
    return np.mean(each) if each else np.nan


def slow_curve(targets, scores):
    """Recall, precision and specificity at every threshold, from the highest down."""
    true = targets == 1
    points = []
    for threshold in sorted(set(scores), reverse=True):
        predicted = scores >= threshold
        hits, false = (true & predicted).sum(), (~true & predicted).sum()
        points.append((hits / true.sum(), hits / (hits + false), 1 - false / max((~true).sum(), 1)))
    return points


@given(tables())
def test_f2_equals_a_slow_reference(table):
    targets, scores = table
    assert f2_samples(targets, scores > 0.3) == pytest.approx(slow_f2(targets, scores > 0.3), nan_ok=True)


def test_f2_of_perfect_zero_and_empty():
    targets = np.array([[1, 0, 1], [0, 1, 0]], float)
    assert f2_samples(targets, targets == 1) == 1
    assert f2_samples(targets, targets == 0) == 0
    assert f2_samples(targets, np.zeros((2, 3), bool)) == 0
    assert f2_samples(np.zeros((1, 3)), np.zeros((1, 3), bool)) == 0
    assert np.isnan(f2_samples(np.full((2, 3), np.nan), np.ones((2, 3), bool)))
    assert f2_samples(np.array([[1, np.nan]]), np.array([[True, True]])) == 1


@given(tables(1))
def test_ranking_figures_equal_slow_references(table):
    targets, scores = table[0][:, 0], table[1][:, 0]
    known = ~np.isnan(targets)
    true, ranked = targets[known], scores[known]
    positives, negatives = ranked[true == 1], ranked[true == 0]
    if not len(positives):
        assert np.isnan(average_precision(targets, scores))
        assert np.isnan(auc(targets, scores))
        return
    points = slow_curve(true, ranked)
    recalls = [0, *(recall for recall, _, _ in points)]
    steps = zip(np.diff(recalls), points, strict=True)
    assert average_precision(targets, scores) == pytest.approx(sum(step * p for step, (_, p, _) in steps))
    if len(negatives):
        wins = (positives[:, None] > negatives).mean() + (positives[:, None] == negatives).mean() / 2
        assert auc(targets, scores) == pytest.approx(wins)
        specificities = (0.5, 0.9, 0.994)
        found = mine_figures(targets, scores, specificities, resamples=1).operating_points
        for specificity, point in zip(specificities, found, strict=True):
            reached = max([0, *(recall for recall, _, s in points if s >= specificity - 1e-9)])
            assert (point.specificity, point.sensitivity) == (specificity, pytest.approx(reached))
            assert point.sensitivity == (positives >= point.threshold).mean(), "by its own threshold"


@given(tables(), st.integers(0, 9))
def test_intervals_contain_the_estimates(table, seed):
    targets, scores = table
    labels = ("a", "b", "c", "d")
    for one in label_figures(targets, scores, dict.fromkeys(labels, 0.3), labels, 70, seed).values():
        assert one.n <= one.n_known
        for value, interval in ((one.f2, one.f2_interval), (one.ap, one.ap_interval)):
            assert value is None or interval[0] <= value <= interval[1]
    value, interval = f2_samples(targets, scores > 0.3), f2_interval(targets, scores > 0.3, 70, seed)
    assert np.isnan(value) or interval[0] - 1e-12 <= value <= interval[1] + 1e-12


def test_label_figures_by_hand():
    targets = np.array([1, 1, 1, 0, 0, np.nan])[:, None]
    scores = np.array([0.9, 0.8, 0.1, 0.7, 0.2, 0.9])[:, None]
    found = label_figures(targets, scores, {"water": 0.5}, ("water",))["water"]
    assert (found.n, found.n_known, found.threshold) == (3, 5, 0.5)
    assert found.precision == pytest.approx(2 / 3)
    assert found.recall == pytest.approx(2 / 3)
    assert found.f2 == pytest.approx(2 / 3)
    assert found.ap == pytest.approx((1 + 1 + 3 / 5) / 3)


def test_mine_figures_separate_and_repeat():
    rng = np.random.default_rng(0)
    targets = np.repeat([1.0, 0.0, np.nan], [100, 900, 5])
    scores = targets.copy()
    scores[np.isnan(targets)] = 0.5
    perfect = mine_figures(targets, scores, resamples=100)
    assert (perfect.n, perfect.n_other, perfect.auc, perfect.ap) == (100, 900, 1, 1)
    assert [(point.specificity, point.sensitivity) for point in perfect.operating_points] == [(0.99, 1), (0.994, 1)]
    noisy = np.where(targets == 1, 1, 0) + rng.normal(size=len(targets))
    some = mine_figures(targets, noisy, resamples=200)
    assert some == mine_figures(targets, noisy, resamples=200)
    low, high = some.auc_interval
    assert 0.03 < high - low < 0.12
    assert low < 0.76 < high  # two normals one deviation apart
    lax, strict = some.operating_points
    assert strict.sensitivity <= lax.sensitivity
    assert strict.threshold >= lax.threshold


def test_intervals_over_campaigns_know_that_chips_of_one_are_alike():
    """Every chip of a campaign is right, or every one is wrong: 20 campaigns tell as much as 20 chips, not as 1000."""
    campaigns = np.repeat([f"place {i}" for i in range(20)], 50)
    targets = (np.arange(20) % 2).repeat(50).astype(float)
    scores = np.where(np.isin(np.arange(20), (1, 3, 5)).repeat(50), -1.0, targets)
    over_chips = mine_figures(targets, scores, resamples=300)
    over_campaigns = mine_figures(targets, scores, campaigns=campaigns.tolist(), resamples=300)
    assert (over_chips.resampled, over_campaigns.resampled) == ("chips", "campaigns")
    widths = [np.diff(one.operating_points[0].interval)[0] for one in (over_chips, over_campaigns)]
    assert widths[0] < 0.15 < 0.4 < widths[1]
    assert over_campaigns.operating_points[0].sensitivity == pytest.approx(0.7)
    few = mine_figures(targets[:200], scores[:200], campaigns=campaigns[:200].tolist(), resamples=10)
    assert few.resampled == "chips"


def test_a_difference_over_campaigns_is_paired():
    rng = np.random.default_rng(0)
    campaigns = np.repeat([str(i) for i in range(20)], 30).tolist()
    targets = (np.arange(20) % 2).repeat(30).astype(float)
    scores = targets + rng.normal(size=600)
    assert ap_difference(targets, scores, scores, campaigns) == (0.0, (0.0, 0.0))
    gain, (low, high) = ap_difference(targets, targets + scores, scores, campaigns)
    assert low <= gain <= high
    assert ap_difference(targets, targets + scores, scores)[1] != (low, high)


def test_figures_that_do_not_exist_are_none():
    only = mine_figures(np.zeros(4), np.linspace(0, 1, 4), resamples=10)
    assert only.auc is only.ap_interval is None
    assert only.operating_points[0].sensitivity is None
    assert only.operating_points[0].threshold == pytest.approx(1)
    none = mine_figures(np.array([]), np.array([]), resamples=10)
    assert none.ap is none.operating_points[0].threshold is None
    assert ap_difference(np.zeros(4), np.zeros(4), np.ones(4), resamples=10) == (None, None)
    assert f2_difference(np.zeros((0, 2)), np.zeros((0, 2), bool), np.zeros((0, 2), bool)) == (None, None)
    assert f2_interval(np.full((3, 2), np.nan), np.zeros((3, 2), bool)) is None
    label = label_figures(np.zeros((4, 1)), np.zeros((4, 1)), {"water": 0.5}, ("water",), resamples=10)["water"]
    assert label.recall is label.precision is label.ap is label.ap_interval is None


@pytest.mark.parametrize("specificity", [0.5, 0.9, 0.99, 1.0])
def test_the_threshold_reaches_the_specificity_and_no_lower_score_does(specificity):
    rng = np.random.default_rng(0)
    targets = (rng.random(300) < 0.3).astype(float)
    scores = np.round(rng.random(300) + 0.3 * targets, 2).astype(np.float32)  # rounded: ties

    def reached(threshold):
        return (scores[targets == 0] < threshold).mean() >= specificity - 1e-9

    threshold = threshold_at_specificity(targets, scores, specificity)
    assert reached(threshold)
    assert not any(reached(score) for score in scores[scores < threshold])


def test_the_threshold_when_the_highest_score_is_no_mine():
    targets, scores = np.array([1.0, 0.0]), np.array([0.2, 1.0], np.float32)
    assert threshold_at_specificity(targets, scores, 0.99) > 1
    assert threshold_at_specificity(targets, scores, 0) == pytest.approx(0.2)
    assert math.isnan(threshold_at_specificity(targets[:1], scores[:1], 0.99))
