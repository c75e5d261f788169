"""How GDAL is spoken to: its names for places, its settings, its error messages."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import rasterio
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.env import set_gdal_config
from rasterio.errors import RasterioError
from rasterio.windows import Window

from geoscan.errors import one_line

FAILURES: Final = (RasterioError, CPLE_BaseError, OSError)
"""What rasterio raises when a file is at fault; some of GDAL's own errors slip through under their private root."""

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


_CACHE_BYTES: Final = 256 * 2**20
"""Of decoded blocks; GDAL's default is a share of the machine's memory, so a scan's would depend on the machine."""


@cache
def _limit_cache() -> None:
    """Set the size of GDAL's cache, which all threads share: an Env would undo it while other threads read."""
    if "GDAL_CACHEMAX" not in os.environ:
        set_gdal_config("GDAL_CACHEMAX", _CACHE_BYTES)


def settings(address: str) -> rasterio.Env:
    """Hold GDAL's settings for reading `address`, in this one place."""
    _limit_cache()
    if not is_remote(address):
        return rasterio.Env()
    return rasterio.Env(
        GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR",  # listing a bucket or a web folder can take minutes
        GDAL_INGESTED_BYTES_AT_OPEN=32768,  # the header of most GeoTIFFs in one request
        GDAL_HTTP_MERGE_CONSECUTIVE_RANGES="YES",
        GDAL_HTTP_MULTIPLEX="YES",
        GDAL_HTTP_CONNECTTIMEOUT=10,
        GDAL_HTTP_LOW_SPEED_TIME=30,  # a server that falls silent is an error, not a wait without end
        GDAL_HTTP_LOW_SPEED_LIMIT=1,
        GDAL_HTTP_MAX_RETRY=3,
        GDAL_HTTP_RETRY_DELAY=1,
        VSI_CACHE="TRUE",
    )


def is_remote(address: str) -> bool:
    """Tell whether reading `address` goes through a network."""
    return "://" in address or address.startswith(_REMOTE)


def is_plain(address: str) -> bool:
    """Tell whether `address` can be nothing but a path of a file, without a scheme, driver or archive in front."""
    return not is_remote(address) and not address.startswith("/vsi") and ":" not in address


def is_utf8(address: str) -> bool:
    """Tell whether GDAL can be given `address`: a file's name may be any bytes, which Python carries as surrogates."""
    try:
        address.encode()
    except UnicodeEncodeError:
        return False
    return True


def absolute(path: str) -> str:
    """Make `path` such that a process with another working directory finds the same file."""
    return str(Path(path).absolute()) if exists(path) else path


def exists(address: str) -> bool:
    """Tell whether a file or a folder is seen at `address`; what is too long for a name, as a VRT's text, is none."""
    try:
        return Path(address).exists()
    except OSError:
        return False


def short_name(address: str) -> str:
    """Cut `address` to its last part, for messages; what follows a "?" in a URL may be a secret."""
    return _parts(address)[-1] or address


def short_names(addresses: Sequence[str]) -> list[str]:
    """Cut each to as few of its last parts as tell it from the others, where its parts do."""
    parts = [_parts(address) for address in addresses]
    depth = [1] * len(parts)
    while True:
        names = ["/".join(own[-n:]) or address for own, n, address in zip(parts, depth, addresses, strict=True)]
        count = Counter(names)
        alike = [i for i, name in enumerate(names) if count[name] > 1 and depth[i] < len(parts[i])]
        if not alike:
            return names
        for i in alike:
            depth[i] += 1


def _parts(address: str) -> list[str]:
    shown = address.split("?", 1)[0] if is_remote(address) else address
    return shown.rstrip("/").split("/")


def cause(error: BaseException) -> str:
    """Tell what GDAL said, on one line; rasterio's own "see previous exception" gives way to that exception."""
    while error.__cause__ is not None:
        error = error.__cause__
    return one_line(getattr(error, "errmsg", "") or error)


def vsi_name(address: str) -> str:
    """Name `address` as GDAL does; rasterio knows URLs that GDAL's own vrt:// does not."""
    for scheme, prefix in (("s3", "/vsis3/"), ("gs", "/vsigs/"), ("az", "/vsiaz/"), ("oss", "/vsioss/")):
        if address.startswith(f"{scheme}://"):
            return prefix + address[len(scheme) + 3 :]
    if address.startswith(("http://", "https://", "ftp://")):
        return f"/vsicurl/{address}"
    if address.startswith("zip://"):
        return "/vsizip/" + address[len("zip://") :].replace("!", "/", 1)
    return address.removeprefix("file://")


def selects(address: str) -> bool:
    """Tell whether vrt:// can pick bands of `address`: it ends a name at the first "?", as signed URLs have."""
    return "?" not in address


def samples(source: Any, bands: Sequence[int]) -> Iterator[NDArray[Any]]:
    """Read nine windows of up to 64 x 64 px, spread over the scene."""
    for down in (1, 3, 5):
        for across in (1, 3, 5):
            row, col = source.height * down // 6, source.width * across // 6
            size = min(64, source.width - col), min(64, source.height - row)
            yield source.read(bands, window=Window(col, row, *size))
