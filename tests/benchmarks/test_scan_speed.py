"""Where a scan's time goes, and what threads gain: `pytest -n 0 -m large tests/benchmarks/test_scan_speed.py`.

The network is the compact preset with random weights: as slow as a trained one.
"""

import sys
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import numpy as np
import pytest
import rasterio
from conftest import write_scene
from tiny_model import package

from geoscan import layers
from geoscan.dehazing import DarkLevel
from geoscan.labels import MINE
from geoscan.machine import BATCH
from geoscan.model.runtime import detector
from geoscan.model.spec import preset
from geoscan.polygons import Hysteresis
from geoscan.scanning.plan import Plan
from geoscan.scanning.result import detect
from geoscan.scanning.run import scan
from geoscan.scanning.scores import SceneScores
from geoscan.scanning.workers import workers
from geoscan.scene import Scene

EXAMPLE = Path(__file__).parents[2] / "examples" / "scene.tif"
SIDE = 4096
STAGES = ("read", "radiometry", "dehaze", "model", "merge")


def large_scene(path):
    """The example over and over, as a tiled and compressed scene of SIDE x SIDE px."""
    with rasterio.open(EXAMPLE) as dataset:
        pixels = dataset.read()
    _, rows, cols = pixels.shape
    pixels = np.tile(pixels, (1, -(-SIDE // rows), -(-SIDE // cols)))[:, :SIDE, :SIDE]
    return Scene.open(write_scene(path, pixels=pixels, tiled=True, compress="deflate", interleave="pixel"))


class Stopwatch:
    """Adds up the seconds of each stage."""

    def __init__(self):
        self.seconds = dict.fromkeys(STAGES, 0.0)

    def __call__(self, stage, work, *given):
        start = perf_counter()
        result = work(*given)
        self.seconds[stage] += perf_counter() - start
        return result


def merged(scores, path):
    result = detect(scores)
    assert result.detections
    layers.write(path, result.detections, [result.provenance])
    return path.read_bytes()


def marked(scores, thresholds):
    return replace(scores, plan=replace(scores.plan, thresholds=thresholds))


def in_stages(plan, model, watch):
    """The scan's own steps, one after the other."""
    detect = detector(model.path.absolute(), model.card.digest, BATCH, plan.runtime)
    rows = []
    for start in range(0, len(plan.grid), BATCH):
        tiles = [plan.grid[i] for i in range(start, min(start + BATCH, len(plan.grid)))]
        read = [watch("read", plan.scene.read, tile.read) for tile in tiles]
        visual = [(watch("radiometry", plan.radiometry.apply, *pair), pair[1]) for pair in read]
        chips = np.stack([watch("dehaze", model.card.preprocess, *pair) for pair in visual])
        rows.append(watch("model", detect, chips))
    observed = np.array([tile.core.rows * tile.core.cols for tile in plan.grid])
    return SceneScores(plan, np.concatenate(rows), observed, {}, [], 0, "", sum(watch.seconds.values()), {})


def with_jobs(plan, jobs):
    with workers(jobs) as pool:
        return scan(plan, pool)


def report(watch, chips, loading, seconds):
    lines = [
        f"{SIDE} x {SIDE} px, {chips} chips, model preset compact, {loading:.1f} s to load and compile",
        f"{'stage':<12}{'s':>8}{'ms/chip':>10}{'share':>8}",
    ]
    total = sum(watch.seconds.values())
    lines += [f"{name:<12}{s:>8.2f}{1000 * s / chips:>10.2f}{s / total:>8.1%}" for name, s in watch.seconds.items()]
    lines += [f"{'jobs ' + str(jobs):<12}{s:>8.2f}{1000 * s / chips:>10.2f}" for jobs, s in seconds.items()]
    lines.append(f"jobs 2 is {seconds[0] / seconds[2]:.2f} times as fast as jobs 0")
    return "\n".join(lines)


@pytest.mark.large
def test_stages_are_timed_and_threads_change_nothing(tmp_path, capsys):
    model = package(tmp_path / "model", preset("compact"), dehaze=DarkLevel())
    plan = Plan.of(large_scene(tmp_path / "scene.tif"), model)
    start = perf_counter()
    detector(model.path.absolute(), model.card.digest, BATCH, plan.runtime)(np.zeros((BATCH, 256, 256, 3), np.uint8))
    loading = perf_counter() - start

    watch = Stopwatch()
    staged = in_stages(plan, model, watch)
    mine = staged.scores[:, model.card.labels.index(MINE)]
    low, high, isolated = map(float, np.quantile(mine, [0.7, 0.9, 0.95]))
    thresholds = Hysteresis(high=high, low=low, isolated=isolated)
    layer = watch("merge", merged, marked(staged, thresholds), tmp_path / "staged.geojson")
    runs = {jobs: with_jobs(plan, jobs) for jobs in (0, 2)}

    with capsys.disabled():
        seconds = {jobs: run.seconds for jobs, run in runs.items()}
        sys.stdout.write(f"\n{report(watch, len(plan.grid), loading, seconds)}\n")
    for jobs, run in runs.items():
        np.testing.assert_array_equal(run.scores, staged.scores)
        np.testing.assert_array_equal(run.observed, staged.observed)
        assert merged(marked(run, thresholds), tmp_path / f"{jobs}.geojson") == layer
