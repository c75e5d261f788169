"""`geoscan evaluate`: how good a model is on chips that it has not seen."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

import click
from tqdm import tqdm

from geoscan.cli import options
from geoscan.errors import DatasetError
from geoscan.machine import BATCH

log = logging.getLogger(__name__)


@click.command(epilog="Example:  geoscan evaluate --kaggle-dir unseen/ --model models/mine --plots pictures/")
@click.option(
    "--kaggle-dir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Directory of labelled chips as Kaggle lays it out.",
)
@click.option("--chips", type=click.Path(exists=True, path_type=Path), help="Archive or directory of mine/other chips.")
@click.option("--index", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Their table; see train.")
@click.option(
    "--gsd",
    type=click.FloatRange(0, min_open=True),
    help="Metres per pixel of the chips; else 3.4 for Kaggle's, the model's for --chips.",
)
@click.option("--model", required=True, help="Shipped model, or directory of a package.")
@click.option(
    "--against", metavar="MODEL", help="A second model, such as one trained without dehazing, to compare with."
)
@options.tta
@click.option(
    "--unseen",
    is_flag=True,
    help="Only the chips that were kept out of the model's training, by the split in its card; for the same data set.",
)
@click.option("--cache", type=click.Path(file_okay=False, path_type=Path), help="Where --unseen keeps prepared chips.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON, in the layout of a card.")
@click.option(
    "--plots",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for pictures: F2 of each label, precision and recall, reliability, the worst mistakes.",
)
@options.verbosity
def evaluate(
    kaggle_dir: Path | None,
    chips: Path | None,
    index: Path | None,
    gsd: float | None,
    model: str,
    against: str | None,
    tta: bool | None,
    unseen: bool,
    cache: Path | None,
    as_json: bool,
    plots: Path | None,
) -> None:
    """Measure a model with the thresholds of its card: F2 as Kaggle defines it, each label, mines against the rest.

    The figures are printed as Markdown, as in a card. Give either --kaggle-dir, or --chips and --index. Chips that the
    model was trained on tell nothing; --unseen leaves them out.
    """
    if (chips is None) != (index is None) or (kaggle_dir is None) == (chips is None):
        raise click.UsageError("pass either --kaggle-dir, or --chips and --index")
    if plots is not None:
        from geoscan.evaluate.plots import check_folder, draw  # Matplotlib: only where pictures are wanted

        check_folder(plots)
    from geoscan.evaluate.report import evaluation
    from geoscan.evaluate.sample import judge, kaggle_sample, partial_sample
    from geoscan.model.package import find
    from geoscan.model.runtime import detector

    def ticker(items: Iterable[int]) -> Iterable[int]:
        return tqdm(items, unit="chip", disable=options.silent(), leave=False)

    packages = [find(name) for name in (model, against) if name is not None]
    if kaggle_dir is not None:
        sample = kaggle_sample(kaggle_dir, gsd)
        source: Path | tuple[Path, Path] = kaggle_dir
    else:
        assert chips is not None
        assert index is not None
        sample = partial_sample(chips, index, gsd)
        source = (chips, index)
    if unseen:
        from geoscan.data.cache import default_directory
        from geoscan.evaluate.unseen import unseen as kept_out

        for package in packages:
            sample = kept_out(package, sample, source, cache or default_directory(), ticker)
        if not len(sample):
            raise DatasetError("no chip was kept out of the training of both models; leave --against out")
    models = [(package, detector(package.path.absolute(), package.card.digest, BATCH)) for package in packages]

    judged = judge(models, sample, tta=tta, ticker=ticker)
    found = evaluation(*judged)
    click.echo(found.to_json() if as_json else found.to_markdown(), nl=False)
    if plots is not None:
        figures = [one.figures for one in (found, found.against) if one is not None]
        for path in draw(plots, judged, figures):
            log.info("wrote %s", path)
