"""Which bands of a raster are red, green and blue, and which one masks it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rasterio.enums import ColorInterp

from geoscan.errors import SceneError
from geoscan.gdal import samples

Bands = tuple[int, int, int]
"""Band numbers of red, green, blue; the first band of a file is 1."""

PLANET: Bands = (3, 2, 1)
"""Planet's analytic products come as blue, green, red, near infrared."""

COLORS = ("red", "green", "blue")
_OTHERS = {
    *("edge", "rededge", "vre", "far", "deep", "ultra", "coastal", "violet", "i", "yellow", "pan"),
    *("infrared", "infra", "ir", "nir", "near", "mid", "mir", "swir", "short", "shortwave", "thermal", "tir"),
    *("std", "stdev", "variance", "uncertainty", "error", "mask", "quality", "qa", "count"),
    *("ndvi", "evi", "ndwi", "vv", "vh", "hh", "hv"),
}
"""Words that make another band of a colour's: red edge, infra red, ultra blue, green I; of what was not measured in
it, such as its quality; and of what has no colour: indices and radar."""

_LETTERS = {"r": "red", "g": "green", "b": "blue"}
_STACK = 8
"""Bands from which on a stack begins with coastal blue, as Sentinel-2's and PlanetScope's do, if it does not say."""

_ALL = 12
"""A stack of so many bands is taken for all of Sentinel-2's."""

_COUNTED = re.compile(r"b(\d+)|(?i:band)[ _]?(\d+)")
"""A band's number as programs give it that know nothing else: Earth Engine b1, ArcGIS Band_1, ENVI Band 1."""

_MARKS = re.compile(
    r"(?!.*cloud.?(free|less|masked)).*(mask|cloud|quality|cldprb).*"
    r"|(qa|udm|msk|scl)(\d|_).*|qa|bqa|udm|scl|clm|clp|cs|cs_cdf|alpha"
)
"""What bands are called that mark pixels, as Earth Engine, Sentinel Hub, Planet and Landsat deliver them."""

_VISIBLE = 4
"""The highest number of red, green and blue in the products that are known, see `_of_sensor`."""

_NUMBER = re.compile(r"(?:b|band)0?(\d{1,2})")
"""A band's number as most makers write it: B4, B04, band4."""


@dataclass(frozen=True, slots=True)
class BandTable:
    """What a file says about its bands, first band first."""

    dtypes: tuple[str, ...]
    colors: tuple[ColorInterp, ...]
    descriptions: tuple[str, ...]
    """Empty where a band has none."""

    masking_alpha: int = 0
    """Number of the band that is tagged alpha and looks like one; 0 when there is none."""

    @property
    def false_alpha(self) -> bool:
        """A band is tagged alpha though it is none."""
        return ColorInterp.alpha in self.colors and not self.masking_alpha

    @property
    def color_bands(self) -> tuple[int, ...]:
        """Numbers of all bands that are not a mask."""
        marks = {n for n, text in enumerate(self.descriptions, 1) if marks_pixels(text)}
        return tuple(n for n in range(1, len(self.dtypes) + 1) if n != self.masking_alpha and n not in marks)

    @property
    def planet_like(self) -> bool:
        """Four 16-bit bands, and no more but masks: the make of Planet's analytic products.

        They are delivered unsigned; some tools write signed copies.
        """
        return self.color_bands == (1, 2, 3, 4) and self.dtypes[:4] in (("uint16",) * 4, ("int16",) * 4)


def table_of(source: Any) -> BandTable:
    """Read what an open dataset says about its bands."""
    colors = tuple(source.colorinterp)
    tagged = colors.index(ColorInterp.alpha) + 1 if ColorInterp.alpha in colors else 0
    alpha = tagged if tagged and _masks(source, tagged) else 0
    return BandTable(tuple(source.dtypes), colors, tuple(text or "" for text in source.descriptions), alpha)


def _masks(source: Any, band: int) -> bool:
    """Whether a band tagged alpha is one: opaque in one value, where near infrared has hundreds."""
    values = np.concatenate([part.ravel() for part in samples(source, [band])])
    opaque, counts = np.unique(values[values != 0], return_counts=True)
    return opaque.size == 0 or bool(counts.max() > counts.sum() / 2)


def choose(table: BandTable, name: str, asked: Sequence[int] | None = None) -> Bands:
    """Bands of red, green and blue in `table`; `asked` overrides, numbered from 1.

    name: the scene as the message is to call it.
    Raises SceneError when `asked` does not fit, when there are fewer than three colour bands, when the file does not
    say which bands to take, or calls those that would be taken something else.
    """
    count = len(table.dtypes)
    if len(table.color_bands) < 3:
        have = f"{len(table.color_bands)} colour band{'s' * (len(table.color_bands) != 1)}"
        todo = "give a scene with all three"
        if ColorInterp.palette in table.colors:
            todo = f"take them from its palette: gdal_translate -expand rgb {name} rgb.tif"
        raise SceneError(f"{name} has {have}; geoscan needs red, green and blue: {todo}")
    if asked is not None:
        return _checked(asked, count, name)
    # Names first: GDAL tags any three bands red, green, blue when they are written so, in whatever order they are.
    found = _described(table) or _tagged(table) or _by_make(table)
    if found is None:
        raise _question(table, name)
    _check_names(table, found, name)
    return found


