import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit, softmax

from geoscan.evaluate.calibration import (
    calibrated_apart,
    calibration_figures,
    expected_calibration_error,
    fit_calibration,
    reliability,
)
from geoscan.evaluate.lookalikes import share_interval
from geoscan.labels import LABELS, MINE
from geoscan.model.calibration import GROUND_PRIOR, Calibration, Curve
from geoscan.model.figures import CalibrationFigures
from geoscan.model.spec import MINE_HEADS, DenseNetSpec

SPEC = DenseNetSpec(blocks=(1, 1), growth=4, stem=4, chip=16)
MINES = DenseNetSpec(blocks=(1, 1), growth=4, stem=4, chip=16, heads=MINE_HEADS)
COLUMN = LABELS.index(MINE)


def drawn(n, seed=0):
    """Targets (n, 17) and the logits by whose probabilities they were drawn."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (n, 17))
    targets = (rng.uniform(size=(n, 17)) < expit(logits)).astype(np.float32)
    chosen = (logits[:, :4] + rng.gumbel(size=(n, 4))).argmax(axis=1)
    targets[:, :4] = np.eye(4)[chosen]
    return targets, logits


def scored(logits):
    return np.concatenate([softmax(logits[:, :4], axis=1), expit(logits[:, 4:])], axis=1).astype(np.float32)


def nll(targets, scores):
    """Of the land labels, as the loss of training counts it."""
    known = ~np.isnan(targets)
    chance = np.clip(scores.astype(float), 1e-7, 1 - 1e-7)
    return -np.where(targets == 1, np.log(chance), np.log(1 - chance))[known].mean()


def applied(calibration, scores):
    """Calibrated scores of all 17 labels, which are those of the spec in another order."""
    columns = [LABELS.index(label) for label in SPEC.labels]
    found = np.empty_like(scores)
    found[:, columns] = calibration.apply(scores[:, columns], SPEC)
    return found


@settings(max_examples=10)
@given(st.floats(0.4, 4))
def test_finds_a_temperature_that_is_known(weather):
    targets, logits = drawn(3000)
    logits[:, :4] *= weather
    found = fit_calibration(targets, scored(logits), SPEC).temperatures
    assert list(found) == ["weather"]
    assert found["weather"] == pytest.approx(weather, rel=0.1)


@settings(max_examples=10)
@given(st.floats(0.5, 2), st.floats(0.5, 2), st.floats(-2, 2))
@pytest.mark.large
def test_finds_a_curve_that_is_known(a, b, c):
    rng = np.random.default_rng(0)
    score = rng.beta(0.4, 0.8, 200_000).astype(np.float32)
    scores, targets = np.zeros((2, len(score), 17), np.float32)
    scores[:, COLUMN], targets[:, COLUMN] = score, rng.random(len(score)) < Curve(a, b, c)(score)
    found = fit_calibration(targets, scores, MINES).curves
    assert list(found) == [MINE]
    assert (found[MINE].a, found[MINE].b, found[MINE].c) == pytest.approx((a, b, c), abs=0.25)


def test_scores_that_are_too_high_throughout_are_brought_down():
    """What no temperature can do: it leaves 0.5 where it is."""
    targets, logits = drawn(20_000)
    scores = scored(logits + 1.5)
    curve = fit_calibration(targets, scores, SPEC).curves[MINE]
    assert (curve.a, curve.b) == pytest.approx((1, 1), abs=0.15)
    assert curve(np.array([0.5]))[0] == pytest.approx(expit(-1.5), abs=0.02)


def test_a_curve_of_few_positives_stays_near_the_scores():
    """Told apart without a mistake: what is most likely alone would be certain of every chip."""
    targets, scores = np.zeros((2, 200, 17), np.float32)
    targets[:5, COLUMN], scores[:, COLUMN] = 1, 0.2
    scores[:5, COLUMN] = 0.8
    few = fit_calibration(targets, scores, MINES).curves[MINE]
    many = fit_calibration(np.tile(targets, (40, 1)), np.tile(scores, (40, 1)), MINES).curves[MINE]
    assert 0.8 < few(np.array([0.8]))[0] < 0.97
    assert many(np.array([0.8]))[0] > 0.98


def test_scores_that_a_curve_does_not_move_are_no_evidence_for_one():
    """All positives are at 1, where they stay."""
    targets, scores = np.zeros((2, 200, 17), np.float32)
    targets[:50, COLUMN], scores[:, COLUMN] = 1, np.linspace(0.05, 0.95, 200)
    scores[:50, COLUMN] = 1
    assert fit_calibration(targets, scores, MINES).curves == {}


def test_scores_next_to_nothing_are_fitted_as_they_are_read():
    """1 % of the chips that score 1e-12 are mines; others score what they should."""
    rng = np.random.default_rng(0)
    score = np.concatenate([np.full(20_000, 1e-12), rng.uniform(0.2, 0.8, 20_000)]).astype(np.float32)
    targets, scores = np.zeros((2, len(score), 17), np.float32)
    scores[:, COLUMN] = score
    targets[:, COLUMN] = rng.random(len(score)) < np.where(score < 0.1, 0.01, score)
    curve = fit_calibration(targets, scores, MINES).curves[MINE]
    assert curve(score[:1])[0] == pytest.approx(0.01, abs=0.003)


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.integers(1, 60), st.floats(0, 1), st.floats(0.05, 30))
@example(464, 1, 0.0, 10.0)  # a score of 1 is wrong, and no calibration makes it less sure
def test_is_never_less_likely_than_no_calibration(seed, n, unknown, distortion):
    rng = np.random.default_rng(seed)
    targets, logits = drawn(n, seed)
    targets[rng.uniform(size=targets.shape) < unknown] = np.nan
    scores = scored(logits * distortion)
    calibration = fit_calibration(targets, scores, SPEC)
    assert all(0.1 <= t <= 10 for t in calibration.temperatures.values())
    assert all(0.1 <= slope <= 10 for curve in calibration.curves.values() for slope in (curve.a, curve.b))
    scaled = applied(calibration, scores)
    for column in range(4, 17):
        if not np.isnan(targets[:, column]).all():
            assert nll(targets[:, column], scaled[:, column]) <= nll(targets[:, column], scores[:, column]) + 1e-6
    for figures in calibration_figures(targets, scores, scaled, SPEC).values():
        assert figures.nll is None or figures.nll <= figures.nll_before + 1e-6


def test_each_part_is_calibrated_by_the_others():
    targets, logits = drawn(900)
    scores, parts = scored(2 * logits), np.arange(900) % 3 + 5
    found = list(calibrated_apart(targets, scores, SPEC, parts))
    assert [inside.tolist() for inside, _ in found] == [(parts == part).tolist() for part in (5, 6, 7)]
    for inside, calibration in found:
        assert calibration == fit_calibration(targets[~inside], scores[~inside], SPEC)


def test_makes_scores_that_were_too_sure_better_calibrated():
    targets, logits = drawn(2000)
    scores = scored(3 * logits)
    figures = calibration_figures(targets, scores, applied(fit_calibration(targets, scores, SPEC), scores), SPEC)
    for head, n in (("weather", 2000), ("land", 2000 * 13)):
        assert figures[head].n_known == n
        assert figures[head].nll < figures[head].nll_before
        assert figures[head].ece < figures[head].ece_before / 3


@pytest.mark.parametrize("positives", [0, 4])
def test_too_few_positives_leave_the_scores(positives):
    targets = np.full((200, 17), np.nan, np.float32)
    targets[:, COLUMN] = np.arange(200) < positives
    scores = np.random.default_rng(0).uniform(0, 1, (200, 17)).astype(np.float32)
    for known in (targets, 1 - targets):
        found = fit_calibration(known, scores, MINES)
        assert (found.temperatures, found.curves) == ({}, {})


def test_nothing_known_fits_nothing():
    targets = np.full((50, 17), np.nan, np.float32)
    scores = scored(drawn(50)[1])
    calibration = fit_calibration(targets, scores, SPEC)
    assert calibration == Calibration({"weather": 1.0})
    figures = calibration_figures(targets, scores, scores, SPEC)
    assert figures["land"] == CalibrationFigures(0, None, None, None, None)


def test_columns_that_the_model_lacks_are_not_looked_at():
    targets, logits = drawn(1000)
    logits *= 2
    scores = scored(logits)
    alone = np.zeros_like(scores)
    alone[:, COLUMN] = scores[:, COLUMN]
    only = np.full_like(targets, np.nan)
    only[:, COLUMN] = targets[:, COLUMN]
    found = fit_calibration(targets, alone, MINES)
    assert found == fit_calibration(only, scores, MINES)
    assert (found.curves[MINE].a, found.curves[MINE].b) == pytest.approx((0.5, 0.5), abs=0.1)


def test_chips_without_one_weather_do_not_count_for_it():
    targets, logits = drawn(600)
    scores = scored(3 * logits)
    odd = targets.copy()
    odd[:100, :4], odd[100:150, 0], odd[150:200, :4] = 1, np.nan, 0
    here = fit_calibration(odd, scores, SPEC).temperatures
    there = fit_calibration(targets[200:], scores[200:], SPEC).temperatures
    assert here["weather"] == there["weather"]


def test_counts_the_share_of_mines_and_assumes_that_of_the_ground():
    targets, logits = drawn(200)
    targets[:, COLUMN] = np.arange(200) < 30
    targets[100:, COLUMN] = np.nan
    calibration = fit_calibration(targets, scored(logits), SPEC)
    assert calibration.seen_prior == pytest.approx(0.3)
    assert calibration.ground_prior == GROUND_PRIOR


@pytest.mark.parametrize("value", [0, 1, np.nan])
def test_mines_alone_and_no_mine_give_no_share(value):
    targets, logits = drawn(30)
    targets[:, COLUMN] = value
    calibration = fit_calibration(targets, scored(logits), SPEC)
    assert calibration.seen_prior is None
    score = np.array([0.25])
    assert calibration.mine_probability(score) == score


@given(st.integers(1, 300), st.integers(0, 100), st.integers(1, 40))
def test_calibration_error_is_a_share_and_knows_no_order(n, seed, bins):
    rng = np.random.default_rng(seed)
    scores, targets = np.round(rng.uniform(0, 1, n), 1), (rng.uniform(size=n) < 0.3).astype(float)
    error = expected_calibration_error(targets, scores, bins)
    assert 0 <= error <= 1
    order = rng.permutation(n)
    assert expected_calibration_error(targets[order], scores[order], bins) == pytest.approx(error)
    assert abs(scores.mean() - targets.mean()) <= error + 1e-9, "one bin is the least that can be seen"
    more = np.append(targets, np.nan), np.append(scores, 0.5)
    assert expected_calibration_error(*more, bins) == pytest.approx(error)


def test_calibration_error_by_hand():
    targets, scores = np.array([0, 0, 1, 1.0]), np.array([0.1, 0.3, 0.6, 0.8])
    assert expected_calibration_error(targets, scores, bins=2) == pytest.approx((0.2 + 0.3) / 2)
    assert expected_calibration_error(targets, scores, bins=1) == pytest.approx(0.05)
    assert expected_calibration_error(targets, targets) == 0
    assert math.isnan(expected_calibration_error(np.array([np.nan]), np.array([0.5])))


def test_well_calibrated_scores_have_little_error():
    targets, logits = drawn(4000)
    assert expected_calibration_error(targets[:, 4:], expit(logits[:, 4:])) < 0.01
    assert expected_calibration_error(targets[:, 4:], expit(logits[:, 4:] + logit(0.9))) > 0.2


def test_reliability_counts_mines_among_chips_of_about_one_probability():
    chance = np.array([0, 0.005, 0.01, 0.5, 0.55, 0.599, 1, 1, 0.3])
    mines = np.array([0, 0, 1, 1, 0, 1, 1, 1, np.nan])
    found = reliability(mines, chance)
    assert [(one.low, one.high, one.n) for one in found] == [(0, 0.01, 2), (0.01, 0.03, 1), (0.4, 0.6, 3), (0.8, 1, 2)]
    assert [one.share for one in found] == pytest.approx([0, 1, 2 / 3, 1])
    assert [one.predicted for one in found] == pytest.approx([0.0025, 0.01, 1.649 / 3, 1])
    assert [one.interval for one in found] == [share_interval(k, n) for k, n in ((0, 2), (1, 1), (2, 3), (2, 2))]
    assert reliability(mines[:0], chance[:0]) == ()


def test_of_what_is_calibrated_the_share_lies_in_the_interval():
    rng = np.random.default_rng(0)
    chance = rng.beta(0.3, 2, 20_000)
    found = reliability((rng.random(20_000) < chance).astype(float), chance)
    assert len(found) == 8
    inside = [one.interval[0] <= one.predicted <= one.interval[1] for one in found]
    assert sum(inside) >= 7
