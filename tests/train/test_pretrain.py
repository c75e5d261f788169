import logging
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from geoscan.data.class_folders import read_class_folders
from geoscan.errors import DatasetError, PackageError, ReadError
from geoscan.model.backend import tf
from geoscan.model.network import build
from geoscan.model.preprocess import Preprocess
from geoscan.model.spec import DenseNetSpec, Head
from geoscan.train.augment import Augmentation
from geoscan.train.batches import Batches
from geoscan.train.checkpoint import Checkpoint
from geoscan.train.pretrain import ClassExamples, Pretraining, pretrain, square, transfer

SPEC = DenseNetSpec(blocks=(1,), growth=4, stem=4, chip=8, stem_stride=1, dropout=0)
PLAIN = Preprocess(8, 10.0, "visual", None)
AS_IS = Augmentation(symmetries=False, zoom=1, gain=1, haze=0)
A_CLASS, CLASSES = 10, ("blue", "green", "red")
STEPS = 27 // 5
HOW = Pretraining(epochs=4, batch=5, rate=0.05, seed=0)
CHECKPOINT = "c.npz"


@pytest.fixture(autouse=True, scope="module")
def untraced():
    """Run step by step: to trace a graph takes longer than these few steps."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Chips of 12 px whose class is the channel that is bright, and whose number is the level of another one."""
    root = tmp_path_factory.mktemp("colours")
    for c, name in enumerate(reversed(CLASSES)):
        (root / name).mkdir()
        for i in range(A_CLASS):
            pixels = np.full((12, 12, 3), 40, np.uint8)
            pixels[..., c], pixels[..., (c + 1) % 3] = 200, i
            Image.fromarray(pixels).save(root / name / f"{i}.png")
    return read_class_folders(root)


def batches(source, side=12, seed=0, batch=9, rows=None):
    examples = ClassExamples(source, np.arange(len(source)) if rows is None else rows, side)
    heads = (Head("classes", CLASSES, "softmax"),)
    return Batches(examples, heads, PLAIN, batch=batch, seed=seed, augmentation=AS_IS)


def taken(source, rows):
    """Keep the chips at these positions."""
    rows = list(rows)
    return replace(source, names=tuple(source.names[i] for i in rows), classes=source.classes[rows])


def learned(source, out, *, spec=SPEC, preprocess=PLAIN, how=HOW, resume=False, advance=lambda _: None):
    return pretrain(spec, preprocess, source, how, Checkpoint(out / CHECKPOINT, {}, resume), advance=advance)


