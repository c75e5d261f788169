"""The files that a scan, or a merge of journals, writes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from geoscan.cli import tell

if TYPE_CHECKING:
    from geoscan.layers.earlier import Earlier
    from geoscan.polygons import Detection
    from geoscan.scanning.result import SceneResult


def _place(ctx: click.Context, param: click.Parameter, value: Path | None) -> Path | None:
    if value == Path():
        raise click.BadParameter("an empty name is no place to write to", ctx, param)
    return value


def _file(name: str, said: str) -> Callable[..., Any]:
    """Make an option that names a file to write."""
    kind = click.Path(dir_okay=False, path_type=Path)
    return click.option(f"--{name}", type=kind, metavar="PATH", callback=_place, help=said)


_OPTIONS: Final = {
    "obscured": _file(
        "obscured",
        "Layer to write of cloud, haze, nodata, and what could not be read or understood; --out mines.gpkg holds it "
        "anyway.",
    ),
    "heatmap": _file(
        "heatmap",
        "Write the mine score of one scene, too: a Cloud-Optimized GeoTIFF, a pixel a chip's core, and its style for "
        "QGIS. The last row and column of pixels may reach beyond the scene.",
    ),
    "report": _file(
        "report",
        "Write a report, too: one HTML file with maps, pictures, tables and the model's card, for any browser.",
    ),
    "since": click.option(
        "--since",
        type=click.Path(path_type=Path),
        metavar="LAYER",
        help="Earlier layer, of a scan or of known mines: tells what is new, known, grown or gone since; keeps first "
        "dates and reviews, and what is not seen now. What was no mine and has grown is unreviewed again. "
        "It may be the layer that is written.",
    ),
}
"""By the names of the fields of `Outputs` that they fill."""


def options(command: Callable[..., None]) -> Callable[..., None]:
    """Add an option for each file beside the layer."""
    for option in reversed(_OPTIONS.values()):
        command = option(command)
    return command


def layer(command: Callable[..., None]) -> Callable[..., None]:
    """Add --out, one layer that must be named."""
    kind = click.Path(dir_okay=False, path_type=Path)
    said = "Layer to write: .geojson, .gpkg, .fgb or .parquet."
    return click.option("--out", required=True, type=kind, help=said)(command)


@dataclass(frozen=True, slots=True)
class Outputs:
    """The files that are asked for; each field is an option."""

    out: Path | None
    obscured: Path | None = None
    heatmap: Path | None = None
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

    def check(self, sources: Iterable[str], scenes: int = 1) -> None:
        """Check, before any work, that all can be written, and that none would replace a source or another.

        scenes: how many there are, as far as that is known. Raises InputError.
        """
        from geoscan import layers, report
        from geoscan.layers import heatmap

        sources = list(sources)
        for path in (self.out, self.obscured):
            if path is not None:
                layers.check_target(path, sources)
        if self.heatmap is not None:
            heatmap.check_target(self.heatmap, sources, scenes)
        for one, other in combinations(filter(None, (self.out, self.obscured, self.heatmap)), 2):
            layers.check_apart(one, other)
        if self.report is not None:
            report.check_target(self.report, sources)

    def check_kept(self) -> None:
        """Check, once it is known that they can be written, that no layer would replace what people have made.

        Raises InputError.
        """
        from geoscan.layers import kept

        if self.out is not None:
            kept.check(self.out, self.since.path if self.since else None)
        if self.obscured is not None:
            kept.check(self.obscured)  # it takes no reviews over

    def write(
        self, results: Sequence[SceneResult], broken: Mapping[str, Exception] | None = None, left_out: int = 0
    ) -> list[Detection]:
        """Write what was found in some scenes, and give it, each mine once; with what an earlier layer alone holds.

        broken: scenes that could not be scanned, and why. left_out: how many rasters in folders could not be.
        Raises InputError where people have worked on a file meanwhile, and would lose what they have made.
        """
        from geoscan import changes, layers, report
        from geoscan.cli.command_line import command_line
        from geoscan.layers import heatmap
        from geoscan.scanning.result import found_in

        found, command = found_in(results), command_line()
        scenes = [replace(result.seen, command=command) for result in results]
        since = self._kept_since()
        if since is None:
            found = changes.dated(found, scenes)
        else:
            found = changes.since(found, since.detections, scenes)
            sources = [one.provenance for one in scenes]
            dates = {one.scene: one.reading.get("date", "") for one in sources}
            tell.changes(since, found, sources, dates)
        if self.out is not None:
            layers.write(self.out, found, scenes)
        if self.obscured is not None:
            layers.write_obscured(self.obscured, scenes)
        if self.heatmap is not None:
            heatmap.write(self.heatmap, scenes[0])
        if self.report is not None:
            missing = {name: str(error) for name, error in (broken or {}).items()}
            report.write(self.report, results, found, command=command, missing=missing, left_out=left_out)
        return found

    def _kept_since(self) -> Earlier | None:
        """Check again what people have made, who may have saved it during the scan, and give the earlier layer.

        One that is to be replaced is read again, for the reviews in it now.
        """
        from geoscan.layers import earlier, kept

        with kept.meanwhile():
            self.check_kept()
            paths = [self.out, self.since.path] if self.out and self.since else []
            if paths and all(path.exists() for path in paths) and paths[0].samefile(paths[1]):
                return earlier.read(paths[0])
            return self.since


def names_a_file(asked: Mapping[str, Any]) -> bool:
    """Tell whether a file is asked for besides the layer."""
    return any(asked[name] is not None for name in _OPTIONS if name != "since")


def refuse_with_folder(asked: Mapping[str, Any]) -> None:
    """Refuse, as misuse, what is of one layer where `--out` is a folder of them."""
    for name in _OPTIONS:
        if asked[name] is not None:
            raise click.UsageError(
                f"--{name} is of one layer, and --out is a folder; pass a file as --out, or keep --journal of the "
                f"scenes, and pass --{name} to geoscan merge"
            )
