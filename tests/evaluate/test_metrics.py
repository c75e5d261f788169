import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoscan.evaluate.metrics import (
    ap_difference,
    auc,
    average_precision,
    f2_interval,
    f2_samples,
    label_metrics,
    mine_metrics,
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
        found = mine_metrics(targets, scores, specificities, resamples=1).sensitivity_at_specificity
        for specificity in specificities:
            reached = max([0, *(recall for recall, _, s in points if s >= specificity - 1e-9)])
            assert found[f"{specificity:g}"] == pytest.approx(reached)


@given(tables(), st.integers(0, 9))
def test_intervals_contain_the_estimates(table, seed):
    targets, scores = table
    labels = ("a", "b", "c", "d")
    for metrics in label_metrics(targets, scores, dict.fromkeys(labels, 0.3), labels, 70, seed).values():
        assert metrics.n <= metrics.n_known
        for value, (low, high) in ((metrics.f2, metrics.f2_interval), (metrics.ap, metrics.ap_interval)):
            assert np.isnan(value) or low <= value <= high
    value, (low, high) = f2_samples(targets, scores > 0.3), f2_interval(targets, scores > 0.3, 70, seed)
    assert np.isnan(value) or low - 1e-12 <= value <= high + 1e-12


def test_label_metrics_by_hand():
    targets = np.array([1, 1, 1, 0, 0, np.nan])[:, None]
    scores = np.array([0.9, 0.8, 0.1, 0.7, 0.2, 0.9])[:, None]
    found = label_metrics(targets, scores, {"water": 0.5}, ("water",))["water"]
    assert (found.n, found.n_known, found.threshold) == (3, 5, 0.5)
    assert found.precision == pytest.approx(2 / 3)
    assert found.recall == pytest.approx(2 / 3)
    assert found.f2 == pytest.approx(2 / 3)
    assert found.ap == pytest.approx((1 + 1 + 3 / 5) / 3)


def test_mine_metrics_separate_and_repeat():
    rng = np.random.default_rng(0)
    targets = np.repeat([1.0, 0.0, np.nan], [100, 900, 5])
    scores = targets.copy()
    scores[np.isnan(targets)] = 0.5
    perfect = mine_metrics(targets, scores, resamples=100)
    assert (perfect.n, perfect.n_other, perfect.auc, perfect.ap) == (100, 900, 1, 1)
    assert perfect.sensitivity_at_specificity == {"0.99": 1, "0.994": 1}
    noisy = np.where(targets == 1, 1, 0) + rng.normal(size=len(targets))
    some = mine_metrics(targets, noisy, resamples=200)
    assert some == mine_metrics(targets, noisy, resamples=200)
    low, high = some.auc_interval
    assert 0.03 < high - low < 0.12
    assert low < 0.76 < high  # two normals one deviation apart
    assert some.sensitivity_at_specificity["0.994"] <= some.sensitivity_at_specificity["0.99"]


def test_intervals_over_campaigns_know_that_chips_of_one_are_alike():
    """Every chip of a campaign is right, or every one is wrong: 20 campaigns tell as much as 20 chips, not as 1000."""
    campaigns = np.repeat([f"place {i}" for i in range(20)], 50)
    targets = (np.arange(20) % 2).repeat(50).astype(float)
    scores = np.where(np.isin(np.arange(20), (1, 3, 5)).repeat(50), -1.0, targets)
    over_chips = mine_metrics(targets, scores, resamples=300)
    over_campaigns = mine_metrics(targets, scores, campaigns=campaigns.tolist(), resamples=300)
    assert (over_chips.resampled, over_campaigns.resampled) == ("chips", "campaigns")
    widths = [np.diff(one.sensitivity_interval["0.99"])[0] for one in (over_chips, over_campaigns)]
    assert widths[0] < 0.15 < 0.4 < widths[1]
    assert over_campaigns.sensitivity_at_specificity["0.99"] == pytest.approx(0.7)
    few = mine_metrics(targets[:200], scores[:200], campaigns=campaigns[:200].tolist(), resamples=10)
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


def test_figures_that_do_not_exist_are_nan():
    only = mine_metrics(np.zeros(4), np.linspace(0, 1, 4), resamples=10)
    assert np.isnan(only.auc)
    assert np.isnan(only.ap_interval[0])
    none = mine_metrics(np.array([]), np.array([]), resamples=10)
    assert np.isnan(none.ap)
