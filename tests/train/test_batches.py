from dataclasses import replace

import kaggle_dir
import numpy as np
import pytest
import small_chips
import tiny_model

from geoscan.data.cache import prepared
from geoscan.data.kaggle import read_kaggle
from geoscan.data.mine_chips import read_mine_chips
from geoscan.dehazing import DarkLevel
from geoscan.errors import DatasetError
from geoscan.labels import LABELS, MINE_COLUMN
from geoscan.model.package import Package
from geoscan.model.preprocess import Preprocess
from geoscan.model.spec import PLANET_HEADS, DenseNetSpec
from geoscan.scanning.batch import prepare
from geoscan.scanning.plan import Plan
from geoscan.scene import Scene
from geoscan.train.augment import Augmentation
from geoscan.train.batches import Batches, StoredExamples
from geoscan.train.mosaics import Crops, MixedChips, Mosaics
from geoscan.train.teachers import TEACHER_FEATURES, DistilledBatches

NONE = Augmentation(symmetries=False, zoom=1, gain=1, haze=0)
SPOILING = replace(NONE, degraded=1.0)
PLAIN = Preprocess(32, 3.7, "visual", None)
N = 23
CHIPS = np.arange(N, dtype=np.uint8)[:, None, None, None].repeat(8, 1).repeat(8, 2).repeat(3, 3)
TARGETS = np.random.default_rng(0).integers(0, 2, (N, len(LABELS))).astype(np.float32)
TARGETS[3, :4] = np.nan


def batches(rows=None, heads=PLANET_HEADS, **options):
    examples = StoredExamples(CHIPS, TARGETS, np.arange(N) if rows is None else rows)
    return Batches(examples, heads, PLAIN, **{"batch": 4, "seed": 1, "augmentation": NONE} | options)


def ids(made, epoch=0):
    """Numbers of the chips in each batch: a chip's pixels are its number."""
    return [chips[:, 0, 0, 0].tolist() for chips, _ in made.epoch(epoch)]


def test_every_chip_once_an_epoch_but_the_last_few():
    seen = [i for batch in ids(batches()) for i in batch]
    assert len(batches()) == 5
    assert len(seen) == len(set(seen)) == 20
    assert {i for epoch in range(6) for batch in ids(batches(), epoch) for i in batch} == set(range(N))


def test_only_the_chips_that_were_given():
    (seen,) = ids(batches(rows=np.array([2, 5, 7, 11])))
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


def test_seed_and_epoch_decide_everything():
    how = {"augmentation": Augmentation(), "synthetic": [(MixedChips(CHIPS, np.arange(N)), 1)]}
    one, other = (list(batches(**how).epoch(3)) for _ in range(2))
    for (chips, targets), (again, twins) in zip(one, other, strict=True):
        np.testing.assert_array_equal(chips, again)
        np.testing.assert_array_equal(targets["land"], twins["land"])


def test_epochs_and_seeds_differ():
    orders = [ids(batches(seed=seed), epoch) for seed, epoch in ((1, 0), (1, 1), (2, 0))]
    assert len({str(order) for order in orders}) == 3
    made = batches(rows=np.zeros(4, int), augmentation=Augmentation())
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
        ids(batches(synthetic=[(Broken(), 1)]))


def test_fewer_chips_than_a_batch_make_a_smaller_batch():
    assert [len(batch) for batch in ids(batches(rows=np.arange(3)))] == [3]


def test_heads_find_their_columns_by_name():
    for chips, targets in batches(heads=PLANET_HEADS[::-1]).epoch(0):
        known = TARGETS[chips[:, 0, 0, 0]]
        np.testing.assert_array_equal(targets["weather"], known[:, :4])
        np.testing.assert_array_equal(targets["land"], known[:, 4:])


class Marked:
    """A source whose chips are all 200."""

    def draw(self, rng):
        return np.full((8, 8, 3), 200, np.uint8), np.full(len(LABELS), rng.uniform(), np.float32)


def test_synthetic_chips_take_their_part_of_each_batch():
    made = batches(synthetic=[(Marked(), 1)])
    drawn = ids(made)
    assert len(drawn) == len(made) == 7
    assert [batch.count(200) for batch in drawn] == [1] * 7
    assert len({i for batch in drawn for i in batch} - {200}) == 21
    softs = [targets["land"][-1, 0] for _, targets in made.epoch(0)]
    assert len(set(softs)) == 7
    assert softs == [targets["land"][-1, 0] for _, targets in made.epoch(0)]


