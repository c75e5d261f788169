"""What a layer says of itself: what was scanned, how, and what could not be read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from geoscan.seen import Seen

_CAUSES: Final = 1000
"""Chips that could not be read, and are named one by one in a layer's metadata; they are counted to the last."""


def dumps(value: Any) -> str:
    """Give a value as JSON, in one line."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def about(scenes: Sequence[Seen]) -> dict[str, Any]:
    """Say what was scanned, and what could not be read: so a layer without detections says so too."""
    return {"scenes": [_of_scene(one) for one in scenes]}


def _of_scene(seen: Seen) -> dict[str, Any]:
    from geoscan.polygons import described

    source, failed = seen.provenance, list(seen.failed.values())
    return {
        "scene": source.scene,
        **described(source),
        "outline": source.outline,
        "reading": dict(source.reading),
        "failed": len(failed),
        **({"failures": failed[:_CAUSES]} if failed else {}),
    }


def dates_in(told: Any) -> dict[str, str]:
    """Give the dates of scenes by their names, from what `about` said; of anything else none."""
    readings = {name: one.get("reading") for name, one in _scenes_in(told).items()}
    return {name: str(of.get("date", "")) for name, of in readings.items() if isinstance(of, dict)}


def outlines_in(told: Any) -> dict[str, str]:
    """Likewise of what outlines are."""
    return {name: str(one.get("outline", "")) for name, one in _scenes_in(told).items()}


def _scenes_in(told: Any) -> dict[str, dict[Any, Any]]:
    scenes = told.get("scenes") if isinstance(told, dict) else None
    listed = scenes if isinstance(scenes, list) else []
    return {str(one.get("scene")): one for one in listed if isinstance(one, dict)}
