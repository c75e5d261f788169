"""GeoParquet."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from geoscan.layers.about import about, dumps
from geoscan.layers.detections import frame

if TYPE_CHECKING:
    from geoscan.polygons import Detection
    from geoscan.seen import Seen


def write(detections: Sequence[Detection], scenes: Sequence[Seen]) -> bytes:
    """Make the file."""
    import pyarrow.parquet as pq

    plain, described = io.BytesIO(), io.BytesIO()
    frame(detections).to_parquet(plain, index=False)
    table = pq.read_table(plain)  # GeoPandas takes no metadata of ours
    metadata = {**table.schema.metadata, b"geoscan": dumps(about(scenes)).encode()}
    pq.write_table(table.replace_schema_metadata(metadata), described, compression="zstd")
    return described.getvalue()
