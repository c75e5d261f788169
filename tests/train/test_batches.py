import json
import zipfile
from dataclasses import replace

import kaggle_dir
import numpy as np
import pytest
import tiny_model
from PIL import Image

from geoscan.dehaze import DehazeParams
from geoscan.errors import DatasetError
from geoscan.labels import LABELS, LAND, MINE, WEATHER
from geoscan.model.package import Package
from geoscan.model.preprocess import Preprocess
from geoscan.model.spec import PLANET_HEADS, DenseNetSpec
from geoscan.scan import Plan, prepare
from geoscan.scene import Scene
from geoscan.train.augment import Augmentation
from geoscan.train.batches import Batches, Lessons, Mosaics, by_head
from geoscan.train.cache import prepared
from geoscan.train.kaggle import discover
from geoscan.train.partial import read_partial

NONE = Augmentation(symmetries=False, zoom=1, gain=1, haze=0)
PLAIN = Preprocess(32, 3.7, "visual", None)
N = 23
CHIPS = np.arange(N, dtype=np.uint8)[:, None, None, None].repeat(8, 1).repeat(8, 2).repeat(3, 3)
TARGETS = np.random.default_rng(0).integers(0, 2, (N, len(LABELS))).astype(np.float32)
TARGETS[3, :4] = np.nan


def batches(**options):
    how = {"batch": 4, "seed": 1, "augmentation": NONE} | options
    return Batches(CHIPS, how.pop("indexes", np.arange(N)), TARGETS, PLANET_HEADS, **how)


def ids(made, epoch=0):
    """Numbers of the chips in each batch: a chip's pixels are its number."""
    return [chips[:, 0, 0, 0].tolist() for chips, _ in made.epoch(epoch)]


def test_every_chip_once_an_epoch_but_the_last_few():
    seen = [i for batch in ids(batches()) for i in batch]
    assert len(batches()) == 5
    assert len(seen) == len(set(seen)) == 20
    assert {i for epoch in range(6) for batch in ids(batches(), epoch) for i in batch} == set(range(N))


def test_only_the_chips_that_were_given():
    (seen,) = ids(batches(indexes=np.array([2, 5, 7, 11])))
    assert sorted(seen) == [2, 5, 7, 11]


def test_all_batches_have_one_shape():
    for chips, targets in batches().epoch(0):
        assert (chips.shape, chips.dtype) == ((4, 8, 8, 3), np.uint8)
        assert {name: part.shape for name, part in targets.items()} == {"weather": (4, 4), "land": (4, 13)}
        assert all(part.dtype == np.float32 for part in targets.values())


def test_targets_stay_with_their_chips_and_unknown_stays_unknown():
    unknown = 0
    for chips, targets in batches().epoch(2):
        for row, i in enumerate(chips[:, 0, 0, 0]):
            np.testing.assert_array_equal(targets["weather"][row], TARGETS[i, :4])
            np.testing.assert_array_equal(targets["land"][row], TARGETS[i, 4:])
            unknown += np.isnan(targets["weather"][row]).all()
    assert unknown == 1


@pytest.mark.parametrize("workers", [1, 4])
def test_seed_and_epoch_decide_everything(workers):
    """However many threads make them."""
    one = [chips for chips, _ in batches(augmentation=Augmentation(), workers=2).epoch(3)]
    other = [chips for chips, _ in batches(augmentation=Augmentation(), workers=workers).epoch(3)]
    np.testing.assert_array_equal(one, other)


def test_epochs_and_seeds_differ():
    orders = [ids(batches(seed=seed), epoch) for seed, epoch in ((1, 0), (1, 1), (2, 0))]
    assert len({str(order) for order in orders}) == 3
    made = batches(indexes=np.zeros(4, int), augmentation=Augmentation())
    (one, _), (other, _) = next(made.epoch(0)), next(made.epoch(1))
    assert (one != other).any(), "the same chip looks different in another epoch"


def test_an_epoch_may_be_left_in_the_middle():
    made = batches()
    epoch = made.epoch(0)
    next(epoch)
    epoch.close()
    assert len(ids(made)) == 5


