"""How near `geoscan check` comes to what a scan takes: `pytest -n 0 -m large -s tests/benchmarks/test_cost_real.py`."""

import json
import subprocess
import sys
from pathlib import Path
from time import perf_counter

import numpy as np
import pytest
import rasterio
from conftest import write_scene

EXAMPLE = Path(__file__).parents[2] / "examples" / "scene.tif"
NEAR = 0.25
"""Of the memory that a scan takes."""

pytestmark = pytest.mark.large


def geoscan(*words):
    run = [sys.executable, "-m", "geoscan", *map(str, words), "--json", "-q"]
    return json.loads(subprocess.run(run, capture_output=True, text=True, check=True).stdout)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """4,096 chips of the shipped 10 m model: the example over and over."""
    with rasterio.open(EXAMPLE) as source:
        pixels = np.tile(source.read(), (1, 3, 2))[:, :3072, :3072]
    path = tmp_path_factory.mktemp("large") / "scene.tif"
    return write_scene(path, pixels=pixels, gsd=10, tiled=True, compress="deflate")


@pytest.mark.parametrize("model", ["planet", "sentinel2", "sentinel2-lite"])
@pytest.mark.parametrize("which", ["example", "large"])
def test_memory_and_time_are_told(model, which, large):
    if which == "large" and not model.startswith("sentinel2"):
        pytest.skip("its chips are of 3 m")
    path = EXAMPLE if which == "example" else large
    told = geoscan("check", path, "--model", model)["cost"]
    start = perf_counter()
    taken = geoscan(path, "--model", model, "--force")
    seconds, memory = perf_counter() - start, taken["peak_rss_mb"]
    sys.stdout.write(
        f"\n{which}, {taken['chips']} chips, {model}: {memory:.0f} MB, told {told['memory_mb']:.0f}; "
        f"{seconds:.0f} s, told {told['seconds']}\n"
    )
    assert abs(told["memory_mb"] / memory - 1) < NEAR


def test_a_huge_scene_is_told_of_in_seconds(tmp_path):
    place = {"crs": "EPSG:32721", "transform": rasterio.Affine(3.7, 0, 5e5, 0, -3.7, 9.2e6)}
    size = {"count": 3, "height": 40_000, "width": 40_000, "dtype": "uint8", "tiled": True, "compress": "deflate"}
    rng = np.random.default_rng(0)
    with rasterio.open(tmp_path / "huge.tif", "w", driver="GTiff", sparse_ok=True, **size, **place) as target:
        for row in range(0, 40_000, 2560):  # every tenth tile along both axes has pixels
            for col in range(0, 40_000, 2560):
                block = rasterio.windows.Window(col, row, 256, 256)
                target.write(rng.integers(1, 90, (3, 256, 256), dtype=np.uint8), window=block)
    start = perf_counter()
    told = geoscan("check", tmp_path / "huge.tif")
    seconds = perf_counter() - start
    sys.stdout.write(f"\n{told['chips']:,} chips: checked in {seconds:.1f} s\n")
    assert told["chips"] == 157**2
    assert seconds < 5
