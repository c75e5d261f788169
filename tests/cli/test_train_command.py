"""`geoscan train`: what it refuses; training itself is tested in tests/train."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import small_chips
from click.testing import CliRunner

from geoscan.cli import main
from geoscan.dark_channel import DarkChannel
from geoscan.data.sources import ChipsSource, KaggleSource, TrainingData
from geoscan.dehazing import DarkLevel
from geoscan.errors import DatasetError
from geoscan.model.preprocess import Preprocess
from geoscan.model.shipped import find
from geoscan.model.spec import MINE_HEADS, PRESETS, DenseNetSpec, preset
from geoscan.model.split import Split

SMALL = ChipsSource(Path("chips.zip"), Path("labels/train_v2.csv"))


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    """An empty directory, and one that holds labels without chips."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/train_v2.csv").write_text("image_name,tags\ntrain_0,clear primary\n")
    (tmp_path / "chips.zip").write_bytes(b"no archive")
    (tmp_path / "reviewed").mkdir()
    (tmp_path / "reviewed/index.csv").write_text("file,label\n")


def refused(*words, tmp_path) -> str:
    before = sorted(tmp_path.rglob("*"))
    result = CliRunner().invoke(main, ["train", *words], prog_name="geoscan")
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("geoscan: ")
    assert result.stderr.count("\n") == 1, result.stderr
    assert sorted(tmp_path.rglob("*")) == before
    return result.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "Missing option '--out'"),
        ("--kaggle-dir empty", "Missing option '--out'"),
        ("--out m", "pass --kaggle-dir, or --chips and --index, or all three"),
        ("--kaggle-dir nowhere --out m", "Directory 'nowhere' does not exist"),
        ("--kaggle-dir chips.zip --out m", "chips.zip"),
        ("--kaggle-dir empty --out m --epochs 0", "0 is not in the range x>=1"),
        ("--kaggle-dir empty --out m --held-out 1", "1.0 is not in the range 0<x<1"),
        ("--kaggle-dir empty --out m --folds 1", "1 is not in the range x>=2"),
        ("--kaggle-dir empty --out m --rate 0", "0.0 is not in the range x>0"),
        ("--kaggle-dir empty --out m --batch none", "'none' is not a valid integer"),
        ("--kaggle-dir empty --out m --gsd 0", "0.0 is not in the range x>0"),
        ("--kaggle-dir empty --out m --clear 2", "2.0 is not in the range 0<=x<=1"),
        ("--kaggle-dir empty --out m --keep-folds", "pass that too"),
        ("--kaggle-dir empty --out m --dehaze wildly", "'wildly' is not one of 'wide', 'local', 'none'"),
        ("--kaggle-dir empty --out m --preset huge", "'huge' is not one of 'densenet121', 'compact', 'compact-small'"),
        ("--kaggle-dir empty --out m --pretrain nowhere", "Path 'nowhere' does not exist"),
        ("--kaggle-dir empty --out m --pretrain-epochs 0", "0 is not in the range x>=1"),
        ("--kaggle-dir empty --out m --chips chips.zip", "pass --kaggle-dir, or --chips and --index, or all three"),
        ("--kaggle-dir empty --out m --index chips.zip", "pass --kaggle-dir, or --chips and --index, or all three"),
        ("--chips chips.zip --out m", "pass --kaggle-dir, or --chips and --index, or all three"),
        ("--kaggle-dir empty --out m --licence MIT", "--licence is that of --chips; pass those too"),
        ("--kaggle-dir empty --out m --dehase", "Did you mean"),
        ("empty m", "Missing option '--out'"),
        ("--tune sentinel2 --out m", "pass --kaggle-dir, or --chips and --index"),
        ("--tune sentinel2 --kaggle-dir empty --replay empty --out m", "--kaggle-dir does not go with --tune"),
        ("--tune sentinel2 --chips reviewed --out m", "--tune needs --chips, those that were reviewed, and --replay"),
        ("--replay empty --chips reviewed --out m", "--tune needs --chips"),
        ("--tune sentinel2 --chips reviewed --replay empty --out m --epochs 9", "--epochs does not go with --tune"),
        ("--tune sentinel2 --chips reviewed --replay none --out m", "Path 'none' does not exist"),
    ],
)
def test_misuse_is_refused(words, message, tmp_path):
    assert message in refused(*words.split(), tmp_path=tmp_path)


@pytest.mark.large
@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--kaggle-dir empty --out m", "empty holds no train_v2.csv"),
        ("--kaggle-dir labels --out m", "labels"),
        ("--kaggle-dir empty --out m --resume", "nothing to resume"),
        ("--chips chips.zip --index labels/train_v2.csv --out m", "neither a directory nor a readable zip archive"),
    ],
)
def test_data_that_cannot_be_used_are_refused(words, message, tmp_path):
    assert message in refused(*words.split(), "--cache", str(tmp_path / "empty"), tmp_path=tmp_path)


@pytest.fixture
def asked(monkeypatch):
    """Return what a run is asked for, in place of running it."""

    from geoscan.train import run as room

    def ask(*words):
        calls = []

        def run(recipe, data, job):
            calls.append((recipe, data, job))
            raise DatasetError("asked")

        monkeypatch.setattr(room, "run", run)
        result = CliRunner().invoke(main, ["train", "--out", "m", *words], prog_name="geoscan")
        assert "asked" in result.stderr, result.output
        return calls[0]

    return ask


