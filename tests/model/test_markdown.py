import re
from dataclasses import replace

import pytest
from drawn_figures import all_figures
from hypothesis import given, settings
from tiny_model import SPEC, card

from geoscan.dehazing import DarkLevel
from geoscan.labels import LABELS, MINE
from geoscan.model.calibration import Calibration, Curve
from geoscan.model.card import Card
from geoscan.model.figures import F2Figures, Figures, LabelFigures
from geoscan.model.figures_markdown import figures_markdown
from geoscan.model.markdown import card_markdown, models_markdown
from geoscan.model.origin import SmallChips, TrainedOn, Training
from geoscan.model.spec import MINE_HEADS, EfficientNetSpec
from geoscan.model.split import Split
from geoscan.polygons import Hysteresis

MINES = EfficientNetSpec(side=96, chip=48, heads=MINE_HEADS)


def section(text, title):
    """Lines below a heading, down to the next one of its rank."""
    rank = title.split(" ")[0]
    return text.split(f"\n{title}\n", 1)[1].split(f"\n{rank} ", 1)[0]


def row(text, first):
    return next(line for line in text.splitlines() if line.startswith(f"| {first} |"))


def whole(**facts):
    return Card.from_json(card(**facts).to_json())


def test_a_model_of_mines_alone():
    text = card_markdown(whole(spec=MINES, gsd=10))
    assert "other labels" not in text
    assert "48 x 48 px, 480 x 480 m on the ground" in text
    assert "EfficientNet-Lite0" in section(text, "## Network")
    assert row(text, "head `land`") == f"| head `land` | sigmoid over {MINE} |"


@settings(max_examples=30)
@given(all_figures)
def test_figures_are_a_part_of_the_card(figures):
    made = card(figures=figures)
    text = card_markdown(made)
    assert text == card_markdown(Card.from_json(made.to_json())), "what JSON makes of a card changes nothing"
    assert figures_markdown(figures) in text
    assert ("Nobody has measured it" in text) == (figures == Figures())


def test_rare_labels_are_a_limit():
    def counted(n):
        return LabelFigures(n, 60, None, None, None, None, None, None, 0.2)

    figures = Figures(labels={label: counted(9 if label == "artisinal_mine" else 10) for label in LABELS})
    limits = section(card_markdown(whole(figures=figures)), "## Limits")
    assert "fewer than 10 chips, so read their intervals, not their figures: artisanal mine (9)." in limits


def test_the_pixels_that_it_takes_are_a_limit():
    limits = section(card_markdown(whole(spec=MINES, gsd=10)), "## Limits")
    assert "It reads pixels of 7.5 to 12.5 m as they are; other scenes of 2.5 to 40 m are resampled" in limits


def test_calibration_is_said():
    assert "None was fitted" in section(card_markdown(whole()), "## Calibration")
    text = section(card_markdown(whole(calibration=Calibration({"land": 1.25}, 0.18, 0.008))), "## Calibration")
    assert row(text, "land") == "| land | 1.250 |"
    assert "The logits of these heads are divided by temperatures" in text
    assert "beta calibration" not in text, "a card of an earlier version has no curve"
    assert "18 % hold an artisanal mine" in text
    assert "0.8 % is assumed" in text


def test_curves_of_calibration_are_said():
    curves = {"artisinal_mine": Curve(0.59, 1.448, -2.122)}
    text = section(
        card_markdown(whole(calibration=Calibration({"weather": 0.8}, 0.18, curves=curves))), "## Calibration"
    )
    assert row(text, "artisanal mine") == "| artisanal mine | 0.590 | 1.448 | -2.122 |"
    assert row(text, "weather") == "| weather | 0.800 |"
    assert "a ln(score) - b ln(1 - score) + c" in text
    assert "The scores of primary, agriculture, road, " in text
    assert "blow down stay as they are." in text
    alone = section(card_markdown(whole(calibration=Calibration(curves=curves))), "## Calibration")
    assert "temperature" not in alone
    assert "is assumed" not in alone


def test_operating_points_are_said_and_what_they_are():
    strict = Hysteresis(0.97, 0.485, 0.97)
    text = section(card_markdown(whole(sensitive=Hysteresis(0.1, 0.05, 0.1), strict=strict)), "## Thresholds")
    assert row(text, "`sensitive`") == "| `sensitive` | 0.100 | 0.050 | 0.100 |"
    assert row(text, "`balanced`") == "| `balanced` | 0.500 | 0.300 | 0.600 |"
    assert row(text, "`strict`") == "| `strict` | 0.970 | 0.485 | 0.970 |"
    assert "`sensitive` finds 90 % of the mines" in text
    assert "`strict` turns down 99.4 % of the chips without a mine" in text
    old = section(card_markdown(whole()), "## Thresholds")
    assert "`strict`" not in old
    assert "by an earlier version" in old


