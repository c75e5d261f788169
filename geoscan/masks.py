"""Which pixels of a raster are real: one mask, whatever its file has, for all ways to read it.

The mask goes into the text of a VRT, as the mask of three colour bands. So GDAL gives the same mask in plain reads,
from overviews, to its warper, and over a network: the warper alone would take an alpha of 1 for nearly transparent,
and forget a mask beside a nodata value.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from xml.sax.saxutils import escape, quoteattr

import numpy as np
from rasterio.enums import MaskFlags

from geoscan import gdal
from geoscan.bands import Bands, marks_pixels

TYPES: Final = {
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

COLORS: Final = ("Red", "Green", "Blue")
"""What a VRT calls the bands."""

_HUGE: Final = 1e30
"""No measurement is so large. Files that mark fill by the least number of their type seldom have it exactly in their
tag: written in decimals it is rounded."""

_SET: Final = "<LUT>0:0,1e-06:255</LUT>"
"""Of an alpha or a mask of any range: whatever is not 0."""

_FINITE: Final = f"<LUT>{-10 * _HUGE:g}:0,{-_HUGE:g}:255,{_HUGE:g}:255,{10 * _HUGE:g}:0</LUT>"
"""Neither huge nor NaN: GDAL looks NaN up as the first number of a table."""


UNSEEN_CLASSES: Final = (0, 1, 8, 9)
"""Of Sentinel-2's scene classification: no data, saturated or defective, cloud of medium and of high probability."""

_TOLD: Final = (
    (re.compile(r"scl(_\d+m)?"), "scene classification", UNSEEN_CLASSES),
    (re.compile(r"qa60"), "opaque cloud", (1024, 3072)),
    (re.compile(r"data_?mask"), "data mask", (0,)),
)
"""What bands of a stack are called that tell of each pixel whether it shows ground, what that is, and which values hide
it: Sentinel-2's, as Earth Engine and Sentinel Hub deliver it."""


class Classes(NamedTuple):
    """A band that classifies pixels."""

    band: int
    kind: str
    hidden: tuple[int, ...]
    """Classes of pixels that are no ground."""


@dataclass(frozen=True, slots=True)
class Masking:
    """What hides pixels; a pixel is real where nothing hides it."""

    nodata: tuple[float | None, float | None, float | None] = (None, None, None)
    """Of red, green and blue, but for NaN; a pixel is hidden where every band that has one shows it: black roofs are 0
    in one or two bands."""

    fill: tuple[float, float] | None = None
    """The least and the most that hide a pixel in all bands, though the file does not say so; see `fill.find`."""

    alpha: int = 0
    """Number of a band that hides pixels where it is 0; 0 for none."""

    masks: tuple[int, ...] = ()
    """Numbers of bands whose mask hides pixels: of a file beside or inside the raster's, or of a VRT."""

    classes: tuple[Classes, ...] = ()

    floats: bool = False
    """Values may be NaN or infinite, which hides a pixel, whichever band it is in."""

    def __bool__(self) -> bool:
        """Whether there is anything that may hide a pixel."""
        return self != Masking()

    @property
    def bands(self) -> tuple[int, ...]:
        """Numbers of bands whose values hide pixels of others."""
        return (*([self.alpha] if self.alpha else []), *(one.band for one in self.classes))

    @property
    def says_all(self) -> bool:
        """Whether the file tells of each pixel if it holds data, so that no fill needs to be looked for."""
        return bool(self.alpha or self.masks or any(0 in one.hidden for one in self.classes))

    def hides(self, value: float) -> bool:
        """Tell whether a pixel that shows this value in all bands is hidden."""
        return value in self.nodata or (self.floats and not abs(value) < _HUGE)

    def in_words(self) -> str:
        """Say for people what hides pixels."""
        declared = dict.fromkeys(f"{value:g}" for value in self.nodata if value is not None)
        parts = [
            f"alpha in band {self.alpha}" if self.alpha else "",
            "the file's mask" if self.masks else "",
            *(f"{one.kind} in band {one.band}" for one in self.classes),
            f"nodata {', '.join(declared)}" if declared else "",
            f"fill {in_words(self.fill)}, which the file does not declare" if self.fill is not None else "",
        ]
        return " and ".join(part for part in parts if part) or "none"


