"""What a report says, as values: the template puts them into words and places."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from geoscan import __version__
from geoscan.layers import footprint
from geoscan.model.card import Card
from geoscan.outlines import area_ha, areas_ha, union
from geoscan.polygons import Detection, properties
from geoscan.report.pictures import CloseUp
from geoscan.report.places import shown_by
from geoscan.report.scene_part import ScenePart, part_of
from geoscan.scanning.plan import Plan
from geoscan.scanning.result import SceneResult, total
from geoscan.scanning.summary import Summary
from geoscan.states import ABSENT, Review

LISTED: Final = 2000
"""Detections in the table and on the maps; the likeliest, where there are more."""

PICTURED: Final = 24
"""Detections that are shown close up; the likeliest, where there are more."""

_SIDES: Final = (256, 1600)
_PIXELS: Final = 2**23
"""Least and most pixels of an overview's side, and of all overviews together: a report is to stay small."""

_LITTLE: Final = 0.001
"""Share of their ground that scenes beside each other may both show: a hair, in another CRS."""


@dataclass(frozen=True, slots=True)
class Row:
    """One detection."""

    number: int
    """From 1, the likeliest first."""

    longitude: float
    latitude: float
    """Of a point in it."""

    facts: Mapping[str, Any]
    """See `polygons.properties`."""

    maps: Sequence[int] = ()
    """Indexes of the scenes that show it."""

    close_up: CloseUp | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """A report."""

    total: Summary
    scenes: Sequence[ScenePart]
    rows: Sequence[Row]
    """The likeliest detections."""

    absent: Sequence[Row]
    """What an earlier layer holds, and this scan did not find."""

    statuses: Mapping[str, int]
    """How many detections have each `status`; empty where there was no earlier layer to compare with."""

    command: str
    missing: Mapping[str, str]
    """Scenes that could not be scanned, and why."""

    left_out: int
    """Rasters in folders that could not be scanned."""

    shared: float = 0.0
    """Share of what all scenes show that another of them has shown before, 0..1."""

    refuted: Sequence[float] = ()
    """Hectares of each detection that a person has called no mine."""

    version: str = __version__
    written: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def ground_km2(self) -> float:
        """Ground that all scenes show; what several show counts once."""
        return (1 - self.shared) * sum(one.plan.ground_m2 for one in self.scenes) / 1e6

    @property
    def overlap(self) -> bool:
        """Whether scenes overlap, so that shares of what they show are none of the ground."""
        return self.shared > _LITTLE

    @property
    def reviewed(self) -> bool:
        """Whether a person has said something of a detection."""
        return any(row.facts["review"] != Review.UNREVIEWED for row in (*self.rows, *self.absent))

    @property
    def pictured(self) -> list[Row]:
        """Detections with a close-up."""
        return [row for row in self.rows if row.close_up is not None]

    @property
    def cards(self) -> list[Card]:
        """Cards of the models."""
        return list({one.plan.package.card.digest: one.plan.package.card for one in self.scenes}.values())

    @property
    def judges(self) -> list[Plan]:
        """A plan for each model and operating point."""
        plans = [one.plan for one in self.scenes]
        return list({(one.package.card.digest, one.operate, one.thresholds, one.prior): one for one in plans}.values())


def page_of(
    results: Sequence[SceneResult],
    found: Sequence[Detection],
    *,
    command: str = "",
    missing: Mapping[str, str] | None = None,
    left_out: int = 0,
) -> Page:
    """Gather what a report says of a scan of some scenes, reading their pixels for its pictures.

    found: detections of all scenes, each mine once. The others are as `Page` has them.
    """
    facts = [properties(one) for one in found]
    absent = [n for n, one in enumerate(facts) if one.get("status") in ABSENT]
    present = sorted(set(range(len(found))) - set(absent), key=lambda n: _likelihood(found[n]), reverse=True)
    refuted = [found[n].area_ha for n in present if found[n].review is Review.NOT_MINE]
    present = present[:LISTED]
    scenes, maps, close_ups = _scenes(results, [found[n] for n in present])

    def row(number: int, n: int) -> Row:
        point = found[n].geometry.representative_point()
        return Row(number, point.x, point.y, facts[n], maps.get(number, ()), close_ups.get(number))

    return Page(
        total=total(results, found),
        scenes=scenes,
        rows=[row(number, n) for number, n in enumerate(present, 1)],
        absent=[row(0, n) for n in absent[:LISTED]],
        statuses=Counter(str(one["status"]) for one in facts if one.get("status")),
        command=command,
        missing=missing or {},
        left_out=left_out,
        shared=_shared(results),
        refuted=refuted,
    )


def _shared(results: Sequence[SceneResult]) -> float:
    """Give the share of what scenes show that another of them has shown before, 0..1."""
    if len(results) == 1:
        return 0.0
    shapes = [footprint.outline_of(result.seen) for result in results]
    return 1 - area_ha(union(shapes)) / float(areas_ha(shapes).sum())


def _likelihood(one: Detection) -> tuple[float, float]:
    return one.score_max if one.probability is None else one.probability, one.score_max


def _scenes(
    results: Sequence[SceneResult], listed: Sequence[Detection]
) -> tuple[list[ScenePart], dict[int, list[int]], dict[int, CloseUp]]:
    """Gather what is said of each scene, the scenes that show a detection, and close-ups; by number of the detection.

    listed: the likeliest first.
    """
    least, most = _SIDES
    side = min(max(math.isqrt(_PIXELS // len(results)), least), most)
    shown = shown_by([result.detections for result in results], listed)
    maps: dict[int, list[int]] = {}
    best: dict[int, tuple[float, int]] = {}
    for scene, own in enumerate(shown):
        for n, one in own.items():
            maps.setdefault(n + 1, []).append(scene)
            best[n + 1] = max(best.get(n + 1, (-1.0, 0)), (one.score_max, -scene))
    parts: list[ScenePart] = []
    close_ups: dict[int, CloseUp] = {}
    for scene, (result, own) in enumerate(zip(results, shown, strict=True)):
        near = {n + 1: one for n, one in own.items() if n < PICTURED and -best[n + 1][1] == scene}
        part, pictures = part_of(result, {n + 1: listed[n] for n in own}, near, side)
        parts.append(part)
        close_ups |= pictures
    return parts, maps, close_ups
