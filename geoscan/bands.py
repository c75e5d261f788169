"""Which bands of a raster are red, green and blue, and which one masks it."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from contextlib import suppress
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

TOGETHER = "gdalbuildvrt -separate scene.vrt RED GREEN BLUE"
"""How people make one raster of three."""

COLORS = ("red", "green", "blue")
_CALLED = {
    **dict.fromkeys(("red", "rojo", "roja", "vermelho", "vermelha", "rouge", "rood", "rode"), "red"),
    **dict.fromkeys(("rot", "rote", "roter", "rosso", "rossa"), "red"),
    **dict.fromkeys(("green", "verde", "vert", "verte", "groen", "groene", "gruen", "grun", "gruner"), "green"),
    **dict.fromkeys(("blue", "azul", "bleu", "bleue", "blauw", "blauwe", "blau", "blauer", "blu"), "blue"),
}
"""Words for the three in English, Spanish, Portuguese, French, Dutch, German and Italian, without accents."""

_OTHERS = {
    *("edge", "rededge", "vre", "far", "deep", "ultra", "coastal", "violet", "i", "yellow", "pan"),
    *("ir", "near", "mid", "mir", "short", "shortwave", "thermal", "tir", "mwir", "lwir"),
    *("std", "stdev", "stddev", "variance", "uncertainty", "error", "mask", "quality", "qa", "count"),
    *("ndvi", "evi", "ndwi", "vv", "vh", "hh", "hv", "sar"),
    *("pir", "ivp", "cercano", "proximo", "proxima", "proche", "nabij", "nahes", "vicino"),
    *("borde", "borda", "bord", "bordo", "rand", "costero", "costeiro", "cotier", "violeta"),
    *("amarillo", "amarelo", "jaune", "geel", "gelb", "giallo"),
    *("cyan", "magenta", "black", "hue", "saturation", "lightness", "cb", "cr"),
}
"""Words that make another band of a colour's: red edge, ultra blue, green I; of what was not measured in it, such as
its quality; of what has no colour: indices and radar; and of other ways to store a picture's colours. A number may
follow each."""

_INFRARED = re.compile(r"infra.*|.*(n|sw)ir")
"""Words for infrared: infrared, infrarrojo, nir, swir, broadnir."""

_LETTERS = {"r": "red", "g": "green", "b": "blue"}
_STACK = 8
"""Bands from which on a stack begins with coastal blue, as Sentinel-2's and PlanetScope's do, if it does not say."""

_ALL = 12
"""A stack of so many bands is taken for all of Sentinel-2's."""

_COUNTED = re.compile(r"b(\d+)|(?i:band)[ _]?(\d+)")
"""A band's number as programs give it that know nothing else: Earth Engine b1, ArcGIS Band_1, ENVI Band 1."""

_SPECTRUM = (
    (0.45, "coastal"),
    (0.52, "blue"),
    (0.60, "green"),
    (0.62, "yellow"),
    (0.69, "red"),
    (0.70, "rededge"),
    (math.inf, "infrared"),
)
"""Micrometres up to which light is called so."""

_LENGTH = re.compile(
    r"(?:band[ _]?\d+[ :(]+)?(?:([\d.]+) ?- ?)?([\d.]+) ?(n|u|\N{MICRO SIGN}|micro)(?:m|anomet\w+|met\w+)\)?",
    re.IGNORECASE,
)
"""A description that is a wavelength, as GDAL makes it of ENVI's headers: "Band 8 (833 Nanometers)"; or a range."""

_PLAIN_TAGS = {"red", "green", "blue", "gray", "undefined", "alpha", "palette"}
"""Colour tags that programs set by default, whatever a band shows; the others are set by those who know."""

_MARKS = re.compile(
    r"(?!.*cloud.?(free|less|masked)).*(mask|cloud|quality|cldprb).*"
    r"|(qa|udm|msk|scl)(\d|_).*|(.*[\W_])?udm2?([\W_].*)?|qa|bqa|scl|clm|clp|cs|cs_cdf|alpha"
)
"""What bands are called that mark pixels, as Earth Engine, Sentinel Hub, Planet and Landsat deliver them."""

_VISIBLE = 4
"""The highest number of red, green and blue in the products that are known, see `_counts_of`."""

_NUMBER = re.compile(r"(?:b|band)0?(8a|\d{1,2})")
"""A band's number as most makers write it: B4, B04, band4; Sentinel-2 has B8A."""

WAVELENGTH = "IMAGERY", "CENTRAL_WAVELENGTH_UM"
BITS = "IMAGE_STRUCTURE", "NBITS"
"""Domain and key of what GDAL's metadata of a band may hold, and is heeded here."""

