from dataclasses import replace

import numpy as np
import pytest

from geoscan.data.material import Material
from geoscan.evaluate.calibration import fit_calibration
from geoscan.evaluate.metrics import average_precision, f2_samples
from geoscan.evaluate.operating import balanced, sensitive, strict
from geoscan.evaluate.thresholds import tune_label
from geoscan.labels import LABELS, MINE
from geoscan.model.card import Card
from geoscan.model.figures import MineFigures
from geoscan.model.markdown import card_markdown
from geoscan.model.origin import TrainedOn, Training
from geoscan.model.preprocess import Preprocess
from geoscan.model.spec import MINE_HEADS, DenseNetSpec
from geoscan.model.split import Split
from geoscan.train.card import UnseenScores, epoch_figures, make_card

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
    options = {"split": Split(held_out=0.5).of("kaggle", "abc"), "facts": TrainedOn("here")} | options
    names = tuple(map(str, range(N)))
    return Material(names, None, targets, fold, groups, campaigns=campaigns if alone else (), **options)


def judged(made, rows, *, tta=False):
    """Scores that are mostly right."""
    known = np.nan_to_num(made.targets[rows])
    scores = 0.6 * known + 0.4 * np.random.default_rng(1).random(known.shape)
    return UnseenScores(rows, scores.astype(np.float32), tta)


def card(made, answer, spec, mosaics=None):
    preprocess = Preprocess(8, 3.4, "visual", None)
    made = make_card("name", spec, preprocess, made, answer, Training(seconds=1.5), mosaics)
    assert Card.from_json(made.to_json()) == made
    return made


def test_a_planet_card_says_all_that_was_measured():
    made = material()
    _, rows = made.sides()
    answer = judged(made, rows)
    mosaics = MineFigures(3, 4, 0.5, None, 0.5, None, (), "chips")
    found = card(made, answer, PLANET, mosaics)
    first, second, third = found.figures.notes
    assert "Which epoch was kept was decided on these chips" in first
    assert second.startswith("Tuned F2")
    assert "the chips of a place are judged by what was fitted to other places" in third
    assert found.figures.f2_all.n == len(rows) == 19
    assert set(found.figures.labels) == set(LABELS)
    assert found.figures.mosaics == mosaics
    assert not found.tta
    averaged = card(made, judged(made, rows, tta=True), PLANET)
    assert averaged.tta
    assert "means over the 8 symmetries" in card_markdown(averaged)
    assert set(found.thresholds) == set(LABELS)
    mines = made.targets[rows, COLUMN], answer.scores[:, COLUMN]
    assert found.detection == balanced(mines[1][mines[0] == 0], found.thresholds[MINE])
    assert found.sensitive == sensitive(*mines, found.detection)
    assert found.strict == strict(*mines, found.detection)
    assert found.calibration == fit_calibration(made.targets[rows], answer.scores, PLANET)
    assert set(found.figures.calibration) == {"weather", "land"}
    assert found.training.seconds == 1.5


def test_the_card_counts_both_sides_of_the_split():
    made = material()
    training, validation = made.sides()
    found = card(made, judged(made, validation), PLANET)
    data = found.data
    assert data.source == "here"
    assert found.split == made.split
    assert (data.training_chips, data.validation_chips) == (20, 19)
    for counts, rows in ((data.training_positives, training), (data.validation_positives, validation)):
        assert list(counts) == list(LABELS)
        assert counts["primary"] == (made.targets[rows, LABELS.index("primary")] == 1).sum()


