import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import kaggle_dir
import numpy as np
import pytest
import small_chips
from PIL import Image

from geoscan import __version__
from geoscan.data.kaggle import read_chip, read_kaggle
from geoscan.data.sources import ChipsSource, KaggleSource, TrainingData
from geoscan.errors import DatasetError
from geoscan.evaluate.figures import Answers, figures
from geoscan.labels import LABELS
from geoscan.model.backend import tf
from geoscan.model.origin import SmallChips
from geoscan.model.package import CARD, MARKDOWN, NETWORK, WEIGHTS, load
from geoscan.model.preprocess import Preprocess
from geoscan.model.spec import DenseNetSpec
from geoscan.model.split import Split
from geoscan.model.tensorflow_runtime import NetworkDetector, TensorFlowDetector
from geoscan.train.augment import Augmentation
from geoscan.train.job import CHECKPOINT, Job
from geoscan.train.loop import Schedule
from geoscan.train.mosaics import Mosaics
from geoscan.train.recipe import Recipe
from geoscan.train.run import material_of, open_run, run
from geoscan.train.scoring import score

SPEC = DenseNetSpec(blocks=(1, 1), growth=4, stem=8, shrink=8, stem_stride=2, dropout=0.0)
RECIPE = Recipe(
    spec=SPEC,
    preprocess=Preprocess(256, 3.4, "visual", None),
    schedule=Schedule(epochs=10, rate=0.03, warmup=1, average=0.5),
    augmentation=Augmentation(zoom=1, gain=1.05, haze=0),
    batch=10,
    split=Split(held_out=0.3),
)


def planet(directory, small=None, **more):
    return TrainingData(KaggleSource(directory), small and ChipsSource(*small), **more)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return kaggle_dir.make(tmp_path_factory.mktemp("run") / "kaggle", 60)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def trained(root, cache, tmp_path_factory):
    return run(RECIPE, planet(root), Job(tmp_path_factory.mktemp("out") / "colours", cache))


