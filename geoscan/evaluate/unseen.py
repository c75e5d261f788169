"""Which chips of a data set a model has not learned from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from geoscan.data.cache import find_prepared
from geoscan.data.chips import parts_fingerprint
from geoscan.data.labelled import LabelledChips, as_taken, divide, used
from geoscan.errors import DatasetError, PackageError
from geoscan.model.package import Package
from geoscan.model.split import Split
from geoscan.progress import Track

_WANTED = {"kaggle": "--kaggle-dir", "chips": "--chips and --index"}


def unseen_by_all(packages: Sequence[Package], chips: LabelledChips, cache: Path, track: Track = iter) -> LabelledChips:
    """Keep the chips that none of the models has learned from, see `unseen`. Raises DatasetError when there is none."""
    names = set.intersection(*(unseen(package, chips, cache, track) for package in packages))
    if not names:
        raise DatasetError("no chip was kept out of the training of both models; leave --against out")
    return chips.take(i for i, name in enumerate(chips.names) if name in names)


def unseen(package: Package, chips: LabelledChips, cache: Path, track: Track = iter) -> set[str]:
    """Names of the chips that a model has not learned from: the split in its card is made again.

    chips: the data set that it was trained on, all of it. Of those tagged only `cloudy`, the names of those that the
    training's cap let through. Chips are decoded only to find out which of Kaggle's adjoin, and which of others are
    alike, and not those that a training has left in `cache` as they are.
    Raises PackageError for a model that learned from all chips, or from another kind of data; DatasetError for other
    chips than those that it was trained on, or chips that are divided otherwise now.
    """
    split = _split_of(package, chips)
    chosen = used(chips, split)
    preprocess = package.card.preprocess
    _, part = divide(chosen, split, as_taken(chosen, preprocess, find_prepared(chosen, preprocess, cache), track))
    if split.parts and split.parts != (now := parts_fingerprint(chosen.names, part)):
        what = (
            "campaigns in the index, or which chips are alike,"
            if chips.kind == "chips"
            else "chips that can be read, and so which adjoin,"
        )
        raise DatasetError(
            f"{package.path} was trained on another division of these chips (fingerprint {split.parts[:12]}, now "
            f"{now[:12]}), so nobody can tell which it has seen: the {what} have changed; give the set as it was, or "
            "leave --unseen out"
        )
    return {name for name, one in zip(chosen.names, part, strict=True) if one == split.unseen_part}


def _split_of(package: Package, chips: LabelledChips) -> Split:
    """Return the split in a card, where it tells which of these chips the model has not seen."""
    split = package.card.split
    if split is None or split.kind is None:
        raise PackageError(f"{package.path} does not say which chips it has not seen; leave --unseen out")
    if split.kind != chips.kind:
        raise PackageError(
            f"the figures of {package.path} are of chips from {_WANTED[split.kind]}; pass that, or leave --unseen out"
        )
    if split.unseen_part is None:
        raise PackageError(
            f"{package.path} has learned from all chips; take a network of one of its folds, which `geoscan train "
            "--keep-folds` keeps, or leave --unseen out"
        )
    if split.data != chips.fingerprint:
        raise DatasetError(
            f"{package.path} was trained on other chips than these (fingerprint {split.data[:12]}, now "
            f"{chips.fingerprint[:12]}), so nobody can tell which it has seen; give the set it was trained on, or "
            "leave --unseen out"
        )
    return split
