"""Scenes made for a test, and the way to real data where there is some."""

import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import settings
from numpy.typing import ArrayLike, NDArray
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning

# A busy machine is no failure; pytest's own timeout ends what hangs.
settings.register_profile("geoscan", deadline=None)
settings.load_profile("geoscan")

UTM = "EPSG:32721"
CORNER = (500_000.0, 9_200_000.0)
RGB = ("red", "green", "blue")


def write_scene(
    path: Path,
    shape: Sequence[int] = (3, 64, 80),
    *,
    pixels: ArrayLike | None = None,
    dtype: str = "uint8",
    crs: str | None = UTM,
    gsd: float = 3.7,
    transform: Affine | None = None,
    colors: Sequence[str] | None = None,
    descriptions: Sequence[str] | None = None,
    nodata: float | None = None,
    mask: ArrayLike | None = None,
    gcps: Sequence[GroundControlPoint] | None = None,
    overviews: Sequence[int] = (),
    **creation: Any,
) -> Path:
    """Write a GeoTIFF of `shape` (bands, rows, cols), or (rows, cols) for three bands; noise unless `pixels` are given.

    colors: names of rasterio's ColorInterp, one a band. mask: (rows, cols), True where valid, stored inside the file.
    creation: GDAL's creation options, such as tiled=True.
    """
    if pixels is None:
        shape = (3, *shape) if len(shape) == 2 else tuple(shape)
        top = 250 if np.dtype(dtype).itemsize == 1 else 9000
        pixels = np.random.default_rng(sum(shape)).uniform(1, top, shape)
    data: NDArray[Any] = np.asarray(pixels).astype(dtype)
    count, rows, cols = data.shape
    place: dict[str, Any] = {}
    if not gcps:
        place = {"crs": crs, "transform": transform or Affine(gsd, 0, CORNER[0], 0, -gsd, CORNER[1])}
    profile = {"driver": "GTiff", "count": count, "height": rows, "width": cols, "dtype": data.dtype, "nodata": nodata}
    with warnings.catch_warnings(), rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", **profile, **place, **creation) as target:
            if gcps:
                target.gcps = list(gcps), rasterio.CRS.from_user_input(crs)
            if colors:
                target.colorinterp = [ColorInterp[color] for color in colors]
            for band, text in enumerate(descriptions or (), 1):
                target.set_band_description(band, text)
            target.write(data)
            if mask is not None:
                target.write_mask(np.asarray(mask, bool))
        if overviews:
            with rasterio.open(path, "r+") as target:
                target.build_overviews(list(overviews), rasterio.enums.Resampling.nearest)
    return path


@pytest.fixture
def make_scene(tmp_path: Path) -> Callable[..., Path]:
    """Give `write_scene` into the test's own directory; `name` tells several apart."""

    def make(shape: Sequence[int] = (3, 64, 80), *, name: str = "scene.tif", **how: Any) -> Path:
        return write_scene(tmp_path / name, shape, **how)

    return make


@pytest.fixture
def shared_data() -> Callable[[str], Path]:
    """Give the path of a file or folder below $GEOSCAN_DATA, or skip the test where it is absent."""

    def find(name: str) -> Path:
        path = Path(os.environ.get("GEOSCAN_DATA", "../shared/data")) / name
        if not path.exists():
            pytest.skip(f"{path} is absent; set GEOSCAN_DATA to run this")
        return path

    return find
