"""`geoscan scan`: scenes in, vector layers of mines out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from geoscan.cli import options, outputs, progress, streams, tell
from geoscan.machine import check_memory_for_network
from geoscan.model.figures import DEFAULT_POINT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from geoscan.errors import GeoscanError
    from geoscan.scanning.folder import Outcome
    from geoscan.scanning.journal.journals import Journals
    from geoscan.scanning.options import ScanOptions
    from geoscan.scanning.plan import Plan
    from geoscan.scanning.result import SceneResult
    from geoscan.scanning.workers import Workers


@click.command(
    epilog="Examples:  geoscan scene.tif --out mines.geojson   |   geoscan scenes/ --out mines.gpkg --stride 128"
)
@click.argument("scenes", nargs=-1, required=True, metavar="SCENE...")
@click.option(
    "--out",
    metavar="PATH",
    help="Layer to write: .geojson, .gpkg, .fgb or .parquet; or a folder (one that is there, or a name that ends in "
    "/), which gets a GeoJSON layer a scene. Without it, --json, --obscured, --heatmap or --report must be given.",
)
@outputs.options
@click.option("--model", default="auto", show_default=True, help="Shipped model, or directory of a package.")
@click.option("--stride", type=click.IntRange(1), help="Pixels from chip to chip; less than a chip lets them overlap.")
@options.pixels
@options.thresholds(DEFAULT_POINT)
@click.option(
    "--outline",
    type=click.Choice(["chip", "activation"]),
    help="What outlines are of: whole chips, or the parts of them that speak for a mine, by class activation; that "
    "takes a second look at detections.  [default: activation for a DenseNet whose package can tell]",
)
@click.option("--force", is_flag=True, help="Scan what looks like nothing that the model has learned from, too.")
@options.jobs
@click.option("--scheduler", metavar="ADDRESS", help="Work on a dask cluster, such as tcp://10.0.0.5:8786.")
@click.option(
    "--batch",
    type=click.IntRange(1),
    help="Chips that are scored at once.  [default: as many as have a million pixels]",
)
@options.runtime
@options.tta
@click.option(
    "--journal",
    metavar="PATH",
    help="Keep the journal there, for `geoscan merge`: a .journal file, or a folder for those of several scenes.  "
    "[default: beside the layer until it is written; none without --out]",
)
@click.option("--fresh", is_flag=True, help="Begin anew, whatever an earlier run has left.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print the figures of the scan: one JSON object, or one a layer and line."
)
@click.option(
    "--progress", is_flag=True, help="Say how far the scan is in lines of JSON on stderr, for programs, not in a bar."
)
@options.verbosity
def scan(out: str | None, **asked: Any) -> None:
    """Scan scenes, or the rasters in a directory, for artisanal gold mines.

    SCENE is any raster that GDAL reads, local or remote. Thresholds that are not given are those of --operate. The same
    command goes on where an earlier run was ended, and tries again what could not be read. The exit status is 1 when a
    part of a scene could not be read, or a scene was written meanwhile: the rest is written all the same.
    """
    if out is None and not (asked["as_json"] or outputs.names_a_file(asked)):
        raise click.UsageError("nothing would be written; pass --out mines.geojson, or --json")
    if "" in (out, asked["journal"]):
        raise click.UsageError("an empty name is no place to write to; pass --out mines.geojson")
    from geoscan.files import is_folder
    from geoscan.scanning.options import ScanOptions

    folder = out is not None and is_folder(out)
    if folder:
        outputs.refuse_with_folder(asked)
    own = {name: asked.pop(name) for name in _OWN}
    wanted = outputs.Outputs.taken(Path(out) if out else None, asked)
    ask = _Ask(outputs=wanted, options=ScanOptions(**asked), **own)
    work = _layers if folder else _one_layer
    if not work(ask):
        click.get_current_context().exit(1)


@dataclass(frozen=True, slots=True)
class _Ask:
    """What the command line asks for; each field is an option."""

    scenes: tuple[str, ...]
    outputs: outputs.Outputs
    options: ScanOptions
    jobs: int | None
    scheduler: str | None
    journal: str | None
    fresh: bool
    as_json: bool
    progress: bool

    def journals(self, plans: Sequence[Plan], beside: list[tuple[Plan, Path]]) -> Journals | None:
        """Say where journals go; None where no layer is written, and none was asked for."""
        from geoscan.scanning.journal.journals import Journals, asked_for

        if self.journal is not None:
            return Journals(asked_for(self.journal, plans), keep=True, fresh=self.fresh)
        return Journals(beside, fresh=self.fresh) if beside else None


_OWN: Final = ("scenes", "jobs", "scheduler", "journal", "fresh", "as_json", "progress")
"""What no scene's plan depends on."""


