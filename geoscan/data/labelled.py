"""Labelled chips, wherever they come from: which of them a split uses, and how it divides them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from geoscan.arrays import Visual
from geoscan.data.cache import Cached
from geoscan.data.chips import warn
from geoscan.data.deal import Groups, renumber, stratified_group_split
from geoscan.data.kaggle import CHIP, KaggleChips, cap_cloudy, read_kaggle
from geoscan.data.mine_chips import MineChips, read_mine_chips
from geoscan.data.neighbours import identical, join, neighbour_groups
from geoscan.data.sources import KaggleSource, Source
from geoscan.errors import ReadError
from geoscan.model.preprocess import Preprocess
from geoscan.model.split import Split
from geoscan.progress import Track

LabelledChips: TypeAlias = KaggleChips | MineChips


def read_chips(source: Source) -> LabelledChips:
    """List the chips of a source and their labels; no chip is decoded.

    What is wrong but not fatal is logged as warnings. Raises DatasetError when nothing can be used.
    """
    if isinstance(source, KaggleSource):
        found: LabelledChips = read_kaggle(source.directory)
    else:
        found = read_mine_chips(source.chips, source.index)
    warn(found.source, found.problems.lines())
    return found


def used(chips: LabelledChips, split: Split) -> LabelledChips:
    """Return the chips that a split uses: of those tagged only `cloudy` no more than its cap."""
    if isinstance(chips, KaggleChips) and split.cloudy_cap is not None:
        return cap_cloudy(chips, split.cloudy_cap, split.seed)
    return chips


def divide(chips: LabelledChips, split: Split, pixels: Iterable[Visual | None]) -> tuple[Groups, NDArray[np.int64]]:
    """Find which chips show one place, and assign whole places to the parts of a split.

    Kaggle's chips show one place where they adjoin, others where they are of one sampling campaign, and all where they
    are identical.
    pixels: of the chips, as `as_taken` gives them.
    Returns (n,), the place of each chip, and (n,), its part: the fold, or 0 to train on and 1 to hold out; the split's
    `teaching_part` for those that nobody has checked.
    Raises DatasetError when there are fewer places than parts.
    """
    places = _of_campaigns(chips, pixels) if isinstance(chips, MineChips) else neighbour_groups(pixels)
    part = np.full(len(chips), split.teaching_part)
    judges = ~unchecked(chips, split)
    groups = renumber(places[judges]) if split.unchecked else places
    part[judges] = stratified_group_split(chips.targets[judges], groups, split.shares, split.seed)
    return places, part


def _of_campaigns(chips: MineChips, pixels: Iterable[Visual | None]) -> Groups:
    """Place of each chip, (n,): campaigns that share a picture are one."""
    campaigns = renumber(chips.campaigns)
    _, first = np.unique(campaigns, return_index=True)
    same = zip(first[campaigns].tolist(), range(len(chips)), strict=True)
    return join(len(chips), [*same, *identical(pixels)])


def unchecked(chips: LabelledChips, split: Split) -> NDArray[np.bool_]:
    """(n,), True for chips of sampling campaigns whose labels nobody has looked through."""
    campaigns = chips.campaigns if isinstance(chips, MineChips) else [""] * len(chips)
    return np.array([bool(split.unchecked) and name.startswith(split.unchecked) for name in campaigns], bool)


def as_taken(
    chips: LabelledChips, preprocess: Preprocess, cached: Cached | None, track: Track = iter
) -> Iterator[Visual | None]:
    """Yield chips as they were taken, (3, rows, cols); None for one that cannot be read.

    Chips in the cache need not be decoded again where their frame is a whole chip: of Kaggle's where it is of their
    size, of others always, for a training prepares none of another size.
    """
    raw = cached if isinstance(chips, MineChips) or preprocess.chip == CHIP else None
    for i in track(range(len(chips))):
        if cached is not None and not cached.readable[i]:
            yield None
        elif raw is not None:
            yield raw.pixels[i].transpose(2, 0, 1)
        else:
            yield _read(chips, i)


def _read(chips: LabelledChips, i: int) -> Visual | None:
    try:
        return chips.read(i)
    except ReadError:
        return None
