"""The error tree.

GeoscanError            exit status 1: something failed
├── InputError          exit status 2: what was given cannot be used; nothing was written
│   ├── SceneError      a raster that cannot be scanned
│   │   ├── MadeHereError    a picture that geoscan itself made
│   │   └── ResolutionError  one whose pixels are too fine or too coarse for a model
│   ├── GridError       a chip size or stride that does not fit
│   ├── RadiometryError bands or a stretch that do not fit the scene
│   ├── LookError       a scene that looks like nothing the model has learned from
│   ├── PackageError    a model package that is damaged, or does not fit
│   └── DatasetError    training data that cannot be used
├── ReadError           pixels that could not be read (scan: the tile is marked failed)
├── OutputError         a file that could not be written
├── ChipError           something that nobody foresaw, at one chip of a scan
├── BusyError           a journal that another scan is writing
├── ShortageError       the system gives no more memory
└── ClusterError        a dask cluster that went down during the scan

Every message is one line: what came, what fits, what to do. The command line catches the root, once.
"""

from collections.abc import Sequence
from typing import ClassVar, Final

_LISTED: Final = 5
"""Names in a message; the rest is counted."""


def listed(names: Sequence[str]) -> str:
    """List the first of some names for a message, and say how many more there are."""
    rest = len(names) - _LISTED
    return ", ".join(map(one_line, names[:_LISTED])) + (f" and {rest:,} more" if rest > 0 else "")


def one_line(error: object) -> str:
    """Return what an error says, or any text, on one line; the error's type where it says nothing.

    What a terminal or a page would obey in place of showing it, such as an escape sequence in a file's name, is spelt.
    """
    return spelt(" ".join(str(error).split())) or type(error).__name__


def spelt(text: str, keep: str = "") -> str:
    r"""Return text with characters that cannot be printed as they are written in Python, such as \x1b.

    keep: those that stay.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in keep else _ascii(char) for char in text)


def _ascii(char: str) -> str:
    return ascii(char)[1:-1]


class GeoscanError(Exception):
    """Root of everything that geoscan raises on purpose."""

    exit_status: ClassVar[int] = 1


class InputError(GeoscanError, ValueError):
    """What was given cannot be used."""

    exit_status: ClassVar[int] = 2


class SceneError(InputError):
    """A raster that cannot be scanned."""


class MadeHereError(SceneError):
    """It is a picture that geoscan itself has made of a scene."""


class ResolutionError(SceneError):
    """A raster whose pixels are too fine or too coarse for a model; another model may fit."""


class GridError(InputError):
    """A chip size or stride that does not fit."""


class RadiometryError(InputError):
    """Bands or a stretch that do not fit the scene."""


class LookError(InputError):
    """A scene that looks like nothing the model has learned from: most likely it is misread."""


class PackageError(InputError):
    """A model package that is damaged, or does not fit the scene."""


class DatasetError(InputError):
    """Training data that cannot be used."""


class ReadError(GeoscanError, OSError):
    """Pixels that could not be read."""


class OutputError(GeoscanError, OSError):
    """A file that could not be written."""


class ChipError(GeoscanError):
    """Something that nobody foresaw, at one chip of a scan."""


class BusyError(GeoscanError):
    """A journal that another scan is writing."""


class ShortageError(GeoscanError):
    """The system gives no more memory, or no more threads."""


class ClusterError(GeoscanError):
    """A dask cluster that went down during the scan."""
