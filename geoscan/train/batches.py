"""Batches for training: shuffled, augmented, the same for the same seed, epoch and place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from geoscan.ahead import made_ahead
from geoscan.arrays import Chips
from geoscan.data.cache import AnyChips
from geoscan.errors import DatasetError
from geoscan.labels import LABELS
from geoscan.model.preprocess import Preprocess
from geoscan.model.spec import Head
from geoscan.train.augment import Augmentation

Batch: TypeAlias = tuple[Chips, dict[str, NDArray[np.float32]]]
"""Chips, (n, chip, chip, 3), and their targets by head, (n, labels), NaN for unknown."""

Example: TypeAlias = tuple[NDArray[np.uint8], NDArray[np.float32]]
"""A chip in its frame, (chip, chip, 3), and its targets, (labels,), 0..1, NaN for unknown."""


class Epochs(Protocol):
    """What a network learns from, such as `Batches`."""

    def __len__(self) -> int:
        """Steps of an epoch."""

    def epoch(self, number: int) -> Iterator[Batch]:
        """Yield the batches of an epoch, the same ones for the same number."""


class Examples(Protocol):
    """Labelled chips, each of which is shown once an epoch."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of the targets, in their order."""

    def __len__(self) -> int:
        """How many there are."""

    def example(self, position: int, rng: np.random.Generator) -> Example:
        """One of them. Raises ReadError when it can no longer be read."""


class Synthetic(Protocol):
    """Chips that are made of others at random, for `LABELS`."""

    def draw(self, rng: np.random.Generator) -> Example:
        """Make a chip."""


@dataclass(frozen=True)
class StoredExamples:
    """Examples among stored chips.

    chips: (n, chip, chip, 3), read where they are needed. targets: (n, labels), 0..1, NaN for unknown.
    rows: (m,), indexes of the chips to show.
    """

    chips: AnyChips
    targets: NDArray[np.float32]
    rows: NDArray[np.integer]
    labels: tuple[str, ...] = LABELS

    def __len__(self) -> int:
        return len(self.rows)

    def example(self, position: int, rng: np.random.Generator) -> Example:
        """Return a chip as it is."""
        row = self.rows[position]
        return np.asarray(self.chips[row]), self.targets[row]


class Batches:
    """Batches of one epoch after another.

    preprocess: removes their haze once they are varied: added haze is then removed as real haze is. None leaves it, and
    leaves chips undegraded, for teachers that have a way of their own.
    batch: chips in a batch. Some come from `synthetic`, as many of each as is said there; the others are `examples`,
    and an epoch shows all of these once.
    """

    def __init__(
        self,
        examples: Examples,
        heads: tuple[Head, ...],
        preprocess: Preprocess | None,
        *,
        batch: int,
        seed: int,
        augmentation: Augmentation,
        synthetic: Sequence[tuple[Synthetic, int]] = (),
    ) -> None:
        self._own = min(batch - sum(count for _, count in synthetic), len(examples))
        if self._own < 1:
            raise DatasetError(f"a batch of {batch} leaves no room for labelled chips; pass a larger --batch")
        self._examples, self._synthetic = examples, synthetic
        self._seed, self._augmentation, self._preprocess = seed, augmentation, preprocess
        self._columns = {head.name: [examples.labels.index(label) for label in head.labels] for head in heads}

    def __len__(self) -> int:
        # The last few chips wait for another epoch's order, so that every batch has one shape and is compiled once.
        return len(self._examples) // self._own

    def epoch(self, number: int) -> Iterator[Batch]:
        """Yield the batches of an epoch, made ahead of time by a few threads."""
        order = np.random.default_rng((self._seed, number)).permutation(len(self._examples))
        return made_ahead(lambda step: self._make(order, number, step), len(self))

    def _make(self, order: NDArray[np.integer], epoch: int, step: int) -> Batch:
        rng = np.random.default_rng((self._seed, epoch, step))
        made = [source.draw(rng) for source, count in self._synthetic for _ in range(count)]
        own = (self._examples.example(int(i), rng) for i in order[step * self._own : (step + 1) * self._own])
        pairs = [(self._augmentation(chip, rng), targets) for chip, targets in chain(own, made)]
        targets = np.stack([targets for _, targets in pairs]).astype(np.float32)
        chips = np.stack([chip for chip, _ in pairs])
        if self._preprocess:
            chips = self._preprocess.cleared(degraded(chips, self._augmentation, rng))
        return chips, {name: targets[:, c] for name, c in self._columns.items()}


def degraded(chips: Chips, augmentation: Augmentation, rng: np.random.Generator) -> Chips:
    """(n, chip, chip, 3) -> the same, some of them spoilt, see `Augmentation.degrade`."""
    return np.stack([augmentation.degrade(chip, rng) for chip in chips])
