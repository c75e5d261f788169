"""Scans made up for tests of reports: every way to see a tile, and detections where they are wanted."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from geoscan.labels import MINE
from geoscan.model.package import Package
from geoscan.scanning.options import ScanOptions
from geoscan.scanning.plan import Plan
from geoscan.scanning.result import SceneResult, detect
from geoscan.scanning.scores import SceneScores
from geoscan.scene import Scene

CHIP = 32
FAILURE = "scene.tif cannot be read at row 0, col 32, 32 x 32 px: <b>TIFF</b>"


def result(
    path: Path,
    package: Package,
    mines: Mapping[tuple[int, int], float],
    *,
    name: str | None = None,
    obscured: bool = True,
) -> SceneResult:
    """Scan a scene of 5 x 7 chips without a model; mines: scores by row and column of chips.

    obscured: the last row of chips is under haze, cloud, without data, not read, and not understood, one chip each.
    """
    plan = Plan.of(Scene.open(path), package, ScanOptions(), name)
    grid, labels = plan.grid, package.card.labels
    scores = np.zeros((*grid.shape, len(labels)), np.float32)
    scores[..., labels.index("clear")] = 0.6
    for at, score in mines.items():
        scores[(*at, labels.index(MINE))] = score
    observed = grid.areas()
    failed, strange = {}, []
    if obscured:
        scores[-1, 0, labels.index("haze")] = scores[-1, 1, labels.index("cloudy")] = 0.9
        scores[-1, 2:5] = np.nan
        first = len(grid) - grid.shape[1]
        observed[[first + 2, first + 3]] = 0
        failed, strange = {first + 3: FAILURE}, [first + 4]
    seconds = {"read": 1.0, "dehaze": 0.5, "infer": 2.0}
    return detect(SceneScores(plan, scores.reshape(len(grid), -1), observed, failed, strange, 0, "", 3.25, seconds))
