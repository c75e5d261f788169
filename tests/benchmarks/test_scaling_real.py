"""How many scenes of real chips are read right when nothing says how.

Run it: pytest -n 0 -m large -s tests/benchmarks/test_scaling_real.py
"""

import sys
from pathlib import Path

import numpy as np
import pytest
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
