import re
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_model import SPEC, card

from geoscan.dehazing import DehazeParams
from geoscan.evaluate.metrics import label_metrics, mine_metrics
from geoscan.labels import LABELS, MINE
from geoscan.model.calibration import Calibration
from geoscan.model.markdown import card_markdown
from geoscan.model.package import Card
from geoscan.model.spec import MINE_HEADS, EfficientNetSpec
from geoscan.train.card import figures

NAN = float("nan")


def planet_figures():
    """What a training run says of chips, from the functions that it calls."""
    rng = np.random.default_rng(0)
    targets = (rng.uniform(size=(40, 17)) < 0.3).astype(np.float32)
    targets[:, :4] = np.eye(4)[rng.integers(0, 4, 40)]
    targets[:, LABELS.index("blow_down")] = 0
    scores = np.clip(targets * 0.6 + rng.uniform(0, 0.4, targets.shape), 0, 1).astype(np.float32)
    return figures(targets, scores, targets[:, 3] == 0, np.arange(40), seed=0)


def mine_figures():
    rng = np.random.default_rng(1)
    targets = (rng.uniform(size=200) < 0.3).astype(float)
    return asdict(mine_metrics(targets, targets * 0.3 + rng.uniform(0, 0.7, 200)))


METRICS = planet_figures() | {
    "mine": mine_figures(),
    "mosaics": mine_figures(),
    "campaigns": {"bolivia_1.0": {"mine": 12, "other": 1003, "called_mine": 0.25}, "empty": {"called_mine": None}},
    "lookalikes": {"sandbar": {"n": 51, "called_mine": 0.0196}},
    "ablation": {
        "dehaze": {"none": {"f2": 0.9, "f2_interval": [0.88, 0.92]}, "fixed": {"f2": 0.91}},
        "seeds": [0, 1, 2],
    },
    "calibration": {"land": {"n_known": 99, "ece_before": 0.2, "ece": 0.00004}},
    "notes": "Out of five folds.",
    "brier": 0.125,
}


def section(text, title):
    """Lines below a heading, down to the next one of its rank."""
    rank = title.split(" ")[0]
    return text.split(f"\n{title}\n", 1)[1].split(f"\n{rank} ", 1)[0]


def row(text, first):
    return next(line for line in text.splitlines() if line.startswith(f"| {first} |"))


def whole(**facts):
    return Card.from_json(card(**facts).to_json())


def test_a_planet_card_has_its_figures_with_intervals_and_counts():
    text = card_markdown(whole(metrics=METRICS))
    overall = section(text, "### All labels together")
    figures = METRICS["not_only_cloudy"]
    low, high = figures["f2_at_0.2_interval"]
    kept = row(overall, "chips not tagged only cloudy")
    assert f"| {figures['n']} | {figures['f2_samples']:.3f} |" in kept
    assert f"| {figures['f2_at_0.2']:.3f} ({low:.3f} to {high:.3f}) |" in kept
    assert kept.endswith(f"| {figures['f2_of_always_clear_primary']:.3f} |")
    assert row(overall, "all chips").startswith("| all chips | 40 |")
    labels = section(text, "### Each label")
    for name in ("agriculture", "artisanal mine", "bare ground"):
        assert row(labels, name)
    values = METRICS["labels"]["road"]
    assert f"| {values['f2']:.3f} ({values['f2_interval'][0]:.3f} to " in row(labels, "road")
    assert f"| {values['n']} | {values['n_known']} |" in row(labels, "road")
    assert "nan" not in text.lower().replace("tenan", "")
    assert row(labels, "blow down").count(" - ") >= 2, "what does not exist is a dash"


def test_mines_have_one_row_a_set_of_chips():
    text = section(card_markdown(whole(metrics=METRICS)), "### Mines against the rest")
    values = METRICS["mine"]
    header = text.strip().splitlines()[0]
    assert header.startswith("| chips | mines | others | AUC | AP | sensitivity at specificity 0.99 |")
    line = row(text, "mines")
    assert f"| {values['n']} | {values['n_other']} |" in line
    assert f"| {values['ap']:.3f} ({values['ap_interval'][0]:.3f} to {values['ap_interval'][1]:.3f}) |" in line
    ends = values["sensitivity_interval"]["0.994"]
    found = values["sensitivity_at_specificity"]["0.994"]
    assert line.endswith(f"| {found:.3f} ({ends[0]:.3f} to {ends[1]:.3f}) | chips |")
    assert row(text, "mosaics")


def test_campaigns_look_alikes_ablations_and_what_nobody_knows():
    text = card_markdown(whole(metrics=METRICS))
    assert row(text, "`bolivia_1.0`") == "| `bolivia_1.0` | 12 | 1,003 | 0.250 |"
    assert row(text, "`empty`") == "| `empty` | - | - | - |"
    assert row(text, "sandbar") == "| sandbar | 51 | 0.020 |"
    ablation = section(text, "### Ablations")
    assert "- seeds: 0, 1, 2" in ablation
    assert "#### dehaze" in ablation
    assert row(ablation, "none") == "| none | 0.900 (0.880 to 0.920) |"
    assert row(section(text, "### How well calibrated"), "land") == "| land | 99 | 0.200 | 4.0e-05 |"
    assert section(text, "## Figures").strip().startswith("Out of five folds.")
    assert "- brier: 0.125" in section(text, "### More")