@pytest.fixture(scope="module")
def whole(source, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole")
    seen = []
    network = learned(source, out, advance=seen.append)
    return network, out, seen


def equal(network, other):
    for found, wanted in zip(network.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_a_chip_of_the_right_size_stays_as_it_is():
    chip = np.random.default_rng(0).integers(0, 256, (3, 16, 16), np.uint8)
    assert (square(chip, 16).transpose(2, 0, 1) == chip).all()
    assert (square(chip, 16, np.random.default_rng(0)).transpose(2, 0, 1) == chip).all()


def test_a_larger_chip_is_cut_not_shrunk():
    rows, cols = np.mgrid[:20, :30].astype(np.uint8)
    chip = np.stack([rows, cols, rows])
    assert (square(chip, 16).transpose(2, 0, 1) == chip[:, 2:18, 7:23]).all()
    rng = np.random.default_rng(0)
    corners = {tuple(square(chip, 16, rng)[0, 0, :2].tolist()) for _ in range(400)}
    assert {top for top, _ in corners} == set(range(5))
    assert {left for _, left in corners} == set(range(15))


def test_a_smaller_chip_is_enlarged():
    chip = np.repeat(np.array([50, 250], np.uint8), 4)[None, None].repeat(3, 0).repeat(8, 1)
    large = square(chip, 32)
    assert large.shape == (32, 32, 3)
    assert (large[:, :8] == 50).all()
    assert (large[:, -8:] == 250).all()


def test_one_short_side_still_gives_a_square():
    chip = np.arange(40, dtype=np.uint8)[None, None].repeat(3, 0).repeat(8, 1)
    large = square(chip, 16)
    assert large.shape == (16, 16, 3)
    assert large[0, 0, 0] == pytest.approx(16, abs=1)
    assert large[0, -1, 0] == pytest.approx(23, abs=1)


def test_an_epoch_shows_every_chip_once_with_its_class(source):
    seen = []
    for chips, targets in batches(source, batch=10).epoch(0):
        assert chips.shape == (10, 12, 12, 3)
        assert chips.dtype == np.uint8
        assert (targets["classes"].sum(axis=1) == 1).all()
        for chip, which in zip(chips, targets["classes"].argmax(axis=1), strict=True):
            red_first = 2 - int(which)
            assert chip[0, 0].argmax() == red_first
            seen.append((int(which), int(chip[0, 0, (red_first + 1) % 3])))
    assert sorted(seen) == [(c, i) for c in range(3) for i in range(A_CLASS)]


def test_batches_are_the_same_for_the_same_seed_and_epoch(source):
    def first(seed, epoch):
        return next(batches(source, seed=seed).epoch(epoch))[0]

    assert (first(0, 0) == first(0, 0)).all()
    assert (first(0, 0) != first(0, 1)).any()
    assert (first(0, 0) != first(1, 0)).any()


def test_only_the_chips_that_are_given(source):
    few = batches(source, batch=64, rows=np.array([0, 1, 2]))
    assert len(few) == 1
    (chips, targets), *rest = few.epoch(0)
    assert not rest
    assert len(chips) == 3
    assert (targets["classes"][:, 0] == 1).all()


def test_learns_the_classes(whole, source):
    network, out, seen = whole
    assert list(network.output) == ["classes"]
    rows = np.arange(len(source))
    chips = np.stack([square(source.read(int(i)), SPEC.chip) for i in rows])
    found = network.predict_on_batch(chips)["classes"].argmax(axis=1)
    assert (found == source.classes).mean() > 0.8
    assert seen == [5] * (4 * STEPS)
    assert [path.name for path in out.iterdir()] == [CHECKPOINT]


def test_a_finished_run_is_resumed_without_a_step(whole, source):
    network, out, _ = whole
    seen = []
    again = learned(source, out, resume=True, advance=seen.append)
    assert seen == []
    equal(again, network)


def test_ctrl_c_is_passed_on_and_resumed_it_is_the_same_run(whole, source, tmp_path):
    steps = []

    def stop(_):
        steps.append(1)
        if len(steps) == STEPS + 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learned(source, tmp_path, advance=stop)
    again = learned(source, tmp_path, resume=True)
    equal(again, whole[0])


@pytest.mark.parametrize("change", [{"seed": 1}, {"batch": 6}, {"spec": replace(SPEC, growth=3)}, {"rows": range(29)}])
def test_refuses_to_resume_another_run(whole, source, change):
    rows, spec = change.pop("rows", range(30)), change.pop("spec", SPEC)
    with pytest.raises(DatasetError, match="another run") as caught:
        learned(taken(source, rows), whole[1], spec=spec, how=replace(HOW, **change), resume=True)
    assert "\n" not in str(caught.value)


def test_the_models_own_heads_do_not_matter(whole, source):
    planet = learned(source, whole[1], spec=replace(SPEC, heads=SPEC.heads[:1]), resume=True)
    equal(planet, whole[0])


def test_nothing_left_to_validate_on(source, tmp_path):
    with pytest.raises(DatasetError, match="at least two of each class"):
        learned(taken(source, [0, 10, 20]), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_problems_are_logged(tmp_path, source, caplog):
    found = replace(source, problems=replace(source.problems, outside=("legend.png",)))
    with caplog.at_level(logging.WARNING):
        learned(found, tmp_path, how=replace(HOW, epochs=1))
    assert "1 images outside a class folder (legend.png)" in caplog.text


def test_a_chip_that_has_gone_is_named(source, tmp_path):
    gone = replace(source, names=(*source.names[:-1], "red/absent.png"))
    with pytest.raises(ReadError, match=r"red/absent\.png"):
        learned(gone, tmp_path)


def test_transfer_carries_the_trunk_and_leaves_the_heads(whole):
    target = build(replace(SPEC, chip=16))
    heads = {name: target.get_layer(name).get_weights() for name in target.output}
    weighted = [layer for layer in target.layers if layer.weights]
    assert transfer(whole[0], target) == len(weighted) - len(heads)
    for layer in weighted:
        wanted = heads.get(layer.name) or whole[0].get_layer(layer.name).get_weights()
        for found, expected in zip(layer.get_weights(), wanted, strict=True):
            np.testing.assert_array_equal(found, expected)


def test_transfer_leaves_heads_of_the_same_name_too():
    source, target = build(SPEC), build(SPEC)
    before = target.get_layer("land").get_weights()[0]
    transfer(source, target)
    assert (target.get_layer("land").get_weights()[0] == before).all()
    assert (before != source.get_layer("land").get_weights()[0]).any()


def test_transfer_takes_what_fits_where_that_is_most():
    target = build(replace(SPEC, blocks=(1, 2)))
    source = build(replace(SPEC, blocks=(1, 1)))
    copied = transfer(source, target)
    assert 0 < copied < sum(bool(layer.weights) for layer in target.layers) - 2
    assert (target.get_layer("stem_conv").get_weights()[0] == source.get_layer("stem_conv").get_weights()[0]).all()


def test_transfer_refuses_another_architecture(whole):
    target = build(replace(SPEC, growth=5, stem=6))
    before = target.get_weights()
    with pytest.raises(PackageError, match=r"densenet .* does not fit densenet .*: 0 of 7 ") as caught:
        transfer(whole[0], target)
    assert "\n" not in str(caught.value)
    for found, wanted in zip(target.get_weights(), before, strict=True):
        assert (found == wanted).all()
