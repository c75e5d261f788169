"""Batches for training: shuffled, augmented, the same for the same seed, epoch and place."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from geoscan.arrays import Chips, Visual
from geoscan.errors import DatasetError
from geoscan.labels import LABELS, MINE
from geoscan.model.preprocess import Preprocess
from geoscan.model.spec import Head
from geoscan.train.augment import Augmentation
from geoscan.train.kaggle import Targets
from geoscan.train.partial import PartialSet
from geoscan.train.store import AnyChips, StoredChips

Batch: TypeAlias = tuple[Chips, dict[str, NDArray[np.float32]]]
"""Chips, (n, chip, chip, 3), and their targets by head, (n, labels), NaN for unknown."""

Drawn: TypeAlias = tuple[NDArray[np.uint8], NDArray[np.float32]]
"""A prepared chip, (chip, chip, 3), and its targets, (17,), 0..1, NaN for unknown."""


class Source(Protocol):
    """Something that chips are drawn from at random."""

    def draw(self, rng: np.random.Generator) -> Drawn:
        """Return a chip and its targets."""


_MINE = LABELS.index(MINE)
_SIDE = 2
"""Small chips along one side of a mosaic: 2 x 48 px at 10 m cover what a chip of 256 px at 3.7 m covers."""


class Mosaics:
    """Chips made of 2 x 2 small ones of a coarser sensor, brought to the ground and the colours of the model's own.

    Half of them hold one or two mines, the others none; nothing else is known of them.
    look: mean and standard deviation of red, green and blue, 0..255, that the mosaics are brought to.
    Raises DatasetError when there are no mines, or nothing else.
    """

    def __init__(
        self,
        source: PartialSet,
        preprocess: Preprocess,
        look: tuple[tuple[float, float, float], tuple[float, float, float]],
    ) -> None:
        target = source.targets[:, _MINE]
        self._mines, self._others = np.flatnonzero(target == 1), np.flatnonzero(target == 0)
        if not len(self._mines) or not len(self._others):
            raise DatasetError(
                f"{source.source} has {len(self._mines)} mines and {len(self._others)} other chips for one side of the "
                "split; mosaics need both, so give more sampling campaigns"
            )
        self._source, self._preprocess, self._look = source, preprocess, look
        sample = np.random.default_rng(0).permutation(len(source))[:300]
        pixels = np.concatenate([source.read(int(i)).reshape(3, -1) for i in sample], axis=1)
        self._mean, self._std = pixels.mean(axis=1), pixels.std(axis=1)

    def draw(self, rng: np.random.Generator) -> Drawn:
        """Return a mosaic of which one thing is known: whether it holds a mine."""
        cells = _SIDE * _SIDE
        mines = int(rng.integers(1, 3)) if rng.random() < 0.5 else 0
        chosen = np.concatenate([rng.choice(self._mines, mines), rng.choice(self._others, cells - mines)])
        rng.shuffle(chosen)
        parts = [self._source.read(int(i)) for i in chosen]
        rows = [np.concatenate(parts[r * _SIDE : (r + 1) * _SIDE], axis=2) for r in range(_SIDE)]
        targets = np.full(len(LABELS), np.nan, np.float32)
        targets[_MINE] = mines > 0
        return self._preprocess(self._matched(np.concatenate(rows, axis=1))), targets

    def _matched(self, pixels: Visual) -> Visual:
        """Bring pixels to the model's look and to the size of a chip."""
        mean, std = np.array(self._look)
        scale = (std / self._std)[:, None, None]
        matched = (pixels - self._mean[:, None, None]) * scale + mean[:, None, None]
        side = self._preprocess.chip
        large = cv2.resize(matched.transpose(1, 2, 0).astype(np.float32), (side, side), interpolation=cv2.INTER_CUBIC)
        planar: Visual = np.rint(np.clip(large, 0, 255)).astype(np.uint8).transpose(2, 0, 1)
        return planar


