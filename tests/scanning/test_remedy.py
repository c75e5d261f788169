"""Options that would help, with a look that knows chips by their mean alone."""

import numpy as np
import pytest

from geoscan.model.shipped import find
from geoscan.scanning.options import ScanOptions
from geoscan.scanning.plan import Plan
from geoscan.scanning.remedy import remedy
from geoscan.scene import Scene

GROUND = np.random.default_rng(2).uniform(0.001, 0.05, (3, 96, 96))
WATER = np.where(GROUND < 0.003, -0.03, GROUND)
"""Landsat's correction makes deep water darker than black."""

MEAN = 0.0255 / 0.3 * 255


class Known:
    """Knows chips whose mean is that of GROUND, and the better the nearer."""

    def log_odds(self, chips, shares):
        assert len(chips) == len(shares)
        return 2 - np.abs(chips.mean(axis=(1, 2, 3)) - MEAN)

    def verdict(self, odds):
        return odds.mean()


@pytest.mark.parametrize(
    ("stored", "asked", "option"),
    [
        (GROUND + 0.1, {"scale": 1.0}, "--scale 1 --offset -0.1"),
        (GROUND * 1e4 + 1000, {"scale": 1e-4}, "--scale 0.0001 --offset -0.1"),
        (GROUND - 0.1, {"scale": 1.0}, "--scale 1 --offset 0.1"),
        (GROUND * 1e4, {"scale": 1.0}, "--scale 0.0001"),
        (GROUND * 255, {"scale": 1 / 2550}, "--scale 0.003922"),
        ((GROUND + 0.2) / 2.75e-5, {"scale": 1e-4}, "--scale 2.75e-05 --offset -0.2"),
        ((WATER + 0.2) / 2.75e-5, {"scale": 1e-4}, "--scale 2.75e-05 --offset -0.2"),
        ((GROUND + 0.199) / 2.75e-5, {"scale": 3.12e-5}, "--scale 2.75e-05 --offset -0.2"),  # a tenth fits better
        (GROUND * 1e4, {"stretch": "planet-analytic"}, "--stretch auto"),
        (np.random.default_rng(1).uniform(0, 0.9, (3, 96, 96)), {"scale": 1.0}, ""),
    ],
)
def test_scale_and_offset_are_found(make_scene, stored, asked, option):
    asked = {name: (value,) * 3 if name == "scale" else value for name, value in asked.items()}
    dtype = "uint16" if "stretch" in asked else "float32"
    plan = Plan.of(Scene.open(make_scene(pixels=stored, dtype=dtype, gsd=10)), find("sentinel2"), ScanOptions(**asked))
    assert remedy(plan, [0, 1, 2, 3], Known()) == (f"it looks as it should with {option}" if option else "")
