"""The files that a scene is read from, by whatever names: looked at before GDAL opens them, never written to."""

from __future__ import annotations

import os
import re
import stat
import warnings
import xml.etree.ElementTree as ElementTree
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import rasterio
from rasterio._path import _UnparsedPath
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import DatasetReader

from geoscan import gdal
from geoscan.errors import SceneError, one_line

BESIDE: Final = (".aux.xml", ".ovr", ".msk")
"""Endings of what GDAL reads beside a file: statistics and other facts, pyramids, the mask."""

_NO_PIXELS: Final = (".aux.xml", ".ovr")
"""A GIS may write these beside a scene while it is read; they do not change its pixels."""

_MADE_OF_OTHERS: Final = (b"<VRTDataset", b"<GDALTileIndexDataset", b"<MRF_META", b"EHFA_HEADER_TAG")
"""How files begin that hold no pixels, or not all of them, but say where they are."""

_MRF_ENDINGS: Final = ("idx", "ppg", "pjg", "pjp", "til", "pzp", "pzs", "ptf", "lrc", "pq3")
"""How files end in which an MRF keeps where its tiles are, and the tiles, unless it names others."""

_MRF_NAMED: Final = re.compile(r"<(?:DataFile|IndexFile)\b[^>]*>([^<]+)<")
"""Where it names others, beside it."""

_LARGEST_TEXT: Final = 2**20
"""Characters of an MRF that are looked at; real ones have some thousands."""

_TIFF: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""How GeoTIFFs begin, the only files that may be stored in one huge block."""

_SERVICE: Final = b"<GDAL_WMS"
"""How files begin that say where a service on a network is."""

_DRIVER: Final = re.compile(r'[A-Za-z]\w+:(?:\d+:)?"?')
"""How names begin that only one of GDAL's drivers understands, up to the path; what is no path may name a server."""

_BEGIN: Final = re.compile(r'(?:://|/vsi\w+/|[:"{,])')
"""What stands before a path in a name of GDAL's or rasterio's: a scheme, an archive, a driver."""


def named_in(name: str) -> list[str]:
    """Absolute paths of what a name stands for on this machine's disks: whatever is no directory.

    name: a path; or with a scheme, a driver or an archive in front of one, as rasterio and GDAL know them. The text of
    a VRT names none: GDAL tells what it is made of.
    """
    if name.startswith("<"):
        return []
    if _is_there(name):
        return [str(Path(name).absolute())]
    starts = [match.end() for match in _BEGIN.finditer(name)]
    found = (_longest(name[start:]) for start in (0, *starts))
    return list(dict.fromkeys(str(Path(path).absolute()) for path in found if path))


def check(name: str) -> None:
    """Look at what `name` stands for before GDAL does, which would wait for a pipe without end.

    Raises SceneError for a pipe, a device or a socket, and for an empty file.
    """
    if "/vsistdin" in name:
        raise SceneError(f"{name} is a pipe, and a scene is read back and forth; save it to a file first")
    for path in named_in(name):
        status = Path(path).stat()
        if not stat.S_ISREG(status.st_mode):
            kind = "a pipe" if stat.S_ISFIFO(status.st_mode) else "a device, not a file"
            raise SceneError(f"{path} is {kind}, and a scene is read back and forth; save it to a file first")
        if not status.st_size:
            raise SceneError(f"{path} is empty (0 bytes); fetch it again")


class Part(NamedTuple):
    """What a file names that says where pixels are."""

    name: str
    is_raster: bool
    """Whether it must be a raster that GDAL opens."""

    is_beside: bool = False
    """Whether it is read with a raster, and is none itself: pixels, or what GDAL must know of them."""


