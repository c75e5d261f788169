"""GeoJSON (RFC 7946), one feature a line, so that a diff of two scans reads well."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from geoscan.layers.about import about, dumps
from geoscan.layers.detections import LAYER

if TYPE_CHECKING:
    from geoscan.polygons import Detection
    from geoscan.seen import Seen


def write(detections: Sequence[Detection], scenes: Sequence[Seen]) -> bytes:
    """Make the file."""
    from shapely.geometry import mapping

    from geoscan.polygons import properties

    features = [
        dumps({"type": "Feature", "properties": properties(one), "geometry": mapping(one.geometry)})
        for one in detections
    ]
    head = dumps({"type": "FeatureCollection", "name": LAYER, "geoscan": about(scenes)})
    body = ",\n".join(features)
    end = "\n]}\n" if features else "]}\n"
    return f'{head[:-1]}, "features": [\n{body}{end}'.encode()
