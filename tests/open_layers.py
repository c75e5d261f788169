"""Layers as GeoPandas reads them."""

import geopandas

from geoscan import layers


def opened(path, layer=layers.LAYER):
    """A layer as GeoPandas reads it; of a GeoPackage the one of that name."""
    if path.suffix == ".parquet":
        return geopandas.read_parquet(path)
    return geopandas.read_file(path, **({"layer": layer} if path.suffix == ".gpkg" else {}))
