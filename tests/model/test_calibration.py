import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydantic import TypeAdapter

from geoscan.errors import PackageError
from geoscan.labels import MINE
from geoscan.model.calibration import GROUND_PRIOR, Calibration, Curve
from geoscan.model.spec import MINE_HEADS, DenseNetSpec

SPEC = DenseNetSpec(blocks=(1, 1), growth=4, stem=4, chip=16)
MINES = DenseNetSpec(blocks=(1, 1), growth=4, stem=4, chip=16, heads=MINE_HEADS)
LAND = slice(4, None)

chances = st.floats(0, 1, width=32)
inner = st.floats(0.001, 0.999)
temperatures = st.floats(0.1, 10)
curves = st.builds(Curve, temperatures, temperatures, st.floats(-20, 20))


def scores_of(raw):
    """Scores as a network gives them: the first four columns sum to 1."""
    raw = raw.astype(np.float32)
    raw[:, :4] = np.exp(raw[:, :4]) / np.exp(raw[:, :4]).sum(axis=1, keepdims=True)
    return raw


tables = arrays(np.float32, (6, 17), elements=chances).map(scores_of)


@given(tables)
def test_one_that_was_never_fitted_changes_nothing(scores):
    np.testing.assert_array_equal(Calibration().apply(scores, SPEC), scores)
    np.testing.assert_array_equal(Calibration().mine_probability(scores[:, 12]), scores[:, 12])
    np.testing.assert_array_equal(Calibration().mine_probability(scores[:, 12], prior=0.5), scores[:, 12])


@given(tables, temperatures, temperatures)
def test_temperatures_keep_the_order_and_the_sum(scores, weather, land):
    before = scores.copy()
    scaled = Calibration({"weather": weather, "land": land}).apply(scores, SPEC)
    np.testing.assert_array_equal(scores, before)
    assert scaled.dtype == np.float64
    assert scaled.shape == scores.shape
    assert (scaled >= 0).all()
    assert (scaled <= 1).all()
    np.testing.assert_allclose(scaled[:, :4].sum(axis=1), 1, rtol=1e-5)
    for column in range(4, 17):
        assert (np.diff(scaled[np.argsort(scores[:, column]), column]) >= 0).all()
    chosen = np.take_along_axis(scaled, scores[:, :4].argmax(axis=1)[:, None], axis=1)[:, 0]
    np.testing.assert_array_equal(chosen, scaled[:, :4].max(axis=1))


@given(tables, st.floats(0.3, 3))
def test_a_temperature_and_its_inverse_undo_each_other(scores, temperature):
    scores = np.clip(scores, 0.01, 0.99)
    scores[:, :4] /= scores[:, :4].sum(axis=1, keepdims=True)
    there = Calibration({"weather": temperature, "land": temperature}).apply(scores, SPEC)
    back = Calibration({"weather": 1 / temperature, "land": 1 / temperature}).apply(there, SPEC)
    np.testing.assert_allclose(back, scores, atol=1e-3)


def test_scores_agree_with_the_formulas():
    logits = np.array([[2.0, -1.0, 0.0, 0.5]])
    weather = np.exp(logits) / np.exp(logits).sum()
    cooler = np.exp(logits / 2) / np.exp(logits / 2).sum()
    scores = np.concatenate([weather, np.full((1, 13), 1 / (1 + np.exp(-3.0)))], axis=1).astype(np.float32)
    scaled = Calibration({"weather": 2.0, "land": 1.5}).apply(scores, SPEC)
    np.testing.assert_allclose(scaled[:, :4], cooler, rtol=1e-5)
    np.testing.assert_allclose(scaled[:, LAND], 1 / (1 + np.exp(-2.0)), rtol=1e-5)


@pytest.mark.parametrize("temperature", [0.1, 10.0])
def test_certain_scores_stay_certain(temperature):
    scores = np.array([[1, 0, 0, 0, 0, 1] + [0] * 11, [0] * 17], np.float32)
    np.testing.assert_array_equal(
        Calibration({"weather": temperature, "land": temperature}).apply(scores, SPEC), scores
    )


def test_a_curve_by_hand():
    """logit(0.2) = -1.386: 2 ln(0.2) - 0.5 ln(0.8) + 1 = -2.107, of which the probability is 0.108."""
    found = Curve(2, 0.5, 1)(np.array([[0.2, 0.5], [0.9, 0.99]]))
    odds = [[-2.1073, -0.0397], [1.9406, 3.2825]]
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-np.array(odds))), atol=1e-5)
    assert found[0, 0] == pytest.approx(0.10838, abs=1e-5)


@given(arrays(np.float32, 9, elements=chances), curves)
def test_a_curve_keeps_the_order_and_what_is_certain(scores, curve):
    found = curve(np.array([0, *scores, 1], np.float32))
    assert (found[0], found[-1]) == (0, 1)
    assert (np.diff(curve(np.sort(scores))) >= 0).all()


