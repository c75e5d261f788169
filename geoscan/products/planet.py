"""Planet's products as they are delivered: PlanetScope scenes, composites of an order, and quads of basemaps.

What a file is, a tag inside it says first, then the list of files of its order (`manifest.json`), then its name. The
XML file beside it does not tell: Planet delivers that of the radiance with surface reflectance, too.

Radiance has no `scaling`: the look of a Planet scene is fitted on it as it is stored.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from geoscan import gdal
from geoscan.bands import Bands
from geoscan.errors import SceneError
from geoscan.products import Product, Scaling, assembly
from geoscan.products.rasters import Raster, covers, look_into, read_small

ANALYTIC: Final = "PlanetScope analytic"
REFLECTANCE: Final = "PlanetScope surface reflectance"
TOP_OF_ATMOSPHERE: Final = "PlanetScope top-of-atmosphere reflectance"
VISUAL: Final = "PlanetScope visual"
QUAD: Final = "Planet basemap quad"

_RGB: Final[Bands] = (1, 2, 3)
_BITS: Final = {"uint8": 8, "uint16": 16, "int16": 16}
"""Of the types that there are: Planet delivers unsigned ones, which some tools make signed; the values stay."""

_LAYOUTS: Final[dict[tuple[int, int], tuple[Bands, int]]] = {
    (8, 3): (_RGB, 0),
    (8, 4): (_RGB, 4),
    (16, 3): (_RGB, 0),
    (16, 4): ((3, 2, 1), 0),
    (16, 5): ((3, 2, 1), 0),
    (16, 8): ((6, 4, 2), 0),
}
"""By bits and number of bands: red, green, blue, and the band that masks them, 0 for none. Of four 16-bit bands and
more the shortest waves come first."""

_QUAD_LAYOUTS: Final = {**_LAYOUTS, (16, 5): ((3, 2, 1), 5)}
"""What is red edge or near infrared in a scene is alpha in a basemap."""

_EIGHT: Final = {"coastal_blue", "green_i", "yellow"}
"""Names of bands that Planet's eight-band products have, and no others."""

_TIFF: Final = (".tif", ".tiff")
_ITEM: Final = re.compile(
    r"(?P<item>(?P<instant>\d{8}_\d{6})_(?:\d+_)?[0-9a-f]{4}|\d+_\d+_(?P<day>\d{4}-\d\d-\d\d)_[0-9a-f]{4})"
    r"_(?P<level>[0-9a-z]+)_.*",
    re.IGNORECASE,
)
"""A file of a scene, such as 20230601_133012_45_2463_3B_AnalyticMS_SR_8b_clip, or of an ortho tile."""

_STRIP: Final = re.compile(r"(?P<day>\d{4}-\d\d-\d\d)_strip_.*")
_TAIL: Final = re.compile(r"(?:_clip|_reproject|_file_format|_cog)*$", re.IGNORECASE)
"""What the tools of an order add to all names."""

_MASK: Final = re.compile(r"(?:.*_)?udm2?(?:_.*)?", re.IGNORECASE)
_QUAD: Final = re.compile(r"(?:.*_)?(?:L\d\d-\d{4}E-\d{4}N|\d{1,5}-\d{1,5}_quad)", re.IGNORECASE)
_MOSAIC: Final = re.compile(
    r"\w+?_(?P<year>20\d\d)[-_]?(?:q(?P<quarter>[1-4])|(?P<month>\d\d))[\w-]*_mosaic", re.IGNORECASE
)
_ACQUIRED: Final = re.compile(
    r'(?:"acquired"\s*:\s*"|acquisitionDate(?:Time)?>\s*)(\d{4}-\d\d-\d\d(?:T\d\d:\d\d:\d\d)?)'
)

_WEB_MERCATOR: Final = 3857
_QUAD_PIXELS: Final = tuple(2 * 20_037_508.342789244 / 256 / 2**zoom for zoom in range(14, 19))
"""Sides of a basemap's pixels in Web Mercator's metres; the second is NICFI's."""

_UNUSABLE: Final = tuple(value for value in range(1, 256) if value != 2)
"""Values of the last band of udm2, which is the old udm, that mean blackfill or lost data. 2 alone is the old mask's
cloud, which is all that is bright, such as sand; udm2 has a better band for it."""


def recognise(path: str) -> Product | None:
    """Recognise a GeoTIFF of Planet's, with the mask and the metadata that lie beside it.

    Raises SceneError for a mask, which is no scene.
    """
    file = _File.at(path)
    if file is None or not (gdal.exists(path) or file.is_planets):
        return None
    raster = look_into(path)
    if raster is None:
        return None
    if _MASK.fullmatch(file.stem) and _is_mask(raster):
        raise SceneError(f"{file.stem}{file.suffix} is a usable data mask, not a scene; give the scene that it masks")
    return _quad(file, raster) or _scene(file, raster)


