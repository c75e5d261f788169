"""One contract for every runtime, and how one of them is chosen."""

import logging
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from tiny_model import SPEC, card, network, package

from geoscan.errors import InputError, PackageError
from geoscan.labels import LABELS, MINE
from geoscan.machine import RUNTIMES
from geoscan.model import runtime
from geoscan.model.openvino_runtime import OpenVinoDetector
from geoscan.model.package import NETWORK, save
from geoscan.model.runtime import Averaged, detector, runtime_for
from geoscan.model.shipped import shipped
from geoscan.model.spec import MINE_HEADS, DenseNetSpec, EfficientNetSpec
from geoscan.model.tensorflow_runtime import TensorFlowDetector
from geoscan.scanning.batch import score
from geoscan.symmetry import symmetry

DETECTORS = {"tensorflow": TensorFlowDetector, "openvino": OpenVinoDetector}
SPECS = {
    "densenet": SPEC,
    "densenet of the paper": DenseNetSpec(blocks=(2, 1), growth=4, stem=8, chip=32),
    "shrunk densenet": DenseNetSpec(blocks=(1, 2), growth=4, stem=8, chip=48, shrink=2, heads=MINE_HEADS),
    "enlarged densenet": DenseNetSpec(blocks=(1, 2), growth=4, stem=8, chip=32, side=48, stem_stride=2),
    "larger efficientnet": EfficientNetSpec(side=48, chip=32),
    "smaller efficientnet": EfficientNetSpec(side=40, chip=64, heads=MINE_HEADS),
    "efficientnet": EfficientNetSpec(side=32, chip=32),
}
RNG = np.random.default_rng(5)


def chips_of(spec, n=11):
    """Noise, in which every other chip has a dark side."""
    chips = RNG.integers(0, 256, (n, spec.chip, spec.chip, 3), dtype=np.uint8)
    chips[::2] = chips[::2] * np.linspace(0, 1, spec.chip)[:, None, None]
    return chips


CHIPS = chips_of(SPEC)


def test_there_is_a_detector_for_every_runtime():
    assert set(DETECTORS) == set(RUNTIMES)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return package(tmp_path_factory.mktemp("runtime") / "tiny", seed=1)


@pytest.fixture(scope="module", params=RUNTIMES)
def kind(request):
    return DETECTORS[request.param]


@pytest.fixture(scope="module")
def plain(tiny, kind):
    return kind(tiny, batch=4)


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param(spec, id=name, marks=[pytest.mark.large] if name.endswith("efficientnet") else [])
        for name, spec in SPECS.items()
    ],
)
def test_scores_are_the_networks(tmp_path, kind, spec):
    made, chips = network(spec, seed=1), chips_of(spec)
    answers = made(chips, training=False)
    expected = np.concatenate([np.asarray(answers[head.name]) for head in spec.heads], axis=1)
    scores = kind(save(tmp_path / "made", made, card(spec)), batch=4)(chips)
    assert scores.shape == (11, len(spec.labels))
    assert scores.dtype == np.float32
    assert expected.std(axis=0).max() > 1e-3, "a network that answers everything alike would show nothing"
    np.testing.assert_allclose(scores, expected, atol=1e-4)


@pytest.mark.large
@pytest.mark.parametrize("package", shipped(), ids=lambda one: one.card.name)
def test_shipped_models_score_alike_in_every_runtime(package):
    chips = chips_of(package.card.spec, n=6)
    scores = [kind(package, batch=4)(chips) for kind in DETECTORS.values()]
    assert np.ptp(scores[0], axis=0).max() > 1e-5
    for other in scores[1:]:
        np.testing.assert_allclose(other, scores[0], atol=1e-4)


def test_a_score_depends_on_its_chip_alone(plain):
    """Neither on the filling of the last batch, nor on the other chips, nor on its place among them."""
    scores = plain(CHIPS)
    for n in (1, 3, 4, 5):
        np.testing.assert_allclose(plain(CHIPS[:n]), scores[:n], atol=1e-5)
    order = RNG.permutation(len(CHIPS))
    np.testing.assert_allclose(plain(CHIPS[order]), scores[order], atol=1e-5)
    for other in (0, 255):
        among = np.full((4, 32, 32, 3), other, np.uint8)
        among[2] = CHIPS[0]
        np.testing.assert_allclose(plain(among)[2], scores[0], atol=1e-5)


