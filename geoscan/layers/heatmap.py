"""The mine score of every chip as a raster to look at: a Cloud-Optimized GeoTIFF with colours."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from geoscan import files, gdal
from geoscan.errors import InputError, spelt
from geoscan.layers import beside, style
from geoscan.polygons import described
from geoscan.seen import Sight

if TYPE_CHECKING:
    from geoscan.seen import Seen

SCALE: Final = 0.004
"""A value times this is the score: 250 is 1."""

UNSEEN: Final = 255
"""Value of what was not seen: nodata, cloud as the model tells, chips that could not be read or were not understood."""

_SUFFIXES: Final = (".tif", ".tiff")
_BLOCK: Final = 512
_AT_ONCE: Final = 2**20
"""Chips whose scores are worked on at a time."""

_MEANING: Final = "mine score of each chip, 0 to 1: value * 0.004; 255 was not seen"
_EXTENT: Final = "a pixel is the core of a chip; the last row and column may reach beyond the scene"


def check_target(path: Path | str, sources: Iterable[str] = (), scenes: int = 1) -> None:
    """Check, before any work, that a heat map of a scan of `sources` can be written to `path`.

    Raises InputError for several scenes, a suffix that is not GeoTIFF's, a raster of somebody else that would be lost,
    and as `files.check_target` does, which goes for the style beside it, too.
    """
    sources = list(sources)
    files.check_target(path, _SUFFIXES, "GeoTIFF", sources)
    gdal.check_ours(Path(path))
    files.check_target(beside.style_of(Path(path)), [".qml"], "style", sources)
    if scenes > 1:
        raise InputError(f"a heat map is of one scene, and here are {scenes}; scan them one by one, or leave it out")


def write(path: Path | str, seen: Seen) -> None:
    """Write the mine scores of a scene, a pixel a core, in the scene's CRS, and a style for QGIS beside it.

    uint8, see `SCALE` and `UNSEEN`; overviews hold the highest score, so that a mine is seen from afar. The last row
    and column of cores may be short, their pixels are whole: there the raster overhangs the scene.
    Written whole or not at all, the same bytes for the same scan. Raises InputError as `check_target` does, OutputError
    when writing fails.
    """
    path = Path(path)
    check_target(path)
    content = _cog(list(_pyramid(values(seen))), seen)
    # QGIS applies the scale before the colour table, of which it then finds no entry but the first two.
    beside.write(path, style.of_scores(_stops()))
    with files.replacing(path) as part:
        part.write_bytes(content)


def values(seen: Seen) -> NDArray[np.uint8]:
    """Give the raster's values, (down, across); those of scores that are no numbers are `UNSEEN`, too."""
    found = np.full(len(seen.grid), UNSEEN, np.uint8)
    for start in range(0, len(found), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        scores = seen.mine[part]
        known = (seen.sight[part] <= Sight.HAZY) & np.isfinite(scores)
        found[part][known] = np.rint(scores[known] / np.float32(SCALE))
    return found.reshape(seen.grid.shape)


def _pyramid(level: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    """The raster, and its overviews, each half as large."""
    yield level
    while max(level.shape) > _BLOCK:
        down, across = level.shape
        even = np.pad(level, ((0, down % 2), (0, across % 2)), constant_values=UNSEEN)
        # One more in uint8 makes 0 of what was not seen: less than any score.
        four = even.reshape(-(-down // 2), 2, -(-across // 2), 2) + np.uint8(1)
        level = four.max(axis=(1, 3)) - np.uint8(1)
        yield level


def _cog(levels: Sequence[NDArray[np.uint8]], seen: Seen) -> bytes:
    """Make the file, in memory: GDAL is silent about a full disk."""
    from rasterio.io import MemoryFile
    from rasterio.shutil import copy

    with ExitStack() as stack:

        def held(suffix: str, content: bytes | None = None) -> Any:
            return stack.enter_context(MemoryFile(content, ext=suffix))

        rasters = [held(".tif") for _ in levels]
        for raster, level in zip(rasters, levels, strict=True):
            _draw(raster, level, seen)
        plain, made = held(".vrt"), held(".tif")
        copy(rasters[0].name, plain.name, driver="VRT")
        # GDAL makes no overviews of maxima, but a VRT may name what it is given.
        names = "".join(
            f"<Overview><SourceFilename>{one.name}</SourceFilename><SourceBand>1</SourceBand></Overview>"
            for one in rasters[1:]
        )
        whole = held(".vrt", plain.read().replace(b"</VRTRasterBand>", f"{names}</VRTRasterBand>".encode()))
        overviews = "FORCE_USE_EXISTING" if names else "NONE"
        copy(whole.name, made.name, driver="COG", compress="DEFLATE", blocksize=_BLOCK, overviews=overviews)
        content: bytes = made.read()
    return content


def _draw(raster: Any, level: NDArray[np.uint8], seen: Seen) -> None:
    """Write one level, with all that is said of it."""
    rows, cols = level.shape
    place = seen.transform @ Affine.scale(seen.grid.stride)
    profile = {"driver": "GTiff", "height": rows, "width": cols, "count": 1, "dtype": "uint8", "nodata": UNSEEN}
    with raster.open(**profile, crs=seen.crs, transform=place) as dataset:
        dataset.write(level, 1)
        dataset.write_colormap(1, _colours())
        dataset.scales = (SCALE,)
        dataset.set_band_description(1, "mine score")
        dataset.update_tags(**_tags(seen))


def _tags(seen: Seen) -> dict[str, str]:
    source = seen.provenance
    made = {name: str(value) for name, value in described(source).items() if value is not None}
    said = {"scene": source.scene, **made, "date": source.reading.get("date", "unknown")}
    spelt_out = {name: spelt(value) for name, value in said.items()}
    return {**gdal.maker(), "meaning": _MEANING, "extent": _EXTENT, **spelt_out}


def _colours() -> dict[int, tuple[int, int, int, int]]:
    """Colour of each value, in even steps of lightness from black over red to light yellow; unseen is transparent."""
    import cv2

    steps = np.rint(np.linspace(0, 255, round(1 / SCALE) + 1)).astype(np.uint8)
    table = cv2.applyColorMap(steps, cv2.COLORMAP_INFERNO).reshape(-1, 3).tolist()
    return {n: (int(r), int(g), int(b), 255) for n, (b, g, r) in enumerate(table)} | {UNSEEN: (0, 0, 0, 0)}


def _stops() -> list[tuple[float, str]]:
    """Scores, a tenth apart for the legend, and their colours."""
    highest, table = round(1 / SCALE), _colours()
    tenths = ((n / 10, table[n * highest // 10]) for n in range(11))
    return [(score, f"#{red:02x}{green:02x}{blue:02x}") for score, (red, green, blue, _) in tenths]