def _one_layer(ask: _Ask) -> bool:
    """Scan scenes into one layer, or none; tell whether all went well."""
    from geoscan.scanning.journal.journals import beside
    from geoscan.scanning.result import total
    from geoscan.scanning.scenes import plan_scenes, scan_scenes

    wanted = ask.outputs
    wanted.check(ask.scenes)
    wanted.check_kept()
    plans, left_out = plan_scenes(ask.scenes, ask.options)
    wanted.check([file for plan in plans for file in plan.scene.product.files], len(plans))
    journals = ask.journals(plans, beside(wanted.out, plans) if wanted.out else [])
    broken: dict[str, GeoscanError] = {}
    note = broken.__setitem__ if len(plans) > 1 else None
    with _working(ask, plans, journals) as (pool, shown):
        results = list(scan_scenes(plans, pool, **shown, journals=journals, broken=note))
    if not results:
        raise next(iter(broken.values()))
    found = wanted.write(results, broken, left_out)
    _tell(results, broken, journals)
    if ask.as_json:
        streams.answer(json.dumps(total(results, found, compared=wanted.since is not None).to_dict()))
    return not (left_out or broken) and all(result.well for result in results)


def _tell(results: Sequence[SceneResult], broken: dict[str, GeoscanError], journals: Journals | None) -> None:
    """Say what became of the scenes of a layer that is written, whose journals end here."""
    for result in results:
        tell.result(result)
        if journals is not None:
            tell.kept(journals.end(result.plan, well=result.well))
    rows = [(result.plan.name, result.summary.to_dict(), "") for result in results]
    rows += [(scene, {}, str(error)) for scene, error in broken.items()]
    if len(rows) > 1:
        tell.table(rows)


def _layers(ask: _Ask) -> bool:
    """Scan scenes into a layer each; tell whether all went well."""
    from geoscan.scanning.folder import Folder, broken
    from geoscan.scanning.scenes import plan_scenes

    assert ask.outputs.out is not None
    outcomes: list[Outcome] = []

    def note(outcome: Outcome) -> None:
        outcomes.append(outcome)
        if ask.as_json:
            streams.answer(json.dumps(outcome.to_dict()))

    folder = Folder(ask.outputs.out, fresh=ask.fresh)
    plans, _ = plan_scenes(
        ask.scenes, ask.options, broken=lambda scene, error: note(broken(scene, error)), done=folder.has
    )
    folder.prepare(plans)
    journals = ask.journals(plans, folder.journals(plans))
    assert journals is not None
    with _working(ask, [plan for plan in plans if not folder.has(plan)], journals) as (pool, shown):
        for outcome in folder.scan(plans, pool, **shown, journals=journals):
            note(outcome)
            tell.outcome(outcome)
    tell.table([(one.scene, one.figures, one.error) for one in outcomes])
    return all(one.well for one in outcomes)


@contextmanager
def _working(ask: _Ask, plans: Sequence[Plan], journals: Journals | None) -> Iterator[tuple[Workers, dict[str, Any]]]:
    """Give workers, and what shows how far they are; who ends them is told what is left."""
    from geoscan.scanning.workers import workers

    for runtime in sorted({plan.runtime for plan in plans}):
        check_memory_for_network(ask.jobs, runtime)
    chips = sum(len(plan.grid) for plan in plans)
    batches = sum(plan.batches for plan in plans)
    try:
        with (
            workers(ask.jobs, ask.scheduler, batches=batches) as pool,
            progress.shown(chips, lines=ask.progress) as told,
        ):
            yield pool, told
    except KeyboardInterrupt:
        left = journals.told if journals is not None else ""
        raise KeyboardInterrupt(f"interrupted; {left}" if left else "interrupted") from None