def test_a_model_of_mines_alone():
    spec = EfficientNetSpec(side=96, chip=48, heads=MINE_HEADS)
    metrics = {"mine": mine_figures(), "campaigns": {"peru": {"mine": 3, "other": 4, "called_mine": 0.5}}}
    text = card_markdown(whole(spec=spec, gsd=10, metrics=metrics))
    assert "other labels" not in text
    assert "48 x 48 px, 480 x 480 m on the ground" in text
    assert "EfficientNet-Lite0" in section(text, "## Network")
    assert re.findall(r"^### (.*)", section(text, "## Figures"), re.M) == [
        "Mines against the rest",
        "Sampling campaigns",
    ]
    assert row(text, "head `land`") == f"| head `land` | sigmoid over {MINE} |"


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.sets(st.sampled_from(sorted(METRICS))), st.booleans())
def test_any_part_of_the_figures_will_do(keys, calibrated):
    metrics = {key: value for key, value in METRICS.items() if key in keys}
    made = card(metrics=metrics, calibration=Calibration({"land": 1.5}, 0.2) if calibrated else Calibration())
    text = card_markdown(made)
    assert text == card_markdown(Card.from_json(made.to_json())), "what JSON makes of a card changes nothing"
    assert ("### Each label" in text) == ("labels" in keys)
    assert ("### Ablations" in text) == ("ablation" in keys)
    assert ("Nothing was measured." in text) == (not keys)
    assert ("95 %" in text) == bool(keys & {"not_only_cloudy", "all", "labels", "mine", "mosaics", "ablation"})


shapes = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.lists(st.floats(), max_size=3),
    lambda inner: st.dictionaries(st.text(min_size=1, max_size=8), inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from(
    ["labels", "mine", "ablation", "campaigns", "history", "recipe", "small_chips", "x", "n", "notes"]
)


@settings(max_examples=60)
@given(st.dictionaries(names.filter(lambda name: name not in {"labels", "notes"}), shapes, max_size=4))
def test_every_table_is_whole_whatever_stands_in_it(facts):
    facts.pop("recipe", None), facts.pop("history", None)
    text = card_markdown(card(metrics=facts, data=facts, training=facts))
    for block in text.split("\n\n"):
        lines = block.splitlines()
        if lines and lines[0].startswith("| "):
            assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1


def test_rare_labels_are_a_limit():
    targets = np.zeros((60, 17))
    targets[:30, 0], targets[:9, 8] = 1, 1
    metrics = label_metrics(targets, targets, dict.fromkeys(LABELS, 0.2), resamples=10)
    limits = section(card_markdown(whole(metrics={"labels": {k: asdict(v) for k, v in metrics.items()}})), "## Limits")
    assert "road (9)" not in limits
    assert f"{LABELS[8].replace('_', ' ')} (9)" in limits
    assert "clear (" not in limits.replace("partly clear", "")


def test_calibration_is_said():
    assert "None was fitted" in section(card_markdown(whole()), "## Calibration")
    text = section(card_markdown(whole(calibration=Calibration({"land": 1.25}, 0.18, 0.008))), "## Calibration")
    assert row(text, "land") == "| land | 1.250 |"
    assert "18 % hold an artisanal mine" in text
    assert "0.8 % is assumed" in text


@pytest.mark.parametrize("dehaze", [None, DehazeParams(omega=0.55)])
def test_haze_removal_is_said(dehaze):
    line = row(card_markdown(whole(dehaze=dehaze)), "haze removal")
    assert line == "| haze removal | none |" if dehaze is None else "omega 0.55, patch 15" in line and "`fixed`" in line


def test_data_and_training_are_said():
    data = {
        "source": "Kaggle",
        "licence": "theirs",
        "training_chips": 1776,
        "training_positives": {"road": 1197, MINE: 7},
        "validation_positives": {"road": 49},
        "small_chips": {"source": "chips.zip", "training": {"mine": 1414, "other": 6370}},
    }
    training = {
        "geoscan": "0.1.0",
        "keras": "3.15.1",
        "command": "geoscan train --kaggle-dir DIR --out models/planet",
        "parameters": 1_234_567,
        "recipe": {"seed": 3, "schedule": {"rate": 0.002}, "augmentation": {"symmetries": True}},
        "seconds": 4140,
        "best_epoch": 2,
        "history": [{"loss": 1.0}] * 30,
        "interrupted": True,
    }
    text = card_markdown(whole(data=data, training=training))
    trained_on = section(text, "## Trained on")
    assert "- licence: theirs\n- training chips: 1,776" in trained_on
    assert row(trained_on, "road") == "| road | 1,197 | 49 |"
    assert row(trained_on, "artisanal mine") == "| artisanal mine | 7 | - |"
    assert row(trained_on, "training") == "| training | 1,414 | 6,370 |"
    how = section(text, "## How it was trained")
    assert "```sh\ngeoscan train --kaggle-dir DIR --out models/planet\n```" in how
    assert "seed = 3\nschedule.rate = 0.002\naugmentation.symmetries = yes" in how
    assert "30 epochs; the weights are those of number 2." in how
    assert "It took 69 minutes." in how
    assert "interrupted" in how
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
        "Figures",
        "Thresholds",
        "Calibration",
        "Limits",
        "Identity",
    ]
    assert row(text, "blocks") == "| blocks | 1, 1 |"
    assert all(row(section(text, "## Thresholds"), name.replace("_", " ")) for name in ("road", "slash_burn"))
    assert made.spec == SPEC
