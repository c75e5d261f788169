"""A product's files as one raster with a mask, made as the text of a VRT: stacked, or laid side by side.

What is stacked has no nodata value: GDAL's warper would heed that and forget the mask, so the mask hides fill, too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from xml.sax.saxutils import escape

import numpy as np
from affine import Affine
from rasterio.crs import CRS
from rasterio.features import rasterize
from rasterio.io import MemoryFile
from shapely.geometry.base import BaseGeometry

from geoscan import gdal, vrt
from geoscan.bands import BITS, WAVELENGTH, Bands
from geoscan.grid import Window

_COLORS: Final = {
    "palette": "Undefined",  # whose table is not kept
    "Y": "YCbCr_Y",
    "Cb": "YCbCr_Cb",
    "Cr": "YCbCr_Cr",
    "other_ir": "OtherIR",
}
"""What GDAL calls what rasterio's ColorInterp calls otherwise, but for small letters."""

_WHOLE: Final = 1e-3
"""Pixels; what is nearer to a whole number is one, with rounding errors."""


@dataclass(frozen=True, slots=True)
class Place:
    """The grid of the raster that is made."""

    crs: CRS
    transform: Affine
    """(col, row) of a pixel's corner to (x, y) in `crs`."""

    rows: int
    cols: int

    @property
    def size(self) -> vrt.Size:
        """Rows and columns."""
        return self.rows, self.cols

    @classmethod
    def of(cls, source: Any) -> Place:
        """Take the grid of an open dataset."""
        return cls(source.crs, source.transform, source.height, source.width)

    def offset(self, of: Place) -> tuple[float, float]:
        """Give the row and column of this place's upper left corner in the pixels of another."""
        col, row = ~of.transform @ (self.transform.c, self.transform.f)
        return float(row), float(col)


@dataclass(frozen=True, slots=True)
class Band:
    """One band of a raster that GDAL opens. It covers the whole place, whatever the size of its pixels."""

    path: str
    """Absolute path, or any other name that GDAL opens."""

    number: int
    """From 1."""

    rows: int
    cols: int
    """Size of the raster in `path`; where it is not that of the place, the nearest of its pixels is taken."""

    mask: bool = False
    """The band's mask (0 where it is not valid, else 255) in place of its values."""


@dataclass(frozen=True, slots=True)
class Hidden:
    """Some values of a band say that the ground is not seen: fill, clouds, defects."""

    band: Band
    values: Collection[int]
    """Integers; pixels of any other value are seen, as far as this band tells."""

    also: Sequence[Band] = ()
    """The ground is hidden only where each of these has one of the values, too."""


@dataclass(frozen=True, slots=True)
class Layer:
    """What a raster says of one of its bands."""

    dtype: str
    """As NumPy calls it."""

    color: str
    """As rasterio's ColorInterp calls it."""

    description: str
    """Empty where it has none."""

    nodata: float | None
    scale: float
    offset: float
    wavelength: str = ""
    """See `bands.WAVELENGTH`, and likewise `bits`; empty where it says nothing."""

    bits: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """One raster in a mosaic, on the mosaic's own pixels."""

    address: str
    """What GDAL opens: a path, or the text of another VRT."""

    at: Window
    """Where it lies in the mosaic."""

    @classmethod
    def on(cls, whole: Place, address: str, place: Place) -> Part:
        """Lay what covers `place` on a grid of the same pixels."""
        row, col = place.offset(whole)
        return cls(address, Window(round(row), round(col), place.rows, place.cols))

    def drawn(self, what: int | str, how: str = "") -> str:
        """Draw all of a band of it, or of a band's mask, in its place; see `vrt.source`."""
        return vrt.source(self.address, what, how, Window(0, 0, self.at.rows, self.at.cols), self.at)


def stack(
    place: Place, bands: Sequence[Band], dtype: str, hidden: Iterable[Hidden] = (), rgb: Bands = (1, 2, 3)
) -> str:
    """Put bands over each other; give the VRT's text.

    bands: they become bands 1, 2, 3 and so on. dtype: theirs, as NumPy calls it. rgb: which are red, green, blue.
    hidden: a pixel is valid where none of them hides it; without any there is no mask.
    """
    colors = dict(zip(rgb, vrt.COLORS, strict=True))
    content = "".join(
        vrt.band(n, dtype, colors.get(n, "Undefined"), _source(band, place)) for n, band in enumerate(bands, 1)
    )
    return _dataset(place, content + vrt.mask([_cover(one, place) for one in hidden], place.size))


def mosaic(place: Place, parts: Sequence[Part], dtype: str) -> str:
    """Lay rasters of three bands side by side; give the VRT's text.

    parts: where they overlap, the last that is valid there wins. Their masks, alpha or nodata become the mosaic's mask.
    dtype: of all of them, as NumPy calls it.
    """
    seen = "<UseMaskBand>true</UseMaskBand>"
    content = "".join(
        vrt.band(n, dtype, color, "".join(part.drawn(n, seen) for part in parts))
        for n, color in enumerate(vrt.COLORS, 1)
    )
    valid = "".join(part.drawn(vrt.mask_of(1), vrt.without(0)) for part in parts)
    return _dataset(place, content + vrt.mask([valid], place.size))


