"""`geoscan compare`: two layers in, one of what is new, known, grown or gone out."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from geoscan.cli import options, outputs, tell

log = logging.getLogger(__name__)


@click.command(epilog="Example:  geoscan compare may.gpkg june.gpkg --out changes.gpkg")
@click.argument("old", metavar="OLD", type=click.Path(path_type=Path))
@click.argument("new", metavar="NEW", type=click.Path(path_type=Path))
@outputs.layer
@options.verbosity
def compare(old: Path, new: Path, out: Path) -> None:
    """Tell what became of mines from one layer to a later one, as `geoscan scan --since` does.

    OLD and NEW are layers of scans, or of known mines. A mine of OLD is gone only where a GeoPackage of NEW tells that
    its place was seen; else it is unseen.
    """
    from geoscan import changes, inputs, layers
    from geoscan.errors import InputError
    from geoscan.layers import earlier, kept

    layers.check_target(out)
    if inputs.identities([str(out)]) & inputs.identities([str(old), str(new)]):
        raise InputError(f"{out} is one of the layers that are compared; give another file to write to")
    kept.check(out)
    before, after = earlier.read(old), earlier.read(new)
    ground = earlier.ground_of(new)
    if ground is None:
        log.warning("%s does not tell what its scenes showed, so that no mine is called gone; give a .gpkg", new)
    found = changes.compared(changes.present(after.detections), before.detections, ground)
    layers.write(out, found, [])
    tell.changes(before, found, [one.provenance for one in after.detections if one.provenance.model], after.dates)
