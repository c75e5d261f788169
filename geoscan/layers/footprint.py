"""What was scanned: the outline of each scene."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from geoscan.layers.attributes import Attribute, columns
from geoscan.layers.obscured import observed_pixels

if TYPE_CHECKING:
    import geopandas

    from geoscan.outlines import Outline
    from geoscan.seen import Seen

LAYER: Final = "footprint"

ATTRIBUTES: Final = {
    "scene": Attribute("str", "file name of the scene, with folders where several scenes have one name"),
    "date": Attribute("str", "when it was taken"),
    "product": Attribute("str", "what kind of product it is"),
    "model": Attribute("str", "name of the model"),
    "observed": Attribute("float64", "share of it that was seen, 0 to 1: neither nodata nor cloud, and read"),
    "n_chips": Attribute("int64", "number of chips"),
    "area_ha": Attribute("float64", "geodesic area in hectares"),
}


def observed_share(seen: Seen) -> float:
    """Share of a scene that was observed, 0..1."""
    return round(float(observed_pixels(seen).sum() / (seen.grid.rows * seen.grid.cols)), 6)


def outline_of(seen: Seen) -> Outline:
    """Outline a scene, nodata included. Raises SceneError when it has no place in longitude and latitude."""
    from geoscan.outlines import outlines

    return outlines(np.ones(seen.grid.shape, np.int32), seen.grid, seen.transform, seen.crs)[0]


def frame(scenes: Sequence[Seen]) -> geopandas.GeoDataFrame:
    """Give the outline of each scene, nodata included, as a table: `ATTRIBUTES`, each a MultiPolygon in EPSG:4326.

    Raises SceneError when one has no place in longitude and latitude.
    """
    import geopandas

    from geoscan.layers.multi import multi
    from geoscan.outlines import area_ha

    shapes = [outline_of(one) for one in scenes]
    rows = [
        {
            "scene": one.provenance.scene,
            "date": one.provenance.reading.get("date", ""),
            "product": one.provenance.reading.get("product", ""),
            "model": one.provenance.model,
            "observed": observed_share(one),
            "n_chips": len(one.grid),
            "area_ha": round(area_ha(shape), 4),
        }
        for one, shape in zip(scenes, shapes, strict=True)
    ]
    outline = geopandas.GeoSeries([multi(shape) for shape in shapes], crs="EPSG:4326")
    return geopandas.GeoDataFrame(columns(rows, ATTRIBUTES), geometry=outline)
