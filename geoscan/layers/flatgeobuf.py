"""FlatGeobuf."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from geoscan.layers import detections, obscured
from geoscan.layers.about import about, dumps
from geoscan.layers.ogr import made

if TYPE_CHECKING:
    import geopandas

    from geoscan.polygons import Detection
    from geoscan.seen import Seen


def write(path: Path, found: Sequence[Detection], scenes: Sequence[Seen]) -> None:
    """Make the file."""
    _write(path, detections.LAYER, detections.frame(found), scenes)


def write_obscured(path: Path, scenes: Sequence[Seen]) -> None:
    """Make a file of what was not seen well."""
    _write(path, obscured.LAYER, obscured.frame(scenes), scenes)


def _write(path: Path, name: str, frame: geopandas.GeoDataFrame, scenes: Sequence[Seen]) -> None:
    # Features come in the order of its spatial index; FlatGeobuf has no metadata but a description.
    said = {"TITLE": name, "DESCRIPTION": dumps(about(scenes))}
    path.write_bytes(made("FlatGeobuf", name, frame, layer_options=said))
