"""`geoscan evaluate`: how good a model is on chips that it has not seen."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from geoscan.cli import options, streams, tell
from geoscan.machine import BATCH, check_memory_for_network
from geoscan.resolution import is_native

if TYPE_CHECKING:
    from geoscan.model.package import Package

log = logging.getLogger(__name__)


@click.command(epilog="Example:  geoscan evaluate --kaggle-dir unseen/ --model models/mine --plots pictures/")
@options.data_source(together=False)
@click.option("--model", required=True, help="Shipped model, or directory of a package.")
@click.option("--against", metavar="MODEL", help="A second model to compare with.")
@options.runtime
@options.tta
@click.option(
    "--unseen",
    is_flag=True,
    help="Measure only on chips that were kept out of the model's training, by the split in its card. Give the data "
    "set that it was trained on.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON, in the layout of a card.")
@click.option(
    "--plots",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for pictures: F2 of each label, precision and recall, reliability, the worst mistakes.",
)
@options.verbosity
def evaluate(
    data: options.Data,
    model: str,
    against: str | None,
    runtime: str,
    tta: bool | None,
    unseen: bool,
    as_json: bool,
    plots: Path | None,
) -> None:
    """Measure a model with the thresholds of its card: F2 as Kaggle defines it, each label, mines against the rest.

    The figures are printed as Markdown, as in a card. Give either --kaggle-dir, or --chips and --index. Figures on
    chips that the model was trained on tell nothing; --unseen leaves them out. The exit status is 1 when some chips
    could not be read: the figures are those of the others.
    """
    if plots is not None:
        from geoscan.evaluate.plots import check_folder, draw  # Matplotlib: only where pictures are wanted

        check_folder(plots)
    from geoscan.data.labelled import read_chips
    from geoscan.evaluate.report import evaluation
    from geoscan.evaluate.sample import sample_of, score
    from geoscan.evaluate.unseen import unseen_by_all
    from geoscan.model.runtime import detector, runtime_for
    from geoscan.model.shipped import find

    packages = [find(name) for name in (model, against) if name is not None]
    _check_pixels(packages, data)
    runtimes = [runtime_for(package, runtime) for package in packages]
    for one in sorted(set(runtimes)):
        check_memory_for_network(0, one)
    chips = read_chips(data.source)
    if unseen:
        chips = unseen_by_all(packages, chips, data.cache_directory, options.track(" chips compared"))
    models = [
        (package, detector(package.path.absolute(), package.card.digest, BATCH, one))
        for package, one in zip(packages, runtimes, strict=True)
    ]
    sample = sample_of(chips, data.gsd)
    scored = score(models, sample, tta=tta, track=options.track(" chips"))
    found = evaluation(*scored)
    streams.answer(found.to_json() if as_json else found.to_markdown(), nl=False)
    if plots is not None:
        figures = [one.figures for one in (found, found.against) if one is not None]
        for path in draw(plots, scored, figures):
            log.info("wrote %s", path)
    if unread := len(sample) - len(scored[0].sample):
        log.warning(
            "%s of %s could not be read: the figures leave them out", f"{unread:,}", tell.count(len(sample), "chip")
        )
        click.get_current_context().exit(1)


def _check_pixels(packages: Sequence[Package], data: options.Data) -> None:
    """Raise UsageError where nobody says how much ground chips show, and it would be other ground to each model."""
    if data.kaggle or data.gsd:
        return
    first, *others = (package.card for package in packages)
    for other in others:
        one, two = first.preprocess.gsd, other.preprocess.gsd
        if not (is_native(one, two) and is_native(two, one)):
            raise click.UsageError(
                f"{first.name} takes pixels of {one:g} m and {other.name} such of {two:g} m; pass --gsd, the metres "
                "per pixel of the chips, so that both are measured on the same ground"
            )