def test_refuses_a_batch_without_room():
    with pytest.raises(DatasetError, match="--batch"):
        batches(synthetic=[(Marked(), 4)])


@pytest.fixture
def small(tmp_path):
    return read_mine_chips(*small_chips.make(tmp_path, 12, side=48, every=3, broken=False))


def mines(found):
    return found.targets[:, MINE_COLUMN]


COLOURS = ((80.0, 87.0, 77.0), (40.0, 36.0, 34.0))


def brightest(chips):
    """Red of the reddest of the four parts of each mosaic."""
    n = len(chips)
    return chips[..., 0].reshape(n, 2, 16, 2, 16).mean(axis=(2, 4)).reshape(n, 4).max(axis=1)


def test_of_mosaics_one_label_alone_is_known(small):
    made = Mosaics(small, 32, COLOURS, mines(small))
    rng = np.random.default_rng(0)
    drawn = [made.draw(rng) for _ in range(60)]
    targets = np.stack([targets for _, targets in drawn])
    assert np.isnan(np.delete(targets, MINE_COLUMN, axis=1)).all()
    mine = targets[:, MINE_COLUMN]
    assert set(mine) == {0, 1}
    assert 0.3 < mine.mean() < 0.7
    chips = np.stack([chip for chip, _ in drawn])
    assert (chips.shape, chips.dtype) == ((60, 32, 32, 3), np.uint8)
    reds = brightest(chips)
    assert reds[mine == 1].min() > reds[mine == 0].max() + 20, "a mosaic holds a mine where it says so"


def test_a_mine_that_nobody_has_checked_is_as_likely_in_a_mosaic(small):
    """Beside one that is known it does not count."""
    wanted = mines(small).copy()
    unsure = np.flatnonzero(wanted)[:2]
    wanted[unsure] = 0.8
    made, rng = Mosaics(small, 32, COLOURS, wanted), np.random.default_rng(0)
    plain, same = Mosaics(small, 32, COLOURS, mines(small)), np.random.default_rng(0)
    drawn = [(made.draw(rng), plain.draw(same)) for _ in range(60)]
    found = {(float(known[MINE_COLUMN]), float(said[MINE_COLUMN])) for (_, said), (_, known) in drawn}
    assert found == {(0, 0), (1, 1), (1, float(np.float32(0.8)))}
    for (chip, _), (other, _) in drawn:
        np.testing.assert_array_equal(chip, other)


def test_mosaics_of_unlabelled_chips_take_all_and_have_no_labels(small):
    made, rng = Mosaics(small, 32, COLOURS), np.random.default_rng(0)
    drawn = [made.draw(rng) for _ in range(60)]
    assert np.isnan([targets for _, targets in drawn]).all()
    chips = np.stack([chip for chip, _ in drawn])
    assert np.ptp(brightest(chips)) > 20, "mines are among them, and so are mosaics without one"


class Ramp:
    """One picture, whose red is the row and whose green is the column."""

    names = ("ramp",)

    def read(self, index):
        rows, cols = np.mgrid[:40, :36]
        return np.stack([rows, cols, np.full_like(rows, index)]).astype(np.uint8)


def test_crops_are_cut_anywhere_out_of_a_picture_and_have_no_labels():
    made, rng = Crops(Ramp(), 32), np.random.default_rng(0)
    drawn = [made.draw(rng) for _ in range(600)]
    assert np.isnan([targets for _, targets in drawn]).all()
    corners = {tuple(chip[0, 0, :2].tolist()) for chip, _ in drawn}
    assert corners == {(row, col) for row in range(9) for col in range(5)}
    for chip, _ in drawn:
        assert (chip.shape, chip.dtype) == ((32, 32, 3), np.uint8)
        assert (chip[-1, -1, :2] - chip[0, 0, :2]).tolist() == [31, 31]


def test_pictures_smaller_than_a_chip_are_refused():
    with pytest.raises(DatasetError, match="pictures of 36 x 40 px are smaller than a chip of 48 px"):
        Crops(Ramp(), 48)


