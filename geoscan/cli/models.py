"""`geoscan models`: what is installed."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import click

from geoscan.cli import options, streams

if TYPE_CHECKING:
    from geoscan.model.package import Card

log = logging.getLogger(__name__)


@click.command(epilog="Example:  geoscan models planet")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print the card of NAME as JSON, digest and all.")
@options.verbosity
def models(name: str | None, as_json: bool) -> None:
    """List the shipped models, a line each; with a NAME, or the directory of a package, print its card as Markdown."""
    from geoscan.model.markdown import card_markdown
    from geoscan.model.package import find, shipped

    if name is not None:
        card = find(name).card
        streams.answer(card.to_json() if as_json else card_markdown(card))
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
            f"{_quality(card)}, digest {card.digest[:12]}"
        )


def _quality(card: Card) -> str:
    """The figure by which a model of its kind is judged."""
    figures = card.metrics.get("not_only_cloudy", {})
    if figures.get("f2_samples") is not None:
        return f"F2 {figures['f2_samples']:.3f} on {figures['n']} chips"
    mine = card.metrics.get("mine", {})
    if mine.get("ap") is not None:
        return f"mine AP {mine['ap']:.2f} ({mine['n']:,} mines, {mine['n_other']:,} other)"
    return "no figures"
