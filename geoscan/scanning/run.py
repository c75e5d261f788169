"""Scan one scene."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from geoscan.machine import BATCH
from geoscan.model.package import Package
from geoscan.model.runtime import Detector, detector
from geoscan.scanning.batch import averaged, infer, prepare
from geoscan.scanning.plan import Plan
from geoscan.scanning.result import SceneScores
from geoscan.scanning.workers import run

if TYPE_CHECKING:
    from distributed import Client


def scan(
    plan: Plan,
    package: Package,
    client: Client | None = None,
    *,
    batch: int = BATCH,
    tta: bool | None = None,
    detect: Callable[[], Detector] | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> SceneScores:
    """Score every tile of a scene that is not all nodata.

    client: dask's, from `workers`; None works in this thread alone, with the same result.
    batch: tiles a task. tta: average scores over symmetries, see `Averaged`; as the model's card has it if None.
    detect: makes what scores chips, in whatever process; the package's own network if None.
    progress: called with the number of tiles done, again and again.
    A tile that cannot be read is tried once more, then noted in `failed`; anything unexpected is raised.
    """
    started = time.perf_counter()
    grid = plan.grid
    tta = package.card.averages(tta)
    result = SceneScores(
        plan,
        package,
        np.full((len(grid), len(package.card.labels)), np.nan, np.float32),
        np.zeros(len(grid), np.int64),
        tta,
    )
    make = detect or partial(detector, package.path.absolute(), package.card.digest, batch)
    if tta:
        make = partial(averaged, make)
    batches = [list(range(start, min(start + batch, len(grid)))) for start in range(0, len(grid), batch)]
    for scored in run(client, partial(prepare, plan), partial(infer, make), batches):
        result.scores[scored.tiles] = scored.scores
        for tile, pixels in scored.observed.items():
            result.observed[tile] = pixels
        result.failed |= scored.failed
        for stage, seconds in scored.seconds.items():
            result.stage_seconds[stage] += seconds
        progress(len(scored.observed) + len(scored.failed))
    result.seconds = time.perf_counter() - started
    result.failed = dict(sorted(result.failed.items()))
    return result
