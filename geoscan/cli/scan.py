"""`geoscan scan`: scenes in, a vector layer of mines out."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from tqdm import tqdm

from geoscan.cli import options
from geoscan.machine import BATCH

if TYPE_CHECKING:
    from geoscan.model.package import Package
    from geoscan.polygons import Hysteresis
    from geoscan.scanning.plan import Plan

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
@click.option("--high", type=click.FloatRange(0, 1), help="Score that a detection's best chip must reach.")
@click.option("--low", type=click.FloatRange(0, 1), help="Score at which neighbouring chips join a detection.")
@click.option("--isolated", type=click.FloatRange(0, 1), help="Score that a chip without neighbours must reach.")
@click.option(
    "--prior",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Share of the scene's chips that hold mines, for the column `probability`.  [default: what the model's card "
    "assumes]",
)
@options.jobs
@click.option("--scheduler", metavar="ADDRESS", help="Work on a dask cluster, such as tcp://10.0.0.5:8786.")
@click.option(
    "--batch", type=click.IntRange(1), default=BATCH, show_default=True, help="Chips that are scored at once."
)
@options.tta
@click.option("--json", "as_json", is_flag=True, help="Print the figures of the scan as one JSON object.")
@options.verbosity
def scan(
    scenes: tuple[str, ...],
    out: Path | None,
    model: str,
    stride: int | None,
    bands: tuple[int, int, int] | None,
    stretch: str,
    high: float | None,
    low: float | None,
    isolated: float | None,
    prior: float | None,
    jobs: int | None,
    scheduler: str | None,
    batch: int,
    tta: bool | None,
    as_json: bool,
) -> None:
    """Scan scenes, or the rasters in a directory, for artisanal gold mines.

    SCENE is any raster that GDAL reads, local or remote. Hysteresis that are not given are the model's own. The exit
    status is 1 when a part of a scene could not be read: the rest is written all the same.
    """
    if out is None and not as_json:
        raise click.UsageError("nothing would be written; pass --out mines.geojson, or --json")
    from geoscan import layers
    from geoscan.machine import cores
    from geoscan.scanning.plan import each_scene
    from geoscan.scanning.run import scan as scan_scene
    from geoscan.scanning.workers import workers

    if out is not None:
        layers.check_target(out, scenes)
    addresses = _addresses(scenes)
    planner = _planner(model, bands, stride, stretch, _names(addresses))
    plans, left_out = each_scene(planner, addresses)
    chosen = [_thresholds(package, high, low, isolated) for _, package in plans]
    for _, package in plans:
        if tta is not None and tta != package.card.tta:
            tuned, other = ("averaged", "--no-tta") if package.card.tta else ("single", "--tta")
            log.warning(
                "thresholds and probabilities of %s are for %s scores: with %s they fit less well",
                package.card.name,
                tuned,
                other,
            )
    found, provenance, summaries, ground = [], [], [], []
    with ExitStack() as stack:
        client = stack.enter_context(workers(cores() if jobs is None else jobs, scheduler))
        bar = stack.enter_context(
            tqdm(total=sum(len(plan.grid) for plan, _ in plans), unit="chip", disable=options.silent(), leave=False)
        )
        for (plan, package), thresholds in zip(plans, chosen, strict=True):
            bar.set_description(plan.name)
            scores = scan_scene(plan, package, client, batch=batch, tta=tta, progress=options.advance(bar))
            _tell(list(scores.failed.values()))
            here = scores.detections(thresholds, prior)
            found += here
            provenance.append(scores.provenance(thresholds, prior))
            summaries.append(scores.summary(thresholds, here))
            ground.append(plan.grid.rows * plan.grid.cols * plan.scene.gsd[0] * plan.scene.gsd[1])
            log.info("%s", _sentence(summaries[-1]))
    if out is not None:
        layers.write(out, found, provenance)
    if as_json:
        click.echo(json.dumps(summaries[0] if len(summaries) == 1 else _total(summaries, ground)))
    if left_out or any(summary["failed"] for summary in summaries):
        click.get_current_context().exit(1)


def _addresses(scenes: tuple[str, ...]) -> list[tuple[str, bool]]:
    """Give each scene's address, and whether it was named outright and not found in a directory."""
    from geoscan.scene import find_scenes

    return [(address, address in scenes) for address in find_scenes(scenes)]


