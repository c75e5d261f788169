"""How GDAL is spoken to: its names for places, its settings, its error messages."""

from __future__ import annotations

import base64
import hashlib
import logging
import os
import re
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio._path import _parse_path, _vsi_path
from rasterio.enums import Interleaving
from rasterio.env import get_gdal_config, set_gdal_config
from rasterio.errors import RasterioError
from rasterio.io import MemoryFile
from rasterio.windows import Window

from geoscan import __version__, grid, reach, vrt
from geoscan.errors import InputError, SceneError, one_line
from geoscan.reach import check_driver as check_driver
from geoscan.reach import is_remote as is_remote

FAILURES: Final = (RasterioError, CPLE_BaseError, OSError, UnicodeDecodeError)
"""What rasterio raises when a file is at fault; some of GDAL's own errors slip through under their private root, and of
words in them that are no UTF-8 it makes an error of its own."""


_VRT_TEXT: Final = re.compile(r"<VRTDataset.*</VRTDataset>|<VRTDataset.*", re.DOTALL)
"""An address that stands for itself (see `geoscan.vrt`), which no message is to quote; GDAL may cut it off."""

_KEPT: Final = re.compile(r"geoscan-kept:(\w+)=([A-Za-z0-9+/=]*)")
"""In a VRT's text: the name and the content of a file that it holds, see `kept`."""

CACHE_BYTES: Final = 256 * 2**20
"""Of decoded blocks in GDAL's cache; its default is a share of the machine's memory, so a scan's would depend on the
machine. No single block may have more: each thread would hold one, and decode it anew for each chip."""

_SECRET: Final = re.compile(r"(://[^\s?'\"]+)\?[^\s'\"]*")
"""What follows a "?" in a URL: a signature."""


PATH_END: Final = re.compile(r'[/:"?!}]')
"""What may stand behind a path in a name of GDAL's or rasterio's, or behind a folder in the path."""

_FRONT: Final = re.compile(r'(?:[\w+]+://|/vsi(?!mem\b)\w+/(?:\d+_\d+,)?|\w+:(?:\d+:)?|["{])+')
"""What may stand before one: schemes, archives, a part of a file, drivers, quotes and braces, several of them."""

_POOL: Final = "GDAL_MAX_DATASET_POOL_SIZE", 100
"""GDAL's name and own value for the number of files that VRTs are made of and that it keeps open, of all threads."""

_LARGEST_POOL: Final = 1000
"""However many are asked for."""


@cache
def _limit_cache() -> None:
    """Set the sizes of GDAL's caches, which all threads share: an Env would undo it while other threads read."""
    for name, size in (("GDAL_CACHEMAX", CACHE_BYTES), _POOL):
        if name not in os.environ:
            set_gdal_config(name, size)


_FOLDER: Final = "geoscan-kept"
_UNPACKED: Final[dict[str, MemoryFile]] = {}
"""By name, for as long as the process lives: they are small, and equal ones are one."""


class _Ear(threading.local):
    """Where a thread that listens keeps what GDAL says in it."""

    said: list[str] | None = None


_EAR: Final = _Ear()


class _Failures:
    """How often GDAL has failed in this process, and as of which time it was made to forget that, see `try_anew`."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.count = 0
        self.forgotten = 0


_FAILURES: Final = _Failures()


def failed() -> None:
    """Note that GDAL has failed."""
    _FAILURES.count += 1


def _hear(record: logging.LogRecord) -> bool:
    """Keep a record of rasterio's for the thread that listens; leave it to the log where none does."""
    if record.levelno >= logging.ERROR or record.name == "rasterio._err":
        failed()
    if _EAR.said is None:
        # Errors that rasterio raises, too, it logs as information: wanted only while somebody listens.
        return record.levelno >= logging.WARNING or logging.getLogger("rasterio").isEnabledFor(record.levelno)
    if isinstance(record.args, tuple) and record.args:
        _EAR.said.append(presentable(str(record.args[-1])))
    return False


for _name in ("rasterio._env", "rasterio._err"):
    logging.getLogger(_name).addFilter(_hear)
    logging.getLogger(_name).setLevel(logging.INFO)


@contextmanager
def settings(address: str, *, follow: bool = False) -> Iterator[list[str]]:
    """Hold GDAL's settings for reading `address`, in this one place; give what GDAL says meanwhile in this thread.

    follow: whether a file on this machine may lead to a network, as a VRT can. No code in a VRT is ever run.
    What GDAL could not open before, it tries anew.

    Its warnings and errors come to that list in place of rasterio's log. That is how GDAL tells of damage that it can
    read over: the read goes well, and gives grey pixels.
    """
    _limit_cache()
    _unpack(address)
    # More threads than this one would print what GDAL has to say, and nobody could hear it.
    # Its short cut to all of a PNG makes black pixels of one that was cut off, and says nothing.
    how: dict[str, Any] = {"GDAL_NUM_THREADS": "1", "GDAL_PNG_WHOLE_IMAGE_OPTIM": "NO"}
    how |= reach.settings(address, follow=follow)
    before, _EAR.said = _EAR.said, []
    try:
        with rasterio.Env(**how):
            try_anew()
            yield _EAR.said
    finally:
        _EAR.said = before