@pytest.fixture
def untraced():
    """Run step by step: to trace a graph takes longer than an epoch of a few steps."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def test_learns_what_can_be_learned(trained):
    _, outcome = trained
    f2 = [figures["f2"] for figures in outcome.history]
    assert max(f2) > f2[0]
    assert max(f2) > 0.9


def test_writes_a_package_that_loads_and_nothing_else(trained):
    package, _ = trained
    assert sorted(path.name for path in package.path.iterdir()) == [CARD, MARKDOWN, "network.bin", NETWORK, WEIGHTS]
    card = load(package.path).card
    assert card.name == "colours"
    assert card.spec == SPEC
    assert card.preprocess == RECIPE.preprocess
    assert card.digest == package.card.digest


def test_the_card_holds_figures_facts_and_history(trained):
    package, outcome = trained
    card = load(package.path).card
    f2 = card.figures.f2
    assert f2.n + 1 <= card.figures.f2_all.n == card.data.validation_chips
    assert 0.9 < f2.tuned <= 1
    assert f2.constant < f2.tuned
    assert f2.tuned_interval[0] <= f2.tuned <= f2.tuned_interval[1]
    assert f2.fixed_interval[0] <= f2.fixed <= f2.fixed_interval[1]
    assert set(card.figures.labels) == set(LABELS)
    assert card.figures.labels["primary"].n == card.data.validation_positives["primary"]
    assert card.figures.headline == f"F2 {f2.tuned:.3f} on {f2.n} chips"
    assert len(card.training.history) == len(outcome.history)
    assert card.training.best_epoch == outcome.best_epoch
    assert card.training.recipe["batch"] == 10
    assert "last_layer" not in card.training.recipe
    assert card.training.geoscan == __version__
    assert card.training.keras
    assert not card.training.interrupted


def test_the_package_finds_what_it_was_taught(trained, root):
    """Chips from disk, through the card's preprocessing and the scan's runtime."""
    package, _ = trained
    chips = read_kaggle(root)
    pixels = np.stack([package.card.preprocess(read_chip(path)) for path in chips.paths])
    scores = TensorFlowDetector(package, batch=16, compiled=False)(pixels)
    chosen = np.array([package.card.thresholds[label] for label in package.card.labels])
    assert ((scores >= chosen) == (chips.targets == 1)).mean() > 0.95


def test_thresholds_and_figures_come_from_chips_that_were_not_trained_on(trained, root, cache):
    package, _ = trained
    made = material_of(RECIPE, planet(root), cache)
    _, rows = made.sides()
    scores = score(NetworkDetector(package.network(), SPEC), SPEC.labels, RECIPE.preprocess, made.chips, rows)
    wanted = figures(package.card, Answers(made.targets[rows], scores, places=made.groups[rows]))
    assert package.card.figures.f2_all.tuned == pytest.approx(wanted.f2_all.tuned, abs=1e-6)


@pytest.mark.large
def test_a_network_that_learned_in_bfloat16_is_judged_as_scans_run_it(root, cache, tmp_path, monkeypatch, untraced):
    monkeypatch.setattr("geoscan.train.start.policy", lambda spec: "mixed_bfloat16")
    recipe = replace(RECIPE, split=Split(folds=2), schedule=replace(RECIPE.schedule, epochs=1))
    opened = open_run(recipe, planet(root), Job(tmp_path / "out", cache))
    trained = opened.train(0)
    assert {layer.compute_dtype for layer in trained.network.layers} == {"float32"}
    _, rows = opened.material.sides(0)
    detect = NetworkDetector(trained.network, SPEC)
    wanted = score(detect, SPEC.labels, RECIPE.preprocess, opened.material.chips, rows)
    assert np.array_equal(trained.scores.scores, wanted)
    learned = opened.start.network(0)
    assert {layer.compute_dtype for layer in learned.layers} == {"bfloat16", "float32"}
    learned.set_weights(trained.network.get_weights())
    near = score(NetworkDetector(learned, SPEC), SPEC.labels, RECIPE.preprocess, opened.material.chips, rows)
    assert near == pytest.approx(wanted, abs=0.05)
    assert not np.array_equal(near, wanted)


def test_validation_sees_chips_as_they_are(root, cache, tmp_path, monkeypatch, untraced):
    """Augmentation is for training alone: with a wild one, the chips that are scored are those of the cache."""
    seen = []

    def watched(detect, labels, preprocess, chips, rows=None):
        seen.append(np.array(chips[rows]))
        return np.random.default_rng(0).uniform(size=(len(rows), len(LABELS))).astype(np.float32)

    monkeypatch.setattr("geoscan.train.trainer.score", watched)
    recipe = replace(RECIPE, augmentation=Augmentation(), schedule=replace(RECIPE.schedule, epochs=1))
    run(recipe, planet(root), Job(tmp_path / "out", cache))
    made = material_of(RECIPE, planet(root), cache)
    assert len(seen) == 2
    for chips in seen:
        np.testing.assert_array_equal(chips, made.chips[made.sides()[1]])


def test_scores_come_in_kaggles_order_whatever_the_batch(trained, root, cache):
    package, _ = trained
    made = material_of(RECIPE, planet(root), cache)
    network = package.network()
    whole = score(NetworkDetector(network, SPEC), SPEC.labels, RECIPE.preprocess, made.chips)
    assert whole.shape == (60, 17)
    np.testing.assert_allclose(whole[:, :4].sum(axis=1), 1, atol=1e-5)
    single = NetworkDetector(network, SPEC, batch=1)
    np.testing.assert_allclose(
        score(single, SPEC.labels, RECIPE.preprocess, made.chips, np.array([7, 3])), whole[[7, 3]], atol=1e-5
    )


def test_refuses_what_cannot_be_split(tmp_path, cache):
    with pytest.raises(DatasetError) as caught:
        run(RECIPE, planet(kaggle_dir.make(tmp_path / "one", 1)), Job(tmp_path / "out", cache))
    assert "\n" not in str(caught.value)
    cloudy = kaggle_dir.make(tmp_path / "cloudy", 8)
    rows = [f"train_{i},cloudy" for i in range(8)]
    (cloudy / "train_v2.csv").write_text("\n".join(["image_name,tags", *rows]) + "\n")
    with pytest.raises(DatasetError, match="0 that are not only cloudy to validate"):
        run(RECIPE, planet(cloudy), Job(tmp_path / "out", cache))
    assert not (tmp_path / "out").exists()


def geoscan(*words, interfere=(), **options):
    """Run `geoscan train` in a process of its own, with the tiny preset."""
    tests = Path(__file__).parents[1]
    return subprocess.run(
        [sys.executable, tests / "train_tiny.py", "train", "--preset", "tiny", *map(str, words)],
        capture_output=True,
        text=True,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": "-1"} | dict(interfere),
        **options,
    )


def one_line(done, status, *parts):
    assert done.returncode == status, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("geoscan: ")]
    assert len(lines) == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert all(part in lines[0] for part in parts), lines[0]


@pytest.fixture
def options(root, cache, tmp_path):
    """Give the options of a short training."""
    words = ["--epochs", "4", "--batch", "16", "--held-out", "0.3", "--rate", "0.01", "-q"]
    return ["--kaggle-dir", root, "--out", tmp_path / "out", "--cache", cache, *words]


@pytest.mark.large
def test_wrong_data_are_one_clear_line_each(tmp_path, cache, root):
    """An empty directory, a wrong table, and chips of which none can be read."""
    empty = tmp_path / "empty"
    empty.mkdir()
    wrong = tmp_path / "wrong"
    shutil.copytree(root, wrong)
    (wrong / "train_v2.csv").write_text("id,label\n1,road\n")
    broken = kaggle_dir.make(tmp_path / "broken", 3)
    for path in (broken / "train-jpg").iterdir():
        path.write_bytes(path.read_bytes()[:700])
    code = "\n".join(
        [
            "import sys",
            "from geoscan.cli import main",
            "for directory in sys.argv[3:]:",
            "    try:",
            "        main(['train', '--kaggle-dir', directory, '--out', sys.argv[1], '--cache', sys.argv[2]])",
            "    except SystemExit as end:",
            "        print(end.code)",
        ]
    )
    out = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, "-c", code, out, cache, empty, wrong, broken], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["2", "2", "2"]
    lines = [line for line in done.stderr.splitlines() if line.startswith("geoscan: ")]
    assert len(lines) == 3
    assert "holds no train_v2.csv" in lines[0]
    assert "it needs image_name,tags" in lines[1]
    assert "none of the 3 chips" in lines[2]
    assert "Traceback" not in done.stderr
    assert not out.exists()


@pytest.mark.large
def test_killed_and_resumed_gives_the_same_model(options, tmp_path, cache):
    whole = geoscan(*options)
    assert whole.returncode == 0, whole.stderr
    expected = load(tmp_path / "out")
    shutil.move(tmp_path / "out", tmp_path / "whole")
    killed = geoscan(*options, interfere={"GEOSCAN_TEST_SIGNAL": "9@5"})  # 2 steps an epoch
    assert killed.returncode == -9
    assert [path.name for path in (tmp_path / "out").iterdir()] == [CHECKPOINT]
    one_line(geoscan(*options, "--resume", "--rate", "0.02"), 2, "rate was 0.01, now 0.02", "another --out")
    resumed = geoscan(*options, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    found = load(tmp_path / "out")
    assert found.card.training.best_epoch == expected.card.training.best_epoch
    for epoch, wanted in zip(found.card.training.history, expected.card.training.history, strict=True):
        assert epoch == pytest.approx(wanted, abs=1e-6)
    weights = load(tmp_path / "whole").network().get_weights()
    for one, other in zip(found.network().get_weights(), weights, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    assert not (tmp_path / "out" / CHECKPOINT).exists()


@pytest.mark.large
def test_ctrl_c_keeps_the_best_epoch(options, tmp_path):
    done = geoscan(*options, interfere={"GEOSCAN_TEST_SIGNAL": "2@5"})
    assert done.returncode == 1, done.stderr
    assert "interrupted; of the epochs so far" in done.stderr
    assert "Traceback" not in done.stderr
    card = load(tmp_path / "out").card
    assert card.training.interrupted
    assert len(card.training.history) == 2
    resumed = geoscan(*options, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert len(load(tmp_path / "out").card.training.history) == 4


@pytest.mark.large
def test_ctrl_c_in_the_first_epoch_writes_nothing(options, tmp_path):
    one_line(geoscan(*options, interfere={"GEOSCAN_TEST_SIGNAL": "2@1"}), 1, "interrupted")
    assert not (tmp_path / "out").exists()


@pytest.mark.large
def test_a_full_disk_is_one_line(options, tmp_path):
    done = geoscan(*options, interfere={"GEOSCAN_TEST_FILE_SIZE": "10000"})
    one_line(done, 1, "checkpoint", "could not be written: File too large")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.large
def test_nothing_to_resume_is_said_before_training(options, tmp_path):
    one_line(geoscan(*options, "--resume"), 2, "nothing to resume")
    assert not (tmp_path / "out").exists()


def test_a_truncated_chip_is_named_and_training_goes_on(root, tmp_path, caplog, untraced):
    copy = Path(shutil.copytree(root, tmp_path / "copy"))
    path = copy / "train-jpg" / "train_7.jpg"
    path.write_bytes(path.read_bytes()[:1500])
    recipe = replace(RECIPE, schedule=replace(RECIPE.schedule, epochs=1))
    package, _ = run(recipe, planet(copy), Job(tmp_path / "out", tmp_path / "cache"))
    assert sum("train_7.jpg" in record.getMessage() for record in caplog.records) == 1
    assert package.card.data.training_chips + package.card.data.validation_chips == 59


@pytest.mark.large
def test_mosaics_of_small_chips_are_learned_and_measured(root, cache, tmp_path, untraced):
    recipe = replace(RECIPE, schedule=replace(RECIPE.schedule, epochs=1), batch=24)
    small = small_chips.make(tmp_path / "chips", places=6, side=48)
    package, _ = run(recipe, planet(root, (*small, "MIT")), Job(tmp_path / "out", cache))
    card = load(package.path).card
    assert card.figures.mosaics.n + card.figures.mosaics.n_other == 256
    assert card.data.small_chips == SmallChips("small.zip", 8, 8, "MIT")
    assert card.data.training_chips + card.data.validation_chips == 60


@pytest.mark.large
def test_teachers_label_unlabelled_chips(root, cache, trained, tmp_path, monkeypatch, untraced):
    """One that cannot be read is left out, so that no draw fails."""
    folder = small_chips.classes(tmp_path / "elsewhere", side=64)
    (folder / "sand" / "broken.png").write_bytes(b"no image")
    read = []
    draw = Mosaics.draw
    monkeypatch.setattr(Mosaics, "draw", lambda self, rng: read.append(self) or draw(self, rng))
    teacher, _ = trained
    recipe = replace(
        RECIPE, schedule=replace(RECIPE.schedule, epochs=1), distill=(str(teacher.path),), mixed=2, unlabelled=3
    )
    package, outcome = run(recipe, planet(root, unlabelled=folder), Job(tmp_path / "out", cache))
    assert len(read) >= 3
    assert np.isfinite(outcome.history[0]["loss"])
    assert package.card.training.teachers == (teacher.card.digest,)


def test_unlabelled_chips_without_a_teacher_are_refused(root, cache, trained, tmp_path):
    folder = small_chips.classes(tmp_path / "elsewhere")
    with pytest.raises(DatasetError, match=r"no teacher says what the unlabelled chips .* show; pass --distill"):
        run(RECIPE, planet(root, unlabelled=folder), Job(tmp_path / "out", cache))
    with pytest.raises(DatasetError, match="pass --kaggle-dir too"):
        TrainingData(ChipsSource(folder, folder), small=ChipsSource(folder, folder))
    (tmp_path / "nothing").mkdir()
    taught = replace(RECIPE, distill=(str(trained[0].path),))
    with pytest.raises(DatasetError, match="holds no PNG or JPEG images"):
        run(taught, planet(root, unlabelled=tmp_path / "nothing"), Job(tmp_path / "out", cache))
    assert not (tmp_path / "out").exists()


def test_small_chips_of_one_kind_on_a_side_are_refused_before_training(root, cache, tmp_path):
    """Of the two campaigns, one holds the mines."""
    archive, index = small_chips.make(tmp_path / "chips", 8, side=48, broken=False)
    rows = [f"{i}.png,{small_chips.label(i)},{small_chips.label(i)}s" for i in range(8)]
    index.write_text("\n".join(["file,label,source_gallery", *rows]) + "\n")
    with pytest.raises(DatasetError, match="mosaics need both"):
        run(RECIPE, planet(root, (archive, index)), Job(tmp_path / "out", cache))
    assert not (tmp_path / "out").exists()


def test_a_four_component_chip_is_like_any_other(root):
    path = root / "train-jpg" / "train_1.jpg"
    with Image.open(path) as image:
        assert image.mode == "CMYK"
    wanted = np.asarray(kaggle_dir.picture(1)).transpose(2, 0, 1)
    assert np.abs(read_chip(path).astype(int) - wanted).mean() < 4


@pytest.mark.large
def test_the_same_seed_gives_the_same_model(root, cache, trained, tmp_path):
    again, outcome = run(RECIPE, planet(root), Job(tmp_path / "colours", cache))
    for epoch, wanted in zip(outcome.history, trained[1].history, strict=True):
        assert epoch == pytest.approx(wanted, abs=1e-6)
    for one, other in zip(again.network().get_weights(), trained[0].network().get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    assert json.loads((again.path / CARD).read_text())["thresholds"] == pytest.approx(dict(trained[0].card.thresholds))
