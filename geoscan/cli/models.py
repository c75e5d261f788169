"""`geoscan models`: what is installed."""

from __future__ import annotations

import logging

import click

from geoscan.cli import options

log = logging.getLogger(__name__)


@click.command(epilog="Example:  geoscan models planet")
@click.argument("name", required=False)
@options.verbosity
def models(name: str | None) -> None:
    """List the shipped models, a line each; with a NAME, or the directory of a package, print its whole card."""
    from geoscan.model.package import find, shipped

    if name is not None:
        click.echo(find(name).card.to_json(), nl=False)
        return
    packages = shipped()
    if not packages:
        log.warning("no model is shipped with this installation; geoscan train makes one")
    for package in packages:
        card = package.card
        figures = card.metrics.get("not_only_cloudy", {})
        quality = f"F2 {figures['f2_samples']:.3f} on {figures['n']} chips" if figures else "no figures"
        click.echo(
            f"{card.name}: {len(card.labels)} labels, {card.preprocess.chip} px at {card.preprocess.gsd:g} m, "
            f"{quality}, digest {card.digest[:12]}"
        )
