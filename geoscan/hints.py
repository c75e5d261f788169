"""Commands of GDAL's that people are told to run, such that they work for the file at hand."""

from __future__ import annotations

from pathlib import PurePath
from typing import Final

_WRITTEN_BESIDE: Final = (".png", ".jpg", ".jpeg", ".jp2", ".j2k", ".webp")
"""Files that GDAL cannot change: with -ro it writes beside them what is said of them."""

_WITHOUT_NODATA: Final = (".png", ".webp")
"""Files beside which it does not find a nodata value again."""


def assign_crs(crs: str, path: str) -> str:
    """Give the command that says which CRS a file has; the file's name goes behind it."""
    return f"{_edit(path)} -a_srs {crs}".rstrip()


def assign_nodata(value: float, path: str) -> str:
    """Give the command that says which value of a file is nodata, without the file's name."""
    if _ends(path, _WITHOUT_NODATA):
        return f"gdal_translate -a_nodata {exactly(value)}"
    return f"{_edit(path)} -a_nodata {exactly(value)}"


def exactly(value: float) -> str:
    """Spell a number so that it reads back as the same."""
    short = f"{value:g}"
    return short if float(short) == value else repr(float(value))


def _edit(path: str) -> str:
    return "gdal_edit.py -ro" if _ends(path, _WRITTEN_BESIDE) else "gdal_edit.py"


def _ends(path: str, endings: tuple[str, ...]) -> bool:
    return PurePath(path).suffix.lower() in endings
