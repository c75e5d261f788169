import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoscan.evaluate.lookalikes import share_interval
from geoscan.evaluate.operating import balanced, detection_figures, sensitive, strict
from geoscan.polygons import Hysteresis, flag

DEFAULT = Hysteresis(high=0.5, low=0.25, isolated=0.7)


def chips(seed=0, n=2000, mines=0.2):
    """Targets, NaN for a tenth, and scores that tell most mines."""
    rng = np.random.default_rng(seed)
    targets = (rng.random(n) < mines).astype(np.float32)
    scores = np.clip(rng.normal(0.2 + 0.4 * targets, 0.2), 0, 1).astype(np.float32)
    targets[rng.random(n) < 0.1] = np.nan
    return targets, scores


def ordered(points):
    return all(
        one.low <= other.low and one.high <= other.high and one.isolated <= other.isolated
        for one, other in itertools.pairwise(points)
    )


def test_balanced_follows_false_positives_and_the_labels_own_threshold():
    """A chip alone needs what 99 % of the chips without a mine do not reach, and never less than the label."""
    low = balanced(np.zeros(500), 0.3)
    assert (low.high, low.low, low.isolated) == (0.3, 0.15, 0.3)
    assert balanced(np.empty(0), 0.3) == low
    spread = balanced(np.linspace(0, 0.5, 100_001), 0.3)
    assert (spread.low, spread.high, spread.isolated) == (0.197, 0.393, 0.495)


def test_sensitive_is_the_highest_score_that_finds_nine_of_ten_mines():
    targets, scores = chips()
    found = sensitive(targets, scores, Hysteresis(1, 1, 1))
    mines = scores[targets == 1]
    assert (mines >= found.high).mean() >= 0.9
    assert (mines >= np.nextafter(np.float32(found.high), np.float32(1))).mean() < 0.9
    assert (found.isolated, found.low) == (found.high, found.high / 2)


def test_strict_is_the_lowest_score_that_turns_down_994_of_1000_others():
    targets, scores = chips()
    found = strict(targets, scores, Hysteresis(0, 0, 0))
    others = scores[targets == 0]
    assert (others < found.high).mean() >= 0.994
    below = scores[scores < found.high].max()
    assert (others < below).mean() < 0.994
    assert (found.isolated, found.low) == (found.high, found.high / 2)


def test_neither_passes_the_default_point():
    """Where the default finds more than nine of ten, or turns down more than 99.4 %, it is as good as they are."""
    targets = np.repeat([1, 0], 50)
    scores = np.where(targets, 0.9, 0.1).astype(np.float32)
    assert sensitive(targets, scores, DEFAULT) == Hysteresis(high=0.5, low=0.25, isolated=0.5)
    assert strict(targets, scores, Hysteresis(0.95, 0.9, 0.97)) == Hysteresis(0.97, 0.9, 0.97)


@pytest.mark.parametrize("value", [1, 0, np.nan])
def test_chips_of_one_kind_give_points_all_the_same(value):
    targets, scores = np.full(9, value), np.linspace(0, 1, 9, dtype=np.float32)
    points = [sensitive(targets, scores, DEFAULT), DEFAULT, strict(targets, scores, DEFAULT)]
    assert ordered(points)


@given(st.integers(0, 9999), st.integers(1, 60), st.sampled_from([0, 1, 2, 6]), st.floats(0.02, 0.9))
def test_the_stricter_the_fewer(seed, n, decimals, tuned):
    """Fewer mines, fewer others, and fewer chips of a scene, whatever the scores; with ties, and scores of 0 and 1."""
    targets, scores = chips(seed, n)
    scores = scores.round(decimals)
    default = balanced(scores[targets == 0], tuned)
    points = {"a": sensitive(targets, scores, default), "b": default, "c": strict(targets, scores, default)}
    assert ordered(points.values())
    found = detection_figures(points, targets, scores, np.ones(n))
    for one in ("alone", "beside"):
        figures = [getattr(point, one) for point in found.values()]
        for lax, hard in itertools.pairwise(figures):
            assert (lax.found or 0) >= (hard.found or 0)
            assert lax.false_alarms.flagged >= hard.false_alarms.flagged
    scene = np.random.default_rng(seed).choice(scores, (9, 9))
    marked = [flag(scene, point) > 0 for point in points.values()]
    assert all((lax | ~hard).all() for lax, hard in itertools.pairwise(marked))


def test_false_alarms_are_told_for_the_ground_that_was_measured():
    """300 chips of 0.25 km2 without a mine, of which 6 are flagged alone and 30 beside neighbours; 40 drawn blindly."""
    targets = np.repeat([1, 0, np.nan], [10, 300, 5])
    scores = np.full(315, 0.1, np.float32)
    scores[:8], scores[10:16], scores[16:40], scores[310:] = 0.9, 0.8, 0.6, 0.9
    campaigns = ["place"] * 8 + ["random_points"] * 10 + ["place"] * 260 + ["random_points"] * 32 + ["place"] * 5
    found = detection_figures({"balanced": DEFAULT}, targets, scores, np.full(315, 0.25), campaigns)["balanced"]
    assert found.n == 10
    assert (found.alone.threshold, found.beside.threshold) == (0.7, 0.5)
    assert (found.alone.found, found.alone.found_interval) == (0.8, share_interval(8, 10))
    alarms = found.alone.false_alarms
    assert (alarms.n, alarms.flagged, alarms.km2) == (300, 6, 75)
    assert alarms.per_1000_km2 == pytest.approx(6 / 300 * 4000)
    assert alarms.interval == pytest.approx([4000 * end for end in share_interval(6, 300)])
    assert found.beside.false_alarms.flagged == 30
    blind = found.alone.false_alarms_blind
    assert (blind.n, blind.flagged, blind.km2) == (40, 6, 10)


def test_where_nothing_was_flagged_the_most_that_it_may_be_is_told_and_no_zero():
    targets, scores = np.repeat([1, 0], [2, 20]), np.repeat([0.9, 0.1], [2, 20]).astype(np.float32)
    found = detection_figures({"balanced": DEFAULT}, targets, scores, np.full(22, 0.2304))["balanced"].alone
    assert found.false_alarms.per_1000_km2 is None
    low, high = found.false_alarms.interval
    assert low == 0
    assert high == pytest.approx(1000 / 0.2304 * share_interval(0, 20)[1])
    assert found.false_alarms_blind is None


def test_without_a_chip_of_a_kind_its_figures_do_not_exist():
    found = detection_figures({"balanced": DEFAULT}, np.array([1.0]), np.ones(1, np.float32), np.ones(1))["balanced"]
    assert found.alone.found == 1
    assert found.alone.false_alarms.per_1000_km2 is found.alone.false_alarms.interval is None
    none = detection_figures({"balanced": DEFAULT}, np.array([0.0]), np.ones(1, np.float32), np.ones(1))["balanced"]
    assert none.alone.found is none.alone.found_interval is None
