"""Batches for training: shuffled, augmented, the same for the same seed, epoch and place."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Protocol, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from geoscan.arrays import Chips, Features, Scores, Visual
from geoscan.errors import DatasetError
from geoscan.labels import LABELS, MINE, columns
from geoscan.model.preprocess import Preprocess
from geoscan.model.spec import Head
from geoscan.train.ahead import made_ahead
from geoscan.train.augment import Augmentation
from geoscan.train.kaggle import Targets
from geoscan.train.mixup import mixed
from geoscan.train.store import AnyChips, ChipSet

Batch: TypeAlias = tuple[Chips, dict[str, NDArray[np.float32]]]
"""Chips, (n, chip, chip, 3), and their targets by head, (n, labels), NaN for unknown."""

Drawn: TypeAlias = tuple[NDArray[np.uint8], NDArray[np.float32]]
"""A prepared chip, (chip, chip, 3), and its targets, (17,), 0..1, NaN for unknown."""


class Source(Protocol):
    """Something that chips are drawn from at random."""

    def draw(self, rng: np.random.Generator) -> Drawn:
        """Return a chip and its targets."""


_MINE = LABELS.index(MINE)
_STRONG = Augmentation(zoom=1.5, gain=1.4, haze=0.5)
_TRUST = 0.7
"""Weight of a label that is known beside the teacher's score."""
FORETOLD = "teachers"
"""Name of the target that holds the teachers' features."""
_PROBE = 8
"""Batches from which mean and spread of the teachers' features are taken."""
_FARTHEST = 4.0
"""Spreads from the mean beyond which a feature counts no more."""
_LEAST_SPREAD = 1e-3
"""Added to each spread: a channel that never changes divides by it."""
_COVER = 96
"""Most pixels of 10 m along one side of a mosaic."""
_SIDE = 2
"""Small chips along one side of a mosaic: 2 x 48 px at 10 m cover what a chip of 256 px at 3.7 m covers."""