_RAW_BITS = range(9, 12)
"""Bits of a value that is what a sensor counted, as very fine images are delivered: reflectance x 10,000 and Planet's
radiance need more."""


@dataclass(frozen=True, slots=True)
class BandTable:
    """What a file says about its bands, first band first."""

    dtypes: tuple[str, ...]
    colors: tuple[ColorInterp, ...]
    descriptions: tuple[str, ...]
    """Empty where a band has none; with the word for its wavelength or its tag where that tells more."""

    masking_alpha: int = 0
    """Number of the band that is tagged alpha and looks like one; 0 when there is none."""

    raw: bool = False
    """See `is_raw`."""

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
        return (
            not self.raw and self.color_bands == (1, 2, 3, 4) and self.dtypes[:4] in (("uint16",) * 4, ("int16",) * 4)
        )


def table_of(source: Any) -> BandTable:
    """Read what an open dataset says about its bands."""
    colors = tuple(source.colorinterp)
    tagged = colors.index(ColorInterp.alpha) + 1 if ColorInterp.alpha in colors else 0
    alpha = tagged if tagged and _masks(source, tagged) else 0
    texts = enumerate(zip(source.descriptions, colors, strict=True), 1)
    descriptions = tuple(_in_full(text or "", color, told(source, band, WAVELENGTH)) for band, (text, color) in texts)
    return BandTable(tuple(source.dtypes), colors, descriptions, alpha, is_raw(source, 1))


def told(source: Any, band: int, what: tuple[str, str]) -> str:
    """Give what an open dataset says of a band in its metadata, by domain and key; empty where it does not."""
    domain, key = what
    return str(source.tags(band, ns=domain).get(key, ""))


def is_raw(source: Any, band: int) -> bool:
    """Tell whether a band of an open dataset says that its values have as few bits as what a sensor counts."""
    bits = told(source, band, BITS)
    return bits.isdecimal() and int(bits) in _RAW_BITS


def _in_full(text: str, tag: ColorInterp, wavelength: str) -> str:
    """Add to a band's description the word for its wavelength, else for its tag, unless it says what the band is.

    wavelength: in micrometres, as GDAL gives it; empty for none.
    """
    words = _words(text)
    if _color(words) or _is_other(words) or marks_pixels(text):
        return text
    word = _light(wavelength, text) or ("" if tag.name in _PLAIN_TAGS else tag.name)
    return f"{text} {word}".lstrip() if word else text


def _light(wavelength: str, text: str) -> str:
    """Give the word for light of a wavelength in micrometres, or of that in a band's description; empty for neither."""
    length = 0.0
    with suppress(ValueError):  # what is no number says nothing
        if wavelength:
            length = float(wavelength)
        elif found := _LENGTH.fullmatch(text.strip()):
            ends = [float(end) for end in found.groups()[:2] if end]
            length = sum(ends) / len(ends) / (1000 if found[3].lower() == "n" else 1)
    return next((word for most, word in _SPECTRUM if 0 < length < most), "")


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
        if len(table.color_bands) == 1:
            todo = f"give a scene with all three, or put them together: {TOGETHER}"
        if ColorInterp.palette in table.colors:
            todo = f"take them from its palette: gdal_translate -expand rgb {name} rgb.tif"
        raise SceneError(f"{name} has {have}; geoscan needs red, green and blue: {todo}")
    if asked is not None:
        return _checked(asked, count, name)
    # Names first: GDAL tags any three bands red, green, blue when they are written so, in whatever order they are.
    named = _described(table)
    if len(named) > 1:
        raise _question_of_sensors(table, named, name)
    found = named[0] if named else _tagged(table) or _by_make(table)
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


def _described(table: BandTable) -> list[Bands]:
    """Find red, green and blue by what the bands are called; several where sensors that fit count them differently."""
    if _counts_only(table):
        return []
    words = [_words(text) for text in table.descriptions]
    if (named := _find([_color(some) for some in words], "red", "green", "blue")) is not None:
        return [named]
    numbers = ["" if _is_other(some) else _number(some) for some in words]
    surface = any("sr" in some for some in words)
    counts = _counts_of({number for some in words if (number := _number(some))}, surface)
    return [bands for count in counts if (bands := _find(numbers, *count)) is not None]


