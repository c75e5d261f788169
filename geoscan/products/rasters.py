"""What a file says of itself, read once when a product is recognised."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import rasterio
from rasterio.enums import MaskFlags
from rasterio.errors import NotGeoreferencedWarning

from geoscan import gdal
from geoscan.products.vrt import Band, Hidden, Place

_LARGEST_TEXT: Final = 4 * 2**20
"""Bytes of metadata; real ones have some hundred kilobytes at most."""

_PIXEL: Final = 0.01
"""Grids that differ by less than this share of a pixel are one."""


@dataclass(frozen=True, slots=True)
class Raster:
    """A raster with a place on Earth."""

    path: str
    """As it was given."""

    place: Place
    dtype: str
    """Of its first band."""

    descriptions: tuple[str, ...]
    """One a band, in small letters, empty where it has none."""

    tags: dict[str, str]
    nodata: float | None
    """Of its first band."""

    masked: bool
    """Some pixels may be invalid: it has a nodata value, an alpha band or a mask."""

    @property
    def count(self) -> int:
        """Number of bands."""
        return len(self.descriptions)

    def band(self, number: int, *, mask: bool = False) -> Band:
        """Name a band of it, or that band's mask, for a VRT."""
        return Band(gdal.vsi_name(self.path), number, self.place.rows, self.place.cols, mask)

    def unseen(self, bands: Sequence[int]) -> list[Hidden]:
        """Hide the pixels that are invalid in all of `bands`, as GDAL's own mask of a dataset does."""
        if not self.masked:
            return []
        first, *others = (self.band(n, mask=True) for n in bands)
        return [Hidden(first, (0,), also=others)]


def look_into(path: str, drivers: Sequence[str] | None = None) -> Raster | None:
    """Open the raster at `path` for what it says of itself; None when it is none, or has no place on Earth.

    drivers: those of GDAL that may open it; any if None.
    """
    try:
        with gdal.settings(path), warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(gdal.vsi_name(path), driver=drivers) as source:
                return _described(path, source)
    except gdal.FAILURES:
        return None


def _described(path: str, source: Any) -> Raster | None:
    if not source.count or not source.crs or not source.transform.is_rectilinear:
        return None
    return Raster(
        path,
        Place.of(source),
        source.dtypes[0],
        tuple((text or "").lower() for text in source.descriptions),
        source.tags(),
        source.nodata,
        any(MaskFlags.all_valid not in flags for flags in source.mask_flag_enums),
    )


def same_ground(one: Place, other: Place) -> bool:
    """Tell whether two grids cover the same ground, whatever the size of their pixels."""
    if one.crs != other.crs:
        return False
    slack = abs(one.transform.a) + abs(other.transform.a)
    ends = zip(_ends(one), _ends(other), strict=True)
    return all(abs(here - there) <= slack / 2 for here, there in ends)


def _ends(place: Place) -> tuple[float, float, float, float]:
    left, top = place.transform @ (0, 0)
    right, bottom = place.transform @ (place.cols, place.rows)
    return left, top, right, bottom


def read_small(path: str) -> str:
    """Read a local file of metadata as text; empty when it is missing, cannot be read, or is far too large for one."""
    try:
        with Path(path).open("rb") as file:
            content = file.read(_LARGEST_TEXT + 1)
    except OSError:
        return ""
    return content.decode(errors="replace") if len(content) <= _LARGEST_TEXT else ""
