"""How many scenes of real chips are read right when nothing says how.

Run it: pytest -n 0 -m large -s tests/benchmarks/test_scaling_real.py
"""

import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from conftest import write_scene
from grounds import real_grounds
from numpy.typing import NDArray

from geoscan.scaling import scaling_of
from geoscan.scene import Scene

pytestmark = pytest.mark.large


@pytest.fixture(scope="module")
def grounds() -> list[NDArray[np.float64]]:
    return real_grounds()


@pytest.mark.parametrize(
    ("what", "added", "scale", "dtype"),
    [
        ("x 10,000", 0, 1.0, "uint16"),
        ("x 10,000, + 1,000", 1000, 1.0, "uint16"),
        ("float, 0..1", 0, 1e-4, "float32"),
        ("float, 0..1, + 0.1", 1000, 1e-4, "float32"),
    ],
)
def test_scenes_are_read_right(grounds, tmp_path: Path, what, added, scale, dtype):
    wanted = (1e-4 / scale, -added / 1e4)
    found = []
    for ground in grounds:
        path = write_scene(tmp_path / "scene.tif", pixels=(ground + added) * scale, dtype=dtype, gsd=10)
        scaling = scaling_of(Scene.open(path))
        found.append(scaling is not None and (scaling.scale[0], scaling.offset[0]) == pytest.approx(wanted))
    sys.stdout.write(f"\n{what}: {sum(found)} of {len(found)} scenes read right\n")
    assert all(found)


def test_an_offset_that_was_taken_off_already_is_told_from_shadow(grounds, tmp_path: Path):
    """Metadata names it either way. Shadow: 3 % of the ground, which reflects -0.03 in blue."""
    least = min(float((ground < 800).mean(axis=(1, 2)).max()) for ground in grounds)
    sys.stdout.write(f"\ntaken off twice, a scene has {least:.0%} or more of a band below -0.02\n")
    for ground in grounds:
        shaded = ground + 1000
        shaded[2, : round(ground.shape[1] * 0.03)] = 700
        for pixels, offset in ((ground, 0.0), (shaded, -0.1)):
            path = write_scene(tmp_path / "scene.tif", pixels=pixels, dtype="uint16", gsd=10)
            with rasterio.open(path, "r+") as target:
                target.scales, target.offsets = (1e-4,) * 3, (-0.1,) * 3
            scaling = scaling_of(Scene.open(path))
            assert scaling is not None
            assert scaling.offset == (offset,) * 3