@pytest.mark.parametrize("package", shipped(), ids=lambda one: one.card.name)
def test_with_openvino_a_shipped_model_does_so_to_the_last_bit(package):
    detect, chips = OpenVinoDetector(package, batch=64), chips_of(package.card.spec, n=40)
    scores, order = detect(chips), RNG.permutation(40)
    np.testing.assert_array_equal(detect(chips[order]), scores[order])
    for n in (1, 5, 17):
        np.testing.assert_array_equal(detect(chips[:n]), scores[:n])
    np.testing.assert_array_equal(OpenVinoDetector(package, batch=1)(chips), scores)


def test_with_openvino_it_does_so_to_the_last_bit(tiny):
    detect = OpenVinoDetector(tiny, batch=4)
    np.testing.assert_array_equal(np.concatenate([detect(CHIPS[i : i + 1]) for i in range(11)]), detect(CHIPS))


@pytest.mark.parametrize("batch", [1, 16])
def test_a_score_does_not_depend_on_the_batch_size(tiny, kind, plain, batch):
    np.testing.assert_allclose(kind(tiny, batch=batch)(CHIPS), plain(CHIPS), atol=1e-5)


def test_with_openvino_the_evidence_of_a_chip_depends_on_that_chip_alone(tiny):
    detect = OpenVinoDetector(tiny, batch=4)
    maps, scores = detect.evidence(CHIPS), detect(CHIPS)
    assert maps.shape == (11, 8, 8)
    np.testing.assert_array_equal(np.concatenate([detect.evidence(CHIPS[i : i + 1]) for i in range(11)]), maps)
    mine = tiny.card.labels.index(MINE)
    np.testing.assert_allclose(1 / (1 + np.exp(-maps.mean(axis=(1, 2)))), scores[:, mine], atol=1e-5)


def test_no_chips_no_scores(plain):
    assert plain(CHIPS[:0]).shape == (0, 17)


def test_chips_may_lie_in_memory_as_they_like(plain):
    turned = CHIPS.transpose(0, 2, 1, 3)
    np.testing.assert_allclose(plain(turned), plain(turned.copy()), atol=1e-6)


def test_threads_may_call_at_once(plain):
    parts = [CHIPS[i : i + 3] for i in range(9)]
    expected = [plain(part) for part in parts]
    with ThreadPoolExecutor(6) as pool:
        for _ in range(5):
            for found, wanted in zip(pool.map(plain, parts), expected, strict=True):
                np.testing.assert_array_equal(found, wanted)


def test_averaged_it_does_not_know_which_side_is_up(plain):
    detect = Averaged(plain, LABELS.index(MINE))
    scores = detect(CHIPS)
    assert np.abs(scores - plain(CHIPS)).max() > 1e-4
    for which in (1, 6):
        np.testing.assert_allclose(detect(symmetry(CHIPS, which)), scores, atol=1e-5)


