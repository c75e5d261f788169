"""The pictures of an evaluation: what they show, by what Matplotlib was told to draw."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tiny_model import card

from geoscan.errors import InputError, OutputError
from geoscan.evaluate import figures as room
from geoscan.evaluate import plots
from geoscan.evaluate.mistakes import contact_sheet, worst
from geoscan.evaluate.sample import Sample, Scored
from geoscan.labels import LABELS, MINE
from geoscan.model.calibration import Calibration
from geoscan.model.figures import Figures, LabelFigures
from geoscan.model.package import Package

N = 60


def figures(one):
    return room.figures(one.package.card, one.answers())


def scored(tmp_path, *, mines=8, seed=0, campaigns=None, **facts):
    """Chips whose first `mines` are mines; scores follow the targets, with noise."""
    rng = np.random.default_rng(seed)
    targets = (rng.random((N, len(LABELS))) < np.linspace(0.7, 0.0, len(LABELS))).astype(np.float32)
    targets[:, LABELS.index(MINE)] = np.arange(N) < mines
    scores = np.clip(0.5 * targets + rng.normal(0.25, 0.2, targets.shape), 0, 1).astype(np.float32)
    names = tuple(f"chip_{i}$x$\n{'long' * 20}.png" for i in range(N))
    sample = Sample(names, targets, lambda i: np.full((3, 16, 16), i, np.uint8), None, campaigns)
    return Scored(Package(tmp_path, card(**facts)), sample, targets, scores)


def texts(figure):
    shown = [text.get_text() for axes in figure.axes for text in (axes.title, *axes.texts, *axes.get_yticklabels())]
    legends = [*figure.legends, *(axes.get_legend() for axes in figure.axes if axes.get_legend())]
    return (
        shown + [text.get_text() for text in figure.texts] + [t.get_text() for one in legends for t in one.get_texts()]
    )


def test_bars_are_sorted_by_count_and_say_it(tmp_path):
    one = scored(tmp_path)
    found = figures(one)
    figure = plots.f2_bars([found], ["a"])
    ticks = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    counts = [int(tick.rpartition("(")[2].rstrip(")")) for tick in ticks]
    assert counts == sorted(counts, reverse=True)
    assert "artisanal mine (8)" in ticks
    assert figure.axes[0].patches[0].get_width() == pytest.approx(found.labels["clear"].f2)
    assert any(text == f"a: {found.headline}" for text in texts(figure))
    assert figure.get_supxlabel() == "no chip has: conventional mine, blow down"


def test_two_models_have_bars_beside_each_other(tmp_path):
    both = [figures(scored(tmp_path, seed=seed)) for seed in (0, 0)]
    bars = plots.f2_bars(both, ["with dehazing", "without"]).axes[0].patches
    first, second = bars[: len(bars) // 2], bars[len(bars) // 2 :]
    for one, two in zip(first, second, strict=True):
        assert one.get_width() == two.get_width()
        assert one.get_y() + one.get_height() <= two.get_y()
        assert two.get_y() - one.get_y() < 0.5


def test_curves_are_drawn_where_there_are_enough_positives(tmp_path):
    one = scored(tmp_path, mines=4)
    found = figures(one)
    shown = texts(plots.precision_recall([one], [found], ["a"]))
    enough = [label for label, each in found.labels.items() if each.n >= 5]
    assert f"clear ({found.labels['clear'].n})" in shown
    assert not any("artisanal" in text for text in shown)
    assert sum(text.startswith("AP ") for text in shown) == len(enough)


def test_the_area_under_the_drawn_curve_is_the_average_precision(tmp_path):
    """Chips that are tagged only cloudy, here called clear, count in neither; or the mark could lie above the curve."""
    one = scored(tmp_path)
    cloudy = np.eye(len(LABELS), dtype=np.float32)[[LABELS.index("cloudy")] * 20]
    targets, scores = np.concatenate([one.targets, cloudy]), np.concatenate([one.scores, np.full_like(cloudy, 0.9)])
    one = replace(one, sample=replace(one.sample, targets=targets), targets=targets, scores=scores)
    found = figures(one).labels["clear"]
    axes = plots.precision_recall([one], [figures(one)], ["a"]).axes[0]
    recall, precision = axes.lines[0].get_data()
    area = (np.diff(recall) * precision[1:]).sum()
    assert area == pytest.approx(found.ap)
    mark = axes.lines[1].get_xydata()[0].tolist()
    assert mark == [found.recall, found.precision]
    assert mark[1] <= precision[recall >= mark[0]].max()


def test_no_label_with_enough_positives_is_said(tmp_path):
    one = scored(tmp_path)
    none = Figures(labels={MINE: LabelFigures(0, 9, None, None, None, None, None, None, 0.2)})
    assert texts(plots.precision_recall([one], [none], ["a"])) == ["no label has 5 chips or more"]
    assert texts(plots.f2_bars([none], ["a"])) == ["no chip has any label that the model knows"]


def test_calibrated_scores_are_shown_where_they_differ(tmp_path):
    plain = scored(tmp_path)
    assert texts(plots.reliability([plain], ["a"]))[-1].startswith("a: ECE ")
    hot = scored(tmp_path, calibration=Calibration({"weather": 2.0, "land": 2.0}))
    names = [text.partition(":")[0] for text in texts(plots.reliability([hot], ["a"])) if "ECE" in text]
    assert names == ["a", "a, calibrated"] * 2, "all labels, and mines"


@given(st.lists(st.tuples(st.booleans(), st.sampled_from([0.0, 0.1, 0.3, 0.8, 1.0])), min_size=1, max_size=200))
def test_bins_hold_every_chip_and_keep_ties_together(chips):
    true, scores = (np.array(values) for values in zip(*chips, strict=True))
    groups = plots.bins(true, scores)
    assert groups.n.sum() == len(true)
    assert groups.hits.sum() == true.sum()
    assert (groups.n > 0).all()
    assert (np.diff(groups.score) > 0).all()
    assert len(groups.n) <= min(15, max(1, len(true) // 40))
    assert (groups.score * groups.n).sum() == pytest.approx(scores.sum())


def test_the_worst_mistakes_are_the_most_confident_ones(tmp_path):
    one = scored(tmp_path)
    column = LABELS.index(MINE)
    one.scores[:, column] = np.where(np.arange(N) < 8, 0.9, 0.1)
    one.scores[[20, 30], column] = 0.5, 0.95
    one.scores[[3, 4], column] = 0.1, 0.05
    false, missed = worst(one)
    assert [(each.row, each.label) for each in false] == [(30, MINE), (20, MINE)]
    assert [each.row for each in missed] == [4, 3]


def test_the_sheet_shows_the_chips_and_names_them(tmp_path):
    one = scored(tmp_path, campaigns=("the campaign of " + "the " * 20 + "end",) * N)
    one.scores[:, LABELS.index(MINE)] = np.where(np.arange(N) < 8, 0.9, 0.1)
    one.scores[30, LABELS.index(MINE)] = 0.95
    figure = contact_sheet(one, "model")
    assert len(figure.axes) == 1
    assert (figure.axes[0].images[0].get_array() == 30).all()
    shown = texts(figure)
    assert "false positives, most confident first (1 of 1)" in shown
    assert "no false negatives" in shown
    caption = next(text for text in shown if "0.950" in text).split("\n")
    assert caption[0].startswith("chip_30$x$?")
    assert caption[0].endswith(".png")
    assert max(map(len, caption)) == 31
    assert caption[2].startswith("the campaign of")
    assert caption[3].endswith("end")


def test_without_mines_the_sheet_is_of_all_labels(tmp_path):
    one = scored(tmp_path, mines=0)
    false, missed = worst(one)
    assert len({each.label for each in false}) > 1
    assert len({each.label for each in missed}) > 1
    figure = contact_sheet(one, "model")
    assert len(figure.axes) == 12 + min(12, len(missed))


@pytest.mark.large
def test_the_same_figures_give_the_same_files(tmp_path):
    one = scored(tmp_path, campaigns=("a",) * N)
    found = figures(one)
    for name in ("x", "y"):
        paths = plots.draw(tmp_path / name, [one], [found])
    assert [path.name for path in paths] == ["f2.png", "precision_recall.png", "reliability.png", "mistakes.png"]
    assert sorted((tmp_path / "y").iterdir()) == sorted(paths), "nothing else is left behind"
    for path in paths:
        assert path.read_bytes() == (tmp_path / "x" / path.name).read_bytes()
        Image.open(path).verify()


def test_models_of_one_name_are_told_apart_by_their_digests(tmp_path):
    both = [scored(tmp_path, digest=letter * 64) for letter in "ab"]
    found = [figures(one) for one in both]
    plots.draw(tmp_path / "plots", both, found)
    legend = texts(plots.f2_bars(found, plots._titles(both)))
    assert any(text.startswith("tiny aaaaaaaa") for text in legend)
    assert any(text.startswith("tiny bbbbbbbb") for text in legend)


def test_folders_that_do_not_fit(tmp_path):
    plots.check_folder(tmp_path)
    plots.check_folder(tmp_path / "new")
    assert not (tmp_path / "new").exists()
    (tmp_path / "file").touch()
    (tmp_path / "f2.png").mkdir()
    for folder in (tmp_path / "file", tmp_path, tmp_path / "no" / "new"):
        with pytest.raises(InputError):
            plots.check_folder(folder)


def test_a_folder_that_cannot_be_made_is_one_error(tmp_path):
    one = scored(tmp_path)
    with pytest.raises(OutputError, match="could not be made"):
        plots.draw(tmp_path / "no" / "new", [one], [figures(one)])