def _counts_only(table: BandTable) -> bool:
    """Tell whether bands are called b1, b2, ... or Band 1, Band 2, ... in their order, as programs call those of any
    file, from 0 or from 1; but for a mask.
    """
    texts = [table.descriptions[n - 1] for n in table.color_bands]
    numbers = [match[1] or match[2] if (match := _COUNTED.fullmatch(text)) else "" for text in texts]
    counts = ([str(n) for n in range(first, len(numbers) + first)] for first in (0, 1))
    return len(numbers) < _ALL and numbers in counts


def marks_pixels(text: str) -> bool:
    """Tell whether a band's description is that of a mask: of clouds, of data, of quality."""
    words = _words(text)
    measured = _color(words) or (_number(words) and not _is_other(words))
    return not measured and _MARKS.fullmatch(text.strip().lower()) is not None


def is_landsat(texts: Sequence[str]) -> bool:
    """Tell whether all of these bands are called as Landsat's surface reflectance is: SR_B4."""
    return all("sr" in (words := _words(text)) and bool(_number(words)) for text in texts)


def _words(text: str) -> list[str]:
    """Words of a band's description, in small letters without accents: "B02_10m" has two, "Band 4 (Red)" three."""
    plain = "".join(char for char in unicodedata.normalize("NFKD", text.lower()) if not unicodedata.combining(char))
    return [word for word in re.split(r"[^a-z0-9]+", plain) if word]


def _is_other(words: Sequence[str]) -> bool:
    """Tell whether a band is called by what none of the three colours is, see `_OTHERS`."""
    return any(word.rstrip("0123456789") in _OTHERS or _INFRARED.fullmatch(word.rstrip("0123456789")) for word in words)


def _color(words: Sequence[str]) -> str:
    """Name the colour that a band is called by; empty for the others, see `_OTHERS`."""
    if len(words) == 1 and words[0] in _LETTERS:
        return _LETTERS[words[0]]
    colors = {_CALLED[word] for word in words if word in _CALLED}
    return colors.pop() if len(colors) == 1 and not _is_other(words) else ""


def _number(words: Sequence[str]) -> str:
    """Give the number that a band is called by; empty where it has none."""
    return next((match[1] for word in words if (match := _NUMBER.fullmatch(word))), "")


def _counts_of(numbers: set[str], surface: bool) -> list[tuple[str, str, str]]:
    """Numbers of red, green and blue by each way to count that fits the numbers of a file's bands.

    Pleiades and SPOT count 2, 1, 0. Landsat 5 and 7 count 3, 2, 1; they end with band 7, and surface reflectance
    (`SR_B1`) has no band 6. Sentinel-2 and Landsat 8 and 9 count 4, 3, 2. surface: bands are called so.
    """
    if "0" in numbers:
        return [("2", "1", "0")] if numbers <= {"0", "1", "2", "3"} else []
    older = {"1", "2", "3", "4", "5", "7"} | (set() if surface else {"6"})
    counts = [("3", "2", "1")] if numbers <= older else []
    return counts if surface and numbers == older else [*counts, ("4", "3", "2")]


def _find(names: Sequence[str], *wanted: str) -> Bands | None:
    """Numbers of the bands that are called `wanted`; None where one is missing, or two are called so."""
    if any(names.count(name) != 1 for name in wanted):
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
    return _is_other(words) or int(number.rstrip("a") or 0) > _VISIBLE


def _question(table: BandTable, name: str) -> SceneError:
    count = len(table.dtypes)
    if count >= _ALL:
        example = "--bands 4,3,2 when it is Sentinel-2 in the order B01, B02, B03, B04"
    elif count >= _STACK:
        example = "--bands 6,4,2 when it is PlanetScope's eight bands, or --bands 5,3,2 when it is WorldView's"
    else:
        example = "--bands 3,2,1 when it is blue, green, red first, or --bands 1,2,3 when it is red, green, blue"
    return SceneError(f"{name} has {count} bands and does not say which are red, green, blue; pass {example}")


def _question_of_sensors(table: BandTable, fitting: Sequence[Bands], name: str) -> SceneError:
    """Ask about bands that are called by numbers, which mean one thing to one sensor and another to the next.

    fitting: red, green and blue as Landsat 5 and 7 count them, and as Landsat 8 and 9 and Sentinel-2 do.
    """
    older, newer = (
        f"--bands {','.join(map(str, bands))} where {table.descriptions[bands[2] - 1]}" for bands in fitting
    )
    return SceneError(
        f"{name} has bands {', '.join(filter(None, table.descriptions))} and does not say which are red, green, blue; "
        f"pass {older} is blue, as of Landsat 5 and 7, or {newer} is blue, as of Landsat 8 and 9 and Sentinel-2"
    )
