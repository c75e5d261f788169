import numpy as np
import pytest

from geoscan.errors import InputError
from geoscan.train.order import HardNegatives, Order

INDEXES = np.arange(100, 140)
NEGATIVE = np.arange(40) % 4 != 0
POSITIVES = set(INDEXES[~NEGATIVE].tolist())


def rng(seed=0):
    return np.random.default_rng(seed)


def test_all_come_once_shuffled():
    order = Order(INDEXES)
    drawn = order.draw(rng())
    assert len(order) == 40
    assert sorted(drawn) == INDEXES.tolist() != drawn.tolist()
    np.testing.assert_array_equal(drawn, order.draw(rng()))
    order.notice(drawn, np.full(40, 9.0))
    np.testing.assert_array_equal(drawn, order.draw(rng()))


def test_all_positives_and_a_share_of_the_negatives_come_none_twice():
    order = HardNegatives(INDEXES, NEGATIVE, 0.4)
    drawn = order.draw(rng())
    assert len(order) == len(drawn) == len(set(drawn)) == 10 + 12
    assert POSITIVES <= set(drawn.tolist()) <= set(INDEXES.tolist())
    assert drawn[:10].tolist() != sorted(POSITIVES), "positives are not in front"
    assert set(drawn) != set(order.draw(rng(1)))


def test_hard_negatives_come_more_often_and_easy_ones_still_come():
    order = HardNegatives(INDEXES, NEGATIVE, 0.3)
    hard, easy = INDEXES[NEGATIVE][:5], INDEXES[NEGATIVE][5:]
    order.notice(hard, np.full(5, 3.0, np.float32))
    order.notice(easy, np.full(25, 0.001, np.float32))
    times = np.bincount(np.concatenate([order.draw(rng(seed)) for seed in range(200)]))
    assert times[hard].min() > 150
    assert 10 < times[easy].min() <= times[easy].max() < 80
    np.testing.assert_allclose(order.state[hard], 1 - np.exp(-3.0), rtol=1e-6)


def test_what_is_learned_later_comes_less_often():
    order = HardNegatives(INDEXES, NEGATIVE, 0.3)
    one = INDEXES[NEGATIVE][:1]
    for loss, least, most in ((5.0, 70, 110), (0.0, 5, 35)):
        order.notice(one, np.array([loss]))
        times = sum(one[0] in order.draw(rng(seed)) for seed in range(200))
        assert least <= times <= most


def test_the_whole_share_is_every_chip():
    assert sorted(HardNegatives(INDEXES, NEGATIVE, 1).draw(rng())) == INDEXES.tolist()


@pytest.mark.parametrize("share", [0, -1, 1.1, float("nan")])
def test_refuses_what_is_no_share(share):
    with pytest.raises(InputError, match="share of the negatives"):
        HardNegatives(INDEXES, NEGATIVE, share)
