"""The files that a scan, or a merge of journals, writes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from geoscan.cli import tell

if TYPE_CHECKING:
    from geoscan.layers.earlier import Earlier
    from geoscan.polygons import Detection
    from geoscan.scanning.result import SceneResult

COMMAND: Final = "geoscan.command"
"""Key in click's `Context.meta`: what was typed, as a shell takes it."""

_FILE: Final = click.Path(dir_okay=False, path_type=Path)

_OPTIONS: Final = {
    "report": click.option(
        "--report",
        type=_FILE,
        metavar="PATH",
        help="Write a report, too: one HTML file with maps, pictures, tables and the model's card, for any browser.",
    ),
    "since": click.option(
        "--since",
        type=click.Path(path_type=Path),
        metavar="LAYER",
        help="Earlier layer, of a scan or of known mines: tells what is new, known, grown or gone since; keeps first "
        "dates and reviews, and what is not seen now. It may be the layer that is written.",
    ),
}
"""By the names of the fields of `Outputs` that they fill."""


def options(command: Callable[..., None]) -> Callable[..., None]:
    """Add an option for each file beside the layer."""
    for option in reversed(_OPTIONS.values()):
        command = option(command)
    return command


@dataclass(frozen=True, slots=True)
class Outputs:
    """The files that are asked for; each field is an option."""

    out: Path | None
    report: Path | None = None
    since: Earlier | None = None
    """What was found before."""

    @classmethod
    def taken(cls, out: Path | None, asked: dict[str, Any]) -> Outputs:
        """Take what the options of this module ask for out of all that a command is asked.

        Raises InputError for an earlier layer that cannot be read.
        """
        from geoscan.layers import earlier

        own = {name: asked.pop(name) for name in _OPTIONS}
        if own["since"] is not None:
            own["since"] = earlier.read(own["since"])
        return cls(out, **own)

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
        """Write what was found in some scenes, and give it, each mine once; with what an earlier layer alone holds.

        broken: scenes that could not be scanned, and why. left_out: how many rasters in folders could not be.
        """
        from geoscan import changes, gdal, layers, report
        from geoscan.scanning.result import found_in

        found, scenes = found_in(results), [result.seen for result in results]
        if self.since is not None:
            found = changes.since(found, self.since.detections, scenes)
            tell.changes(self.since, found, [one.provenance for one in scenes])
        if self.out is not None:
            layers.write(self.out, found, scenes)
        if self.report is not None:
            missing = {name: str(error) for name, error in (broken or {}).items()}
            command = gdal.presentable(click.get_current_context().meta[COMMAND])
            report.write(self.report, results, found, command=command, missing=missing, left_out=left_out)
        return found


def names_a_file(asked: Mapping[str, Any]) -> bool:
    """Tell whether a file is asked for besides the layer."""
    return any(asked[name] is not None for name in _OPTIONS if name != "since")


def refuse_with_folder(asked: Mapping[str, Any]) -> None:
    """Refuse, as misuse, what is of one layer where `--out` is a folder of them."""
    for name in _OPTIONS:
        if asked[name] is not None:
            raise click.UsageError(
                f"--{name} is of one layer, and --out is a folder; pass a file as --out, or keep --journal of the scenes, "
                f"and pass --{name} to geoscan merge"
            )
