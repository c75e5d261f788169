"""`geoscan train`: train a model package."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

import click
from tqdm import tqdm

from geoscan.cli import options, streams, tuning
from geoscan.data.sources import TrainingData
from geoscan.machine import check_memory_for_network
from geoscan.model import spec as specs

if TYPE_CHECKING:
    from geoscan.train.recipe import Recipe


_KNOWS_MINES = "sentinel2"
"""The model that Kaggle's chips begin with: it sees the ground in pixels of nearly the same size."""


class _RecipeOptions(TypedDict):
    """Options that decide what a run learns, as the command line gives them."""

    preset: str | None
    init: str | None
    pretrain_epochs: int
    distill: tuple[str, ...]
    epochs: int
    patience: int
    batch: int
    rate: float
    seed: int
    held_out: float
    folds: int | None
    unchecked: tuple[str, ...]
    cap_cloudy: int
    dehaze: str
    clear: float | None
    tta: bool


@click.command(epilog="Example:  geoscan train --kaggle-dir ~/planet --out models/mine")
@options.data_source(together=True)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Directory of the model package to write; its name is the model's.",
)
@click.option(
    "--preset",
    type=click.Choice(list(specs.PRESETS)),
    help="Architecture.  [default: compact; compact-small for --chips alone]",
)
@click.option(
    "--init",
    help="First weights: none (random), imagenet, or a model package of the same architecture.  [default: none; "
    "sentinel2 for Kaggle's chips and --preset compact, but where --chips beside them are held out]",
)
@click.option(
    "--pretrain",
    type=click.Path(exists=True, path_type=Path),
    help="Zip archive or directory with one folder of chips for each class, such as EuroSAT, to train on first.",
)
@click.option("--pretrain-epochs", type=click.IntRange(1), default=10, show_default=True, help="Epochs of --pretrain.")
@click.option(
    "--distill",
    multiple=True,
    metavar="MODEL",
    help="Teacher package for distillation, trained on the same split; may be repeated.",
)
@click.option(
    "--unlabelled",
    type=click.Path(exists=True, path_type=Path),
    help="Zip archive or directory of pictures at about 10 m of other places, such as EuroSAT, for teachers to label.",
)
@click.option("--epochs", type=click.IntRange(1), default=60, show_default=True, help="Epochs at most.")
@click.option(
    "--patience",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    help="Stop after so many epochs without a better one.",
)
@click.option("--batch", type=click.IntRange(1), default=32, show_default=True, help="Chips in a training step.")
@click.option(
    "--rate", type=click.FloatRange(0, min_open=True), default=2e-3, show_default=True, help="Highest learning rate."
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    default=0,
    show_default=True,
    help="Seed of the split, of the order of the chips and of the first weights.",
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
    help="Cross-validate with so many folds in place of --held-out, then train on all chips.",
)
@click.option(
    "--unchecked",
    multiple=True,
    metavar="NAME",
    help="How the name of a sampling campaign begins whose labels nobody has looked through: its chips teach a little "
    "less, and judge nothing; may be repeated.",
)
@click.option(
    "--keep-folds",
    is_flag=True,
    help="Also keep the network of each fold, as a package in --out; it can teach another run with the same folds.",
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
    type=click.Choice(["wide", "local", "none"]),
    default="wide",
    show_default=True,
    help="Remove haze from each chip, in training and in scans: by the darkest level of the whole chip, or of 15 px "
    "around each pixel, or not at all.",
)
@click.option(
    "--clear",
    type=click.FloatRange(0, 1),
    default=None,
    help="Share of training chips whose atmosphere is removed, to look like surface reflectance.  "
    "[default: 0; 0.5 for --chips alone]",
)
@click.option(
    "--tta",
    is_flag=True,
    help="Test-time augmentation: make figures and thresholds for scores averaged over the 8 rotations and mirror "
    "images of a chip; scans then average too.",
)
@click.option(
    "--tune",
    metavar="MODEL",
    help="Teach this model, shipped or a directory of a package, a few chips that `geoscan review` made, given as "
    "--chips; needs --replay.",
)
@click.option(
    "--replay",
    type=click.Path(exists=True, path_type=Path),
    help="Zip archive or directory of chips that the model of --tune knows, mines among them: it keeps their scores.",
)
@click.option("--resume", is_flag=True, help="Go on from the checkpoint in --out.")
@options.verbosity
def train(
    data: options.Data,
    out: Path,
    pretrain: Path | None,
    unlabelled: Path | None,
    tune: str | None,
    replay: Path | None,
    resume: bool,
    keep_folds: bool,
    **how: Unpack[_RecipeOptions],
) -> None:
    """Train a model on Kaggle's "Planet: Understanding the Amazon from Space", or on chips of mines.

    Chips of one place stay on one side of the split. The epoch with the best F2 on the validation chips is kept
    (average precision where mines are the only label), or with --folds the last one. Thresholds and figures are written
    to card.json and card.md. Ctrl-C keeps the best epoch so far; the exit status is 1 then.

    With --tune nothing is trained from the start: the last layer alone is fitted anew. It takes --chips, --index,
    --replay and --out.
    """
    if tune or replay:
        tuning.tune(tune, replay, data, out)
        return
    if keep_folds and not how["folds"]:
        raise click.UsageError("--keep-folds keeps the networks of --folds; pass that too")
    check_memory_for_network()
    from geoscan.train.job import Job
    from geoscan.train.run import run

    small = data.chips if data.kaggle else None
    chips = TrainingData(data.source, small, pretrain, unlabelled)
    with tqdm(unit=" chips", disable=options.silent(), leave=False) as bar:
        track, advance = options.track(" chips prepared"), options.advance(bar)
        job = Job(out, data.cache_directory, resume, keep_folds, track, advance)
        package, outcome = run(_recipe(chips, data.gsd, how), chips, job)
    streams.answer(f"{package.path}: {package.card.figures.headline}")
    if outcome.interrupted:
        click.get_current_context().exit(1)


