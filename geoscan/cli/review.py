"""`geoscan review`: what a person said of detections becomes chips to train on."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import click

from geoscan.cli import options

log = logging.getLogger(__name__)


@click.command(epilog="Example:  geoscan review mines.gpkg --scene scene.tif --out chips/")
@click.argument("layer", type=click.Path(path_type=Path))
@click.option(
    "--scene", "scenes", multiple=True, required=True, help="Scene that the polygons were found in; may be repeated."
)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder to write: a picture a chip, and index.csv. An earlier chip set in it is replaced.",
)
@click.option(
    "--model",
    default="auto",
    show_default=True,
    help="Model that the chips are for: shipped, or directory of a package; auto is the one that made the layer.",
)
@click.option("--stride", type=click.IntRange(1), help="As the scan had it, where it was given one.")
@options.pixels
@click.option("--force", is_flag=True, help="Take a scene that looks like nothing that the model has learned from.")
@options.verbosity
def review(layer: Path, scenes: tuple[str, ...], out: Path, model: str, **asked: Any) -> None:
    """Make chips of the polygons in LAYER whose column `review` says mine or not_mine, for `geoscan train --tune`.

    LAYER is what a scan wrote and a person reviewed, or one drawn by hand with that column alone. A chip is read as the
    model reads it where a polygon covers half of it or more; of a smaller polygon, the chip that it covers most. A
    polygon is looked for in the scene that its column `scene` names, or in every scene; one that was found in several
    gives a chip of the latest that shows the ground, for it may be new there. The exit status is 1 when some chips
    could not be read.
    """
    from geoscan.reviewing.chip_set import check_folder
    from geoscan.reviewing.export import export, model_of
    from geoscan.reviewing.layer import read_reviewed
    from geoscan.scanning.options import ScanOptions
    from geoscan.scanning.scenes import plan_scenes

    check_folder(out, [str(layer), *scenes])
    reviewed = read_reviewed(layer)
    plans, left_out = plan_scenes(scenes, ScanOptions(model=model_of(reviewed, model), **asked))
    check_folder(out, [file for plan in plans for file in plan.scene.product.files])
    done = export(reviewed, plans, out)
    log.info("%s: %d chips of mines, %d of what is no mine", out, done.mines, done.others)
    for name, why in done.failed.items():
        log.warning("%s could not be read: %s", name, why)
    if done.failed or left_out:
        click.get_current_context().exit(1)
