"""What people have put into a file, and a layer in its place would lose."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from geoscan.errors import InputError, one_line
from geoscan.layers import chips, detections, footprint, metadata, obscured, style
from geoscan.layers.reading import read_columns, table_names
from geoscan.states import Review

if TYPE_CHECKING:
    import pandas as pd

_OWN: Final = {detections.LAYER, chips.LAYER, obscured.LAYER, footprint.LAYER, metadata.LAYER, style.TABLE}
"""Layers and tables of a GeoPackage of geoscan's."""

_OURS: Final = {"digest", "cause"}
"""Columns of which a layer of geoscan's has one: of detections, of what was not seen well."""

_BEFORE: Final = {"co_labels", "co_scores", "seed", "join", "lone"}
"""Columns that 0.1.0 made."""

_BY_PROGRAMS: Final = {"fid", "ogc_fid", "id", "layer", "path"}
"""Columns that QGIS and GDAL add of themselves."""

_MADE: Final = {*detections.ATTRIBUTES, *obscured.ATTRIBUTES, *_BEFORE, *_BY_PROGRAMS}
"""Columns that hold nothing of people's, but for the review."""


def check(path: Path, since: Path | None = None) -> None:
    """Check that a file, which a layer is to replace, holds nothing that nobody can make again.

    since: the earlier layer whose reviews the new one takes over. What cannot be read holds nothing.
    Raises InputError for reviews, and for layers, tables and columns of somebody else.
    """
    if not path.is_file():
        return
    try:
        others = _others(path)
        table = read_columns(path, detections.LAYER, but=_MADE - _OURS - {"review"})
    except InputError:
        return
    if others := others or _added(table):
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


def _others(path: Path) -> list[str]:
    """Name layers and tables of somebody else."""
    return sorted(set(table_names(path)) - _OWN) if path.suffix.lower() == ".gpkg" else []


def _added(table: pd.DataFrame) -> list[str]:
    """Name what somebody else has put into a layer: columns that hold something, or all of it."""
    if len(table) and _OURS.isdisjoint(table):
        return [f"{len(table):,} feature{'s' * (len(table) != 1)}"]
    theirs = [name for name in table if name not in {*_OURS, "review"}]
    return [f"the column {name}" for name in theirs if (table[name].notna() & (table[name] != "")).any()]


def _reviews(table: pd.DataFrame) -> int:
    """Count what a person has said."""
    said = table["review"].tolist() if "review" in table else []
    words = [word.strip().lower() for word in said if isinstance(word, str)]
    return sum(word not in ("", Review.UNREVIEWED) for word in words)
