"""The files that a scene is read from, by whatever names: looked at before GDAL opens them, never written to."""

from __future__ import annotations

import re
import stat
import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

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


def behind(names: Iterable[str], scene: str) -> tuple[str, ...]:
    """Absolute paths of all local files that are read: those that `names` stand for, and what lies beside them.

    names: of a scene, and of what GDAL says it is made of; VRTs among them are opened, and theirs, too.
    scene: what it is called. Raises SceneError for what GDAL would wait for, and for a part that does not exist.
    """
    found: dict[str, None] = {}
    waiting = deque(names)
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
                waiting += _parts(path)
    return tuple(found)


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
    if not any(sign in beginning for sign in _MADE_OF_OTHERS):
        return
    try:
        with gdal.settings(path), warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path) as source:
                yield from source.files
    except gdal.FAILURES:
        return
