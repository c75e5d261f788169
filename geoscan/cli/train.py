"""`geoscan train`: train a model package."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

from geoscan.cli import options


@click.command(epilog="Example:  geoscan train --kaggle-dir ~/planet --out models/mine")
@click.option(
    "--kaggle-dir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Directory that holds train_v2.csv and train-jpg/ or train-tif-v2/.",
)
@click.option(
    "--chips",
    type=click.Path(exists=True, path_type=Path),
    help="Zip archive or directory of chips at about 10 m, each a mine or not; needs --index. Beside --kaggle-dir they "
    "become mosaics, alone they make a model that knows mines from the rest.",
)
@click.option(
    "--index",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Table with the columns file, label (mine or other) and source_gallery for --chips.",
)
@click.option("--licence", help="Whose --chips are and under what licence, for the card.  [default: not stated]")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Directory of the model package to write; its name is the model's.",
)
@click.option("--preset", help="Architecture; a wrong one lists all.  [default: compact, lite-small for --chips alone]")
@click.option(
    "--init",
    default="none",
    show_default=True,
    help="What the weights begin with: none, imagenet, or a model package of the same architecture.",
)
@click.option(
    "--pretrain",
    type=click.Path(exists=True, path_type=Path),
    help="Archive or directory with one folder a class, such as EuroSAT, to learn from first.",
)
@click.option("--pretrain-epochs", type=click.IntRange(1), default=10, show_default=True, help="How long.")
@click.option(
    "--distill", multiple=True, help="Model package that teaches; several may. It must have had the same split."
)
@click.option(
    "--unlabelled",
    type=click.Path(exists=True, path_type=Path),
    help="Archive or directory of chips at about 10 m of other landscapes, such as EuroSAT, for teachers to judge.",
)
@click.option("--epochs", type=click.IntRange(1), default=60, show_default=True, help="Epochs at most.")
@click.option(
    "--patience", type=click.IntRange(1), default=20, show_default=True, help="Stop after so many without a better one."
)
@click.option("--batch", type=click.IntRange(1), default=32, show_default=True, help="Chips in a training step.")
@click.option("--rate", type=click.FloatRange(0, min_open=True), default=2e-3, show_default=True, help="Learning rate.")
@click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Seed of split, order and weights."
)
@click.option(
    "--held-out",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.2,
    show_default=True,
    help="Share of the chips that is kept for validation.",
)
@click.option(
    "--folds",
    type=click.IntRange(2),
    help="Instead of --held-out: judge by so many folds, each by a network that has not seen it; then train on all.",
)
@click.option(
    "--keep-folds",
    is_flag=True,
    help="Keep the networks of the folds too, as packages in --out; they may teach another run with the same folds.",
)
@click.option(
    "--cap-cloudy",
    type=click.IntRange(0),
    default=100,
    show_default=True,
    help="Use at most so many chips tagged only cloudy.",
)
@click.option(
    "--dehaze",
    type=click.Choice(["none", "fixed", "chip"]),
    default="none",
    show_default=True,
    help="Whether haze is removed from each chip, with which airlight; written in the card.",
)
@click.option(
    "--clear",
    type=click.FloatRange(0, 1),
    default=None,
    help="Share of chips that lose atmosphere, as surface reflectance has less.  [default: 0.5 for --chips alone]",
)
@click.option("--mixup", type=click.FloatRange(0, 1), default=0.0, show_default=True, help="Share of blended batches.")
@click.option(
    "--focus",
    type=(float, float, float),
    default=(0.0, 0.0, 0.0),
    metavar="POS NEG MARGIN",
    help="Exponents and margin of an asymmetric or focal loss.  [default: 0 0 0, cross-entropy]",
)
@click.option(
    "--gsd", type=click.FloatRange(0, min_open=True), help="Metres per pixel.  [default: 3.4, 10 for --chips]"
)
@click.option(
    "--tta",
    is_flag=True,
    help="Judge by scores averaged over symmetries; the card then makes scans average them too.",
)
@click.option("--resume", is_flag=True, help="Go on from the checkpoint in --out.")
@click.option("--cache", type=click.Path(file_okay=False, path_type=Path), help="Where prepared chips are kept.")
@options.verbosity
def train(
    kaggle_dir: Path | None,
    chips: Path | None,
    index: Path | None,
    licence: str | None,
    out: Path,
    pretrain: Path | None,
    unlabelled: Path | None,
    resume: bool,
    keep_folds: bool,
    cache: Path | None,
    **how: Any,
) -> None:
    """Train a model on Kaggle's "Planet: Understanding the Amazon from Space", or on chips of mines.

    Chips of one place stay on one side of the split. Of the epochs the one with the best F2 on the validation chips is
    kept (average precision where mines are all that is known), or with --folds the last one; thresholds and figures are
    in card.json and card.md. Ctrl-C keeps the best epoch so far; the exit status is 1 then.
    """
    if (chips is None) != (index is None) or (kaggle_dir is None and chips is None):
        raise click.UsageError("pass --kaggle-dir, or --chips and --index, or all three")
    if keep_folds and not how["folds"]:
        raise click.UsageError("--keep-folds keeps the networks of --folds; pass that too")
    if licence and chips is None:
        raise click.UsageError("--licence is that of --chips; pass those too")
    from geoscan.data.cache import default_directory
    from geoscan.model.origin import NOT_STATED
    from geoscan.train.recipe import Data
    from geoscan.train.run import run

    data = Data(kaggle_dir, (chips, index) if chips and index else None, pretrain, unlabelled, licence or NOT_STATED)
    recipe = _recipe(data, **how)
    with tqdm(unit=" chips", disable=options.silent(), leave=False) as bar:
        package, outcome = run(
            recipe,
            data,
            out,
            resume=resume,
            keep_folds=keep_folds,
            cache=cache or default_directory(),
            ticker=lambda items: tqdm(items, desc="preparing", unit=" chips", disable=options.silent(), leave=False),
            tick=options.advance(bar),
        )
    click.echo(f"{package.path}: {package.card.figures.headline}")
    if outcome.interrupted:
        click.get_current_context().exit(1)


def _recipe(
    data: Any,
    preset: str | None,
    init: str,
    pretrain_epochs: int,
    distill: tuple[str, ...],
    epochs: int,
    patience: int,
    batch: int,
    rate: float,
    seed: int,
    held_out: float,
    folds: int | None,
    cap_cloudy: int,
    dehaze: str,
    clear: float | None,
    mixup: float,
    focus: tuple[float, float, float],
    gsd: float | None,
    tta: bool,
) -> Any:
    from geoscan.data.kaggle import GSD
    from geoscan.data.material import Split
    from geoscan.dehazing import DehazeParams
    from geoscan.model import spec as specs
    from geoscan.model.preprocess import Preprocess
    from geoscan.train.augment import Augmentation
    from geoscan.train.loop import Schedule
    from geoscan.train.losses import Focus
    from geoscan.train.recipe import Recipe

    alone = data.kaggle is None
    preset = preset or ("lite-small" if alone else "compact")
    architecture = specs.preset(preset, specs.MINE_HEADS if alone else specs.PLANET_HEADS)
    haze = {"none": None, "fixed": DehazeParams(), "chip": DehazeParams(airlight="chip")}[dehaze]
    return Recipe(
        spec=architecture,
        preprocess=Preprocess(
            architecture.chip, gsd or (10.0 if alone else GSD), "sentinel2-l1c" if alone else "visual", haze
        ),
        schedule=replace(Schedule(), epochs=epochs, patience=patience, rate=rate, warmup=min(3, epochs / 8)),
        augmentation=Augmentation(clear=(0.5 if alone else 0.0) if clear is None else clear),
        focus=Focus(*focus),
        split=Split(seed, held_out, folds),
        batch=batch,
        cap_cloudy=cap_cloudy,
        mixup=mixup,
        init=init,
        tta=tta,
        pretrain_epochs=pretrain_epochs if data.classes else 0,
        distill=distill,
    )
