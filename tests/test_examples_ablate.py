"""`examples/ablate.py`: which recipes it compares, and how it sums up; trainings are tested in tests/train."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny_model

from geoscan.model.figures import AblatedFigure, Figures, Variant
from geoscan.model.package import load

SCRIPT = Path(__file__).parents[1] / "examples/ablate.py"


@pytest.fixture(scope="module")
def ablate():
    spec = importlib.util.spec_from_file_location("ablate", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_variants_differ_from_the_first_in_what_is_asked_and_nothing_else(ablate, tmp_path):
    kaggle = ablate.TrainingData(ablate.KaggleSource(tmp_path))
    small = ablate.TrainingData(ablate.ChipsSource(tmp_path, tmp_path))
    for data in (kaggle, small):
        base = ablate.recipe(data, None, None)
        sides = [made.spec.side for made in ablate.variants("resolution", base).values()]
        assert sides == [base.spec.side, base.spec.side * 3 // 2, base.spec.side * 2]
    assert [made.init for made in ablate.variants("pretrain", base).values()] == ["imagenet", "imagenet", "none"]


def test_differences_are_taken_seed_by_seed(ablate):
    base = [{"F2": 0.5}, {"F2": 0.7}, {"F2": 0.6}]
    other = [{"F2": 0.52}, {"F2": 0.72}, {"F2": 0.62}]
    assert ablate.summary(base, base) == Variant(3, {"F2": AblatedFigure(0.6)})
    assert ablate.summary(other, base) == Variant(3, {"F2": AblatedFigure(0.62, 0.02, (0.02, 0.02))})
    found = ablate.summary([{"F2": 0.5}, {"F2": 0.8}, {"F2": 0.6}], base).figures["F2"]
    low, high = found.interval
    assert low < 0 < found.difference < high
    assert high - found.difference == pytest.approx(4.303 * np.std([0, 0.1, 0], ddof=1) / 3**0.5, abs=1e-3)


def test_a_figure_that_a_seed_lacks_has_no_difference(ablate):
    found = ablate.summary([{"F2": None}, {"F2": 0.5}], [{"F2": 0.4}, {"F2": 0.4}]).figures["F2"]
    assert found == AblatedFigure(0.5)
    assert ablate.summary([{"F2": None}], [{"F2": None}]).figures["F2"] == AblatedFigure(None)


@pytest.mark.large  # it starts TensorFlow
def test_a_question_nobody_asks_is_misuse():
    done = subprocess.run([sys.executable, SCRIPT, "weather"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "invalid choice" in done.stderr


def test_the_report_goes_into_a_card_that_stays_whole(ablate, tmp_path):
    report = {"none": Variant(3, {"F2": AblatedFigure(0.6)})}
    before = tiny_model.package(tmp_path / "m", figures=Figures(("one",), ablations={"loss": {}}))
    ablate.into_card(tmp_path / "m", "pretrain", report)
    after = load(tmp_path / "m")
    assert after.card.figures == Figures(("one",), ablations={"loss": {}, "pretrain": report})
    assert "Ablation: pretrain" in (tmp_path / "m" / "card.md").read_text()
    for one, other in zip(after.network().get_weights(), before.network().get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.large
@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("pretrain --kaggle-dir . --out a.json", "pass --pretrain"),
        ("resolution --kaggle-dir . --out missing/a.json", "missing/a.json lies in no folder"),
    ],
)
def test_what_cannot_work_is_said_before_the_work(words, message, tmp_path):
    done = subprocess.run([sys.executable, SCRIPT, *words.split()], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