@pytest.mark.parametrize("layer", ["stem_conv", "block1_1_in_norm", "land"])
@pytest.mark.parametrize("lost", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_an_error(tmp_path, kind, layer, lost):
    made = network(seed=1)
    first, *rest = made.get_layer(layer).get_weights()
    first.flat[0] = lost
    made.get_layer(layer).set_weights([first, *rest])
    saved = save(tmp_path / "lost", made, card())
    with pytest.raises(PackageError, match=r"\(NaN\).*train it anew") as caught:
        score(lambda: kind(saved, batch=4), CHIPS)
    assert "\n" not in str(caught.value)


def test_averaged_scores_do_not_know_which_side_is_up():
    asked = []

    def corner(chips):
        asked.append(chips)
        return chips[:, 0, :2, 0].astype(np.float32) / 255

    chips = np.random.default_rng(0).integers(20, 256, (3, 6, 6, 3), np.uint8)
    scores = Averaged(corner, 0)(chips)
    assert len({chip.tobytes() for some in asked for chip in some}) == 3 * 8
    for which in range(8):
        np.testing.assert_allclose(Averaged(corner, 0)(symmetry(chips, which)), scores, rtol=1e-6)
    np.testing.assert_allclose(scores[:, 0], chips[:, [0, 0, -1, -1], [0, -1, 0, -1], 0].mean(axis=1) / 255, rtol=1e-6)


def test_only_what_may_be_something_is_looked_at_again():
    asked = []

    def corner(chips):
        asked.append(len(chips))
        return chips[:, 0, :2, 0].astype(np.float32) / 100

    chips = np.zeros((5, 6, 6, 3), np.uint8)
    chips[1, 0, 0] = 100  # in a corner
    chips[3, 0, 1] = 8  # beside it
    chips[3, -1, -1] = 80  # in the other corner
    chips[4, 0, :2] = 1  # too faint
    scores = Averaged(corner, 0)(chips)
    assert asked == [5, 7 * 2]
    # The corner of the fourth is black at first, and so it stays, though two of its views have the other corner there.
    expected = np.float32([[0, 0], [2 / 8, 0], [0, 0], [0, 0.08 / 8], [0.01, 0.01]])
    np.testing.assert_allclose(scores, expected, atol=1e-7)
    assert Averaged(corner, 0)(chips[:1]).tolist() == [[0, 0]]
    assert asked[2:] == [1]


def test_where_one_label_matters_the_others_make_nothing_to_be_looked_at_again():
    asked = []

    def corner(chips):
        asked.append(len(chips))
        return chips[:, 0, :2, 0].astype(np.float32) / 100

    chips = np.zeros((3, 6, 6, 3), np.uint8)
    chips[0, 0, :2] = [[4], [90]]
    chips[1, 0, :2] = [[80], [90]]
    scores = Averaged(corner, 0, alone=True)(chips)
    assert asked == [3, 7]
    # Two views of eight see a corner where it was, and one sees a pixel beside it there.
    np.testing.assert_allclose(scores, np.float32([[0.04, 0.9], [0.8 * 2 / 8, 0.9 / 8], [0, 0]]), atol=1e-7)


@pytest.mark.parametrize("which", RUNTIMES)
def test_a_detector_is_loaded_once(tiny, monkeypatch, which):
    loads, gate = [], threading.Barrier(4)
    name = DETECTORS[which].__name__
    monkeypatch.setattr(
        f"geoscan.model.{which}_runtime.{name}", lambda package, batch: loads.append((which, batch)) or object()
    )
    runtime._detector.cache_clear()

    def ask(_):
        gate.wait()
        return detector(tiny.path, tiny.card.digest, 8, which)

    try:
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(ask, range(4)))
        assert len({id(one) for one in found}) == 1
        assert loads == [(which, 8)]
        assert detector(tiny.path, tiny.card.digest, 16, which) is not found[0]
    finally:
        runtime._detector.cache_clear()


@pytest.mark.parametrize("which", RUNTIMES)
def test_a_replaced_package_is_never_used_by_mistake(tmp_path, which):
    first = package(tmp_path / "one", seed=1)
    second = package(tmp_path / "one", seed=2)
    with pytest.raises(PackageError, match="replaced while it was in use"):
        detector(first.path, first.card.digest, 4, which)
    assert detector(second.path, second.card.digest, 4, which)(CHIPS).shape == (11, 17)


FORKED = """
import os, sys
from pathlib import Path

from geoscan.errors import InputError
from geoscan.model.runtime import detector

ask = lambda: detector(Path(sys.argv[1]), sys.argv[2], 4, "openvino")
ask()
if child := os.fork():
    assert os.waitpid(child, 0)[1] == 0
else:
    try:
        ask()
    except InputError as error:
        print(error, flush=True)
        os._exit(0)
    os._exit(1)
"""


