import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
from tiny_model import SPEC, card, network, package

from geoscan.errors import PackageError
from geoscan.model import runtime
from geoscan.model.runtime import Averaged, TensorFlowDetector, detector
from geoscan.model.spec import EfficientNetSpec
from geoscan.symmetry import symmetry

LITE = EfficientNetSpec(side=48, chip=32)
RNG = np.random.default_rng(5)
CHIPS = RNG.integers(0, 256, (11, 32, 32, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return package(tmp_path_factory.mktemp("runtime") / "tiny", seed=1)


@pytest.fixture(scope="module")
def plain(tiny):
    return TensorFlowDetector(tiny, batch=4)


@pytest.fixture(scope="module")
def eager(tiny):
    answers = tiny.network()(CHIPS, training=False)
    return np.concatenate([np.asarray(answers[head.name]) for head in tiny.card.spec.heads], axis=1)


def test_scores_are_the_networks(plain, eager):
    scores = plain(CHIPS)
    assert scores.shape == (11, 17)
    assert scores.dtype == np.float32
    assert eager.std(axis=0).max() > 1e-3, "a network that answers everything alike would show nothing"
    np.testing.assert_allclose(scores, eager, atol=1e-4)


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


def test_features_are_those_that_the_heads_answer_from(tiny, plain):
    scores, features = TensorFlowDetector(tiny, batch=4, features=True).describe(CHIPS)
    np.testing.assert_allclose(scores, plain(CHIPS), atol=1e-5)
    kernel, bias = tiny.network().get_layer("land").get_weights()
    land = 1 / (1 + np.exp(-(features @ kernel + bias)))
    np.testing.assert_allclose(land, scores[:, 4:], atol=1e-5)


@pytest.mark.parametrize("batch", [1, 16])
def test_a_score_does_not_depend_on_the_batch_size(tiny, plain, batch):
    np.testing.assert_allclose(TensorFlowDetector(tiny, batch=batch)(CHIPS), plain(CHIPS), atol=1e-5)


def test_compiled_by_xla_the_same(tiny, plain):
    np.testing.assert_allclose(TensorFlowDetector(tiny, batch=4, compiled=True)(CHIPS), plain(CHIPS), atol=1e-5)


@pytest.mark.parametrize(
    ("spec", "gpus", "given", "expected"),
    [
        (SPEC, [], None, False),
        (LITE, [], None, False),
        (SPEC, ["a GPU"], None, True),
        (LITE, ["a GPU"], None, True),
        (SPEC, ["a GPU"], False, False),
        (LITE, [], True, True),
    ],
)
def test_xla_is_chosen_where_it_is_faster_unless_told(monkeypatch, spec, gpus, given, expected):
    from geoscan.model.backend import tf

    chosen = []
    monkeypatch.setattr(tf, "function", lambda run, **how: chosen.append(how["jit_compile"]))
    monkeypatch.setattr("geoscan.model.backend.gpus", lambda: gpus)
    monkeypatch.setattr(runtime, "_half_precision", lambda package: None)
    stand_in = SimpleNamespace(card=card(spec), network=lambda: None)
    TensorFlowDetector(stand_in, batch=4, compiled=given)
    assert chosen == [expected]


def test_an_efficientnet_scores_as_its_network():
    made = network(LITE)
    answers = made(CHIPS, training=False)
    scores = TensorFlowDetector(SimpleNamespace(card=card(LITE), network=lambda: made), batch=4)(CHIPS)
    expected = np.concatenate([answers["weather"], answers["land"]], axis=1)
    assert expected.std(axis=0).max() > 1e-3
    np.testing.assert_allclose(scores, expected, atol=1e-4)


def test_no_chips_no_scores(plain):
    assert plain(CHIPS[:0]).shape == (0, 17)


def test_threads_may_call_at_once(plain):
    parts = [CHIPS[i : i + 3] for i in range(9)]
    expected = [plain(part) for part in parts]
    with ThreadPoolExecutor(6) as pool:
        for _ in range(5):
            for found, wanted in zip(pool.map(plain, parts), expected, strict=True):
                np.testing.assert_array_equal(found, wanted)


def test_a_detector_is_loaded_once(tiny, monkeypatch):
    loads, gate = [], threading.Barrier(4)
    monkeypatch.setattr(runtime, "TensorFlowDetector", lambda package, batch: loads.append(batch) or object())
    runtime._detector.cache_clear()

    def ask(_):
        gate.wait()
        return detector(tiny.path, tiny.card.digest, 8)

    try:
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(ask, range(4)))
        assert len({id(one) for one in found}) == 1
        assert loads == [8]
        assert detector(tiny.path, tiny.card.digest, 16) is not found[0]
    finally:
        runtime._detector.cache_clear()


def test_averaged_scores_do_not_know_which_side_is_up():
    asked = []

    def corner(chips):
        asked.append(chips)
        return chips[:, 0, :2, 0].astype(np.float32) / 255

    chips = np.random.default_rng(0).integers(6, 256, (3, 6, 6, 3), np.uint8)
    scores = Averaged(corner)(chips)
    assert len({chip.tobytes() for some in asked for chip in some}) == 3 * 8
    for which in range(8):
        np.testing.assert_allclose(Averaged(corner)(symmetry(chips, which)), scores, rtol=1e-6)
    np.testing.assert_allclose(scores[:, 0], chips[:, [0, 0, -1, -1], [0, -1, 0, -1], 0].mean(axis=1) / 255, rtol=1e-6)


def test_only_what_may_be_something_is_looked_at_again():
    asked = []

    def corner(chips):
        asked.append(len(chips))
        return chips[:, 0, :2, 0].astype(np.float32) / 100

    chips = np.zeros((5, 6, 6, 3), np.uint8)
    chips[1, 0, 0] = 100  # in a corner
    chips[3, 0, 1] = 2  # beside it
    chips[4, 0, :2] = 1  # too faint
    scores = Averaged(corner)(chips)
    assert asked == [5, 7 * 2]
    expected = np.float32([[0, 0], [2 / 8, 0], [0, 0], [0, 0.02 / 8], [0.01, 0.01]])
    np.testing.assert_allclose(scores, expected, atol=1e-7)
    assert Averaged(corner)(chips[:1]).tolist() == [[0, 0]]
    assert asked[2:] == [1]


def test_a_replaced_package_is_never_used_by_mistake(tmp_path):
    first = package(tmp_path / "one", seed=1)
    second = package(tmp_path / "one", seed=2)
    with pytest.raises(PackageError, match="replaced while it was in use"):
        detector(first.path, first.card.digest, 4)
    assert detector(second.path, second.card.digest, 4)(CHIPS).shape == (11, 17)


def test_on_a_gpu_it_computes_in_half_precision_with_close_scores(tiny, eager, monkeypatch):
    """TensorFlow places what is meant for an absent GPU on the CPU, so only the speed is not shown."""
    monkeypatch.setattr("geoscan.model.backend.gpus", lambda: ["a GPU"])
    half = TensorFlowDetector(tiny, batch=4, compiled=False)
    assert half._device == "/GPU:0"
    layers = {layer.name: layer for layer in half._network.layers}
    assert layers["stem_conv"].compute_dtype == "float16"
    assert {layers[head.name].compute_dtype for head in tiny.card.spec.heads} == {"float32"}
    scores = half(CHIPS)
    assert scores.dtype == np.float32
    assert (scores != eager).any()
    np.testing.assert_allclose(scores, eager, atol=5e-3)
