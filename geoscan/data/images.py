"""Images in a zip archive or a directory, read one at a time from any thread."""

import hashlib
import os
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path, PurePosixPath

from geoscan.arrays import Visual
from geoscan.data import chips
from geoscan.data.chips import IMAGES, decode, stamp
from geoscan.errors import DatasetError, ReadError
from geoscan.progress import Track

_open = threading.local()


@dataclass(frozen=True, slots=True)
class Images:
    """Images of one source, read one at a time; pickles to its path and its lists."""

    source: Path
    names: tuple[str, ...]
    """Members of the archive, or paths below the directory."""

    def __len__(self) -> int:
        return len(self.names)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the names."""
        return hashlib.sha256("\n".join(self.names).encode()).hexdigest()

    def stamps(self) -> Iterator[str]:
        """What changes when an image changes."""
        return stamps(self.source, self.names)

    def read(self, index: int) -> Visual:
        """One image as (3, rows, cols) uint8, red, green, blue. Raises ReadError, naming the file."""
        return read(self.source, self.names[index])


def listed(source: Path) -> list[str]:
    """PNG and JPEG images by name, sorted: members of the archive, or paths below the directory.

    Files and folders whose name begins with a dot, and __MACOSX, are made by other programs and are ignored.
    Raises DatasetError when the source is neither a directory nor a readable zip archive.
    """
    if source.is_dir():
        names = [path.relative_to(source).as_posix() for path in source.rglob("*")]
    else:
        try:
            with zipfile.ZipFile(source) as archive:
                names = archive.namelist()
        except (OSError, zipfile.BadZipFile) as error:
            raise DatasetError(f"{source} is neither a directory nor a readable zip archive ({error})") from error
    return sorted({name for name in names if name.lower().endswith(IMAGES) and not _hidden(name)})


def read(source: Path, name: str) -> Visual:
    """Read one image as (3, rows, cols) uint8, red, green, blue. Raises ReadError, naming the file."""
    return decode(_bytes_of(source, name), f"{source}/{name}")


def size(source: Path, name: str) -> tuple[int, int]:
    """(rows, cols) of one image, from its head. Raises ReadError, naming the file."""
    return chips.size(_bytes_of(source, name), f"{source}/{name}")


def readable(source: Path, names: Sequence[str], track: Track = iter) -> tuple[str, ...]:
    """Decode each image once, and return the names of those that can be read.

    Raises DatasetError when there are names, and none of them can be read.
    """
    able, last = [], ""
    for i in track(range(len(names))):
        try:
            read(source, names[i])
        except ReadError as err:
            last = str(err)
        else:
            able.append(names[i])
    if last and not able:
        raise DatasetError(f"none of the {len(names):,} images in {source} can be read; the last: {last}")
    return tuple(able)


def stamps(source: Path, names: Iterable[str]) -> Iterator[str]:
    """What changes when one of these images changes. Raises DatasetError when one has gone."""
    if source.is_dir():
        return (stamp(source / name) for name in names)
    return chain([stamp(source)], names)


def _bytes_of(source: Path, name: str) -> Callable[[], bytes]:
    """What reads one file, or member of an archive."""
    return (source / name).read_bytes if source.is_dir() else partial(_member, source, name)


def _hidden(name: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in PurePosixPath(name).parts)


def _member(source: Path, name: str) -> bytes:
    """Bytes of one member; each thread of each process has handles of its own."""
    if getattr(_open, "process", None) != os.getpid():
        _open.process, _open.archives = os.getpid(), {}
    if source not in _open.archives:
        try:
            _open.archives[source] = zipfile.ZipFile(source)
        except (OSError, zipfile.BadZipFile) as error:
            raise ReadError(f"{source} cannot be read ({error})") from error
    try:
        data: bytes = _open.archives[source].read(name)
    except (KeyError, OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise ReadError(f"{source}/{name} cannot be read ({error}); fetch the archive again") from error
    return data