def _recipe(chips: TrainingData, gsd: float | None, how: _RecipeOptions) -> Recipe:
    """Return the recipe that the options make, with the defaults that depend on the chips."""
    from geoscan.dark_channel import DarkChannel
    from geoscan.data.kaggle import GSD
    from geoscan.dehazing import DarkLevel, Dehazing
    from geoscan.model.preprocess import Preprocess
    from geoscan.model.split import Split
    from geoscan.train.augment import Augmentation
    from geoscan.train.loop import Schedule
    from geoscan.train.recipe import Recipe

    alone = chips.chips_alone
    preset = how["preset"] or ("compact-small" if alone else "compact")
    architecture = specs.preset(preset, specs.MINE_HEADS if alone else specs.PLANET_HEADS)
    gsd = gsd or (10.0 if alone else GSD)
    radiometry = "sentinel2-l1c" if alone else "visual"
    ways: dict[str, Dehazing | None] = {"wide": DarkLevel(), "local": DarkChannel(), "none": None}
    clear = how["clear"] if how["clear"] is not None else 0.5 if alone else 0.0
    epochs = how["epochs"]
    judged = chips.small is not None and not how["folds"]  # mosaics of small chips that may have taught that model
    return Recipe(
        spec=architecture,
        preprocess=Preprocess(architecture.chip, gsd, radiometry, ways[how["dehaze"]]),
        schedule=Schedule(epochs, how["patience"], how["rate"], warmup=min(3, epochs / 8)),
        augmentation=Augmentation(
            haze=0.5,
            clear=clear,
            offset=60 if alone else 30,
            # Kaggle's chips say of the weather, too, and are JPEG files themselves.
            clouded=0.4 if alone else 0.0,
            degraded=0.4 if alone else 0.0,
        ),
        split=Split(how["seed"], how["held_out"], how["folds"], how["cap_cloudy"], how["unchecked"]),
        batch=how["batch"],
        mixed=how["batch"] * 5 // 16 if alone else 12,
        unlabelled=how["batch"] * 3 // 8 if alone else 4,
        init=how["init"] or (_KNOWS_MINES if preset == "compact" and not alone and not judged else "none"),
        tta=how["tta"],
        pretrain_epochs=how["pretrain_epochs"] if chips.classes else 0,
        distill=how["distill"],
    )