def sheet(place: Place, parts: Sequence[Part], layers: Sequence[Layer], *, masked: bool) -> str:
    """Put together again what was cut into parts; give the VRT's text.

    parts: none lies over another. layers: what each says of its bands; the whole says the same.
    masked: whether the whole has a mask, made of theirs; invalid where there is no part.
    """
    content = "".join(
        vrt.band(n, layer.dtype, _color(layer), "".join(part.drawn(n) for part in parts), _about(layer))
        for n, layer in enumerate(layers, 1)
    )
    valid = ["".join(part.drawn(vrt.mask_of(1)) for part in parts)] if masked else []
    return _dataset(place, content + vrt.mask(valid, place.size))


def union(places: Sequence[Place]) -> Place | None:
    """Lay one grid over all places, north up; None where they differ in CRS, in pixel size, or by parts of a pixel."""
    first = places[0]
    own = first.transform
    corners = [place.offset(first) for place in places]
    shared = all(
        (place.crs, *place.transform[:2], *place.transform[3:5]) == (first.crs, own.a, own.b, own.d, own.e)
        for place in places
    )
    if not shared or any(abs(at - round(at)) > _WHOLE for corner in corners for at in corner):
        return None
    top, left = (min(round(corner[axis]) for corner in corners) for axis in (0, 1))
    bottom = max(round(row) + place.rows for (row, _), place in zip(corners, places, strict=True))
    right = max(round(col) + place.cols for (_, col), place in zip(corners, places, strict=True))
    return Place(first.crs, own @ Affine.translation(left, top), bottom - top, right - left)


def hidden_in_all(bands: Sequence[Band], value: int) -> Hidden:
    """Hide the ground where all of `bands` show one value."""
    first, *others = bands
    return Hidden(first, (value,), also=others)


def any_of(place: Place, bands: Sequence[Band]) -> Band:
    """Make one band of several: not 0 where one of them is not, and of its value, 0..255."""
    return _nested("".join(_source(band, place, vrt.without(0)) for band in bands), place)


def painted(place: Place, polygons: Sequence[BaseGeometry], cell: int) -> Band:
    """Make a band that is 1 inside of polygons, else 0; its pixels are in the VRT's own text.

    polygons: in the CRS of `place`. cell: side of the band's pixels in those of `place`; a cell is inside when its
    centre is.
    """
    cell = 1 if place.rows % cell or place.cols % cell else cell
    size = place.rows // cell, place.cols // cell
    transform = place.transform @ Affine.scale(cell)
    inside = rasterize(polygons, size, transform=transform, dtype="uint8") if polygons else np.zeros(size, np.uint8)
    profile = {"driver": "GTiff", "count": 1, "height": size[0], "width": size[1], "dtype": "uint8", "nbits": 1}
    with MemoryFile() as file:
        with file.open(**profile, compress="deflate", crs=place.crs, transform=transform) as target:
            target.write(inside, 1)
        name, text = gdal.kept(file.read())
    return Band(vrt.nested(f"<Description>{text}</Description>{vrt.source(name, 1)}", size), 1, *size)


def _dataset(place: Place, bands: str) -> str:
    return vrt.dataset(place.size, bands, vrt.grid(place.crs, place.transform))


def _color(layer: Layer) -> str:
    return _COLORS.get(layer.color, layer.color)


def _about(layer: Layer) -> str:
    facts = {
        "Description": escape(layer.description),
        "NoDataValue": "" if layer.nodata is None else repr(layer.nodata),
        "Offset": repr(layer.offset),
        "Scale": repr(layer.scale),
    }
    more = "".join(
        f'<Metadata domain="{domain}"><MDI key="{key}">{escape(value)}</MDI></Metadata>'
        for (domain, key), value in ((WAVELENGTH, layer.wavelength), (BITS, layer.bits))
        if value
    )
    return "".join(f"<{name}>{value}</{name}>" for name, value in facts.items() if value) + more


def _nested(sources: str, place: Place) -> Band:
    return Band(vrt.nested(sources, place.size), 1, place.rows, place.cols)


def _cover(hidden: Hidden, place: Place) -> str:
    """Give sources that draw 0 where the ground is hidden, else 255."""
    seen = vrt.not_in(hidden.values)
    if not hidden.also:
        return _source(hidden.band, place, seen)
    bands = hidden.band, *hidden.also
    if len(hidden.values) == 1:
        (value,) = hidden.values
        return "".join(_source(band, place, vrt.other_than(value)) for band in bands)
    each = (_nested(_source(band, place, seen), place) for band in bands)
    return "".join(_source(one, place, vrt.without(0)) for one in each)


def _source(band: Band, place: Place, how: str = "") -> str:
    own, whole = Window(0, 0, band.rows, band.cols), Window(0, 0, place.rows, place.cols)
    return vrt.source(band.path, vrt.mask_of(band.number) if band.mask else band.number, how, own, whole)
