"""The models that came with geoscan, by name and by what suits a scene."""

from __future__ import annotations

import importlib.resources
from collections.abc import Sequence
from pathlib import Path

from geoscan.errors import PackageError
from geoscan.model.package import CARD, Package, load
from geoscan.model.spec import DenseNetSpec


def shipped() -> list[Package]:
    """Open the packages that came with geoscan, in the order of their names."""
    root = Path(str(importlib.resources.files("geoscan_models")))
    return [load(card.parent) for card in sorted(root.glob(f"*/{CARD}"))]


def find(name: str) -> Package:
    """Open a package by its path, or a shipped one by its name. Raises PackageError when there is neither."""
    if (Path(name) / CARD).exists() or "/" in name:
        return load(Path(name))
    packages = {package.card.name: package for package in shipped()}
    if name not in packages:
        names = ", ".join(packages) or "none is installed"
        raise PackageError(f"no model is called {name!r}; shipped: {names}; or give the directory of a package")
    return packages[name]


def choose(packages: Sequence[Package], gsd: tuple[float, float]) -> Package:
    """Return the one of the shipped packages whose GSD is nearest, as a factor, to a scene's (x, y) metres.

    Of several with one GSD, a DenseNet goes before its teachers, and then the one that tells mines from the rest best,
    by the AUC in its card.
    Raises PackageError when there is none.
    """
    if not packages:
        raise PackageError("no model is shipped with this installation; train one and pass it with --model DIR")
    middle = (gsd[0] * gsd[1]) ** 0.5

    def worth(package: Package) -> tuple[float, bool, float]:
        own = package.card.preprocess.gsd
        teacher = not isinstance(package.card.spec, DenseNetSpec)
        return max(own / middle, middle / own), teacher, -package.card.figures.mine_auc

    return min(packages, key=worth)
