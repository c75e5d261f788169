"""`geoscan models`: what is installed."""

from __future__ import annotations

import logging

import click

from geoscan.cli import options, streams

log = logging.getLogger(__name__)


@click.command(epilog="Example:  geoscan models planet")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print the card of NAME as JSON, digest and all.")
@options.verbosity
def models(name: str | None, as_json: bool) -> None:
    """List the shipped models, a line each; with a NAME, or the directory of a package, print its card as Markdown."""
    from geoscan.model.markdown import card_markdown
    from geoscan.model.shipped import find, shipped

    if name is not None:
        card = find(name).card
        streams.answer(card.to_json() if as_json else card_markdown(card), nl=False)
        return
    if as_json:
        raise click.UsageError("--json prints one card: name a model, such as planet")
    packages = shipped()
    if not packages:
        log.warning("no model is shipped with this installation; geoscan train makes one")
    for package in packages:
        card = package.card
        count = f"{len(card.labels)} label{'s' if len(card.labels) > 1 else ''}"
        streams.answer(
            f"{card.name}: {count}, {card.preprocess.chip} px at {card.preprocess.gsd:g} m, "
            f"{card.figures.headline}, digest {card.digest[:12]}"
        )
