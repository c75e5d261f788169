"""Labelled chips to measure models on, and the scores that models give them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from geoscan.arrays import Scores, Targets, Visual
from geoscan.data.chips import some
from geoscan.data.kaggle import GSD
from geoscan.data.labelled import LabelledChips
from geoscan.data.mine_chips import MineChips
from geoscan.errors import DatasetError, PackageError, ReadError
from geoscan.evaluate.figures import Answers
from geoscan.grid import TileGrid
from geoscan.labels import LABELS, columns
from geoscan.machine import BATCH
from geoscan.model.package import Package
from geoscan.model.preprocess import Preprocess
from geoscan.model.runtime import Averaged, Detector
from geoscan.progress import Track
from geoscan.resolution import MAX_RESAMPLING, is_native, is_usable

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sample:
    """Labelled chips to measure models on; pixels are read one chip at a time."""

    names: tuple[str, ...]
    targets: Targets
    """(n, 17)"""
    read: Callable[[int], Visual]
    """(3, rows, cols) of the chip at a position. Raises ReadError."""
    gsd: float | None
    """Metres per pixel; None is the model's own."""
    campaigns: tuple[str, ...] | None = None
    """Where each chip comes from; None for Kaggle's, which do not tell."""

    def __len__(self) -> int:
        return len(self.names)

    def take(self, rows: Sequence[int]) -> Sample:
        """Keep the chips at these positions, in this order."""
        campaigns = self.campaigns and tuple(self.campaigns[i] for i in rows)
        return replace(
            self,
            names=tuple(self.names[i] for i in rows),
            targets=self.targets[list(rows)],
            read=lambda i: self.read(rows[i]),
            campaigns=campaigns,
        )


@dataclass(frozen=True, slots=True)
class Scored:
    """A model's scores of the chips of a sample that could be read."""

    package: Package
    sample: Sample
    targets: Targets
    """(n, labels), columns in the order of the card, as those of the scores."""
    scores: Scores
    km2: NDArray[np.floating] | None = None
    """(n,), ground that each chip shows; None where each is one of the model's own chips."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels in the order of the columns."""
        return self.package.card.labels

    def answers(self) -> Answers:
        """Return what figures are made of."""
        scores = np.zeros((len(self.scores), len(LABELS)), np.float32)
        scores[:, columns(self.labels)] = self.scores
        return Answers(self.sample.targets, scores, self.sample.campaigns, km2=self.km2)

    def column(self, label: str) -> tuple[NDArray[np.float32], Scores]:
        """Targets and scores of one label, each (n,)."""
        where = self.labels.index(label)
        return self.targets[:, where], self.scores[:, where]

    def pixels(self, i: int) -> Visual:
        """Chip i at the model's resolution, (3, rows, cols), before dehazing. Raises ReadError."""
        return _at_gsd(self.sample.read(i), self.sample.gsd, self.package.card.preprocess)


def sample_of(chips: LabelledChips, gsd: float | None = None) -> Sample:
    """Return a sample of all these chips.

    gsd: metres per pixel; if None, 3.4 for Kaggle's chips and each model's own for others.
    """
    if isinstance(chips, MineChips):
        return Sample(chips.names, chips.targets, chips.read, gsd, chips.campaigns)
    return Sample(chips.names, chips.targets, chips.read, gsd or GSD)


