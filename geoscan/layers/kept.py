"""What people have put into a file, and a layer in its place would lose."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from geoscan.errors import InputError, one_line
from geoscan.layers import chips, detections, footprint, metadata, obscured, style
from geoscan.layers.reading import UnreadError, read_columns, table_names
from geoscan.states import Review

if TYPE_CHECKING:
    import pandas as pd

_OWN: Final = {detections.LAYER, chips.LAYER, obscured.LAYER, footprint.LAYER, metadata.LAYER, style.TABLE}
"""Layers and tables of a GeoPackage of geoscan's."""

_STYLES: Final = f"SELECT styleName FROM {style.TABLE} WHERE instr(coalesce(styleQML, ''), ?) = 0"
"""What gives the names of styles that lack a mark."""

_OURS: Final = {"digest", "cause"}
"""Columns of which a layer of geoscan's has one: of detections, of what was not seen well."""

_SAID: Final = {"review", "status"}
"""Columns that tell, beside these, what people have made."""

_BEFORE: Final = {"co_labels", "co_scores", "seed", "join", "lone"}
"""Columns that 0.1.0 made."""

_BY_PROGRAMS: Final = {"fid", "ogc_fid", "id", "layer", "path"}
"""Columns that QGIS and GDAL add of themselves."""

_MADE: Final = {*detections.ATTRIBUTES, *obscured.ATTRIBUTES, *_BEFORE, *_BY_PROGRAMS}
"""Columns that hold nothing of people's, but for the review."""


def check(path: Path, since: Path | None = None) -> None:
    """Check that a file, which a layer is to replace, holds nothing that nobody can make again.

    since: the earlier layer whose reviews the new one takes over. What is damaged, or no layer, holds nothing.
    Raises InputError for reviews, for features drawn by hand, for layers, rasters, tables, columns and styles of
    somebody else, and for a file that cannot be looked into.
    """
    if not path.is_file():
        return
    try:
        # A GeoPackage of rasters alone has no columns to read.
        others = _others(path) or _added(table := read_columns(path, detections.LAYER, but=_MADE - _OURS - _SAID))
    except UnreadError as error:
        raise InputError(
            f"{path} cannot be searched for reviews, which would be lost: it is too large, may not be read, or has a "
            "name that is not UTF-8; write to another file"
        ) from error
    except InputError:
        return
    if others:
        raise InputError(
            f"{path} holds {one_line(', '.join(others))[:200]}, which geoscan did not make and would be lost; write to "
            "another file"
        )
    if since is not None and since.exists() and since.samefile(path):
        return
    if count := _reviews(table):
        raise InputError(
            f"{path} holds {count:,} reviewed detection{'s' * (count != 1)}, and the reviews would be lost; write to "
            f"another file, or let a scan keep them: --since {path}"
        )
    if count := _drawn(table):
        raise InputError(
            f"{path} holds {count:,} feature{'s' * (count != 1)} drawn by hand, which would be lost; write to another "
            f"file, or let a scan keep what it does not find: --since {path}"
        )


@contextmanager
def meanwhile() -> Iterator[None]:
    """Say of what `check` finds when a scan is done how it goes on: what was scanned is not lost."""
    try:
        yield
    except InputError as error:
        raise InputError(
            f"{error}. It was changed during the scan, whose journal stays: move the file away, and the same command "
            "ends in seconds"
        ) from error


def _others(path: Path) -> list[str]:
    """Name layers, rasters, tables and styles of somebody else."""
    if path.suffix.lower() != ".gpkg":
        return []
    names = set(_asked(path, "SELECT table_name FROM gpkg_contents"))
    if names <= _OWN:  # else there is enough, and of rasters alone GDAL cannot list the tables
        names |= set(table_names(path))
    styles = _asked(path, _STYLES, style.MARK) if style.TABLE in names else []
    return [*sorted(names - _OWN), *(f"the style {name}" for name in styles)]


def _asked(path: Path, query: str, *values: str) -> list[str]:
    """Ask a GeoPackage for names, of which GDAL's vector side does not tell all; a damaged one has none."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
            return [str(name) for (name,) in db.execute(query, values)]
    except sqlite3.Error:
        return []


def _added(table: pd.DataFrame) -> list[str]:
    """Name what somebody else has put into a layer: columns that hold something, or all of it."""
    if len(table) and _OURS.isdisjoint(table):
        return [f"{len(table):,} feature{'s' * (len(table) != 1)}"]
    theirs = [name for name in table if name not in _OURS | _SAID]
    return [f"the column {name}" for name in theirs if (table[name].notna() & (table[name] != "")).any()]


def _reviews(table: pd.DataFrame) -> int:
    """Count what a person has said, in whatever words or numbers."""
    said = table["review"].dropna().tolist() if "review" in table else []
    return sum(str(word).strip().lower() not in ("", Review.UNREVIEWED) for word in said)


def _drawn(table: pd.DataFrame) -> int:
    """Count features that no scan has made, nor taken over from an earlier layer: what those make says so."""
    telling = table[[name for name in table if name in _OURS | {"status"}]]
    return int((telling.isna() | (telling == "")).all(axis=1).sum())
