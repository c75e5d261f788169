"""STAC items, on disk or on a server: their red, green and blue assets as one raster.

Catalogues differ. Earth Search names an offset of -0.1 although it has applied it, and says so elsewhere; Microsoft's
Planetary Computer names none, though files since baseline 04.00 have one; the Copernicus Data Space names it. Where an
item is wrong about it, as some of Earth Search's are, its pixels tell, not this module.

An item may come from anybody: what is read of it is bounded, one that came over a network may name nothing on this
machine, and an asset is opened as GeoTIFF or JPEG 2000 and nothing else, for GDAL would follow a VRT anywhere.
"""

from __future__ import annotations

import json
import math
import re
import time
import urllib.request
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from http.client import HTTPException
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote, urljoin, urlsplit

from geoscan import gdal, vrt
from geoscan.bands import marks_pixels
from geoscan.errors import SceneError
from geoscan.masks import UNSEEN_CLASSES
from geoscan.products import Product, Scaling, assembly, planet
from geoscan.products.rasters import Raster, covers, describe

if TYPE_CHECKING:
    import pystac

KIND: Final = "STAC item"

_COLORS: Final = ("red", "green", "blue")
_NAMES: Final = {"b04": "red", "b03": "green", "b02": "blue"} | {color: color for color in _COLORS}
"""What bands and assets are called; the first three are Sentinel-2's."""

_PICTURE: Final = {"visual", "tci"}
"""Words in the key or roles of an asset that is made to be looked at: taken for want of anything better."""

_NEVER: Final = {"thumbnail", "overview", "preview", "metadata"}
"""Words in the key or roles of an asset that is never taken."""

_MASK: Final = "scl"
_SIZE: Final = re.compile(r"[_-](?:\d+m|jp2)$")
"""What a key has behind the name of its band."""

_IMAGE: Final = re.compile(r"\.(?:tiff?|jp2|vrt)$", re.IGNORECASE)
_RASTER: Final = re.compile(r"image/(?:tiff|jp2|vnd\.stac\.geotiff)\b.*", re.IGNORECASE)

_ONLINE: Final = ("http", "https", "s3", "gs", "az", "oss")
_MICROSOFT: Final = "https://planetarycomputer.microsoft.com/"
_SIGNED: Final = ".blob.core.windows.net"
"""Hosts of Microsoft's that want a signature, which GDAL fetches."""

_OFFSET_SINCE: Final = 4.0
"""Sentinel-2's processing baseline; older files have no offset."""

_LARGEST: Final = 4 * 2**20
"""Bytes of an item; real ones have up to 100 kB."""

_LONGEST: Final = 4096
"""Characters of an href."""

_WAIT_S: Final = 30.0
_INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\d(?:T\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)?)?")


def recognise(path: str) -> Product | None:
    """Recognise a STAC item: a JSON file here, or at an http or https URL.

    Red, green and blue are the finest assets, or bands of an asset, with these common names, or else so called; or else
    those of its visual asset. The mask is the asset "SCL", Sentinel-2's scene classification. Where they are one file
    here that is Planet's, it is read as it would be without its item.
    Raises SceneError for an item that cannot be fetched or is malformed, has no such assets, or whose assets cannot be
    opened or lie on different grids; and for a catalogue or a collection.
    """
    source = _Source.of(path)
    content = source.content() if source else None
    if source is None or content is None:
        return None
    item = _Item.of(content, source)
    assets = _assets(item)
    colors = [_opened(one, item) for one in _colors(assets, item)]
    place, dtype = _common(colors, item)
    if found := _of_planets(colors):
        return replace(
            found,
            date=found.date or item.date,
            files=(*found.files, path),
            unread=tuple(file for file in _around(item, place) if file not in found.files),
        )
    classes, said = _classes(assets, item, place)
    if not classes and (marks := ", ".join(_marks(item))):
        said.append(f"nothing is made of its assets {marks}: what they mark, such as clouds, counts as seen")
    files = [one.raster.path for one in (*colors, *([classes] if classes else []))]
    return Product(
        address=assembly.stack(place, [one.band() for one in colors], dtype, [*_fill(colors), *_unseen(classes)]),
        name=_shown(str(item.stac.id)),
        kind=KIND,
        bands=(1, 2, 3),
        scaling=_scaling(item, colors),
        mask="scene classification" if classes else "",
        date=item.date,
        files=(path, *dict.fromkeys(files)),
        unread=tuple(file for file in _around(item, place) if file not in files),
        warnings=tuple(said),
    )


