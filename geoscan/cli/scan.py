"""`geoscan scan`: scenes in, a vector layer of mines out."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from tqdm import tqdm

from geoscan.cli import options, streams
from geoscan.machine import check_memory_for_network
from geoscan.model.figures import DEFAULT_POINT, POINTS

if TYPE_CHECKING:
    from geoscan.scanning.result import SceneResult
    from geoscan.scanning.summary import Summary

log = logging.getLogger(__name__)

_CAUSES = 3
"""Chips that could not be read, and are named one by one."""


@click.command(
    epilog="Examples:  geoscan scene.tif --out mines.geojson   |   geoscan scenes/ --out mines.gpkg --stride 128"
)
@click.argument("scenes", nargs=-1, required=True, metavar="SCENE...")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Layer to write: .geojson, .gpkg, .fgb or .parquet. Without it --json must be given.",
)
@click.option("--model", default="auto", show_default=True, help="Shipped model, or directory of a package.")
@click.option("--stride", type=click.IntRange(1), help="Pixels from chip to chip; less than a chip lets them overlap.")
@options.pixels
@click.option(
    "--operate",
    type=click.Choice(POINTS),
    default=DEFAULT_POINT,
    show_default=True,
    help="Operating point in the model's card: more mines found, or fewer false alarms.",
)
@click.option("--high", type=click.FloatRange(0, 1), help="Score that a detection's best chip must reach.")
@click.option("--low", type=click.FloatRange(0, 1), help="Score at which neighbouring chips join a detection.")
@click.option("--isolated", type=click.FloatRange(0, 1), help="Score that a chip without neighbours must reach.")
@click.option(
    "--prior",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Fraction of the scene's chips that show a mine, for the column `probability`.  [default: what the model's "
    "card assumes]",
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
@click.option("--json", "as_json", is_flag=True, help="Print the figures of the scan as one JSON object.")
@options.verbosity
def scan(
    scenes: tuple[str, ...], out: Path | None, jobs: int | None, scheduler: str | None, as_json: bool, **asked: Any
) -> None:
    """Scan scenes, or the rasters in a directory, for artisanal gold mines.

    SCENE is any raster that GDAL reads, local or remote. Thresholds that are not given are those of --operate. The exit
    status is 1 when a part of a scene could not be read, or a scene was written meanwhile: the rest is written all the
    same.
    """
    if out is None and not as_json:
        raise click.UsageError("nothing would be written; pass --out mines.geojson, or --json")
    from geoscan import layers
    from geoscan.scanning.options import ScanOptions
    from geoscan.scanning.result import found_in, total
    from geoscan.scanning.scenes import plan_scenes, scan_scenes
    from geoscan.scanning.workers import workers

    if out is not None:
        layers.check_target(out, scenes)
    plans, left_out = plan_scenes(scenes, ScanOptions(**asked))
    for runtime in sorted({plan.runtime for plan in plans}):
        check_memory_for_network(jobs, runtime)
    if out is not None:
        layers.check_target(out, [file for plan in plans for file in plan.scene.product.files])
    chips = sum(len(plan.grid) for plan in plans)
    batches = sum(plan.batches for plan in plans)
    with (
        workers(jobs, scheduler, batches=batches) as pool,
        tqdm(total=chips, unit="chip", disable=options.silent(), leave=False) as bar,
    ):
        results = list(scan_scenes(plans, pool, begin=bar.set_description, advance=options.advance(bar)))
    found = found_in(results)
    if out is not None:
        layers.write(out, found, [result.provenance for result in results])
    for result in results:
        _tell(result)
    if as_json:
        streams.answer(json.dumps(total(results, found).to_dict()))
    if left_out or any(result.failed or result.changed for result in results):
        click.get_current_context().exit(1)


def _tell(result: SceneResult) -> None:
    causes = list(result.failed.values())
    for cause in causes[:_CAUSES]:
        log.warning("%s", cause)
    if len(causes) > _CAUSES:
        log.warning("%s more could not be read", _count(len(causes) - _CAUSES, "chip"))
    if result.changed:
        log.warning("%s was written during the scan, which may mix old and new pixels; scan it again", result.changed)
    log.info("%s", _sentence(result.summary))


def _sentence(of: Summary) -> str:
    parts = [
        f"{_count(of.detections, 'detection')} ({of.flagged} of {_count(of.chips, 'chip')}, {of.area_ha:.0f} ha) "
        f"by {of.model}, {of.operate}",
        f"{of.observed_fraction:.0%} of the scene observed",
        f"{_count(of.skipped, 'chip')} without data" if of.skipped else "",
        f"{_count(of.failed, 'chip')} could not be read" if of.failed else "",
        f"{_count(of.not_understood, 'chip')} not understood" if of.not_understood else "",
        f"{of.seconds:.1f} s, {of.chips_per_second:.1f} chips/s",
    ]
    return f"{of.scene}: " + "; ".join(part for part in parts if part)


def _count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"
