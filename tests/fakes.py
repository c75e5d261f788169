"""Detectors that need no network, in a module that worker processes can import."""

import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from geoscan.arrays import Chips, Scores
from geoscan.labels import LABELS, MINE
from geoscan.machine import Runtime
from geoscan.model.runtime import Detector
from geoscan.scanning import batch
from geoscan.scanning.plan import Plan

SEEN: list[int] = []
"""Chips in each call of a detector of this process."""


class BrightIsPositive:
    """A chip scores as a mine what it is bright: its mean, 0..255, over 255; its weather is clear."""

    def __call__(self, chips: Chips) -> Scores:
        SEEN.append(len(chips))
        scores = np.zeros((len(chips), len(LABELS)), np.float32)
        scores[:, LABELS.index("clear")] = 1
        scores[:, LABELS.index(MINE)] = chips.mean(axis=(1, 2, 3)) / 255
        return scores


class GreyIsCloudy(BrightIsPositive):
    """Likewise; and what has a mean of 100 is under cloud."""

    def __call__(self, chips: Chips) -> Scores:
        scores = super().__call__(chips)
        grey = chips.mean(axis=(1, 2, 3)) == 100
        scores[grey, LABELS.index("clear")], scores[grey, LABELS.index("cloudy")] = 0, 1
        return scores


class CornerIsPositive:
    """A chip scores as a mine what its upper left pixel is bright."""

    def __call__(self, chips: Chips) -> Scores:
        scores = np.zeros((len(chips), len(LABELS)), np.float32)
        scores[:, LABELS.index(MINE)] = chips[:, 0, 0].mean(axis=1) / 255
        return scores


class InForest(CornerIsPositive):
    """The same; and every chip shows forest."""

    def __call__(self, chips: Chips) -> Scores:
        scores = super().__call__(chips)
        scores[:, LABELS.index("primary")] = 0.9
        return scores


class Unable:
    """Fails as a network does that runs out of memory: not on purpose."""

    def __call__(self, chips: Chips) -> Scores:
        raise MemoryError(f"{len(chips)} chips are too many")


class Deadly:
    """Takes its process along, as the system does when memory is short."""

    def __call__(self, chips: Chips) -> Scores:
        os._exit(1)


class Lost:
    """Answers no number for its last chip, as weights that ran away in training do."""

    def __call__(self, chips: Chips) -> Scores:
        scores = BrightIsPositive()(chips)
        scores[-1, LABELS.index(MINE)] = np.nan
        return scores


def bright(path: Path, digest: str, batch: int, runtime: Runtime) -> BrightIsPositive:
    """Stand in for `geoscan.model.runtime.detector`."""
    del path, digest, batch, runtime
    return BrightIsPositive()


def made(make: Callable[[], Detector], path: Path, digest: str, batch: int, runtime: Runtime) -> Detector:
    """Stand in for `geoscan.model.runtime.detector`, with any detector."""
    del path, digest, batch, runtime
    return make()


class Flow:
    """Counts batches between their preparation and their use."""

    lock = threading.Lock()
    prepared = used = most = 0
    reading = most_reading = 0


_prepare = batch.prepare


def counted_prepare(plan: Plan, tiles: Sequence[int]) -> batch.Prepared:
    """Prepare tiles as `geoscan.scanning.run` does, and count."""
    with Flow.lock:
        Flow.reading += 1
        Flow.most_reading = max(Flow.most_reading, Flow.reading)
    result = _prepare(plan, tiles)
    with Flow.lock:
        Flow.reading -= 1
        Flow.prepared += 1
        Flow.most = max(Flow.most, Flow.prepared - Flow.used)
    return result


def slow_use(_: int) -> None:
    """Be slower than what prepares."""
    time.sleep(0.02)
    with Flow.lock:
        Flow.used += 1


WHERE: list[object] = []
"""Names of the dask workers of this process that scored."""


class Placed(BrightIsPositive):
    """Tells which of dask's workers it runs on."""

    def __call__(self, chips: Chips) -> Scores:
        from distributed import get_worker

        WHERE.append(get_worker().name)
        return super().__call__(chips)


class Slow(BrightIsPositive):
    """Leaves time for something to happen meanwhile."""

    def __call__(self, chips: Chips) -> Scores:
        time.sleep(0.2)
        return super().__call__(chips)
