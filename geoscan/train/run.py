"""One training run, from labelled chips to a model package."""

from __future__ import annotations

from pathlib import Path

from geoscan.data.class_folders import read_class_folders
from geoscan.data.images import Images, listed
from geoscan.data.material import Material, gather, of_one_size
from geoscan.data.sources import TrainingData
from geoscan.errors import DatasetError
from geoscan.labels import MINE_COLUMN
from geoscan.model.package import Package, save
from geoscan.progress import Track
from geoscan.train.job import Job
from geoscan.train.loop import Outcome
from geoscan.train.recipe import Recipe
from geoscan.train.start import Start, package_of, packages_of, resolved
from geoscan.train.teachers import teachers_of
from geoscan.train.trainer import Trainer

_FEWEST = 2
"""Chips in the validation set: one to tune thresholds on, one to measure them by."""


def run(recipe: Recipe, data: TrainingData, job: Job) -> tuple[Package, Outcome]:
    """Train a model and write its package.

    With folds, a network is trained without each of them and scores it; the package's own is then trained on all chips,
    and its figures are those of the others. These networks are lost, unless the job keeps them as packages, in `fold1`
    and so on: for another run with the same folds they are teachers that have not seen them.
    Returns the package, and how its own training went.
    Raises DatasetError for data that cannot be used or nothing to resume, OutputError when something cannot be written,
    PackageError for a model to begin with or a teacher that does not fit, KeyboardInterrupt after Ctrl-C where there is
    nothing to keep yet: in a fold, in pre-training, in the first epoch; InputError where the package's place holds a
    model, or a checkpoint that is not to be resumed.
    """
    job.check(recipe.split.folds)
    trainer = open_run(recipe, data, job)
    mosaics = trainer.validation_mosaics()
    crossed = trainer.cross_validate() if recipe.split.folds else None
    trained = trainer.train()
    drawn = trainer.mosaic_figures(mosaics, trained.network)
    package = save(job.out, trained.network, trainer.card(job.name, trained, crossed or trained.scores, drawn))
    if not trained.outcome.interrupted:
        job.clear_up()
    return package, trained.outcome


def material_of(recipe: Recipe, data: TrainingData, cache: Path, track: Track = iter) -> Material:
    """Read the chips of a run and split them. Raises DatasetError when too few are left on a side."""
    material = gather(data, recipe.preprocess, recipe.split, cache, track)
    training, validation = (material.readable, material.judging) if recipe.split.folds else material.sides()
    measured = len(validation) - int(material.tagged_only_cloudy[validation].sum())
    if len(training) < 1 or measured < _FEWEST:
        raise DatasetError(
            f"of {len(material.names)} chips {len(training)} are left to train and {measured} that are not only "
            f"cloudy to validate; give more chips (at least {_FEWEST} to validate are needed), or another --held-out"
        )
    if recipe.spec.mines_alone:
        _check_kinds(material)
    return material


def open_run(recipe: Recipe, data: TrainingData, job: Job) -> Trainer:
    """Open all that a run needs. Raises DatasetError, PackageError, OutputError, see `run`."""
    package = package_of(recipe)
    recipe = resolved(recipe, package)
    material = material_of(recipe, data, job.cache, job.track)
    packages = packages_of(package, material.split)
    teachers = teachers_of(recipe, material.split)
    classes = read_class_folders(data.classes, job.track) if data.classes else None
    unlabelled = _unlabelled(data.unlabelled, recipe, job.track) if data.unlabelled else None
    return Trainer(recipe, material, job, Start(recipe, job, packages, classes), teachers, unlabelled)


def _check_kinds(material: Material) -> None:
    """Raise DatasetError unless there are mines and others on both sides, without each fold."""
    folds = material.split.folds
    training = [material.sides(fold)[0] for fold in (range(folds) if folds else (None,))]
    validation = material.judging
    for what, rows in [*(("to train on", rows) for rows in training), ("to validate on", validation)]:
        mines, others = (int((material.targets[rows, MINE_COLUMN] == target).sum()) for target in (1, 0))
        if not (mines and others):
            raise DatasetError(
                f"there are {mines} mines and {others} others {what}, for campaigns are never cut; give "
                "more campaigns that hold mines, or others, or choose another --seed, --held-out or --folds"
            )


def _unlabelled(source: Path, recipe: Recipe, track: Track) -> Images:
    """List the unlabelled chips. Raises DatasetError when none can be read, or there is no teacher to label them."""
    if not recipe.distill:
        raise DatasetError(f"no teacher says what the unlabelled chips in {source} show; pass --distill too")
    found = Images(source, tuple(listed(source)))
    if not found.names:
        raise DatasetError(f"{source} holds no PNG or JPEG images")
    return Images(source, tuple(found.names[i] for i in of_one_size(found, track)))
