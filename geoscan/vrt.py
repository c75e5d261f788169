"""The text of a VRT, GDAL's virtual raster: what a raster is made of, that GDAL opens without any file.

Such a text is an address like a path: `rasterio.open` takes it, it travels to other processes, and nothing is written.
A band is made of sources, which are drawn over each other; where none draws, it is 0. A mask is a band that is 0 where
a pixel is hidden, else 255. It is the raster's own (`MaskBand`), so plain reads, overviews and warping agree on it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final
from xml.sax.saxutils import escape, quoteattr

from affine import Affine
from rasterio.crs import CRS

from geoscan.grid import Window

Size = tuple[int, int]
"""Rows and columns."""

COLORS: Final = ("Red", "Green", "Blue")
"""What a VRT calls the bands."""

_TYPES: Final = {
    "uint8": "Byte",
    "int8": "Int8",
    "uint16": "UInt16",
    "int16": "Int16",
    "uint32": "UInt32",
    "int32": "Int32",
    "uint64": "UInt64",
    "int64": "Int64",
    "float32": "Float32",
    "float64": "Float64",
}
"""What a VRT calls the types of NumPy's that a band here may have; complex values are none."""

HUGE: Final = 1e30
"""No measurement is so large."""


def takes(dtype: str) -> bool:
    """Tell whether a band can be of this type, as NumPy calls it."""
    return dtype in _TYPES


def dataset(size: Size, bands: str, place: str = "") -> str:
    """Make the text of a whole VRT; place: of `grid` or of `points`."""
    rows, cols = size
    return f'<VRTDataset rasterXSize="{cols}" rasterYSize="{rows}">{place}{bands}</VRTDataset>'


def grid(crs: CRS, transform: Affine) -> str:
    """Say where a raster lies; transform: (col, row) of a pixel's corner to (x, y)."""
    numbers = ", ".join(repr(float(number)) for number in transform.to_gdal())
    return f"<SRS>{escape(crs.to_wkt())}</SRS><GeoTransform>{numbers}</GeoTransform>"


def points(gcps: Sequence[Any], crs: CRS) -> str:
    """Say where a raster lies by ground control points, as rasterio gives them."""
    at = "".join(
        f'<GCP Id="{n}" Pixel="{p.col!r}" Line="{p.row!r}" X="{p.x!r}" Y="{p.y!r}" Z="{p.z or 0!r}"/>'
        for n, p in enumerate(gcps)
    )
    return f"<GCPList Projection={quoteattr(crs.to_wkt())}>{at}</GCPList>"


def band(number: int, dtype: str, color: str, sources: str, about: str = "") -> str:
    """Make one of a raster's bands; dtype: as NumPy calls it. about: elements that say more of it."""
    color = f"<ColorInterp>{color}</ColorInterp>"
    return f'<VRTRasterBand dataType="{_TYPES[dtype]}" band="{number}">{about}{color}{sources}</VRTRasterBand>'


def source(address: str, what: int | str, how: str = "", own: Window | None = None, at: Window | None = None) -> str:
    """Draw a band of what GDAL opens at `address`, the nearest of its pixels.

    what: the band's number, or `mask_of` it. how: elements that change its values or leave one out; none if empty.
    own: the part of it that is drawn. at: where. Without them all of it is drawn over the whole raster.
    """
    kind = "ComplexSource" if how else "SimpleSource"
    # Shared, which is the default, is meant within one VRT; what is not shared is lent from VRT to VRT.
    file = f'<SourceFilename relativeToVRT="0">{escape(address)}</SourceFilename>'
    where = _rectangle("Src", own) + _rectangle("Dst", at)
    return f'<{kind} resampling="nearest">{file}<SourceBand>{what}</SourceBand>{where}{how}</{kind}>'


def mask_of(number: int) -> str:
    """Name the mask of a band."""
    return f"mask,{number}"


def without(value: float) -> str:
    """Draw nothing where a source has a value."""
    return f"<NODATA>{value!r}</NODATA>"


def other_than(value: float) -> str:
    """Draw 255 where a source has any value but one, and there nothing."""
    return f"<ScaleOffset>255</ScaleOffset><ScaleRatio>0</ScaleRatio>{without(value)}"


def not_in(hidden: Collection[int]) -> str:
    """Draw 0 where a source has one of some integers or NaN, and 255 where it has any other integer.

    GDAL draws straight lines between the points of such a table, and looks NaN up as its first number.
    """
    points = {value: 0 if value in hidden else 255 for at in hidden for value in (at - 1, at, at + 1)}
    return table(((-HUGE, 0), (-HUGE / 10, 255), *sorted(points.items())))


def table(points: Sequence[tuple[float, int]]) -> str:
    """Draw what straight lines between points make of a source's values; the points go from the least value up."""
    return f"<LUT>{','.join(f'{value:.17g}:{shown}' for value, shown in points)}</LUT>"


def nested(sources: str, size: Size) -> str:
    """Make a raster of one band, in uint8, of sources."""
    return dataset(size, _byte(sources))


def over(sources: str, size: Size, but: int) -> str:
    """Draw what sources draw together, but for one value: what is drawn over another can leave out only one."""
    return source(nested(sources, size), 1, without(but))


def mask(covers: Sequence[str], size: Size) -> str:
    """Make a raster's mask: 0 where one of `covers` draws 0, else 255. Without any there is none.

    covers: sources, or several together. They are drawn over each other, which takes a third of the time of GDAL's
    pixel functions min and max.
    """
    if not covers:
        return ""
    first, *others = covers
    return f"<MaskBand>{_byte(first + ''.join(over(one, size, 255) for one in others))}</MaskBand>"


def _byte(sources: str) -> str:
    return f'<VRTRasterBand dataType="Byte">{sources}</VRTRasterBand>'


def _rectangle(name: str, part: Window | None) -> str:
    if part is None:
        return ""
    return f'<{name}Rect xOff="{part.col}" yOff="{part.row}" xSize="{part.cols}" ySize="{part.rows}"/>'
