"""What only TensorFlow's detector does; the rest is in `test_runtime`."""

from types import SimpleNamespace

import numpy as np
import pytest
from tiny_model import SPEC, card, package

from geoscan.model import tensorflow_runtime
from geoscan.model.spec import EfficientNetSpec
from geoscan.model.tensorflow_runtime import TensorFlowDetector

LITE = EfficientNetSpec(side=48, chip=32)
CHIPS = np.random.default_rng(5).integers(0, 256, (11, 32, 32, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return package(tmp_path_factory.mktemp("runtime") / "tiny", seed=1)


@pytest.fixture(scope="module")
def plain(tiny):
    return TensorFlowDetector(tiny, batch=4)


def test_features_are_those_that_the_heads_answer_from(tiny, plain):
    scores, features = TensorFlowDetector(tiny, batch=4, features=True).describe(CHIPS)
    np.testing.assert_allclose(scores, plain(CHIPS), atol=1e-5)
    kernel, bias = tiny.network().get_layer("land").get_weights()
    land = 1 / (1 + np.exp(-(features @ kernel + bias)))
    np.testing.assert_allclose(land, scores[:, 4:], atol=1e-5)


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
    monkeypatch.setattr(tensorflow_runtime, "_half_precision", lambda package, devices: [None])
    monkeypatch.setattr(TensorFlowDetector, "_share", lambda self, *_: None)
    stand_in = SimpleNamespace(card=card(spec), network=lambda: None)
    TensorFlowDetector(stand_in, batch=4, compiled=given)
    assert chosen == [expected]


@pytest.fixture
def pretend_gpus(monkeypatch):
    """TensorFlow places what is meant for an absent GPU on the CPU, so only the speed is not shown."""
    return lambda n: monkeypatch.setattr("geoscan.model.backend.gpus", lambda: ["a GPU"] * n)


def test_on_a_gpu_it_computes_in_half_precision_with_close_scores(tiny, plain, pretend_gpus):
    pretend_gpus(1)
    (half,) = tensorflow_runtime._half_precision(tiny, ["/GPU:0"])
    layers = {layer.name: layer for layer in half.layers}
    assert layers["stem_conv"].compute_dtype == "float16"
    assert {layers[head.name].compute_dtype for head in tiny.card.spec.heads} == {"float32"}
    scores = TensorFlowDetector(tiny, batch=4, compiled=False)(CHIPS)
    assert scores.dtype == np.float32
    assert (scores != plain(CHIPS)).any()
    np.testing.assert_allclose(scores, plain(CHIPS), atol=5e-3)


def test_several_gpus_share_a_call_and_its_order_stays(tiny, pretend_gpus):
    pretend_gpus(1)
    alone = TensorFlowDetector(tiny, batch=2, compiled=False)(CHIPS)
    pretend_gpus(3)
    shared = TensorFlowDetector(tiny, batch=2, compiled=False)
    turns = []
    shared._lanes = [
        lambda chips, n=n, lane=lane: turns.append(n) or lane(chips) for n, lane in enumerate(shared._lanes)
    ]
    np.testing.assert_allclose(shared(CHIPS), alone, atol=1e-6)
    assert turns == [0, 1, 2, 0, 1, 2]


@pytest.mark.parametrize(("fits", "taken"), [(4, 4), (3, 2), (1, 1)])
def test_a_gpu_takes_as_many_chips_at_once_as_fit(tiny, plain, pretend_gpus, monkeypatch, fits, taken):
    from geoscan.model.backend import tf

    whole = TensorFlowDetector._lane

    def lane(self, network, device):
        run = whole(self, network, device)

        def limited(chips):
            if len(chips) > fits:
                raise tf.errors.ResourceExhaustedError(None, None, "out of memory")
            return run(chips)

        return limited

    monkeypatch.setattr(TensorFlowDetector, "_lane", lane)
    pretend_gpus(2)
    detect = TensorFlowDetector(tiny, batch=4, compiled=False)
    assert detect._batch == taken
    np.testing.assert_allclose(detect(CHIPS), plain(CHIPS), atol=5e-3)
    fits = 0
    with pytest.raises(tf.errors.ResourceExhaustedError):
        TensorFlowDetector(tiny, batch=4, compiled=False)