class Lessons:
    """Chips that a teacher scored: its scores are their targets.

    directory: holds `chips.npy`, (n, chip, chip, 3) visual pixels; `targets.npy`, (n, 17), 0..1; and `split.json`, what
    `Material.split` was when the teacher learned.
    split: what it is now. With another one the teacher has seen chips that are kept for validation.
    Raises DatasetError when a file is missing or does not fit.
    """

    def __init__(self, directory: Path, preprocess: Preprocess, split: Mapping[str, Any]) -> None:
        try:
            self._chips = StoredChips(directory / "chips.npy")
            self._targets: Targets = np.load(directory / "targets.npy")
            taught = json.loads((directory / "split.json").read_text())
        except (OSError, EOFError, ValueError) as err:
            raise DatasetError(f"{directory} must hold chips.npy, targets.npy and split.json ({err})") from err
        if taught != dict(split):
            raise DatasetError(
                f"the teacher of {directory} learned from another split ({taught}, now {dict(split)}) and has seen "
                "validation chips; teach anew with examples/teach.py, or train with the options it was made with"
            )
        side, n = preprocess.chip, len(self._chips)
        if not n or self._chips.shape[1:] != (side, side, 3) or self._targets.shape != (n, len(LABELS)):
            raise DatasetError(
                f"{directory} holds chips {self._chips.shape} and targets {self._targets.shape}; "
                f"they must be (n, {side}, {side}, 3) and (n, {len(LABELS)})"
            )
        self._preprocess = preprocess

    def draw(self, rng: np.random.Generator) -> Drawn:
        """Return one of the chips, prepared, and what the teacher says of it."""
        i = int(rng.integers(len(self._targets)))
        return self._preprocess(self._chips[i].transpose(2, 0, 1)), self._targets[i]


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
        workers: int = 2,
    ) -> None:
        self._own = min(batch - sum(count for _, count in drawn), len(indexes))
        if self._own < 1:
            raise DatasetError(f"a batch of {batch} leaves no room for labelled chips; pass a larger --batch")
        self._chips, self._indexes, self._targets, self._heads = chips, indexes, targets, heads
        self._seed, self._augmentation, self._drawn, self._workers = seed, augmentation, drawn, workers

    def __len__(self) -> int:
        # The last few chips wait for another epoch's order, so that every batch has one shape and is compiled once.
        return len(self._indexes) // self._own

    def epoch(self, number: int) -> Iterator[Batch]:
        """Yield the batches of an epoch, made ahead of time by a few threads."""
        order = np.random.default_rng((self._seed, number)).permutation(self._indexes)
        steps = iter(range(len(self)))
        with ThreadPoolExecutor(self._workers) as pool:
            ahead = deque(pool.submit(self._make, order, number, step) for step in islice(steps, 2 * self._workers))
            try:
                while ahead:
                    yield ahead.popleft().result()
                    ahead.extend(pool.submit(self._make, order, number, step) for step in islice(steps, 1))
            finally:
                pool.shutdown(cancel_futures=True)

    def _make(self, order: NDArray[np.integer], epoch: int, step: int) -> Batch:
        rng = np.random.default_rng((self._seed, epoch, step))
        own = order[step * self._own : (step + 1) * self._own]
        pairs = [(np.asarray(self._chips[i]), self._targets[i]) for i in own]
        pairs += [source.draw(rng) for source, count in self._drawn for _ in range(count)]
        chips = np.stack([self._augmentation(chip, rng) for chip, _ in pairs])
        return chips, by_head(np.stack([targets for _, targets in pairs]), self._heads)


def by_head(targets: Targets, heads: tuple[Head, ...]) -> dict[str, NDArray[np.float32]]:
    """Split (n, 17) targets into what each head answers."""
    columns: Mapping[str, list[int]] = {head.name: [LABELS.index(label) for label in head.labels] for head in heads}
    return {name: targets[:, chosen].astype(np.float32) for name, chosen in columns.items()}
