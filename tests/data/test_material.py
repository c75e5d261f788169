import itertools
import logging
import shutil
import zipfile
from dataclasses import replace

import kaggle_dir
import numpy as np
import pytest
import small_chips
from PIL import Image
from scipy.ndimage import gaussian_filter

from geoscan.data import kaggle
from geoscan.data.kaggle import read_chip
from geoscan.data.material import gather, positives
from geoscan.data.mine_chips import read_mine_chips
from geoscan.data.sources import ChipsSource, KaggleSource, TrainingData
from geoscan.dehazing import DarkLevel
from geoscan.errors import DatasetError
from geoscan.labels import LABELS, MINE_COLUMN
from geoscan.model.origin import SmallChips
from geoscan.model.preprocess import Preprocess
from geoscan.model.split import Split

PLAIN = Preprocess(256, 3.7, "visual", None)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return kaggle_dir.make(tmp_path_factory.mktemp("material") / "kaggle", 30)


def collect(directory, cache, preprocess=PLAIN, **options):
    small = options.pop("small", None)
    data = TrainingData(KaggleSource(directory), small and ChipsSource(*small))
    return gather(data, preprocess, Split(**{"held_out": 0.3} | options), cache)


def test_every_chip_is_on_one_side(root, tmp_path):
    made = collect(root, tmp_path)
    assert not set(made.sides()[0]) & set(made.sides()[1])
    assert sorted([*made.sides()[0], *made.sides()[1]]) == list(range(30))
    assert 6 <= len(made.sides()[1]) <= 12
    assert made.targets.shape == (30, 17)
    both = (made.targets[made.sides()[0]] == 1).any(axis=0) == (made.targets[made.sides()[1]] == 1).any(axis=0)
    assert both.all(), "each label that occurs is on both sides"


def test_chips_and_targets_belong_together(root, tmp_path):
    preprocess = replace(PLAIN, dehaze=DarkLevel())
    made = collect(root, tmp_path, preprocess)
    for i in (0, 1, 17):
        path = root / "train-jpg" / f"{made.names[i]}.jpg"
        np.testing.assert_array_equal(made.chips[i], preprocess.frame(read_chip(path)))
        words = kaggle_dir.tags(int(made.names[i].removeprefix("train_"))).split()
        assert {LABELS[column] for column in np.flatnonzero(made.targets[i] == 1)} == set(words)


def test_same_seed_same_split_whatever_the_preprocessing(root, tmp_path):
    one, other = collect(root, tmp_path), collect(root, tmp_path, replace(PLAIN, dehaze=DarkLevel()))
    np.testing.assert_array_equal(one.sides()[1], other.sides()[1])
    assert collect(root, tmp_path, seed=1).sides()[1].tolist() != one.sides()[1].tolist()


def test_caps_chips_tagged_only_cloudy(root, tmp_path):
    assert collect(root, tmp_path).tagged_only_cloudy.sum() == 3
    capped = collect(root, tmp_path, cloudy_cap=1)
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
        assert pair <= set(made.sides()[1]) or pair <= set(made.sides()[0])


def test_unreadable_chips_are_named_once_and_in_neither_part(tmp_path, caplog):
    root = kaggle_dir.make(tmp_path / "kaggle", 12)
    path = root / "train-jpg" / "train_4.jpg"
    path.write_bytes(path.read_bytes()[:2000])
    with caplog.at_level(logging.WARNING):
        made = collect(root, tmp_path / "cache")
    lines = [record.getMessage() for record in caplog.records if "train_4.jpg" in record.getMessage()]
    assert len(lines) == 1
    assert "\n" not in lines[0]
    assert made.names.index("train_4") not in {*made.sides()[0], *made.sides()[1]}
    assert len(made.sides()[0]) + len(made.sides()[1]) == 11
    assert len(made.readable) == 11