class Mosaics:
    """Chips made of 2 x 2 small ones of a coarser sensor, brought to the ground and the colours of the model's own.

    source: chips of one size, as `material.alike` picks them out.
    mine: (n,), 1 where a small chip shows a mine and 0 where it does not: half of the mosaics then hold one or two
    mines, the others none, and nothing else is known of them. Without it nothing is known of any.
    look: mean and standard deviation of red, green and blue, 0..255, that the mosaics are brought to.
    Raises DatasetError when there are no mines, or nothing else.
    """

    def __init__(
        self,
        source: ChipSet,
        preprocess: Preprocess,
        look: tuple[tuple[float, float, float], tuple[float, float, float]],
        mine: NDArray[np.floating] | None = None,
    ) -> None:
        n = len(source.names)
        self._mines, self._others = np.empty(0, np.intp), np.arange(n)
        if mine is not None:
            self._mines, self._others = np.flatnonzero(mine == 1), np.flatnonzero(mine == 0)
            if not len(self._mines) or not len(self._others):
                raise DatasetError(
                    f"{len(self._mines)} mines and {len(self._others)} other chips are on one side of the split; "
                    "mosaics need both, so give more sampling campaigns"
                )
        self._source, self._preprocess, self._look = source, preprocess, look
        sample = np.random.default_rng(0).permutation(n)[:300]
        pixels = np.concatenate([source.read(int(i)).reshape(3, -1) for i in sample], axis=1)
        self._mean, self._std = pixels.mean(axis=1), pixels.std(axis=1)

    def draw(self, rng: np.random.Generator) -> Drawn:
        """Return a mosaic, of which at most one thing is known: whether it holds a mine."""
        cells = _SIDE * _SIDE
        mines = int(rng.integers(1, 3)) if len(self._mines) and rng.random() < 0.5 else 0
        chosen = np.concatenate([rng.choice(self._mines, mines), rng.choice(self._others, cells - mines)])
        rng.shuffle(chosen)
        parts = [self._source.read(int(i)) for i in chosen]
        rows = [np.concatenate(parts[r * _SIDE : (r + 1) * _SIDE], axis=2) for r in range(_SIDE)]
        joined = np.concatenate(rows, axis=1)
        edge = max(0, (joined.shape[1] - _COVER) // 2)
        targets = np.full(len(LABELS), np.nan, np.float32)
        if len(self._mines):
            targets[_MINE] = mines > 0
        return self._preprocess(self._matched(joined[:, edge : edge + _COVER, edge : edge + _COVER])), targets

    def _matched(self, pixels: Visual) -> Visual:
        """Bring pixels to the model's look and to the size of a chip."""
        mean, std = np.array(self._look)
        scale = (std / self._std)[:, None, None]
        matched = (pixels - self._mean[:, None, None]) * scale + mean[:, None, None]
        side = self._preprocess.chip
        large = cv2.resize(matched.transpose(1, 2, 0).astype(np.float32), (side, side), interpolation=cv2.INTER_CUBIC)
        planar: Visual = np.rint(np.clip(large, 0, 255)).astype(np.uint8).transpose(2, 0, 1)
        return planar


class Blends:
    """Training chips seen otherwise, four of them cut together, or two blended: nothing is known of what they show.

    For a teacher to judge: a student that must agree with it on these learns more than on the chips alone (Beyer et al.
    2022, section 3).
    """

    def __init__(self, chips: AnyChips, indexes: NDArray[np.integer]) -> None:
        self._chips, self._indexes = chips, indexes

    def draw(self, rng: np.random.Generator) -> Drawn:
        """Return a chip."""
        chip, kind = self._one(rng), rng.random()
        if kind < 0.35:
            quarter = len(chip) // 4
            row, col = rng.integers(quarter, 3 * quarter + 1, 2)
            chip = chip.copy()
            top, bottom, left, right = slice(row), slice(row, None), slice(col), slice(col, None)
            for part in ((top, right), (bottom, left), (bottom, right)):
                chip[part] = self._one(rng)[part]
        elif kind < 0.55:
            weight = rng.uniform(0.2, 0.8)
            chip = np.rint(chip * weight + self._one(rng) * (1 - weight)).astype(np.uint8)
        return chip, np.full(len(LABELS), np.nan, np.float32)

    def _one(self, rng: np.random.Generator) -> NDArray[np.uint8]:
        return _STRONG(np.asarray(self._chips[int(rng.choice(self._indexes))]), rng)


class Batches:
    """(chips, targets by head) of one epoch after another.

    chips: (n, chip, chip, 3), read where they are needed. targets: (n, 17), 0..1, NaN for unknown.
    drawn: sources, and how many chips of each batch come from them; the rest are `chips`, all of them once an epoch.
    mixup: probability, 0..1, that a batch is blended with itself.
    """

    def __init__(
        self,
        chips: AnyChips,
        indexes: NDArray[np.integer],
        targets: Targets,
        heads: tuple[Head, ...],
        *,
        batch: int,
        seed: int,
        augmentation: Augmentation,
        drawn: Sequence[tuple[Source, int]] = (),
        mixup: float = 0.0,
    ) -> None:
        self._own = min(batch - sum(count for _, count in drawn), len(indexes))
        if self._own < 1:
            raise DatasetError(f"a batch of {batch} leaves no room for labelled chips; pass a larger --batch")
        self._chips, self._indexes, self._targets, self._heads = chips, indexes, targets, heads
        self._seed, self._augmentation, self._drawn, self._mixup = seed, augmentation, drawn, mixup

    def __len__(self) -> int:
        # The last few chips wait for another epoch's order, so that every batch has one shape and is compiled once.
        return len(self._indexes) // self._own

    def epoch(self, number: int) -> Iterator[Batch]:
        """Yield the batches of an epoch, made ahead of time by a few threads."""
        order = np.random.default_rng((self._seed, number)).permutation(self._indexes)
        return made_ahead(lambda step: self._make(order, number, step), len(self))

    def _make(self, order: NDArray[np.integer], epoch: int, step: int) -> Batch:
        rng = np.random.default_rng((self._seed, epoch, step))
        own = order[step * self._own : (step + 1) * self._own]
        pairs = [(np.asarray(self._chips[i]), self._targets[i]) for i in own]
        pairs += [source.draw(rng) for source, count in self._drawn for _ in range(count)]
        chips = np.stack([self._augmentation(chip, rng) for chip, _ in pairs])
        batch = chips, by_head(np.stack([targets for _, targets in pairs]), self._heads)
        return mixed(batch, rng, self._mixup)


def by_head(targets: Targets, heads: tuple[Head, ...]) -> dict[str, NDArray[np.float32]]:
    """Split (n, 17) targets into what each head answers."""
    return {head.name: targets[:, columns(head.labels)].astype(np.float32) for head in heads}


class Taught:
    """Batches in which teachers have their say.

    A target that is unknown is their mean score, a known one is drawn to it. Beside the heads' targets comes one more,
    `FORETOLD`: (n, channels), what the teachers make of each chip before they answer, side by side. A student that
    must foretell it learns from chips of which 17 scores tell little (Romero et al. 2015, section 2.2).
    teachers: each takes (n, chip, chip, 3) and gives (n, labels) scores, columns in the order of the heads' labels,
    and (n, channels) features.
    """

    def __init__(
        self,
        batches: Batches,
        teachers: Sequence[Callable[[Chips], tuple[Scores, Features]]],
        heads: tuple[Head, ...],
    ) -> None:
        self._batches, self._teachers, self._heads = batches, teachers, heads
        probe = list(islice(batches.epoch(0), _PROBE))
        features = np.concatenate([self._ask(chips)[1] for chips, _ in probe])
        self._mean, self._spread = features.mean(0), features.std(0) + _LEAST_SPREAD

    def __len__(self) -> int:
        return len(self._batches)

    @property
    def channels(self) -> int:
        """How many features the teachers have together."""
        return len(self._mean)

    def epoch(self, number: int) -> Iterator[Batch]:
        """Yield the batches of an epoch; the teachers judge one while the student learns from another."""
        batches = self._batches.epoch(number)
        return made_ahead(lambda _: self._judged(next(batches)), len(self), workers=1)

    def _ask(self, chips: Chips) -> tuple[Scores, Features]:
        """Mean scores of the teachers, and the features of all."""
        said = [teacher(chips) for teacher in self._teachers]
        return np.mean([scores for scores, _ in said], axis=0), np.concatenate([seen for _, seen in said], axis=1)

    def _judged(self, batch: Batch) -> Batch:
        chips, targets = batch
        said, seen = self._ask(chips)
        # Of channels that are seldom other than 0 a few values would outweigh all others.
        standard = np.clip((seen - self._mean) / self._spread, -_FARTHEST, _FARTHEST)
        judged, column = {FORETOLD: standard.astype(np.float32)}, 0
        for head in self._heads:
            known = targets[head.name]
            says = said[:, column : column + len(head.labels)]
            judged[head.name] = np.where(np.isnan(known), says, _TRUST * known + (1 - _TRUST) * says).astype(np.float32)
            column += len(head.labels)
        return chips, judged
