"""Evaluation with detectors whose answers are known beforehand."""

import csv
from dataclasses import replace

import kaggle_dir
import numpy as np
import pytest
from conftest import write_scene
from PIL import Image
from tiny_model import card

from geoscan.data.labelled import read_chips
from geoscan.data.sources import ChipsSource, KaggleSource
from geoscan.errors import DatasetError, PackageError
from geoscan.evaluate.figures import figures
from geoscan.evaluate.sample import _at_gsd, sample_of, score
from geoscan.grid import Window
from geoscan.labels import LABELS, MINE
from geoscan.model.package import Package
from geoscan.model.runtime import Averaged
from geoscan.model.spec import DenseNetSpec, Head
from geoscan.scene import Scene

SPEC = DenseNetSpec(blocks=(1,), growth=1, stem=1)
MINE_ONLY = DenseNetSpec(blocks=(1,), growth=1, stem=1, chip=48, heads=(Head("land", (MINE,), "sigmoid"),))


@pytest.fixture
def package(tmp_path):
    return Package(tmp_path, card(SPEC))


@pytest.fixture
def kaggle(tmp_path):
    return kaggle_dir.make(tmp_path / "kaggle", 20)


def kaggle_sample(directory):
    return sample_of(read_chips(KaggleSource(directory)))


def small_sample(folder, index, gsd=None):
    return sample_of(read_chips(ChipsSource(folder, index)), gsd)


def measured(package, detect, sample):
    (scored,) = score([(package, detect)], sample)
    return figures(package.card, scored.answers())


def on_kaggle(package, detect, directory):
    return measured(package, detect, kaggle_sample(directory))


def on_small(package, detect, folder, index, gsd=None):
    return measured(package, detect, small_sample(folder, index, gsd))


class Oracle:
    """Knows each chip's tags by the order that they come in."""

    def __init__(self, wrong=0.0):
        self.wrong, self.seen = wrong, []

    def __call__(self, chips):
        start = sum(self.seen)
        self.seen.append(len(chips))
        scores = np.zeros((len(chips), len(LABELS)), np.float32)
        for i in range(len(chips)):
            for tag in kaggle_dir.tags(start + i).split():
                scores[i, LABELS.index(tag)] = 0.9
        return scores + np.float32(self.wrong)


def test_a_detector_that_knows_the_tags_is_perfect(package, kaggle):
    found = on_kaggle(package, Oracle(), kaggle)
    assert (found.f2_all.n, found.f2.n) == (20, 18)
    assert found.f2_all.tuned == found.f2_all.fixed == found.f2.tuned == 1
    mine = found.labels[MINE]
    assert (mine.n, mine.precision, mine.recall, mine.f2, mine.ap) == (4, 1, 1, 1, 1)
    assert found.mine.auc == 1
    assert [point.sensitivity for point in found.mine.operating_points] == [1, 1]
    assert found.labels["blow_down"].recall is None


def test_the_thresholds_are_those_of_the_card(package, kaggle):
    """All scores 0.25 too high: everything passes the card's 0.2, and the same in the fixed threshold's figure."""
    found = on_kaggle(package, Oracle(wrong=0.25), kaggle)
    assert found.labels[MINE].recall == 1
    assert found.labels[MINE].precision == pytest.approx(4 / 18)
    assert found.f2.tuned == found.f2.fixed == pytest.approx(5 * 3 / (4 * 3 + 17)), "3 of 17 labels hold"


def test_tta_is_what_the_mean_of_the_symmetries_makes(package, kaggle):
    def detect(chips):
        return np.full((len(chips), len(LABELS)), chips[:, 0, 0, 0].mean() / 255, np.float32)

    asked = score([(package, detect), (package, Averaged(detect, LABELS.index(MINE)))], kaggle_sample(kaggle))
    averaged = score([(package, detect)], kaggle_sample(kaggle), tta=True)
    np.testing.assert_array_equal(averaged[0].scores, asked[1].scores)
    assert (asked[0].scores != asked[1].scores).any()
    kept = replace(package, card=replace(package.card, tta=True))
    as_its_card, not_so = (score([(kept, detect)], kaggle_sample(kaggle), tta=tta) for tta in (None, False))
    np.testing.assert_array_equal(as_its_card[0].scores, asked[1].scores)
    np.testing.assert_array_equal(not_so[0].scores, asked[0].scores)


def test_an_unreadable_chip_is_left_out(package, kaggle):
    whole = (kaggle / "train-jpg" / "train_19.jpg").read_bytes()
    (kaggle / "train-jpg" / "train_19.jpg").write_bytes(whole[:200])
    assert on_kaggle(package, Oracle(), kaggle).f2_all.n == 19


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
    found = on_small(package, bright_is_mine, *small)
    assert (found.mine.n, found.mine.n_other) == (3, 9)
    assert found.mine.auc == found.mine.ap == 1
    assert list(found.labels) == [MINE]
    assert found.campaigns["hills"].mine == 2
    assert found.campaigns["river"].other == 3


@pytest.mark.parametrize(("gsd", "side"), [(3.7, 48), (4.5, 48), (10, 130), (14.8, 192), (1, 13)])
def test_small_chips_are_brought_to_the_models_resolution(package, small, gsd, side):
    seen = []

    def detect(chips):
        seen.append(chips)
        return bright_is_mine(chips)

    on_small(package, detect, *small, gsd=gsd)
    assert seen[0].shape == (12, 256, 256, 3)
    brightness = seen[0][0, 0, :, 0].astype(int)
    assert np.argmax(brightness) == pytest.approx(side - 1, abs=4), "where the slope ends"
    mirrored = min(side, 256 - side)
    assert np.array_equal(brightness[side - mirrored : side], brightness[side : side + mirrored][::-1])


