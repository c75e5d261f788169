"""The files that a scan, or a merge of journals, writes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from geoscan.polygons import Detection
    from geoscan.scanning.result import SceneResult

COMMAND: Final = "geoscan.command"
"""Key in click's `Context.meta`: what was typed, as a shell takes it."""

REPORT: Final = click.option(
    "--report",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="PATH",
    help="Write a report, too: one HTML file with maps, pictures, tables and the model's card, for any browser.",
)


@dataclass(frozen=True, slots=True)
class Outputs:
    """The files that are asked for; each field is an option."""

    out: Path | None
    report: Path | None = None

    def check(self, sources: Iterable[str]) -> None:
        """Check, before any work, that all can be written, and that none would replace a source.

        Raises InputError.
        """
        from geoscan import layers, report

        sources = list(sources)
        if self.out is not None:
            layers.check_target(self.out, sources)
        if self.report is not None:
            report.check_target(self.report, sources)

    def write(
        self, results: Sequence[SceneResult], broken: Mapping[str, Exception] | None = None, left_out: int = 0
    ) -> list[Detection]:
        """Write what was found in some scenes, and give it, each mine once.

        broken: scenes that could not be scanned, and why. left_out: how many rasters in folders could not be.
        """
        from geoscan import gdal, layers, report
        from geoscan.scanning.result import found_in

        found = found_in(results)
        if self.out is not None:
            layers.write(self.out, found, [result.seen for result in results])
        if self.report is not None:
            missing = {name: str(error) for name, error in (broken or {}).items()}
            command = gdal.presentable(click.get_current_context().meta[COMMAND])
            report.write(self.report, results, found, command=command, missing=missing, left_out=left_out)
        return found