# The item


@dataclass(frozen=True, slots=True)
class _Source:
    """Where an item lies, which says what its hrefs may mean."""

    path: str
    """Absolute path, or URL."""

    is_remote: bool

    @classmethod
    def of(cls, path: str) -> _Source | None:
        """Give the source of what may be an item by its name; None for anything else."""
        where = path.partition("?")[0]
        is_json = where.lower().endswith((".json", ".geojson"))
        if path.startswith(("http://", "https://")):
            is_api = "/items/" in where and not _IMAGE.search(where)
            return cls(path, True) if is_json or is_api else None
        if not is_json:
            return None
        if gdal.is_remote(path) and not path.startswith("file://"):
            raise SceneError(
                f"{gdal.short_name(path)} lies where no item is read; give its https address, or download it"
            )
        file = Path(gdal.vsi_name(path))
        return cls(str(file.absolute()), False) if gdal.exists(str(file)) and file.is_file() else None

    @property
    def name(self) -> str:
        return gdal.short_name(self.path)

    def content(self) -> dict[str, Any] | None:
        """Read the item; None for what is no STAC."""
        text, content = self._read(), None
        with suppress(ValueError, RecursionError):  # no JSON, or no text
            content = json.loads(text)
        if not isinstance(content, dict):
            return None
        kind = content.get("type")
        inside = content.get("features")
        if isinstance(inside, list) and inside and isinstance(inside[0], dict) and "stac_version" in inside[0]:
            raise SceneError(f"{self.name} holds {len(inside)} STAC items; give one of them, in a file of its own")
        if "stac_version" not in content:
            return None
        if kind != "Feature":
            raise SceneError(f"{self.name} is a STAC {_shown(str(kind))}, not an item; give one of its items")
        return content

    def _read(self) -> bytes:
        try:
            with self._opened() as stream:
                end, parts, size = time.monotonic() + 2 * _WAIT_S, [], 0
                while size <= _LARGEST and (part := stream.read(65_536)):
                    if time.monotonic() > end:
                        raise TimeoutError("it takes too long")
                    parts.append(part)
                    size += len(part)
        except (OSError, HTTPException) as error:
            why = " ".join(str(error).split())
            raise SceneError(f"{self.name} cannot be fetched: {why}; check its address, or download it") from error
        return b"".join(parts) if size <= _LARGEST else b""

    def _opened(self) -> Any:
        if not self.is_remote:
            return Path(self.path).open("rb")
        asked = urllib.request.Request(self.path, headers={"Accept": "application/geo+json, application/json"})
        return urllib.request.urlopen(asked, timeout=_WAIT_S)

    def address(self, href: str) -> str:
        """Find what an href means.

        Raises SceneError for one that is no path and no URL, or means a local file though the item is remote.
        """
        shown = _shown(href)
        if len(href) > _LONGEST or not href.isprintable():
            raise SceneError(f"{self.name} has an href that no file has: {shown}; get the item again")
        try:
            full = urljoin(self.path, href) if self.is_remote else href
            scheme = urlsplit(full).scheme
        except ValueError:  # broken brackets
            full, scheme = href, "none"
        if scheme in _ONLINE:
            return full
        if self.is_remote:
            raise SceneError(
                f"{self.name} comes over a network and names {shown}, which is not there; download the item to use it"
            )
        if scheme not in ("", "file"):
            raise SceneError(f"{self.name} names {shown}; geoscan reads paths, and {', '.join(_ONLINE)}")
        folder, name = Path(self.path).parent, gdal.vsi_name(href)
        literal, meant = str(folder / name), str(folder / unquote(name))
        return meant if gdal.exists(meant) and not gdal.exists(literal) else literal