def _checked(asked: Sequence[int], count: int, name: str) -> Bands:
    numbers = tuple(asked)
    if len(numbers) != 3 or not all(1 <= n <= count for n in numbers):
        given = ",".join(map(str, numbers))
        raise SceneError(f"bands {given} do not fit {name}; pass three numbers from 1 to {count} as --bands R,G,B")
    return numbers[0], numbers[1], numbers[2]


def _tagged(table: BandTable) -> Bands | None:
    # Kaggle's Planet TIFFs are blue, green, red, near infrared though tagged red, green, blue, alpha, as GDAL tags any
    # four bands written as RGB. An "alpha" that varies like an image gives the lie away, and with it all four tags.
    if table.false_alpha and "uint8" not in table.dtypes:
        return None
    wanted = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
    if not set(wanted) <= set(table.colors):
        return None
    red, green, blue = (table.colors.index(color) + 1 for color in wanted)
    # So GDAL tags the first three of any number of bands that are written as RGB.
    if (red, green, blue) == (1, 2, 3) and len(table.color_bands) >= _STACK:
        return None
    return red, green, blue


def _described(table: BandTable) -> Bands | None:
    if _counts_only(table):
        return None
    words = [_words(text) for text in table.descriptions]
    if (named := _find([_color(some) for some in words], "red", "green", "blue")) is not None:
        return named
    numbers = [_number(some) for some in words]
    surface = any("sr" in some for some in words)
    return _find(numbers, *_of_sensor({number for number in numbers if number}, surface))


def _counts_only(table: BandTable) -> bool:
    """Tell whether bands are called b1, b2, ... or Band 1, Band 2, ... in their order, as programs call those of any
    file; but for a mask.
    """
    texts = [table.descriptions[n - 1] for n in table.color_bands]
    numbers = [match[1] or match[2] if (match := _COUNTED.fullmatch(text)) else "" for text in texts]
    return len(numbers) < _ALL and numbers == [str(n) for n in range(1, len(numbers) + 1)]


def marks_pixels(text: str) -> bool:
    """Tell whether a band's description is that of a mask: of clouds, of data, of quality."""
    words = _words(text)
    measured = _color(words) or (_number(words) and not _OTHERS & set(words))
    return not measured and _MARKS.fullmatch(text.strip().lower()) is not None


def _words(text: str) -> list[str]:
    """Words of a band's description, in small letters: "B02_10m" has two, "Band 4 (Red)" three."""
    return [word for word in re.split(r"[^a-z0-9]+", text.lower()) if word]


def _color(words: Sequence[str]) -> str:
    """Name the colour that a band is called by; empty for the others, see `_OTHERS`."""
    if len(words) == 1 and words[0] in _LETTERS:
        return _LETTERS[words[0]]
    colors = [word for word in words if word in COLORS]
    return colors[0] if len(colors) == 1 and not _OTHERS & set(words) else ""


def _number(words: Sequence[str]) -> str:
    """Give the number that a band is called by; empty where it has none."""
    return next((match[1] for word in words if (match := _NUMBER.fullmatch(word))), "")


def _of_sensor(numbers: set[str], surface: bool) -> tuple[str, str, str]:
    """Numbers of red, green and blue among the numbers of a file's bands.

    Sentinel-2 and Landsat 8 and 9 count 4, 3, 2; Landsat 5 and 7 count 3, 2, 1 and have no band 8, and of surface
    reflectance (`SR_B1`) no band 6. surface: bands are called so.
    """
    older = {"1", "2", "3"} <= numbers and ("4" not in numbers or (len(numbers) > 4 and not {"8", "6"} & numbers))
    if older and (surface or "4" not in numbers):
        return "3", "2", "1"
    landsat = not surface and len(numbers) > 4 and "8" not in numbers
    return ("", "", "") if landsat else ("4", "3", "2")


def _find(names: Sequence[str], *wanted: str) -> Bands | None:
    """Numbers of the bands that are called `wanted`; None where one is missing, or two are called so."""
    if not all(wanted) or any(names.count(name) != 1 for name in wanted):
        return None
    red, green, blue = (names.index(name) + 1 for name in wanted)
    return red, green, blue


def _by_make(table: BandTable) -> Bands | None:
    if table.planet_like:
        return PLANET
    if len(table.color_bands) == 3:
        first, second, third = table.color_bands
        return first, second, third
    return None


def _check_names(table: BandTable, bands: Bands, name: str) -> None:
    """Raise SceneError where a band is called something else than what it would be taken for.

    Composites of infrared or of radar are stored and tagged as red, green and blue, too.
    """
    called = [table.descriptions[n - 1] for n in bands]
    if any(_is_another(_words(text), color) for text, color in zip(called, COLORS, strict=True)):
        raise SceneError(
            f"{name} calls bands {','.join(map(str, bands))} {', '.join(text or 'nothing' for text in called)}, which "
            "are not red, green, blue; give a scene with all three, or pass --bands R,G,B where the names are wrong"
        )


def _is_another(words: Sequence[str], wanted: str) -> bool:
    """Tell whether a band is called by anything but the colour `wanted`."""
    color, number = _color(words), _number(words)
    if color:
        return color != wanted
    return bool(_OTHERS & set(words)) or int(number or 0) > _VISIBLE


def _question(table: BandTable, name: str) -> SceneError:
    count = len(table.dtypes)
    if count >= _ALL:
        example = "--bands 4,3,2 when it is Sentinel-2 in the order B01, B02, B03, B04"
    else:
        example = "--bands 3,2,1 when it is blue, green, red first, or --bands 1,2,3 when it is red, green, blue"
    return SceneError(f"{name} has {count} bands and does not say which are red, green, blue; pass {example}")