def test_without_options_a_run_is_plain(asked):
    recipe, data, job = asked("--kaggle-dir", "labels")
    assert data == TrainingData(KaggleSource(Path("labels")))
    assert recipe.spec == PRESETS["compact"]
    assert recipe.preprocess == Preprocess(256, 3.4, "visual", DarkLevel())
    assert (recipe.init, recipe.distill, recipe.pretrain_epochs) == ("sentinel2", (), 0)
    assert recipe.split == Split(0, 0.2, None, 100)
    assert (recipe.augmentation.clear, recipe.augmentation.offset) == (0.0, 30)
    assert (recipe.schedule.epochs, recipe.schedule.patience, recipe.schedule.keep) == (60, 20, "best")
    assert not job.resume


def test_chips_alone_are_sentinel_2_at_10_m_of_which_mines_are_known(asked):
    recipe, data, _ = asked("--chips", "chips.zip", "--index", "labels/train_v2.csv", "--unchecked", "GeoCompass")
    assert data == TrainingData(SMALL)
    assert recipe.spec == preset("compact-small", MINE_HEADS)
    assert recipe.split.unchecked == ("GeoCompass",)
    assert recipe.spec.labels == ("artisinal_mine",)
    assert recipe.preprocess == Preprocess(48, 10.0, "sentinel2-l1c", DarkLevel())
    assert (recipe.augmentation.clear, recipe.augmentation.offset) == (0.5, 60)
    assert (recipe.batch, recipe.mixed, recipe.unlabelled) == (32, 10, 12), "which leaves ten of the labelled chips"


def test_only_the_architecture_of_the_model_for_10_m_begins_with_its_weights(asked):
    for words, wanted in (
        ("--kaggle-dir labels --preset compact", "sentinel2"),
        ("--kaggle-dir labels --init none", "none"),
        ("--kaggle-dir labels --chips reviewed", "none"),
        ("--kaggle-dir labels --chips reviewed --folds 5", "sentinel2"),
        ("--kaggle-dir labels --preset densenet121", "none"),
        ("--chips reviewed", "none"),
    ):
        assert asked(*words.split())[0].init == wanted, words
    shipped, compact = find("sentinel2").card.spec, PRESETS["compact"]
    assert replace(shipped, chip=256, side=None, shrink=2, heads=compact.heads) == compact


def test_a_folder_of_chips_may_hold_its_index(asked):
    _, data, _ = asked("--chips", "reviewed")
    assert data == TrainingData(ChipsSource(Path("reviewed"), Path("reviewed/index.csv")))


def test_every_option_reaches_the_recipe(asked):
    words = "--kaggle-dir labels --chips chips.zip --index labels/train_v2.csv --preset lite1 --init imagenet "
    words += "--pretrain empty --pretrain-epochs 4 --unlabelled labels --licence MIT "
    words += "--distill one --distill two --epochs 4 --patience 3 --batch 7 "
    words += "--rate 0.5 --seed 9 --folds 3 --cap-cloudy 5 --dehaze local --clear 0.25 "
    words += "--gsd 3 --cache empty --resume --keep-folds --tta"
    recipe, data, job = asked(*words.split())
    assert data == TrainingData(
        KaggleSource(Path("labels")), replace(SMALL, licence="MIT"), Path("empty"), Path("labels")
    )
    assert recipe.spec == PRESETS["lite1"]
    assert recipe.preprocess == Preprocess(256, 3.0, "visual", DarkChannel())
    assert (recipe.init, recipe.pretrain_epochs, recipe.distill) == ("imagenet", 4, ("one", "two"))
    assert recipe.tta
    schedule = recipe.schedule
    assert (schedule.epochs, schedule.patience, schedule.rate, schedule.warmup) == (4, 3, 0.5, 0.5)
    assert recipe.batch == 7
    assert recipe.split == Split(9, folds=3, cloudy_cap=5)
    assert recipe.augmentation.clear == 0.25
    assert (job.out, job.cache, job.resume, job.keep_folds) == (Path("m"), Path("empty"), True, True)


TINY = DenseNetSpec(blocks=(1,), growth=4, stem=4, chip=16, stem_stride=1)


@pytest.mark.large
def test_chips_alone_give_a_package_and_one_line(tmp_path, monkeypatch):

    from geoscan.model import spec

    monkeypatch.setattr(spec, "PRESETS", {"compact-small": TINY})
    archive, index = small_chips.make(tmp_path / "small", 24, places=6, side=16, broken=False)
    package = ["card.json", "card.md", "network.bin", "network.xml", "weights.keras"]
    words = f"--chips {archive} --index {index} --epochs 2 --batch 8 --cache empty -q"
    for out, more in (("m", ""), ("n", "--folds 2")):
        command = ["train", *words.split(), "--out", out, *more.split()]
        result = CliRunner().invoke(main, command, prog_name="geoscan")
        assert result.exit_code == 0, result.output
        folds = ", mean of 2 folds" if more else ""
        assert re.fullmatch(rf"{out}: mine AP \d\.\d\d{folds} \(\d+ mines, \d+ other\)\n", result.stdout)
        assert ("(12 mines, 12 other)" in result.stdout) == bool(more)
        assert sorted(path.name for path in Path(out).iterdir()) == package
