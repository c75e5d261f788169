"""Tune a model with a few chips that a person has reviewed, so that it forgets nothing else.

Only what turns the features of a chip into its mine score is fitted anew: with ten chips, a whole network would learn
these by heart. A fit of these few alone would lower every score that looks a little like them, those of mines too. So
chips that the model knows are asked to keep the scores that they have (learning without forgetting: Li, Hoiem 2016);
thresholds and calibration then hold as they are. The fit has one optimum, so that it needs neither rate nor epochs.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from geoscan import __version__
from geoscan.arrays import Chips, Features
from geoscan.data.chips import warn
from geoscan.data.images import Images, listed
from geoscan.data.mine_chips import MineChips, read_mine_chips
from geoscan.data.sources import ChipsSource
from geoscan.errors import DatasetError, ReadError
from geoscan.labels import MINE_COLUMN
from geoscan.machine import BATCH
from geoscan.model.backend import keras
from geoscan.model.card import Card
from geoscan.model.origin import Training
from geoscan.model.package import Package, save
from geoscan.model.preprocess import Preprocess
from geoscan.model.shipped import find
from geoscan.model.tensorflow_runtime import NetworkDetector
from geoscan.symmetry import SYMMETRIES, symmetry
from geoscan.train.job import Job
from geoscan.train.last_layer import MineRow

log = logging.getLogger(__name__)

FEWEST: Final = 500
"""Chips that keep their scores; with fewer a model forgets what they do not show."""

_KEPT: Final = 1000.0
"""What all chips that keep their scores count together, in reviewed ones: at ten times as much rejected ones hardly
fall, at a tenth mines are lost."""

_STIFFNESS: Final = 1e-4
"""Of the weights: what a change of a chip's score by one in log odds costs, beside a loss of one chip."""

_STEPS: Final = 200


@dataclass(frozen=True, slots=True)
class Change:
    """What became of the mean score of some chips, 0..1."""

    chips: int
    before: float
    after: float


@dataclass(frozen=True, slots=True)
class Tuned:
    """A package that was tuned, and what became of scores."""

    package: Package
    changes: Mapping[str, Change]
    """Of the chips that a person called a `mine`, of the `other` ones, and of those that were to be `kept`."""


def tune(name: str, source: ChipsSource, replay: Path, job: Job) -> Tuned:
    """Tune a package with reviewed chips, and write another in the job's place; the first stays as it is.

    name: of the package, shipped or a directory. source: chips that a person has reviewed. replay: archive or directory
    of chips like those that the model was trained on, mines and others; their labels are not read.
    Raises PackageError for a model that cannot be tuned, DatasetError for chips that do not fit it, InputError where it
    would overwrite a model, OutputError when the package cannot be written.
    """
    started = time.monotonic()
    job.check()
    package = find(name)
    reviewed = read_mine_chips(source.chips, source.index)
    warn(reviewed.source, reviewed.problems.lines())
    old = Images(replay, tuple(listed(replay)))
    if len(old) < FEWEST:
        raise DatasetError(f"{replay} holds {len(old)} chips; give {FEWEST} or more that the model knows, with mines")
    network = package.network()
    seeing = _Seeing(network, package.card, job)
    new, rows = seeing.describe(reviewed, SYMMETRIES)
    known, _ = seeing.describe(old, 1)
    targets = reviewed.targets[rows, MINE_COLUMN]
    row = MineRow.of(network, package.card.spec, package.card.name)
    fitted = _fitted(row, new, targets, known[0])
    fitted.put(network)
    changes = {
        name: _change(row, fitted, features)
        for name, features in (("mine", new[:, targets == 1]), ("other", new[:, targets == 0]), ("kept", known))
        if features.shape[1]
    }
    facts = _facts(package, reviewed, changes, time.monotonic() - started)
    return Tuned(save(job.out, network, _card(package.card, job.name, facts, len(rows))), changes)


