"""Which pixels of a raster are real: one mask, whatever its file has, for all ways to read it.

The mask goes into the text of a VRT, as the mask of three colour bands. So GDAL gives the same mask in plain reads,
from overviews, to its warper, and over a network: the warper alone would take an alpha of 1 for nearly transparent,
and forget a mask beside a nodata value.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from rasterio.enums import MaskFlags

from geoscan import gdal, vrt
from geoscan.bands import Bands, marks_pixels
from geoscan.vrt import HUGE

_SET: Final = vrt.table(((0, 0), (1e-6, 255)))
"""Of an alpha or a mask of any range: whatever is not 0."""

_FINITE: Final = vrt.table(((-HUGE, 0), (-HUGE / 10, 255), (HUGE / 10, 255), (HUGE, 0)))
"""Neither huge nor NaN: GDAL looks NaN up as the first number of a table. Files that mark fill by the least number of
their type seldom have it exactly in their tag: written in decimals it is rounded."""

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
        declared = {nodata for nodata in self.nodata if nodata is not None}
        return declared == {value} or (self.floats and not abs(value) < HUGE)

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
    colors = zip(bands, vrt.COLORS, strict=True)
    content = "".join(vrt.band(n, dtype, color, vrt.source(name, own)) for n, (own, color) in enumerate(colors, 1))
    size = source.height, source.width
    place = vrt.points(*source.gcps) if gdal.by_points(source) else vrt.grid(source.crs, source.transform)
    return vrt.dataset(size, content + vrt.mask(list(_covers(name, bands, how, size)), size), place)


def _covers(name: str, bands: Bands, how: Masking, size: vrt.Size) -> Iterator[str]:
    """Give sources, or several together, that draw 0 where something hides a pixel, else 255."""
    declared = [(band, value) for band, value in zip(bands, how.nodata, strict=True) if value is not None]
    declared = [(band, value) for band, value in declared if abs(value) < HUGE]  # what is huge is hidden anyway
    if declared:
        yield _any_other(name, declared)
    if how.fill is not None:
        least, most = how.fill
        same = [(band, least) for band in bands]
        yield _any_other(name, same) if least == most else _any_brighter(name, most, bands, size)
    if how.alpha:
        yield vrt.source(name, how.alpha, _SET)
    for band in how.masks:
        yield vrt.source(name, vrt.mask_of(band), "" if name.startswith("<") else _SET)  # a product's is 0 or 255
    for one in how.classes:
        yield vrt.source(name, one.band, vrt.not_in(one.hidden))
    if how.floats:
        for band in bands:
            yield vrt.source(name, band, _FINITE)


def _any_other(name: str, values: Sequence[tuple[int, float]]) -> str:
    """Give sources that draw 255 where any band shows something else than its value."""
    return "".join(vrt.source(name, band, vrt.other_than(value)) for band, value in values)


def _any_brighter(name: str, most: float, bands: Bands, size: vrt.Size) -> str:
    """Give sources that draw 255 where any band shows more than the integer `most`."""
    brighter = vrt.table(((most, 0), (most + 1, 255)))
    return "".join(vrt.over(vrt.source(name, band, brighter), size, 0) for band in bands)


def _has_mask(flags: Sequence[MaskFlags]) -> bool:
    """Tell whether a band's mask is more than its nodata value or the file's alpha band: it has none of those flags."""
    return not {MaskFlags.all_valid, MaskFlags.alpha, MaskFlags.nodata} & set(flags) or (
        {MaskFlags.per_dataset, MaskFlags.nodata} <= set(flags)
    )


def _number(nodata: float | None) -> float | None:
    return None if nodata is None or math.isnan(nodata) else float(nodata)