def test_a_fork_of_a_process_that_ran_a_model_is_told_so_and_does_not_hang(tiny):
    words = [sys.executable, "-c", FORKED, str(tiny.path), tiny.card.digest]
    told = subprocess.run(words, capture_output=True, text=True, check=True, timeout=100).stdout
    assert "forked from one that had run a model" in told
    assert told.count("\n") == 1


@pytest.mark.parametrize(("which", "module"), [("tensorflow", "geoscan.model.backend"), ("openvino", "openvino")])
def test_a_machine_that_lacks_a_runtime_is_one_line(tiny, monkeypatch, which, module):
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules, f"geoscan.model.{which}_runtime")
    monkeypatch.delitem(sys.modules, "geoscan.model.openvino_backend", raising=False)
    runtime._detector.cache_clear()
    with pytest.raises(PackageError, match=f"the runtime {which} cannot be used on .*; install it there, or") as caught:
        detector(tiny.path, tiny.card.digest, 4, which)
    assert "\n" not in str(caught.value)


@pytest.fixture
def earlier(tiny, tmp_path):
    """A package of an earlier version, as far as it is looked at here."""
    from geoscan.model.package import Package

    return Package(tmp_path / "earlier", tiny.card)


@pytest.mark.parametrize(
    ("asked", "gpu", "chosen"),
    [
        ("auto", False, "openvino"),
        ("auto", True, "tensorflow"),
        ("openvino", True, "openvino"),
        ("tensorflow", False, "tensorflow"),
    ],
)
def test_auto_is_what_suits_the_machine(tiny, monkeypatch, asked, gpu, chosen):
    monkeypatch.setattr(runtime, "_tensorflow_has_gpu", lambda: gpu)
    assert runtime_for(tiny, asked) == chosen


def test_a_package_without_an_export_runs_on_tensorflow_and_that_is_said_once(earlier, monkeypatch, caplog):
    monkeypatch.setattr(runtime, "_tensorflow_has_gpu", lambda: False)
    with caplog.at_level(logging.INFO, "geoscan"):
        assert [runtime_for(earlier), runtime_for(earlier)] == ["tensorflow"] * 2
    assert len(caplog.messages) == 1
    assert "runs on TensorFlow, which starts slower" in caplog.text
    with pytest.raises(PackageError, match=r"made without the network that OpenVINO reads; pass --runtime tensorflow"):
        runtime_for(earlier, "openvino")


def test_an_unknown_runtime_is_refused(tiny):
    with pytest.raises(InputError, match="no runtime is called 'torch'; choose one of auto, tensorflow, openvino"):
        runtime_for(tiny, "torch")


def test_tensorflow_is_not_asked_where_there_is_no_gpu(monkeypatch):
    monkeypatch.setattr(runtime, "may_have_gpu", lambda: False)
    monkeypatch.setitem(sys.modules, "geoscan.model.backend", None)
    runtime._tensorflow_has_gpu.cache_clear()
    try:
        assert not runtime._tensorflow_has_gpu()
    finally:
        runtime._tensorflow_has_gpu.cache_clear()


@pytest.mark.parametrize("content", ["", "<net", "<net name='x' version='11'><layers></layers></net>"])
def test_an_export_that_is_no_network_is_one_line(tmp_path, content):
    made = package(tmp_path / "made")
    (made.path / NETWORK).write_text(content)
    with pytest.raises(
        PackageError,
        match=r"network\.xml cannot be run|is no network that can be read|not the one that its card describes",
    ) as caught:
        OpenVinoDetector(made)
    assert "\n" not in str(caught.value)


def test_an_export_that_its_card_does_not_describe_is_refused(tmp_path):
    made = package(tmp_path / "made", DenseNetSpec(blocks=(1,), growth=4, stem=8, chip=32, heads=MINE_HEADS))
    assert made.card.labels == (MINE,)
    other = package(tmp_path / "other")
    (other.path / NETWORK).replace(made.path / NETWORK)
    (other.path / "network.bin").replace(made.path / "network.bin")
    with pytest.raises(PackageError, match="not the one that its card describes"):
        OpenVinoDetector(made)
