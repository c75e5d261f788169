"""Judge model packages on chips that they have not seen."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from geoscan.arrays import Scores, Visual
from geoscan.errors import DatasetError, PackageError, ReadError
from geoscan.grid import TileGrid
from geoscan.labels import LABELS, MINE, columns
from geoscan.machine import BATCH
from geoscan.model.package import Package
from geoscan.model.preprocess import Preprocess
from geoscan.model.runtime import Averaged, Detector
from geoscan.scene import MAX_RESAMPLING, NATIVE
from geoscan.train.kaggle import GSD, Problems, Targets, discover, only_cloudy
from geoscan.train.lookalikes import lookalikes, share_interval, threshold_at_specificity
from geoscan.train.material import Ticker
from geoscan.train.metrics import ap_difference, f2_difference, f2_interval, f2_samples, label_metrics, mine_metrics
from geoscan.train.partial import read_partial
from geoscan.train.thresholds import START, predict

log = logging.getLogger(__name__)

_SPECIFICITIES = (0.99, 0.994)


@dataclass(frozen=True, slots=True)
class Sample:
    """Labelled chips to judge models on; pixels are read one chip at a time."""

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

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels in the order of the columns."""
        return self.package.card.labels

    def column(self, label: str) -> tuple[NDArray[np.float32], Scores]:
        """Targets and scores of one label, each (n,)."""
        where = self.labels.index(label)
        return self.targets[:, where], self.scores[:, where]

    def pixels(self, i: int) -> Visual:
        """Chip i at the model's resolution, (3, rows, cols), before dehazing. Raises ReadError."""
        return _at_gsd(self.sample.read(i), self.sample.gsd, self.package.card.preprocess)


def kaggle_sample(directory: Path, gsd: float | None = None) -> Sample:
    """All labelled chips of a Kaggle directory. gsd: metres per pixel, 3.4 if None. Raises DatasetError."""
    found = discover(directory)
    _warn(directory, found.problems)
    return Sample(found.names, found.targets, found.read, gsd or GSD)


def partial_sample(archive: Path, index: Path, gsd: float | None = None) -> Sample:
    """Chips known as mine or other (see `train.partial`). gsd: metres per pixel. Raises DatasetError."""
    found = read_partial(archive, index)
    _warn(archive, found.problems)
    return Sample(found.names, found.targets, found.read, gsd, found.campaigns)


def judge(
    models: Sequence[tuple[Package, Detector]], sample: Sample, *, tta: bool | None = None, ticker: Ticker = iter
) -> list[Scored]:
    """Score every chip with every model; chips that cannot be read are named in the log and left out.

    Chips are brought to each model's resolution. One that is larger than the model's chip then is cut as a scan cuts a
    scene, and has the highest score of its parts. tta: average the scores of each part over symmetries; as each
    model's card has it if None.
    Raises PackageError for a model with labels that Kaggle has not, or for another resolution; DatasetError when no
    chip can be read.
    """
    for package, _ in models:
        _check_gsd(sample, package)
    known = [_columns(package) for package, _ in models]
    scorers = [
        _Scorer(
            package.card.preprocess,
            Averaged(detect) if package.card.averages(tta) else detect,
            sample.gsd,
        )
        for package, detect in models
    ]
    readable = []
    for i in ticker(range(len(sample))):
        try:
            pixels = sample.read(i)
        except ReadError as err:
            log.warning("%s", err)
            continue
        readable.append(i)
        for scorer in scorers:
            scorer.add(pixels)
    if not readable:
        raise DatasetError(f"none of the {len(sample)} chips can be read; fetch them again")
    kept = sample.take(readable)
    return [
        Scored(package, kept, kept.targets[:, which], scorer.scores())
        for (package, _), which, scorer in zip(models, known, scorers, strict=True)
    ]


def figures(scored: Scored) -> dict[str, Any]:
    """Return what a model is worth, with the thresholds of its card, as plain values for JSON.

    Of Kaggle's chips, if the model knows all 17 labels: sample-averaged F2 and its interval, of all and of those not
    tagged only `cloudy`. Always: each label's figures, where the label is known, and those of mines against the rest.
    Of mine/other chips also those of each sampling campaign and of each kind of look-alike.
    """
    found: dict[str, Any] = {"model": scored.package.card.name, "digest": scored.package.card.digest}
    if _has_f2(scored):
        kept = ~only_cloudy(scored.sample.targets)
        found |= _f2(scored, np.ones(len(kept), bool))
        found["not_only_cloudy"] = {"n": int(kept.sum()), **_f2(scored, kept)}
    labels = label_metrics(scored.targets, scored.scores, dict(scored.package.card.thresholds), scored.labels)
    targets, scores = scored.column(MINE)
    mine = mine_metrics(targets, scores, _SPECIFICITIES, scored.sample.campaigns)
    bars = {f"{one:g}": threshold_at_specificity(targets, scores, one) for one in _SPECIFICITIES}
    found |= {
        "n": len(scored.sample),
        "labels": {label: asdict(one) for label, one in labels.items() if one.n_known},
        "mine": {**asdict(mine), "threshold_at_specificity": bars},
    }
    if scored.sample.campaigns is not None:
        threshold = scored.package.card.thresholds[MINE]
        found["campaigns"] = _by_campaign(scored.sample.campaigns, targets, scores, threshold)
        found["lookalikes"] = lookalikes(scored.sample.campaigns, targets, scores, threshold)
        found["lookalikes_at_0.994"] = lookalikes(scored.sample.campaigns, targets, scores, bars["0.994"])
    plain: dict[str, Any] = _plain(found)
    return plain