def behind(
    names: Iterable[str], scene: str, told: Iterable[Part] = (), *, follow: bool = False, beside: bool = True
) -> tuple[str, ...]:
    """Absolute paths of all local files that are read: those that `names` stand for, and what lies beside them.

    names: of a scene, as people or a product give them; VRTs among them are opened, and so are theirs.
    told: what the scene is made of, see `parts_of`. scene: what it is called. follow: whether what is told may lie on a
    network. beside: whether the parts that are no rasters themselves are wanted, too.
    Raises SceneError for what GDAL would wait for, for a part that does not exist, cannot be opened or lies on a
    network, and for a file far from a VRT that takes its bytes as they are.
    """
    found: dict[str, None] = {}
    opened: set[str] = set()
    waiting = deque(Part(name, is_raster=False) for name in names)
    waiting += _followed(told, scene, follow)
    # To list the folder for each of a thousand files in it would take a minute.
    heads = rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="TRUE")
    with gdal.settings("", follow=follow), heads, warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        while waiting:
            part = waiting.popleft()
            if part.is_beside and not beside:
                continue
            check(part.name)
            paths = named_in(part.name)
            if not paths and gdal.is_plain(part.name) and not gdal.exists(part.name):
                raise SceneError(
                    f"{scene} is made of {part.name}, which does not exist; put it there, or make {scene} anew"
                )
            new = [path for path in paths if path not in found]
            found |= dict.fromkeys(file for path in new for file in (path, *_beside(path)))
            signs = {path: _beginning(path) for path in new}
            if any(_SERVICE in sign for sign in signs.values()):
                waiting += _followed([Part("<GDAL_WMS>", is_raster=False)], scene, follow)
            inside = [part.name] if part.is_raster else [path for path, sign in signs.items() if _holds(sign)]
            for name in inside:
                if name not in opened:
                    opened.add(name)
                    waiting += _followed(_parts(name, scene if part.is_raster else ""), scene, follow)
    return tuple(found)


def _followed(parts: Iterable[Part], scene: str, follow: bool) -> Iterator[Part]:
    """Give the parts that a file tells; raise SceneError for one that leads to a network, unless that is allowed."""
    for part in parts:
        if not follow and _leads_away(part.name):
            raise SceneError(
                f"{scene} would fetch {gdal.presentable(part.name)[:200]}, which you did not name; pass --follow where "
                "you trust whoever made it"
            )
        yield part


def _leads_away(name: str) -> bool:
    """Tell whether a name that stands in a file may lead to a network; the text of another file may as well."""
    if name.startswith("<") or gdal.is_remote(name):
        return True
    driver = _DRIVER.match(name)
    return driver is not None and not _is_there(name) and not _longest(name[driver.end() :])


class Stamp(NamedTuple):
    """What changes when a file is written anew."""

    path: str
    size: int
    time_ns: int
    inode: int


def stamps(files: Iterable[str]) -> tuple[Stamp, ...]:
    """Take the stamps of local files that hold pixels or masks; what does not exist is left out."""
    return tuple(_stamp(file) for file in files if not file.endswith(_NO_PIXELS) and _is_there(file))


def changed(taken: Iterable[Stamp]) -> str:
    """Give the path of the first file that is no longer as it was when its stamp was taken; empty for none."""
    return next((stamp.path for stamp in taken if not _is_there(stamp.path) or _stamp(stamp.path) != stamp), "")


def identities(paths: Iterable[str]) -> set[tuple[int, int]]:
    """Device and number of what exists: equal for all names of one file, hard links among them."""
    there = (Path(path).stat() for path in paths if gdal.exists(path))
    return {(status.st_dev, status.st_ino) for status in there}


def _stamp(path: str) -> Stamp:
    status = Path(path).stat()
    return Stamp(path, status.st_size, status.st_mtime_ns, status.st_ino)


def _is_there(path: str) -> bool:
    """Tell whether something other than a directory is at `path`."""
    return bool(path) and gdal.exists(path) and not Path(path).is_dir()


def _longest(text: str) -> str:
    """Give the longest beginning of `text` that is a path of something there; empty for none."""
    ends = [len(text), *(match.start() for match in reversed(list(gdal.PATH_END.finditer(text))))]
    return next((text[:end] for end in ends if _is_there(text[:end])), "")


def _beside(path: str) -> list[str]:
    """Give what lies beside a file and is read with it."""
    return [side for ending in BESIDE if _is_there(side := path + ending)]


def _beginning(path: str) -> bytes:
    with Path(path).open("rb") as file:
        return file.read(1024)


def _holds(beginning: bytes) -> bool:
    """Tell whether a file is to be looked into: what may name others, and what may have huge blocks."""
    return beginning.startswith(_TIFF) or any(sign in beginning for sign in _MADE_OF_OTHERS)


def _parts(name: str, scene: str) -> list[Part]:
    """Open what lies at `name`, GDAL's own way to say it, and list what it is made of.

    scene: what must be able to read it; empty where reading it will tell. Raises SceneError where it cannot be opened,
    for a block that does not fit into memory, see `gdal`, and for raw bytes from elsewhere.
    """
    # rasterio would understand more names than GDAL does in a VRT.
    path = _UnparsedPath(name)
    try:
        with DatasetReader(path) as source:
            levels = len(source.overviews(1)) if source.driver == "GTiff" and source.count else 0
            _check_blocks(source, name)
            parts = parts_of(source)
        for level in range(levels):
            with DatasetReader(path, overview_level=level) as overview:
                _check_blocks(overview, name)
    except gdal.FAILURES as error:
        if not scene:
            return []
        raise SceneError(
            f"{scene} is made of {gdal.presentable(name)[:200]}, which cannot be opened: {gdal.cause(error)}; fetch or "
            f"make it again, or make {scene} anew"
        ) from error
    return parts


