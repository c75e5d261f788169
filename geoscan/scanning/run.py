"""Scan one scene."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from geoscan.machine import Runtime
from geoscan.model.package import Package
from geoscan.model.runtime import Detector, detector
from geoscan.progress import Advance
from geoscan.scanning.batch import SQUARE, STAGES, averaged, infer, prepare
from geoscan.scanning.culprit import by_chip, by_tile, naming
from geoscan.scanning.gathered import Gathered, Part
from geoscan.scanning.journal.file import Journal
from geoscan.scanning.plan import Plan
from geoscan.scanning.scores import SceneScores
from geoscan.scanning.workers import HERE, Workers


def scan(
    plan: Plan, workers: Workers = HERE, *, advance: Advance = lambda _: None, journal: Journal | None = None
) -> SceneScores:
    """Score every tile of a scene that is not all nodata.

    workers: from `workers.workers`; without them this thread works alone, with the same result.
    advance: called with the number of tiles done. journal: what it holds is not done again, but for tiles that could
    not be read; each batch is written to it as soon as it is scored.
    A tile that the file says is empty is not read at all. One that cannot be read is tried again, then noted in
    `failed`; anything unexpected is raised, with the place of its tile.
    """
    started = time.perf_counter()
    stages = dict.fromkeys(STAGES, 0.0)
    found, labels = Gathered(plan), len(plan.package.card.labels)
    if journal is not None:
        found.add(journal.found)
        advance(int(found.done.sum()))
    resumed = found.scored
    blank = plan.scene.blank(plan.grid) & ~found.done
    parts = [Part.blank(np.flatnonzero(blank), labels)] if blank.any() else []
    waiting = np.flatnonzero(~(found.done | blank))
    for part in itertools.chain(parts, _scored(plan, workers, waiting, stages)):
        if journal is not None:
            journal.record(part)
        found.add(part)
        advance(part.known)
    return found.finish(plan.scene.changed(), time.perf_counter() - started, stages, resumed)


def _scored(plan: Plan, workers: Workers, tiles: NDArray[np.integer], stages: dict[str, float]) -> Iterator[Part]:
    """Score tiles, batch by batch; what each stage took is added to `stages`."""
    # Square by square, so that what neighbours share is read once.
    order = [tile for square in plan.grid.squares(tiles, SQUARE) for tile in square.tolist()]
    batches = [order[start : start + plan.batch] for start in range(0, len(order), plan.batch)]
    make = detector_of(plan.package, plan.tta, plan.batch, plan.runtime, alone=True)
    if batches:
        workers.begin(make)
    ready = partial(naming, plan, partial(prepare, plan), by_tile)
    for scored in workers.run(ready, partial(naming, plan, partial(infer, make), by_chip), batches):
        for stage, seconds in scored.seconds.items():
            stages[stage] += seconds
        yield Part.of(scored, len(plan.package.card.labels))


def detector_of(
    package: Package, tta: bool, batch: int, runtime: Runtime, *, alone: bool = False
) -> Callable[[], Detector]:
    """Return what makes a package's detector in whatever process: an address travels there, not weights.

    tta: means over symmetries (test-time augmentation); alone: for mines alone, see `Averaged`. batch: chips that are
    scored at once.
    """
    make = partial(detector, package.path.absolute(), package.card.digest, batch, runtime)
    return partial(averaged, make, package.card.spec.mine_column, alone) if tta else make
