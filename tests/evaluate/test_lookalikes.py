import numpy as np
import pytest
from scipy.stats import binom

from geoscan.evaluate.lookalikes import REST, kind, lookalikes, share_interval
from geoscan.model.figures import LookalikeFigures


@pytest.mark.parametrize(
    ("campaign", "expected"),
    [
        ("riverbank_negatives_bolivia_v2025-08", "riverbank"),
        ("aquaculture-faziendas-negatives2025-08", "fish_pond"),
        ("landslide_negatives2025-08", "landslide"),
        ("industrial_negatives2025-08", "industry"),
        ("v4.10_Q125_cloud_remnant_negatives", "cloud_remnant"),
        ("random_negatives10k_2025-08", "random"),
        ("v2.6_amazon_negatives_v2", REST),
    ],
)
def test_a_campaigns_name_tells_its_kind(campaign, expected):
    assert kind(campaign) == expected


def test_only_chips_without_a_mine_count():
    campaigns = ["landslide_1"] * 4 + ["random"] * 2 + ["all sorts"]
    targets = np.array([0, 0, 0, 1, 0, np.nan, 1])
    scores = np.array([0.9, 0.5, 0.1, 0.9, 0.4, 0.9, 0.9])
    found = lookalikes(campaigns, targets, scores, 0.5, 0.6)
    assert list(found) == ["landslide", "random"]
    assert found["landslide"] == LookalikeFigures(
        3, pytest.approx(2 / 3), share_interval(2, 3), pytest.approx(1 / 3), share_interval(1, 3)
    )
    assert (found["random"].n, found["random"].called_mine) == (1, 0)
    assert lookalikes(campaigns, targets, scores, 0.5, None)["random"].called_mine_strict is None


def test_no_hit_among_few_still_has_a_wide_interval():
    low, high = share_interval(0, 10)
    assert low == 0
    assert high == pytest.approx(0.278, abs=0.001), "by Wilson's formula, z^2 / (n + z^2)"
    assert share_interval(3, 10)[0] < 0.3 < share_interval(3, 10)[1]
    assert share_interval(0, 0) is None


def test_intervals_cover_the_share_that_made_them():
    hits = np.arange(41)
    inside = [low <= 0.2 <= high for low, high in (share_interval(int(k), 40) for k in hits)]
    assert binom.pmf(hits[inside], 40, 0.2).sum() == pytest.approx(0.95, abs=0.03)
