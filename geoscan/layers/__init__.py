"""Write what was found as a vector layer: whole or not at all, and the same bytes for the same detections."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from geoscan import files
from geoscan.layers import flatgeobuf, geojson, geopackage, geoparquet
from geoscan.layers.detections import ATTRIBUTES as ATTRIBUTES
from geoscan.layers.detections import frame as frame

if TYPE_CHECKING:
    from geoscan.polygons import Detection
    from geoscan.seen import Seen

Writer: TypeAlias = Callable[["Sequence[Detection]", "Sequence[Seen]"], bytes]

WRITERS: Final[dict[str, Writer]] = {
    ".geojson": geojson.write,
    ".json": geojson.write,
    ".gpkg": geopackage.write,
    ".fgb": flatgeobuf.write,
    ".parquet": geoparquet.write,
}
"""Suffix to the function that makes a file of that format."""


def check_target(path: Path | str, sources: Iterable[str] = ()) -> None:
    """Check, before any work, that the result of a scan of `sources` can be written to `path`.

    Raises InputError for a suffix of no known format, and as `files.check_target` does.
    """
    files.check_target(path, WRITERS, "vector format", sources)


def write(path: Path | str, detections: Sequence[Detection], scenes: Sequence[Seen]) -> None:
    """Write detections, in the order given, to a .geojson, .json, .gpkg, .fgb or .parquet file.

    scenes: all that were scanned, with detections or without.
    An existing file is replaced, in one step; after a failure it is still there. Raises InputError as `check_target`
    does, OutputError when writing fails.
    """
    path = Path(path)
    check_target(path)
    content = WRITERS[path.suffix.lower()](detections, scenes)
    with files.replacing(path) as part:
        part.write_bytes(content)
