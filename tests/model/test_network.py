"""What holds for the network of either family."""

import importlib
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from tiny_model import SPEC, package
from tiny_model import network as build_tiny

from geoscan.model import backend
from geoscan.model.backend import keras
from geoscan.model.network import FEATURES, POOL, build, with_output
from geoscan.model.spec import MINE_HEADS, EfficientNetSpec

LITE = EfficientNetSpec(side=48, chip=32)
CHIPS = np.random.default_rng(1).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
network = cache(build_tiny)
families = pytest.mark.parametrize(
    "spec", [SPEC, pytest.param(LITE, marks=pytest.mark.large)], ids=lambda spec: spec.family
)
"""EfficientNets are teachers, and slow to build."""


@families
def test_heads_answer_in_their_ranges(spec):
    answers = network(spec)(CHIPS)
    assert list(answers) == ["weather", "land"]
    weather, land = np.asarray(answers["weather"]), np.asarray(answers["land"])
    assert (weather.shape, land.shape) == ((5, 4), (5, 13))
    assert weather.dtype == land.dtype == np.float32
    np.testing.assert_allclose(weather.sum(axis=1), 1, atol=1e-6)
    assert weather.min() >= 0
    assert land.min() >= 0
    assert land.max() <= 1
    assert land.std(axis=0).max() > 1e-4, "different chips, different scores"


@families
def test_names_are_the_specs(spec):
    made = network(spec)
    assert made.name == spec.family
    assert made.input.shape == (None, spec.chip, spec.chip, 3)
    assert made.get_layer(FEATURES).output.shape[3] == made.get_layer("land").kernel.shape[0]
    assert all(layer.name in {"weather", "land"} for layer in made.layers if isinstance(layer, keras.layers.Dense))
    single = build(replace(spec, heads=MINE_HEADS))
    assert {name: answer.shape for name, answer in single.output.items()} == {"land": (None, 1)}


@pytest.fixture
def _settings_of_keras():
    settings = keras.config.image_data_format(), keras.config.floatx(), keras.config.epsilon()
    yield
    keras.config.set_image_data_format(settings[0])
    keras.config.set_floatx(settings[1])
    keras.config.set_epsilon(settings[2])


@families
@pytest.mark.usefixtures("_settings_of_keras")
def test_networks_are_the_same_whatever_keras_json_says(spec):
    wanted, shape = np.asarray(network(spec)(CHIPS)["land"]), network(spec).output_shape
    keras.config.set_image_data_format("channels_first")
    keras.config.set_floatx("float16")
    keras.config.set_epsilon(0.1)
    importlib.reload(backend)
    made = build_tiny(spec)
    assert made.output_shape == shape
    answer = made(CHIPS)["land"]
    assert answer.dtype == "float32"
    np.testing.assert_array_equal(answer, wanted)


@families
def test_any_number_type_gives_the_same(spec):
    made = network(spec)
    np.testing.assert_array_equal(made(CHIPS)["land"], made(CHIPS.astype(np.float32))["land"])


@families
def test_calls_infer_unless_told_to_train(spec, tmp_path):
    made = network(spec)
    before = made.get_weights()
    opened = package(tmp_path / "made", spec).network()
    expected = np.asarray(made(CHIPS, training=False)["land"])
    for one in (made, opened):
        np.testing.assert_array_equal(one(CHIPS)["land"], expected)
        assert all((a == b).all() for a, b in zip(one.get_weights(), before, strict=True)), "averages stay"
    trained = build(spec)
    trained.set_weights(before)
    assert (np.asarray(trained(CHIPS, training=True)["land"]) != expected).any()
    averages, kept = (one.get_layer("stem_norm").moving_mean.numpy() for one in (trained, made))
    assert (averages != kept).all()


@families
def test_colours_are_scaled_inside(spec):
    """Chips of the mean colour are the zeros, whatever that colour is."""
    light, dark = (build(replace(spec, mean=(mean,) * 3, std=(8.0,) * 3)) for mean in (200.0, 20.0))
    dark.set_weights(light.get_weights())
    few = CHIPS // 16
    np.testing.assert_allclose(light(few + 180)["land"], dark(few)["land"], atol=1e-5)


@families
def test_activation_maps_are_exact(spec):
    """The mean over all cells of features times a head's weights is what the head computes before its activation."""
    made = network(spec)
    maps = keras.Model(made.input, [made.get_layer(FEATURES).output, made.output["land"]])
    features, land = (np.asarray(part) for part in maps(CHIPS))
    kernel, bias = made.get_layer("land").get_weights()
    cells = features @ kernel + bias
    np.testing.assert_allclose(1 / (1 + np.exp(-cells.mean(axis=(1, 2)))), land, atol=1e-6)


@families
def test_one_output_more_shares_the_weights(spec):
    made = network(spec)
    seen = with_output(made, "seen", POOL)
    maps = keras.Model(made.input, made.get_layer(FEATURES).output)(CHIPS)
    answers = seen(CHIPS)
    np.testing.assert_allclose(answers["seen"], np.asarray(maps).mean((1, 2)), atol=1e-5)
    np.testing.assert_array_equal(answers["land"], made(CHIPS)["land"])
    told = with_output(made, "told", POOL, 5)
    assert told(CHIPS)["told"].shape == (len(CHIPS), 5)
    told.get_layer("land").bias.assign_add(np.ones(13, np.float32))
    assert (np.asarray(made(CHIPS)["land"]) > np.asarray(answers["land"])).all()
    assert set(made.output) == {"weather", "land"}


@families
def test_same_seed_builds_the_same_network(spec):
    one, other, third = network(spec, seed=3), build_tiny(spec, seed=3), network(spec, seed=4)
    assert all((a == b).all() for a, b in zip(one.get_weights(), other.get_weights(), strict=True))
    assert any((a != b).any() for a, b in zip(one.get_weights(), third.get_weights(), strict=True))


@pytest.mark.parametrize(
    ("spec", "atol"),
    [(SPEC, 5e-3), pytest.param(LITE, 2e-2, marks=pytest.mark.large)],
    ids=[SPEC.family, LITE.family],
)
def test_half_precision_keeps_the_heads_in_single(spec, atol):
    """Close scores: the more layers, the more roundings."""
    half = build(spec, dtype="mixed_float16")
    single = network(spec)
    half.set_weights(single.get_weights())
    assert half.get_layer("last_relu").compute_dtype == "float16"
    assert {half.get_layer(name).compute_dtype for name in (FEATURES, "pool", "weather", "land")} == {"float32"}
    answers = half(CHIPS)
    for name, expected in single(CHIPS).items():
        assert np.asarray(answers[name]).dtype == np.float32
        np.testing.assert_allclose(answers[name], expected, atol=atol)


@families
def test_dropout_is_for_training_alone(spec):
    made = build_tiny(replace(spec, dropout=0.5))
    np.testing.assert_array_equal(made(CHIPS)["land"], made(CHIPS)["land"])
    # Normalisation too behaves otherwise in training, so the trunk stays as it is.
    heads = keras.Model(made.get_layer(FEATURES).output, made.output)
    features = np.random.default_rng(2).random((5, *made.get_layer(FEATURES).output.shape[1:]), np.float32)
    assert (np.asarray(heads(features, training=True)["land"]) != np.asarray(heads(features)["land"])).any()
