"""Batches for training: shuffled, augmented, the same for the same seed, epoch and place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from geoscan.ahead import made_ahead
from geoscan.arrays import Chips, Targets
from geoscan.data.cache import AnyChips
from geoscan.errors import DatasetError
from geoscan.labels import columns
from geoscan.model.spec import Head
from geoscan.train.augment import Augmentation
from geoscan.train.mosaics import Source

Batch: TypeAlias = tuple[Chips, dict[str, NDArray[np.float32]]]
"""Chips, (n, chip, chip, 3), and their targets by head, (n, labels), NaN for unknown."""


class Batches:
    """(chips, targets by head) of one epoch after another.

    chips: (n, chip, chip, 3), read where they are needed. targets: (n, 17), 0..1, NaN for unknown.
    drawn: sources, and how many chips of each batch come from them; the rest are `chips`, all of them once an epoch.
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
    ) -> None:
        self._own = min(batch - sum(count for _, count in drawn), len(indexes))
        if self._own < 1:
            raise DatasetError(f"a batch of {batch} leaves no room for labelled chips; pass a larger --batch")
        self._chips, self._indexes, self._targets, self._heads = chips, indexes, targets, heads
        self._seed, self._augmentation, self._drawn = seed, augmentation, drawn

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
        return chips, by_head(np.stack([targets for _, targets in pairs]), self._heads)


def by_head(targets: Targets, heads: tuple[Head, ...]) -> dict[str, NDArray[np.float32]]:
    """Split (n, 17) targets into what each head answers."""
    return {head.name: targets[:, columns(head.labels)].astype(np.float32) for head in heads}
