"""What a report says of one scene."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from geoscan.errors import ReadError
from geoscan.polygons import Detection
from geoscan.report.pictures import CloseUp, Overview, close_up, overview, sights
from geoscan.report.places import Place, Rings
from geoscan.scanning.plan import Plan
from geoscan.scanning.result import SceneResult
from geoscan.scanning.summary import Summary
from geoscan.seen import Seen, Sight

_CAUSES: Final = 20
"""Causes why chips could not be read that are told; the others are counted."""


@dataclass(frozen=True, slots=True)
class Share:
    """How much of a scene was seen in one way."""

    sight: Sight
    chips: int
    share: float
    """Of its ground, 0..1."""


@dataclass(frozen=True, slots=True)
class ScenePart:
    """What a report says of one scene."""

    plan: Plan
    summary: Summary
    changed: str
    """See `SceneResult.changed`."""

    overview: Overview | None
    no_picture: str
    """Why pictures are missing; empty where none is."""

    sights: str
    """See `pictures.sights`."""

    shares: Sequence[Share]
    causes: Sequence[tuple[str, int]]
    """Why chips could not be read, and how many for each cause; the most frequent."""

    outlines: Mapping[int, Rings]
    """By the number of the detection."""

    up: str
    """Which way is up."""

    @property
    def tells_cloud(self) -> bool:
        """Whether its model knows cloud."""
        return "cloudy" in self.plan.package.card.labels

    @property
    def more_failed(self) -> int:
        """Chips that could not be read for other causes than those told."""
        return self.summary.failed - sum(chips for _, chips in self.causes)

    @property
    def data(self) -> dict[str, Any]:
        """What its map is drawn by, for JSON."""
        grid, gsd = self.plan.grid, self.plan.scene.gsd
        shapes = [{"number": number, "rings": rings} for number, rings in self.outlines.items()]
        return {"rows": grid.rows, "cols": grid.cols, "gsd": sum(gsd) / 2, "detections": shapes}


def part_of(
    result: SceneResult, found: Mapping[int, Detection], own: Mapping[int, Detection], side: int
) -> tuple[ScenePart, dict[int, CloseUp]]:
    """Gather what a report says of a scene, and show some of its detections close up.

    found: detections on its map, by number. own: those to be shown close up, as they were found in this scene alone.
    side: most pixels of its overview's side.
    """
    place = Place(result.seen)
    above, close_ups, no_picture = _pictures(result.plan, place, own, side)
    part = ScenePart(
        plan=result.plan,
        summary=result.summary,
        changed=result.changed,
        overview=above,
        no_picture=no_picture,
        sights=sights(result.seen, side),
        shares=_shares(result.seen),
        causes=Counter(result.seen.failed.values()).most_common(_CAUSES),
        outlines={number: place.rings(one.geometry) for number, one in found.items()},
        up=place.up(),
    )
    return part, close_ups


def _pictures(
    plan: Plan, place: Place, own: Mapping[int, Detection], side: int
) -> tuple[Overview | None, dict[int, CloseUp], str]:
    """Show a scene from above, and detections close up; last, say why a picture is missing."""
    if not plan.scene.vrt:
        return None, {}, "a journal holds scores, no pixels"
    try:
        above = overview(plan, side)
    except ReadError as error:
        return None, {}, str(error)
    close_ups, no_picture = {}, ""
    for number, one in own.items():
        try:
            close_ups[number] = close_up(plan, above.haze, place.window(one))
        except ReadError as error:
            no_picture = str(error)
    if changed := plan.scene.changed():
        return None, {}, f"{changed} was written since the scan began, so they might show other pixels"
    return above, close_ups, no_picture


def _shares(seen: Seen) -> list[Share]:
    """How much of the ground was seen in each way: pixels without data are `NODATA`, whatever tile they are in."""
    cores = seen.grid.areas()
    pixels = np.bincount(seen.sight, np.where(seen.sight == Sight.FAILED, cores, seen.observed), len(Sight))
    pixels[Sight.NODATA] = cores.sum() - np.delete(pixels, Sight.NODATA).sum()
    chips = np.bincount(seen.sight, minlength=len(Sight))
    return [Share(sight, int(chips[sight]), float(pixels[sight] / cores.sum())) for sight in Sight]