def unheeded(source: Any, bands: Bands, how: Masking) -> tuple[str, ...]:
    """Descriptions of bands of an open dataset that seem to mark pixels, and of which nothing is made.

    bands: red, green and blue. One band that tells of clouds is enough, and silences the others.
    """
    if any(set(one.hidden) - {0} for one in how.classes):  # 0 alone is nodata
        return ()
    texts = [text for band, text in enumerate(source.descriptions, 1) if band not in (*bands, *how.bands)]
    return tuple(text for text in texts if text and marks_pixels(text))


def in_words(fill: tuple[float, float]) -> str:
    """Name a value, or the least and the most, for people."""
    least, most = fill
    return f"{least:g}" if least == most else f"{least:g} to {most:g}"


def masking(source: Any, bands: Bands, alpha: int) -> Masking:
    """Find what hides pixels of `bands` in an open dataset; alpha: number of the band that does, 0 for none."""
    red, green, blue = (_number(source.nodatavals[band - 1]) for band in bands)
    masks = tuple(band for band in bands if _has_mask(source.mask_flag_enums[band - 1]))
    shared = masks and MaskFlags.per_dataset in source.mask_flag_enums[masks[0] - 1]
    floats = any(np.issubdtype(np.dtype(source.dtypes[band - 1]), np.floating) for band in bands)
    names = [(band, (text or "").strip().lower()) for band, text in enumerate(source.descriptions, 1)]
    classes = tuple(
        Classes(band, kind, hidden)
        for band, name in names
        for called, kind, hidden in _TOLD
        if called.fullmatch(name) and band not in (*bands, alpha)
    )
    return Masking((red, green, blue), None, alpha, masks[:1] if shared else masks, classes, floats)


def masked(source: Any, address: str, bands: Bands, dtype: str, how: Masking) -> str:
    """Make three bands and a mask of an open dataset; give the text of the VRT, which GDAL opens like a file.

    address: of `source`. dtype: what the bands become, as NumPy calls it. It is on the grid of `source`, or has its
    ground control points; without anything that hides pixels it has no mask.
    """
    name = gdal.vsi_name(address)
    colors = [
        f'<VRTRasterBand dataType="{TYPES[dtype]}" band="{n}"><ColorInterp>{color}</ColorInterp>'
        f"{_source(name, str(band))}</VRTRasterBand>"
        for n, (band, color) in enumerate(zip(bands, COLORS, strict=True), 1)
    ]
    size = source.height, source.width
    covers = list(_covers(name, bands, how, size))
    mask = f"<MaskBand>{_band(_all_of(covers, size))}</MaskBand>" if covers else ""
    return _dataset(size, _place(source) + "".join(colors) + mask)


def _covers(name: str, bands: Bands, how: Masking, size: tuple[int, int]) -> Iterator[str]:
    """Give sources, or several together, that draw 0 where something hides a pixel, else 255."""
    declared = [(band, value) for band, value in zip(bands, how.nodata, strict=True) if value is not None]
    declared = [(band, value) for band, value in declared if abs(value) < _HUGE]  # what is huge is hidden anyway
    if declared:
        yield _any_other(name, declared)
    if how.fill is not None:
        least, most = how.fill
        same = [(band, least) for band in bands]
        yield _any_other(name, same) if least == most else _any_brighter(name, most, bands, size)
    if how.alpha:
        yield _source(name, str(how.alpha), _SET)
    for band in how.masks:
        yield _source(name, f"mask,{band}", "" if name.startswith("<") else _SET)  # a product's is 0 or 255
    for one in how.classes:
        yield _source(name, str(one.band), f"<LUT>{lookup(one.hidden)}</LUT>")
    if how.floats:
        for band in bands:
            yield _source(name, str(band), _FINITE)


