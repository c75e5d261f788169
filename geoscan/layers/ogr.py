"""Files as GDAL makes them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from geoscan.layers.detections import LAYER, frame

if TYPE_CHECKING:
    from geoscan.polygons import Detection


def made(driver: str, detections: Sequence[Detection], **options: dict[str, str]) -> bytes:
    """A file as GDAL makes it, in memory: GDAL's own word for a full disk is some error of SQLite."""
    import pyogrio

    file = io.BytesIO()
    pyogrio.write_dataframe(
        frame(detections), file, driver=driver, layer=LAYER, geometry_type="MultiPolygon", **options
    )
    return file.getvalue()
