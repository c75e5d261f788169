"""The scores of a scene, tile by tile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoscan.arrays import Scores
from geoscan.scanning.plan import Plan
from geoscan.seen import Sight


@dataclass(frozen=True, slots=True)
class SceneScores:
    """What a scan saw of a scene, before anything is made of it."""

    plan: Plan
    scores: Scores
    """(len(grid), labels); NaN where a tile was not scored."""

    observed: NDArray[np.int64]
    """(len(grid),): pixels of each core that are not nodata."""

    failed: Mapping[int, str]
    """Tiles that could not be read, in order, and why."""

    strange: Sequence[int]
    """Tiles that look like nothing the model has learned from, in order: they were not scored."""

    white: int
    """How many of these are white all over, as thick cloud is."""

    changed: str
    """Path of a file of the scene that was written during the scan; empty for none."""

    seconds: float
    """From the first tile to the last score, loading the model included."""

    stage_seconds: Mapping[str, float]
    """Of reading, dehazing and inference, summed over threads."""

    resumed: int = 0
    """How many of the scores are from a journal, and took none of these seconds."""

    @property
    def scored(self) -> NDArray[np.bool_]:
        """(len(grid),): True where a tile was scored."""
        return ~np.isnan(self.scores[:, 0])

    @property
    def sight(self) -> NDArray[np.uint8]:
        """(len(grid),): a `Sight` each, what is worst where several hold."""
        card, scored = self.plan.package.card, self.scored
        sight = np.where(scored, Sight.CLEAR, Sight.NODATA).astype(np.uint8)
        for head in card.spec.heads:
            if head.activation == "softmax":
                weather = self.scores[:, [card.labels.index(label) for label in head.labels]]
                likeliest = np.array(head.labels)[weather.argmax(axis=1)]
                sight[scored & (likeliest == "haze")] = Sight.HAZY
                sight[scored & (likeliest == "cloudy")] = Sight.CLOUDY
        sight[list(self.failed)] = Sight.FAILED
        sight[list(self.strange)] = Sight.STRANGE
        return sight

    @property
    def observed_fraction(self) -> float:
        """Share of the scene that was seen, 0..1: neither nodata, nor failed, nor under cloud as the model tells."""
        seen = self.sight <= Sight.HAZY
        return float(self.observed[seen].sum() / (self.plan.grid.rows * self.plan.grid.cols))
