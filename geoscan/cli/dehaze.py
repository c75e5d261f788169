"""`geoscan dehaze`: a whole scene without haze, to look at."""

from __future__ import annotations

import logging
from pathlib import Path

import click
from tqdm import tqdm

from geoscan.cli import options

log = logging.getLogger(__name__)


@click.command(epilog="Example:  geoscan dehaze scene.tif --out dehazed.tif")
@click.argument("scene")
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="GeoTIFF to write, 8-bit RGB."
)
@options.pixels
@click.option(
    "--airlight",
    type=click.Choice(["scene", "fixed"]),
    default="scene",
    show_default=True,
    help="Colour of the haze: estimated from the scene, or a constant.",
)
@click.option(
    "--omega", type=click.FloatRange(0, 1), default=0.8, show_default=True, help="Share of the haze to remove."
)
@options.jobs
@options.verbosity
def dehaze(
    scene: str,
    out: Path,
    bands: tuple[int, int, int] | None,
    stretch: str,
    airlight: str,
    omega: float,
    jobs: int | None,
) -> None:
    """Remove the haze of a whole SCENE and write it as a tiled GeoTIFF with overviews, on the same grid."""
    from geoscan.dehazed_scene import check_target, restore
    from geoscan.dehazing import DehazeParams
    from geoscan.machine import cores
    from geoscan.radiometry import resolve
    from geoscan.scene import Scene

    params = DehazeParams(airlight="fixed" if airlight == "fixed" else "scene", omega=omega)
    check_target(out, scene)
    opened = Scene.open(scene, bands=bands)
    with tqdm(unit="block", disable=options.silent(), leave=False) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        written = restore(
            opened,
            resolve(stretch, opened),
            params,
            out,
            jobs=cores() if jobs is None else jobs,
            progress=progress,
        )
    red, green, blue = written.airlight
    log.info(
        "%s: %d x %d px, airlight %.2f %.2f %.2f, %.1f s",
        out,
        written.rows,
        written.cols,
        red,
        green,
        blue,
        written.seconds,
    )
