"""`geoscan evaluate`: how good a model is on chips that it has not seen."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import click
from tqdm import tqdm

from geoscan.cli import options
from geoscan.machine import BATCH


@click.command(epilog="Example:  geoscan evaluate --kaggle-dir unseen/ --model models/mine --json figures.json")
@click.option(
    "--kaggle-dir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Directory of labelled chips as Kaggle lays it out.",
)
@click.option("--chips", type=click.Path(exists=True, path_type=Path), help="Archive or directory of mine/other chips.")
@click.option("--index", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Their table; see train.")
@click.option("--gsd", type=click.FloatRange(0, min_open=True), help="Metres per pixel of --chips; else the model's.")
@click.option("--model", required=True, help="Shipped model, or directory of a package.")
@click.option("--tta", is_flag=True, help="Average the scores over the 8 symmetries of each chip.")
@click.option(
    "--json",
    "out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File for the figures; else they are printed.",
)
@options.verbosity
def evaluate(
    kaggle_dir: Path | None,
    chips: Path | None,
    index: Path | None,
    gsd: float | None,
    model: str,
    tta: bool,
    out: Path | None,
) -> None:
    """Measure a model with the thresholds of its card: F2 as Kaggle defines it, each label, mines against the rest.

    Give either --kaggle-dir, or --chips and --index. Chips that the model was trained on tell nothing.
    """
    if (chips is None) != (index is None) or (kaggle_dir is None) == (chips is None):
        raise click.UsageError("pass either --kaggle-dir, or --chips and --index")
    from geoscan.files import check_place, replacing
    from geoscan.model.package import find
    from geoscan.model.runtime import detector
    from geoscan.train.evaluate import evaluate_kaggle, evaluate_partial

    if out is not None:
        check_place(out)
    package = find(model)
    detect = detector(package.path.absolute(), package.card.digest, BATCH)

    def ticker(items: Iterable[int]) -> Iterable[int]:
        return tqdm(items, unit="chip", disable=options.silent(), leave=False)

    if kaggle_dir is not None:
        figures = evaluate_kaggle(package, detect, kaggle_dir, tta=tta, ticker=ticker)
    else:
        assert chips is not None
        assert index is not None
        figures = evaluate_partial(package, detect, chips, index, gsd=gsd, tta=tta, ticker=ticker)
    text = json.dumps({"model": package.card.name, "digest": package.card.digest, **figures}, indent=2) + "\n"
    if out is None:
        click.echo(text, nl=False)
        return
    with replacing(out) as part:
        part.write_text(text, encoding="utf-8")