def try_anew() -> None:
    """Let GDAL open again what it could not open, within `settings`; do nothing where it has not failed.

    GDAL keeps the files that VRTs are made of in a pool, and among them those that it could not open. It says so once,
    and from then on takes them for black ground or for nodata, even when the VRT is opened anew. It forgets them as
    others take their place.
    """
    if _FAILURES.forgotten == _FAILURES.count:
        return
    with _FAILURES.lock:  # nobody reads on before it is done
        if _FAILURES.forgotten == (count := _FAILURES.count):
            return
        with rasterio.open(_fillers(_pool_size())) as source:
            source.read(1)
        _FAILURES.forgotten = count


def _pool_size() -> int:
    """Give the number of files in GDAL's pool, or more."""
    name, usual = _POOL
    return usual if get_gdal_config(name) == usual else _LARGEST_POOL


@lru_cache(maxsize=1)
def _fillers(count: int) -> str:
    """Make a VRT of `count` others, each a pixel that is nowhere stored, so that no file is opened for it."""
    pixel = grid.Window(0, 0, 1, 1)
    sources = "".join(
        vrt.source(vrt.nested(f"<!--{n}-->", (1, 1)), 1, own=pixel, at=grid.Window(0, n, 1, 1)) for n in range(count)
    )
    band = vrt.band(1, "uint8", "Undefined", sources)
    return vrt.dataset((1, count), band, "<GeoTransform>0, 1, 0, 1, 0, -1</GeoTransform>")


def kept(content: bytes) -> tuple[str, str]:
    """Keep a small file in the text of a VRT, so that it travels with it and none is written.

    Returns what GDAL calls the file, within `settings` for an address that holds the text, and the text, for any place
    in the VRT where words may stand.
    """
    name = hashlib.sha256(content).hexdigest()[:16]
    return f"/vsimem/{_FOLDER}/{name}", f"geoscan-kept:{name}={base64.b64encode(content).decode()}"


@lru_cache(maxsize=32)
def _unpack(address: str) -> None:
    """Put the files that the text of a VRT holds where GDAL finds them, in this process."""
    if address.startswith("<"):
        for name, content in _KEPT.findall(address):
            if name not in _UNPACKED:
                _UNPACKED[name] = MemoryFile(base64.b64decode(content), dirname=_FOLDER, filename=name)


def harmless(said: str) -> bool:
    """Tell whether what GDAL says does not touch pixels: a server that was busy is asked again."""
    return "Retrying again in" in said


_MOST_BANDS: Final = 4096
"""Each takes time and memory as soon as a file is opened."""

_BYTES: Final = {"complex_int16": 4} | {
    np.dtype(code).name: np.dtype(code).itemsize for code in np.typecodes["AllInteger"] + np.typecodes["AllFloat"]
}
"""Of a value, by rasterio's names of types."""


def check_blocks(source: Any) -> None:
    """Check how large the blocks are that an open dataset says it is stored in, before one of them takes memory.

    Raises SceneError, with the cause alone, for one of more than `CACHE_BYTES`, and for more bands than anybody has.
    """
    if source.count > _MOST_BANDS:
        raise SceneError(
            f"it has {source.count:,} bands, of which {_MOST_BANDS:,} fit; store red, green and blue alone"
        )
    # Of JPEG 2000 it is not asked: GDAL looks through a damaged file for the answer without end.
    together = source.count if source.driver == "GTiff" and source.interleaving == Interleaving.pixel else 1
    for (rows, cols), dtype in zip(source.block_shapes, source.dtypes, strict=True):
        size = rows * cols * _BYTES.get(dtype, 16) * together
        if size > CACHE_BYTES:
            raise SceneError(
                f"it is stored in blocks of {cols} x {rows} px, {size >> 20:,} MB each, of which {CACHE_BYTES >> 20} "
                "MB fit; store it in smaller ones: gdal_translate -co TILED=YES"
            )


def is_plain(address: str) -> bool:
    """Tell whether `address` can be nothing but a file's path: no scheme, driver or archive in front, no VRT's text."""
    return not is_remote(address) and not address.startswith(("/vsi", "<")) and ":" not in address


def is_utf8(address: str) -> bool:
    """Tell whether GDAL can be given `address`: a file's name may be any bytes, which Python carries as surrogates."""
    try:
        address.encode()
    except UnicodeEncodeError:
        return False
    return True