@dataclass(frozen=True, slots=True)
class _Item:
    source: _Source
    stac: pystac.Item
    is_microsofts: bool
    """It comes from the Planetary Computer."""

    @classmethod
    def of(cls, content: dict[str, Any], source: _Source) -> _Item:
        """Make an item of JSON, or raise SceneError."""
        import pystac  # not needed to start

        try:
            links = [link.get("href") for link in content.get("links", ())]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of what is deprecated in old items
                item = pystac.Item.from_dict(content)
        except (pystac.STACError, LookupError, AttributeError, TypeError, ValueError, RecursionError) as error:
            why = _shown(" ".join(str(error).split()))
            raise SceneError(f"{source.name} is a malformed STAC item ({why}); get it again") from error
        return cls(source, item, any(isinstance(link, str) and link.startswith(_MICROSOFT) for link in links))

    @property
    def name(self) -> str:
        """That of its file, for messages."""
        return self.source.name

    @property
    def date(self) -> str:
        """When it was taken; empty where nothing that is an instant is given."""
        for key in ("datetime", "start_datetime"):
            instant = self.stac.properties.get(key)
            if isinstance(instant, str) and _INSTANT.fullmatch(instant):
                return instant
        return ""

    @property
    def baseline(self) -> float:
        """Sentinel-2's processing baseline; 0 where the item names none."""
        for key in ("s2:processing_baseline", "sentinel:processing_baseline"):
            text = self.stac.properties.get(key)
            if isinstance(text, str) and re.fullmatch(r"\d\d\.\d\d", text):
                return float(text)
        return 0.0

    @property
    def is_shifted_back(self) -> bool:
        """Earth Search says that it has applied the offset to the pixels."""
        keys = ("earthsearch:boa_offset_applied", "sentinel:boa_offset_applied")
        return any(self.stac.properties.get(key) is True for key in keys)


def _shown(text: str) -> str:
    """Make text of an item fit for a message."""
    return "".join(char if char.isprintable() else "?" for char in text[:200])


# Its assets


@dataclass(frozen=True, slots=True)
class _Asset:
    """A band of an asset."""

    key: str
    href: str
    number: int
    """Of the band in its file, from 1."""

    name: str
    """red, green, blue, scl."""

    is_picture: bool
    about: dict[str, Any]
    """What the item says of the band; without the names of extensions."""

    @property
    def is_radiance(self) -> bool:
        """The item names a unit of radiance; reflectance has none."""
        unit = self.about.get("unit")
        return isinstance(unit, str) and unit.lower().startswith("w")

    @property
    def rank(self) -> tuple[float, bool]:
        """The best has the least: the finest, and GeoTIFF before JPEG 2000."""
        gsd = _number(self.about.get("gsd", self.about.get("spatial_resolution")))
        return math.inf if gsd is None else gsd, _is_jp2(self.href)


def _is_jp2(href: str) -> bool:
    return href.partition("?")[0].lower().endswith(".jp2")


def _assets(item: _Item) -> list[_Asset]:
    """List the bands that may be of use, in the item's order."""
    found = []
    for key, asset in item.stac.assets.items():
        roles = asset.roles if isinstance(asset.roles, list) else []
        words = _words(key) | {str(role).lower() for role in roles}
        if words & _NEVER or not _is_raster(asset):
            continue
        is_picture = bool(words & _PICTURE)
        bands = _described_bands(asset, key, item)
        if is_picture and not any("name" in band or "common_name" in band for band in bands):
            bands = [{"name": color} for color in _COLORS]
        for number, about in enumerate(bands, 1):
            name = _name(about, key if len(bands) == 1 else "")
            found.append(_Asset(key, asset.href, number, name, is_picture, about))
    return found


def _words(key: str) -> set[str]:
    return set(re.split(r"[\W_]+", key.lower()))


def _is_raster(asset: pystac.Asset) -> bool:
    if isinstance(asset.media_type, str):
        return _RASTER.fullmatch(asset.media_type) is not None
    return _IMAGE.search(asset.href.partition("?")[0]) is not None


