import json
from dataclasses import replace

import kaggle_dir
import numpy as np
import pytest
import small_chips
from click.testing import CliRunner
from tiny_model import card

from geoscan.cli import main
from geoscan.data import kaggle as room
from geoscan.data.kaggle import read_chip
from geoscan.data.labelled import read_chips
from geoscan.data.material import gather
from geoscan.data.sources import ChipsSource, KaggleSource, TrainingData
from geoscan.errors import DatasetError, PackageError
from geoscan.evaluate.unseen import unseen, unseen_by_all
from geoscan.model.package import Package
from geoscan.model.spec import MINE_HEADS, DenseNetSpec
from geoscan.model.split import Split

MINES = DenseNetSpec(blocks=(1,), growth=1, stem=1, chip=16, heads=MINE_HEADS)
PLANET = DenseNetSpec(blocks=(1,), growth=1, stem=1)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return ChipsSource(*small_chips.make(tmp_path_factory.mktemp("small"), 24, places=6, side=16))


@pytest.fixture(scope="module")
def kaggle(tmp_path_factory):
    return KaggleSource(kaggle_dir.make(tmp_path_factory.mktemp("kaggle") / "kaggle", 40))


def package(path, spec, split):
    return Package(path, card(spec, split=split))


def trained_on(source, split, cache):
    """What a training makes of the chips."""
    spec = MINES if isinstance(source, ChipsSource) else PLANET
    return gather(TrainingData(source), card(spec).preprocess, split, cache)


def measured(text):
    """How many chips a report is of."""
    mine = json.loads(text)["figures"]["mine"]
    return mine["n"] + mine["n_other"]


def validated(made, without=None):
    return {made.names[i] for i in made.sides(without)[1]}


def test_the_held_out_chips_of_kaggle_are_those_of_the_training(kaggle, tmp_path, monkeypatch):
    """Whether or not the training's prepared chips are still there; where they are, no chip is decoded."""
    made = trained_on(kaggle, Split(3, 0.3, cloudy_cap=2), tmp_path / "cache")
    one, chips, decoded = package(tmp_path, PLANET, made.split), read_chips(kaggle), []
    assert 5 < len(validated(made)) < 20
    monkeypatch.setattr(room, "read_chip", lambda path: decoded.append(path) or read_chip(path))
    assert unseen(one, chips, tmp_path / "cache") == validated(made)
    assert decoded == []
    assert unseen(one, chips, tmp_path / "empty") == validated(made)
    assert len(decoded) == len(made.names)
    assert not (tmp_path / "empty").exists()
    kept = unseen_by_all([one, one], chips, tmp_path / "cache")
    assert set(kept.names) == validated(made)
    np.testing.assert_array_equal(kept.targets, made.targets[[made.names.index(name) for name in kept.names]])


def test_a_network_of_one_fold_has_not_seen_that_fold(small, cache, tmp_path, monkeypatch):
    """Campaigns, and pixels that the training has left, tell the places: one that cannot be read is among them, too."""
    made, chips = trained_on(small, Split(folds=3), cache), read_chips(small)
    monkeypatch.setattr(type(chips), "read", None)
    for fold in range(3):
        found = unseen(package(tmp_path, MINES, made.split.without_fold(fold)), chips, cache)
        assert found - {"broken.png"} == validated(made, fold)


def test_what_learned_from_all_chips_or_from_others_is_refused(small, kaggle, cache, tmp_path):
    halves, folds = (trained_on(small, split, cache).split for split in (Split(held_out=0.34), Split(folds=3)))
    for split, error, words in (
        (folds, PackageError, "has learned from all chips; .*--keep-folds"),
        (None, PackageError, "does not say which chips it has not seen"),
        (replace(halves, kind="kaggle"), PackageError, "are of chips from --kaggle-dir; pass that"),
        (replace(halves, data="other"), DatasetError, "was trained on other chips than these"),
    ):
        with pytest.raises(error, match=words) as caught:
            unseen(package(tmp_path, MINES, split), read_chips(small), cache)
        assert "\n" not in str(caught.value)
    with pytest.raises(PackageError, match="are of chips from --chips and --index; pass that"):
        unseen(package(tmp_path, MINES, halves), read_chips(kaggle), cache)


def test_chips_of_other_campaigns_than_in_training_are_refused(cache, tmp_path):
    """Names and labels are as they were, and still the model has seen other chips than the split would say now."""
    source = ChipsSource(*small_chips.make(tmp_path / "chips", 24, places=6, side=16, broken=False))
    made = trained_on(source, Split(held_out=0.34), cache)
    one = package(tmp_path, MINES, made.split)
    assert unseen(one, read_chips(source), cache) == validated(made)
    rows = [line.rsplit(",", 1)[0] for line in source.index.read_text().splitlines()]
    source.index.write_text("\n".join(rows) + "\n")
    with pytest.raises(DatasetError, match=r"another division of these chips .* the campaigns in the index") as caught:
        unseen(one, read_chips(source), cache)
    assert "\n" not in str(caught.value)
    earlier = package(tmp_path, MINES, replace(made.split, parts=""))
    assert unseen(earlier, read_chips(source), cache), "a card of an earlier version does not tell"


def test_chips_that_adjoin_others_than_in_training_are_refused(tmp_path):
    """One that cannot be read any more adjoins none, and all are dealt anew."""
    source = KaggleSource(kaggle_dir.make(tmp_path / "kaggle", 16))
    twin, cut = (source.directory / "train-jpg" / f"train_{i}.jpg" for i in (5, 13))
    cut.write_bytes(twin.read_bytes())
    made = trained_on(source, Split(1, held_out=0.3), tmp_path / "cache")
    one = package(tmp_path, PLANET, made.split)
    assert unseen(one, read_chips(source), tmp_path / "cache") == validated(made)
    cut.write_bytes(cut.read_bytes()[:2000])
    with pytest.raises(DatasetError, match=r"another division of these chips .* the chips that can be read"):
        unseen(one, read_chips(source), tmp_path / "cache")


def test_the_command_measures_by_unseen_chips_alone(small, cache, monkeypatch, tmp_path):
    """What is wrong with the chips is said once."""
    made, folded = (trained_on(small, split, cache) for split in (Split(held_out=0.34), Split(folds=3)))
    named = {
        "one": package(tmp_path, MINES, made.split),
        "other": package(tmp_path, MINES, folded.split.without_fold(0)),
    }
    monkeypatch.setattr("geoscan.model.shipped.find", named.__getitem__)
    monkeypatch.setattr(
        "geoscan.model.runtime.detector",
        lambda *_: lambda chips: chips.mean((1, 2, 3))[:, None].astype(np.float32) / 255,
    )
    words = ["evaluate", "--chips", str(small.chips), "--index", str(small.index), "--cache", str(cache), "--unseen"]
    words.append("--json")
    result = CliRunner().invoke(main, [*words, "--model", "one"])
    assert result.exit_code == 0, result.output
    assert measured(result.stdout) == len(validated(made))
    held_out = unseen(named["one"], read_chips(small), cache)
    assert result.stderr.count("broken.png cannot be read") == ("broken.png" in held_out)
    both = validated(made) & validated(folded, 0)
    result = CliRunner().invoke(main, [*words, "--model", "one", "--against", "other"])
    if both:
        assert measured(result.stdout) == len(both)
    else:
        assert result.exit_code == 1
        assert "no chip was kept out of the training of both" in result.stderr
