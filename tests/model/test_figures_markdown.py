import re
from dataclasses import replace

import numpy as np
from drawn_figures import all_figures
from hypothesis import given, settings

from geoscan.evaluate.metrics import label_figures, mine_figures
from geoscan.evaluate.thresholds import START
from geoscan.labels import LABELS
from geoscan.model.figures import (
    AblatedFigure,
    CalibrationFigures,
    CampaignFigures,
    DetectionFigures,
    F2Figures,
    FalseAlarms,
    Figures,
    FlaggedFigures,
    LookalikeFigures,
    ReliabilityBin,
    Variant,
)
from geoscan.model.figures_markdown import cell_text, figures_markdown


def labelled():
    rng = np.random.default_rng(0)
    targets = (rng.uniform(size=(40, 17)) < 0.3).astype(np.float32)
    targets[:, LABELS.index("blow_down")] = 0
    scores = np.clip(targets * 0.6 + rng.uniform(0, 0.4, targets.shape), 0, 1)
    return label_figures(targets, scores, dict.fromkeys(LABELS, 0.3), resamples=50)


def mines(seed=1):
    rng = np.random.default_rng(seed)
    targets = (rng.uniform(size=200) < 0.3).astype(float)
    return mine_figures(targets, targets * 0.3 + rng.uniform(0, 0.7, 200), resamples=50)


BALANCED = FlaggedFigures(
    0.869,
    0.523,
    (0.5, 0.546),
    FalseAlarms(7991, 1841.4, 2400, 1303.3, (1250.2, 1360.4)),
    FalseAlarms(1987, 457.8, 2, 4.37, (1.2, 15.9)),
)
STRICT = FlaggedFigures(
    0.95, 0.449, None, FalseAlarms(7991, 1841.4, 48, 26.1, (19.7, 34.5)), FalseAlarms(1987, 457.8, 0, None, (0, 8.38))
)

FIGURES = Figures(
    notes=("Out of five folds.",),
    f2=F2Figures(1173, 0.8972, (0.88, 0.91), 0.899, 0.893, (0.874, 0.909), 0.625),
    f2_all=F2Figures(40, None, None, None, 0.5, None, 0.6),
    labels=labelled(),
    mine=mines(),
    mine_folds={"fold 1": mines(2), "fold 2": mines(3)},
    mosaics=mines(4),
    campaigns={"bolivia_1.0": CampaignFigures(1015, 12, 1003, 0.25, (0.2, 0.3))},
    detection={
        "balanced": DetectionFigures(1752, BALANCED, replace(BALANCED, threshold=0.5, found=0.6)),
        "strict": DetectionFigures(1752, STRICT, STRICT),
    },
    reliability=(ReliabilityBin(0.0, 0.01, 1200, 0.0021, 0.0025, (0.001, 0.005)),),
    lookalikes={"fish_pond": LookalikeFigures(51, 0.0196, None, 0.0, (0.0, 0.07))},
    calibration={"land": CalibrationFigures(99, 0.3, 0.25, 0.2, 0.00004)},
    ablations={
        "dehaze": {
            "without": Variant(3, {"AP": AblatedFigure(0.9), "AUC": AblatedFigure(None)}),
            "with": Variant(3, {"AP": AblatedFigure(0.91, 0.0103, (-0.002, 0.0226))}),
        }
    },
)


def section(text, title):
    """Lines below a heading, down to the next one."""
    return text.split(f"\n### {title}\n", 1)[1].split("\n### ", 1)[0]


def row(text, first):
    return next(line for line in text.splitlines() if line.startswith(f"| {first} |"))


def test_all_labels_together():
    text = section(figures_markdown(FIGURES), "All labels together")
    assert row(text, "chips").count(f"{START:g} for all") == 1
    assert row(text, "chips not tagged only cloudy") == (
        "| chips not tagged only cloudy | 1,173 | 0.897 (0.880 to 0.910) | 0.899 | 0.893 (0.874 to 0.909) | 0.625 |"
    )
    assert row(text, "all chips") == "| all chips | 40 | - | - | 0.500 | 0.600 |"


def test_each_label_has_its_figures_with_intervals_and_counts():
    text = section(figures_markdown(FIGURES), "Each label")
    road = FIGURES.labels["road"]
    low, high = road.f2_interval
    assert f"| {road.n} | {road.n_known} | {road.precision:.3f} | {road.recall:.3f} |" in row(text, "road")
    assert f"| {road.f2:.3f} ({low:.3f} to {high:.3f}) |" in row(text, "road")
    assert row(text, "artisanal mine")
    assert row(text, "blow down").count(" - ") >= 2, "what does not exist is a dash"
    assert len(text.strip().splitlines()) == 2 + 2 + 17