def _described_bands(asset: pystac.Asset, key: str, item: _Item) -> list[dict[str, Any]]:
    """Gather what an item says of each band of an asset, in whatever version of STAC."""
    fields = asset.extra_fields
    named = fields.get("bands") or fields.get("eo:bands") or [{}]
    rasters = fields.get("raster:bands") or []
    if not all(isinstance(one, list) and all(isinstance(band, dict) for band in one) for one in (named, rasters)):
        raise SceneError(f"{item.name} is a malformed STAC item: its asset {_shown(key)} has no list of bands")
    shared = _plain({name: value for name, value in fields.items() if not isinstance(value, list | dict)})
    pairs: Iterator[tuple[dict[str, Any], dict[str, Any]]] = zip_longest(rasters[: len(named)], named, fillvalue={})
    return [shared | _plain(raster) | _plain(band) for raster, band in pairs]


def _plain(fields: dict[str, Any]) -> dict[str, Any]:
    return {name.rpartition(":")[2]: value for name, value in fields.items()}


def _name(about: dict[str, Any], key: str) -> str:
    for text in (about.get("common_name"), about.get("name"), key):
        name = _SIZE.sub("", text.lower()) if isinstance(text, str) else ""
        if name == _MASK or name in _NAMES:
            return _NAMES.get(name, name)
    return ""


def _colors(assets: Sequence[_Asset], item: _Item) -> list[_Asset]:
    for is_picture in (False, True):
        usable = [one for one in assets if one.is_picture == is_picture]
        named = [[one for one in usable if one.name == color] for color in _COLORS]
        if all(named):
            return [min(ones, key=lambda one: one.rank) for ones in named]
    have = ", ".join(dict.fromkeys(_shown(one.key) for one in assets))
    raise SceneError(f"{item.name} has no assets for red, green and blue among its rasters ({have[:200] or 'none'})")


# Their files


@dataclass(frozen=True, slots=True)
class _Opened:
    asset: _Asset
    raster: Raster

    def band(self, *, mask: bool = False) -> assembly.Band:
        return self.raster.band(self.asset.number, mask=mask)


def _opened(asset: _Asset, item: _Item) -> _Opened:
    address = item.source.address(asset.href)
    if item.is_microsofts and (urlsplit(address).hostname or "").endswith(_SIGNED) and "sig=" not in address:
        address = f"/vsicurl?pc_url_signing=yes&url={quote(address, safe='')}"
    try:
        raster = describe(address, _driver(asset.href))
    except SceneError as error:
        why = re.sub(r"\?[^\s']*", "", str(error))  # what follows in a URL may be a secret
        todo = "check the address, and that you have access to it" if gdal.is_remote(address) else "check the path"
        raise SceneError(f"{item.name}: its asset {_shown(asset.key)} cannot be opened: {why}; {todo}") from error
    if asset.number > raster.count:
        raise SceneError(f"{item.name}: its asset {_shown(asset.key)} has no band {asset.number}; get the item again")
    return _Opened(asset, raster)


def _common(colors: Sequence[_Opened], item: _Item) -> tuple[assembly.Place, str]:
    """Give the grid and the type that the three have in common."""
    kinds = {(one.raster.place, one.raster.layers[one.asset.number - 1].dtype) for one in colors}
    if len(kinds) > 1:
        keys = ", ".join(_shown(one.asset.key) for one in colors)
        raise SceneError(f"{item.name}: its assets {keys} differ in grid or type; they cannot be laid over each other")
    place, dtype = kinds.pop()
    if not vrt.takes(dtype):
        raise SceneError(f"{item.name}: its assets have {dtype} values; give optical scenes of the usual types")
    return place, dtype


def _driver(href: str) -> str:
    """Name the driver of GDAL's that alone may open an asset."""
    return "JP2OpenJPEG" if _is_jp2(href) else "GTiff"


def _of_planets(colors: Sequence[_Opened]) -> Product | None:
    """Give Planet's product that all colours come from, with the mask beside it; None for anything else."""
    paths = {one.raster.path for one in colors}
    path = paths.pop()
    return None if paths or gdal.is_remote(path) else planet.recognise(path)


