"""From directories to what the loop eats: chips prepared, labels known, places dealt to training or validation."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoscan.errors import DatasetError, ReadError
from geoscan.labels import LABELS
from geoscan.model.preprocess import Preprocess
from geoscan.train.cache import prepared
from geoscan.train.kaggle import Targets, cap_cloudy, discover, only_cloudy, stream
from geoscan.train.partial import PartialSet, read_partial
from geoscan.train.splits import neighbour_groups, renumber, stratified_group_split
from geoscan.train.store import StoredChips

log = logging.getLogger(__name__)

Ticker = Callable[[Iterable[int]], Iterable[int]]
"""Wraps an iterable to show how far it is; `iter` shows nothing."""


@dataclass(frozen=True)
class Material:
    """Everything that a training run learns from and is judged by."""

    names: tuple[str, ...]
    chips: StoredChips
    """(n, chip, chip, 3), read from disk where they are asked for."""

    targets: Targets
    """(n, 17), NaN for unknown."""

    training: NDArray[np.intp]
    validation: NDArray[np.intp]
    """Indexes of chips; no place lies in both."""

    groups: NDArray[np.int64]
    """(n,), the place of each chip: chips that adjoin share one."""

    split: Mapping[str, Any]
    """What decided which chips are kept for validation: equal splits of equal data are equal."""

    facts: Mapping[str, Any]
    """For the card: sources, counts, fingerprint."""

    small_training: PartialSet | None = None
    small_validation: PartialSet | None = None
    """Chips of a coarser sensor, known as mine or other; no campaign lies in both."""

    @property
    def tagged_only_cloudy(self) -> NDArray[np.bool_]:
        """(n,), True for chips that are tagged `cloudy` and nothing else."""
        return only_cloudy(self.targets)


def gather(
    kaggle_dir: Path,
    preprocess: Preprocess,
    *,
    small: tuple[Path, Path] | None,
    cap: int,
    held_out: float,
    seed: int,
    cache: Path,
    ticker: Ticker = iter,
) -> Material:
    """Read a Kaggle directory, and an archive of small chips with its index if given, and split both without leaks.

    cap: the most chips tagged only `cloudy` that are kept. held_out: share of the chips for validation.
    What is wrong with the data but not fatal is logged as warnings.
    Raises DatasetError when nothing can be learned from it.
    """
    found = discover(kaggle_dir)
    _warn(kaggle_dir, found.problems.lines())
    chosen = cap_cloudy(found, cap, seed)
    log.info("%d labelled chips, %d after capping those tagged only cloudy at %d", len(found), len(chosen), cap)
    chips, readable, bad = prepared(chosen, preprocess, cache, ticker)
    _warn(kaggle_dir, bad)
    if not readable.any():
        raise DatasetError(f"none of the {len(chosen)} chips in {kaggle_dir} can be read; fetch them from Kaggle again")
    # Borders are compared as they were taken: dehazing would change them by what lies elsewhere in each chip.
    groups = neighbour_groups(
        next(stream([path])) if ok else None for path, ok in zip(chosen.paths, readable, strict=True)
    )
    fold = stratified_group_split(chosen.targets, groups, (1 - held_out, held_out), seed)
    training = np.flatnonzero(readable & (fold == 0))
    validation = np.flatnonzero(readable & (fold == 1))
    shared = len(groups) - int(groups.max()) - 1
    log.info("%d chips to train, %d to validate; %d adjoin another one", len(training), len(validation), shared)
    facts: dict[str, Any] = {
        "source": 'Kaggle "Planet: Understanding the Amazon from Space"',
        "licence": "Planet imagery under Kaggle's competition rules; not redistributed with the model",
        "fingerprint": _fingerprint(chosen.names, chosen.targets),
        "training_chips": len(training),
        "validation_chips": len(validation),
        "training_positives": _positives(chosen.targets[training]),
        "validation_positives": _positives(chosen.targets[validation]),
    }
    parts: tuple[PartialSet | None, PartialSet | None] = (None, None)
    if small:
        parts = _small(*small, held_out, seed)
        facts["small_chips"] = {
            "source": small[0].name,
            "training": _mines(parts[0]),
            "validation": _mines(parts[1]),
        }
    split = {"seed": seed, "held_out": held_out, "cap": cap, "data": facts["fingerprint"]}
    return Material(chosen.names, chips, chosen.targets, training, validation, groups, split, facts, *parts)


def _small(archive: Path, index: Path, held_out: float, seed: int) -> tuple[PartialSet | None, PartialSet | None]:
    whole = read_partial(archive, index)
    _warn(archive, whole.problems.lines())
    whole = whole.take(_readable(whole))
    fold = stratified_group_split(whole.targets, renumber(whole.campaigns), (1 - held_out, held_out), seed)
    return whole.take(np.flatnonzero(fold == 0)), whole.take(np.flatnonzero(fold == 1))


def _readable(small: PartialSet) -> list[int]:
    """Positions of the chips that can be read; a warning for each other one, for a draw must not fail on the way."""
    positions = []
    for i in range(len(small)):
        try:
            small.read(i)
        except ReadError as err:
            log.warning("%s", err)
        else:
            positions.append(i)
    if not positions:
        raise DatasetError(f"none of the {len(small)} chips in {small.source} can be read; fetch them again")
    return positions


def _warn(where: Path, lines: Iterable[str]) -> None:
    for line in lines:
        log.warning("%s: %s", where, line)


def _fingerprint(names: tuple[str, ...], targets: Targets) -> str:
    digest = hashlib.sha256("\n".join(names).encode())
    digest.update(np.nan_to_num(targets, nan=-1).astype(np.int8).tobytes())
    return digest.hexdigest()


def _positives(targets: Targets) -> dict[str, int]:
    return {label: int((targets[:, column] == 1).sum()) for column, label in enumerate(LABELS)}


def _mines(part: PartialSet | None) -> dict[str, int]:
    targets = part.targets if part else np.empty((0, len(LABELS)))
    return {"mine": int((targets == 1).sum()), "other": int((targets == 0).sum())}
