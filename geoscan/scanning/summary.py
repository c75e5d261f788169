"""The figures of a scan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from geoscan.machine import peak_rss_mb
from geoscan.polygons import Detection
from geoscan.scanning.scores import SceneScores


@dataclass(frozen=True, slots=True)
class Summary:
    """Figures of the scan of one scene, or of several together; the fields are the keys of `geoscan --json`.

    Of several scenes `scene` lists their names, and `model`, `digest`, `operate`, `tta`, `runtime` and `reading` list
    what differs among them.
    """

    scene: str | list[str]
    model: str | list[str]
    digest: str | list[str]
    operate: str | list[str]
    """Operating point in the model's card, see `Plan.operate`."""

    tta: bool | list[bool]
    runtime: str | list[str]
    """What computed the scores."""

    reading: Mapping[str, str] | list[Mapping[str, str]]
    """What was taken for granted about the scene, see `Plan.reading`."""

    chips: int
    skipped: int
    """Chips without data."""

    failed: int
    """Chips that could not be read."""

    not_understood: int
    """Chips that look like nothing the model has learned from: they were not scored, and are not observed."""

    resumed: int
    """Chips whose scores are from a journal, and took none of the seconds below."""

    flagged: int
    """Chips that are part of a detection."""

    detections: int
    observed_fraction: float
    """Share of the ground that was seen, 0..1, see `SceneScores.observed_fraction`."""

    area_ha: float
    """Of all detections, hectares."""

    seconds: float
    chips_per_second: float
    stage_seconds: Mapping[str, float]
    peak_rss_mb: float | None
    """Most memory that the process has held, in MiB; None where the system does not tell."""

    scenes: tuple[Summary, ...] = ()
    """Of each scene, where there are several."""

    changes: Mapping[str, int] = field(default_factory=dict)
    """Mines since an earlier layer, by `Status`, all of them; empty without such a layer."""

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON; without `scenes` when it is of one, or `changes` without an earlier layer."""
        facts = {**asdict(self), "scenes": [one.to_dict() for one in self.scenes]}
        for name in ("scenes", "changes"):
            if not facts[name]:
                del facts[name]
        return facts


def summary(scores: SceneScores, detections: Sequence[Detection]) -> Summary:
    """Give the figures of one scene."""
    plan = scores.plan
    card, chips, scored = plan.package.card, len(plan.grid), int(scores.scored.sum())
    return Summary(
        scene=plan.name,
        model=card.name,
        digest=card.digest,
        operate=plan.operate,
        tta=plan.tta,
        runtime=plan.runtime,
        reading=plan.reading,
        chips=chips,
        skipped=chips - scored - len(scores.failed) - len(scores.strange),
        failed=len(scores.failed),
        not_understood=len(scores.strange),
        resumed=scores.resumed,
        flagged=sum(one.n_chips for one in detections),
        detections=len(detections),
        observed_fraction=round(scores.observed_fraction, 6),
        area_ha=round(sum(one.area_ha for one in detections), 4),
        seconds=round(scores.seconds, 3),
        chips_per_second=_rate(scored - scores.resumed, scores.seconds),
        stage_seconds={stage: round(seconds, 3) for stage, seconds in scores.stage_seconds.items()},
        peak_rss_mb=peak_rss_mb(),
    )


def together(summaries: Sequence[Summary], ground_m2: Sequence[float], found: Sequence[Detection]) -> Summary:
    """Give the figures of several scenes together, and of each under `scenes`.

    ground_m2: what each scene covers, by which `observed_fraction` is weighted. found: detections of all scenes,
    each mine once.
    """

    def added(name: str) -> Any:
        return round(sum(getattr(one, name) for one in summaries), 4)

    def differing(name: str) -> Any:
        values = [getattr(one, name) for one in summaries]
        distinct = [value for n, value in enumerate(values) if value not in values[:n]]
        return distinct[0] if len(distinct) == 1 else distinct

    counts = ("chips", "skipped", "failed", "not_understood", "resumed", "flagged", "seconds")
    observed = sum(one.observed_fraction * area for one, area in zip(summaries, ground_m2, strict=True))
    scored = added("chips") - added("skipped") - added("failed") - added("not_understood") - added("resumed")
    stages = summaries[0].stage_seconds
    return Summary(
        scene=[str(one.scene) for one in summaries],
        **{name: differing(name) for name in ("model", "digest", "operate", "tta", "runtime", "reading")},
        **{name: added(name) for name in counts},
        detections=len(found),
        area_ha=round(sum(one.area_ha for one in found), 4),
        observed_fraction=round(observed / sum(ground_m2), 6),
        chips_per_second=_rate(scored, added("seconds")),
        stage_seconds={stage: round(sum(one.stage_seconds[stage] for one in summaries), 3) for stage in stages},
        peak_rss_mb=summaries[-1].peak_rss_mb,
        scenes=tuple(summaries),
    )


def _rate(chips: int, seconds: float) -> float:
    return round(chips / seconds, 3) if seconds else 0.0
