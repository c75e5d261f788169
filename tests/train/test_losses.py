import numpy as np
import pytest

from geoscan.model.backend import tf
from geoscan.model.spec import Head
from geoscan.train.losses import FeatureLoss, loss_of, positive_weights

WEATHER = Head("weather", ("clear", "haze", "cloudy"), "softmax")
LAND = Head("land", ("road", "water"), "sigmoid")
ONES = {"weather": np.ones(3, np.float32), "land": np.ones(2, np.float32)}


def gradient(head, weights, targets, answers):
    answers = tf.constant(answers, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(answers)
        loss = loss_of(head, weights)(tf.constant(targets, tf.float32), answers)
    return np.asarray(loss), np.asarray(tape.gradient(loss, answers))


def test_with_weights_of_one_it_is_plain_binary_cross_entropy():
    rng = np.random.default_rng(0)
    answers, targets = rng.uniform(0.01, 0.99, (6, 2)), rng.integers(0, 2, (6, 2))
    loss, _ = gradient(LAND, ONES["land"], targets, answers)
    wanted = -(targets * np.log(answers) + (1 - targets) * np.log(1 - answers)).sum(axis=1)
    np.testing.assert_allclose(loss, wanted, rtol=1e-4)


def test_with_weights_of_one_it_is_plain_categorical_cross_entropy():
    rng = np.random.default_rng(0)
    answers = rng.dirichlet(np.ones(3), 6)
    targets = np.eye(3)[rng.integers(0, 3, 6)]
    loss, _ = gradient(WEATHER, ONES["weather"], targets, answers)
    np.testing.assert_allclose(loss, -np.log((answers * targets).sum(axis=1)), rtol=1e-4)


def test_an_unknown_target_moves_nothing():
    answers, targets = [[0.3, 0.6]], [[np.nan, 1.0]]
    loss, slope = gradient(LAND, ONES["land"], targets, answers)
    assert loss == pytest.approx(-np.log(0.6), rel=1e-5)
    np.testing.assert_allclose(slope, [[0, -1 / 0.6]], rtol=1e-5)
    loss, slope = gradient(LAND, ONES["land"], [[np.nan, np.nan]], answers)
    assert loss == 0
    assert (slope == 0).all()


def test_unknown_weather_moves_nothing():
    loss, slope = gradient(WEATHER, ONES["weather"], [[np.nan] * 3], [[0.2, 0.3, 0.5]])
    assert loss == 0
    assert (slope == 0).all()


@pytest.mark.parametrize("answer", [0.0, 1.0])
def test_stays_finite_at_the_ends(answer):
    for target in (0.0, 1.0, np.nan):
        loss, slope = gradient(LAND, ONES["land"], [[target, target]], [[answer, answer]])
        assert np.isfinite(loss).all()
        assert np.isfinite(slope).all()


def test_weights_reach_positives_and_only_them():
    answers = [[0.3, 0.6]]
    weights = np.array([3, 1], np.float32)
    for targets, factor in ([[1.0, 1.0]], 3), ([[0.0, 0.0]], 1):
        _, plain = gradient(LAND, ONES["land"], targets, answers)
        _, weighted = gradient(LAND, weights, targets, answers)
        np.testing.assert_allclose(weighted, plain * [[factor, 1]], rtol=1e-5)
    _, plain = gradient(WEATHER, ONES["weather"], [[0, 1, 0]], [[0.2, 0.3, 0.5]])
    _, weighted = gradient(WEATHER, np.array([1, 3, 1], np.float32), [[0, 1, 0]], [[0.2, 0.3, 0.5]])
    np.testing.assert_allclose(weighted, 3 * plain, rtol=1e-5)


def test_a_soft_target_pulls_towards_itself():
    for answer, sign in (0.2, -1), (0.7, 0), (0.9, 1):
        _, slope = gradient(LAND, ONES["land"], [[0.7, np.nan]], [[answer, 0.5]])
        assert np.sign(np.round(slope[0, 0], 4)) == sign


def test_a_soft_target_is_where_the_loss_is_least():
    for teacher in (0.1, 0.35, 0.8):
        for answer, sign in (teacher - 0.05, -1), (teacher, 0), (teacher + 0.05, 1):
            _, slope = gradient(LAND, ONES["land"], [[teacher, np.nan]], [[answer, 0.5]])
            assert np.sign(np.round(slope[0, 0], 3)) == sign
    sky = [[0.5, 0.3, 0.2]]
    loss, slope = gradient(WEATHER, ONES["weather"], sky, sky)
    np.testing.assert_allclose(loss, [-(np.log(sky[0]) * sky[0]).sum()], rtol=1e-5)
    np.testing.assert_allclose(slope, [[-1] * 3], rtol=1e-5)  # the same for all, which softmax turns into none


def test_weights_grow_with_rarity_up_to_a_limit():
    targets = np.zeros((100, 5), np.float32)
    targets[:80, 0] = targets[:50, 1] = targets[:25, 2] = targets[:1, 3] = 1
    weights = positive_weights(targets)
    np.testing.assert_allclose(weights, [1, 1, np.sqrt(3), 2, 2], rtol=1e-6)
    assert weights.dtype == np.float32


def test_weights_count_known_chips_alone():
    targets = np.full((100, 1), np.nan, np.float32)
    targets[:8] = 0
    targets[:2] = 1
    np.testing.assert_allclose(positive_weights(targets), [np.sqrt(3)], rtol=1e-6)


def test_the_loss_of_features_is_least_where_they_are_alike_and_grows_with_its_weight():
    targets = np.array([[1.0, -2.0, 0.5], [0.0, 1.0, 3.0]], np.float32)
    answers = np.array([[2.0, -2.0, 2.5], [0.0, 1.0, 3.0]], np.float32)
    np.testing.assert_allclose(FeatureLoss(3.0)(targets, targets), [0, 0])
    np.testing.assert_allclose(FeatureLoss(3.0)(targets, answers), [5, 0], rtol=1e-6)
