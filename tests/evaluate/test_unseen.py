import json
from dataclasses import replace

import kaggle_dir
import numpy as np
import pytest
import small_chips
from click.testing import CliRunner
from tiny_model import card

from geoscan.cli import main
from geoscan.data.material import Split, gather, gather_small
from geoscan.errors import DatasetError, PackageError
from geoscan.evaluate.sample import kaggle_sample, partial_sample
from geoscan.evaluate.unseen import unseen
from geoscan.model.origin import TrainedOn
from geoscan.model.package import Package
from geoscan.model.spec import MINE_HEADS, DenseNetSpec

MINES = DenseNetSpec(blocks=(1,), growth=1, stem=1, chip=16, heads=MINE_HEADS)
PLANET = DenseNetSpec(blocks=(1,), growth=1, stem=1)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return small_chips.make(tmp_path_factory.mktemp("small"), 24, places=6, side=16)


@pytest.fixture(scope="module")
def kaggle(tmp_path_factory):
    return kaggle_dir.make(tmp_path_factory.mktemp("kaggle") / "kaggle", 40)


def package(path, spec, split):
    return Package(path, card(spec, data=TrainedOn(split=dict(split))))


def chips(text):
    """How many chips a report is of."""
    mine = json.loads(text)["figures"]["mine"]
    return mine["n"] + mine["n_other"]


def dealt(small, split, cache):
    """What training makes of the chips."""
    return gather_small(small, card(MINES).preprocess, split, cache=cache)


def test_the_held_out_chips_of_kaggle_are_those_of_the_training(kaggle, cache, tmp_path):
    preprocess = card(PLANET).preprocess
    made = gather(kaggle, preprocess, Split(3, 0.3), small=None, cap=2, cache=cache)
    _, rows = made.sides()
    kept = unseen(package(tmp_path, PLANET, made.split), kaggle_sample(kaggle), kaggle, cache)
    assert 5 < len(kept) < 20
    assert set(kept.names) == {made.names[i] for i in rows}
    np.testing.assert_array_equal(kept.targets, made.targets[[made.names.index(name) for name in kept.names]])
    np.testing.assert_array_equal(
        kept.read(1), kaggle_sample(kaggle).read(kaggle_sample(kaggle).names.index(kept.names[1]))
    )


def test_a_network_of_one_fold_has_not_seen_that_fold(small, cache, tmp_path):
    made = dealt(small, Split(folds=3), cache)
    for fold in range(3):
        split = {**made.split, "without": fold + 1}
        kept = unseen(package(tmp_path, MINES, split), partial_sample(*small), small, cache)
        assert set(kept.names) == {made.names[i] for i in made.sides(fold)[1]}
        assert not {"broken.png"} & set(kept.names)


def test_what_learned_from_all_chips_or_from_others_is_refused(small, kaggle, cache, tmp_path):
    sample, halves = partial_sample(*small), dealt(small, Split(held_out=0.34), cache).split
    folds = dealt(small, Split(folds=3), cache).split
    for split, error, words in (
        (folds, PackageError, "has learned from all chips; .*--keep-folds"),
        ({}, PackageError, "does not say which chips it has not seen"),
        ({**halves, "cap": 100}, PackageError, "are of chips from --kaggle-dir; pass that"),
        ({**halves, "data": "other"}, DatasetError, "was trained on other chips than these"),
    ):
        with pytest.raises(error, match=words) as caught:
            unseen(package(tmp_path, MINES, split), sample, small, cache)
        assert "\n" not in str(caught.value)
    with pytest.raises(PackageError, match="are of chips from --chips and --index; pass that"):
        unseen(package(tmp_path, MINES, halves), kaggle_sample(kaggle), kaggle, cache)


def test_the_command_judges_by_unseen_chips_alone(small, cache, monkeypatch, tmp_path):
    made = dealt(small, Split(held_out=0.34), cache)
    one = package(tmp_path, MINES, made.split)
    folded = {**dealt(small, Split(folds=3), cache).split, "without": 1}
    other = replace(one, card=replace(one.card, data=TrainedOn(split=folded)))
    named = {"one": one, "other": other}
    monkeypatch.setattr("geoscan.model.package.find", named.__getitem__)
    monkeypatch.setattr(
        "geoscan.model.runtime.detector",
        lambda *_: lambda chips: chips.mean((1, 2, 3))[:, None].astype(np.float32) / 255,
    )
    words = ["evaluate", "--chips", str(small[0]), "--index", str(small[1]), "--cache", str(cache), "--unseen", "-q"]
    words.append("--json")
    result = CliRunner().invoke(main, [*words, "--model", "one"])
    assert result.exit_code == 0, result.output
    held_out = {made.names[i] for i in made.sides()[1]}
    assert chips(result.stdout) == len(held_out)
    assert result.stderr.count("broken.png cannot be read") == 1
    fold = {made.names[i] for i in dealt(small, Split(folds=3), cache).sides(0)[1]}
    result = CliRunner().invoke(main, [*words, "--model", "one", "--against", "other"])
    assert result.stderr.count("broken.png cannot be read") == 1, "what both models' chips lack is said once"
    if held_out & fold:
        assert chips(result.stdout) == len(held_out & fold)
    else:
        assert result.exit_code == 1
        assert "no chip was kept out of the training of both" in result.stderr
