"""A report of a scan: one HTML file that any browser opens, and that asks no network for anything."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from geoscan import files
from geoscan.errors import InputError

if TYPE_CHECKING:
    from geoscan.polygons import Detection
    from geoscan.scanning.result import SceneResult

_SUFFIXES: Final = (".html", ".htm")

_MARK: Final = b'<meta name="generator" content="geoscan '
"""What a report says of itself, in its first `_HEAD` bytes."""

_HEAD: Final = 4096


def check_target(path: Path, sources: Iterable[str] = ()) -> None:
    """Check, before any work, that a report of a scan of `sources` can be written to `path`.

    Raises InputError for a suffix that is not HTML's, for a page that geoscan did not make and that would be lost, and
    as `files.check_target` does.
    """
    files.check_target(path, _SUFFIXES, "page for a browser", sources)
    if path.is_file() and (start := path.read_bytes()[:_HEAD]) and _MARK not in start:
        raise InputError(f"{path} is a page that geoscan did not make, and would be lost; write to another file")


def write(
    path: Path,
    results: Sequence[SceneResult],
    found: Sequence[Detection],
    *,
    command: str = "",
    missing: Mapping[str, str] | None = None,
    left_out: int = 0,
) -> None:
    """Write a report of a scan of some scenes, one at least, whose pixels are read for its pictures.

    What cannot be read has no pictures, and the report says so; a scene from a journal has none.
    found: detections of all scenes, each mine once. command: what was asked, for people. missing: scenes that could not
    be scanned, and why. left_out: how many rasters in folders could not be.
    An existing file is replaced, in one step; after a failure it is still there. Raises InputError as `check_target`
    does, OutputError when writing fails.
    """
    from geoscan.report.html import render
    from geoscan.report.page import page_of

    check_target(path)
    content = render(page_of(results, found, command=command, missing=missing, left_out=left_out))
    with files.replacing(path) as part:
        part.write_text(content, encoding="utf-8")