def _names(addresses: Sequence[tuple[str, bool]]) -> dict[str, str]:
    """Name scenes so that those of several folders can be told apart, by address."""
    from geoscan.gdal import short_names

    paths = [path for path, _ in addresses]
    return dict(zip(paths, short_names(paths), strict=True))


def _planner(
    model: str,
    bands: tuple[int, int, int] | None,
    stride: int | None,
    stretch: str,
    names: Mapping[str, str],
) -> Callable[[str], tuple[Plan, Package]]:
    from geoscan.errors import PackageError
    from geoscan.model.package import choose, find, shipped
    from geoscan.scanning.plan import Plan
    from geoscan.scene import Scene

    named = None if model == "auto" else find(model)
    try:
        packages = shipped()
    except PackageError:
        if named is None:
            raise
        packages = []  # a damaged one is no obstacle to using another
    fits = ", ".join(f"{one.card.name} {one.card.preprocess.gsd:g} m" for one in packages) or "none"
    hint = f"shipped models: {fits}; give a scene of their resolution, or another model with --model"

    def plan(address: str) -> tuple[Plan, Package]:
        scene = Scene.open(address, bands=bands)
        package = named or choose(packages, scene.gsd)
        return Plan.of(scene, package, stride=stride, stretch=stretch, hint=hint, name=names[address]), package

    return plan


def _thresholds(package: Package, high: float | None, low: float | None, isolated: float | None) -> Hysteresis:
    """Take the model's thresholds where none are given; one that is given moves those it would contradict."""
    from geoscan.polygons import Hysteresis

    own = package.card.detection
    chosen = own.high if high is None else high
    return Hysteresis(
        high=chosen,
        low=min(own.low, chosen) if low is None else low,
        isolated=max(own.isolated, chosen) if isolated is None else isolated,
    )


def _tell(causes: list[str]) -> None:
    for cause in causes[:_CAUSES]:
        log.warning("%s", cause)
    if len(causes) > _CAUSES:
        log.warning("%s more could not be read", _count(len(causes) - _CAUSES, "chip"))


def _sentence(figures: dict[str, Any]) -> str:
    parts = [
        f"{_count(figures['detections'], 'detection')} ({figures['flagged']} of {_count(figures['chips'], 'chip')}, "
        f"{figures['area_ha']:.0f} ha) by {figures['model']}",
        f"{figures['observed_fraction']:.0%} of the scene observed",
        f"{_count(figures['skipped'], 'chip')} without data" if figures["skipped"] else "",
        f"{_count(figures['failed'], 'chip')} could not be read" if figures["failed"] else "",
        f"{figures['seconds']:.1f} s, {figures['chips_per_second']:.1f} chips/s",
    ]
    return f"{figures['scene']}: " + "; ".join(part for part in parts if part)


def _count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def _total(summaries: list[dict[str, Any]], ground: list[float]) -> dict[str, Any]:
    """Figures of several scenes together, and of each under `scenes`; ground: what each covers, in square metres."""
    total: dict[str, Any] = {"scene": [one["scene"] for one in summaries]}
    for key in ("model", "digest", "tta"):
        values = list(dict.fromkeys(one[key] for one in summaries))
        total[key] = values[0] if len(values) == 1 else values
    for key in ("chips", "skipped", "failed", "flagged", "detections", "area_ha", "seconds"):
        total[key] = round(sum(one[key] for one in summaries), 4)
    observed = sum(one["observed_fraction"] * area for one, area in zip(summaries, ground, strict=True))
    total["observed_fraction"] = round(observed / sum(ground), 6)
    scored = total["chips"] - total["skipped"] - total["failed"]
    total["chips_per_second"] = round(scored / total["seconds"], 3) if total["seconds"] else 0.0
    stages = summaries[0]["stage_seconds"]
    total["stage_seconds"] = {key: round(sum(one["stage_seconds"][key] for one in summaries), 3) for key in stages}
    total["peak_rss_mb"] = summaries[-1]["peak_rss_mb"]
    total["scenes"] = summaries
    return total
