"""Where a training run reads and writes, and what it keeps to be resumed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoscan.errors import DatasetError, InputError, OutputError
from geoscan.model.card import check_name
from geoscan.model.package import CARD
from geoscan.progress import Advance, Track
from geoscan.train.checkpoint import Checkpoint

CHECKPOINT = ".checkpoint.npz"
PRETRAINING = ".pretrain.npz"


def fold_directory(package: Path, fold: int) -> Path:
    """Directory of the network that was trained without a fold, from 0; the name counts from 1."""
    return package / f"fold{fold + 1}"


def _silent(_: int) -> None:
    """Show nothing."""


@dataclass(frozen=True)
class Job:
    """How a run is carried out; nothing here changes what is learned.

    out: directory of the package. cache: directory of prepared chips.
    resume: whether to go on from what an earlier run left in `out`. keep_folds: whether to keep the network of each
    fold as a package of its own. track: wraps chips that are read; advance: is called with the number of chips after
    each training step.
    """

    out: Path
    cache: Path
    resume: bool = False
    keep_folds: bool = False
    track: Track = iter
    advance: Advance = _silent

    @property
    def name(self) -> str:
        """Name of the package."""
        return self.out.resolve().name

    def fold_name(self, fold: int) -> str:
        """Name of the package that is kept of the network without a fold, from 0."""
        return f"{self.name}-{fold_directory(self.out, fold).name}"

    def check(self, folds: int | None = None) -> None:
        """Check, before any work, that the package can be written, and what is there: nothing, or something to resume.

        folds: how many there are, if any.
        Raises OutputError, PackageError for what no model may be called, DatasetError for nothing to resume, InputError
        where a model or a checkpoint would be lost.
        """
        check_name(self.fold_name(folds - 1) if folds and self.keep_folds else self.name)
        there = next(folder for folder in (self.out.resolve(), *self.out.resolve().parents) if folder.exists())
        if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
            raise OutputError(
                f"{self.out} cannot be written: {there} is no folder that may be written to; choose another --out"
            )
        begun = any(self.out.glob(".[!.]*.npz"))  # two dots: a checkpoint that was not written whole
        if self.resume and not begun:
            raise DatasetError(f"{self.out} holds no checkpoint, so there is nothing to resume; leave --resume out")
        if begun and not self.resume:
            raise InputError(
                f"{self.out} holds the checkpoint of a run that was interrupted; --resume goes on with it, another "
                "--out begins anew"
            )
        if not begun and (self.out / CARD).exists():
            raise InputError(f"{self.out} is a model already, which would be lost; give another --out")

    def checkpoint(self, name: str, identity: Mapping[str, Any]) -> Checkpoint:
        """Return a checkpoint in `out`, to be resumed from if that is asked for and it is there."""
        path = self.out / name
        return Checkpoint(path, identity, self.resume and path.exists())

    def clear_up(self) -> None:
        """Delete what a run keeps beside its package to be resumed. Raises OutputError when it cannot be deleted."""
        for leftover in self.out.glob(".*.npz"):
            try:
                leftover.unlink()
            except OSError as err:
                raise OutputError(f"{leftover} cannot be deleted: {err.strerror}") from err
