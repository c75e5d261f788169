"""How many scenes of real chips are read right when nothing says how.

Run it: pytest -n 0 -m large -s tests/benchmarks/test_scaling_real.py
"""

import csv
import io
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from conftest import data_folder, write_scene
from numpy.typing import NDArray
from PIL import Image

from geoscan.scaling import scaling_of
from geoscan.scene import Scene

pytestmark = pytest.mark.large

SIDE = 16
"""Chips along one side of a scene."""


@pytest.fixture(scope="module")
def grounds() -> list[NDArray[np.float64]]:
    """All chips of the shared Sentinel-2 set in scenes of 16 x 16, reflectance x 10,000; the last is filled up."""
    folder = data_folder("sentinel2-mines")
    with (folder / "index.csv").open(newline="") as lines, zipfile.ZipFile(folder / "chips.zip") as archive:
        names = [row["file"] for row in csv.DictReader(lines)]
        chips = np.stack([np.asarray(Image.open(io.BytesIO(archive.read(name))).convert("RGB")) for name in names])
    order = np.random.default_rng(0).permutation(len(chips))
    scenes = []
    for start in range(0, len(chips), SIDE**2):
        part = chips[np.resize(order[start : start + SIDE**2], SIDE**2)]
        rows = part.reshape(SIDE, SIDE, 48, 48, 3).transpose(4, 0, 2, 1, 3)
        scenes.append(np.rint(rows.reshape(3, SIDE * 48, SIDE * 48) / 255 * 3000))
    return scenes


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
