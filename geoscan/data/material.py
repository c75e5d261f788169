"""From directories to what the loop eats: chips prepared, labels known, places dealt to the folds of a split."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoscan.arrays import Targets
from geoscan.data.cache import StoredChips, prepared
from geoscan.data.chips import only_cloudy
from geoscan.data.deal import renumber, stratified_group_split
from geoscan.data.images import Images
from geoscan.data.kaggle import cap_cloudy, discover, stream
from geoscan.data.mine_chips import PartialSet, read_partial
from geoscan.data.neighbours import neighbour_groups
from geoscan.errors import DatasetError, ReadError
from geoscan.labels import LABELS, MINE
from geoscan.model.origin import NOT_STATED, SmallChips
from geoscan.model.preprocess import Preprocess

log = logging.getLogger(__name__)

Small = tuple[Path, Path]
"""Archive or directory of chips that are known as mine or other, and their index."""

Ticker = Callable[[Iterable[int]], Iterable[int]]
"""Wraps an iterable to show how far it is; `iter` shows nothing."""


@dataclass(frozen=True, slots=True)
class Split:
    """How places are dealt: either a share is held out for validation, or each of several folds once.

    held_out: share of the chips that is kept for validation. folds: 2 or more; held_out then counts for nothing.
    """

    seed: int = 0
    held_out: float = 0.2
    folds: int | None = None

    @property
    def shares(self) -> int | tuple[float, float]:
        """Folds as `stratified_group_split` wants them; of two shares, the second is held out."""
        return self.folds or (1 - self.held_out, self.held_out)


@dataclass(frozen=True)
class Material:
    """Everything that a training run learns from and is judged by."""

    names: tuple[str, ...]
    chips: StoredChips
    """(n, chip, chip, 3), read from disk where they are asked for."""

    targets: Targets
    """(n, 17), NaN for unknown."""

    fold: NDArray[np.int64]
    """(n,), which fold of the split each chip is in, -1 for those that could not be read; no place lies in two."""

    groups: NDArray[np.int64]
    """(n,), the place of each chip: chips that adjoin share one, and those of one sampling campaign."""

    split: Mapping[str, Any]
    """What decided which chips are in which fold: equal splits of equal data are equal."""

    facts: Mapping[str, Any]
    """For the card: what `TrainedOn` holds beside counts and split."""

    campaigns: tuple[str, ...] = ()
    """Names of the sampling campaigns of the chips, where they have any."""

    small: PartialSet | None = None
    """Chips of a coarser sensor beside the others, known as mine or other."""

    small_fold: NDArray[np.int64] | None = None
    """(len(small),), which fold each of them is in; no campaign lies in two."""

    @property
    def readable(self) -> NDArray[np.intp]:
        """Indexes of all chips that can be used."""
        return np.flatnonzero(self.fold >= 0)

    def sides(self, held_out: int | None = 1) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Indexes of the chips to train on, and of those that are judged: the fold that is held out, or none."""
        return np.flatnonzero((self.fold >= 0) & (self.fold != held_out)), np.flatnonzero(self.fold == held_out)

    def small_sides(self, held_out: int | None = 1) -> tuple[PartialSet | None, PartialSet | None]:
        """Return the small chips of both sides, None where there are none."""
        if self.small is None or self.small_fold is None:
            return None, None
        kept, judged = np.flatnonzero(self.small_fold != held_out), np.flatnonzero(self.small_fold == held_out)
        return self.small.take(kept), self.small.take(judged) if len(judged) else None

    @property
    def tagged_only_cloudy(self) -> NDArray[np.bool_]:
        """(n,), True for chips that are tagged `cloudy` and nothing else."""
        return only_cloudy(self.targets)


def gather(
    kaggle_dir: Path,
    preprocess: Preprocess,
    split: Split,
    *,
    small: Small | None,
    cap: int,
    cache: Path,
    ticker: Ticker = iter,
    licence: str = NOT_STATED,
) -> Material:
    """Read a Kaggle directory, and small chips of a coarser sensor if given, and split both without leaks.

    cap: the most chips tagged only `cloudy` that are kept. licence: of the small chips, for the card.
    What is wrong with the data but not fatal is logged as warnings.
    Raises DatasetError when nothing can be learned from it.
    """
    found = discover(kaggle_dir)
    _warn(kaggle_dir, found.problems.lines())
    chosen = cap_cloudy(found, cap, split.seed)
    log.info("%d labelled chips, %d after capping those tagged only cloudy at %d", len(found), len(chosen), cap)
    chips, readable, bad = prepared(chosen, preprocess, cache, ticker)
    _warn(kaggle_dir, bad)
    if not readable.any():
        raise DatasetError(f"none of the {len(chosen)} chips in {kaggle_dir} can be read; fetch them from Kaggle again")
    # Borders are compared as they were taken: dehazing would change them by what lies elsewhere in each chip.
    groups = neighbour_groups(
        next(stream([path])) if ok else None for path, ok in zip(chosen.paths, readable, strict=True)
    )
    fold = stratified_group_split(chosen.targets, groups, split.shares, split.seed)
    adjoining = int((np.bincount(groups)[groups] > 1).sum())
    log.info("%d chips in %d folds; %d adjoin another one", readable.sum(), len(np.unique(fold)), adjoining)
    facts: dict[str, Any] = {
        "source": 'Kaggle "Planet: Understanding the Amazon from Space"',
        "licence": "Planet imagery under Kaggle's competition rules; not redistributed with the model",
        "fingerprint": _fingerprint(found.names, found.targets),
    }
    fold[~readable] = -1
    decided = _split(split, facts["fingerprint"]) | {"cap": cap}
    if small is None:
        return Material(chosen.names, chips, chosen.targets, fold, groups, decided, facts)
    known = read_partial(*small)
    _warn(small[0], known.problems.lines())
    beside = known.take(alike(known))
    small_fold = stratified_group_split(beside.targets, renumber(beside.campaigns), split.shares, split.seed)
    decided["small"] = _fingerprint(known.names, known.targets)
    facts["small_chips"] = SmallChips(small[0].name, *_mines(beside.targets), licence)
    return Material(
        chosen.names, chips, chosen.targets, fold, groups, decided, facts, small=beside, small_fold=small_fold
    )


