"""The last layer is fitted anew so that each campaign counts alike."""

from dataclasses import replace

import numpy as np
import pytest
import tiny_model

from geoscan.errors import PackageError
from geoscan.labels import WEATHER
from geoscan.model.network import build
from geoscan.model.spec import MINE_HEADS, DenseNetSpec, Head
from geoscan.model.tensorflow_runtime import NetworkDetector
from geoscan.train.last_layer import MineRow

SPEC = DenseNetSpec(blocks=(1,), growth=4, stem=4, chip=16, stem_stride=1, heads=MINE_HEADS)
BEFORE = MineRow("land", 0, np.array([1, 1, 1], np.float32), 0.0)


def chips(campaigns, seed=0):
    """Give features, mines and numbers of campaigns, from (chips, mine, centre) of each."""
    rng = np.random.default_rng(seed)
    features = [rng.normal(centre, 0.5, (n, len(centre))) for n, _, centre in campaigns]
    mines = [np.full(n, mine) for n, mine, _ in campaigns]
    numbers = [np.full(n, number) for number, (n, _, _) in enumerate(campaigns)]
    return np.concatenate(features).astype(np.float32), np.concatenate(mines), np.concatenate(numbers)


def test_many_small_campaigns_outweigh_a_large_one():
    """The large one alone differs in the second feature, the small ones in the first."""
    small = [(20, True, (2, 0, 0))] * 3
    known = chips([(2000, True, (0, 2, 0)), *small, (2000, False, (0, 0, 0)), (20, False, (0, 0, 0))])
    fitted = BEFORE.by_campaigns(*known)
    assert fitted.weights[0] > 2 * fitted.weights[1] > 0
    assert abs(fitted.weights[2]) < fitted.weights[1]


def test_a_feature_that_changes_from_campaign_to_campaign_counts_less():
    """Two features set mines apart as far on average; one of them as much in each campaign."""
    mines = [(100, True, (2, 2 + off, 0)) for off in (-2, 0, 2)]
    others = [(100, False, (0, off, 0)) for off in (-2, 0, 2)]
    fitted = BEFORE.by_campaigns(*chips([*mines, *others]))
    assert fitted.weights[0] > 1.5 * fitted.weights[1] > 0


def test_means_of_both_classes_score_alike_whatever_was_learned():
    features, mines, campaigns = chips([(40, True, (3, 1, 5)), (400, True, (1, 1, 5)), (300, False, (0, 0, 5))])
    fitted = BEFORE.by_campaigns(features, mines, campaigns)
    means = np.stack([features[campaigns == number].mean(axis=0) for number in range(3)])
    mine, other = means[:2].mean(axis=0), means[2]
    assert fitted.scores(np.stack([mine, other, (mine + other) / 2])) == pytest.approx([0.95, 0.05, 0.5], abs=1e-4)
    assert (fitted.layer, fitted.column) == (BEFORE.layer, BEFORE.column)
    elsewhere = replace(BEFORE, weights=-3 * BEFORE.weights, bias=7.0)
    np.testing.assert_array_equal(elsewhere.by_campaigns(features, mines, campaigns).weights, fitted.weights)


def test_it_is_the_discriminant_of_its_paper():
    """As written out chip by chip, for features that go together and campaigns of all sizes."""
    rng = np.random.default_rng(3)
    sizes = [(5, True), (60, True), (17, True), (90, False), (8, False)]
    mixing = rng.normal(0, 1, (3, 3))
    parts = [(rng.normal(rng.normal(0, 2, 3), 1, (n, 3)) @ mixing + mine, mine) for n, mine in sizes]
    features = np.concatenate([part for part, _ in parts]).astype(np.float32)
    campaigns = np.repeat(np.arange(5), [n for n, _ in sizes])
    mines = np.repeat([mine for _, mine in sizes], [n for n, _ in sizes])
    scaled = features.astype(np.float64) / features.astype(np.float64).std(axis=0)
    centres, noise = {}, np.zeros((3, 3))
    for mine in (True, False):
        of_class = [scaled[campaigns == number] for number in range(5) if sizes[number][1] == mine]
        means = [part.mean(axis=0) for part in of_class]
        centres[mine] = sum(means) / len(means)
        for part, mean in zip(of_class, means, strict=True):
            noise += sum(np.outer(chip - mean, chip - mean) for chip in part) / len(part) / len(means) / 2
            noise += np.outer(mean - centres[mine], mean - centres[mine]) / len(means) / 2
    shrunk = 0.1 * noise + 0.9 * np.trace(noise) / 3 * np.eye(3)
    direction = np.linalg.inv(shrunk) @ (centres[True] - centres[False])
    fitted = BEFORE.by_campaigns(features, mines, campaigns)
    wanted = direction / features.std(axis=0)
    assert fitted.weights / np.linalg.norm(fitted.weights) == pytest.approx(wanted / np.linalg.norm(wanted), abs=1e-4)


def test_a_feature_that_is_nearly_always_0_does_not_outweigh_the_others():
    features, mines, campaigns = chips([(50, True, (2, 1, 0)), (50, False, (0, 0, 0))])
    features[:, 2] = 0
    features[0, 2] = 0.01
    fitted = BEFORE.by_campaigns(features, mines, campaigns)
    assert abs(fitted.weights[2]) < fitted.weights[0]


def test_chips_that_look_alike_leave_it_as_it_is():
    features = np.ones((6, 3), np.float32)
    assert BEFORE.by_campaigns(features, np.arange(6) < 3, np.arange(6)) is BEFORE


def test_each_chip_may_be_a_campaign_of_its_own():
    features, mines, _ = chips([(50, True, (2, 0, 0)), (50, False, (0, 0, 0))])
    fitted = BEFORE.by_campaigns(features, mines, np.arange(100))
    assert (fitted.scores(features)[mines] > 0.5).mean() > 0.9
    assert (fitted.scores(features)[~mines] < 0.5).mean() > 0.9


def test_a_row_that_is_put_into_a_network_gives_its_scores():
    network, pixels = build(SPEC), np.random.default_rng(0).integers(0, 255, (4, 16, 16, 3)).astype(np.uint8)
    row = MineRow.of(network, SPEC, "some")
    _, features = NetworkDetector(network, SPEC, features=True).describe(pixels)
    other = replace(row, weights=row.weights + 0.5, bias=-0.25)
    other.put(network)
    assert NetworkDetector(network, SPEC)(pixels)[:, 0] == pytest.approx(other.scores(features), abs=1e-5)
    found = MineRow.of(network, SPEC, "some")
    assert found.weights == pytest.approx(other.weights)
    assert found.bias == other.bias


def test_only_its_own_label_is_changed_among_several():
    network = build(tiny_model.SPEC)
    row = MineRow.of(network, tiny_model.SPEC, "some")
    kernel, bias = network.get_layer(row.layer).get_weights()
    replace(row, weights=row.weights + 1, bias=row.bias + 1).put(network)
    changed, moved = network.get_layer(row.layer).get_weights()
    columns = np.flatnonzero((changed != kernel).any(axis=0))
    assert columns.tolist() == np.flatnonzero(moved != bias).tolist() == [row.column]


def test_a_mine_score_that_other_labels_decide_is_refused():
    spec = replace(SPEC, heads=(Head("all", (*WEATHER, "artisinal_mine"), "softmax"),))
    with pytest.raises(PackageError, match=r"^some weighs mines against other labels"):
        MineRow.of(build(spec), spec, "some")
