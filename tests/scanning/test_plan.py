"""What a plan takes from a scene: by statistics of the file's own pixels that are seen."""

import numpy as np
import pytest

from geoscan.model.shipped import find
from geoscan.scanning.options import ScanOptions
from geoscan.scanning.plan import Plan
from geoscan.scene import Scene

RNG = np.random.default_rng(4)
SPOTTED = np.where(RNG.random((1, 400, 400)) < 0.02, 150, RNG.uniform(1300, 2900, (3, 400, 400))).round() + 1000
"""Bright ground with dark spots of one pixel, x 10,000, + 1,000: means of pixels hide the spots."""


@pytest.mark.parametrize("stretch", ["auto", "percentile:2,98"])
def test_statistics_do_not_depend_on_the_resolution_that_is_scanned(make_scene, stretch):
    scene = Scene.open(make_scene(pixels=SPOTTED, dtype="uint16", gsd=4.0))
    read, resampled = (Plan.of(scene, find(model), ScanOptions(stretch=stretch)) for model in ("planet", "sentinel2"))
    assert not read.scene.resampling
    assert resampled.scene.resampling == "average"
    assert read.scaling == resampled.scaling
    assert read.scaling is not None
    assert read.scaling.offset == (-0.1,) * 3
    assert (read.radiometry.low, read.radiometry.high) == (resampled.radiometry.low, resampled.radiometry.high)


@pytest.mark.parametrize("stretch", ["auto", "percentile:2,98"])
@pytest.mark.parametrize("hidden", ["mask", "nodata", "undeclared fill"])
def test_what_is_hidden_has_no_part_in_statistics(make_scene, stretch, hidden):
    seen = np.ones((400, 400), bool)
    seen[:, :150] = False
    covered = np.where(seen, SPOTTED, 0 if hidden != "mask" else RNG.uniform(0, 9000, (3, 400, 400)))
    how = {"mask": {"mask": seen}, "nodata": {"nodata": 0}, "undeclared fill": {}}[hidden]
    plans = [
        Plan.of(Scene.open(path), find("planet"), ScanOptions(stretch=stretch))
        for path in (
            make_scene(pixels=covered, dtype="uint16", gsd=4.0, **how),
            make_scene(pixels=SPOTTED[:, :, 150:], dtype="uint16", gsd=4.0, name="rest.tif"),
        )
    ]
    whole, rest = plans
    assert whole.scaling == rest.scaling
    np.testing.assert_allclose(whole.radiometry.low, rest.radiometry.low, rtol=1e-6)
    np.testing.assert_allclose(whole.radiometry.high, rest.radiometry.high, rtol=1e-6)