@dataclass(frozen=True)
class _Seeing:
    """What makes features of chips."""

    network: keras.Model
    card: Card
    job: Job

    def describe(self, chips: Images, views: int) -> tuple[Features, list[int]]:
        """Give the features of chips in some of their symmetries, (views, n, channels), and the positions of these n.

        Chips that cannot be read are named in the log and left out. Raises DatasetError where none can be read, or one
        is larger than the model's.
        """
        detect = NetworkDetector(self.network, self.card.spec, features=True)
        parts, rows, waiting = [], list[int](), list[NDArray[np.uint8]]()

        def ask() -> None:
            stack = np.stack(waiting)
            seen = [self.card.preprocess.cleared(symmetry(stack, which)) for which in range(views)]
            parts.append(np.stack([detect.describe(one)[1] for one in seen]))
            waiting.clear()

        for i in self.job.track(range(len(chips))):
            try:
                waiting.append(_framed(chips, i, self.card.preprocess))
            except ReadError as err:
                log.warning("%s", err)
                continue
            rows.append(i)
            if len(waiting) == BATCH:
                ask()
        if waiting:
            ask()
        if not rows:
            raise DatasetError(f"none of the {len(chips)} chips in {chips.source} can be read; fetch them again")
        return np.concatenate(parts, axis=1), rows


def _framed(chips: Images, i: int, preprocess: Preprocess) -> Chips:
    pixels = chips.read(i)
    if pixels.shape[1:] != (preprocess.chip, preprocess.chip):
        _, down, across = pixels.shape
        raise DatasetError(
            f"{chips.source}/{chips.names[i]} has {across} x {down} px, the model takes {preprocess.chip} px; give "
            "chips of its size (`geoscan review --model` makes them)"
        )
    return preprocess.frame(pixels)


def _fitted(row: MineRow, new: Features, targets: NDArray[np.float32], known: Features) -> MineRow:
    """Fit a row to new chips, each of which counts alike, while known ones keep their scores.

    new: (views, n, channels). targets: (n,), 1 or 0. known: (m, channels).
    """
    views = len(new)
    seen = np.concatenate([new.reshape(-1, new.shape[-1]), known])
    wanted = np.concatenate([np.tile(targets, views), row.scores(known)])
    counts = np.repeat([1 / views, _KEPT / len(known)], [views * len(targets), len(known)]).astype(np.float32)
    begin = row.odds(seen)
    stiffness = _STIFFNESS * float((known**2).sum(axis=1).mean())

    def loss(change: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        odds = begin + seen @ change[:-1].astype(np.float32) + np.float32(change[-1])
        off = counts * (expit(odds) - wanted)
        slope = np.append(seen.T @ off + stiffness * change[:-1], off.sum())
        value = counts @ (np.logaddexp(0, odds) - wanted * odds) + stiffness / 2 * change[:-1] @ change[:-1]
        return float(value), slope.astype(np.float64)

    none = np.zeros(seen.shape[1] + 1)
    found = minimize(loss, none, jac=True, method="L-BFGS-B", options={"maxiter": _STEPS}).x
    return replace(row, weights=row.weights + found[:-1].astype(np.float32), bias=row.bias + float(found[-1]))


def _change(before: MineRow, after: MineRow, features: Features) -> Change:
    """Compare scores, averaged over views. features: (views, n, channels), n >= 1."""
    means = [round(float(row.scores(features).mean()), 4) for row in (before, after)]
    return Change(features.shape[1], *means)


def _facts(package: Package, reviewed: MineChips, changes: Mapping[str, Change], seconds: float) -> Training:
    """What a card says of how it was tuned."""
    told = {name: asdict(change) for name, change in changes.items()}
    recipe = {"tuned": package.card.name, "reviewed": reviewed.fingerprint, **told, "stiffness": _STIFFNESS}
    return Training(
        geoscan=__version__,
        keras=keras.version(),
        recipe=recipe,
        teachers=(package.card.digest,),
        parameters=package.card.training.parameters,
        seconds=round(seconds, 1),
    )


def _card(card: Card, name: str, facts: Training, chips: int) -> Card:
    """Return the card of a tuned model: a few chips are too few to measure it, so what was measured before is told."""
    note = (
        f"Not measured anew: figures, thresholds and calibration are those of {card.name} ({card.digest[:12]}), from "
        f"which this model was tuned with {chips} chips that a person reviewed."
    )
    figures = replace(card.figures, notes=(note, *card.figures.notes))
    return replace(card, name=name, figures=figures, training=facts, digest="")
