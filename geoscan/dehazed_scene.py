"""A whole scene without haze, as a GeoTIFF to look at: block by block, without seams."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import rasterio
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.windows import Window as RasterWindow

from geoscan import files, gdal, machine
from geoscan.ahead import made_ahead
from geoscan.arrays import Mask, Reflectance, Visual, to_reflectance, to_visual
from geoscan.dark_channel import FLOOR, HAZE, DarkChannel, scene_airlight
from geoscan.dehazing import MARGIN, DarkLevel, restored, transmission_map
from geoscan.errors import InputError, ReadError
from geoscan.grid import TileGrid, Window
from geoscan.progress import Track

if TYPE_CHECKING:
    from geoscan.radiometry import Radiometry
    from geoscan.scene import Scene

BLOCK: Final = 2048
"""Side of what is computed at once, in pixels, a multiple of `_TILE`: at 3 m the halo is then as much again to read,
and a block takes 200 MB."""

WINDOW: Final = 900.0
"""Metres in which something is taken to be dark: about a chip of Planet's."""

_CELLS: Final = (16, 256)
"""Least and most pixels of half a window, where pixels are very large or small."""

_SUFFIXES: Final = (".tif", ".tiff")
_TILE: Final = 512
_SMALLEST_OVERVIEW: Final = 256


@dataclass(frozen=True, slots=True)
class DehazedScene:
    """What was written."""

    path: Path
    rows: int
    cols: int
    airlight: tuple[float, float, float]
    observed_fraction: float
    """Share of the pixels that are not nodata, 0..1."""

    seconds: float


def check_target(path: Path | str, sources: Iterable[str]) -> None:
    """Check, before any work, that a scene without haze can be written to `path`.

    sources: names of what is read meanwhile. Raises InputError as `files.check_target` and `files.check_name` do, and
    for a suffix that is not GeoTIFF's.
    """
    files.check_target(path, _SUFFIXES, "GeoTIFF", sources)
    files.check_name(path)


def dehaze_scene(
    scene: Scene,
    radiometry: Radiometry,
    params: DarkLevel,
    out: str | os.PathLike[str],
    *,
    jobs: int | None = None,
    track: Track = iter,
) -> DehazedScene:
    """Write the scene without haze to `out`, on the scene's own grid.

    The file: GeoTIFF, 8-bit red, green, blue, tiled, DEFLATE (which every reader has), overviews, and an internal mask.
    QGIS shows the mask as transparency; unlike an alpha band or a nodata value, it keeps black pixels black and nodata
    out of the overviews. `out` appears when it is complete, and not at all when something fails.

    params: the same for all blocks, see `picture`. jobs: threads that read and dehaze, each on a block of `BLOCK` px;
    all cores if None, 0 for none but this one.
    track: wraps the numbers of the blocks.
    Raises InputError as `check_target` does, and for a raster of somebody else that would be lost; ReadError;
    OutputError.
    """
    start = perf_counter()
    target = Path(out)
    check_target(target, (scene.path, *scene.product.files))
    gdal.check_ours(target)
    cores = [tile.core for tile in TileGrid(scene.rows, scene.cols, BLOCK, BLOCK)]
    blocks = made_ahead(
        lambda i: dehazed(scene, radiometry, params, cores[i]),
        len(cores),
        machine.cores() if jobs is None else jobs,
    )
    tags = {"dehaze": json.dumps(asdict(params))}
    seen, digests = 0, []
    with files.replacing(target) as part:
        with _writing(part, scene, tags) as dataset:
            for i, (visual, valid) in zip(track(range(len(cores))), blocks, strict=True):
                window = _raster_window(cores[i])
                dataset.write(visual, window=window)
                dataset.write_mask(valid, window=window)
                digests.append(_digest(visual, valid))
                seen += int(valid.sum())
        if changed := scene.changed():
            raise ReadError(f"{changed} was written meanwhile, so old and new pixels may be mixed; dehaze it again")
        try:
            _check(part, cores, digests)
        except RasterioError as error:
            raise OSError("it cannot be read back, as on a full disk") from error
    share = seen / (scene.rows * scene.cols)
    return DehazedScene(target, scene.rows, scene.cols, params.airlight, share, perf_counter() - start)


def picture(
    airlight: Literal["scene", "fixed"], omega: float, look: Callable[[], tuple[Reflectance, Mask | None]]
) -> DarkLevel:
    """Return how haze is removed for people to look at.

    airlight: `scene` takes the colour of the haze from what `look` gives, pixels, (3, rows, cols), 0..1, of a scene or
    its overview, and where they are valid, (rows, cols), None for all; `fixed` asks for neither.
    Raises InputError for values out of range, and what `look` raises.
    """
    params = DarkLevel(HAZE, omega, t0=FLOOR, by_band=False)
    if airlight == "fixed":
        return params
    if airlight != "scene":
        raise InputError(f"airlight {airlight!r} is not known; choose fixed or scene")
    red, green, blue = scene_airlight(*look(), DarkChannel()).tolist()
    return replace(params, airlight=(red, green, blue))


