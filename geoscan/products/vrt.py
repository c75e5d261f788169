"""The text of a VRT: a product's files as one raster of red, green, blue with a mask, that GDAL opens without any file.

Such a text is an address like a path: `rasterio.open` takes it, it travels to other processes, and nothing is written.
The mask is the raster's own (`MaskBand`), so plain reads, overviews and warping agree on it. No band has a nodata
value: GDAL's warper would heed that and forget the mask, so fill is hidden by the mask, too.
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

from geoscan import gdal
from geoscan.bands import Bands
from geoscan.masks import COLORS, TYPES, lookup

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


@dataclass(frozen=True, slots=True)
class Part:
    """One raster in a mosaic, on the mosaic's own pixels."""

    address: str
    """What GDAL opens: a path, or the text of another VRT."""

    row: int
    col: int
    """Of its upper left pixel in the mosaic."""

    rows: int
    cols: int


def stack(
    place: Place, bands: Sequence[Band], dtype: str, hidden: Iterable[Hidden] = (), rgb: Bands = (1, 2, 3)
) -> str:
    """Put bands over each other; give the VRT's text.

    bands: they become bands 1, 2, 3 and so on. dtype: theirs, as NumPy calls it. rgb: which are red, green, blue.
    hidden: a pixel is valid where none of them hides it; without any there is no mask.
    """
    colors = dict(zip(rgb, COLORS, strict=True))
    sources = [_band(n, dtype, _source(band, place), colors.get(n, "Undefined")) for n, band in enumerate(bands, 1)]
    covers = [_cover(one, place) for one in hidden]
    return _dataset(place, [*sources, f"<MaskBand>{_byte(_all_of(covers, place))}</MaskBand>" if covers else ""])


def mosaic(place: Place, parts: Sequence[Part], dtype: str) -> str:
    """Lay rasters of three bands side by side; give the VRT's text.

    parts: where they overlap, the last that is valid there wins. Their masks, alpha or nodata become the mosaic's mask.
    dtype: of all of them, as NumPy calls it.
    """
    seen = "<UseMaskBand>true</UseMaskBand>"
    bands = [
        _band(n, dtype, "".join(_part(part, str(n), seen) for part in parts), color)
        for n, color in enumerate(COLORS, 1)
    ]
    mask = _byte("".join(_part(part, "mask,1", "<NODATA>0</NODATA>") for part in parts))
    return _dataset(place, [*bands, f"<MaskBand>{mask}</MaskBand>"])


def sheet(place: Place, parts: Sequence[Part], layers: Sequence[Layer], *, masked: bool) -> str:
    """Put together again what was cut into parts; give the VRT's text.

    parts: none lies over another. layers: what each says of its bands; the whole says the same.
    masked: whether the whole has a mask, made of theirs; invalid where there is no part.
    """
    bands = [
        f'<VRTRasterBand dataType="{TYPES[layer.dtype]}" band="{n}">{_about(layer)}'
        f"{''.join(_part(part, str(n), '') for part in parts)}</VRTRasterBand>"
        for n, layer in enumerate(layers, 1)
    ]
    mask = _byte("".join(_part(part, "mask,1", "") for part in parts))
    return _dataset(place, [*bands, f"<MaskBand>{mask}</MaskBand>" if masked else ""])


def takes(dtype: str) -> bool:
    """Tell whether bands of this type, as NumPy calls it, can be put into a VRT here: complex values cannot."""
    return dtype in TYPES


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
    content = "".join(_source(band, place, "<NODATA>0</NODATA>") for band in bands)
    return _nested(content, place)


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
    own = Place(place.crs, transform, *size)
    band = _byte(f"<Description>{text}</Description>{_source(Band(name, 1, *size), own)}")
    return Band(_dataset(own, [band]), 1, *size)


def _dataset(place: Place, content: Iterable[str]) -> str:
    return (
        f'<VRTDataset rasterXSize="{place.cols}" rasterYSize="{place.rows}">'
        f"<SRS>{escape(place.crs.to_wkt())}</SRS>"
        f"<GeoTransform>{', '.join(repr(float(number)) for number in place.transform.to_gdal())}</GeoTransform>"
        f"{''.join(content)}</VRTDataset>"
    )


def _band(number: int, dtype: str, sources: str, color: str) -> str:
    color = f"<ColorInterp>{color}</ColorInterp>"
    return f'<VRTRasterBand dataType="{TYPES[dtype]}" band="{number}">{color}{sources}</VRTRasterBand>'


def _about(layer: Layer) -> str:
    color = layer.color.capitalize()
    facts = {
        "Description": escape(layer.description),
        "NoDataValue": "" if layer.nodata is None else repr(layer.nodata),
        "ColorInterp": color if color in (*COLORS, "Gray", "Alpha") else "Undefined",
        "Offset": repr(layer.offset),
        "Scale": repr(layer.scale),
    }
    return "".join(f"<{name}>{value}</{name}>" for name, value in facts.items() if value)


def _byte(content: str) -> str:
    return f'<VRTRasterBand dataType="Byte">{content}</VRTRasterBand>'


def _nested(sources: str, place: Place) -> Band:
    """Make a band of sources that are drawn over each other, 0 where none draws."""
    return Band(_dataset(place, [_byte(sources)]), 1, place.rows, place.cols)


def _all_of(covers: Sequence[str], place: Place) -> str:
    """Give sources that draw 0 where one of `covers` does, else 255.

    They are drawn over each other, which takes a third of the time of GDAL's pixel functions min and max. What is drawn
    over another can leave out one value, so it has two.
    """
    first, *others = covers
    return first + "".join(_source(_nested(one, place), place, "<NODATA>255</NODATA>") for one in others)


def _cover(hidden: Hidden, place: Place) -> str:
    """Give sources that draw 0 where the ground is hidden, else 255."""
    table = f"<LUT>{lookup(hidden.values)}</LUT>"
    if not hidden.also:
        return _source(hidden.band, place, table)
    bands = hidden.band, *hidden.also
    if len(hidden.values) == 1:
        (value,) = hidden.values
        other = f"<ScaleOffset>255</ScaleOffset><ScaleRatio>0</ScaleRatio><NODATA>{value}</NODATA>"
        return "".join(_source(band, place, other) for band in bands)
    seen = (_nested(_source(band, place, table), place) for band in bands)
    return "".join(_source(one, place, "<NODATA>0</NODATA>") for one in seen)


def _source(band: Band, place: Place, how: str = "") -> str:
    own, whole = _rectangle("Src", 0, 0, band.rows, band.cols), _rectangle("Dst", 0, 0, place.rows, place.cols)
    return _read(band.path, f"mask,{band.number}" if band.mask else str(band.number), own + whole, how)


def _part(part: Part, band: str, how: str) -> str:
    own = _rectangle("Src", 0, 0, part.rows, part.cols)
    return _read(part.address, band, own + _rectangle("Dst", part.row, part.col, part.rows, part.cols), how)


def _read(address: str, band: str, where: str, how: str) -> str:
    kind = "ComplexSource" if how else "SimpleSource"
    return (
        f'<{kind} resampling="nearest"><SourceFilename relativeToVRT="0">{escape(address)}</SourceFilename>'
        f"<SourceBand>{band}</SourceBand>{where}{how}</{kind}>"
    )


def _rectangle(name: str, row: int, col: int, rows: int, cols: int) -> str:
    return f'<{name}Rect xOff="{col}" yOff="{row}" xSize="{cols}" ySize="{rows}"/>'