def absolute(name: str) -> str:
    """Make a name such that a process with another working directory finds the same file.

    name: a path, or with a scheme, a driver or an archive in front of one: `/vsizip/a.zip/b.tif`, `vrt://a.tif?bands=1`.
    """
    if exists(name):
        return str(Path(name).absolute())
    front = _FRONT.match(name)
    if front is None or is_remote(name):
        return name
    path = name[front.end() :]
    ends = (*(end.start() for end in PATH_END.finditer(path)), len(path))
    is_here = ends[0] > 0 and any(exists(path[:end]) for end in ends)
    return f"{front[0]}{Path.cwd()}/{path}" if is_here else name


def exists(address: str) -> bool:
    """Tell whether a file or a folder is seen at `address`; what is too long for a name, as a VRT's text, is none."""
    try:
        return Path(address).exists()
    except OSError:
        return False


def short_name(address: str) -> str:
    """Cut `address` to its last part, for messages; what follows a "?" in a URL may be a secret."""
    return one_line(_parts(address)[-1] or address)


def short_names(addresses: Sequence[str]) -> list[str]:
    """Cut each to as few of its last parts as tell it from the others, where its parts do."""
    parts = [_parts(address) for address in addresses]
    depth = [1] * len(parts)
    while True:
        names = ["/".join(own[-n:]) or address for own, n, address in zip(parts, depth, addresses, strict=True)]
        count = Counter(names)
        alike = [i for i, name in enumerate(names) if count[name] > 1 and depth[i] < len(parts[i])]
        if not alike:
            return [one_line(name) for name in names]
        for i in alike:
            depth[i] += 1


def _parts(address: str) -> list[str]:
    address = _VRT_TEXT.sub("VRT", address)
    shown = address.split("?", 1)[0] if is_remote(address) else address
    parts = shown.rstrip("/").split("/")
    if ':"/' in shown:  # a driver's name, whose quotes hold the whole path
        parts[-1] = parts[-1].replace('"', "")
    return parts


def cause(error: BaseException) -> str:
    """Tell what GDAL said, on one line and without its full stop; where rasterio says "see previous exception", what
    that one says.
    """
    while error.__cause__ is not None:
        error = error.__cause__
    return presentable(str(getattr(error, "errmsg", "") or error)).removesuffix(".")


def presentable(text: str) -> str:
    """Bring words of GDAL's to one line, without a VRT's text, as which it may name a product, and without secrets."""
    return one_line(_SECRET.sub(r"\1", _VRT_TEXT.sub("VRT", text)))


def vsi_name(address: str) -> str:
    """Name `address` as GDAL does, as the text of a VRT must; rasterio knows URLs that GDAL does not."""
    if address.startswith("zip://"):
        archive, _, inside = address.removeprefix("zip://").partition("!")
        return f"/vsizip/{archive}/{inside.lstrip('/')}"
    return str(_vsi_path(_parse_path(address)))


def by_points(source: Any) -> bool:
    """Tell whether ground control points alone place an open dataset on Earth."""
    return bool(source.gcps[0]) and (source.crs is None or source.transform == Affine.identity())


_SOFTWARE: Final = "TIFFTAG_SOFTWARE"
_OURS: Final = "geoscan "


def maker() -> dict[str, str]:
    """Tags of a GeoTIFF that say what made it."""
    return {_SOFTWARE: f"{_OURS}{__version__}"}


def made_here(source: Any) -> bool:
    """Tell whether an open dataset is one that geoscan has made."""
    return str(source.tags().get(_SOFTWARE, "")).startswith(_OURS)


def check_ours(path: Path) -> None:
    """Check that no raster is at `path` but one that geoscan has made, for another would be lost; raise InputError.

    What GDAL cannot open holds nothing.
    """
    if not path.is_file():
        return
    with suppress(*FAILURES), settings(str(path)), rasterio.open(path) as there:
        if not made_here(there):
            raise InputError(f"{path} is a raster that geoscan did not make, and would be lost; write to another file")


def read_bands(source: Any, bands: Sequence[int], window: Window) -> NDArray[Any]:
    """Read a window of bands that may differ in type, (bands, rows, cols), in one that holds them all."""
    return np.stack([source.read(band, window=window) for band in bands])


def sample_windows(source: Any) -> list[Window]:
    """Spread nine windows of up to 64 x 64 px over an open dataset."""
    corners = [(source.height * down // 6, source.width * across // 6) for down in (1, 3, 5) for across in (1, 3, 5)]
    return [Window(col, row, min(64, source.width - col), min(64, source.height - row)) for row, col in corners]


def samples(source: Any, bands: Sequence[int]) -> Iterator[NDArray[Any]]:
    """Read the windows of `sample_windows`, (bands, rows, cols) each."""
    return (read_bands(source, bands, window) for window in sample_windows(source))
