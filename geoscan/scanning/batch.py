"""The work on a batch of tiles: read, prepare, score. What dask sends to its workers."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from geoscan.arrays import Chips, Scores
from geoscan.errors import PackageError, ReadError
from geoscan.model.look import Look, is_white
from geoscan.model.runtime import Averaged, Detector
from geoscan.scanning.plan import Plan

STAGES: Final = ("read", "dehaze", "infer")
"""What the work on a batch is timed by."""

_ATTEMPTS = 2

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Prepared:
    """A batch of tiles, ready for the model."""

    tiles: list[int]
    """Indexes of the tiles that `chips` holds."""

    chips: Chips
    shares: NDArray[np.float64]
    """(n,), share of the pixels of each of `chips` that are no nodata."""

    strange: list[int]
    """Tiles that look like nothing the model has learned from: they are not scored."""

    white: int
    """How many of these are white all over."""

    observed: dict[int, int]
    """Pixels of each tile's core that are no nodata, 0 for a skipped tile."""

    failed: dict[int, str]
    """Tiles that could not be read, and why."""

    seconds: dict[str, float]


@dataclass(frozen=True, slots=True)
class ScoredBatch:
    """A batch of tiles and their scores; see `Prepared`."""

    tiles: list[int]
    scores: Scores
    strange: list[int]
    white: int
    observed: dict[int, int]
    failed: dict[int, str]
    seconds: dict[str, float]


def prepare(plan: Plan, tiles: Sequence[int]) -> Prepared:
    """Read tiles and bring them to the model's look."""
    seconds = {"read": 0.0, "dehaze": 0.0}
    ready, chips, shares = [], [], []
    observed: dict[int, int] = {}
    failed: dict[int, str] = {}
    preprocess = plan.package.card.preprocess
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
            chips.append(preprocess(plan.radiometry.apply(native, valid), valid))
            ready.append(index)
            shares.append(float(valid.mean()))
            seconds["dehaze"] += time.perf_counter() - start
    side = preprocess.chip
    stacked = np.stack(chips) if chips else np.empty((0, side, side, 3), np.uint8)
    prepared = Prepared(ready, stacked, np.array(shares), [], 0, observed, failed, seconds)
    look = plan.package.card.look
    return prepared if look is None or plan.force or not ready else _understood(prepared, look)


def _understood(prepared: Prepared, look: Look) -> Prepared:
    """Set aside the chips that look like nothing the model has learned from."""
    known = look.log_odds(prepared.chips, prepared.shares) >= look.limit
    tiles = np.array(prepared.tiles)
    return replace(
        prepared,
        tiles=tiles[known].tolist(),
        chips=prepared.chips[known],
        shares=prepared.shares[known],
        strange=tiles[~known].tolist(),
        white=int(is_white(prepared.chips[~known]).sum()),
    )


def score(make: Callable[[], Detector], chips: Chips) -> Scores:
    """Score prepared chips, (n, chip, chip, 3) -> (n, labels), 0..1.

    Raises PackageError when a score is NaN, which would pass for a tile that was skipped.
    """
    scores = make()(chips)
    if lost := int(np.isnan(scores).any(axis=1).sum()):
        raise PackageError(f"the model gives no score (NaN) for {lost} of {len(scores)} chips; train it anew")
    return scores


def infer(make: Callable[[], Detector], batch: Prepared) -> ScoredBatch:
    """Score prepared tiles; a batch of nodata alone never wakes the model. Raises PackageError as `score` does."""
    start = time.perf_counter()
    scores = score(make, batch.chips) if batch.tiles else np.empty((0, 1), np.float32)
    seconds = {**batch.seconds, "infer": time.perf_counter() - start}
    return ScoredBatch(batch.tiles, scores, batch.strange, batch.white, batch.observed, batch.failed, seconds)


def averaged(make: Callable[[], Detector]) -> Detector:
    """Make a detector that gives means over symmetries: test-time augmentation."""
    return Averaged(make())


def _patiently(read: Callable[[], T]) -> T:
    """Try a read once more when it fails: a network does so for a moment, and a lost handle is opened anew."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return read()
        except ReadError:
            if attempt == _ATTEMPTS:
                raise
    raise AssertionError("unreachable")
