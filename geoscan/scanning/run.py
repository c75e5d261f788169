"""Scan one scene."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import numpy as np

from geoscan.machine import Runtime
from geoscan.model.package import Package
from geoscan.model.runtime import Detector, detector
from geoscan.progress import Advance
from geoscan.scanning.batch import SQUARE, STAGES, averaged, infer, prepare
from geoscan.scanning.plan import Plan
from geoscan.scanning.scores import SceneScores
from geoscan.scanning.workers import HERE, Workers


def scan(plan: Plan, workers: Workers = HERE, *, advance: Advance = lambda _: None) -> SceneScores:
    """Score every tile of a scene that is not all nodata.

    workers: from `workers.workers`; without them this thread works alone, with the same result.
    advance: called with the number of tiles done.
    A tile that the file says is empty is not read at all. One that cannot be read is tried once more, then noted in
    `failed`; anything unexpected is raised.
    """
    started = time.perf_counter()
    tiles = len(plan.grid)
    scores = np.full((tiles, len(plan.package.card.labels)), np.nan, np.float32)
    observed = np.zeros(tiles, np.int64)
    failed: dict[int, str] = {}
    stages = dict.fromkeys(STAGES, 0.0)
    blank = plan.scene.blank(plan.grid)
    if blank.any():
        advance(int(blank.sum()))
    # Square by square, so that what neighbours share is read once.
    stored = [tile for square in plan.grid.squares(np.flatnonzero(~blank), SQUARE) for tile in square.tolist()]
    batches = [stored[start : start + plan.batch] for start in range(0, len(stored), plan.batch)]
    make = detector_of(plan.package, plan.tta, plan.batch, plan.runtime)
    strange: list[int] = []
    white = 0
    if batches:
        workers.begin(make)
    for scored in workers.run(partial(prepare, plan), partial(infer, make), batches):
        scores[scored.tiles] = scored.scores
        observed[list(scored.observed)] = list(scored.observed.values())
        failed |= scored.failed
        strange += scored.strange
        white += scored.white
        for stage, seconds in scored.seconds.items():
            stages[stage] += seconds
        advance(len(scored.observed) + len(scored.failed))
    seconds = time.perf_counter() - started
    found = dict(sorted(failed.items())), sorted(strange), white, plan.scene.changed()
    return SceneScores(plan, scores, observed, *found, seconds, stages)


def detector_of(package: Package, tta: bool, batch: int, runtime: Runtime) -> Callable[[], Detector]:
    """Return what makes a package's detector in whatever process: an address travels there, not weights.

    tta: means over symmetries (test-time augmentation). batch: chips that are scored at once.
    """
    make = partial(detector, package.path.absolute(), package.card.digest, batch, runtime)
    return partial(averaged, make) if tta else make