def test_refuses_a_directory_where_nothing_can_be_read(tmp_path):
    root = kaggle_dir.make(tmp_path / "kaggle", 3)
    for path in (root / "train-jpg").iterdir():
        path.write_bytes(b"no image")
    with pytest.raises(DatasetError, match="none of the 3 chips"):
        collect(root, tmp_path / "cache")


def test_folds_hold_every_chip_out_once(root, tmp_path):
    made = collect(root, tmp_path, folds=3)
    assert set(made.fold) == {0, 1, 2}
    held_out = []
    for fold in range(3):
        training, validation = made.sides(fold)
        assert sorted([*training, *validation]) == list(range(30))
        held_out += validation.tolist()
    assert sorted(held_out) == list(range(30))
    training, validation = made.sides()
    assert (len(training), len(validation)) == (30, 0)


def test_the_split_is_equal_when_all_that_decides_it_is(root, tmp_path):
    def split(**options):
        return collect(root, tmp_path, **options).split

    first = split()
    assert (first.kind, first.held_out, first.cloudy_cap, first.small) == ("kaggle", 0.3, 100, None)
    assert first == split(preprocess=replace(PLAIN, dehaze=DarkLevel()))
    for change in ({"seed": 1}, {"held_out": 0.2}, {"folds": 2}, {"cloudy_cap": 1}):
        assert split(**change) != first, change


@pytest.mark.parametrize(("preprocess", "times"), [(PLAIN, 1), (replace(PLAIN, chip=288), 2)])
def test_chips_are_decoded_once_where_the_cache_holds_their_pixels(root, tmp_path, monkeypatch, preprocess, times):
    """Chips in a wider frame are read again for their borders, which show whether they adjoin."""
    decoded = []
    monkeypatch.setattr(kaggle, "read_chip", lambda path: decoded.append(path) or read_chip(path))
    wanted = collect(root, tmp_path, preprocess)
    assert len(decoded) == 30 * times
    again = collect(root, tmp_path, preprocess)
    assert len(decoded) == 30 * (2 * times - 1)
    np.testing.assert_array_equal(again.fold, wanted.fold)


def test_counts_positives_where_a_label_is_known(root, tmp_path):
    targets = collect(root, tmp_path).targets.copy()
    counts = positives(targets)
    assert list(counts) == list(LABELS)
    assert counts["primary"] == (targets[:, LABELS.index("primary")] == 1).sum() == 27
    assert counts["blooming"] == 0
    targets[:, LABELS.index("blooming")] = np.nan
    assert set(positives(targets)) == set(LABELS) - {"blooming"}


def test_the_fingerprint_tells_names_and_labels(root, tmp_path):
    made = collect(root, tmp_path)
    assert collect(root, tmp_path, seed=3).facts.fingerprint == made.facts.fingerprint
    table = root / "train_v2.csv"
    text = table.read_text()
    try:
        table.write_text(text.replace("train_0,clear primary water", "train_0,clear primary road"))
        assert collect(root, tmp_path).facts.fingerprint != made.facts.fingerprint
    finally:
        table.write_text(text)


def told(caplog, name):
    lines = [record.getMessage() for record in caplog.records if name in record.getMessage()]
    assert all("\n" not in line for line in lines)
    return len(lines)


@pytest.mark.parametrize("folds", [None, 3])
def test_small_chips_are_split_by_campaign_and_only_readable_ones_are_used(root, tmp_path, caplog, folds):
    with caplog.at_level(logging.WARNING):
        made = collect(root, tmp_path, small=small_chips.make(tmp_path, side=48), folds=folds)
    assert told(caplog, "broken.png") == 1
    for without in range(folds) if folds else (None,):
        one, other = made.small_sides(without)
        assert set(one.campaigns) | set(other.campaigns) == {f"place_{i}" for i in range(4)}
        assert not set(one.campaigns) & set(other.campaigns)
        assert len(one) + len(other) == 16
    if folds:
        every, none = made.small_sides()
        assert len(every) == 16
        assert none is None
    assert made.facts.small_chips == SmallChips("small.zip", 8, 8)


