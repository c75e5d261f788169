"""Write what was found as a vector layer: whole or not at all, and the same bytes for the same detections."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from geoscan import files
from geoscan.errors import InputError
from geoscan.layers import beside, flatgeobuf, geojson, geopackage, geoparquet, obscured, style
from geoscan.layers.detections import ATTRIBUTES as ATTRIBUTES
from geoscan.layers.detections import LAYER
from geoscan.layers.detections import frame as frame

if TYPE_CHECKING:
    from geoscan.polygons import Detection
    from geoscan.seen import Seen

Writer: TypeAlias = Callable[[Path, "Sequence[Detection]", "Sequence[Seen]"], None]

WRITERS: Final[dict[str, Writer]] = {
    ".geojson": geojson.write,
    ".json": geojson.write,
    ".gpkg": geopackage.write,
    ".fgb": flatgeobuf.write,
    ".parquet": geoparquet.write,
}
"""Suffix to the function that makes a file of that format."""

OBSCURED: Final[dict[str, Callable[[Path, Sequence[Seen]], None]]] = {
    ".geojson": geojson.write_obscured,
    ".json": geojson.write_obscured,
    ".gpkg": geopackage.write_obscured,
    ".fgb": flatgeobuf.write_obscured,
    ".parquet": geoparquet.write_obscured,
}
"""Likewise, of what was not seen well."""

_STYLED: Final = ".gpkg"
"""The format that holds its styles."""


def check_target(path: Path | str, sources: Iterable[str] = ()) -> None:
    """Check, before any work, that the result of a scan of `sources` can be written to `path`.

    Raises InputError for a suffix of no known format, for a GeoPackage that GDAL cannot name or a program has open for
    editing, and as `files.check_target` does.
    """
    files.check_target(path, WRITERS, "vector format", sources)
    if Path(path).suffix.lower() != _STYLED:
        return
    files.check_name(path)
    edits = Path(f"{path}-wal")
    if edits.exists():
        # SQLite would take them for edits of the new file
        raise InputError(f"{path} is being edited, as {edits} shows; save and close it in QGIS, or write elsewhere")


def check_apart(one: Path, other: Path) -> None:
    """Check that two layers are two files, as are their styles where both have one beside them; raises InputError."""
    first, second = one.resolve(), other.resolve()
    styled = _STYLED in (first.suffix.lower(), second.suffix.lower())
    if first == second or (not styled and beside.style_of(first) == beside.style_of(second)):
        raise InputError(f"{one} and {other} have one name, so their styles would be one file; give one another name")


def write(path: Path | str, detections: Sequence[Detection], scenes: Sequence[Seen]) -> None:
    """Write detections, in the order given, to a .geojson, .json, .gpkg, .fgb or .parquet file, and QGIS' style of it.

    scenes: all that were scanned, with detections or without. A GeoPackage holds what was not seen, too.
    An existing file is replaced, in one step; after a failure it is still there. Raises InputError as `check_target`
    does, OutputError when writing fails.
    """
    path = Path(path)
    check_target(path)
    with files.replacing(path) as part:
        WRITERS[path.suffix.lower()](part, detections, scenes)
    if path.suffix.lower() != _STYLED:
        beside.write(path, style.qml(LAYER, ATTRIBUTES))


def write_obscured(path: Path | str, scenes: Sequence[Seen]) -> None:
    """Write where some scenes were not seen well, and why, likewise."""
    path = Path(path)
    check_target(path)
    with files.replacing(path) as part:
        OBSCURED[path.suffix.lower()](part, scenes)
    if path.suffix.lower() != _STYLED:
        beside.write(path, style.qml(obscured.LAYER, obscured.ATTRIBUTES))
