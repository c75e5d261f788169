import json
from dataclasses import replace

import numpy as np
import pytest

from geoscan.data.material import Material
from geoscan.evaluate.calibration import fit_calibration
from geoscan.evaluate.metrics import average_precision, f2_samples
from geoscan.evaluate.thresholds import tune_label
from geoscan.labels import LABELS, MINE
from geoscan.model.markdown import card_markdown
from geoscan.model.package import Card
from geoscan.model.preprocess import Preprocess
from geoscan.model.spec import MINE_HEADS, DenseNetSpec
from geoscan.model.split import Split
from geoscan.train.card import Judged, detection_thresholds, figure, figures, make_card

PLANET = DenseNetSpec(blocks=(1,), growth=1, stem=1, chip=8, stem_stride=1)
ALONE = replace(PLANET, heads=MINE_HEADS)
COLUMN = LABELS.index(MINE)
N = 40


def material(alone=False, **options):
    """Give 40 chips without pixels, four a place: of half of them the fold is 1, and one cannot be read."""
    rng = np.random.default_rng(0)
    targets = np.full((N, len(LABELS)), np.nan, np.float32)
    if not alone:
        targets[:] = rng.integers(0, 2, targets.shape)
        targets[:, :4] = np.eye(4)[np.arange(N) % 4]
        targets[1:4], targets[1:4, LABELS.index("cloudy")] = 0, 1
    targets[:, COLUMN] = np.arange(N) % 2
    groups = np.arange(N) // 4
    fold = groups % 2
    fold[7] = -1
    campaigns = tuple(f"{'riverbank' if g < 5 else 'place'}_{g}" for g in groups)
    options = {"split": Split(held_out=0.5).of("kaggle", "abc"), "facts": {"source": "here"}} | options
    names = tuple(map(str, range(N)))
    return Material(names, None, targets, fold, groups, campaigns=campaigns if alone else (), **options)


def judged(made, rows, *, tta=False):
    """Scores that are mostly right."""
    known = np.nan_to_num(made.targets[rows])
    scores = 0.6 * known + 0.4 * np.random.default_rng(1).random(known.shape)
    return Judged(rows, scores.astype(np.float32), tta)


def card(made, answer, spec, **extra):
    preprocess = Preprocess(8, 3.4, "visual", None)
    made = make_card("name", spec, preprocess, made, answer, {"seconds": 1.5, "history": []}, extra)
    again = Card.from_json(made.to_json())
    assert again.to_json() == made.to_json()
    assert "## Figures" in card_markdown(again)
    return made


def test_a_planet_card_says_all_that_was_measured():
    made = material()
    _, rows = made.sides()
    answer = judged(made, rows)
    found = card(made, answer, PLANET, mosaics={"auc": 0.5})
    assert set(found.metrics) == {"notes", "not_only_cloudy", "all", "labels", "mosaics", "calibration"}
    assert "which epoch was kept was decided on them" in found.metrics["notes"]
    assert found.metrics["all"]["n"] == len(rows) == 19
    assert found.metrics["mosaics"] == {"auc": 0.5}
    assert not found.tta
    averaged = card(made, judged(made, rows, tta=True), PLANET)
    assert averaged.tta
    assert "means over symmetries" in card_markdown(averaged)
    assert set(found.thresholds) == set(LABELS)
    others = answer.scores[made.targets[rows, COLUMN] == 0, COLUMN]
    assert found.detection == detection_thresholds(others, found.thresholds[MINE])
    assert found.calibration == fit_calibration(made.targets[rows], answer.scores, PLANET)
    assert set(found.metrics["calibration"]) == {"weather", "land"}
    assert found.training["seconds"] == 1.5
    assert {"geoscan", "keras"} <= set(found.training)


def test_the_card_counts_both_sides_of_the_split():
    made = material()
    training, validation = made.sides()
    found = card(made, judged(made, validation), PLANET)
    data = found.data
    assert data["source"] == "here"
    assert found.split == made.split
    assert (data["training_chips"], data["validation_chips"]) == (20, 19)
    for part, rows in (("training", training), ("validation", validation)):
        counts = data[f"{part}_positives"]
        assert list(counts) == list(LABELS)
        assert counts["primary"] == (made.targets[rows, LABELS.index("primary")] == 1).sum()