@pytest.mark.parametrize("side", [40, 256])
def test_small_chips_of_a_size_that_makes_no_mosaics_are_refused(root, tmp_path, side):
    """A mosaic of larger ones may lose the mine that it is said to show."""
    wanted = rf"0\.png is of {side} x {side} px; chips beside Kaggle's are of 48 x 48 px .*, leave --kaggle-dir out"
    with pytest.raises(DatasetError, match=wanted) as caught:
        collect(root, tmp_path, small=small_chips.make(tmp_path, 4, side=side, broken=False))
    assert "\n" not in str(caught.value)


def test_small_chips_that_nobody_has_checked_teach_a_little_less(root, tmp_path):
    made = collect(root, tmp_path, small=small_chips.make(tmp_path, side=48), folds=2, unchecked=("place_0",))
    mine, theirs = made.small.targets[:, MINE_COLUMN], np.array(made.small.campaigns) == "place_0"
    assert set(mine[theirs]) == {0, np.float32(0.8)}
    assert set(mine[~theirs]) == {0, 1}
    assert made.facts.small_chips == SmallChips("small.zip", 8, 8)


def test_without_small_chips_there_are_none(root, tmp_path):
    made = collect(root, tmp_path)
    assert made.small_sides() == (None, None)
    assert made.facts.small_chips is None


TINY = Preprocess(8, 10.0, "sentinel2-l1c", None)


def collect_small(directory, small, **options):
    track = options.pop("track", iter)
    return gather(TrainingData(ChipsSource(*small)), TINY, Split(**options), directory / "cache", track)


@pytest.mark.parametrize("options", [{"held_out": 0.3}, {"folds": 3}])
def test_chips_alone_are_split_by_campaign(tmp_path, options):
    made = collect_small(tmp_path, small_chips.make(tmp_path, places=6), **options)
    assert len(made.names) == 17
    places = {place: set(made.fold[[p == place for p in made.campaigns]]) - {-1} for place in made.campaigns}
    assert len(places) == 6
    assert all(len(folds) == 1 for folds in places.values()), "no campaign in two folds"
    assert set.union(*places.values()) == set(range(options.get("folds", 2)))
    for one, other in itertools.combinations(range(17), 2):
        assert (made.groups[one] == made.groups[other]) == (made.campaigns[one] == made.campaigns[other])
    assert made.facts.campaigns == 6
    assert made.facts.source == "small.zip"
    assert positives(made.targets[made.readable]) == {"artisinal_mine": 8}
    assert made.small_sides() == (None, None)


def test_chips_alone_that_cannot_be_read_are_named_once_and_in_no_fold(tmp_path, caplog):
    small = small_chips.make(tmp_path)
    with caplog.at_level(logging.WARNING):
        made = collect_small(tmp_path, small, folds=2)
    assert told(caplog, "broken.png") == 1
    broken = made.names.index("broken.png")
    assert made.fold[broken] == -1
    assert made.readable.tolist() == [i for i in range(17) if i != broken]
    for without in (0, 1, None):
        assert not any(broken in side for side in made.sides(without))
    for i in made.readable:
        np.testing.assert_array_equal(made.chips[i].transpose(2, 0, 1), read_mine_chips(*small).read(i))


def test_chips_alone_are_prepared_once(tmp_path):
    small, seen = small_chips.make(tmp_path), []

    def track(items):
        seen.append(list(items))
        return iter(seen[-1])

    first = collect_small(tmp_path, small, track=track)
    again = collect_small(tmp_path, small, track=track, seed=1, folds=2)
    assert seen == [list(range(17))]
    np.testing.assert_array_equal(first.chips[:], again.chips[:])


