"""The training loop: epochs, moving average of the weights, validation, checkpoints."""

from __future__ import annotations

import json
import logging
import math
import os
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from geoscan.errors import DatasetError, InputError, OutputError
from geoscan.model.backend import gpus, keras
from geoscan.train.batches import Batch
from geoscan.train.losses import Loss
from geoscan.train.step import Step

log = logging.getLogger(__name__)

_LONGEST = 5.0
"""Norm to which the gradient of a variable is clipped."""

Judge = Callable[[keras.Model], dict[str, float]]
"""Figures of a network on the validation chips, by name. The first one decides which epoch is kept: more is better, NaN
is worst; the others are for the record. The names are the same in every epoch, and none is `loss`."""


class Epochs(Protocol):
    """What a network learns from, such as `Batches`."""

    def __len__(self) -> int:
        """Steps of an epoch."""

    def epoch(self, number: int) -> Iterator[Batch]:
        """Yield the batches of an epoch, the same ones for the same number."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how fast the network learns.

    epochs: the most; patience: epochs without a better figure after which it stops.
    keep: `best` keeps the epoch with the judge's best figure; `last` the last one whatever the figures, as where all
    chips are needed to learn from and none is left to judge by, and so it runs for all of its epochs.
    rate: learning rate at its peak, reached after `warmup` epochs, then falling to 0 along a cosine.
    decay: weight decay of AdamW. average: momentum per step of the weights' moving average, which is what is judged
    and kept.
    """

    epochs: int = 60
    patience: int = 20
    rate: float = 2e-3
    warmup: float = 3
    decay: float = 0.02
    average: float = 0.99
    keep: Literal["best", "last"] = "best"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to.

    history: of each epoch `loss`, the mean over its steps, then the judge's figures.
    best_epoch: the one that is kept, counted from 1; the network holds its averaged weights.
    """

    history: list[dict[str, float]]
    best_epoch: int
    seconds: float
    interrupted: bool


def fit(
    network: keras.Model,
    losses: dict[str, Loss],
    batches: Epochs,
    judge: Judge | None,
    schedule: Schedule,
    checkpoint: Path,
    *,
    resume: bool = False,
    identity: Mapping[str, Any] = MappingProxyType({}),
    tick: Callable[[int], None] = lambda _: None,
) -> Outcome:
    """Train, and leave the averaged weights of the epoch that is kept in the network.

    A checkpoint is written after each epoch; `resume` goes on from it as if nothing had happened. Ctrl-C ends the run
    with the epoch that would be kept by then. judge: None leaves all figures but the loss out; only `keep="last"` can
    do without. identity: what decides how the run goes, by name, JSON's types; a checkpoint of another
    identity is refused. tick is called with the number of chips after each step.
    Raises InputError when the loss is no number any more, DatasetError when there is nothing to resume from,
    OutputError when the checkpoint cannot be written.
    """
    if judge is None and schedule.keep == "best":
        raise ValueError("to keep the best epoch takes a judge; pass one, or keep the last")
    steps = len(batches)
    if steps < 1:
        raise DatasetError("there are fewer chips than one batch holds; pass a smaller --batch, or more chips")
    warmup = round(steps * schedule.warmup)
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, max(1, steps * schedule.epochs - warmup), warmup_target=schedule.rate, warmup_steps=warmup
    )
    strategy = network.distribute_strategy
    with strategy.scope():
        optimizer = keras.optimizers.AdamW(
            rate,
            weight_decay=schedule.decay,
            use_ema=True,
            ema_momentum=schedule.average,
            clipnorm=_LONGEST / strategy.num_replicas_in_sync,
        )
    # On a CPU, XLA takes a minute to compile the training step and runs it no faster.
    step = Step(network, losses, optimizer, compiled=bool(gpus()))
    keeper = _Keeper(network, step.optimizer, judge, schedule.keep, checkpoint, json.loads(json.dumps(dict(identity))))
    if resume:
        keeper.restore()
    interrupted = False
    try:
        while keeper.epoch < schedule.epochs and keeper.epoch - keeper.best_epoch < schedule.patience:
            loss = _epoch(step, batches, keeper.epoch, tick)
            if not math.isfinite(loss):
                raise InputError(f"the loss of epoch {keeper.epoch + 1} is {loss}; pass a smaller --rate")
            keeper.end_epoch(loss)
            shown = ", ".join(f"{name} {value:.4f}" for name, value in keeper.history[-1].items())
            log.info("epoch %d of %d: %s (kept: %d)", keeper.epoch, schedule.epochs, shown, keeper.best_epoch)
    except KeyboardInterrupt:
        if not keeper.best:
            raise
        interrupted = True
        log.warning("interrupted; of the epochs so far, %d is kept; --resume goes on", keeper.best_epoch)
    network.set_weights(keeper.best)
    return Outcome(keeper.history, keeper.best_epoch, keeper.seconds, interrupted)


def _epoch(step: Step, batches: Epochs, epoch: int, tick: Callable[[int], None]) -> float:
    """Run all steps of an epoch and return the mean loss.

    Step by step, not `network.fit`: TensorFlow's generator data sets make the allocator give memory back to the system
    after each batch, which costs as much as the training itself on a CPU.
    """
    losses = []
    for chips, targets in batches.epoch(epoch):
        losses.append(step(chips, targets))
        tick(len(chips))
    return float(np.mean(losses))


class _Keeper:
    """After each epoch: judge the averaged weights, remember those to keep, write a checkpoint."""

    def __init__(
        self,
        network: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        judge: Judge | None,
        keep: str,
        checkpoint: Path,
        identity: dict[str, Any],
    ) -> None:
        self._network, self._optimizer, self._judge = network, optimizer, judge
        self._checkpoint, self._identity = checkpoint, identity
        self._kept = _best if keep == "best" else len
        self._started = time.monotonic()
        self._earlier = 0.0
        self.history: list[dict[str, float]] = []
        self.best: list[NDArray[np.generic]] = []

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return len(self.history)

    @property
    def best_epoch(self) -> int:
        """The one that is kept, counted from 1; 0 before the first."""
        return self._kept(self.history)

    @property
    def seconds(self) -> float:
        """Time that the run took so far, before a resumption too."""
        return self._earlier + time.monotonic() - self._started

    def end_epoch(self, loss: float) -> None:
        """Judge, remember, write."""
        raw = self._network.get_weights()
        self._optimizer.finalize_variable_values(self._network.trainable_variables)
        figures = self._judge(self._network) if self._judge else {}
        history = [*self.history, {"loss": loss, **figures}]
        best = self._network.get_weights() if self._kept(history) == len(history) else self.best
        self._network.set_weights(raw)
        self.history, self.best = history, best  # together, so that Ctrl-C never parts them
        self._write()

    def restore(self) -> None:
        """Go back to where the checkpoint was written."""
        try:
            with np.load(self._checkpoint) as stored:
                notes: dict[str, Any] = json.loads(str(stored["notes"]))
                self._check(notes.get("identity"))
                for i, variable in enumerate(self._variables()):
                    variable.assign(stored[f"variable{i}"])
                self.best = [stored[f"best{i}"] for i in range(notes["best"])]
        except FileNotFoundError as err:
            raise DatasetError(f"{self._checkpoint} is not there, nothing to resume; leave --resume out") from err
        except DatasetError:
            raise
        except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as err:
            raise DatasetError(
                f"{self._checkpoint} does not fit this run ({err}); resume with the options it was started with"
            ) from err
        self.history, self._earlier = notes["history"], notes["seconds"]
        log.info("resumed after epoch %d", self.epoch)

    def _check(self, started: dict[str, Any] | None) -> None:
        """Refuse a checkpoint of a run with other options or data; one that does not say is trusted."""
        if not started or not self._identity:
            return
        other = [
            f"{name} was {started.get(name)}, now {self._identity.get(name)}"
            for name in sorted(started.keys() | self._identity.keys())
            if started.get(name) != self._identity.get(name)
        ]
        if other:
            raise DatasetError(
                f"{self._checkpoint} is of another run ({'; '.join(other[:3])}); "
                "resume with the options and data it was started with, or leave --resume out"
            )

    def _variables(self) -> list[keras.Variable]:
        return [*self._network.variables, *self._optimizer.variables]

    def _write(self) -> None:
        part = self._checkpoint.with_suffix(".part")
        notes = {
            "history": self.history,
            "seconds": self.seconds,
            "best": len(self.best),
            "identity": self._identity,
        }
        arrays = {f"variable{i}": keras.ops.convert_to_numpy(v) for i, v in enumerate(self._variables())}
        arrays |= {f"best{i}": weights for i, weights in enumerate(self.best)}
        try:
            self._checkpoint.parent.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as file:
                np.savez(file, notes=np.array(json.dumps(notes)), **arrays)
                file.flush()
                os.fsync(file.fileno())
            part.replace(self._checkpoint)
        except OSError as err:
            raise OutputError(f"the checkpoint {self._checkpoint} cannot be written: {err.strerror or err}") from err
        finally:
            with suppress(OSError):
                part.unlink(missing_ok=True)


def _best(history: list[dict[str, float]]) -> int:
    """Count of the epoch with the best of the judge's first figure, the first of equals; 0 where there is none."""
    if not history:
        return 0
    name = next(name for name in history[0] if name != "loss")
    return 1 + int(np.argmax(np.nan_to_num([figures[name] for figures in history], nan=-np.inf)))
