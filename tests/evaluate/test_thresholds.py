import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoscan.evaluate.metrics import f2_samples
from geoscan.evaluate.thresholds import CEILING, FLOOR, START, best_common, cross_tuned_f2, predict, tune_f2, tune_label
from geoscan.labels import LABELS


def table(seed, n, labels=2, unknown=0.0):
    rng = np.random.default_rng(seed)
    targets = (rng.random((n, labels)) < 0.5).astype(float)
    scores = np.clip(0.5 * targets + rng.uniform(0.03, 0.45, (n, labels)), 0, 1)
    targets[rng.random((n, labels)) < unknown] = np.nan
    return targets, scores


def candidates(scores):
    levels = np.unique(scores)
    return [FLOOR, *(level for level in (levels[1:] + levels[:-1]) / 2 if FLOOR <= level <= CEILING), CEILING]


@settings(max_examples=50)
@given(st.integers(0, 9999), st.integers(1, 12), st.sampled_from([0, 0.3]))
def test_no_single_threshold_can_be_bettered(seed, n, unknown):
    targets, scores = table(seed, n, 3, unknown)
    labels = ("a", "b", "c")
    tuned = tune_f2(targets, scores, labels, shrinkage=0)
    if np.isnan(targets).all() or (targets != 1).all(0).any():
        return
    reached = f2_samples(targets, predict(scores, tuned, labels))
    assert reached >= f2_samples(targets, scores >= START) - 1e-12
    for column, label in enumerate(labels):
        for value in candidates(scores[:, column]):
            other = f2_samples(targets, predict(scores, {**tuned, label: value}, labels))
            assert other <= reached + 1e-9


@settings(max_examples=50)
@given(st.integers(0, 9999), st.integers(2, 10))
def test_one_label_beside_a_settled_one_equals_brute_force(seed, n):
    targets, scores = table(seed, n, 2)
    targets[:, 1], scores[:, 1] = 1, 0.95
    targets[0, 0] = 1
    tuned = tune_f2(targets, scores, ("a", "b"), shrinkage=0)
    best = max(f2_samples(targets, scores >= [a, 0.5]) for a in candidates(scores[:, 0]))
    assert f2_samples(targets, predict(scores, tuned, ("a", "b"))) == pytest.approx(best)


def test_rare_labels_are_drawn_to_the_common_threshold():
    rng = np.random.default_rng(0)
    targets = (rng.random((500, 3)) < [0.6, 0.01, 0]).astype(float)
    scores = np.clip(0.4 * targets + rng.uniform(0, 0.4, targets.shape), 0, 1)
    labels = ("often", "rare", "never")
    common = best_common(targets, scores)
    free, drawn = (tune_f2(targets, scores, labels, shrinkage) for shrinkage in (0, 20))
    assert drawn["never"] == pytest.approx(common)
    assert abs(drawn["rare"] - common) < 0.5 * abs(free["rare"] - common)
    assert abs(drawn["often"] - free["often"]) < 0.2 * abs(common - free["often"]) + 1e-9
    assert drawn == tune_f2(targets, scores, labels)


@given(st.integers(0, 99), st.floats(0, 1))
def test_thresholds_stay_in_range_whatever_the_scores(seed, level):
    targets, scores = table(seed, 6)
    for columns in (np.full_like(scores, level), scores.round().clip(0, 1)):
        for value in tune_f2(targets, columns, ("a", "b")).values():
            assert FLOOR - 1e-9 <= value <= CEILING + 1e-9


def test_no_chip_gives_the_start():
    empty = np.zeros((0, 2))
    assert tune_f2(empty, empty, ("a", "b")) == pytest.approx({"a": START, "b": START})


def test_cross_tuning_does_not_see_what_it_judges():
    rng = np.random.default_rng(1)
    shape = (400, len(LABELS))
    targets = (rng.random(shape) < 0.3).astype(float)
    folds = np.arange(400) % 4
    noise = cross_tuned_f2(targets, rng.random(shape), folds)
    flattered = rng.random(shape)
    own = f2_samples(targets, predict(flattered, tune_f2(targets, flattered, shrinkage=0)))
    assert noise.f2 < own + 0.05
    told = np.clip(0.5 + 0.3 * targets + rng.uniform(-0.14, 0.14, shape), 0, 1)
    honest = cross_tuned_f2(targets, told, folds)
    assert honest.f2 == pytest.approx(f2_samples(targets, targets == 1), abs=0.01)
    assert honest.f2_start < 0.7
    # a fold whose scores are shifted cannot have its threshold tuned on itself
    shifted = np.where(folds[:, None] == 0, told - 0.4, told)
    assert cross_tuned_f2(targets, shifted, folds).f2 < honest.f2
    with pytest.raises(ValueError, match="at least two"):
        cross_tuned_f2(targets, told, np.zeros(400, int))


def f2(targets, scores, threshold):
    """F2 of one label over all chips."""
    hits = ((scores >= threshold) & (targets == 1)).sum()
    called = ((scores >= threshold) & ~np.isnan(targets)).sum()
    return 5 * hits / (4 * (targets == 1).sum() + called)


@settings(max_examples=100)
@given(
    st.integers(0, 9999),
    st.integers(1, 40),
    st.sampled_from([1, 2, 6]),
    st.sampled_from([0, 0.3]),
    st.sampled_from([0.05, 1, 4]),
)
def test_no_other_threshold_of_one_label_gives_a_better_f2(seed, n, decimals, unknown, power):
    """With many ties, some, and none; with many scores above the range of thresholds, or below it."""
    targets, scores = (column[:, 0] for column in table(seed, n, 1, unknown))
    scores = (scores**power).round(decimals).astype(np.float32)
    chosen = tune_label(targets, scores)
    if not (targets == 1).any():
        assert chosen == START
        return
    assert FLOOR <= chosen <= CEILING
    for other in [*candidates(scores), *np.clip(scores, FLOOR, CEILING)]:
        assert f2(targets, scores, other) <= f2(targets, scores, chosen) + 1e-9


def test_chips_of_which_a_label_is_unknown_do_not_move_its_threshold():
    targets, scores = (column[:, 0] for column in table(3, 30, 1))
    unknown = np.concatenate([targets, np.full(50, np.nan)])
    assert tune_label(unknown, np.concatenate([scores, np.full(50, 0.99)])) == tune_label(targets, scores)


def test_one_label_without_positives_has_the_start():
    for targets in (np.zeros(5), np.full(5, np.nan), np.empty(0)):
        assert tune_label(targets, np.linspace(0, 1, len(targets))) == START


def test_the_threshold_of_one_label_stays_in_range():
    assert tune_label(np.array([1.0, 1, 0]), np.array([0.99, 0.98, 0.97])) == CEILING
    assert tune_label(np.array([1.0, 1, 0]), np.array([0.001, 0.002, 0.0])) == FLOOR
    assert tune_label(np.array([1.0, 0]), np.array([0.8, 0.4])) == pytest.approx(0.6)
    assert tune_label(np.array([1.0, 0]), np.array([0.5, 0.5])) == 0.5


def test_the_threshold_of_one_label_is_halfway_between_two_scores_whatever_lies_above_the_range():
    """Also where several mines score the same: an unseen one may score a little less."""
    for mines in ([0.99, 0.95], [0.95, 0.93, 0.4], [0.4, 0.4]):
        targets, scores = np.array([1.0] * len(mines) + [0, 0]), np.array([*mines, 0.2, 0.1])
        assert tune_label(targets, scores) == pytest.approx((mines[-1] + 0.2) / 2)
