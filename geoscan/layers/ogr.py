"""Files as GDAL makes them."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import geopandas


def made(driver: str, name: str, frame: geopandas.GeoDataFrame, **options: dict[str, str]) -> bytes:
    """A layer as GDAL makes it, in memory: GDAL's own word for a full disk is some error of a format's."""
    import pyogrio

    file = io.BytesIO()
    pyogrio.write_dataframe(frame, file, driver=driver, layer=name, geometry_type="MultiPolygon", **options)
    return file.getvalue()