def test_the_same_draws_give_the_same_mosaics(small):
    one, other = (Mosaics(small, 32, COLOURS, mines(small)).draw(np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(one[0], other[0])
    np.testing.assert_array_equal(one[1], other[1])


def test_mosaics_take_the_colours_they_are_brought_to(small):
    made, rng = Mosaics(small, 32, COLOURS, mines(small)), np.random.default_rng(0)
    chips = np.stack([made.draw(rng)[0] for _ in range(200)]).reshape(-1, 3)
    np.testing.assert_allclose(chips.mean(axis=0), COLOURS[0], atol=25)
    np.testing.assert_allclose(chips.std(axis=0), COLOURS[1], rtol=0.35)


class Framed:
    """Chips of any size whose corners are bright, squares of `near` pixels."""

    names = ("one", "two")

    def __init__(self, side, near):
        self.side, self.near = side, near

    def read(self, index):
        pixels = np.full((3, self.side, self.side), 50, np.uint8)
        away = np.minimum(np.arange(self.side), np.arange(self.side)[::-1])
        pixels[:, (away[:, None] < self.near) & (away < self.near)] = 150
        return pixels


def test_mosaics_of_larger_chips_are_cut_in_their_middle():
    """Four chips of 64 px make 128 px: the middle 96 px hold the corners where the four meet, and no other corner."""
    side, flat = 96, ((100.0,) * 3, (30.0,) * 3)
    chip, _ = Mosaics(Framed(64, 16), side, flat).draw(np.random.default_rng(0))
    middle = np.zeros((side, side), bool)
    middle[32:64, 32:64] = True
    np.testing.assert_array_equal(chip[..., 0] > chip[..., 0].min(), middle)


@pytest.mark.parametrize("picture", [Framed(47, 9), Ramp()])
def test_mosaics_of_pictures_that_are_too_small_are_refused(picture):
    """They would show less ground, in larger pixels."""
    with pytest.raises(DatasetError, match=r"px are too small for mosaics, .* give such of 48 x 48 px at 10 m"):
        Mosaics(picture, 32, COLOURS)


@pytest.mark.parametrize("kind", [0, 1])
def test_mosaics_need_mines_and_others(small, kind):
    half = small.take(np.flatnonzero(mines(small) == kind))
    with pytest.raises(DatasetError, match="mosaics need both"):
        Mosaics(half, 32, COLOURS, mines(half))


def test_teachers_see_chips_with_their_haze_and_the_student_without():
    preprocess, seen = replace(PLAIN, chip=8, dehaze=DarkLevel()), []
    noise = np.random.default_rng(5).integers(60, 160, (N, 8, 8, 3), dtype=np.uint8)
    examples = StoredExamples(noise, TARGETS, np.arange(N))
    plain = Batches(examples, PLANET_HEADS, None, batch=4, seed=1, augmentation=NONE)
    made = DistilledBatches(plain, [teacher(0.1, seen)], PLANET_HEADS, preprocess, NONE, 0)
    seen.clear()
    (hazy, _), (clear, _) = next(plain.epoch(0)), next(made.epoch(0))
    np.testing.assert_array_equal(seen[0], hazy)
    np.testing.assert_array_equal(clear, preprocess.cleared(hazy))
    assert (clear != hazy).any()


def test_teachers_see_chips_before_they_are_degraded():
    """Haze is removed last, as from a scene that was stored with it."""
    preprocess, seen = replace(PLAIN, chip=8, dehaze=DarkLevel()), []
    noise = np.random.default_rng(5).integers(60, 160, (N, 8, 8, 3), dtype=np.uint8)
    plain = Batches(
        StoredExamples(noise, TARGETS, np.arange(N)), PLANET_HEADS, None, batch=4, seed=1, augmentation=SPOILING
    )
    made = DistilledBatches(plain, [teacher(0.1, seen)], PLANET_HEADS, preprocess, SPOILING, 0)
    seen.clear()
    (as_they_were, _), (first, _), (again, _) = (next(one.epoch(0)) for one in (plain, made, made))
    assert (as_they_were[:, None] == noise).all(axis=(2, 3, 4)).any(axis=1).all()
    np.testing.assert_array_equal(seen[0], as_they_were)
    np.testing.assert_array_equal(first, again)
    rng = np.random.default_rng((0, 0, 0, 1))
    spoilt = np.stack([SPOILING.degrade(chip, rng) for chip in as_they_were])
    np.testing.assert_array_equal(first, preprocess.cleared(spoilt))
    assert (spoilt != as_they_were).any(axis=(1, 2, 3)).all()


def test_without_a_teacher_chips_are_degraded_at_once():
    options = {"batch": N, "seed": 1}
    noise = np.random.default_rng(5).integers(60, 160, (N, 8, 8, 3), dtype=np.uint8)
    examples = StoredExamples(noise, TARGETS, np.arange(N))
    at_once, _ = next(Batches(examples, PLANET_HEADS, PLAIN, augmentation=SPOILING, **options).epoch(0))
    later, _ = next(Batches(examples, PLANET_HEADS, None, augmentation=SPOILING, **options).epoch(0))
    assert (at_once != later).any(axis=(1, 2, 3)).all()
    np.testing.assert_allclose(at_once.mean(axis=(1, 2)), later.mean(axis=(1, 2)), atol=25)


def test_haze_is_removed_once_a_chip_is_varied():
    preprocess, rng = replace(PLAIN, chip=8, dehaze=DarkLevel()), np.random.default_rng(5)
    noise = rng.integers(20, 120, (N, 8, 8, 3), dtype=np.uint8)
    examples = StoredExamples(noise, TARGETS, np.arange(N))
    hazy = Augmentation(symmetries=False, zoom=1, gain=1, haze=0.5)
    options = {"batch": N, "seed": 1, "augmentation": hazy}
    plain, _ = next(Batches(examples, PLANET_HEADS, replace(PLAIN, chip=8), **options).epoch(0))
    clear, _ = next(Batches(examples, PLANET_HEADS, preprocess, **options).epoch(0))
    np.testing.assert_array_equal(clear, preprocess.cleared(plain))
    assert clear.mean() < plain.mean() - 10


FLAT = np.arange(10, 250, 30, dtype=np.uint8)[:, None, None, None].repeat(16, 1).repeat(16, 2).repeat(3, 3)


@pytest.fixture
def as_is(monkeypatch):
    monkeypatch.setattr("geoscan.train.mosaics._STRONG", NONE)


def test_mixed_chips_have_no_labels():
    made, rng = MixedChips(FLAT, np.arange(8)), np.random.default_rng(0)
    for _ in range(30):
        chip, targets = made.draw(rng)
        assert (chip.shape, chip.dtype) == ((16, 16, 3), np.uint8)
        assert (targets.shape, targets.dtype) == ((len(LABELS),), np.float32)
        assert np.isnan(targets).all()
    assert (FLAT[:, :1, :1] == FLAT).all(), "the chips themselves stay as they were"


def test_the_same_draws_give_the_same_mixed_chips():
    made = MixedChips(FLAT, np.arange(8))
    for seed in range(10):
        one, other = (made.draw(np.random.default_rng(seed))[0] for _ in range(2))
        np.testing.assert_array_equal(one, other)
    firsts = {made.draw(np.random.default_rng(seed))[0].tobytes() for seed in range(10)}
    assert len(firsts) == 10


def test_mixed_chips_are_one_chip_four_in_their_quarters_or_two_blended(as_is):
    indexes = np.array([0, 2, 3, 5, 7])
    own = FLAT[indexes, 0, 0, 0]
    made, rng, counts = MixedChips(FLAT, indexes), np.random.default_rng(1), {"one": 0, "four": 0, "two": 0}
    for _ in range(300):
        chip = made.draw(rng)[0][..., 0]
        values = np.unique(chip)
        if len(values) > 1:
            counts["four"] += 1
            assert set(values) <= set(own)
            row = np.flatnonzero((chip[1:] != chip[:-1]).any(axis=1)) + 1
            col = np.flatnonzero((chip[:, 1:] != chip[:, :-1]).any(axis=0)) + 1
            assert len(row) <= 1, "one straight cut"
            assert len(col) <= 1, "one straight cut"
            assert all(4 <= cut <= 12 for cut in (*row, *col))
        elif values[0] in own:
            counts["one"] += 1
        else:
            counts["two"] += 1
            assert own.min() < values[0] < own.max()
    assert counts["one"] > 120
    assert counts["four"] > 70
    assert counts["two"] > 30


def teacher(offset, seen=None):
    """Score each label by its place among the heads' labels, plus a number that tells the chip; give two features."""

    def answer(chips):
        if seen is not None:
            seen.append(chips)
        scores = (offset + np.arange(17)[None] / 100 + chips[:, 0, 0, :1] / 1000).astype(np.float32)
        return scores, np.column_stack([chips.mean((1, 2, 3)) * offset, np.full(len(chips), 7)]).astype(np.float32)

    return answer


@pytest.mark.parametrize("heads", [PLANET_HEADS, PLANET_HEADS[::-1]])
def test_soft_targets_are_the_teachers_scores_or_lie_between_them_and_known_labels(heads):
    """Of a softmax and a sigmoid head alike; columns of a teacher are in the order of its heads."""
    plain = batches(heads=heads)
    made, unknown = DistilledBatches(plain, [teacher(0.2), teacher(0.4)], heads, PLAIN, NONE, 0), 0
    assert len(made) == len(plain) == 5
    distilled = list(made.epoch(1))
    assert len(distilled) == 5
    for (chips, targets), (alone, known) in zip(distilled, plain.epoch(1), strict=True):
        np.testing.assert_array_equal(chips, alone)
        scores = 0.3 + np.arange(17) / 100 + chips[:, 0, 0, :1] / 1000
        split = len(heads[0].labels)
        for head, score in zip(heads, (scores[:, :split], scores[:, split:]), strict=True):
            wanted = np.where(np.isnan(known[head.name]), score, 0.7 * known[head.name] + 0.3 * score)
            assert targets[head.name].dtype == np.float32
            np.testing.assert_allclose(targets[head.name], wanted, atol=1e-6)
            unknown += np.isnan(known[head.name]).sum()
    assert unknown == 4, "the four weathers of one chip"


def test_teachers_score_what_the_student_sees():
    """Augmented and synthetic chips."""
    mixed = MixedChips(CHIPS, np.arange(N))
    seen, options = [], {"augmentation": Augmentation(), "synthetic": [(mixed, 2)]}
    distilled = DistilledBatches(batches(**options), [teacher(0.1, seen)], PLANET_HEADS, PLAIN, NONE, 0)
    seen.clear()  # what mean and spread of the features are taken from
    learned = [chips for chips, _ in distilled.epoch(2)]
    assert len(learned) == 11
    np.testing.assert_array_equal(seen, learned)


def test_features_of_all_teachers_are_targets_of_one_scale():
    plain = batches()
    distilled = DistilledBatches(plain, [teacher(0.2), teacher(40.0)], PLANET_HEADS, PLAIN, NONE, 0)
    assert distilled.channels == 4
    made = list(distilled.epoch(0))  # the batches that the scale is taken from
    features = np.concatenate([targets[TEACHER_FEATURES] for _, targets in made])
    assert features.dtype == np.float32
    np.testing.assert_allclose(features[:, [1, 3]], 0, err_msg="a channel that never changes says nothing")
    np.testing.assert_allclose(features[:, 0], features[:, 2], atol=0.02)
    np.testing.assert_allclose([features[:, 2].mean(), features[:, 2].std()], [0, 1], atol=0.01)
    light = np.concatenate([chips for chips, _ in plain.epoch(0)]).mean((1, 2, 3))
    np.testing.assert_array_equal(np.argsort(features[:, 2]), np.argsort(light))


def test_a_distilled_epoch_may_be_left_in_the_middle_and_passes_errors_on():
    made = DistilledBatches(batches(), [teacher(0.1)], PLANET_HEADS, PLAIN, NONE, 0)
    epoch = made.epoch(0)
    next(epoch)
    epoch.close()
    assert len(list(made.epoch(0))) == 5

    def broken(chips):
        raise DatasetError("broken")

    with pytest.raises(DatasetError, match="broken"):
        list(DistilledBatches(batches(), [broken], PLANET_HEADS, PLAIN, NONE, 0).epoch(0))


def test_training_and_scan_see_the_same_pixels(tmp_path, make_scene):
    """Preprocessing is written in the card alone: whatever it says, both sides follow."""
    chips = read_kaggle(kaggle_dir.make(tmp_path / "kaggle", 3))
    spec = DenseNetSpec(blocks=(1, 1), growth=4, stem=8, shrink=8)
    raw, *_ = prepared(chips, Preprocess(256, 3.7, "visual", None), tmp_path / "cache")
    prepared_chips = []
    for params in (None, DarkLevel(), DarkLevel(omega=0.5)):
        card = tiny_model.card(spec, dehaze=params)
        pixels, *_ = prepared(chips, card.preprocess, tmp_path / "cache")
        examples = StoredExamples(pixels, chips.targets, np.arange(3))
        made = Batches(examples, spec.heads, card.preprocess, batch=3, seed=0, augmentation=NONE)
        (trained, _), order = next(made.epoch(0)), np.random.default_rng((0, 0)).permutation(np.arange(3))
        for chip, i in zip(trained, order, strict=True):
            path = make_scene(name=f"{i}.tif", pixels=raw[i].transpose(2, 0, 1))
            plan = Plan.of(Scene.open(path), Package(tmp_path, card))
            np.testing.assert_array_equal(prepare(plan, [0]).chips[0], chip)
        prepared_chips.append(trained.tobytes())
    assert len(set(prepared_chips)) == 3