def test_mines_have_one_row_a_set_of_chips():
    text = section(figures_markdown(FIGURES), "Mines against the rest")
    header = row(text, "chips")
    assert header == "| chips | mines | others | AUC | AP | found at 99 % | found at 99.4 % | intervals over |"
    line, mine = row(text, "all chips"), FIGURES.mine
    assert f"| {mine.n} | {mine.n_other} |" in line
    assert f"| {mine.ap:.3f} ({mine.ap_interval[0]:.3f} to {mine.ap_interval[1]:.3f}) |" in line
    point = mine.operating_points[1]
    assert line.endswith(f"| {point.sensitivity:.3f} ({point.interval[0]:.3f} to {point.interval[1]:.3f}) | chips |")
    mean = row(text, "mean of 2 folds")
    folds = list(FIGURES.mine_folds.values())
    assert f"| {sum(fold.n for fold in folds)} | {sum(fold.n_other for fold in folds)} |" in mean
    assert f"| {(folds[0].ap + folds[1].ap) / 2:.3f} |" in mean
    assert row(text, "fold 1")
    assert row(text, "fold 2")
    assert row(text, "mosaics")
    assert "A mosaic is" in text
    assert "Each fold" in text
    alone = figures_markdown(Figures(mine=mines()))
    assert "A mosaic is" not in alone
    assert "Each fold" not in alone


def test_operating_points_tell_false_alarms_and_the_ground_they_were_measured_on():
    text = section(figures_markdown(FIGURES), "Operating points")
    assert "1,752 chips with a mine and 7,991 without, which show 1,841 km2." in text
    assert "they exaggerate then. The last column is of 1,987 of them that were drawn blindly" in text
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    ends = "false alarms per 1,000 km2 | on places drawn blindly |"
    assert lines[0] == f"| operating point | a chip | flagged from | mines found | {ends}"
    alarms = "1,303 (1,250 to 1,360) | 4.4 (1.2 to 16) |"
    assert lines[2:] == [
        f"| `balanced` | alone | 0.869 | 0.523 (0.500 to 0.546) | {alarms}",
        f"| `balanced` | confirmed by neighbours | 0.500 | 0.600 (0.500 to 0.546) | {alarms}",
        "| `strict` | any | 0.950 | 0.449 | 26 (20 to 34) | at most 8.4 (none seen) |",
    ]


def test_where_no_place_was_drawn_blindly_there_is_no_column_of_such():
    one = replace(BALANCED, false_alarms_blind=None, false_alarms=FalseAlarms(0, 0.0, 0, None, None))
    text = figures_markdown(Figures(detection={"balanced": DetectionFigures(0, one, one)}))
    assert "blindly" not in text
    assert row(text, "`balanced`") == "| `balanced` | any | 0.869 | 0.523 (0.500 to 0.546) | - |"


def test_campaigns_look_alikes_calibration_and_notes():
    text = figures_markdown(FIGURES)
    assert text.startswith("Out of five folds.\n")
    assert row(text, "`bolivia_1.0`") == "| `bolivia_1.0` | 12 | 1,003 | 0.250 (0.200 to 0.300) |"
    assert row(text, "fish pond") == "| fish pond | 51 | 0.020 | 0.000 (0.000 to 0.070) |"
    assert row(section(text, "Calibration"), "land") == "| land | 99 | 0.300 | 0.250 | 0.200 | 4.0e-05 |"
    reliable = row(section(text, "Reliability of the probability"), "0 to 0.01")
    assert reliable == "| 0 to 0.01 | 1,200 | 0.002 | 0.003 (0.001 to 0.005) |"


def test_an_ablation_is_a_table_of_variants_with_their_changes():
    text = section(figures_markdown(FIGURES), "Ablation: dehaze")
    assert row(text, "variant") == "| variant | networks | AP | change | AUC | change |"
    assert row(text, "without") == "| without | 3 | 0.900 | - | - | - |"
    assert row(text, "with") == "| with | 3 | 0.910 | +0.010 (-0.002 to +0.023) | - | - |"


@settings(max_examples=60)
@given(all_figures)
def test_every_table_is_whole_whatever_stands_in_it(figures):
    text = figures_markdown(figures)
    for block in text.split("\n\n"):
        lines = block.splitlines()
        if lines and lines[0].startswith("| "):
            assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
    assert ("### Each label" in text) == bool(figures.labels)
    assert ("### Mines against the rest" in text) == bool(figures.mine or figures.mine_folds or figures.mosaics)
    assert ("### Operating points" in text) == bool(figures.detection)
    assert ("### Reliability" in text) == bool(figures.reliability)
    assert text.count("### Ablation:") == sum(map(bool, figures.ablations.values()))
    assert ("Nothing was measured." in text) == ("###" not in text)
    assert ("In brackets: 95 %" in text) == ("###" in text)


def test_headings_go_as_deep_as_asked():
    assert "\n## Each label\n" in figures_markdown(FIGURES, depth=2)


def test_cells():
    cells = ("a\nb", 1200, 0.8721, (0.8721, (0.845, 0.8893)), (None, None), None, float("nan"), 0.0, 4e-5)
    assert [cell_text(cell) for cell in cells] == [
        "a b",
        "1,200",
        "0.872",
        "0.872 (0.845 to 0.889)",
        "-",
        "-",
        "-",
        "0.000",
        "4.0e-05",
    ]
