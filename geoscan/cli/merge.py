"""`geoscan merge`: a layer of journals, with other thresholds, in seconds."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import click

from geoscan.cli import options, outputs, tell

if TYPE_CHECKING:
    from geoscan.scanning.result import SceneResult

    _Merged: TypeAlias = tuple[Path, SceneResult, int]

log = logging.getLogger(__name__)


@click.command(epilog="Example:  geoscan merge mines.journal --operate strict --out strict.geojson")
@click.argument("journals", nargs=-1, required=True, metavar="JOURNAL...", type=click.Path(path_type=Path))
@outputs.layer
@outputs.options
@options.thresholds(None)
@options.verbosity
def merge(journals: tuple[Path, ...], out: Path, operate: str | None, **asked: Any) -> None:
    """Make one layer of what journals hold, without their scenes and models.

    JOURNAL is what `geoscan scan --journal` keeps, or what a scan left that was ended. Outlines are those of whole
    chips: finer ones need the scene. The exit status is 1 where one is not complete, or some of its chips could not be
    read: the rest is written all the same.
    """
    from geoscan.model.figures import DEFAULT_POINT
    from geoscan.scanning.merge import NOT_YET, merge_journal
    from geoscan.scanning.options import ScanOptions

    files: dict[Path, Path] = {}
    for path in journals:
        files.setdefault(path.resolve(), path)
    journals = tuple(files.values())
    wanted = outputs.Outputs.taken(out, asked)
    wanted.check(map(str, journals), len(journals))
    wanted.check_kept()
    how = ScanOptions(operate=operate or DEFAULT_POINT, **asked)
    merged = [(path, *merge_journal(path, how, pointed=operate is not None)) for path in journals]
    results = []
    for path, result, missing in _of_different_scans(merged):
        results.append(result)
        if missing:
            log.warning(
                "%s is not complete: %s of %s chips were not scanned yet; they are not observed",
                path,
                f"{missing:,}",
                f"{len(result.plan.grid):,}",
            )
    wanted.write(results)
    for result in results:
        unread = {tile: why for tile, why in result.seen.failed.items() if why != NOT_YET}
        told = replace(result.summary, failed=len(unread))  # those that no scan has come to are told of above
        tell.result(replace(result, seen=replace(result.seen, failed=unread), summary=told))
    if any(result.seen.failed for result in results):
        click.get_current_context().exit(1)


def _of_different_scans(merged: list[_Merged]) -> list[_Merged]:
    """Leave out journals of which another, that lacks no more, is of the same scan, and say so."""
    from geoscan.scanning.journal.key import key_of

    kept: dict[tuple[object, ...], _Merged] = {}
    for one in merged:
        plan = one[1].plan
        key = plan.name, plan.reading.get("date"), *key_of(plan).items()
        first = kept.setdefault(key, one)
        if first is not one:
            kept[key], less = sorted([first, one], key=lambda of: of[2])
            log.warning("%s is left out: %s is of the same scan", less[0], kept[key][0])
    return list(kept.values())