def test_an_error_in_the_making_is_raised():
    class Broken:
        def draw(self, rng):
            raise DatasetError("broken")

    with pytest.raises(DatasetError, match="broken"):
        ids(batches(drawn=[(Broken(), 1)]))


def test_fewer_chips_than_a_batch_make_a_smaller_batch():
    assert [len(batch) for batch in ids(batches(indexes=np.arange(3)))] == [3]


def test_by_head_finds_columns_by_name():
    parts = by_head(TARGETS, PLANET_HEADS[::-1])
    np.testing.assert_array_equal(parts["land"], TARGETS[:, [LABELS.index(label) for label in LAND]])
    np.testing.assert_array_equal(parts["weather"], TARGETS[:, [LABELS.index(label) for label in WEATHER]])


class Marked:
    """A source whose chips are all 200."""

    def draw(self, rng):
        return np.full((8, 8, 3), 200, np.uint8), np.full(len(LABELS), rng.uniform(), np.float32)


def test_drawn_chips_take_their_part_of_each_batch():
    made = batches(drawn=[(Marked(), 1)])
    drawn = ids(made)
    assert len(drawn) == len(made) == 7
    assert [batch.count(200) for batch in drawn] == [1] * 7
    assert len({i for batch in drawn for i in batch} - {200}) == 21
    softs = [targets["land"][-1, 0] for _, targets in made.epoch(0)]
    assert len(set(softs)) == 7
    assert softs == [targets["land"][-1, 0] for _, targets in made.epoch(0)]


def test_refuses_a_batch_without_room():
    with pytest.raises(DatasetError, match="--batch"):
        batches(drawn=[(Marked(), 4)])


@pytest.fixture
def small(tmp_path):
    """Give an archive of 16 px chips: mines are yellow, others green."""
    rows = ["file,label,source_gallery"]
    with zipfile.ZipFile(tmp_path / "small.zip", "w") as archive:
        for i in range(12):
            label = "mine" if i % 3 == 0 else "other"
            color = (200 + i, 180, 60) if label == "mine" else (40 + i, 90, 40)
            noise = np.random.default_rng(i).integers(-9, 9, (16, 16, 3))
            Image.fromarray((noise + color).astype(np.uint8)).save(tmp_path / "chip.png")
            archive.write(tmp_path / "chip.png", f"{i}.png")
            rows.append(f"{i}.png,{label},place_{i % 4}")
    (tmp_path / "index.csv").write_text("\n".join(rows) + "\n")
    return read_partial(tmp_path / "small.zip", tmp_path / "index.csv")


LOOK = ((80.0, 87.0, 77.0), (40.0, 36.0, 34.0))


def test_mosaics_know_one_thing_alone(small):
    made = Mosaics(small, PLAIN, LOOK)
    rng = np.random.default_rng(0)
    drawn = [made.draw(rng) for _ in range(60)]
    targets = np.stack([targets for _, targets in drawn])
    assert np.isnan(np.delete(targets, LABELS.index(MINE), axis=1)).all()
    mine = targets[:, LABELS.index(MINE)]
    assert set(mine) == {0, 1}
    assert 0.3 < mine.mean() < 0.7
    chips = np.stack([chip for chip, _ in drawn])
    assert (chips.shape, chips.dtype) == ((60, 32, 32, 3), np.uint8)
    brightest = chips[..., 0].reshape(60, 2, 16, 2, 16).mean(axis=(2, 4)).reshape(60, 4).max(axis=1)
    assert brightest[mine == 1].min() > brightest[mine == 0].max() + 20, "a mosaic holds a mine where it says so"


def test_mosaics_take_the_look_they_are_brought_to(small):
    rng = np.random.default_rng(0)
    chips = np.stack([Mosaics(small, PLAIN, LOOK).draw(rng)[0] for _ in range(200)]).reshape(-1, 3)
    np.testing.assert_allclose(chips.mean(axis=0), LOOK[0], atol=25)
    np.testing.assert_allclose(chips.std(axis=0), LOOK[1], rtol=0.35)


