"""What a scan knows of a scene: scores of every tile, detections, figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geoscan import __version__
from geoscan.arrays import Scores
from geoscan.labels import MINE
from geoscan.machine import peak_rss_mb
from geoscan.model.package import Package
from geoscan.polygons import Detection, Provenance, Hysteresis, detections, flag
from geoscan.scanning.plan import Plan

if TYPE_CHECKING:
    pass


@dataclass
class SceneScores:
    """What a scan knows of a scene, tile by tile."""

    plan: Plan
    package: Package
    scores: Scores
    """(len(grid), labels); NaN where a tile was not scored."""

    observed: NDArray[np.int64]
    """(len(grid),): pixels of each core that are no nodata."""

    tta: bool = False
    """Whether the scores are means over symmetries."""

    failed: dict[int, str] = field(default_factory=dict)
    seconds: float = 0.0
    stage_seconds: dict[str, float] = field(default_factory=lambda: {"read": 0.0, "dehaze": 0.0, "infer": 0.0})

    @property
    def observed_fraction(self) -> float:
        """Share of the scene that was seen, 0..1: neither nodata, nor failed, nor under cloud as the model tells."""
        labels = self.package.card.labels
        seen = ~np.isnan(self.scores[:, 0])
        for head in self.package.card.spec.heads:
            if head.activation == "softmax" and "cloudy" in head.labels:
                weather = self.scores[:, [labels.index(label) for label in head.labels]]
                seen &= weather.argmax(axis=1) != head.labels.index("cloudy")
        return float(self.observed[seen].sum() / (self.plan.grid.rows * self.plan.grid.cols))

    def flagged(self, thresholds: Hysteresis) -> NDArray[np.bool_]:
        """(len(grid),): True for tiles that are part of a detection."""
        mine = self.scores[:, self.package.card.labels.index(MINE)]
        return flag(mine.reshape(self.plan.grid.shape), thresholds).ravel() > 0

    def detections(self, thresholds: Hysteresis, prior: float | None = None) -> list[Detection]:
        """Merge the flagged tiles into polygons.

        prior: share of mines among the scene's chips, 0..1, ends excluded; what the model's card assumes if None.
        """
        scene, card = self.plan.scene, self.package.card
        provenance = self.provenance(thresholds, prior)
        return detections(
            self.plan.grid,
            self.scores,
            card.labels,
            provenance,
            scene.transform,
            scene.crs,
            probabilities=None if provenance.prior is None else card.mine_probability(self.scores, provenance.prior),
            co_thresholds=card.thresholds,
        )

    def provenance(self, thresholds: Hysteresis, prior: float | None = None) -> Provenance:
        """Where the detections come from; prior as in `detections`, without meaning for a model nobody calibrated."""
        card = self.package.card
        assumed = None if card.calibration.seen_prior is None else prior or card.calibration.ground_prior
        return Provenance(self.plan.name, card.name, card.digest, thresholds, __version__, self.tta, assumed)

    def summary(self, thresholds: Hysteresis, found: Sequence[Detection]) -> dict[str, Any]:
        """Return the figures of the scan, as `--json` prints them."""
        scored = int((~np.isnan(self.scores[:, 0])).sum())
        return {
            "scene": self.plan.name,
            "model": self.package.card.name,
            "digest": self.package.card.digest,
            "tta": self.tta,
            "chips": len(self.plan.grid),
            "skipped": len(self.plan.grid) - scored - len(self.failed),
            "failed": len(self.failed),
            "flagged": int(self.flagged(thresholds).sum()),
            "detections": len(found),
            "observed_fraction": round(self.observed_fraction, 6),
            "area_ha": round(sum(one.area_ha for one in found), 4),
            "seconds": round(self.seconds, 3),
            "chips_per_second": round(scored / self.seconds, 3) if self.seconds else 0.0,
            "stage_seconds": {stage: round(seconds, 3) for stage, seconds in self.stage_seconds.items()},
            "peak_rss_mb": peak_rss_mb(),
        }
