"""Where results may go, and how a file gets there: whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Final

from rasterio.errors import RasterioError

from geoscan import gdal, inputs
from geoscan.errors import GeoscanError, InputError, OutputError, one_line

_ABOUT: Final = (*inputs.BESIDE, "-wal", "-shm", "-journal")
"""Endings of what GDAL (statistics, pyramids, mask) and SQLite (changes yet to be merged) keep beside a file: they
would be read as the new file's, and a journal would even be written into it."""

_FULL: Final = 2**20
"""Bytes; a disk with less to spare is full."""

_UNUSUAL: Final = re.compile(r"[^\w.+-]+")
"""In a name: what shells, other systems or paths take for something else."""

_LONGEST: Final = 110
"""Bytes; file systems take 255, of two such names and all endings."""


def check_target(path: Path | str, suffixes: Collection[str], kind: str, sources: Iterable[str] = ()) -> None:
    """Check, before any work, that its result can be written to `path`.

    suffixes: those that fit, in small letters; kind: what they name, for the message. sources: names of what is read
    meanwhile, as people or GDAL give them.
    Raises InputError for another suffix, a folder that is missing or cannot be written, a folder in the file's place,
    or a path that is one of the sources, by whatever name; likewise where what was kept beside an old file, and goes
    with it, is one.
    """
    path = Path(path)
    if path.suffix.lower() not in suffixes:
        given = f"the suffix {path.suffix!r}" if path.suffix else "no suffix"
        raise InputError(f"{path} has {given}, which names no {kind}; end it in {', '.join(suffixes)}")
    check_place(path)
    read = inputs.identities(chain.from_iterable(inputs.named_in(source) for source in sources))
    if read & inputs.identities([str(path)]):
        raise InputError(f"{path} is the scene itself, or a file that it is read from; give another file to write to")
    for beside in map(str, _beside(path)):
        if read & inputs.identities([beside]):
            raise InputError(f"{beside}, which the scene is read from, would go with the old {path}; write elsewhere")


def check_place(path: Path) -> None:
    """Check, before any work, that a file can be written at `path`, whatever its format.

    Raises InputError for a folder that is missing or cannot be written, or anything in the file's place that is no file
    to replace: a folder, a device, a pipe.
    """
    try:
        is_folder = path.is_dir()
    except OSError as error:
        raise InputError(f"{path} is no name for a file here ({error.strerror}); give another") from error
    if is_folder:
        raise InputError(f"{path} is a folder; name a file in it, such as {path / path.name}")
    if path.exists() and not path.is_file():
        raise InputError(f"{path} is no regular file, so it cannot be replaced; name another")
    folder = _real(path).parent
    if not folder.is_dir():
        raise InputError(f"{path} lies in {folder}, which is not a folder; make it first, or write elsewhere")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"{folder} may not be written to; change its permissions, or write elsewhere")


def check_name(path: Path | str) -> None:
    """Check, before any work, that GDAL can write to `path`. Raises InputError for a name that is not UTF-8."""
    if not gdal.is_utf8(os.path.realpath(path)):
        raise InputError(
            f"{os.fspath(path)!a} has a name that is not UTF-8, which GDAL cannot write to; write elsewhere"
        )


def is_folder(name: str) -> bool:
    """Tell whether a name means a folder: one that is there, or that is to be made, by the slash at its end."""
    try:
        return name.endswith("/") or Path(name).is_dir()
    except OSError:  # too long
        return False


def make_folder(path: Path) -> None:
    """Make a folder where there is none. Raises InputError when that cannot be."""
    try:
        path.mkdir(exist_ok=True)
    except OSError as err:
        raise InputError(f"the folder {path} cannot be made: {err.strerror}; name another") from err


@contextlib.contextmanager
def replacing(path: Path | str, advice: str = "make room or write elsewhere") -> Iterator[Path]:
    """Give a hidden path beside `path`, with its suffix: what is written there replaces it when the block ends well.

    What GDAL and SQLite had kept beside the old file goes with it. Several threads may replace one file at a time.
    advice: what to do when that fails.
    Raises OutputError in place of an OSError or an error of rasterio's; after any error `path` is as it was.
    """
    target = _real(Path(path))
    start = os.fsencode(target.stem)[:_LONGEST].decode(errors="ignore")
    part = target.with_name(f".{start}.{os.getpid()}-{threading.get_ident()}.part{target.suffix}")
    try:
        yield part
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        # Before, not after: without its pyramids the old file is still right, with another's the new one is not.
        for stale in _beside(Path(path)):
            stale.unlink(missing_ok=True)
        part.replace(target)
    except GeoscanError:
        raise  # a ReadError is an OSError too
    except gdal.FAILURES as error:
        raise OutputError(f"{path} could not be written: {_reason(error, target.parent)}; {advice}") from error
    finally:
        with contextlib.suppress(OSError):  # gone when all went well
            part.unlink()


def cache_directory() -> Path:
    """Where caches go unless told otherwise: XDG_CACHE_HOME, else ~/.cache.

    Raises OutputError for a user without a home, as containers have.
    """
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "geoscan"
    except RuntimeError as err:
        raise OutputError("there is no home directory for the cache; pass --cache") from err


def file_names(names: Sequence[str]) -> list[str]:
    """Make a part of a file's name of each, which any system takes, and by which they can be told apart.

    Equal lists give equal names; what is longer than 110 bytes is cut.
    """
    plain = [
        _UNUSUAL.sub("_", name).lstrip(".").encode()[:_LONGEST].decode(errors="ignore") or "scene" for name in names
    ]
    return [f"{name}-{n}" if (n := plain[:i].count(name) + 1) > 1 else name for i, name in enumerate(plain)]


def _beside(path: Path) -> set[Path]:
    """Files that belong to the one at `path`, whether they are there or not."""
    return {Path(f"{name}{ending}") for name in (path, _real(path)) for ending in _ABOUT}


def _real(path: Path) -> Path:
    """The file itself, so that a link to it stays a link."""
    return Path(os.path.realpath(path))


def _reason(error: BaseException, folder: Path) -> str:
    if isinstance(error, OSError) and not isinstance(error, RasterioError):
        return error.strerror or one_line(error)
    if shutil.disk_usage(folder).free < _FULL:  # GDAL has no word for it
        return os.strerror(errno.ENOSPC)
    return gdal.cause(error)
