"""Judge a model package on chips that it has not seen."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from geoscan.arrays import Scores, Visual
from geoscan.errors import DatasetError, PackageError, ReadError
from geoscan.labels import LABELS, MINE
from geoscan.machine import BATCH
from geoscan.model.package import Package
from geoscan.model.preprocess import Preprocess
from geoscan.model.runtime import Detector
from geoscan.train.augment import symmetry
from geoscan.train.kaggle import Targets, discover, only_cloudy, read_chip
from geoscan.train.material import Ticker
from geoscan.train.metrics import f2_interval, f2_samples, label_metrics, mine_metrics
from geoscan.train.partial import read_partial
from geoscan.train.thresholds import START, predict

log = logging.getLogger(__name__)

Reader = Callable[[int], Visual]

_SYMMETRIES = 8


def evaluate_kaggle(
    package: Package, detect: Detector, directory: Path, *, tta: bool = False, ticker: Ticker = iter
) -> dict[str, Any]:
    """Figures on all labelled chips of a Kaggle directory, with the thresholds of the card.

    tta: average the scores over the 8 symmetries of each chip.
    Returns plain values for JSON: sample-averaged F2 and its interval, of all chips and of those that are not tagged
    only `cloudy`; each label's figures; those of mines against the rest. Raises DatasetError.
    """
    found = discover(directory)
    for line in found.problems.lines():
        log.warning("%s: %s", directory, line)
    scores, read = _scores(package, detect, lambda i: read_chip(found.paths[i]), len(found), tta, ticker)
    targets = _of_labels(found.targets[read], package.card.labels)
    kept = ~only_cloudy(found.targets[read])
    return {
        **_f2(package, targets, scores),
        "n": len(targets),
        "not_only_cloudy": {"n": int(kept.sum()), **_f2(package, targets[kept], scores[kept])},
        "labels": _labels(package, targets, scores),
        "mine": _mine(package, targets, scores),
    }


def evaluate_partial(
    package: Package,
    detect: Detector,
    archive: Path,
    index: Path,
    *,
    gsd: float | None = None,
    tta: bool = False,
    ticker: Ticker = iter,
) -> dict[str, Any]:
    """Figures on chips known as mine or other, of all and of each sampling campaign.

    gsd: metres per pixel of the chips, which are then brought to the model's; the model's own if None.
    Returns plain values for JSON. Raises DatasetError.
    """
    found = read_partial(archive, index)
    for line in found.problems.lines():
        log.warning("%s: %s", archive, line)
    factor = (gsd or package.card.preprocess.gsd) / package.card.preprocess.gsd

    def resized(i: int) -> Visual:
        return _resized(found.read(i), factor, package.card.preprocess.chip)

    scores, read = _scores(package, detect, resized, len(found), tta, ticker)
    targets = _of_labels(found.targets[read], package.card.labels)
    mine = list(package.card.labels).index(MINE)
    threshold = package.card.thresholds[MINE]
    campaigns: dict[str, dict[str, Any]] = {}
    names = np.array(found.campaigns)[read]
    for name in sorted(set(found.campaigns)):
        rows = names == name
        passed = scores[rows, mine] >= threshold
        campaigns[name] = {
            "mine": int((targets[rows, mine] == 1).sum()),
            "other": int((targets[rows, mine] == 0).sum()),
            "called_mine": float(passed.mean()) if rows.any() else None,
        }
    return {
        "n": len(targets),
        "labels": _labels(package, targets, scores),
        "mine": _mine(package, targets, scores),
        "campaigns": campaigns,
    }


def _scores(
    package: Package, detect: Detector, read: Reader, n: int, tta: bool, ticker: Ticker
) -> tuple[Scores, NDArray[np.bool_]]:
    """Scores of the chips that could be read, (readable, labels), and which those are, (n,)."""
    readable = np.zeros(n, bool)
    parts: list[Scores] = []

    def chips() -> Iterator[NDArray[np.uint8]]:
        for i in ticker(range(n)):
            try:
                pixels = read(i)
            except ReadError as err:
                log.warning("%s", err)
                continue
            readable[i] = True
            yield from _seen(pixels, package.card.preprocess, tta)

    views = _SYMMETRIES if tta else 1
    waiting: list[NDArray[np.uint8]] = []
    for chip in chips():
        waiting.append(chip)
        if len(waiting) == BATCH * views:
            parts.append(detect(np.stack(waiting)))
            waiting.clear()
    if waiting:
        parts.append(detect(np.stack(waiting)))
    if not parts:
        raise DatasetError(f"none of the {n} chips can be read; fetch them again")
    scores = np.concatenate(parts)
    averaged: Scores = scores.reshape(-1, views, scores.shape[1]).mean(axis=1)
    return averaged, readable


def _seen(pixels: Visual, preprocess: Preprocess, tta: bool) -> Iterator[NDArray[np.uint8]]:
    chip = preprocess(pixels)
    for which in range(_SYMMETRIES if tta else 1):
        yield symmetry(chip, which)


def _resized(pixels: Visual, factor: float, most: int) -> Visual:
    """Bring a chip to another ground resolution, and cut its middle to `most` pixels a side."""
    rows, cols = (max(1, round(side * factor)) for side in pixels.shape[1:])
    if (rows, cols) != pixels.shape[1:]:
        how = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
        large = cv2.resize(np.ascontiguousarray(pixels.transpose(1, 2, 0)), (cols, rows), interpolation=how)
        pixels = np.ascontiguousarray(large.transpose(2, 0, 1), np.uint8)
    top, left = max(0, (rows - most) // 2), max(0, (cols - most) // 2)
    return pixels[:, top : top + most, left : left + most]


def _of_labels(targets: Targets, labels: tuple[str, ...]) -> Targets:
    """Columns of Kaggle's targets in the order of a card; raises PackageError for a label that Kaggle has not."""
    if unknown := set(labels) - set(LABELS):
        raise PackageError(f"the model's labels {', '.join(sorted(unknown))} are not among Kaggle's 17")
    return targets[:, [LABELS.index(label) for label in labels]]


def _f2(package: Package, targets: Targets, scores: Scores) -> dict[str, Any]:
    predicted = predict(scores, dict(package.card.thresholds), package.card.labels)
    return {
        "f2_samples": _plain(f2_samples(targets, predicted)),
        "f2_samples_interval": _plain(list(f2_interval(targets, predicted))),
        "f2_at_0.2": _plain(f2_samples(targets, scores >= START)),
    }


def _labels(package: Package, targets: Targets, scores: Scores) -> dict[str, Any]:
    figures = label_metrics(targets, scores, dict(package.card.thresholds), package.card.labels)
    return {label: _plain(asdict(one)) for label, one in figures.items() if one.n_known}


def _mine(package: Package, targets: Targets, scores: Scores) -> Any:
    column = list(package.card.labels).index(MINE)
    return _plain(asdict(mine_metrics(targets[:, column], scores[:, column])))


def _plain(value: Any) -> Any:
    """Replace NaN, which JSON has no word for, by None."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and math.isnan(value) else value