@pytest.mark.parametrize("kind", [0, 1])
def test_mosaics_need_mines_and_others(small, kind):
    column = small.targets[:, LABELS.index(MINE)]
    with pytest.raises(DatasetError, match="mosaics need both"):
        Mosaics(small.take(np.flatnonzero(column == kind)), PLAIN, LOOK)


SPLIT = {"seed": 0, "held_out": 0.2, "cap": 100, "data": "abc"}


@pytest.fixture
def lessons(tmp_path):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "chips.npy", rng.integers(90, 256, (5, 32, 32, 3), dtype=np.uint8))
    np.save(tmp_path / "targets.npy", rng.uniform(0, 1, (5, 17)).astype(np.float32))
    (tmp_path / "split.json").write_text(json.dumps(SPLIT))
    return tmp_path


def test_lessons_are_chips_with_their_teachers_scores(lessons):
    preprocess = replace(PLAIN, dehaze=DehazeParams())
    made = Lessons(lessons, preprocess, SPLIT)
    chips, targets = np.load(lessons / "chips.npy"), np.load(lessons / "targets.npy")
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(40):
        chip, scores = made.draw(rng)
        (i,) = np.flatnonzero((targets == scores).all(axis=1))
        seen.add(int(i))
        np.testing.assert_array_equal(chip, preprocess(chips[i].transpose(2, 0, 1)))
    assert seen == set(range(5))


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("chips.npy", np.zeros((5, 16, 16, 3), np.uint8)),
        ("chips.npy", np.zeros((4, 32, 32, 3), np.uint8)),
        ("targets.npy", np.zeros((5, 3), np.float32)),
        ("targets.npy", np.array([{}], object)),
    ],
)
def test_refuses_lessons_that_do_not_fit(lessons, name, array):
    np.save(lessons / name, array)
    with pytest.raises(DatasetError) as caught:
        Lessons(lessons, PLAIN, SPLIT)
    assert "\n" not in str(caught.value)


def test_refuses_lessons_that_are_absent_or_none(lessons, tmp_path):
    np.save(lessons / "chips.npy", np.zeros((0, 32, 32, 3), np.uint8))
    np.save(lessons / "targets.npy", np.zeros((0, 17), np.float32))
    with pytest.raises(DatasetError):
        Lessons(lessons, PLAIN, SPLIT)
    (lessons / "chips.npy").write_bytes(b"")
    with pytest.raises(DatasetError, match="No data left"):
        Lessons(lessons, PLAIN, SPLIT)
    with pytest.raises(DatasetError, match=r"chips\.npy"):
        Lessons(tmp_path / "nowhere", PLAIN, SPLIT)


def test_refuses_a_teacher_that_saw_validation_chips(lessons):
    with pytest.raises(DatasetError, match="has seen validation chips"):
        Lessons(lessons, PLAIN, {**SPLIT, "seed": 1})


def test_training_and_scan_see_the_same_pixels(tmp_path, make_scene):
    """Preprocessing is written in the card alone: whatever it says, both sides follow."""
    chips = discover(kaggle_dir.make(tmp_path / "kaggle", 3))
    spec = DenseNetSpec(blocks=(1, 1), growth=4, stem=8, shrink=8)
    raw, *_ = prepared(chips, Preprocess(256, 3.7, "visual", None), tmp_path / "cache")
    looks = []
    for params in (None, DehazeParams(), DehazeParams(omega=0.5), DehazeParams(airlight="chip")):
        card = tiny_model.card(spec, dehaze=params)
        pixels, *_ = prepared(chips, card.preprocess, tmp_path / "cache")
        made = Batches(pixels, np.arange(3), chips.targets, spec.heads, batch=3, seed=0, augmentation=NONE)
        (trained, _), order = next(made.epoch(0)), np.random.default_rng((0, 0)).permutation(np.arange(3))
        for chip, i in zip(trained, order, strict=True):
            path = make_scene(name=f"{i}.tif", pixels=raw[i].transpose(2, 0, 1))
            plan = Plan.of(Scene.open(path), Package(tmp_path, card), stretch="visual")
            np.testing.assert_array_equal(prepare(plan, [0]).chips[0], chip)
        looks.append(trained.tobytes())
    assert len(set(looks)) == 4