def test_refuses_chips_alone_of_which_none_can_be_read(tmp_path):
    (tmp_path / "chips").mkdir()
    rows = [f"{i}.png,mine" for i in range(3)]
    for i in range(3):
        (tmp_path / f"chips/{i}.png").write_bytes(b"no image")
    (tmp_path / "index.csv").write_text("\n".join(["file,label", *rows]) + "\n")
    with pytest.raises(DatasetError, match="none of the 3 chips") as caught:
        collect_small(tmp_path, (tmp_path / "chips", tmp_path / "index.csv"))
    assert "\n" not in str(caught.value)


def test_refuses_more_folds_than_campaigns(tmp_path):
    with pytest.raises(DatasetError, match="4 groups of chips cannot fill 5 folds"):
        collect_small(tmp_path, small_chips.make(tmp_path), folds=5)


def test_small_chips_of_another_size_are_left_out_by_name(root, tmp_path, caplog):
    archive, index = small_chips.make(tmp_path / "small", 8, side=48)
    with zipfile.ZipFile(archive, "a") as target:
        target.writestr("odd.png", small_chips.png(1, 40))
    index.write_text(index.read_text() + "odd.png,mine,place_1\n")
    made = collect(root, tmp_path, small=(archive, index))
    assert len(made.small) == 8
    assert "1 chips are not of 48 x 48 px as most are (odd.png): left out" in caplog.text


def test_chips_alone_of_another_size_are_left_out_by_name(tmp_path, caplog):
    """Smaller and larger ones; the others are divided as with them, so that nobody needs to open any to know how."""
    archive, index = small_chips.make(tmp_path, 16, broken=False)
    shutil.unpack_archive(archive, tmp_path / "chips")
    before = collect_small(tmp_path, (tmp_path / "chips", index))
    for name, side in (("3.png", 5), ("12.png", 9)):
        (tmp_path / "chips" / name).write_bytes(small_chips.png(1, side))
    made = collect_small(tmp_path, (tmp_path / "chips", index))
    assert "2 chips are not of 8 x 8 px as most are (3.png, 12.png): left out" in caplog.text
    assert made.names == tuple(name for name in before.names if name not in {"3.png", "12.png"})
    np.testing.assert_array_equal(made.fold, np.delete(before.fold, [3, 12]))
    assert made.split == before.split
    assert len(made.chips) == len(made.groups) == len(made.campaigns) == len(made.targets) == len(made.readable) == 14


@pytest.mark.parametrize("side", [7, 9])
def test_chips_that_do_not_fit_the_network_are_refused_by_name(tmp_path, side):
    with pytest.raises(DatasetError, match=rf"0\.png is of {side} x {side} px, as most .* takes 8 x 8 px; .*compact"):
        collect_small(tmp_path, small_chips.make(tmp_path, side=side))
    assert not (tmp_path / "cache").exists()


def test_a_network_for_small_chips_takes_none_of_kaggles(root, tmp_path):
    with pytest.raises(DatasetError, match="Kaggle's chips are of 256 x 256 px, and the network takes 48 x 48 px"):
        collect(root, tmp_path, replace(PLAIN, chip=48))


def test_a_split_knows_all_the_chips_there_were(root, tmp_path):
    """Whatever was capped: another seed keeps other cloudy chips, of the same data."""
    small = small_chips.make(tmp_path / "small", 8, side=48)
    one, other = (collect(root, tmp_path, seed=seed, cloudy_cap=2).split for seed in (0, 1))
    assert one.data == other.data
    alone = gather(TrainingData(ChipsSource(*small)), replace(PLAIN, chip=48), Split(), tmp_path)
    assert collect(root, tmp_path, small=small).split.small == alone.split.data
    assert (alone.split.kind, alone.split.cloudy_cap) == ("chips", None)


