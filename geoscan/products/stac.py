"""STAC items, on disk or on a server: their red, green and blue assets as one raster.

Catalogues differ. Earth Search names an offset of -0.1 although it has applied it, and says so elsewhere; Microsoft's
Planetary Computer names none, though files since baseline 04.00 have one; the Copernicus Data Space names it. Where an
item is wrong about it, as some of Earth Search's are, its pixels tell, not this module.

An item may come from anybody: what is read of it is bounded, one that came over a network may name nothing on this
machine, and an asset is opened as GeoTIFF or JPEG 2000 and nothing else, for GDAL would follow a VRT anywhere.
"""

from __future__ import annotations

import json
import logging
import re
import time
import urllib.request
import warnings
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urljoin, urlsplit

from geoscan import gdal
from geoscan.errors import SceneError
from geoscan.products import Product, vrt
from geoscan.products.rasters import Raster, describe

if TYPE_CHECKING:
    import pystac

log = logging.getLogger(__name__)

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

_RASTER: Final = re.compile(r"image/(?:tiff|jp2|vnd\.stac\.geotiff)\b.*", re.IGNORECASE)
_DRIVERS: Final = ("GTiff", "JP2OpenJPEG", "JP2KAK", "JP2ECW", "JP2MrSID")

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
    those of its visual asset. The mask is the asset "SCL", Sentinel-2's scene classification.
    Raises SceneError for an item that cannot be fetched or is malformed, has no such assets, or whose assets cannot be
    opened or lie on different grids; and for a catalogue or a collection.
    """
    source = _Source.of(path)
    content = source.content() if source else None
    if source is None or content is None:
        return None
    item = _parsed(content, source)
    found = _found(item, source)
    colors = _colors(found, source)
    rasters = [source.raster(one) for one in colors]
    place, dtype = _common(rasters, colors, source)
    hidden, mask = _hidden(rasters, colors, found, source)
    bands = [raster.band(one.number) for raster, one in zip(rasters, colors, strict=True)]
    return Product(
        address=vrt.stack(place, bands, dtype, hidden),
        name=_shown(str(item.id)),
        kind=KIND,
        bands=(1, 2, 3),
        scaling=None if colors[0].is_picture else _scaling(item, colors),
        mask=mask,
        date=_date(item),
        files=(path, *dict.fromkeys(band.path for band in bands)),
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
            return cls(path, True) if is_json or "/items/" in where else None
        if not is_json or gdal.is_remote(path):
            return None
        file = Path(gdal.vsi_name(path))
        return cls(str(file.absolute()), False) if gdal.exists(str(file)) and file.is_file() else None

    @property
    def name(self) -> str:
        return gdal.short_name(self.path)

    def content(self) -> dict[str, Any] | None:
        """Read the item; None for what is no STAC."""
        content: Any = None
        with suppress(ValueError, RecursionError):  # no JSON, or no text
            content = json.loads(self._read())
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
        scheme = _scheme(urljoin(self.path, href) if self.is_remote else href)
        if scheme in _ONLINE:
            return urljoin(self.path, href) if self.is_remote else href
        if self.is_remote:
            raise SceneError(
                f"{self.name} comes over a network and names {shown}, which is not there; download the item to use it"
            )
        if scheme not in ("", "file"):
            raise SceneError(f"{self.name} names {shown}; geoscan reads paths, and {', '.join(_ONLINE)}")
        return str(Path(self.path).parent / gdal.vsi_name(href))

    def raster(self, asset: _Asset) -> Raster:
        """Open the raster of an asset, or raise SceneError."""
        try:
            raster = describe(asset.address, _DRIVERS)
        except SceneError as error:
            why = re.sub(r"\?[^\s']*", "", str(error))  # what follows may be a secret
            todo = "check the path" if not gdal.is_remote(asset.address) else "check the address and your access to it"
            raise SceneError(f"{self.name}: its asset {asset.key} cannot be opened: {why}; {todo}") from error
        if asset.number > raster.count:
            raise SceneError(f"{self.name}: its asset {asset.key} has {raster.count} bands, and none {asset.number}")
        return raster


def _scheme(href: str) -> str:
    try:
        return urlsplit(href).scheme
    except ValueError:
        return "none"  # broken in a way that no server would bear


def _parsed(content: dict[str, Any], source: _Source) -> pystac.Item:
    import pystac  # not needed to start

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what is deprecated in old items
            return pystac.Item.from_dict(content)
    except (pystac.STACError, LookupError, AttributeError, TypeError, ValueError, RecursionError) as error:
        raise SceneError(
            f"{source.name} is a malformed STAC item ({_shown(' '.join(str(error).split()))}); get it again"
        ) from error


def _date(item: pystac.Item) -> str:
    for key in ("datetime", "start_datetime"):
        instant = item.properties.get(key)
        if isinstance(instant, str) and _INSTANT.fullmatch(instant):
            return instant
    return ""


def _shown(text: str) -> str:
    """Make text of an item fit for a message."""
    return "".join(char if char.isprintable() else "?" for char in text[:200])


# Its assets


@dataclass(frozen=True, slots=True)
class _Asset:
    """A band of an asset."""

    key: str
    address: str
    number: int
    """Of the band in its file, from 1."""

    name: str
    """red, green, blue, scl."""

    is_picture: bool
    gsd: float
    """Metres; infinite where nobody says."""

    about: dict[str, Any]
    """What the item says of the band; keys without their extension."""

    @property
    def rank(self) -> tuple[float, bool]:
        """The best has the least: the finest, and GeoTIFF before JPEG 2000."""
        return self.gsd, self.address.lower().endswith(".jp2")
