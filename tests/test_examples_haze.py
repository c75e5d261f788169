"""`ablate_dehazing.py` and `robustness.py`: what they compare and sum up; trainings are tested elsewhere."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

from geoscan.dehazing import dark_levels, histograms
from geoscan.evaluate.conditions import CONDITIONS
from geoscan.labels import LABELS, MINE, MINE_COLUMN
from geoscan.model.figures import AblatedFigure

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(scope="module")
def scripts():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(EXAMPLES)
        yield importlib.import_module("ablate_dehazing"), importlib.import_module("robustness")


def test_looks_differ_in_haze_alone(scripts):
    ablate, _ = scripts
    _, plain = ablate.setting(kaggle=False)
    chips = np.random.default_rng(0).integers(40, 200, (2, 48, 48, 3), np.uint8)
    seen = {name: look.cleared(chips) for name, look in ablate.looks(plain).items()}
    np.testing.assert_array_equal(seen["as it is"], chips)
    wide = plain.__class__(48, 10.0, "sentinel2-l1c", ablate.DarkLevel()).cleared(chips)
    np.testing.assert_array_equal(seen["wide"], wide)
    np.testing.assert_array_equal(seen["wide, beside as it is"], np.concatenate([wide, chips], axis=-1))
    told = seen["wide, dark level told"]
    np.testing.assert_array_equal(told[..., :3], wide)
    for chip, levels in zip(chips, told[:, 0, 0, 3:], strict=True):
        assert levels.tolist() == dark_levels(histograms(chip.transpose(2, 0, 1), None), 1.0).tolist()
    assert len({each.tobytes() for each in seen.values()}) == len(seen)


def test_conditions_of_the_report_are_known(scripts):
    ablate, _ = scripts
    assert set(ablate.SHOWN) <= set(CONDITIONS)


def test_changes_are_taken_fold_by_fold(scripts):
    ablate, _ = scripts
    found = {
        "as it is": {"0": {"as they are": 0.5}, "1": {"as they are": 0.7}},
        "wide": {"1": {"as they are": 0.8}, "0": {"as they are": 0.6}},
    }
    told = ablate.report(found, ["as it is", "wide"])
    assert told["as it is"].figures == {"as they are": AblatedFigure(0.6)}
    assert told["wide"].figures == {"as they are": AblatedFigure(0.7, 0.1, (0.1, 0.1))}


def test_a_figure_is_that_of_what_a_model_knows(scripts):
    _, robustness = scripts
    targets = np.zeros((4, 17), np.float32)
    targets[:2, MINE_COLUMN] = 1
    scores = np.array([[0.9], [0.4], [0.5], [0.1]], np.float32)
    assert robustness.figure((MINE,), targets, scores) == pytest.approx((1 + 2 / 3) / 2)
    every = np.zeros((4, 17), np.float32)
    every[:2, MINE_COLUMN] = 0.3
    assert robustness.figure(LABELS, targets, every) > 0.99 * (2 / 4)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("ablate_dehazing --out a.json", "pass --kaggle-dir, or --chips and --index"),
        ("ablate_dehazing --kaggle-dir . --out a.json --only narrow", "no look is called narrow"),
        ("robustness planet", "pass --kaggle-dir, or --chips and --index"),
        ("robustness sentinel2 --kaggle-dir .", "train with --folds and --keep-folds"),
    ],
)
def test_what_cannot_work_is_said_before_the_work(scripts, words, message, monkeypatch, capsys):
    script, *rest = words.split()
    monkeypatch.setattr(sys, "argv", [script, *rest])
    with pytest.raises(SystemExit) as ended:
        next(one for one in scripts if one.__name__ == script).main()
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