def parts_of(source: Any) -> list[Part]:
    """List what an open dataset is made of: rasters, and files of this machine that are read with it.

    Raises SceneError for a tile index that cannot be read, and for raw bytes from elsewhere.
    """
    if source.driver == "GTI":
        return [Part(name, is_raster=True) for name in _tiles(source.name)]
    if source.driver == "WMS":
        return [Part(name, is_raster=False) for name in source.files]
    if source.driver != "VRT":
        return _read_with(source)
    files = source.files
    is_raw = _check_raw(source)
    own = {source.name, *(file + ending for file in files for ending in BESIDE)}
    return [Part(file, is_raster=not is_raw and file not in own) for file in files]


def _read_with(source: Any) -> list[Part]:
    """List the files of this machine that an open dataset is read from, its own among them.

    Other files are left to those who know them: `_beside`, and what is empty.
    """
    if gdal.is_remote(source.name):
        return []  # each would be asked for
    files = [*source.files, *(_files_of_mrf(source.name) if source.driver == "MRF" else ())]
    paths = (path for file in files if not file.endswith(BESIDE) for path in named_in(file))
    return [Part(path, is_raster=False, is_beside=True) for path in paths if Path(path).stat().st_size]


def _files_of_mrf(path: str) -> list[str]:
    """Name the files that an MRF may keep its tiles in, of which GDAL does not tell.

    None where they hold copies of another raster's tiles: GDAL writes those as it reads.
    """
    if not _is_there(path):
        return []
    with Path(path).open(encoding="utf-8", errors="replace") as file:
        text = file.read(_LARGEST_TEXT)
    if "<CachedSource>" in text:
        return []
    own = Path(path)
    names = (*(own.with_suffix(f".{ending}").name for ending in _MRF_ENDINGS), *_MRF_NAMED.findall(text))
    return [str(own.parent / name.strip()) for name in names]


def _tiles(index: str) -> list[str]:
    """Names of the rasters that a tile index lists, as GDAL understands them."""
    import pyogrio  # takes a while to import, and few need it

    folder = Path(index.removeprefix("GTI:")).parent
    index, layer, field = index.removeprefix("GTI:"), None, ""
    try:
        if b"<GDALTileIndexDataset" in _beginning(index):
            about = ElementTree.parse(index)
            index = about.findtext("IndexDataset") or ""
            layer, field = about.findtext("IndexLayer"), about.findtext("LocationField") or ""
        info = pyogrio.read_info(index, layer=layer)
        field = field or (info["layer_metadata"] or {}).get("LOCATION_FIELD", "location")
        names = pyogrio.raw.read(index, layer=layer, columns=[field], read_geometry=False)[3][0]
    except (OSError, RuntimeError, LookupError, ValueError, ElementTree.ParseError) as error:
        raise SceneError(
            f"{index} is a tile index that cannot be read ({one_line(error)}); make a VRT of its tiles: gdalbuildvrt"
        ) from error
    return [_tile(str(name), folder) for name in dict.fromkeys(names)]


def _tile(name: str, folder: Path) -> str:
    if name.startswith("https://"):
        return f"/vsicurl/{name}"
    beside = folder / name
    return str(beside) if gdal.exists(str(beside)) else name


def _check_blocks(source: Any, name: str) -> None:
    """Raise SceneError where a block of an open GeoTIFF does not fit into memory, see `gdal`."""
    if source.driver != "GTiff":
        return
    try:
        gdal.check_blocks(source)
    except SceneError as error:
        raise SceneError(f"{name}: {error}") from error


def _check_raw(source: Any) -> bool:
    """Tell whether a VRT takes the bytes of a file for pixels.

    Raises SceneError unless that lies beside it or below: any file would do for it, no format says that it is a
    picture.
    """
    if "VRTRawRasterBand" not in source.tags(ns="xml:VRT").get("xml:VRT", ""):
        return False
    path = source.name
    folder = Path(os.path.realpath(path)).parent
    for file in source.files:
        if folder not in Path(os.path.realpath(file)).parents:
            raise SceneError(
                f"{path} takes the bytes of {file} for pixels, which lies elsewhere; move it beside the VRT if you "
                "trust it"
            )
    return True
