import numpy as np
import pytest

from geoscan.model.backend import keras, tf
from geoscan.model.normalization import BatchNormalization

RNG = np.random.default_rng(3)
MAPS = RNG.normal(2, 3, (6, 5, 4, 7)).astype(np.float32)


def twins(dtype="float32"):
    """Our layer and Keras' own, with the same weights that say something."""
    made = [
        kind(momentum=0.9, epsilon=1e-3, dtype=dtype) for kind in (BatchNormalization, keras.layers.BatchNormalization)
    ]
    weights = [RNG.uniform(0.5, 2, 7) for _ in range(4)]
    for layer in made:
        layer.build(MAPS.shape)
        layer.set_weights(weights)
    return made


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("dtype", "near"), [("float32", 1e-5), ("mixed_float16", 2e-2)])
def test_it_answers_as_keras_own(training, dtype, near):
    ours, theirs = twins(dtype)
    one, other = ours(MAPS, training=training), theirs(MAPS, training=training)
    assert one.dtype == other.dtype
    np.testing.assert_allclose(one, other, atol=near)


def test_averages_move_as_keras_own_but_for_the_bias_of_a_variance():
    ours, theirs = twins()
    before = ours.moving_variance.numpy()
    for layer in (ours, theirs):
        layer(MAPS, training=True)
    np.testing.assert_allclose(ours.moving_mean, theirs.moving_mean, rtol=1e-5)
    n = MAPS[..., 0].size
    np.testing.assert_allclose(
        ours.moving_variance - 0.9 * before, (theirs.moving_variance - 0.9 * before) * n / (n - 1), rtol=1e-4
    )


def test_slopes_are_those_of_keras_own():
    found = []
    for layer in twins():
        with tf.GradientTape() as tape:
            maps = tf.constant(MAPS)
            tape.watch(maps)
            loss = tf.reduce_sum(layer(maps, training=True) ** 3)
        found.append(tape.gradient(loss, [maps, layer.gamma.value, layer.beta.value]))
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3 * np.abs(other).max())


def test_a_frozen_layer_stays_as_it_is_in_training():
    ours, _ = twins()
    ours.trainable = False
    before = ours.get_weights()
    np.testing.assert_array_equal(ours(MAPS, training=True), ours(MAPS, training=False))
    for one, other in zip(ours.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)