def _any_other(name: str, values: Sequence[tuple[int, float]]) -> str:
    """Give sources that draw 255 where any band shows something else than its value."""
    other = "<ScaleOffset>255</ScaleOffset><ScaleRatio>0</ScaleRatio>"
    return "".join(_source(name, str(band), f"{other}<NODATA>{value!r}</NODATA>") for band, value in values)


def lookup(hidden: Collection[int]) -> str:
    """Map `hidden` and NaN to 0, and all other integers to 255.

    GDAL draws straight lines between the points of such a table, and looks NaN up as its first number.
    """
    points = {value: 0 if value in hidden else 255 for at in hidden for value in (at - 1, at, at + 1)}
    return ",".join(f"{value:g}:{shown}" for value, shown in ((-_HUGE, 0), (-_HUGE / 10, 255), *sorted(points.items())))


def _any_brighter(name: str, most: float, bands: Bands, size: tuple[int, int]) -> str:
    """Give sources that draw 255 where any band shows more than the integer `most`."""
    table = f"<LUT>{most!r}:0,{most + 1!r}:255</LUT>"
    return "".join(_over(_source(name, str(band), table), 0, size) for band in bands)


def _all_of(covers: Sequence[str], size: tuple[int, int]) -> str:
    """Give sources that draw 0 where one of `covers` does: see `products.vrt`, which does the same."""
    first, *others = covers
    return first + "".join(_over(one, 255, size) for one in others)


def _over(drawn: str, but: int, size: tuple[int, int]) -> str:
    """Give a source that draws what `drawn` does, but for one value."""
    return _source(_dataset(size, _band(drawn)), "1", f"<NODATA>{but}</NODATA>")


def _band(content: str) -> str:
    return f'<VRTRasterBand dataType="Byte">{content}</VRTRasterBand>'


def _source(name: str, band: str, how: str = "") -> str:
    kind = "ComplexSource" if how else "SimpleSource"
    # Shared, which is the default, is meant within one VRT; what is not shared is lent from VRT to VRT.
    file = f'<SourceFilename relativeToVRT="0">{escape(name)}</SourceFilename>'
    return f"<{kind}>{file}<SourceBand>{band}</SourceBand>{how}</{kind}>"


def _dataset(size: tuple[int, int], content: str) -> str:
    rows, cols = size
    return f'<VRTDataset rasterXSize="{cols}" rasterYSize="{rows}">{content}</VRTDataset>'


def _place(source: Any) -> str:
    if gdal.by_points(source):
        points, crs = source.gcps
        at = "".join(
            f'<GCP Id="{n}" Pixel="{p.col!r}" Line="{p.row!r}" X="{p.x!r}" Y="{p.y!r}" Z="{p.z or 0!r}"/>'
            for n, p in enumerate(points)
        )
        return f"<GCPList Projection={quoteattr(crs.to_wkt())}>{at}</GCPList>"
    numbers = ", ".join(repr(float(number)) for number in source.transform.to_gdal())
    return f"<SRS>{escape(source.crs.to_wkt())}</SRS><GeoTransform>{numbers}</GeoTransform>"


def _has_mask(flags: Sequence[MaskFlags]) -> bool:
    """Tell whether a band's mask is more than its nodata value or the file's alpha band: it has none of those flags."""
    return not {MaskFlags.all_valid, MaskFlags.alpha, MaskFlags.nodata} & set(flags) or (
        {MaskFlags.per_dataset, MaskFlags.nodata} <= set(flags)
    )


def _number(nodata: float | None) -> float | None:
    return None if nodata is None or math.isnan(nodata) else float(nodata)