@pytest.mark.parametrize("dehaze", [None, DarkLevel(omega=0.55)])
def test_haze_removal_is_said(dehaze):
    line = row(card_markdown(whole(dehaze=dehaze)), "haze removal")
    wanted = ["| haze removal | none |"] if dehaze is None else ["omega 0.55", "dark level of the whole chip"]
    assert all(words in line for words in wanted)


def test_data_and_training_are_said():
    data = TrainedOn(
        source="Kaggle",
        licence="theirs",
        training_chips=1776,
        training_positives={"road": 1197, MINE: 7},
        validation_positives={"road": 49},
        small_chips=SmallChips("chips.zip", 1414, 6370),
    )
    split = Split(3, 0.25).of("kaggle", "abc")
    training = Training(
        geoscan="0.1.0",
        keras="3.15.1",
        parameters=1_234_567,
        recipe={"seed": 3, "schedule": {"rate": 0.002}, "augmentation": {"symmetries": True}},
        teachers=("abc", "def"),
        seconds=4140,
        best_epoch=2,
        history=({"loss": 1.0},) * 30,
        interrupted=True,
    )
    text = card_markdown(whole(data=data, training=training, split=split))
    trained_on = section(text, "## Trained on")
    assert "- source: Kaggle\n- licence: theirs\n- training chips: 1,776" in trained_on
    assert "validation chips" not in trained_on
    assert "- in mosaics: chips.zip, 1,414 mines and 6,370 others\n- licence of those: not stated" in trained_on
    assert "- split, seed: 3\n- split, held out: 0.25" in trained_on
    assert row(trained_on, "road") == "| road | 1,197 | 49 |"
    assert row(trained_on, "artisanal mine") == "| artisanal mine | 7 | - |"
    how = section(text, "## How it was trained")
    assert "seed = 3\nschedule.rate = 0.002\naugmentation.symmetries = yes" in how
    assert "30 epochs; the weights are those of number 2." in how
    assert "It took 69 minutes." in how
    assert "interrupted" in how
    assert "- abc\n- def" in how
    assert row(text, "parameters") == "| parameters | 1,234,567 |"
    assert row(text, "keras") == "| keras | 3.15.1 |"


def test_the_smallest_card_is_a_card():
    made = replace(card(), digest="abc")
    text = card_markdown(made)
    assert text.startswith("# tiny\n\n## What it is for\n")
    assert text.endswith("| digest | `abc` |\n")
    assert re.findall(r"^## (.*)", text, re.M) == [
        "What it is for",
        "What it is not for",
        "Input",
        "Network",
        "Trained on",
        "Figures",
        "Thresholds",
        "Calibration",
        "Limits",
        "Identity",
    ]
    assert row(text, "blocks") == "| blocks | 1, 1 |"
    assert all(row(section(text, "## Thresholds"), name.replace("_", " ")) for name in ("road", "slash_burn"))
    assert "- licence: not stated" in section(text, "## Trained on")
    assert made.spec == SPEC


def test_a_page_of_models_has_a_row_and_the_figures_of_each():
    figures = Figures(f2=F2Figures(173, 0.9, None, None, None, None, None))
    data = TrainedOn(source="Kaggle", licence="theirs", small_chips=SmallChips("chips.zip", 1, 2, "MIT"))
    first = card(name="first", gsd=3.4, figures=figures, data=data, training=Training(parameters=1_083_633))
    text = models_markdown([(first, 4_830_000), (card(MINES, name="second", gsd=10), 14_200_000)])
    assert row(text, "`first`") == (
        "| `first` | 2.55 to 4.25 m | 0.85 to 13.6 m | 32 px, 109 m | DenseNet-BC | 4.8 MB, 1.1 million numbers | "
        "F2 0.900 on 173 chips |"
    )
    assert row(text, "`second`").endswith("| 48 px, 480 m | EfficientNet-Lite0 | 14 MB | no figures |")
    assert figures_markdown(figures) in section(text, "## first")
    assert "Trained on Kaggle (theirs), and on mosaics of chips.zip (MIT)." in section(text, "## first")
    assert "Nothing was measured." in section(text, "## second")
