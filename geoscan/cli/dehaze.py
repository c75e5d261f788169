"""`geoscan dehaze`: a whole scene without haze, to look at."""

from __future__ import annotations

import logging
from pathlib import Path

import click

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
    scale: tuple[float, float, float] | None,
    offset: tuple[float, float, float] | None,
    stretch: str,
    follow: bool,
    airlight: str,
    omega: float,
    jobs: int | None,
) -> None:
    """Remove the haze of a whole SCENE and write it as a tiled GeoTIFF with overviews, on the same grid."""
    from geoscan.dehazed_scene import check_target, dehaze_scene, overview, picture
    from geoscan.radiometry import resolve
    from geoscan.scaling import scaling_of
    from geoscan.scene import Scene

    check_target(out, [scene])
    opened = Scene.open(scene, bands=bands, follow=follow)
    radiometry = resolve(stretch, opened, scaling_of(opened, scale, offset))
    params = picture("fixed" if airlight == "fixed" else "scene", omega, lambda: overview(opened, radiometry))
    done = dehaze_scene(opened, radiometry, params, out, jobs=jobs, track=options.track("block"))
    light = " ".join(f"{value:.2f}" for value in done.airlight)
    log.info("%s: %d x %d px, airlight %s, %.1f s", out, done.rows, done.cols, light, done.seconds)
