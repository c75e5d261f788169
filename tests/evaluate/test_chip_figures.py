"""The one function that makes figures, for training and for evaluation."""

import json
from dataclasses import replace

import numpy as np
import pytest
from pydantic import TypeAdapter
from tiny_model import card

from geoscan.data.chips import only_cloudy
from geoscan.evaluate.calibration import calibrated_apart, calibration_figures, fit_calibration, reliability
from geoscan.evaluate.figures import Answers, figures
from geoscan.evaluate.metrics import f2_samples, mine_figures
from geoscan.evaluate.thresholds import cross_tuned_f2, predict
from geoscan.labels import LABELS, MINE
from geoscan.model.calibration import Calibration
from geoscan.model.figures import Figures
from geoscan.model.spec import MINE_HEADS, DenseNetSpec
from geoscan.polygons import Hysteresis

PLANET = card(calibration=Calibration({"land": 2.0}))
MINES = card(DenseNetSpec(blocks=(1,), growth=1, stem=1, chip=48, heads=MINE_HEADS))
COLUMN = LABELS.index(MINE)
N = 60


def answers(**facts):
    """Chips of which every fourth is tagged only cloudy, and scores that are mostly right."""
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 2, (N, len(LABELS))).astype(np.float32)
    targets[:, :4] = np.eye(4)[np.arange(N) % 3]
    targets[::4], targets[::4, LABELS.index("cloudy")] = 0, 1
    scores = 0.6 * targets + 0.4 * rng.random(targets.shape)
    return Answers(targets, scores.astype(np.float32), **facts)


def layout(figures):
    """Keys of JSON at every depth, and which values are not there."""

    def keys(value):
        return {key: keys(one) for key, one in value.items()} if isinstance(value, dict) else type(value)

    return keys(json.loads(TypeAdapter(Figures).dump_json(figures)))


def test_training_and_evaluation_give_one_layout():
    places, campaigns = np.arange(N) // 2, tuple(f"place_{i // 5}" for i in range(N))
    trained, evaluated = layout(figures(PLANET, answers(places=places))), layout(figures(PLANET, answers()))
    assert trained["f2"].pop("tuned_common") is float, "there is no tuning without places"
    assert evaluated["f2"].pop("tuned_common") is type(None)
    assert trained["f2_all"].pop("tuned_common") != evaluated["f2_all"].pop("tuned_common")
    assert trained == evaluated
    known = answers(campaigns=campaigns)
    assert layout(figures(MINES, known)) == layout(figures(MINES, answers(campaigns=campaigns, places=places)))


def test_f2_is_of_the_cards_thresholds_where_they_were_tuned_elsewhere():
    chips = answers()
    kept = ~only_cloudy(chips.targets)
    found = figures(PLANET, chips)
    predicted = predict(chips.scores, dict(PLANET.thresholds))
    assert (found.f2.n, found.f2_all.n) == (kept.sum(), N) == (45, 60)
    assert found.f2_all.tuned == f2_samples(chips.targets, predicted)
    assert found.f2.tuned == f2_samples(chips.targets[kept], predicted[kept])
    for one in (found.f2, found.f2_all):
        assert one.tuned_interval[0] <= one.tuned <= one.tuned_interval[1]
        assert one.fixed_interval[0] <= one.fixed <= one.fixed_interval[1]


def test_f2_is_of_thresholds_tuned_on_other_places_where_the_cards_were_tuned_here():
    places = np.arange(N) // (N // 2)
    chips = answers(places=places)
    found = figures(PLANET, chips).f2_all
    crossed = cross_tuned_f2(chips.targets, chips.scores, places)
    assert (found.tuned, found.tuned_common) == (crossed.f2, crossed.f2_common)
    assert found.tuned_interval == crossed.f2_interval


@pytest.mark.parametrize("places", [[0, 1], [3, 3]])
def test_the_fewest_chips(places):
    """Of one place, too."""
    targets = np.zeros((2, 17), np.float32)
    targets[:, [0, 4]] = 1
    found = figures(PLANET, Answers(targets, np.full((2, 17), 0.1, np.float32), places=np.array(places)))
    assert found.f2_all.n == 2
    assert found.f2_all.constant == 1


def test_chips_that_are_only_cloudy_are_left_out_where_it_is_said():
    chips, places = answers(), np.arange(N) // 2
    kept = ~only_cloudy(chips.targets)
    found = figures(PLANET, answers(places=places))
    alone = figures(PLANET, Answers(chips.targets[kept], chips.scores[kept], places=places[kept]))
    assert found.f2 == alone.f2 == alone.f2_all != found.f2_all
    assert found.labels == alone.labels
    assert {one.n_known for one in found.labels.values()} == {kept.sum()}
    assert found.mine.n + found.mine.n_other == N, "clouds that are called mines count"


def test_a_model_of_mines_has_no_f2_and_one_label():
    found = figures(MINES, answers())
    assert found.f2 is found.f2_all is None
    assert list(found.labels) == [MINE]
    assert found.labels[MINE].threshold == MINES.thresholds[MINE]
    assert found.campaigns == found.lookalikes == found.mine_folds == {}


