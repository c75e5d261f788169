"""The weights that a network begins with: random, ImageNet's, those of another package, or pre-trained on classes."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace

from geoscan.data.class_folders import ClassFolders
from geoscan.model.backend import keras
from geoscan.model.network import build
from geoscan.model.package import Package, find
from geoscan.model.pretrained import imagenet, scaled
from geoscan.model.split import Split
from geoscan.train.devices import policy
from geoscan.train.job import PRETRAINING, Job
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


@dataclass
class Start:
    """Makes the networks of a run, all with the same first weights; they are pre-trained once.

    package: the one that the recipe begins with, if it does. classes: chips to pre-train on, if there are any.
    """

    recipe: Recipe
    job: Job
    package: Package | None
    classes: ClassFolders | None
    _pretrained: keras.Model | None = field(default=None, init=False)

    @property
    def name(self) -> str:
        """What the weights begin with, to tell whether another run began alike."""
        return self.package.card.digest if self.package else self.recipe.init

    def network(self) -> keras.Model:
        """Build a network with its first weights. Raises PackageError when the recipe's weights do not fit it."""
        network = self._begun()
        if self.classes is not None and self.recipe.pretrain_epochs:
            if self._pretrained is None:
                self._pretrained = self._pretrain(self.classes, network)
            copied = transfer(self._pretrained, network)
            log.info("%d layers begin as pre-training on %s left them", copied, self.classes.source)
        return network

    def _begun(self) -> keras.Model:
        if self.recipe.init == "imagenet":
            return imagenet(self.recipe.spec, policy())
        network = build(self.recipe.spec, policy())
        if self.package is not None:
            copied = transfer(self.package.network(), network)
            log.info("%d layers begin as in %s", copied, self.package.path)
        return network

    def _pretrain(self, classes: ClassFolders, begin: keras.Model) -> keras.Model:
        recipe = self.recipe
        return pretrain(
            recipe.spec,
            recipe.preprocess,
            classes,
            Pretraining(recipe.pretrain_epochs, recipe.batch, recipe.schedule.rate, recipe.split.seed),
            self.job.checkpoint(PRETRAINING, {"begins as": self.name}),
            begin=begin,
            advance=self.job.advance,
        )


def warn_of_leak(package: Package, split: Split) -> None:
    """Log a warning where a package that a network begins with may have seen chips of the validation side."""
    before = package.card.split
    if before is None:
        return
    shared = {before.data, before.small} & {split.data, split.small} - {None}
    if shared and (split.folds or not before.same_as(split)):
        log.warning(
            "%s learned from another split of these chips: figures on the validation chips will flatter", package.path
        )
