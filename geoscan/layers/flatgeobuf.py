"""FlatGeobuf."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from geoscan.layers.about import about, dumps
from geoscan.layers.detections import LAYER
from geoscan.layers.ogr import made

if TYPE_CHECKING:
    from geoscan.polygons import Detection
    from geoscan.seen import Seen


def write(detections: Sequence[Detection], scenes: Sequence[Seen]) -> bytes:
    """Make the file."""
    # Features come in the order of its spatial index; FlatGeobuf has no metadata but a description.
    return made("FlatGeobuf", detections, layer_options={"TITLE": LAYER, "DESCRIPTION": dumps(about(scenes))})
