"""What a training learns from: chips prepared, labels known, places assigned to the parts of a split."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from geoscan.arrays import Targets
from geoscan.data import images
from geoscan.data.cache import StoredChips, prepared
from geoscan.data.chips import only_cloudy, parts_fingerprint, some, warn
from geoscan.data.images import Images
from geoscan.data.kaggle import CHIP
from geoscan.data.labelled import LabelledChips, as_taken, divide, read_chips, unchecked, used
from geoscan.data.mine_chips import MineChips, read_mine_chips
from geoscan.data.sources import ChipsSource, TrainingData
from geoscan.errors import DatasetError, ReadError
from geoscan.labels import LABELS, MINE_COLUMN
from geoscan.model.origin import SmallChips, TrainedOn
from geoscan.model.preprocess import Preprocess
from geoscan.model.spec import PRESETS
from geoscan.model.split import Split
from geoscan.progress import Track

TRUST: Final = 0.8
"""Target of labels that nobody has looked through: they are as likely right."""

SMALL: Final = 48
"""Side of the chips that may lie beside Kaggle's, in pixels of 10 m: two cover 960 m, about as much as one of Kaggle's,
870 m."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Material:
    """Everything that a training learns from and is validated on."""

    names: tuple[str, ...]
    chips: StoredChips
    """(n, chip, chip, 3), read from disk where they are asked for."""

    targets: Targets
    """(n, 17), NaN for unknown, `TRUST` where nobody has looked a label through."""

    fold: NDArray[np.int64]
    """(n,), which part of the split each chip is in, -1 for those that could not be read; no place lies in two."""

    groups: NDArray[np.int64]
    """(n,), the place of each chip: chips that adjoin share one, and those of one sampling campaign."""

    split: Split
    """What decided which chips are in which part."""

    facts: TrainedOn
    """For the card, without counts of chips."""

    campaigns: tuple[str, ...] = ()
    """Names of the sampling campaigns of the chips, where they have any."""

    small: MineChips | None = None
    """Chips of a coarser sensor beside the others, known as mine or not; targets as above."""

    small_fold: NDArray[np.int64] | None = None
    """(len(small),), which part of the split each of them is in; no campaign lies in two."""

    @property
    def readable(self) -> NDArray[np.intp]:
        """(m,), indexes of all chips that can be used."""
        return np.flatnonzero(self.fold >= 0)

    @property
    def judging(self) -> NDArray[np.intp]:
        """(m,), indexes of all chips that some network of the run is validated on."""
        parts = range(self.split.folds) if self.split.folds else (1,)
        return np.flatnonzero(np.isin(self.fold, parts))

    def sides(self, without: int | None = None) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Indexes of the chips to train on, (t,), and of those to validate on, (v,).

        without: the fold to validate on, from 0; where there are folds and it is None, all chips are trained on and
        none is left. Without folds it stays None: the held-out chips are those to validate on.
        """
        unseen = replace(self.split, without=without).unseen_part
        return np.flatnonzero((self.fold >= 0) & (self.fold != unseen)), np.flatnonzero(self.fold == unseen)

    def small_sides(self, without: int | None = None) -> tuple[MineChips | None, MineChips | None]:
        """Return the small chips of both sides, see `sides`; None where there are none."""
        if self.small is None or self.small_fold is None:
            return None, None
        unseen = replace(self.split, without=without).unseen_part
        training, validation = np.flatnonzero(self.small_fold != unseen), np.flatnonzero(self.small_fold == unseen)
        return self.small.take(training), self.small.take(validation) if len(validation) else None

    @property
    def tagged_only_cloudy(self) -> NDArray[np.bool_]:
        """(n,), True for chips that are tagged `cloudy` and nothing else."""
        return only_cloudy(self.targets)


def gather(data: TrainingData, preprocess: Preprocess, split: Split, cache: Path, track: Track = iter) -> Material:
    """Read the labelled chips of a training, and small chips if there are any, and split both without leaks.

    cache: directory of prepared chips. What is wrong with the data but not fatal is logged as warnings.
    Raises DatasetError when nothing can be learned from them, OutputError when the cache cannot be written.
    """
    found = read_chips(data.labelled)
    chosen = used(found, split)
    rows = _fitting(chosen, preprocess.chip)
    if split.cloudy_cap is not None and not isinstance(chosen, MineChips):
        log.info(
            "%d labelled chips, %d after capping those tagged only cloudy at %d",
            len(found),
            len(chosen),
            split.cloudy_cap,
        )
    kept = chosen.take(rows)
    cached = prepared(kept, preprocess, cache, track)
    if not cached.readable.any():
        raise DatasetError(
            f"none of the {len(kept)} chips in {kept.source} can be read; the first: {cached.problems[0]}"
        )
    warn(kept.source, cached.problems)
    if isinstance(chosen, MineChips):
        _warn_of_places(chosen)
    # Of all chips, also those of odd sizes, which are not prepared: whoever divides them again need not know which.
    groups, fold = divide(chosen, split, as_taken(chosen, preprocess, cached if len(kept) == len(chosen) else None))
    parts = parts_fingerprint(chosen.names, fold)
    groups, fold = groups[rows], fold[rows]
    targets = kept.targets.copy()
    targets[unchecked(kept, split)] *= TRUST
    fold[~cached.readable] = -1
    log.info("%d chips of %d places in %d parts", cached.readable.sum(), len(np.unique(groups)), fold.max() + 1)
    facts = found.facts
    if isinstance(data.labelled, ChipsSource):
        facts = replace(facts, licence=data.labelled.licence)
    material = Material(
        kept.names,
        cached.pixels,
        targets,
        fold,
        groups,
        split.of(found.kind, found.fingerprint, parts),
        facts,
        campaigns=kept.campaigns if isinstance(kept, MineChips) else (),
    )
    return material if data.small is None else _with_small(material, data.small, preprocess)


def _with_small(material: Material, source: ChipsSource, preprocess: Preprocess) -> Material:
    """Add small chips, divided as the others are, by sampling campaign.

    Raises DatasetError where they are not of the size of which mosaics are made.
    """
    known = read_mine_chips(source.chips, source.index)
    warn(known.source, known.problems.lines())
    small = known.take(of_one_size(known))
    if (size := small.read(0).shape[1:]) != (SMALL, SMALL):
        raise DatasetError(
            f"{small.source}/{small.names[0]} is of {_px(size)}; chips beside Kaggle's are of {_px((SMALL, SMALL))} at "
            "10 m, four of which show as much ground as one of Kaggle's: give such, leave --kaggle-dir out, or teach "
            "them to a model with --tune"
        )
    if not material.split.folds:  # else they only teach
        _warn_of_places(small)
    _, fold = divide(small, material.split, as_taken(small, preprocess, None))
    mine = small.targets[:, MINE_COLUMN]
    chips = SmallChips(source.chips.name, int((mine == 1).sum()), int((mine == 0).sum()), source.licence)
    targets = small.targets.copy()
    targets[unchecked(small, material.split)] *= TRUST
    return replace(
        material,
        split=replace(material.split, small=known.fingerprint, small_parts=parts_fingerprint(small.names, fold)),
        facts=replace(material.facts, small_chips=chips),
        small=replace(small, targets=targets),
        small_fold=fold,
    )


def _warn_of_places(chips: MineChips) -> None:
    """Log a warning where every chip counts as a place of its own."""
    if chips.each_alone:
        log.warning(
            "%s: no two chips are of one campaign, so each counts as a place of its own, and figures flatter where "
            "chips that teach show the ground of others that judge; name where each is from in the column "
            "source_gallery of the index",
            chips.source,
        )


def of_one_size(chips: Images, track: Track = iter) -> list[int]:
    """Positions of the chips that can be read and have the commonest size, so that any of them can be joined.

    Logs a warning for each chip that cannot be read, and one for those of other sizes.
    Raises DatasetError when none can be read.
    """
    shapes: dict[int, tuple[int, int]] = {}
    last = ""
    for i in track(range(len(chips.names))):
        try:
            _, rows, cols = chips.read(i).shape
            shapes[i] = rows, cols
        except ReadError as err:
            log.warning("%s", last := str(err))
    if not shapes:
        raise DatasetError(f"none of the {len(chips.names)} chips in {chips.source} can be read; the last: {last}")
    odd = _odd(chips, shapes)
    return [i for i in shapes if i not in odd]


def _odd(chips: Images, sizes: Mapping[int, tuple[int, int]]) -> set[int]:
    """Positions of the chips that have not the commonest size, which are left out: a warning counts them.

    sizes: (rows, cols) of chips, by position, at least one.
    """
    common, _ = Counter(sizes.values()).most_common(1)[0]
    odd = [i for i, size in sizes.items() if size != common]
    if odd:
        names = some([chips.names[i] for i in odd])
        log.warning("%s: %d chips are not of %s as most are (%s): left out", chips.source, len(odd), _px(common), names)
    return set(odd)


def positives(targets: Targets) -> dict[str, int]:
    """Count the chips of each label that is known anywhere, also those that nobody has looked through.

    targets: (n, 17), 0..1, NaN for unknown.
    """
    known = np.flatnonzero((~np.isnan(targets)).any(axis=0))
    return {LABELS[column]: int((targets[:, column] > 0).sum()) for column in known}


def _fitting(chips: LabelledChips, side: int) -> list[int]:
    """Positions of the chips that have the commonest size, and of those that cannot be read, which `prepared` tells.

    Raises DatasetError where that is not the network's: it takes no more pixels, and with fewer it would learn
    reflections that no scene shows. Kaggle's chips are of one size; a network that sees them in a wider frame is known.
    """
    if not isinstance(chips, MineChips):
        if side < CHIP:
            raise DatasetError(_misfit(f"Kaggle's chips are of {_px((CHIP, CHIP))}", side))
        return list(range(len(chips)))
    sizes: dict[int, tuple[int, int]] = {}
    for i, name in enumerate(chips.names):
        with suppress(ReadError):
            sizes[i] = images.size(chips.source, name)
    odd = _odd(chips, sizes) if sizes else set()
    first = next((i for i in sizes if i not in odd), None)
    if first is not None and sizes[first] != (side, side):
        most = "" if len(sizes) == 1 else ", as most chips there"
        raise DatasetError(_misfit(f"{chips.source}/{chips.names[first]} is of {_px(sizes[first])}{most}", side))
    return [i for i in range(len(chips)) if i not in odd]


def _misfit(what: str, side: int) -> str:
    """Tell that chips do not fit a network, and which presets there are. side: of the network's, in pixels."""
    by_side: dict[int, list[str]] = {}
    for name, spec in PRESETS.items():
        by_side.setdefault(spec.chip, []).append(name)
    known = "; ".join(f"{_px((chip, chip))}: {', '.join(names)}" for chip, names in sorted(by_side.items()))
    return (
        f"{what}, and the network takes {_px((side, side))}; choose a preset for that size ({known}), or give "
        "chips of the network's"
    )


def _px(size: tuple[int, int]) -> str:
    rows, cols = size
    return f"{cols} x {rows} px"
