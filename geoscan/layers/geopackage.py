"""GeoPackage, the same bytes for the same detections."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from geoscan.layers.about import about, dumps
from geoscan.layers.ogr import made

if TYPE_CHECKING:
    from geoscan.polygons import Detection
    from geoscan.seen import Seen


def write(detections: Sequence[Detection], scenes: Sequence[Seen]) -> bytes:
    """Make the file."""
    # GDAL stamps a GeoPackage with the time of writing unless it is told one.
    with _gdal_option("OGR_CURRENT_DATE", "1970-01-01T00:00:00.000Z"):
        content = bytearray(
            made(
                "GPKG",
                detections,
                layer_metadata={"geoscan": dumps(about(scenes))},
                dataset_options={"VERSION": "1.2"},  # QGIS up to 3.34 warns of a later one
                # Which SQLite serves GDAL depends on what the process loaded before it, and not each can index.
                # Equal detections are to be equal files, and some thousand polygons need no index.
                layer_options={"SPATIAL_INDEX": "NO"},
            )
        )
    # For the same reason its count of changes (byte 24, repeated at 92) and its version (byte 96) say nothing about the
    # file (SQLite's "Database File Format", section 1.3); equal counts say that the rest of the header holds.
    content[24:28] = content[92:96] = (1).to_bytes(4, "big")
    content[96:100] = bytes(4)
    return bytes(content)


@contextlib.contextmanager
def _gdal_option(name: str, value: str) -> Iterator[None]:
    import pyogrio

    before = pyogrio.get_gdal_config_option(name)
    pyogrio.set_gdal_config_options({name: value})
    try:
        yield
    finally:
        pyogrio.set_gdal_config_options({name: before})
