"""What GDAL may reach: what people name, and what lies beside it, but no host and no file that another file names."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Any, Final

from geoscan.errors import SceneError

_REMOTE: Final = (
    "/vsicurl",
    "/vsis3",
    "/vsigs",
    "/vsiaz",
    "/vsiadls",
    "/vsioss",
    "/vsiswift",
    "/vsihdfs",
    "/vsiwebhdfs",
)


_NETWORK: Final = {
    "GDAL_INGESTED_BYTES_AT_OPEN": 32768,  # the header of most GeoTIFFs in one request
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "GDAL_HTTP_MULTIPLEX": "YES",
    "GDAL_HTTP_CONNECTTIMEOUT": 10,
    "GDAL_HTTP_LOW_SPEED_TIME": 30,  # a server that falls silent is an error, not a wait without end
    "GDAL_HTTP_LOW_SPEED_LIMIT": 1,
    "GDAL_HTTP_MAX_RETRY": 3,
    "GDAL_HTTP_RETRY_DELAY": 1,
    "VSI_CACHE": "TRUE",
}

_SCHEME: Final = re.compile(r"(\w+)://")
_LOCAL: Final = frozenset(("file", "zip", "tar", "gzip", "vrt"))
"""Schemes of rasterio's and GDAL's that lead to no network."""

_CLOSED: Final = {
    "CPL_VSIL_CURL_ALLOWED_FILENAME": "none",
    "GDAL_HTTP_PROXY": "http://0.0.0.0:0",
    "GDAL_HTTPS_PROXY": "http://0.0.0.0:0",
}
"""No host is asked for anything: GDAL's file systems may open one file only, which is none, and what its drivers fetch
by themselves, such as WMS, goes through a proxy that is none."""

_FOLLOWING: Final = frozenset(
    ("VRT", "GTI", "MRF", "WMS", "WMTS", "WCS", "HTTP", "OGCAPI", "STACIT", "STACTA", "PLMosaic", "TIL", "DERIVED")
)
"""GDAL's drivers whose files hold no pixels but say where they are."""

_ARCHIVE: Final = re.compile(r"/vsi(zip|tar|gzip|7z|rar)\b|(?<!\w)(zip|tar|gzip)[+:]")
"""In an address: that the file lies inside of another."""

_BESIDE: Final = {"GDAL_DISABLE_READDIR_ON_OPEN": "FALSE", "GDAL_PAM_ENABLED": "YES"}
"""Masks, facts and pyramids that lie beside a file are read, whatever the user's environment says."""

_WITH_SIDECARS: Final = (".tif", ".tiff", ".gtiff", ".jp2")
"""Remote files beside which a mask may lie: of rasters made of others, such as VRTs, nobody knows the names."""


@lru_cache(maxsize=256)  # the text of a VRT may be long, and is looked at whenever it is read
def is_remote(address: str) -> bool:
    """Tell whether reading `address` goes through a network."""
    # In a VRT's text stand names as GDAL has them; archives and drivers may stand before those of a network.
    schemes = () if address.startswith("<") else _SCHEME.findall(address)
    return any(prefix in address for prefix in _REMOTE) or not _LOCAL.issuperset(schemes)


def check_driver(source: Any, address: str, *, follow: bool = False) -> None:
    """Check that a dataset that was opened at `address`, of which nothing was read yet, leads nowhere else.

    What comes over a network may name anything, files of this machine too. Raises SceneError, with the cause alone, for
    what does, unless it may be followed.
    """
    if not follow and source.driver in _FOLLOWING and not address.startswith("<") and is_remote(address):
        raise SceneError("it comes over a network and may name any file; pass --follow where you trust it")


def settings(address: str, *, follow: bool = False) -> dict[str, Any]:
    """GDAL's settings for a network while it reads `address`. No code in a VRT is ever run.

    follow: whether a file on this machine may lead to a network.
    """
    if is_remote(address):
        network: dict[str, Any] = _NETWORK | _looking_beside(address)
    else:
        network = _NETWORK if follow else _CLOSED
    return {"GDAL_VRT_ENABLE_PYTHON": "NO", **_BESIDE, **network}


def _looking_beside(address: str) -> dict[str, str]:
    """Let GDAL ask for mask, pyramids and statistics by the names they would have beside a remote file, and list no
    folder: that can take minutes for a bucket. Unbridled, it would ask for forty more names.
    """
    suffix = PurePosixPath(address).suffix
    has_none = suffix.lower() not in _WITH_SIDECARS or "?" in address or address.startswith("<")
    if has_none or _ARCHIVE.search(address):  # of an archive, its own name would have to be allowed, too
        return {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"}
    allowed = (suffix, *(suffix + ending for ending in (".msk", ".ovr", ".aux.xml")))
    return {"GDAL_DISABLE_READDIR_ON_OPEN": "TRUE", "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": ",".join(allowed)}
