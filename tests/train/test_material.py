import logging
import zipfile
from dataclasses import replace

import kaggle_dir
import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from geoscan.dehaze import DehazeParams
from geoscan.errors import DatasetError
from geoscan.labels import LABELS
from geoscan.model.preprocess import Preprocess
from geoscan.train.kaggle import read_chip
from geoscan.train.material import gather

PLAIN = Preprocess(256, 3.7, "visual", None)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return kaggle_dir.make(tmp_path_factory.mktemp("material") / "kaggle", 30)


def collect(directory, cache, preprocess=PLAIN, **options):
    how = {"small": None, "cap": 100, "held_out": 0.3, "seed": 0, "cache": cache} | options
    return gather(directory, preprocess, **how)


def test_deals_every_chip_to_one_side(root, tmp_path):
    made = collect(root, tmp_path)
    assert not set(made.training) & set(made.validation)
    assert sorted([*made.training, *made.validation]) == list(range(30))
    assert 6 <= len(made.validation) <= 12
    assert made.targets.shape == (30, 17)
    both = (made.targets[made.training] == 1).any(axis=0) == (made.targets[made.validation] == 1).any(axis=0)
    assert both.all(), "each label that occurs is on both sides"


def test_chips_and_targets_belong_together(root, tmp_path):
    preprocess = replace(PLAIN, dehaze=DehazeParams())
    made = collect(root, tmp_path, preprocess)
    for i in (0, 1, 17):
        path = root / "train-jpg" / f"{made.names[i]}.jpg"
        np.testing.assert_array_equal(made.chips[i], preprocess(read_chip(path)))
        words = kaggle_dir.tags(int(made.names[i].removeprefix("train_"))).split()
        assert {LABELS[column] for column in np.flatnonzero(made.targets[i] == 1)} == set(words)


def test_same_seed_same_split_whatever_the_preprocessing(root, tmp_path):
    one, other = collect(root, tmp_path), collect(root, tmp_path, replace(PLAIN, dehaze=DehazeParams()))
    np.testing.assert_array_equal(one.validation, other.validation)
    assert collect(root, tmp_path, seed=1).validation.tolist() != one.validation.tolist()


def test_caps_chips_tagged_only_cloudy(root, tmp_path):
    assert collect(root, tmp_path).tagged_only_cloudy.sum() == 3
    capped = collect(root, tmp_path, cap=1)
    assert capped.tagged_only_cloudy.sum() == 1
    assert len(capped.names) == 28


def test_chips_that_adjoin_stay_together(tmp_path):
    root = kaggle_dir.make(tmp_path / "kaggle", 24)
    noise = np.random.default_rng(0).normal(size=(256, 512, 3))
    ground = 110 + 100 * gaussian_filter(noise, (2, 2, 0)) + 400 * gaussian_filter(noise, (20, 20, 0))
    wide = Image.fromarray(np.clip(ground, 0, 255).astype(np.uint8))
    for i, left in ((5, 0), (18, 256)):
        wide.crop((left, 0, left + 256, 256)).save(root / "train-jpg" / f"train_{i}.jpg", quality=98, subsampling=0)
    for seed in range(8):
        made = collect(root, tmp_path / "cache", seed=seed, held_out=0.5)
        pair = {made.names.index(name) for name in ("train_5", "train_18")}
        assert pair <= set(made.validation) or pair <= set(made.training)


def test_unreadable_chips_are_named_once_and_in_neither_part(tmp_path, caplog):
    root = kaggle_dir.make(tmp_path / "kaggle", 12)
    path = root / "train-jpg" / "train_4.jpg"
    path.write_bytes(path.read_bytes()[:2000])
    with caplog.at_level(logging.WARNING):
        made = collect(root, tmp_path / "cache")
    lines = [record.getMessage() for record in caplog.records if "train_4.jpg" in record.getMessage()]
    assert len(lines) == 1
    assert "\n" not in lines[0]
    assert made.names.index("train_4") not in {*made.training, *made.validation}
    assert len(made.training) + len(made.validation) == 11
    assert made.facts["training_chips"] + made.facts["validation_chips"] == 11


def test_refuses_a_directory_where_nothing_can_be_read(tmp_path):
    root = kaggle_dir.make(tmp_path / "kaggle", 3)
    for path in (root / "train-jpg").iterdir():
        path.write_bytes(b"no image")
    with pytest.raises(DatasetError, match="none of the 3 chips"):
        collect(root, tmp_path / "cache")


def test_facts_count_what_there_is(root, tmp_path):
    made = collect(root, tmp_path)
    facts = made.facts
    assert facts["training_chips"] == len(made.training)
    for part, rows in (("training", made.training), ("validation", made.validation)):
        counts = facts[f"{part}_positives"]
        assert list(counts) == list(LABELS)
        assert counts["primary"] == (made.targets[rows, LABELS.index("primary")] == 1).sum()


def test_the_fingerprint_tells_names_and_labels(root, tmp_path):
    made = collect(root, tmp_path)
    assert collect(root, tmp_path, seed=3).facts["fingerprint"] == made.facts["fingerprint"]
    table = root / "train_v2.csv"
    text = table.read_text()
    try:
        table.write_text(text.replace("train_0,clear primary water", "train_0,clear primary road"))
        assert collect(root, tmp_path).facts["fingerprint"] != made.facts["fingerprint"]
    finally:
        table.write_text(text)


@pytest.fixture
def small(tmp_path):
    rows = ["file,label,source_gallery"]
    with zipfile.ZipFile(tmp_path / "small.zip", "w") as archive:
        for i in range(16):
            Image.fromarray(np.full((8, 8, 3), 10 * i, np.uint8)).save(tmp_path / "chip.png")
            archive.write(tmp_path / "chip.png", f"{i}.png")
            rows.append(f"{i}.png,{'mine' if i % 2 else 'other'},place_{i // 4}")
        archive.writestr("broken.png", b"no image")
    (tmp_path / "index.csv").write_text("\n".join([*rows, "broken.png,mine,place_0"]) + "\n")
    return tmp_path / "small.zip", tmp_path / "index.csv"


def test_small_chips_are_split_by_campaign_and_only_readable_ones_are_used(root, tmp_path, small, caplog):
    with caplog.at_level(logging.WARNING):
        made = collect(root, tmp_path, small=small)
    one, other = made.small_training, made.small_validation
    assert set(one.campaigns) | set(other.campaigns) == {f"place_{i}" for i in range(4)}
    assert not set(one.campaigns) & set(other.campaigns)
    assert len(one) + len(other) == 16
    assert sum("broken.png" in record.getMessage() for record in caplog.records) == 1
    counts = made.facts["small_chips"]
    assert counts["source"] == "small.zip"
    assert counts["training"]["mine"] + counts["validation"]["mine"] == 8
