"""The guard learns from chips that are misread as scenes are."""

import numpy as np

from geoscan.train.look import misread


def test_bands_are_shuffled_in_every_order_that_is_not_theirs():
    bands = np.full((600, 4, 4, 3), (10, 20, 30), np.uint8)
    shuffled = dict(misread(bands, np.random.default_rng(0)))["shuffled"]
    orders, counts = np.unique(shuffled[:, 0, 0], axis=0, return_counts=True)
    assert orders.tolist() == [[20, 10, 30], [20, 30, 10], [30, 10, 20]]
    assert counts.min() > 150
    assert (shuffled == shuffled[:, :1, :1]).all()


def test_every_misreading_keeps_the_shape_and_leaves_the_chips():
    chips = np.random.default_rng(1).integers(0, 256, (20, 16, 16, 3), np.uint8)
    before = chips.copy()
    for _, strange in misread(chips, np.random.default_rng(2)):
        assert (strange.shape, strange.dtype) == (chips.shape, np.uint8)
        assert (strange != chips).any()
    np.testing.assert_array_equal(chips, before)