def score(
    models: Sequence[tuple[Package, Detector]], sample: Sample, *, tta: bool | None = None, track: Track = iter
) -> list[Scored]:
    """Score every chip with every model; chips that cannot be read are named in the log and left out.

    Chips are resampled to each model's resolution. One that is then larger than the model's chip is cut into parts as
    a scan cuts a scene, and gets the highest score of its parts.
    tta: whether scores are averaged over symmetries (test-time augmentation); if None, as each model's card has it.
    Raises PackageError for a model with labels that Kaggle has not, or for another resolution; DatasetError when no
    chip can be read.
    """
    for package, _ in models:
        _check_gsd(sample, package)
    known = [_columns(package) for package, _ in models]
    scorers = [
        _Scorer(
            package.card.preprocess,
            Averaged(detect, package.card.spec.mine_column) if package.card.averages(tta) else detect,
            sample.gsd,
        )
        for package, detect in models
    ]
    readable, last = [], ""
    for i in track(range(len(sample))):
        try:
            pixels = sample.read(i)
        except ReadError as err:
            log.warning("%s", last := str(err))
            continue
        readable.append(i)
        for scorer in scorers:
            scorer.add(pixels)
    if not readable:
        raise DatasetError(f"none of the {len(sample)} chips can be read; the last: {last}")
    kept = sample.take(readable)
    for (package, _), scorer in zip(models, scorers, strict=True):
        if filled := [kept.names[i] for i in scorer.filled]:
            side = package.card.preprocess.chip
            log.warning(
                "%d chips are smaller than the %d x %d px of %s (%s): they are filled up by reflection, which no scene "
                "shows",
                len(filled),
                side,
                side,
                package.card.name,
                some(filled),
            )
    return [
        Scored(package, kept, kept.targets[:, which], scorer.scores(), scorer.km2())
        for (package, _), which, scorer in zip(models, known, scorers, strict=True)
    ]


class _Scorer:
    """Prepares chips for one model, and lets it score them a batch at a time."""

    def __init__(self, preprocess: Preprocess, detect: Detector, gsd: float | None) -> None:
        self._preprocess, self._detect, self._gsd = preprocess, detect, gsd
        self._waiting: list[NDArray[np.uint8]] = []
        self._answers: list[Scores] = []
        self._parts: list[int] = []
        self._ground: list[float] = []
        self.filled: list[int] = []
        """Which of the chips that were added are smaller than the model's."""

    def add(self, pixels: Visual) -> None:
        """Add one chip, (3, rows, cols)."""
        metres = self._gsd or self._preprocess.gsd
        self._ground.append(pixels.shape[1] * pixels.shape[2] * (metres / 1000) ** 2)
        pixels = _at_gsd(pixels, self._gsd, self._preprocess)
        side = self._preprocess.chip
        _, rows, cols = pixels.shape
        if min(rows, cols) < side:
            self.filled.append(len(self._parts))
        grid = TileGrid(rows, cols, side, side)
        for tile in grid:
            self._waiting.append(self._preprocess(pixels[:, *tile.read.slices]))
        self._parts.append(len(grid))
        if len(self._waiting) >= BATCH:
            self._ask()

    def scores(self) -> Scores:
        """(chips, labels), scores of all chips that were added."""
        if self._waiting:
            self._ask()
        answers = np.concatenate(self._answers)
        starts = np.cumsum([0, *self._parts[:-1]])
        highest: Scores = np.maximum.reduceat(answers, starts, axis=0)
        return highest

    def km2(self) -> NDArray[np.float64]:
        """(chips,), ground that each chip shows."""
        return np.array(self._ground)

    def _ask(self) -> None:
        self._answers.append(self._detect(np.stack(self._waiting)))
        self._waiting.clear()


def _at_gsd(pixels: Visual, gsd: float | None, preprocess: Preprocess) -> Visual:
    """Bring a chip to the model's ground resolution, unless it is near to it, as a scan does (see `Scene.at_gsd`)."""
    if gsd is None or is_native(gsd, preprocess.gsd):
        return pixels
    factor = gsd / preprocess.gsd
    rows, cols = (max(1, round(side * factor)) for side in pixels.shape[1:])
    if (rows, cols) == pixels.shape[1:]:
        return pixels
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    resized = cv2.resize(np.ascontiguousarray(pixels.transpose(1, 2, 0)), (cols, rows), interpolation=how)
    return np.ascontiguousarray(resized.transpose(2, 0, 1), np.uint8)


def _check_gsd(sample: Sample, package: Package) -> None:
    own = package.card.preprocess.gsd
    if sample.gsd is not None and not is_usable(sample.gsd, own):
        raise PackageError(
            f"chips of {sample.gsd:g} m are too far from the {own:g} m of {package.card.name} (factor "
            f"{MAX_RESAMPLING:g} at most); take another model, or correct --gsd"
        )


def _columns(package: Package) -> list[int]:
    """Columns of Kaggle's targets in the order of a card."""
    if unknown := set(package.card.labels) - set(LABELS):
        raise PackageError(f"{package.path} knows {', '.join(sorted(unknown))}, not among Kaggle's 17; take another")
    return columns(package.card.labels)
