"""Evaluation with detectors whose answers are known beforehand."""

import csv
import json

import kaggle_dir
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from tiny_model import card

from geoscan.cli import main
from geoscan.errors import DatasetError
from geoscan.labels import LABELS, MINE
from geoscan.model.package import Package
from geoscan.model.spec import DenseNetSpec
from geoscan.train.evaluate import evaluate_kaggle, evaluate_partial

SPEC = DenseNetSpec(blocks=(1,), growth=1, stem=1)


@pytest.fixture
def package(tmp_path):
    return Package(tmp_path, card(SPEC))


@pytest.fixture
def kaggle(tmp_path):
    return kaggle_dir.make(tmp_path / "kaggle", 20)


class Oracle:
    """Knows each chip's tags by the order that they come in."""

    def __init__(self, views=1, wrong=0.0):
        self.views, self.wrong, self.seen = views, wrong, []

    def __call__(self, chips):
        start = sum(self.seen) // self.views
        self.seen.append(len(chips))
        scores = np.zeros((len(chips), len(LABELS)), np.float32)
        for i in range(len(chips)):
            for tag in kaggle_dir.tags(start + i // self.views).split():
                scores[i, LABELS.index(tag)] = 0.9
        return scores + np.float32(self.wrong)


def test_a_detector_that_knows_the_tags_is_perfect(package, kaggle):
    figures = evaluate_kaggle(package, Oracle(), kaggle)
    assert figures["n"] == 20
    assert figures["f2_samples"] == figures["f2_at_0.2"] == 1
    assert figures["not_only_cloudy"]["n"] == 18
    mine = figures["labels"][MINE]
    assert (mine["n"], mine["precision"], mine["recall"], mine["f2"], mine["ap"]) == (4, 1, 1, 1, 1)
    assert figures["mine"]["auc"] == 1
    assert figures["mine"]["sensitivity_at_specificity"] == {"0.99": 1, "0.994": 1}


def test_a_label_nobody_has_gives_no_figure_and_valid_json(package, kaggle):
    figures = evaluate_kaggle(package, Oracle(), kaggle)
    assert figures["labels"]["blow_down"]["recall"] is None
    json.dumps(figures, allow_nan=False)


def test_the_thresholds_are_those_of_the_card(package, kaggle):
    """All scores 0.25 too high: everything passes the card's 0.2, and the same in the fixed threshold's figure."""
    figures = evaluate_kaggle(package, Oracle(wrong=0.25), kaggle)
    assert figures["labels"][MINE]["recall"] == 1
    assert figures["labels"][MINE]["precision"] == pytest.approx(4 / 20)
    assert figures["f2_samples"] == figures["f2_at_0.2"] < 0.7


def test_tta_asks_for_the_eight_symmetries_and_averages_them(package, kaggle):
    oracle = Oracle(views=8)
    assert evaluate_kaggle(package, oracle, kaggle, tta=True)["f2_samples"] == 1
    assert sum(oracle.seen) == 20 * 8


def test_an_unreadable_chip_is_left_out(package, kaggle):
    whole = (kaggle / "train-jpg" / "train_19.jpg").read_bytes()
    (kaggle / "train-jpg" / "train_19.jpg").write_bytes(whole[:200])
    assert evaluate_kaggle(package, Oracle(), kaggle)["n"] == 19


@pytest.fixture
def small(tmp_path):
    """Bright chips are mines; one campaign has them, in two composites, the other has none."""
    folder = tmp_path / "small"
    folder.mkdir()
    rows = []
    for i in range(12):
        mine = i % 4 == 0
        slope = np.linspace(-20, 20, 48)[None, :, None] + np.zeros((48, 1, 1))
        pixels = slope + ((200, 180, 150) if mine else (40, 80, 50))
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i}.png")
        gallery = f"hills_S2L1C_clear0.{'05' if i < 4 else '75'}_2024" if i < 8 else "river_S2L1C_clear0.75_2024"
        rows.append([f"{i}.png", "mine" if mine else "other", gallery])
    with (tmp_path / "index.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["file", "label", "source_gallery"], *rows])
    return folder, tmp_path / "index.csv"


def bright_is_mine(chips):
    scores = np.zeros((len(chips), len(LABELS)), np.float32)
    scores[:, LABELS.index(MINE)] = chips.mean((1, 2, 3)) / 255
    return scores


def test_mines_against_the_rest_by_campaign(package, small):
    figures = evaluate_partial(package, bright_is_mine, *small)
    assert (figures["mine"]["n"], figures["mine"]["n_other"]) == (3, 9)
    assert figures["mine"]["auc"] == figures["mine"]["ap"] == 1
    assert list(figures["labels"]) == [MINE]
    assert figures["campaigns"]["hills"]["mine"] == 2
    assert figures["campaigns"]["river"]["other"] == 3


@pytest.mark.parametrize(("gsd", "side"), [(3.7, 48), (10, 130), (40, 256), (1, 13)])
def test_small_chips_are_brought_to_the_models_resolution(package, small, gsd, side):
    seen = []

    def detect(chips):
        seen.append(chips)
        return bright_is_mine(chips)

    evaluate_partial(package, detect, *small, gsd=gsd)
    assert seen[0].shape == (12, 256, 256, 3)
    brightness = seen[0][0, 0, :, 0].astype(int)
    if side < 256:
        assert np.argmax(brightness) == pytest.approx(side - 1, abs=2), "where the slope ends"
        mirrored = min(side, 256 - side)
        assert np.array_equal(brightness[side - mirrored : side], brightness[side : side + mirrored][::-1])


def test_nothing_readable_is_an_error(package, small):
    folder, index = small
    for file in folder.iterdir():
        file.write_bytes(b"no image")
    with pytest.raises(DatasetError, match="none of the 12 chips"):
        evaluate_partial(package, bright_is_mine, folder, index)


@pytest.mark.parametrize(
    "arguments", [[], ["--chips", "."], ["--kaggle-dir", ".", "--chips", ".", "--index", "LICENSE"]]
)
def test_the_command_wants_one_data_set(arguments):
    result = CliRunner().invoke(main, ["evaluate", "--model", "planet", *arguments])
    assert result.exit_code == 2
    assert "--kaggle-dir, or --chips and --index" in result.output


def test_the_command_writes_the_figures(tiny_package, kaggle, tmp_path):
    out = tmp_path / "figures.json"
    arguments = ["evaluate", "--model", str(tiny_package.path), "--kaggle-dir", str(kaggle), "--json", str(out)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    figures = json.loads(out.read_text())
    assert figures["digest"] == tiny_package.card.digest
    assert {"f2_samples", "f2_at_0.2", "labels", "mine"} <= figures.keys()
    assert 0 <= figures["f2_samples"] <= 1
