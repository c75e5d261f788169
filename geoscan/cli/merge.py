"""`geoscan merge`: a layer of journals, with other thresholds, in seconds."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from geoscan.cli import options, outputs, tell

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

    journals = tuple(dict.fromkeys(journals))
    wanted = outputs.Outputs.taken(out, asked)
    wanted.check(map(str, journals), len(journals))
    wanted.check_kept()
    how = ScanOptions(operate=operate or DEFAULT_POINT, **asked)
    results = []
    for path in journals:
        result, missing = merge_journal(path, how, pointed=operate is not None)
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