@pytest.mark.parametrize("how", [{"folds": 2}, {"held_out": 0.34}])
def test_what_nobody_has_checked_teaches_and_never_judges(tmp_path, how):
    source = ChipsSource(*small_chips.make(tmp_path, 48, places=6, side=48, broken=False))
    preprocess = Preprocess(48, 10.0, "sentinel2-l1c", None)
    plain = gather(TrainingData(source), preprocess, Split(**how), tmp_path / "cache")
    name = plain.campaigns[0]
    made = gather(TrainingData(source), preprocess, Split(**how, unchecked=(name,)), tmp_path / "cache")
    theirs = {i for i, campaign in enumerate(made.campaigns) if campaign == name}
    assert 0 < len(theirs) < 48
    assert set(made.readable) == set(range(48))
    assert set(made.judging) <= set(range(48)) - theirs
    for without in range(2) if "folds" in how else [None]:
        training, validation = made.sides(without)
        assert theirs <= set(training)
        assert len(validation)
        assert not theirs & set(validation)
    mine = made.targets[:, LABELS.index("artisinal_mine")]
    known = plain.targets[:, LABELS.index("artisinal_mine")]
    np.testing.assert_allclose(mine[sorted(theirs)], 0.8 * known[sorted(theirs)])
    others = sorted(set(range(48)) - theirs)
    np.testing.assert_array_equal(mine[others], known[others])
    assert positives(made.targets) == positives(plain.targets) == {"artisinal_mine": 24}
    assert not made.split.same_as(plain.split)


def repeated(directory, pictures, name):
    """Write each of so many pictures twice, and an index whose rows `name` ends."""
    (directory / "chips").mkdir(parents=True)
    rows = []
    for i in range(pictures):
        for copy in "ab":
            (directory / f"chips/{i}{copy}.png").write_bytes(small_chips.png(i, 8))
            rows.append(f"{i}{copy}.png,{small_chips.label(i)}{name(i, copy)}")
    (directory / "index.csv").write_text("\n".join(["file,label,source_gallery", *rows]) + "\n")
    return directory / "chips", directory / "index.csv"


@pytest.mark.parametrize("name", [lambda i, copy: "", lambda i, copy: f",{copy}_{i // 2}"])
def test_a_picture_never_teaches_and_judges(tmp_path, name):
    """Whether or not the index names campaigns, and whether or not a picture of another size lies among them."""
    small = repeated(tmp_path, 16, name)
    for odd in (False, True):
        if odd:
            (small[0] / "3b.png").write_bytes(small_chips.png(1, 9))
        made = collect_small(tmp_path, small, folds=3)
        folds = dict(zip(made.names, made.fold, strict=True))
        assert set(folds.values()) == {0, 1, 2}
        assert all(folds[f"{i}a.png"] == folds[f"{i}b.png"] for i in range(16) if f"{i}b.png" in folds)


def test_chips_of_one_colour_show_no_place(tmp_path):
    """Or campaigns would be one for each having a chip without data."""
    small = repeated(tmp_path, 6, lambda i, copy: f",place_{i}")
    for i in range(6):
        Image.new("RGB", (8, 8), "black").save(small[0] / f"{i}b.png")
    assert len(set(collect_small(tmp_path, small, folds=2).groups)) == 6


def test_says_once_where_each_chip_counts_as_a_place(root, tmp_path, caplog):
    said = "each counts as a place of its own, and figures flatter"
    archive, index = small_chips.make(tmp_path, side=48, broken=False)
    known = index.read_text()
    for text, times in ((known, 0), (known.replace("source_gallery", "note"), 1)):
        index.write_text(text)
        made = gather(TrainingData(ChipsSource(archive, index)), replace(TINY, chip=48), Split(), tmp_path / "cache")
        assert caplog.text.count(said) == times
        assert made.facts.campaigns == (None if times else 4)
    collect(root, tmp_path, small=(archive, index))
    assert caplog.text.count(said) == 2, "of those that are held out"
    collect(root, tmp_path, small=(archive, index), folds=2)
    assert caplog.text.count(said) == 2, "with folds they judge nothing"
