"""What runs a model: chips in, scores out. TensorFlow and OpenVINO behind one seam."""

from __future__ import annotations

import logging
import os
import socket
import threading
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Protocol

import numpy as np

from geoscan.arrays import Chips, Scores
from geoscan.errors import InputError, PackageError, one_line
from geoscan.machine import AUTO, RUNTIMES, Runtime, may_have_gpu
from geoscan.model.package import Package, load
from geoscan.symmetry import SYMMETRIES, symmetry

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)

FAINT = 0.075
"""A score below it stays as it is, see `Averaged`.

Of 10,024 chips that networks of the folds of `sentinel2` had not seen, 94 with a lower first score had a mean of 0.107
to 0.280, where `sensitive` lets chips join others; eight of the 94 show a mine, and seven of the 94 had a mean that
begins a detection. Average precision is the same to 0.0005. Of the chips without a mine, hard ones among them, 28 %
are scored again.
"""


class Detector(Protocol):
    """What a scan needs of a model."""

    def __call__(self, chips: Chips, /) -> Scores:
        """(n, chip, chip, 3) -> (n, labels) in 0..1. A chip's scores do not depend on the others in the call."""


class Averaged:
    """Averages a detector's scores over the 8 symmetries of each chip: test-time augmentation.

    A first score for mines below `FAINT` stays, so that mines have the same score whatever else is averaged. A chip on
    which no label reaches it is scored once, not eight times: most chips of a scene without mines are such, for mines.

    mine: column of that label. alone: whether nothing else matters, as in a scan; a chip on which mines are faint then
    keeps all of its first scores.
    """

    def __init__(self, detect: Detector, mine: int, *, alone: bool = False) -> None:
        self._detect, self._mine, self._alone = detect, mine, alone

    def __call__(self, chips: Chips) -> Scores:
        """(n, chip, chip, 3) -> (n, labels)."""
        scores = self._detect(chips).copy()
        faint = scores[:, self._mine] < FAINT
        again = np.flatnonzero(~faint if self._alone else (scores >= FAINT).any(axis=1))
        if len(again):
            # One call for all, for a detector fills up its last batch.
            views = np.concatenate([symmetry(chips[again], which) for which in range(1, SYMMETRIES)])
            others = self._detect(views).reshape(SYMMETRIES - 1, len(again), -1)
            first = scores[faint, self._mine]
            scores[again] = (scores[again] + others.sum(axis=0)) / SYMMETRIES
            scores[faint, self._mine] = first
        return scores


def runtime_for(package: Package, asked: str = AUTO) -> Runtime:
    """Return what is to run a package: what was asked for, or with `auto` what suits this machine.

    TensorFlow is imported only to ask it for its GPUs, where the machine seems to have one.
    Raises InputError for an unknown name, PackageError where OpenVINO was asked for and the package lacks its network.
    """
    if asked not in (AUTO, *RUNTIMES):
        raise InputError(f"no runtime is called {asked!r}; choose one of {', '.join((AUTO, *RUNTIMES))}")
    if asked == "tensorflow" or (asked == AUTO and _tensorflow_has_gpu()):
        return "tensorflow"
    if package.has_export:
        return "openvino"
    if asked == "openvino":
        raise PackageError(
            f"{package.path} was made without the network that OpenVINO reads; pass --runtime tensorflow, or train the "
            "model anew"
        )
    _say_that_export_is_missing(package.path)
    return "tensorflow"


def detector(path: Path, digest: str, batch: int, runtime: Runtime) -> Detector:
    """Return this process' detector for a package; it is loaded once, however many threads ask for it.

    Raises PackageError when the package at `path` has another digest, for it was replaced meanwhile, and when the
    runtime is not installed here; InputError in a process that was forked from one that had asked for a detector.
    """
    if _ASKING.setdefault("process", os.getpid()) != os.getpid():
        raise InputError(
            "this process was forked from one that had run a model, whose threads it lacks; start it anew: "
            "multiprocessing.get_context('spawn')"
        )
    with _loading:
        return _detector(path, digest, batch, runtime)


PLACES: dict[str, Path] = {}
"""Where this process has packages, by digest, that another process knows under another path."""

_ASKING: dict[str, int] = {}
"""Number of the process that asks for detectors. A fork of it lacks their threads, for which it would wait without end,
and the thread that may hold the lock."""

_loading = threading.Lock()


@lru_cache(maxsize=2)
def _detector(path: Path, digest: str, batch: int, runtime: Runtime) -> Detector:
    package = load(PLACES.get(digest, path))
    if package.card.digest != digest:
        raise PackageError(
            f"{path} was replaced while it was in use ({digest[:12]} was expected); run again, or load the model anew"
        )
    try:
        if runtime == "openvino":
            from geoscan.model.openvino_runtime import OpenVinoDetector

            return OpenVinoDetector(package, batch)
        from geoscan.model.tensorflow_runtime import TensorFlowDetector

        return TensorFlowDetector(package, batch)
    except ImportError as err:
        raise PackageError(
            f"the runtime {runtime} cannot be used on {socket.gethostname()} ({one_line(err)}); install it there, or "
            "pass another --runtime"
        ) from err


@cache
def _tensorflow_has_gpu() -> bool:
    if not may_have_gpu():
        return False
    from geoscan.model.backend import gpus  # starts TensorFlow, which takes seconds

    return bool(gpus())


@cache
def _say_that_export_is_missing(path: Path) -> None:
    """Say it once, not once a scene."""
    log.info("%s was made without the network that OpenVINO reads: it runs on TensorFlow, which starts slower", path)
