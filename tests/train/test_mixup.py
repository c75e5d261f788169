import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoscan.train.mixup import mixed

N = 6
RNG = np.random.default_rng(0)
CHIPS = RNG.integers(0, 256, (N, 8, 8, 3), dtype=np.uint8)
TARGETS = {"weather": np.eye(N, 4, dtype=np.float32), "land": RNG.integers(0, 2, (N, 13)).astype(np.float32)}


def marked():
    """A batch whose chips and targets both say which chip they are, so that a blend tells what it is made of."""
    chips = np.zeros((N, 4, 4, N), np.uint8)
    for i in range(N):
        chips[i, ..., i] = 200
    return chips, {"one": np.eye(N, dtype=np.float32), "two": np.eye(N, dtype=np.float32)}


def test_with_no_amount_nothing_is_done():
    batch = CHIPS, TARGETS
    for seed in range(20):
        assert mixed(batch, np.random.default_rng(seed), 0.0) is batch


@given(st.integers(0, 10_000))
def test_chips_and_targets_of_all_heads_are_blended_alike(seed):
    chips, targets = mixed(marked(), np.random.default_rng(seed), 1.0)
    np.testing.assert_array_equal(targets["one"], targets["two"])
    np.testing.assert_allclose(chips[:, 0, 0] / 200, targets["one"], atol=0.5 / 200 + 1e-6)
    np.testing.assert_allclose(targets["one"].sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(targets["one"].sum(axis=0), 1, atol=1e-6, err_msg="by a permutation")
    shares = np.unique(np.round(targets["one"][(targets["one"] > 0) & (targets["one"] < 1)], 5))
    assert len(shares) <= 2, "one share for the batch"


def test_keeps_shapes_types_and_what_was_given():
    before = CHIPS.copy(), {name: values.copy() for name, values in TARGETS.items()}
    chips, targets = mixed((CHIPS, TARGETS), np.random.default_rng(1), 1.0)
    assert (chips.shape, chips.dtype) == (CHIPS.shape, np.uint8)
    assert {name: (values.shape, values.dtype) for name, values in targets.items()} == {
        name: (values.shape, np.dtype(np.float32)) for name, values in TARGETS.items()
    }
    assert (chips != CHIPS).any()
    np.testing.assert_array_equal(CHIPS, before[0])
    for name, values in TARGETS.items():
        np.testing.assert_array_equal(values, before[1][name])


def test_a_target_is_known_only_where_both_are():
    targets = np.ones((N, 3), np.float32)
    targets[2, 1] = np.nan
    for seed in range(20):
        _, blend = mixed((CHIPS, {"land": targets}), np.random.default_rng(seed), 1.0)
        unknown = np.isnan(blend["land"])
        assert unknown[2, 1]
        assert 1 <= unknown[:, 1].sum() <= 2
        assert not unknown[:, [0, 2]].any()
        np.testing.assert_allclose(blend["land"][~unknown], 1, atol=1e-6)


def test_the_same_for_the_same_seed():
    one, other = (mixed((CHIPS, TARGETS), np.random.default_rng(7), 0.5) for _ in range(2))
    np.testing.assert_array_equal(one[0], other[0])
    np.testing.assert_array_equal(one[1]["land"], other[1]["land"])


def test_it_happens_with_its_probability_and_mostly_gently():
    rng = np.random.default_rng(0)
    blends = [targets["one"] for chips, targets in (mixed(marked(), rng, 0.3) for _ in range(500))]
    happened = [blend for blend in blends if ((blend > 0) & (blend < 1)).any()]
    assert len(happened) / 500 == pytest.approx(0.3, abs=0.06)
    strongest = np.array([blend[(blend > 0) & (blend < 1)].max() for blend in happened])
    assert np.mean(strongest > 0.8) > 0.5, "beta(0.4, 0.4) lies near the ends"
    assert np.mean(strongest < 0.7) > 0.1
