"""A product of many files: a directory, or a zip of one. GDAL reads from either; so do we, without unpacking."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

import defusedxml.ElementTree

from geoscan.errors import SceneError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_LARGEST_XML: Final = 16 * 2**20
"""Bytes; real ones have up to 1 MB."""

_AGAIN: Final = "download the product again"


@dataclass(frozen=True, slots=True)
class Bundle:
    """The files of one product; see `listed` and `zipped`."""

    root: str
    """What GDAL calls the product's directory."""

    names: tuple[str, ...]
    """Of the files, from `root`, sorted, with slashes."""

    archive: str = ""
    """Path of the zip; empty for a directory."""

    inside: str = ""
    """Where the product's directory lies in the zip: empty, or with a slash at its end."""

    @property
    def title(self) -> str:
        """The name of the directory, or of the zip where that has none."""
        return PurePosixPath(self.inside).name or Path(self.archive or self.root).name

    @property
    def paths(self) -> tuple[str, ...]:
        """Of the files on disk."""
        return (self.archive,) if self.archive else tuple(self.address(name) for name in self.names)

    def address(self, name: str) -> str:
        """Call a file as GDAL does."""
        return f"{self.root}/{name}"

    def below(self, folder: str) -> list[str]:
        """Give the names of the files in `folder` and its folders."""
        return [name for name in self.names if name.startswith(f"{folder}/")]

    def xml(self, name: str) -> Element:
        """Read XML that anybody may have written: no entities, no DTD, nothing fetched, and not too much of it.

        Raises SceneError for a file that cannot be read or is no such XML.
        """
        try:
            content = self._content(name)
        except (OSError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:  # RuntimeError: a password
            raise SceneError(f"{self.title}: {name} cannot be read ({_one_line(error)}); {_AGAIN}") from error
        if len(content) > _LARGEST_XML:
            raise SceneError(
                f"{self.title}: {name} has more than {_LARGEST_XML >> 20} MB, too much for metadata; {_AGAIN}"
            )
        try:
            parsed: Element = defusedxml.ElementTree.fromstring(content, forbid_dtd=True)
        except (SyntaxError, ValueError, LookupError) as error:  # broken XML, what is forbidden, an unknown encoding
            raise SceneError(
                f"{self.title}: {name} is no XML that can be read ({_one_line(error)}); {_AGAIN}"
            ) from error
        return parsed

    def _content(self, name: str) -> bytes:
        if not self.archive:
            with Path(self.address(name)).open("rb") as file:
                return file.read(_LARGEST_XML + 1)
        with zipfile.ZipFile(self.archive) as archive:
            wanted = self.inside + name
            own = next((own for own in archive.namelist() if _with_slashes(own) == wanted), wanted)
            with archive.open(own) as file:
                return file.read(_LARGEST_XML + 1)


def listed(path: Path) -> Bundle:
    """Give the product in a directory."""
    names = (file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())
    return Bundle(str(path), tuple(sorted(name for name in names if not is_macs(name))))


def names_in(path: Path) -> list[str] | None:
    """List the files in a zip, with slashes; None where it cannot be read as one."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = map(_with_slashes, archive.namelist())
            return [name for name in names if not name.endswith("/") and not is_macs(name)]
    except (OSError, zipfile.BadZipFile):
        return None


def is_macs(name: str) -> bool:
    """Tell whether a file is what macOS leaves beside one that it copies or packs: "._scene.tif"."""
    return PurePosixPath(name).name.startswith("._")


def _with_slashes(name: str) -> str:
    r"""Name a file in a zip as GDAL does: Windows' own packer writes folder\file."""
    return name.replace("\\", "/")


def zipped(path: Path, names: Iterable[str], inside: str) -> Bundle:
    """Give the product in a zip.

    names: what `names_in` gives. inside: the product's directory in the zip, with a slash at its end; empty for all.
    """
    own = tuple(sorted(name.removeprefix(inside) for name in names if name.startswith(inside)))
    return Bundle(name_in_zip(path, inside).rstrip("/"), own, str(path), inside)


def name_in_zip(path: str | Path, inside: str) -> str:
    """Name a file or a directory in a zip as GDAL does."""
    return f"/vsizip/{{{path}}}/{inside}"  # braces tell GDAL where the name of the zip ends, whatever it ends in


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
