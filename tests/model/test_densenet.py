from dataclasses import replace

import numpy as np
import pytest
from tiny_model import SPEC, network

from geoscan.model.backend import start
from geoscan.model.spec import PRESETS

start()
import keras  # noqa: E402

from geoscan.model.densenet import FEATURES, build  # noqa: E402

CHIPS = np.random.default_rng(1).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)


def test_densenet121_is_the_papers():
    spec = PRESETS["densenet121"]
    backbone = {tuple(w.path.split("/")[-2:]): w.shape for w in build(spec).weights}
    heads = [backbone.pop((head.name, part)) for head in spec.heads for part in ("kernel", "bias")]
    assert [shape[0] for shape in heads[::2]] == [1024, 1024]
    assert sum(int(np.prod(shape)) for shape in backbone.values()) == 7_037_504


@pytest.mark.large
def test_densenet121_has_the_weights_of_keras_applications():
    theirs = keras.applications.DenseNet121(include_top=False, weights=None, input_shape=(256, 256, 3))
    ours = [w for w in build(PRESETS["densenet121"]).weights if w.path.split("/")[0] not in {"weather", "land"}]
    assert [w.shape for w in ours] == [w.shape for w in theirs.weights]


def test_heads_answer_in_their_ranges():
    answers = network()(CHIPS)
    assert list(answers) == ["weather", "land"]
    weather, land = np.asarray(answers["weather"]), np.asarray(answers["land"])
    assert (weather.shape, land.shape) == ((5, 4), (5, 13))
    assert weather.dtype == land.dtype == np.float32
    np.testing.assert_allclose(weather.sum(axis=1), 1, atol=1e-6)
    assert weather.min() >= 0
    assert land.min() >= 0
    assert land.max() <= 1
    assert land.std(axis=0).max() > 1e-4, "different chips, different scores"


def test_any_number_type_gives_the_same():
    made = network()
    np.testing.assert_array_equal(made(CHIPS)["land"], made(CHIPS.astype(np.float32))["land"])


@pytest.mark.parametrize(
    "change", [{}, {"stem_stride": 4}, {"stem_stride": 1}, {"shrink": 4}, {"blocks": (2, 1, 1), "chip": 48}]
)
def test_features_have_one_cell_for_each_reduction(change):
    spec = replace(SPEC, **change)
    made = build(spec)
    channels = spec.stem
    for i, depth in enumerate(spec.blocks):
        channels += depth * spec.growth
        if i + 1 < len(spec.blocks):
            channels = int(channels * spec.compression)
    cells = spec.chip // spec.reduction
    assert made.get_layer(FEATURES).output.shape == (None, cells, cells, channels)


def test_activation_maps_are_exact():
    """The mean over all cells of features times a head's weights is what the head computes before its activation."""
    made = network()
    maps = keras.Model(made.input, [made.get_layer(FEATURES).output, made.output["land"]])
    features, land = (np.asarray(part) for part in maps(CHIPS))
    kernel, bias = made.get_layer("land").get_weights()
    cells = features @ kernel + bias
    np.testing.assert_allclose(1 / (1 + np.exp(-cells.mean(axis=(1, 2)))), land, atol=1e-6)


def test_same_seed_builds_the_same_network():
    one, other, third = network(seed=3), network(seed=3), network(seed=4)
    assert all((a == b).all() for a, b in zip(one.get_weights(), other.get_weights(), strict=True))
    assert any((a != b).any() for a, b in zip(one.get_weights(), third.get_weights(), strict=True))


def test_half_precision_keeps_the_heads_in_single():
    half = build(SPEC, dtype="mixed_float16")
    single = network()
    half.set_weights(single.get_weights())
    assert half.get_layer("last_relu").compute_dtype == "float16"
    assert half.get_layer(FEATURES).compute_dtype == "float32"
    answers = half(CHIPS)
    for name, expected in single(CHIPS).items():
        assert np.asarray(answers[name]).dtype == np.float32
        np.testing.assert_allclose(answers[name], expected, atol=5e-3)


def test_dropout_is_for_training_alone():
    made = network(replace(SPEC, dropout=0.5))
    np.testing.assert_array_equal(made(CHIPS)["land"], made(CHIPS)["land"])
    assert (np.asarray(made(CHIPS, training=True)["land"]) != np.asarray(made(CHIPS)["land"])).any()