@dataclass(frozen=True, slots=True)
class _File:
    """A name taken apart, so that what lies beside it can be named."""

    folder: str
    """With the slash at its end; empty for the working directory."""

    stem: str
    suffix: str
    query: str
    """The "?" of a URL, and what follows it."""

    @classmethod
    def at(cls, path: str) -> _File | None:
        where, mark, query = path.partition("?") if gdal.is_remote(path) else (path, "", "")
        folder, slash, name = where.rpartition("/")
        suffix = Path(name).suffix
        return cls(folder + slash, name.removesuffix(suffix), suffix, mark + query) if suffix.lower() in _TIFF else None

    @property
    def base(self) -> str:
        """The stem without what an order's tools added."""
        return _TAIL.sub("", self.stem)

    @property
    def tail(self) -> str:
        return self.stem[len(self.base) :]

    @property
    def item(self) -> re.Match[str] | None:
        return _ITEM.fullmatch(self.stem)

    @property
    def is_composite(self) -> bool:
        return self.base.lower().endswith("composite")

    @property
    def is_planets(self) -> bool:
        """The name is one that Planet gives."""
        return bool(self.item or _QUAD.fullmatch(self.base)) or self.is_composite

    @property
    def mosaic(self) -> re.Match[str] | None:
        """The name of a basemap, in the file's own or in those of its folders."""
        parts = (self.stem, *reversed(self.folder.split("/")[-4:]))
        return next((found for part in parts if (found := _MOSAIC.search(part))), None)

    def beside(self, stem: str, suffix: str) -> str:
        return f"{self.folder}{stem}{suffix}{self.query}"

    def masks(self) -> Iterator[str]:
        """Name what may be its mask, the best first."""
        stems = [f"{self.base}_udm2", f"{self.base.removesuffix('_quad')}_ortho_udm2"]
        if found := self.item:
            item, level = found["item"], found["level"]
            stems = [f"{item}_{level}_udm2", f"{item}_udm2"]
            stems += [f"{item}_{level}_{how}DN_udm" for how in ("AnalyticMS_", "Analytic_", "")]
        for tail in dict.fromkeys((self.tail, "")):
            yield from (self.beside(stem + tail, self.suffix) for stem in stems)

    def metadata(self) -> list[str]:
        """Paths of the files of metadata beside it."""
        stems = [self.stem, self.base, self.base.removesuffix("_quad")]
        if found := self.item:
            item, level = found["item"], found["level"]
            stems += [item, *(f"{item}_{level}_{how}" for how in ("AnalyticMS", "AnalyticMS_8b", "Analytic"))]
        names = [f"{stem}_metadata{tail}" for stem in stems for tail in (self.tail, "")]
        paths = [self.beside(name, suffix) for name in names for suffix in (".json", ".xml")]
        if self.is_composite:  # it keeps the metadata of the scenes that it is made of
            with suppress(OSError):
                paths += sorted(str(one) for one in Path(self.folder).glob("*_metadata*.*ml") if _ITEM.match(one.name))
        return [path for path in dict.fromkeys(paths) if gdal.exists(path)]


# Products


def _scene(file: _File, raster: Raster) -> Product | None:
    """Give the product of a scene or a composite; None where nothing but its pixels could say what it is."""
    kind = _kind_in_tags(raster) or _kind_in_order(file) or (_kind(file.stem) if file.is_planets else "")
    mask, said = _mask_of(file, raster)
    layout = _LAYOUTS.get((_BITS.get(raster.dtype, 0), raster.count))
    if layout is None or not (kind or mask or {layer.description.lower() for layer in raster.layers} >= _EIGHT):
        return None
    if raster.dtype == "uint8" and not kind:
        kind = VISUAL
    if (raster.dtype == "uint8") != (kind == VISUAL):
        return None  # no such thing is delivered
    return _product(file, raster, kind, layout, mask, said)


def _quad(file: _File, raster: Raster) -> Product | None:
    """Give the product of a quad of a basemap; None for anything else."""
    layout = _QUAD_LAYOUTS.get((_BITS.get(raster.dtype, 0), raster.count))
    if layout is None or not (_QUAD.fullmatch(file.base) or file.mosaic) or raster.place.crs.to_epsg() != _WEB_MERCATOR:
        return None
    side = raster.place.transform.a
    if not any(abs(side / known - 1) < 1e-6 for known in _QUAD_PIXELS):
        return None
    return _product(file, raster, QUAD, layout, *_mask_of(file, raster))