def gather_small(
    small: Small,
    preprocess: Preprocess,
    split: Split,
    *,
    cache: Path,
    ticker: Ticker = iter,
    licence: str = NOT_STATED,
) -> Material:
    """Read chips that are known as mine or other and nothing else, and split them by sampling campaign.

    licence: of the chips, for the card.
    Raises DatasetError when nothing can be learned from them.
    """
    archive, index = small
    found = read_partial(archive, index)
    _warn(archive, found.problems.lines())
    _check_side(found, preprocess.chip)
    chips, readable, bad = prepared(found, preprocess, cache, ticker)
    _warn(archive, bad)
    if not readable.any():
        raise DatasetError(f"none of the {len(found)} chips in {archive} can be read; fetch them again")
    groups = renumber(found.campaigns)
    fold = stratified_group_split(found.targets, groups, split.shares, split.seed)
    fold[~readable] = -1
    facts = {
        "source": archive.name,
        "licence": licence,
        "fingerprint": _fingerprint(found.names, found.targets),
        "campaigns": int(groups.max()) + 1,
    }
    log.info("%d chips of %d campaigns in %d folds", readable.sum(), facts["campaigns"], len(np.unique(fold)))
    decided = _split(split, str(facts["fingerprint"]))
    return Material(found.names, chips, found.targets, fold, groups, decided, facts, campaigns=found.campaigns)


def same_split(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Tell whether two splits (`Material.split`) deal the chips that both have to the same folds."""
    mine, its = ({key: value for key, value in facts.items() if key != "small"} for facts in (one, other))
    return mine == its and one.get("small", other.get("small")) == other.get("small", one.get("small"))


def positives(targets: Targets) -> dict[str, int]:
    """Count the chips of each label that is known anywhere."""
    known = np.flatnonzero((~np.isnan(targets)).any(axis=0))
    return {LABELS[column]: int((targets[:, column] == 1).sum()) for column in known}


def _split(split: Split, fingerprint: str) -> dict[str, Any]:
    how = {"folds": split.folds} if split.folds else {"held_out": split.held_out}
    return {"seed": split.seed, **how, "data": fingerprint}


def alike(chips: Images, ticker: Ticker = iter) -> list[int]:
    """Positions of the chips that can be read and have the commonest size, so that no draw of several fails later on.

    A warning for each chip that cannot be read, and one for those of other sizes.
    Raises DatasetError when none can be read.
    """
    shapes: dict[int, tuple[int, ...]] = {}
    for i in ticker(range(len(chips.names))):
        try:
            shapes[i] = chips.read(i).shape
        except ReadError as err:
            log.warning("%s", err)
    if not shapes:
        raise DatasetError(f"none of the {len(chips.names)} chips in {chips.source} can be read; fetch them again")
    (common, _), *others = Counter(shapes.values()).most_common()
    if others:
        odd = [chips.names[i] for i, shape in shapes.items() if shape != common]
        size = f"{common[2]} x {common[1]} px"
        log.warning("%s: %d chips are not of %s as most are (%s): left out", chips.source, len(odd), size, odd[0])
    return [i for i, shape in shapes.items() if shape == common]


def _check_side(chips: PartialSet, side: int) -> None:
    """Raise DatasetError where chips are smaller than what the network takes: it would learn what no scene shows."""
    for i in range(len(chips)):
        try:
            _, rows, cols = chips.read(i).shape
        except ReadError:
            continue
        if min(rows, cols) < side:
            raise DatasetError(
                f"{chips.source} holds chips of {cols} x {rows} px, the network takes {side} x {side}; choose a preset "
                "for smaller chips, such as lite-small"
            )
        return


def _warn(where: Path, lines: Iterable[str]) -> None:
    for line in lines:
        log.warning("%s: %s", where, line)


def _fingerprint(names: tuple[str, ...], targets: Targets) -> str:
    digest = hashlib.sha256("\n".join(names).encode())
    digest.update(np.nan_to_num(targets, nan=-1).astype(np.int8).tobytes())
    return digest.hexdigest()


def _mines(targets: Targets) -> tuple[int, int]:
    """Count the chips with a mine, and the others."""
    mine = targets[:, LABELS.index(MINE)]
    return int((mine == 1).sum()), int((mine == 0).sum())
