"""The weights that a network begins with: random, ImageNet's, those of another package, or pre-trained on classes."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from geoscan.data.class_folders import ClassFolders
from geoscan.model.backend import keras
from geoscan.model.network import build
from geoscan.model.package import Package, load
from geoscan.model.pretrained import imagenet, scaled
from geoscan.model.shipped import find
from geoscan.model.split import Split
from geoscan.train.devices import policy
from geoscan.train.job import PRETRAINING, Job, fold_directory
from geoscan.train.pretrain import Pretraining, pretrain, transfer
from geoscan.train.recipe import Recipe

log = logging.getLogger(__name__)

_NO_PACKAGE = ("none", "imagenet")
"""What weights may begin with that is no model package."""


def package_of(recipe: Recipe) -> Package | None:
    """Open the model package that a recipe begins with, if it does. Raises PackageError."""
    return None if recipe.init in _NO_PACKAGE else find(recipe.init)


def resolved(recipe: Recipe, package: Package | None) -> Recipe:
    """Return a recipe with everything decided that other options decide.

    The network scales colours as it did when the weights it begins with were trained. With folds the last epoch is
    kept, for no epoch may be chosen by the chips that the figures are of.
    package: the one that the recipe begins with, if it does. Raises PackageError.
    """
    spec, schedule = recipe.spec, recipe.schedule
    if recipe.init == "imagenet":
        spec = scaled(spec)
    elif package is not None and package.card.spec.family == spec.family:
        spec = replace(spec, mean=package.card.spec.mean, std=package.card.spec.std)
    if recipe.split.folds:
        schedule = replace(schedule, keep="last")
    return replace(recipe, spec=spec, schedule=schedule)


def packages_of(package: Package | None, split: Split) -> dict[int | None, Package]:
    """Return what each network of a run begins with, by the fold that it is trained without; empty without a package.

    A fold's network begins with that of the package's own networks that has not seen the fold, where they were kept and
    the package has learned from these chips.
    Logs a warning where one may have seen chips that it is validated on. Raises PackageError for a damaged one.
    """
    if package is None:
        return {}
    packages: dict[int | None, Package] = {None: package}
    of_these = package.card.split is not None and package.card.split.data == split.data
    for fold in range(split.folds or 0):
        kept = fold_directory(package.path, fold)
        packages[fold] = load(kept) if of_these and kept.is_dir() else package
    _warn_of_leak(packages, split)
    return packages


@dataclass
class Start:
    """Makes the networks of a run. Those that begin alike have the same first weights, and are pre-trained once.

    packages: those that networks begin with, by the fold that each is trained without, as `packages_of` gives them.
    classes: chips to pre-train on, if there are any.
    """

    recipe: Recipe
    job: Job
    packages: Mapping[int | None, Package]
    classes: ClassFolders | None
    _pretrained: dict[str, keras.Model] = field(default_factory=dict, init=False)

    def name(self, without: int | None) -> str:
        """What the weights begin with, to tell whether another run began alike."""
        return self.packages[without].card.digest if self.packages else self.recipe.init

    def network(self, without: int | None) -> keras.Model:
        """Build a network with its first weights. Raises PackageError when the recipe's weights do not fit it."""
        network, name = self._begun(without), self.name(without)
        if self.classes is not None and self.recipe.pretrain_epochs:
            if name not in self._pretrained:
                self._pretrained[name] = self._pretrain(self.classes, network, without)
            copied = transfer(self._pretrained[name], network)
            log.info("%d layers begin as pre-training on %s left them", copied, self.classes.source)
        return network

    def _begun(self, without: int | None) -> keras.Model:
        if self.recipe.init == "imagenet":
            return imagenet(self.recipe.spec, policy(self.recipe.spec))
        network = build(self.recipe.spec, policy(self.recipe.spec))
        if self.packages:
            package = self.packages[without]
            copied = transfer(package.network(), network)
            log.info("%d layers begin as in %s", copied, package.path)
        return network

    def _pretrain(self, classes: ClassFolders, begin: keras.Model, without: int | None) -> keras.Model:
        recipe, name, file = self.recipe, self.name(without), PRETRAINING
        if without is not None and name != self.name(None):
            file = f".fold{without + 1}{PRETRAINING}"
        return pretrain(
            recipe.spec,
            recipe.preprocess,
            classes,
            Pretraining(recipe.pretrain_epochs, recipe.batch, recipe.schedule.rate, recipe.split.seed),
            self.job.checkpoint(file, {"begins as": name}),
            begin=begin,
            advance=self.job.advance,
        )


def _warn_of_leak(packages: Mapping[int | None, Package], split: Split) -> None:
    """Log a warning for the first package that may have seen chips of the validation side of its network.

    Small chips are on it where a share is held out; with folds they only teach.
    """
    judging = {split.data} if split.folds else {split.data, split.small} - {None}
    for fold, package in packages.items():
        if fold is None and split.folds:
            continue  # it learns from all, and no figure is of it
        before, wanted = package.card.split, split if fold is None else split.without_fold(fold)
        if before is None or before.same_as(wanted):
            continue
        if {before.data, before.small} & judging:
            log.warning(
                "%s learned from another split of these chips: figures on the validation chips will flatter",
                package.path,
            )
            return
