import json
from dataclasses import replace

import numpy as np
import pytest
from tiny_model import card

from geoscan.evaluate.figures import figures
from geoscan.evaluate.report import Evaluation, difference, evaluation
from geoscan.evaluate.sample import Sample, Scored
from geoscan.labels import LABELS, MINE
from geoscan.model.figures_markdown import figures_markdown
from geoscan.model.package import Package
from geoscan.model.spec import MINE_HEADS, DenseNetSpec

MINES = DenseNetSpec(blocks=(1,), growth=1, stem=1, chip=48, heads=MINE_HEADS)
N = 40


def scored(tmp_path, wrong=0.0, campaigns=None, **facts):
    """A model that gives every label that holds 0.9, and the others as much as it is wrong."""
    made = card(**facts)
    targets = np.zeros((N, len(LABELS)), np.float32)
    targets[np.arange(N), np.arange(N) % 3] = targets[:, 4] = 1
    targets[:, LABELS.index(MINE)] = np.arange(N) % 5 == 0
    sample = Sample(tuple(map(str, range(N))), targets, lambda i: None, None, campaigns)
    known = targets[:, [LABELS.index(label) for label in made.labels]]
    return Scored(Package(tmp_path, made), sample, known, np.maximum(0.9 * known, wrong).astype(np.float32))


def test_the_difference_of_two_models_is_paired(tmp_path):
    """A model against itself differs by 0 for sure; against one that calls everything, by the gap of the two."""
    good, poor = scored(tmp_path), scored(tmp_path, wrong=0.25)
    same = difference(good, good)
    assert (same.f2, same.f2_interval, same.mine_ap, same.mine_ap_interval) == (0, (0, 0), 0, (0, 0))
    gap = difference(good, poor)
    assert gap.f2_all == pytest.approx(1 - figures(poor.package.card, poor.answers()).f2_all.tuned)
    low, high = gap.f2_interval
    assert 0 < low <= gap.f2 <= high


def test_without_f2_the_difference_is_in_average_precision(tmp_path):
    good, poor = scored(tmp_path), scored(tmp_path, spec=MINES)
    poor = replace(poor, scores=np.random.default_rng(0).random((N, 1)).astype(np.float32))
    gap = difference(good, poor)
    assert gap.f2 is gap.f2_all is None
    assert gap.mine_ap == pytest.approx(1 - figures(poor.package.card, poor.answers()).mine.ap)
    low, high = gap.mine_ap_interval
    assert 0 <= low <= gap.mine_ap <= high <= 1


def test_json_has_the_figures_as_a_card_has_them(tmp_path):
    one = scored(tmp_path, digest="abc", campaigns=("river",) * N)
    found = json.loads(evaluation(one).to_json())
    assert (found["model"], found["digest"], found["against"], found["difference"]) == ("tiny", "abc", None, None)
    whole = replace(one.package.card, figures=evaluation(one).figures)
    assert found["figures"] == json.loads(whole.to_json())["figures"]
    assert found["figures"]["labels"]["blow_down"]["recall"] is None


def test_markdown_has_the_figures_as_a_card_has_them(tmp_path):
    good, poor = scored(tmp_path, name="good", digest="abc"), scored(tmp_path, wrong=0.25, name="poor")
    alone, both = evaluation(good), evaluation(good, poor)
    assert alone.to_markdown().startswith("# good\n\nDigest `abc`\n\nWith the thresholds and the calibration")
    assert figures_markdown(alone.figures, depth=2) in alone.to_markdown()
    text = both.to_markdown()
    assert text.startswith(alone.to_markdown())
    assert f"## How much better than poor\n\n- F2: {both.difference.f2:.3f} (" in text
    assert f"- AP of mines: {both.difference.mine_ap:.3f} (" in text
    assert "\n# poor\n" in text
    assert isinstance(both.against, Evaluation)
    assert both.against.figures == evaluation(poor).figures
