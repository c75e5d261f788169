"""`geoscan train`: train a model package on Kaggle's Planet set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click
from tqdm import tqdm

from geoscan.cli import options


@click.command(epilog="Example:  geoscan train --kaggle-dir ~/planet --out models/mine")
@click.option(
    "--kaggle-dir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    required=True,
    help="Directory that holds train_v2.csv and train-jpg/ or train-tif-v2/.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Directory of the model package to write; its name is the model's.",
)
@click.option("--preset", default="compact", show_default=True, help="Architecture: compact or densenet121.")
@click.option(
    "--chips",
    type=click.Path(exists=True, path_type=Path),
    help="Zip archive or directory of small chips at about 10 m, each a mine or not; needs --index.",
)
@click.option(
    "--index",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Table with the columns file, label (mine or other) and source_gallery for --chips.",
)
@click.option(
    "--distill",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Directory of chips that a teacher scored, from examples/teach.py.",
)
@click.option("--epochs", type=click.IntRange(1), default=60, show_default=True, help="Epochs at most.")
@click.option(
    "--patience", type=click.IntRange(1), default=20, show_default=True, help="Stop after so many without a better F2."
)
@click.option("--batch", type=click.IntRange(1), default=32, show_default=True, help="Chips in a training step.")
@click.option("--rate", type=click.FloatRange(0, min_open=True), default=2e-3, show_default=True, help="Learning rate.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of split, order and weights.")
@click.option(
    "--held-out",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.2,
    show_default=True,
    help="Share of the chips that is kept for validation.",
)
@click.option(
    "--cap-cloudy",
    type=click.IntRange(0),
    default=100,
    show_default=True,
    help="Use at most so many chips tagged only cloudy.",
)
@click.option(
    "--dehaze/--no-dehaze", default=True, show_default=True, help="Remove haze from each chip; written in the card."
)
@click.option(
    "--gsd", type=click.FloatRange(0, min_open=True), default=3.4, show_default=True, help="Metres per pixel."
)
@click.option("--resume", is_flag=True, help="Go on from the checkpoint in --out.")
@click.option("--cache", type=click.Path(file_okay=False, path_type=Path), help="Where prepared chips are kept.")
@options.verbosity
def train(
    kaggle_dir: Path,
    out: Path,
    preset: str,
    chips: Path | None,
    index: Path | None,
    distill: Path | None,
    epochs: int,
    patience: int,
    batch: int,
    rate: float,
    seed: int,
    held_out: float,
    cap_cloudy: int,
    dehaze: bool,
    gsd: float,
    resume: bool,
    cache: Path | None,
) -> None:
    """Train a model on Kaggle's "Planet: Understanding the Amazon from Space" and write its package.

    Chips that adjoin stay on one side of the split. The epoch with the best F2 on the validation chips is kept, with a
    threshold for each label and its figures in card.json.
    """
    if (chips is None) != (index is None):
        raise click.UsageError("--chips and --index go together; pass both or neither")
    from geoscan.model.backend import start

    start()
    from geoscan.dehaze import DehazeParams
    from geoscan.model import spec as specs
    from geoscan.model.preprocess import Preprocess
    from geoscan.train.cache import default_directory
    from geoscan.train.loop import Schedule
    from geoscan.train.run import Recipe, run

    architecture = specs.preset(preset)
    recipe = Recipe(
        spec=architecture,
        preprocess=Preprocess(architecture.chip, gsd, "visual", DehazeParams() if dehaze else None),
        schedule=replace(Schedule(), epochs=epochs, patience=patience, rate=rate),
        batch=batch,
        cap_cloudy=cap_cloudy,
        held_out=held_out,
        seed=seed,
    )
    with tqdm(unit=" chips", disable=options.silent(), leave=False) as bar:
        package, _ = run(
            recipe,
            kaggle_dir,
            out,
            small=(chips, index) if chips and index else None,
            lessons=distill,
            resume=resume,
            cache=cache or default_directory(),
            ticker=lambda items: tqdm(items, desc="preparing", unit=" chips", disable=options.silent(), leave=False),
            tick=options.advance(bar),
        )
    figures = package.card.metrics["not_only_cloudy"]
    click.echo(
        f"{package.path}: F2 {figures['f2_samples']:.3f} on {figures['n']} validation chips "
        f"(all answered clear primary: {figures['f2_of_always_clear_primary']:.3f})"
    )
