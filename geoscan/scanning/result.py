"""From the scores of a scene to what was found in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from geoscan import __version__
from geoscan.changes import counts, present
from geoscan.model.essentials import essentials
from geoscan.outlines import CHIP, outlines
from geoscan.polygons import Detection, Outliner, Provenance, detections, joined
from geoscan.scanning.plan import Plan
from geoscan.scanning.scores import SceneScores
from geoscan.scanning.summary import Summary, summary, together
from geoscan.seen import Seen


@dataclass(frozen=True, slots=True)
class SceneResult:
    """What was seen and found in one scene."""

    plan: Plan
    seen: Seen
    detections: Sequence[Detection]
    changed: str
    """Path of a file of the scene that was written during the scan, so that old and new pixels may be mixed; empty for
    none."""

    summary: Summary

    @property
    def well(self) -> bool:
        """Whether all of the scene was read, as it was when the scan began."""
        return not (self.seen.failed or self.changed)


def detect(scores: SceneScores) -> SceneResult:
    """Merge the tiles that pass the plan's thresholds into detections.

    Where the plan wants outlines by activation, their chips are read once more.
    Raises SceneError when a detection has no place in longitude and latitude.
    """
    plan = scores.plan
    scene, card = plan.scene, plan.package.card
    provenance = Provenance(
        plan.name,
        card.name,
        card.digest,
        plan.thresholds,
        __version__,
        operate=plan.operate,
        tta=plan.tta,
        prior=plan.prior,
        outline=plan.outline,
        reading=plan.reading,
    )
    found = detections(
        plan.grid,
        scores.scores,
        card.labels,
        provenance,
        scene.transform,
        scene.crs,
        probabilities=None if plan.prior is None else card.mine_probability(scores.scores, plan.prior),
        label_thresholds=card.thresholds,
        outliner=_outliner(plan),
    )
    seen = Seen(
        provenance,
        plan.grid,
        scene.transform,
        scene.crs,
        card.labels,
        scores.scores,
        scores.observed,
        scores.sight,
        scores.failed,
        essentials(card, plan.operate),
    )
    return SceneResult(plan, seen, found, scores.changed, summary(scores, found))


def _outliner(plan: Plan) -> Outliner:
    if plan.outline == CHIP:
        return outlines
    from geoscan.scanning.evidence import by_activation  # which needs OpenVINO, as merging does not

    return by_activation(plan)


def found_in(results: Sequence[SceneResult]) -> list[Detection]:
    """Give the detections of all scenes, each mine once: those of different scenes that meet are joined."""
    return joined([result.detections for result in results])


def total(results: Sequence[SceneResult], found: Sequence[Detection], *, compared: bool = False) -> Summary:
    """Give the figures of a scan of one or more scenes.

    found: what `found_in` gave. compared: whether `changes.since` made something of it.
    """
    summaries = [result.summary for result in results]
    ground = [result.plan.ground_m2 for result in results]
    whole = summaries[0] if len(summaries) == 1 else together(summaries, ground, present(found))
    return replace(whole, changes=counts(found)) if compared else whole
