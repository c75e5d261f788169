"""GeoParquet 1.1, with a box around each feature by which readers skip what lies elsewhere."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from geoscan.layers import detections, obscured
from geoscan.layers.about import about, dumps

if TYPE_CHECKING:
    import geopandas

    from geoscan.polygons import Detection
    from geoscan.seen import Seen


def write(path: Path, found: Sequence[Detection], scenes: Sequence[Seen]) -> None:
    """Make the file."""
    _write(path, detections.frame(found), scenes)


def write_obscured(path: Path, scenes: Sequence[Seen]) -> None:
    """Make a file of what was not seen well."""
    _write(path, obscured.frame(scenes), scenes)


def _write(path: Path, frame: geopandas.GeoDataFrame, scenes: Sequence[Seen]) -> None:
    import pyarrow.parquet as pq

    plain, described = io.BytesIO(), io.BytesIO()
    frame.to_parquet(plain, index=False, schema_version="1.1.0", write_covering_bbox=True)
    table = pq.read_table(plain)  # GeoPandas takes no metadata of ours
    metadata = {**table.schema.metadata, b"geoscan": dumps(about(scenes)).encode()}
    pq.write_table(table.replace_schema_metadata(metadata), described, compression="zstd")
    path.write_bytes(described.getvalue())
