"""What a scan on a CPU imports: every second before the first chip is one too many."""

import json
import os
import subprocess
import sys
from pathlib import Path

SCENE = Path(__file__).parents[2] / "examples" / "scene.tif"
SLOW = {"dask", "distributed", "geopandas", "keras", "matplotlib", "pandas", "pyarrow", "tensorflow"}
SCAN = """
import sys
from geoscan.cli import main

main(sys.argv[1:], standalone_mode=False)
print(*sys.modules, file=sys.stderr)
"""


def test_a_small_scan_without_a_gpu_imports_nothing_that_is_slow(tmp_path):
    words = [SCENE, "--out", tmp_path / "mines.geojson", "--json", "-q"]
    done = subprocess.run(
        [sys.executable, "-c", SCAN, *map(str, words)],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["runtime"] == "openvino"
    imported = set(done.stderr.split())
    assert {"geoscan.scanning.run", "openvino"} <= imported
    assert not imported & SLOW