def difference(first: Scored, second: Scored) -> dict[str, Any]:
    """How much better the first model is on the same chips, with paired bootstrap intervals, as plain values for JSON.

    In sample-averaged F2, of all chips and of those not tagged only `cloudy`; in average precision of mines where one
    of the models, or the sample, has no F2.
    """
    if not (_has_f2(first) and _has_f2(second)):
        targets, scores = first.column(MINE)
        ap, interval = ap_difference(targets, scores, second.column(MINE)[1], first.sample.campaigns)
        return {"mine_ap": _plain(ap), "mine_ap_interval": _plain(interval)}
    targets = first.sample.targets
    kept = ~only_cloudy(targets)
    named = {}
    for key, rows in (("all", np.ones(len(kept), bool)), ("not_only_cloudy", kept)):
        f2, interval = f2_difference(targets[rows], _predicted(first)[rows], _predicted(second)[rows])
        named[key] = {"f2_samples": _plain(f2), "f2_samples_interval": _plain(interval)}
    return {**named["all"], "not_only_cloudy": named["not_only_cloudy"]}


class _Scorer:
    """Collects what a model is to see of chips, and asks it for a batch at a time."""

    def __init__(self, preprocess: Preprocess, detect: Detector, gsd: float | None) -> None:
        self._preprocess, self._detect, self._gsd = preprocess, detect, gsd
        self._waiting: list[NDArray[np.uint8]] = []
        self._answers: list[Scores] = []
        self._parts: list[int] = []

    def add(self, pixels: Visual) -> None:
        """Take one chip, (3, rows, cols)."""
        pixels = _at_gsd(pixels, self._gsd, self._preprocess)
        side = self._preprocess.chip
        _, rows, cols = pixels.shape
        grid = TileGrid(rows, cols, side, side)
        for tile in grid:
            self._waiting.append(self._preprocess(pixels[:, *tile.read.slices]))
        self._parts.append(len(grid))
        if len(self._waiting) >= BATCH:
            self._ask()

    def scores(self) -> Scores:
        """(chips, labels) of all that was added."""
        if self._waiting:
            self._ask()
        answers = np.concatenate(self._answers)
        starts = np.cumsum([0, *self._parts[:-1]])
        highest: Scores = np.maximum.reduceat(answers, starts, axis=0)
        return highest

    def _ask(self) -> None:
        self._answers.append(self._detect(np.stack(self._waiting)))
        self._waiting.clear()


def _at_gsd(pixels: Visual, gsd: float | None, preprocess: Preprocess) -> Visual:
    """Bring a chip to the model's ground resolution, unless it is near to it."""
    factor = (gsd or preprocess.gsd) / preprocess.gsd
    rows, cols = (max(1, round(side * factor)) for side in pixels.shape[1:])
    if abs(factor - 1) <= NATIVE or (rows, cols) == pixels.shape[1:]:
        return pixels
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    resized = cv2.resize(np.ascontiguousarray(pixels.transpose(1, 2, 0)), (cols, rows), interpolation=how)
    return np.ascontiguousarray(resized.transpose(2, 0, 1), np.uint8)


def _check_gsd(sample: Sample, package: Package) -> None:
    own = package.card.preprocess.gsd
    if sample.gsd is not None and not own / MAX_RESAMPLING <= sample.gsd <= own * MAX_RESAMPLING:
        raise PackageError(
            f"chips of {sample.gsd:g} m are too far from the {own:g} m of {package.card.name} (factor "
            f"{MAX_RESAMPLING:g} at most); take another model, or correct --gsd"
        )


def _columns(package: Package) -> list[int]:
    """Columns of Kaggle's targets in the order of a card."""
    if unknown := set(package.card.labels) - set(LABELS):
        raise PackageError(f"{package.path} knows {', '.join(sorted(unknown))}, not among Kaggle's 17; take another")
    return columns(package.card.labels)


def _has_f2(scored: Scored) -> bool:
    """Tell whether Kaggle's measure exists: over all of its labels, for chips that have them all."""
    return set(scored.labels) == set(LABELS) and scored.sample.campaigns is None


def _predicted(scored: Scored) -> NDArray[np.bool_]:
    """(n, 17), columns as in `LABELS`."""
    order = [scored.labels.index(label) for label in LABELS]
    return predict(scored.scores, dict(scored.package.card.thresholds), scored.labels)[:, order]


def _f2(scored: Scored, rows: NDArray[np.bool_]) -> dict[str, Any]:
    targets, predicted = scored.sample.targets[rows], _predicted(scored)[rows]
    return {
        "f2_samples": f2_samples(targets, predicted),
        "f2_samples_interval": f2_interval(targets, predicted),
        "f2_at_0.2": f2_samples(scored.targets[rows], scored.scores[rows] >= START),
    }


def _by_campaign(
    campaigns: Sequence[str], targets: NDArray[np.floating], scores: Scores, threshold: float
) -> dict[str, dict[str, Any]]:
    """What each sampling campaign holds, and the share of its chips that is called mine."""
    names, found = np.array(campaigns), {}
    for name in sorted(set(campaigns)):
        rows = names == name
        n, called = int(rows.sum()), int((scores[rows] >= threshold).sum())
        found[name] = {
            "n": n,
            "mine": int((targets[rows] == 1).sum()),
            "other": int((targets[rows] == 0).sum()),
            "called_mine": called / n,
            "called_mine_interval": share_interval(called, n),
        }
    return found


def _warn(source: Path, problems: Problems) -> None:
    for line in problems.lines():
        log.warning("%s: %s", source, line)


def _plain(value: Any) -> Any:
    """Replace NaN, which JSON has no word for, by None."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and math.isnan(value) else value
