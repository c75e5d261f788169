"""What people have put into a file, and a layer in its place would lose."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from geoscan.errors import InputError, one_line
from geoscan.layers import chips, detections, footprint, metadata, obscured, style
from geoscan.layers.reading import read_column, table_names
from geoscan.states import Review

_OWN: Final = {detections.LAYER, chips.LAYER, obscured.LAYER, footprint.LAYER, metadata.LAYER, style.TABLE}
"""Layers and tables of a GeoPackage of geoscan's."""


def check(path: Path, since: Path | None = None) -> None:
    """Check that a file, which a layer is to replace, holds nothing that nobody can make again.

    since: the earlier layer whose reviews the new one takes over. What cannot be read holds nothing.
    Raises InputError for reviews, and for a GeoPackage with layers of somebody else.
    """
    if not path.is_file():
        return
    if others := _others(path):
        raise InputError(
            f"{path} holds {one_line(', '.join(others))[:200]}, which geoscan did not make and would be lost; write to "
            "another file"
        )
    if since is not None and since.exists() and since.samefile(path):
        return
    if count := _reviews(path):
        raise InputError(
            f"{path} holds {count:,} reviewed detection{'s' * (count != 1)}, and the reviews would be lost; write to "
            f"another file, or let a scan keep them: --since {path}"
        )


def _others(path: Path) -> list[str]:
    if path.suffix.lower() != ".gpkg":
        return []
    try:
        return sorted(set(table_names(path)) - _OWN)
    except InputError:
        return []


def _reviews(path: Path) -> int:
    """Count what a person has said."""
    try:
        said = read_column(path, detections.LAYER, "review")
    except InputError:
        return 0
    words = [word.strip().lower() for word in said if isinstance(word, str)]
    return sum(word not in ("", Review.UNREVIEWED) for word in words)