@pytest.mark.parametrize("alone", [False, True])
def test_with_folds_there_is_no_validation_to_count(alone):
    made = material(alone, split=Split(folds=2).of("kaggle", "abc"))
    answer = judged(made, made.readable)
    answer.scores[np.flatnonzero(made.targets[made.readable, COLUMN] == 1)[0], COLUMN] = 0  # one fold errs
    found = card(made, answer, ALONE if alone else PLANET)
    assert found.data["training_chips"] == 39
    assert not any("validation" in key for key in found.data)
    assert found.data["training_positives"][MINE] == 19
    assert "have not seen the chips they judge" in found.metrics["notes"]
    assert "No epoch was chosen" in found.metrics["notes"]
    assert ("mean_of_folds" in found.metrics) == alone
    if alone:
        first, second, mean = (found.metrics[key] for key in ("fold_1", "fold_2", "mean_of_folds"))
        assert first["ap"] != second["ap"]
        assert mean["ap"] == (first["ap"] + second["ap"]) / 2
        assert mean["auc"] == (first["auc"] + second["auc"]) / 2
        each, other, meant = (one["sensitivity_at_specificity"] for one in (first, second, mean))
        assert meant == {key: (each[key] + other[key]) / 2 for key in each}


def test_a_card_of_mines_alone():
    made = material(alone=True)
    _, rows = made.sides()
    answer = judged(made, rows)
    found = card(made, answer, ALONE)
    assert set(found.metrics) == {"notes", "mine", "lookalikes", "calibration"}
    targets, scores = made.targets[rows, COLUMN], answer.scores[:, COLUMN]
    assert found.metrics["mine"]["ap"] == average_precision(targets, scores)
    assert (found.metrics["mine"]["n"], found.metrics["mine"]["n_other"]) == (9, 10)
    assert found.thresholds == {MINE: tune_label(targets, scores)}
    assert set(found.metrics["lookalikes"]) == {"riverbank", "other_negatives"}
    assert sum(kind["n"] for kind in found.metrics["lookalikes"].values()) == 10
    assert found.data["validation_positives"] == {MINE: 9}
    json.dumps(found.metrics)


def test_without_mines_a_card_of_mines_alone_has_no_figures_but_is_a_card():
    made = material(alone=True)
    _, rows = made.sides()
    made.targets[rows, COLUMN] = 0
    found = card(made, judged(made, rows), ALONE)
    assert np.isnan(found.metrics["mine"]["ap"])
    assert found.thresholds == {MINE: 0.2}


def test_the_first_figure_of_an_epoch_is_the_one_that_decides():
    made = material()
    scores = judged(made, np.arange(N)).scores
    planet = figure(made.targets, scores, LABELS)
    assert list(planet) == ["f2", "threshold"]
    assert planet["f2"] == f2_samples(made.targets, scores >= planet["threshold"])
    assert planet["f2"] >= f2_samples(made.targets, scores >= 0.2)
    mine = figure(made.targets, scores, (MINE,))
    assert list(mine) == ["ap", "auc"]
    assert mine["ap"] == average_precision(made.targets[:, COLUMN], scores[:, COLUMN])


def test_detection_thresholds_follow_false_positives_and_the_labels_own():
    """A chip alone needs what 99 % of the chips without a mine do not reach, and never less than the label."""
    low = detection_thresholds(np.zeros(500), 0.3)
    assert (low.high, low.low, low.isolated) == (0.3, 0.15, 0.3)
    assert detection_thresholds(np.empty(0), 0.3) == low
    spread = detection_thresholds(np.linspace(0, 0.5, 100_001), 0.3)
    assert (spread.low, spread.high, spread.isolated) == (0.197, 0.393, 0.495)


@pytest.mark.parametrize("groups", [[0, 1], [3, 3]])
def test_figures_of_the_fewest_chips(groups):
    """Of one place, too."""
    targets = np.zeros((2, 17), np.float32)
    targets[:, [0, 4]] = 1
    made = figures(targets, np.full((2, 17), 0.1, np.float32), np.ones(2, bool), np.array(groups), 0)
    assert made["all"]["n"] == 2


def test_figures_leave_out_chips_that_are_only_cloudy_where_they_say_so():
    made = material()
    scores = judged(made, np.arange(N)).scores
    kept = ~made.tagged_only_cloudy
    found = figures(made.targets, scores, kept, made.groups, 0)
    assert (found["all"]["n"], found["not_only_cloudy"]["n"]) == (N, kept.sum())
    alone = figures(made.targets[kept], scores[kept], np.ones(kept.sum(), bool), made.groups[kept], 0)
    assert found["not_only_cloudy"] == alone["all"]
    low, high = found["all"]["f2_at_0.2_interval"]
    assert low <= found["all"]["f2_at_0.2"] <= high