def _product(
    file: _File, raster: Raster, kind: str, layout: tuple[Bands, int], mask: Raster | None, said: Sequence[str]
) -> Product:
    bands, alpha = layout
    own = [raster.band(n) for n in range(1, raster.count + 1) if n != alpha]
    if alpha:
        hidden = [assembly.Hidden(raster.band(alpha), (0,))]
    elif _BITS[raster.dtype] == 16 and not raster.masked:  # 0 means fill though the file does not say so
        hidden = [assembly.hidden_in_all([raster.band(n) for n in bands], 0)]
    else:
        hidden = raster.unseen(bands)
    hidden += _unseen(mask) if mask else []
    metadata = file.metadata()
    is_reflectance = kind in (REFLECTANCE, TOP_OF_ATMOSPHERE) or (kind == QUAD and raster.dtype != "uint8")
    return Product(
        address=assembly.stack(raster.place, own, raster.dtype, hidden, bands) if hidden else raster.path,
        name=_name(file),
        kind=kind,
        bands=bands,
        scaling=Scaling((1e-4, 1e-4, 1e-4), (0, 0, 0), "metadata") if is_reflectance else None,
        radiance=kind == ANALYTIC,
        mask=_mask_name(mask) if mask else "alpha" if alpha else "",
        date=_date(file, raster, metadata),
        files=(raster.path, *([mask.path] if mask else []), *metadata),
        warnings=tuple(said),
    )


def _name(file: _File) -> str:
    basemap = file.mosaic
    is_told = basemap is None or basemap[0] in file.stem or not _QUAD.fullmatch(file.base)
    return file.stem if is_told or basemap is None else f"{basemap[0]}_{file.stem}"


# What it is


def _kind(text: str) -> str:
    """Tell what a name of a file, an asset or a bundle says of its kind; empty when it says nothing."""
    words = set(re.split(r"[\W_]+", text.lower()))
    if "visual" in words:
        return VISUAL
    if "bandmath" in words or not words & {"analytic", "analyticms", "sr"}:
        return ""
    return REFLECTANCE if "sr" in words else TOP_OF_ATMOSPHERE if "toar" in words else ANALYTIC


def _kind_in_tags(raster: Raster) -> str:
    # Surface reflectance describes its atmospheric correction there; nothing else of Planet's has such a text.
    return REFLECTANCE if "atmospheric_correction" in _parsed(raster.tags.get("TIFFTAG_IMAGEDESCRIPTION", "")) else ""


def _kind_in_order(file: _File) -> str:
    """Look the file up in the list that came with its order, in its folder or in the two above."""
    if not gdal.exists(file.folder):
        return ""
    folder = Path(file.folder).absolute()
    for above in (folder, *folder.parents[:2]):
        with suppress(AttributeError, TypeError, KeyError):  # of a list that is no such list
            files = _parsed(read_small(str(above / "manifest.json")))["files"]
            notes = {Path(one["path"]).name: one["annotations"] for one in files if "annotations" in one}
            own = notes[file.stem + file.suffix]
            return _kind(own.get("planet/asset_type") or own["planet/bundle_type"])
    return ""


def _parsed(text: str) -> dict[str, Any]:
    with suppress(ValueError, RecursionError):
        content = json.loads(text)
        if isinstance(content, dict):
            return content
    return {}


# Its mask


def _mask_of(file: _File, raster: Raster) -> tuple[Raster | None, list[str]]:
    """Open its mask, if one lies beside it; and say which ones are not used."""
    said: list[str] = []
    for path in file.masks():
        if gdal.exists(file.folder) and not gdal.exists(path):
            continue
        mask = look_into(path)
        if mask is None:
            continue
        if _is_mask(mask) and covers(mask.place, raster.place) and covers(raster.place, mask.place):
            return mask, said
        said.append(f"{gdal.short_name(path)} does not fit it: not used as its mask")
    return None, said


def _is_mask(raster: Raster) -> bool:
    return raster.dtype == "uint8" and raster.count in (1, 8)


def _mask_name(mask: Raster) -> str:
    return "udm2" if mask.count > 1 else "udm"


def _unseen(mask: Raster) -> list[assembly.Hidden]:
    """Hide cloud and what is not usable; the ground shows through haze and shadow. An old mask has no better cloud."""
    if mask.count == 1:
        return [assembly.Hidden(mask.band(1), range(1, 256))]
    return [assembly.Hidden(mask.band(6), (1,)), assembly.Hidden(mask.band(8), _UNUSABLE)]


# Its date


def _date(file: _File, raster: Raster, metadata: list[str]) -> str:
    if found := file.item or _STRIP.fullmatch(file.stem):
        groups = found.groupdict()
        if groups["day"]:
            return _iso(groups["day"], "%Y-%m-%d")
        return _iso(groups["instant"], "%Y%m%d_%H%M%S")
    if found := file.mosaic:
        month = int(found["month"] or 3 * int(found["quarter"]) - 2)
        return f"{found['year']}-{month:02d}"
    for path in metadata:
        if found := _ACQUIRED.search(read_small(path)):
            return found[1] + "Z" * ("T" in found[1])
    return _iso(raster.tags.get("TIFFTAG_DATETIME", ""), "%Y:%m:%d %H:%M:%S")


def _iso(text: str, how: str) -> str:
    with suppress(ValueError):
        found = datetime.strptime(text, how)  # noqa: DTZ007 - Planet's instants are UTC, which "Z" says
        return f"{found:%Y-%m-%dT%H:%M:%SZ}" if "%H" in how else f"{found:%Y-%m-%d}"
    return ""