def _around(item: _Item, place: assembly.Place) -> list[str]:
    """List the item's files on this machine, but for rasters of other ground, which are scenes of their own."""
    found = []
    for asset in item.stac.assets.values():
        with suppress(SceneError):  # what cannot be read is none of its files
            address = item.source.address(asset.href)
            if not gdal.is_remote(address) and gdal.exists(address) and not _lies_elsewhere(address, place):
                found.append(address)
    return list(dict.fromkeys(found))


def _lies_elsewhere(path: str, place: assembly.Place) -> bool:
    with suppress(SceneError):  # what is no raster with a place, such as a picture to look at, is of this one
        own = describe(path, _driver(path)).place
        return not (covers(own, place) and covers(place, own))
    return False


def _fill(colors: Sequence[_Opened]) -> list[assembly.Hidden]:
    """Hide what is invalid in all three, as their files say, else as the item says."""
    if any(one.raster.masked for one in colors):
        return [assembly.hidden_in_all([one.band(mask=True) for one in colors], 0)]
    nodata = _number(colors[0].asset.about.get("nodata"))
    if nodata is None or nodata != int(nodata):
        return []
    return [assembly.hidden_in_all([one.band() for one in colors], int(nodata))]


def _classes(assets: Sequence[_Asset], item: _Item, place: assembly.Place) -> tuple[_Opened | None, list[str]]:
    """Open the scene classification, if the item has one that is there; and say why one is not used."""
    named = [one for one in assets if one.name == _MASK]
    if not named:
        return None, []
    asset = min(named, key=lambda one: one.rank)
    address = item.source.address(asset.href)
    if not gdal.is_remote(address) and not gdal.exists(address):
        return None, ["its scene classification is not there: clouds are not masked"]
    classes = _opened(asset, item)
    if covers(classes.raster.place, place) and covers(place, classes.raster.place):
        return classes, []
    return None, ["its scene classification is of other ground: clouds are not masked"]


def _marks(item: _Item) -> list[str]:
    """Name the assets that seem to mark pixels, but for the scene classification."""
    return [
        _shown(key)
        for key, asset in item.stac.assets.items()
        if _SIZE.sub("", key.lower()) != _MASK and marks_pixels(key) and not _words(key) & _NEVER and _is_raster(asset)
    ]


def _unseen(classes: _Opened | None) -> list[assembly.Hidden]:
    return [assembly.Hidden(classes.band(), UNSEEN_CLASSES)] if classes else []


# Their scaling


def _scaling(item: _Item, colors: Sequence[_Opened]) -> Scaling | None:
    """Tell how values become reflectance, as far as the item or else its files say, or must be right for what it is."""
    pairs = [_pair(one.asset) for one in colors]
    baseline, applied = item.baseline, item.is_shifted_back
    if colors[0].asset.is_picture:
        return None
    if None in pairs and not applied and not (item.is_microsofts and baseline):
        pairs = [pair or _own_pair(one) for pair, one in zip(pairs, colors, strict=True)]
        if None in pairs:
            return None
    elif None in pairs:
        pairs = [(1e-4, -0.1 if baseline >= _OFFSET_SINCE and not applied else 0.0)] * 3
    elif applied or 0 < baseline < _OFFSET_SINCE:
        pairs = [(pair[0], 0.0) for pair in pairs if pair]
    red, green, blue = (pair for pair in pairs if pair)
    return Scaling((red[0], green[0], blue[0]), (red[1], green[1], blue[1]), "metadata")


def _pair(asset: _Asset) -> tuple[float, float] | None:
    """Scale and offset that the item names for reflectance."""
    scale, offset = _number(asset.about.get("scale")), _number(asset.about.get("offset"))
    return None if scale is None or scale <= 0 or asset.is_radiance else (scale, offset or 0.0)


def _own_pair(color: _Opened) -> tuple[float, float] | None:
    """Scale and offset that a file names for itself; None where its item names some, or the file names none."""
    own = color.raster.layers[color.asset.number - 1]
    is_told = color.asset.is_radiance or not {"scale", "offset"}.isdisjoint(color.asset.about)
    return None if is_told or (own.scale, own.offset) == (1.0, 0.0) else (own.scale, own.offset)


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    with suppress(OverflowError):
        return float(value) if math.isfinite(value) else None
    return None
