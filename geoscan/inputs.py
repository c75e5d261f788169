"""The files that a scene is read from, by whatever names: looked at before GDAL opens them, never written to."""

from __future__ import annotations

import os
import re
import stat
import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import rasterio
from rasterio.errors import NotGeoreferencedWarning

from geoscan import gdal
from geoscan.errors import SceneError

BESIDE: Final = (".aux.xml", ".ovr", ".msk")
"""Endings of what GDAL reads beside a file: statistics and other facts, pyramids, the mask."""

_NO_PIXELS: Final = (".aux.xml", ".ovr")
"""A GIS may write these beside a scene while it is read; they do not change its pixels."""

_MADE_OF_OTHERS: Final = (b"<VRTDataset", b"<GDALTileIndexDataset", b"<MRF_META")
"""How files begin that hold no pixels but say where they are."""

_TIFF: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""How GeoTIFFs begin, the only files that may be stored in one huge block."""

_SERVICE: Final = b"<GDAL_WMS"
"""How files begin that say where a service on a network is."""

_DRIVER: Final = re.compile(r'[A-Za-z]\w+:(?:\d+:)?"?')
"""How names begin that only one of GDAL's drivers understands, up to the path; what is no path may name a server."""

_BEGIN: Final = re.compile(r'(?:://|/vsi\w+/|[:"{,])')
"""What stands before a path in a name of GDAL's or rasterio's: a scheme, an archive, a driver."""

_END: Final = re.compile(r'[/:"?!}]')
"""What stands behind one: what is meant inside of it, and how."""


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


def behind(names: Iterable[str], scene: str, told: Iterable[str] = (), *, follow: bool = False) -> tuple[str, ...]:
    """Absolute paths of all local files that are read: those that `names` stand for, and what lies beside them.

    names: of a scene, as people or a product give them; VRTs among them are opened, and so are theirs.
    told: what GDAL says that the scene is made of. scene: what it is called. follow: whether what is told may lie on a
    network.
    Raises SceneError for what GDAL would wait for, for a part that does not exist or lies on a network, and for a file
    far from a VRT that takes its bytes as they are.
    """
    found: dict[str, None] = {}
    waiting = deque(names)
    waiting += _followed(told, scene, follow)
    while waiting:
        name = waiting.popleft()
        check(name)
        paths = named_in(name)
        if not paths and gdal.is_plain(name) and not gdal.exists(name):
            raise SceneError(f"{scene} is made of {name}, which does not exist; put it there, or make {scene} anew")
        for path in paths:
            if path not in found:
                found[path] = None
                found |= dict.fromkeys(side for ending in BESIDE if _is_there(side := path + ending))
                waiting += _followed(_parts(path), scene, follow)
    return tuple(found)


def _followed(names: Iterable[str], scene: str, follow: bool) -> Iterator[str]:
    """Give the names that a file tells; raise SceneError for one that leads to a network, unless that is allowed."""
    for name in names:
        if not follow and _leads_away(name):
            raise SceneError(
                f"{scene} would fetch {gdal.presentable(name)[:200]}, which you did not name; pass --follow where you "
                "trust whoever made it"
            )
        yield name


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
    ends = [len(text), *(match.start() for match in reversed(list(_END.finditer(text))))]
    return next((text[:end] for end in ends if _is_there(text[:end])), "")


def _parts(path: str) -> Iterator[str]:
    """Names of what a file is made of that holds no pixels but says where they are."""
    with Path(path).open("rb") as file:
        beginning = file.read(1024)
    if _SERVICE in beginning:
        yield "<GDAL_WMS>"
    if beginning.startswith(_TIFF):
        _check_blocks(path)
    if not any(sign in beginning for sign in _MADE_OF_OTHERS):
        return
    try:
        with gdal.settings(path), warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path) as source:
                files = source.files
                _check_raw(source, path)
    except gdal.FAILURES:
        return
    yield from files


def _check_blocks(path: str) -> None:
    """Raise SceneError where a block of a GeoTIFF or of its overviews does not fit into memory, see `gdal`."""
    try:
        with gdal.settings(path), warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path) as source:
                gdal.check_blocks(source)
                levels = len(source.overviews(1)) if source.count else 0
            for level in range(levels):
                with rasterio.open(path, overview_level=level) as overview:
                    gdal.check_blocks(overview)
    except gdal.FAILURES:
        return  # reading it will tell
    except SceneError as error:
        raise SceneError(f"{path}: {error}") from error


def _check_raw(source: Any, path: str) -> None:
    """Raise SceneError where a VRT takes the bytes of a file for pixels, unless that lies beside it or below.

    Any file would do for it: no format says that it is a picture.
    """
    if "VRTRawRasterBand" not in source.tags(ns="xml:VRT").get("xml:VRT", ""):
        return
    folder = Path(os.path.realpath(path)).parent
    for file in source.files:
        if folder not in Path(os.path.realpath(file)).parents:
            raise SceneError(
                f"{path} takes the bytes of {file} for pixels, which lies elsewhere; move it beside the VRT if you "
                "trust it"
            )