def overview(scene: Scene, radiometry: Radiometry) -> tuple[Reflectance, Mask]:
    """Return the scene's overview as `picture` takes it."""
    native, valid = scene.overview()
    return to_reflectance(radiometry.apply(native, valid)), valid


def _cell(scene: Scene) -> int:
    """Half of the window in which something is taken to be dark, in pixels."""
    least, most = _CELLS
    return int(np.clip(round(WINDOW / 2 / max(scene.gsd)), least, most))


def dehazed(scene: Scene, radiometry: Radiometry, params: DarkLevel, core: Window) -> tuple[Visual, Mask]:
    """Return a part of the scene without haze, and where it is valid, as `dehaze_scene` writes it.

    It is computed with the halo that makes it equal to the same part of the whole. Raises ReadError.
    """
    cell = _cell(scene)
    top, left = (max(at // cell - MARGIN, 0) * cell for at in (core.row, core.col))
    bottom, right = (
        min((-(-end // cell) + MARGIN) * cell, most)
        for end, most in ((core.row + core.rows, scene.rows), (core.col + core.cols, scene.cols))
    )
    native, valid = scene.read(Window(top, left, bottom - top, right - left))
    pixels = radiometry.apply(native, valid)
    inner = Window(core.row - top, core.col - left, core.rows, core.cols).slices
    transmission = transmission_map(pixels, valid, params, cell)[:, *inner]
    visual = to_visual(restored(to_reflectance(pixels[:, *inner]), transmission, params.airlight))
    return np.where(valid[inner], visual, np.uint8(0)), valid[inner]


def _raster_window(core: Window) -> RasterWindow:
    return RasterWindow(core.col, core.row, core.cols, core.rows)


def _digest(visual: Visual, valid: Mask) -> int:
    return zlib.crc32(valid.tobytes(), zlib.crc32(visual.tobytes()))


def _check(part: Path, cores: Sequence[Window], digests: Sequence[int]) -> None:
    """Read all of the file back: on a full disk GDAL loses what it still had to write at closing, and says nothing."""
    with rasterio.open(part) as dataset:
        for core, digest in zip(cores, digests, strict=True):
            window = _raster_window(core)
            if _digest(dataset.read(window=window), dataset.read_masks(1, window=window) > 0) != digest:
                raise OSError("it holds something else than was written, as on a full disk")
        factors = _overview_factors(dataset.height, dataset.width)
        if dataset.overviews(1) != factors:
            raise OSError("its overviews are missing, as on a full disk")
        for level in range(len(factors)):
            _check_overview(dataset, part, level)


def _check_overview(dataset: Any, part: Path, level: int) -> None:
    with rasterio.open(part, overview_level=level) as overview:
        for (down, across), window in overview.block_windows(1):
            # Without an offset the tile was never stored, and reads as zeros.
            if dataset.get_tag_item(f"BLOCK_OFFSET_{across}_{down}", "TIFF", bidx=1, ovr=level) is None:
                raise OSError("its overviews have holes, as on a full disk")
            overview.read(window=window)
            overview.read_masks(1, window=window)


def _overview_factors(rows: int, cols: int) -> list[int]:
    return [2**n for n in range(1, 32) if max(rows, cols) >> n >= _SMALLEST_OVERVIEW]


@contextmanager
def _writing(part: Path, scene: Scene, tags: dict[str, str]) -> Iterator[Any]:
    options = {
        "driver": "GTiff",
        "count": 3,
        "dtype": "uint8",
        "height": scene.rows,
        "width": scene.cols,
        "crs": scene.crs,
        "transform": scene.transform,
        "photometric": "RGB",
        "interleave": "pixel",
        "tiled": True,
        "blockxsize": _TILE,
        "blockysize": _TILE,
        "compress": "DEFLATE",
        "predictor": 2,
        "bigtiff": "IF_SAFER",
    }
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True, COMPRESS_OVERVIEW="DEFLATE", PREDICTOR_OVERVIEW=2):
        with rasterio.open(part, "w", **options) as dataset:
            dataset.update_tags(**gdal.maker(), **tags)
            yield dataset
        with rasterio.open(part, "r+") as dataset:
            dataset.build_overviews(_overview_factors(scene.rows, scene.cols), Resampling.average)
