"""The work on a batch of tiles: read, prepare, score. What dask sends to its workers."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from geoscan.arrays import Chips, Scores
from geoscan.errors import PackageError, ReadError
from geoscan.machine import BATCH
from geoscan.model.package import Package
from geoscan.model.runtime import Averaged, Detector, detector
from geoscan.scanning.plan import Plan

if TYPE_CHECKING:
    pass

_ATTEMPTS = 2

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Prepared:
    """A batch of tiles, ready for the model."""

    tiles: list[int]
    """Indexes of the tiles that `chips` holds."""

    chips: Chips
    observed: dict[int, int]
    """Pixels of each tile's core that are no nodata, 0 for a skipped tile."""

    failed: dict[int, str]
    """Tiles that could not be read, and why."""

    seconds: dict[str, float]


@dataclass(frozen=True, slots=True)
class Scored:
    """A batch of tiles and their scores; see `Prepared`."""

    tiles: list[int]
    scores: Scores
    observed: dict[int, int]
    failed: dict[int, str]
    seconds: dict[str, float]


def prepare(plan: Plan, tiles: Sequence[int]) -> Prepared:
    """Read tiles and bring them to the model's look."""
    seconds = {"read": 0.0, "dehaze": 0.0}
    ready, chips = [], []
    observed: dict[int, int] = {}
    failed: dict[int, str] = {}
    airlight = None if plan.airlight is None else np.array(plan.airlight, np.float32)
    for index in tiles:
        tile = plan.grid[index]
        start = time.perf_counter()
        try:
            native, valid = _patiently(partial(plan.scene.read, tile.read))
        except ReadError as err:
            failed[index] = str(err)
            continue
        finally:
            seconds["read"] += time.perf_counter() - start
        down, across = tile.core.row - tile.read.row, tile.core.col - tile.read.col
        observed[index] = int(valid[down : down + tile.core.rows, across : across + tile.core.cols].sum())
        if observed[index]:
            start = time.perf_counter()
            chips.append(plan.preprocess(plan.radiometry.apply(native, valid), valid, airlight))
            ready.append(index)
            seconds["dehaze"] += time.perf_counter() - start
    side = plan.preprocess.chip
    stacked = np.stack(chips) if chips else np.empty((0, side, side, 3), np.uint8)
    return Prepared(ready, stacked, observed, failed, seconds)


def infer(make: Callable[[], Detector], batch: Prepared) -> Scored:
    """Score prepared tiles; a batch of nodata alone never wakes the model.

    Raises PackageError when a score is NaN, which would pass for a tile that was skipped.
    """
    start = time.perf_counter()
    scores = make()(batch.chips) if batch.tiles else np.empty((0, 1), np.float32)
    if lost := int(np.isnan(scores).any(axis=1).sum()):
        raise PackageError(f"the model gives no score (NaN) for {lost} of {len(scores)} chips; train it anew")
    seconds = {**batch.seconds, "infer": time.perf_counter() - start}
    return Scored(batch.tiles, scores, batch.observed, batch.failed, seconds)


def averaged(make: Callable[[], Detector]) -> Detector:
    """Make a detector that gives means over symmetries."""
    return Averaged(make())


def predict(package: Package, chips: Sequence[NDArray[np.uint8]], batch: int = BATCH) -> Scores:
    """Score single chips, (3, rows, cols) visual pixels each, as a scan would; (n, labels) in the order of the card."""
    prepared = np.stack([package.card.preprocess(chip) for chip in chips])
    return detector(package.path.absolute(), package.card.digest, batch)(prepared)


def _patiently(read: Callable[[], T]) -> T:
    """Try a read once more when it fails: a network does so for a moment, and a lost handle is opened anew."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return read()
        except ReadError:
            if attempt == _ATTEMPTS:
                raise
    raise AssertionError("unreachable")