@pytest.mark.parametrize("alone", [False, True])
def test_with_folds_there_is_no_validation_to_count(alone):
    made = material(alone, split=Split(folds=2).of("kaggle", "abc"))
    answer = judged(made, made.readable)
    answer.scores[np.flatnonzero(made.targets[made.readable, COLUMN] == 1)[0], COLUMN] = 0  # one fold errs
    found = card(made, answer, ALONE if alone else PLANET)
    assert found.data.training_chips == 39
    assert found.data.validation_chips is None
    assert found.data.validation_positives == {}
    assert found.data.training_positives[MINE] == 19
    figures = found.figures
    assert "have not seen the chips that they judge" in figures.notes[0]
    assert "No epoch was chosen" in figures.notes[0]
    assert "the chips of a fold are judged by what was fitted to other folds" in figures.notes[-1]
    assert list(figures.mine_folds) == ["fold 1", "fold 2"]
    first, second = figures.mine_folds.values()
    assert first.ap != second.ap
    assert figures.mine_mean.ap == (first.ap + second.ap) / 2
    assert ("mean of 2 folds" in figures.headline) == alone


def test_a_card_of_mines_alone():
    made = material(alone=True)
    _, rows = made.sides()
    answer = judged(made, rows)
    found = card(made, answer, ALONE)
    figures = found.figures
    assert figures.f2 is figures.f2_all is None
    targets, scores = made.targets[rows, COLUMN], answer.scores[:, COLUMN]
    assert figures.mine.ap == average_precision(targets, scores)
    assert (figures.mine.n, figures.mine.n_other) == (9, 10)
    assert found.thresholds == {MINE: tune_label(targets, scores)}
    assert set(figures.lookalikes) == {"riverbank", "other_negatives"}
    assert sum(kind.n for kind in figures.lookalikes.values()) == 10
    assert set(figures.campaigns) == {made.campaigns[i] for i in rows}
    assert set(figures.labels) == {MINE}
    assert found.data.validation_positives == {MINE: 9}


def test_operating_points_find_fewer_mines_and_less_else_the_stricter_they_are():
    """Of fold scores that overlap, on chips that show 27.2 m of ground a side."""
    made = material(alone=True, split=Split(folds=2).of("chips", "abc"))
    answer = judged(made, made.readable)
    answer.scores[:, COLUMN] = 0.5 * answer.scores[:, COLUMN] + 0.5 * np.random.default_rng(5).random(len(answer.rows))
    found = card(made, answer, ALONE)
    assert list(found.points) == list(found.figures.detection) == ["sensitive", "balanced", "strict"]
    points = list(found.figures.detection.values())
    shares = [point.alone.found for point in points]
    alarms = [point.alone.false_alarms for point in points]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] >= 0.9 > shares[2] > 0
    flagged = [one.flagged for one in alarms]
    assert flagged == sorted(flagged, reverse=True)
    assert flagged[0] > flagged[2] == 0, "99.4 % of 20 chips are all of them"
    assert alarms[0].km2 == pytest.approx(20 * (8 * 3.4 / 1000) ** 2)
    assert alarms[0].per_1000_km2 == pytest.approx(1000 * flagged[0] / alarms[0].km2)
    assert alarms[2].per_1000_km2 is None
    assert "at most" in card_markdown(found)


def test_without_mines_a_card_of_mines_alone_has_no_figures_but_is_a_card():
    made = material(alone=True)
    _, rows = made.sides()
    made.targets[rows, COLUMN] = 0
    found = card(made, judged(made, rows), ALONE)
    assert found.figures.mine.ap is None
    assert found.figures.headline == "no figures"
    assert found.thresholds == {MINE: 0.2}
    assert list(found.points) == ["sensitive", "balanced", "strict"]
    assert found.figures.detection["sensitive"].alone.found is None
    assert found.figures.reliability == ()


def test_the_first_figure_of_an_epoch_is_the_one_that_decides():
    made = material()
    scores = judged(made, np.arange(N)).scores
    planet = epoch_figures(made.targets, scores, LABELS)
    assert list(planet) == ["f2", "threshold"]
    assert planet["f2"] == f2_samples(made.targets, scores >= planet["threshold"])
    assert planet["f2"] >= f2_samples(made.targets, scores >= 0.2)
    mine = epoch_figures(made.targets, scores, (MINE,))
    assert list(mine) == ["ap", "auc"]
    assert mine["ap"] == average_precision(made.targets[:, COLUMN], scores[:, COLUMN])
