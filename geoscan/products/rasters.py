"""What a file says of itself, read once when a product is recognised."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import rasterio
from rasterio.enums import MaskFlags
from rasterio.errors import NotGeoreferencedWarning

from geoscan import gdal
from geoscan.bands import BITS, WAVELENGTH, told
from geoscan.errors import SceneError
from geoscan.products.assembly import Band, Hidden, Layer, Place, hidden_in_all

_LARGEST_TEXT: Final = 4 * 2**20
"""Bytes of metadata; real ones have some hundred kilobytes at most."""


@dataclass(frozen=True, slots=True)
class Raster:
    """A raster with a place on Earth."""

    path: str
    """As it was given."""

    place: Place
    layers: tuple[Layer, ...]
    """Its bands."""

    tags: dict[str, str]
    flags: frozenset[MaskFlags]
    """How its bands are masked, all of them taken together."""

    @property
    def count(self) -> int:
        """Number of bands."""
        return len(self.layers)

    @property
    def dtype(self) -> str:
        """Type of its first band, as NumPy calls it."""
        return self.layers[0].dtype

    @property
    def masked(self) -> bool:
        """Some pixels may be invalid: it has a nodata value, an alpha band or a mask."""
        return self.flags != {MaskFlags.all_valid}

    def band(self, number: int, *, mask: bool = False) -> Band:
        """Name a band of it, or that band's mask, for a VRT."""
        return Band(gdal.vsi_name(self.path), number, self.place.rows, self.place.cols, mask)

    def unseen(self, bands: Sequence[int]) -> list[Hidden]:
        """Hide the pixels that are invalid in all of `bands`, as GDAL's own mask of a dataset does."""
        if not self.masked:
            return []
        return [hidden_in_all([self.band(n, mask=True) for n in bands], 0)]


def describe(path: str, driver: str | None = None) -> Raster:
    """Open the raster at `path` for what it says of itself.

    driver: that of GDAL's that alone may open it; any if None.
    Raises SceneError, with the cause alone, when it cannot be opened or has no place on Earth.
    """
    if gdal.exists(path) and not (Path(path).is_file() or Path(path).is_dir()):
        raise SceneError("it is a device or a pipe")  # from which GDAL would wait for ever
    try:
        with gdal.settings(path), warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(gdal.vsi_name(path), driver=driver) as source:
                gdal.check_driver(source, path)
                gdal.check_blocks(source)
                return _described(path, source)
    except gdal.FAILURES as error:
        raise SceneError(gdal.cause(error)) from error


def look_into(path: str) -> Raster | None:
    """Do as `describe`, but give None for what cannot be opened or has no place on Earth."""
    with suppress(SceneError):
        return describe(path)
    return None


def _described(path: str, source: Any) -> Raster:
    if not source.count or not source.crs or not source.transform.is_rectilinear:
        raise SceneError("it has no pixels of its own, no CRS, or is not north up")
    return Raster(
        path,
        Place.of(source),
        _layers(source),
        source.tags(),
        frozenset(flag for flags in source.mask_flag_enums for flag in flags),
    )


def _layers(source: Any) -> tuple[Layer, ...]:
    colors = (color.name for color in source.colorinterp)
    texts = (text or "" for text in source.descriptions)
    more = [[told(source, band, what) for band in source.indexes] for what in (WAVELENGTH, BITS)]
    facts = zip(source.dtypes, colors, texts, source.nodatavals, source.scales, source.offsets, *more, strict=True)
    return tuple(Layer(*one) for one in facts)


def covers(one: Place, other: Place) -> bool:
    """Tell whether a grid covers all the ground of another, whatever the size of their pixels, but for half of one."""
    if one.crs != other.crs:
        return False
    corners = [~one.transform @ (other.transform @ (x * other.cols, y * other.rows)) for x in (0, 1) for y in (0, 1)]
    cols, rows = zip(*corners, strict=True)
    slack = max(1.0, max(cols) - min(cols)) / other.cols / 2 + 0.5
    return bool(
        min(rows) >= -slack and min(cols) >= -slack and max(rows) <= one.rows + slack and max(cols) <= one.cols + slack
    )


def read_small(path: str) -> str:
    """Read a local file of metadata as text; empty when it is missing, cannot be read, or is far too large for one."""
    try:
        with Path(path).open("rb") as file:
            content = file.read(_LARGEST_TEXT + 1)
    except OSError:
        return ""
    return content.decode(errors="replace") if len(content) <= _LARGEST_TEXT else ""
