"""The work on a batch of tiles: read, prepare, score. What dask sends to its workers."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from geoscan import gdal
from geoscan.arrays import Chips, Mask, Scores, Visual
from geoscan.errors import PackageError, ReadError
from geoscan.grid import Tile, Window
from geoscan.model.look import is_white
from geoscan.model.preprocess import Preprocess
from geoscan.model.runtime import Averaged, Detector
from geoscan.scanning.plan import Plan
from geoscan.scene import Scene

STAGES: Final = ("read", "dehaze", "infer")
"""What the work on a batch is timed by."""

SQUARE: Final = 1024
"""Side in pixels of what is read at once: neighbouring tiles share blocks of the file, and each read has its price."""

_DENSE: Final = 0.5
"""Share of the pixels in such a square that tiles must need; fewer are read one by one."""

_ONCE_MORE: Final = (0.0,)
_NETWORK: Final = (1.0, 2.0, 4.0, 8.0)
"""Seconds to wait before a read is tried again: a local one as a lost handle is opened anew, one through a network for
longer than most cuts last; GDAL's own tries (see `gdal.settings`) end at once where nobody answers."""

_LOST: Final[set[str]] = set()
"""Addresses of remote scenes of which no try came through: until one does, no more is waited for each chip."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Read:
    """Tiles as they were read."""

    tiles: list[int]
    """Indexes of the tiles that `pixels` holds: those that are not all nodata."""

    pixels: list[tuple[Visual, Mask]]
    """In the model's look; at most a chip each."""

    observed: dict[int, int]
    """Pixels of each tile's core that are no nodata, 0 for a skipped tile."""

    failed: dict[int, str]
    """Tiles that could not be read, and why."""

    seconds: float

    @property
    def shares(self) -> NDArray[np.float64]:
        """(n,), share of the pixels of each tile that are no nodata."""
        return np.array([valid.mean() for _, valid in self.pixels])

    def framed(self, preprocess: Preprocess) -> Chips:
        """Give them as chips with their haze, (n, chip, chip, 3)."""
        chips = np.empty((len(self.pixels), preprocess.chip, preprocess.chip, 3), np.uint8)
        for row, pixels in enumerate(self.pixels):
            chips[row] = preprocess.frame(*pixels)
        return chips


@dataclass(frozen=True, slots=True)
class Prepared:
    """A batch of tiles, ready for the model."""

    tiles: list[int]
    """Indexes of the tiles that `chips` holds."""

    chips: Chips
    strange: list[int]
    """Tiles that look like nothing the model has learned from: they are not scored."""

    white: int
    """How many of these are white all over."""

    observed: dict[int, int]
    failed: dict[int, str]
    """See `Read`."""

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


def read(plan: Plan, tiles: Sequence[int]) -> Read:
    """Read tiles as the model's look has them, with their haze."""
    start = time.perf_counter()
    found = Read([], [], {}, {}, 0.0)
    for square in plan.grid.squares(np.array(tiles, int), SQUARE):
        _read_square(plan, square, found)
    return replace(found, seconds=time.perf_counter() - start)


def _read_square(plan: Plan, tiles: NDArray[np.int64], found: Read) -> None:
    """Read tiles that lie side by side: in one go, or where that fails each by itself, so that the others are seen."""
    window = plan.grid.around(tiles)
    needed = len(tiles) * plan.grid.stride**2
    if len(tiles) > 1 and needed >= _DENSE * window.rows * window.cols:
        with suppress(ReadError):
            visual, valid = _look_at(plan, window)
            for tile in map(plan.grid.__getitem__, tiles.tolist()):
                part = _within(tile.read, window)
                _keep(found, tile, visual[:, *part], valid[part])
            return
    for tile in map(plan.grid.__getitem__, tiles.tolist()):
        try:
            _keep(found, tile, *_patiently(plan.scene, partial(_look_at, plan, tile.read)))
        except ReadError as err:
            found.failed[tile.index] = str(err)


def _look_at(plan: Plan, window: Window) -> tuple[Visual, Mask]:
    """Read a window in the model's look."""
    native, valid = plan.scene.read(window)
    return plan.radiometry.apply(native, valid), valid


def _keep(found: Read, tile: Tile, visual: Visual, valid: Mask) -> None:
    """Note what was read of a tile."""
    found.observed[tile.index] = int(valid[_within(tile.core, tile.read)].sum())
    if found.observed[tile.index]:
        found.tiles.append(tile.index)
        found.pixels.append((visual, valid))


def _within(inner: Window, outer: Window) -> tuple[slice, slice]:
    """Give a window as an index into the pixels of another that holds it."""
    return replace(inner, row=inner.row - outer.row, col=inner.col - outer.col).slices


def prepare(plan: Plan, tiles: Sequence[int]) -> Prepared:
    """Read tiles, set aside those that look like nothing the model has learned from, and remove their haze."""
    found = read(plan, tiles)
    start = time.perf_counter()
    preprocess = plan.package.card.preprocess
    look = None if plan.force else plan.package.card.look
    framed = found.framed(preprocess)
    known = np.ones(len(framed), bool)
    white = 0
    if look is not None and found.tiles:
        known = look.log_odds(framed, found.shares) >= look.limit
        white = int(is_white(framed[~known]).sum())
    index = np.array(found.tiles, int)
    chips = framed[known]
    if preprocess.dehaze is not None:
        for row, n in enumerate(np.flatnonzero(known)):
            pixels, valid = found.pixels[n]
            whole = valid.shape == chips.shape[1:3] and valid.all()
            chips[row] = preprocess.clear(chips[row]) if whole else preprocess(pixels, valid)
    seconds = {"read": found.seconds, "dehaze": time.perf_counter() - start}
    strange = index[~known].tolist()
    return Prepared(index[known].tolist(), chips, strange, white, found.observed, found.failed, seconds)


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


def averaged(make: Callable[[], Detector], mine: int, alone: bool) -> Detector:
    """Make a detector that gives means over symmetries: test-time augmentation. mine, alone: see `Averaged`."""
    return Averaged(make(), mine, alone=alone)


def _patiently(scene: Scene, read: Callable[[], T]) -> T:
    """Try a read again when it fails: a network does so for a while, and a lost handle is opened anew."""
    name = scene.address
    waits = _NETWORK if gdal.is_remote(scene.address) and name not in _LOST else _ONCE_MORE
    for wait in waits:
        try:
            found = read()
        except ReadError:
            time.sleep(wait)
        else:
            _LOST.discard(name)
            return found
    try:
        return read()
    except ReadError:
        if waits is _NETWORK:
            _LOST.add(name)
        raise