def test_campaigns_and_look_alikes_at_the_cards_threshold_and_at_a_strict_one():
    chips = answers(campaigns=tuple("sandbar" if i < 30 else "hills" for i in range(N)))
    found = figures(PLANET, chips)
    assert found.f2 is None, "such chips are known as mine or other, and nothing else"
    scores, other = chips.scores[:30, COLUMN], chips.targets[:30, COLUMN] == 0
    sandbar = found.campaigns["sandbar"]
    assert (sandbar.n, sandbar.mine, sandbar.other) == (30, (~other).sum(), other.sum())
    assert sandbar.called_mine == (scores >= PLANET.thresholds[MINE]).mean()
    lookalike, strict = found.lookalikes["riverbank"], found.mine.operating_points[-1]
    assert lookalike.n == other.sum()
    assert lookalike.called_mine == (scores[other] >= PLANET.thresholds[MINE]).mean()
    assert strict.specificity == 0.994
    assert lookalike.called_mine_strict == (scores[other] >= strict.threshold).mean()


def test_each_fold_is_measured_by_itself():
    folds = np.arange(N) % 3
    chips = answers(folds=folds)
    found = figures(MINES, chips)
    assert list(found.mine_folds) == ["fold 1", "fold 2", "fold 3"]
    rows = folds == 1
    assert found.mine_folds["fold 2"] == mine_figures(chips.targets[rows, COLUMN], chips.scores[rows, COLUMN])


def test_the_calibration_is_the_cards():
    found = figures(PLANET, answers()).calibration
    assert found["weather"].nll == found["weather"].nll_before, "that of this head has no temperature"
    assert found["land"].nll != found["land"].nll_before


def test_what_was_fitted_to_these_chips_is_judged_on_other_places():
    """Scores of the second place are too high, which only a calibration that has seen it could know."""
    places = np.arange(N) // (N // 2)
    chips = answers(places=places)
    chips.scores[places == 1] = chips.scores[places == 1] ** 0.2
    fitted = card(calibration=fit_calibration(chips.targets, chips.scores, PLANET.spec))
    apart, seen = (figures(fitted, replace(chips, places=known)) for known in (places, None))
    assert apart.calibration["land"].nll_before == seen.calibration["land"].nll_before
    crossed = chips.scores.astype(np.float64)
    for rows, one in calibrated_apart(chips.targets, chips.scores, PLANET.spec, places):
        crossed[rows] = one.apply(chips.scores[rows], PLANET.spec)
    assert apart.calibration == calibration_figures(chips.targets, chips.scores, crossed, PLANET.spec)
    assert apart.calibration["land"].nll > seen.calibration["land"].nll
    assert sum(one.n for one in apart.reliability) == N
    assert apart.reliability != seen.reliability


def test_each_fold_has_the_probability_that_the_other_folds_tell():
    chips = answers(places=np.arange(N), folds=np.arange(N) // 20)
    targets, scores = chips.of_mines()
    chance = np.zeros(N)
    for fold in range(3):
        inside = chips.folds == fold
        rest = fit_calibration(chips.targets[~inside], chips.scores[~inside], MINES.spec)
        calibrated = rest.curves[MINE](scores[inside])
        chance[inside] = rest.mine_probability(calibrated, float((targets == 1).mean()))
    whole = replace(MINES, calibration=fit_calibration(chips.targets, chips.scores, MINES.spec))
    assert figures(whole, chips).reliability == reliability(targets, chance)


def test_operating_points_are_those_of_the_card_on_the_ground_of_the_chips():
    chips = answers()
    points = {"sensitive": Hysteresis(0.3, 0.1, 0.3), "strict": Hysteresis(0.7, 0.35, 0.7)}
    found = figures(card(**points), chips).detection
    assert list(found) == ["sensitive", "balanced", "strict"]
    targets, scores = chips.of_mines()
    assert found["strict"].alone.found == (scores[targets == 1] >= 0.7).mean()
    assert found["balanced"].beside.false_alarms.flagged == (scores[targets == 0] >= 0.5).sum()
    others = (targets == 0).sum()
    assert found["strict"].alone.false_alarms.km2 == pytest.approx(others * (32 * 3.7 / 1000) ** 2)
    wider = figures(card(), answers(km2=np.full(N, 2.0))).detection
    assert list(wider) == ["balanced"], "what an old card does not hold is not made up"
    assert wider["balanced"].alone.false_alarms.km2 == 2 * others


def test_reliability_is_of_probabilities_where_mines_are_as_many_as_among_the_chips():
    chips = answers()
    targets, _ = chips.of_mines()
    assert figures(PLANET, chips).reliability == (), "this card gives no probability"
    made = card(calibration=Calibration({"land": 2.0}, seen_prior=0.01))
    found = figures(made, chips).reliability
    share = float((targets == 1).mean())
    assert found == reliability(targets, made.mine_probability(chips.scores, share))
    assert sum(one.n for one in found) == N
    alike = Answers(np.zeros_like(chips.targets), chips.scores)
    assert figures(made, alike).reliability == ()


def test_campaigns_of_one_chip_are_not_listed():
    """As where an index names none: their number would make a card that cannot be opened, of shares of 0 and 1."""
    names = tuple("hills" if i < 2 else f"chip_{i}.png" for i in range(N))
    found = figures(PLANET, answers(campaigns=names))
    assert list(found.campaigns) == ["hills"]
    assert found.mine.resampled == "campaigns"
    assert sum(one.n for one in found.lookalikes.values()) == (answers().targets[:, COLUMN] == 0).sum()
    alone = figures(PLANET, answers(campaigns=tuple(f"chip_{i}.png" for i in range(N))))
    assert (alone.campaigns, alone.mine.resampled) == ({}, "chips")
