"""Layers that a person has reviewed, over scenes of grey chips."""

from pathlib import Path

import geopandas
import numpy as np
from conftest import CORNER, UTM, write_scene
from shapely.geometry import box

CHIP = 32
GSD = 3.7


def scene(path: Path, down: int = 4, across: int = 5) -> Path:
    """Write a scene whose chips are each of one grey of their own, some with noise."""
    grey = 30 + 8 * np.arange(down * across).reshape(down, across)
    pixels = np.repeat(np.repeat(grey, CHIP, axis=0), CHIP, axis=1)
    return write_scene(path, pixels=np.stack([pixels, pixels + 5, pixels + 9]), gsd=GSD)


def area(top: float, left: float, rows: float = 1, cols: float = 1):
    """Give a rectangle, in chips from the upper left of the scene."""
    side = CHIP * GSD
    west, north = CORNER[0] + left * side, CORNER[1] - top * side
    return box(west, north - rows * side, west + cols * side, north)


def layer(path: Path, *polygons, crs: str = "EPSG:4326", **columns) -> Path:
    """Write (polygon, review) pairs as a layer; columns: others, a value each."""
    table = {"review": [review for _, review in polygons], **columns}
    frame = geopandas.GeoDataFrame(table, geometry=[shape for shape, _ in polygons], crs=UTM).to_crs(crs)
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_file(path)
    return path
