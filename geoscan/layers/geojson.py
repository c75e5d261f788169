"""GeoJSON (RFC 7946), one feature a line, so that a diff of two scans reads well."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoscan.layers import detections, obscured
from geoscan.layers.about import about, dumps

if TYPE_CHECKING:
    from geoscan.outlines import Outline
    from geoscan.polygons import Detection
    from geoscan.seen import Seen


def write(path: Path, found: Sequence[Detection], scenes: Sequence[Seen]) -> None:
    """Make the file."""
    from geoscan.polygons import properties

    _write(path, detections.LAYER, ((properties(one), one.geometry) for one in found), scenes)


def write_obscured(path: Path, scenes: Sequence[Seen]) -> None:
    """Make a file of what was not seen well."""
    _write(path, obscured.LAYER, obscured.features(scenes), scenes)


def _write(
    path: Path, name: str, features: Iterable[tuple[Mapping[str, Any], Outline]], scenes: Sequence[Seen]
) -> None:
    from shapely.geometry import mapping

    lines = [
        dumps({"type": "Feature", "properties": properties, "geometry": mapping(outline)})
        for properties, outline in features
    ]
    head = dumps({"type": "FeatureCollection", "name": name, "geoscan": about(scenes)})
    body = ",\n".join(lines)
    end = "\n]}\n" if lines else "]}\n"
    path.write_bytes(f'{head[:-1]}, "features": [\n{body}{end}'.encode())