@pytest.mark.parametrize(("rows", "gsd"), [(256, 3.4), (100, 10)])
def test_a_chip_is_resampled_as_a_scan_does(package, tmp_path, rows, gsd):
    """Neither overshoots: what is made of two values lies between them."""
    pixels = np.where(np.random.default_rng(0).random((rows, rows)) < 0.5, 60, 200).astype(np.uint8)
    path = write_scene(tmp_path / "scene.tif", pixels=np.stack([pixels] * 3), gsd=gsd)
    scene = Scene.open(path).at_gsd(package.card.preprocess.gsd)
    seen, _ = scene.read(Window(0, 0, scene.rows, scene.cols))
    brought = _at_gsd(np.stack([pixels] * 3), gsd, package.card.preprocess)
    inner = slice(5, min(seen.shape[1], brought.shape[1]) - 5)
    one, other = (part[:, inner, inner].astype(int) for part in (seen, brought))
    assert (one.min(), one.max()) == (other.min(), other.max()) == (60, 200)
    assert np.abs(one - other).mean() < 10, "the grids differ by a third of a pixel at the far end"


@pytest.mark.parametrize("gsd", [0.9, 15])
def test_chips_too_far_from_the_models_resolution_are_refused(package, small, gsd):
    with pytest.raises(PackageError, match="factor 4 at most"):
        on_small(package, bright_is_mine, *small, gsd=gsd)


@pytest.mark.parametrize(("gsd", "metres"), [(None, 3.7), (4.5, 4.5), (10, 10), (1, 1)])
def test_false_alarms_are_on_the_ground_that_chips_show_whatever_a_model_cuts_them_into(package, small, gsd, metres):
    found = on_small(package, bright_is_mine, *small, gsd=gsd).detection["balanced"].alone.false_alarms
    assert found.n == 9
    assert found.km2 == pytest.approx(9 * (48 * metres / 1000) ** 2)


def test_look_alikes_at_the_cards_threshold_and_at_a_specificity(package, small):
    """The card's 0.2 calls the dark chips mines, whose scores are about 0.22; the other threshold does not."""
    found = on_small(package, bright_is_mine, *small)
    others = found.lookalikes["other_negatives"]
    assert (others.n, others.called_mine, others.called_mine_strict) == (9, 1, 0)
    assert 0.25 < found.mine.operating_points[-1].threshold < 0.8
    hills = found.campaigns["hills"]
    assert (hills.n, hills.called_mine) == (8, 1)


@pytest.fixture
def mine_only(tmp_path):
    return Package(tmp_path, card(MINE_ONLY, gsd=10.0, name="mine-only"))


def test_a_model_that_knows_only_mines_is_measured_by_them(mine_only, kaggle):
    """Its chips see 480 m, Kaggle's show 870 m: four parts each, of which the highest score counts."""
    seen = []

    def detect(chips):
        scores = np.full((len(chips), 1), 0.1, np.float32)
        for i in range(len(chips)):
            chip, part = divmod(sum(seen) + i, 4)
            if MINE in kaggle_dir.tags(chip) and part == 3:
                scores[i] = 0.8
        seen.append(len(chips))
        return scores

    found = on_kaggle(mine_only, detect, kaggle)
    assert sum(seen) == 20 * 4
    assert list(found.labels) == [MINE]
    assert (found.mine.n, found.mine.n_other, found.mine.ap) == (4, 16, 1)
    assert found.f2 is found.f2_all is None


def test_labels_that_kaggle_has_not_are_refused(tmp_path, kaggle):
    spec = DenseNetSpec(blocks=(1,), growth=1, stem=1, heads=(Head("land", (MINE, "volcano"), "sigmoid"),))
    with pytest.raises(PackageError, match="volcano"):
        on_kaggle(Package(tmp_path, card(spec)), Oracle(), kaggle)


def test_the_order_of_a_cards_labels_does_not_matter(tmp_path, package, kaggle):
    turned = DenseNetSpec(blocks=(1,), growth=1, stem=1, heads=tuple(reversed(SPEC.heads)))
    order = [LABELS.index(label) for label in turned.labels]
    oracle = Oracle(wrong=0.15)
    one = on_kaggle(package, Oracle(wrong=0.15), kaggle)
    two = on_kaggle(Package(tmp_path, card(turned)), lambda chips: oracle(chips)[:, order], kaggle)
    assert one == two


def test_nothing_readable_is_an_error(package, small):
    folder, index = small
    for file in folder.iterdir():
        file.write_bytes(b"no image")
    with pytest.raises(DatasetError, match="none of the 12 chips"):
        on_small(package, bright_is_mine, folder, index)


def test_says_which_chips_are_filled_up(small, tmp_path, caplog):
    """At the model's resolution, and once; parts at the edge of a larger chip are as in a scan."""
    Image.open(small[0] / "3.png").resize((47, 60)).save(small[0] / "3.png")
    Image.open(small[0] / "4.png").resize((60, 60)).save(small[0] / "4.png")
    package = Package(tmp_path, card(MINE_ONLY))
    score([(package, lambda chips: np.zeros((len(chips), 1), np.float32))], small_sample(*small))
    said = [record.getMessage() for record in caplog.records if "filled up by reflection" in record.getMessage()]
    assert len(said) == 1
    assert said[0].startswith(f"1 chips are smaller than the 48 x 48 px of {package.card.name} (3.png)")
