"""The scores of a scene as they come in, batch by batch, from the network or from a journal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoscan.arrays import Scores
from geoscan.scanning.batch import ScoredBatch
from geoscan.scanning.plan import Plan
from geoscan.scanning.scores import SceneScores


@dataclass(frozen=True, slots=True)
class Part:
    """What is known of some tiles of a scene, as arrays."""

    tiles: NDArray[np.uint32]
    """(n,), indexes of the tiles that were read, or that the file says are empty."""

    observed: NDArray[np.uint32]
    """(n,), pixels of their cores that are no nodata."""

    scored: NDArray[np.uint32]
    """(m,), those of the tiles that have scores."""

    scores: Scores
    """(m, labels)"""

    strange: NDArray[np.uint32]
    """Those of the tiles that look like nothing the model has learned from."""

    white: int
    """How many of these are white all over."""

    failed: Mapping[int, str]
    """Other tiles: they could not be read, and why."""

    @property
    def known(self) -> int:
        """Number of tiles that it says something of."""
        return len(self.tiles) + len(self.failed)

    @classmethod
    def of(cls, batch: ScoredBatch, labels: int) -> Part:
        """Take what a batch says; labels: their number, which a batch without scores does not tell."""
        return cls(
            np.fromiter(batch.observed, np.uint32),
            np.fromiter(batch.observed.values(), np.uint32),
            np.array(batch.tiles, np.uint32),
            np.asarray(batch.scores, np.float32).reshape(-1, labels) if batch.tiles else _none(labels),
            np.array(batch.strange, np.uint32),
            batch.white,
            batch.failed,
        )

    @classmethod
    def blank(cls, tiles: NDArray[np.integer], labels: int) -> Part:
        """Say of tiles that there is nothing to see in them."""
        empty = np.empty(0, np.uint32)
        return cls(tiles.astype(np.uint32), np.zeros(len(tiles), np.uint32), empty, _none(labels), empty, 0, {})


def _none(labels: int) -> Scores:
    return np.empty((0, labels), np.float32)


class Gathered:
    """All that is known of a scene so far."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._scores = np.full((len(plan.grid), len(plan.package.card.labels)), np.nan, np.float32)
        self._observed = np.zeros(len(plan.grid), np.int64)
        self.done = np.zeros(len(plan.grid), bool)
        """(len(grid),): True where a tile need not be looked at again."""

        self._strange = np.zeros(len(plan.grid), bool)
        self._white = 0
        self._failed: dict[int, str] = {}

    def add(self, part: Part) -> None:
        """Take in some tiles; those that failed before and were read now have failed no more."""
        self._scores[part.scored] = part.scores
        self._observed[part.tiles] = part.observed
        self._strange[part.strange] = True
        self.done[part.tiles] = True
        self._white += part.white
        self._failed |= part.failed

    def miss(self, tiles: Iterable[int], cause: str) -> None:
        """Say why tiles are not known, where nothing says so yet."""
        self._failed = dict.fromkeys(tiles, cause) | self._failed

    @property
    def scored(self) -> int:
        """Number of tiles that have scores."""
        return int((~np.isnan(self._scores[:, 0])).sum())

    def finish(
        self, changed: str = "", seconds: float = 0, stages: Mapping[str, float] | None = None, resumed: int = 0
    ) -> SceneScores:
        """Give what was gathered; for the rest see `SceneScores`."""
        failed = {tile: self._failed[tile] for tile in sorted(self._failed) if not self.done[tile]}
        strange = np.flatnonzero(self._strange).tolist()
        found = self._scores, self._observed, failed, strange, self._white
        return SceneScores(self._plan, *found, changed, seconds, stages or {}, resumed)