@given(arrays(np.float32, 9, elements=chances), temperatures)
def test_a_curve_of_equal_slopes_is_a_temperature(scores, temperature):
    by_curve = Curve(1 / temperature, 1 / temperature)(scores)
    by_head = Calibration({"land": temperature}).apply(scores[:, None], MINES)[:, 0]
    np.testing.assert_allclose(by_curve, by_head, atol=1e-6)


def test_what_is_nearly_certain_does_not_become_so():
    """In single precision it does: it is 1, which no share of mines moves."""
    scores = np.array([[np.float32(1 - 3e-7)]])
    found = Calibration(seen_prior=0.2, curves={MINE: Curve(0.6, 1.4, -2.1)})
    sure = found.apply(scores, MINES)
    assert 1 - 1e-7 < sure[0, 0] < 1
    assert found.mine_probability(sure[:, 0], 1e-8)[0] < 0.99


def test_what_was_not_scored_stays_unknown():
    found = Curve(0.5, 2, -1)(np.array([np.nan, 0.5]))
    assert np.isnan(found).tolist() == [True, False]


def test_a_label_with_a_curve_is_left_alone_by_the_temperature():
    scores = scores_of(np.random.default_rng(0).uniform(0, 1, (5, 17)))
    column, curve = SPEC.labels.index(MINE), Curve(0.6, 1.5, -2)
    found = Calibration({"weather": 2.0, "land": 3.0}, curves={MINE: curve}).apply(scores, SPEC)
    wanted = Calibration({"weather": 2.0, "land": 3.0}).apply(scores, SPEC)
    wanted[:, column] = curve(scores[:, column])
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(
    ("curve", "match"),
    [({"a": 0}, "a 0"), ({"b": -1}, "b -1"), ({"a": float("nan")}, "a nan"), ({"c": float("inf")}, "c inf")],
)
def test_refuses_an_impossible_curve(curve, match):
    with pytest.raises(PackageError, match=match):
        Curve(**curve)


def test_a_head_that_was_not_fitted_keeps_its_scores():
    scores = scores_of(np.random.default_rng(0).uniform(0, 1, (5, 17)))
    scaled = Calibration({"land": 3.0}).apply(scores, SPEC)
    np.testing.assert_array_equal(scaled[:, :4], scores[:, :4])
    assert (scaled[:, LAND] != scores[:, LAND]).all()


@pytest.mark.parametrize("shape", [(3, 17), (1,), (2, 3, 1)])
def test_columns_must_be_the_labels(shape):
    assert MINES.labels == (MINE,)
    with pytest.raises(PackageError, match=r"give \(n, 1\)"):
        Calibration().apply(np.zeros(shape, np.float32), MINES)


@given(arrays(np.float64, 5, elements=st.floats(0.0, 1.0)), inner, inner)
def test_prevalence_is_the_rule_of_bayes(score, seen, ground):
    probability = Calibration(seen_prior=seen).mine_probability(score, ground)
    mine, other = score * ground / seen, (1 - score) * (1 - ground) / (1 - seen)
    np.testing.assert_allclose(probability, mine / (mine + other), rtol=1e-6, atol=1e-12)


@given(inner, inner)
def test_what_says_nothing_leaves_the_prior(seen, ground):
    """A score equal to the share of mines is one that tells nothing: then the chance is that of the ground."""
    probability = Calibration(seen_prior=seen, ground_prior=ground).mine_probability(np.array([seen]))
    assert probability[0] == pytest.approx(ground)


@given(arrays(np.float64, 5, elements=st.floats(0.0, 1.0)), inner)
def test_equal_shares_change_nothing(score, share):
    probability = Calibration(seen_prior=share, ground_prior=share).mine_probability(score)
    np.testing.assert_allclose(probability, score, rtol=1e-6, atol=1e-12)


def test_mines_are_taken_to_be_as_rare_as_in_kaggles_set():
    assert Calibration().ground_prior == GROUND_PRIOR == 0.008
    assert Calibration(seen_prior=0.18).mine_probability(np.array([0.5]))[0] == pytest.approx(0.0354, abs=1e-4)


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
def test_refuses_an_impossible_temperature(value):
    with pytest.raises(PackageError, match="of land"):
        Calibration({"land": value})


@pytest.mark.parametrize("value", [0, 1, -0.1, float("nan")])
def test_refuses_an_impossible_share(value):
    with pytest.raises(PackageError, match="seen_prior"):
        Calibration(seen_prior=value)
    with pytest.raises(PackageError, match="ground_prior"):
        Calibration(ground_prior=value)
    with pytest.raises(PackageError, match="prior"):
        Calibration(seen_prior=0.5).mine_probability(np.array([0.5]), value)


@given(temperatures, inner, inner, curves)
def test_round_trips_through_json(temperature, seen, ground, curve):
    adapter = TypeAdapter(Calibration)
    for whole in (Calibration(), Calibration({"land": temperature}, seen, ground, {MINE: curve})):
        assert adapter.validate_json(adapter.dump_json(whole)) == whole
