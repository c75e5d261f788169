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
    Logs a warning where one may have seen chips that it is validated on, see `leak`. Raises PackageError for a damaged
    one.
    """
    if package is None:
        return {}
    packages: dict[int | None, Package] = {None: package}
    of_these = package.card.split is not None and package.card.split.data == split.data
    for fold in range(split.folds or 0):
        kept = fold_directory(package.path, fold)
        packages[fold] = load(kept) if of_these and kept.is_dir() else package
    if found := leak(packages, split, None):
        log.warning("%s", found)
    return packages


def leak(packages: Mapping[int | None, Package], split: Split, without: int | None) -> str:
    """Tell why the figures of a network may flatter: what it begins with may have seen chips that it is validated on.

    packages: as `packages_of` gives them. without: the fold that the network is trained without; the figures of one
    without None are those of all folds, where there are folds. Empty where there is no such reason.
    A card tells of a set of chips no more than its fingerprint. Another set of the same kind may hold the same chips,
    as one that has grown since. Small chips judge where a share is held out; with folds they only teach.
    """
    if without is None and split.folds:
        return next(filter(None, (leak(packages, split, fold) for fold in range(split.folds))), "")
    if (package := packages.get(without)) is None:
        return ""
    before, wanted = package.card.split, split if without is None else split.without_fold(without)
    who = f"the model that training began with, {package.card.name} ({package.card.digest[:12]}),"
    if before is None or before.kind is None:
        return f"{who} learned from chips that its card does not name: figures flatter if these are among them"
    if before.same_as(wanted):
        return ""
    small = split.small if not split.folds else None
    if {before.data, before.small} & {split.data, small} - {None}:
        return f"{who} learned from another split of these chips: figures on the validation chips will flatter"
    learned = {before.kind, "chips" if before.small else before.kind}
    if learned & {split.kind, "chips" if small else split.kind}:
        return (
            f"{who} learned from another set of such chips: figures flatter if it holds some of these, as where a set "
            "has grown"
        )
    return ""


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
