"""The training loop: epochs, moving average of the weights, validation, checkpoints."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from geoscan.errors import DatasetError, InputError
from geoscan.model.backend import gpus, keras
from geoscan.progress import Advance
from geoscan.train.batches import Epochs
from geoscan.train.checkpoint import Checkpoint
from geoscan.train.devices import strategy_of
from geoscan.train.losses import Loss
from geoscan.train.step import Step, step_of

log = logging.getLogger(__name__)

_LONGEST = 5.0
"""Norm to which the gradient of a variable is clipped."""

Validate: TypeAlias = Callable[[], dict[str, float]]
"""Figures of the network, with the weights that it has now, on the validation chips, by name. The first one decides
which epoch is kept: more is better, NaN is worst; the others are for the record. The names are the same in every epoch,
and none is `loss`."""


@dataclass(frozen=True, slots=True)
class Task:
    """What a network learns, and how it is known how well.

    losses: by name of the output; they are added up.
    validate: None leaves all figures but the loss out, which only a schedule that keeps the last epoch can do without.
    """

    losses: Mapping[str, Loss]
    batches: Epochs
    validate: Validate | None = None


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how fast the network learns.

    epochs: the most; patience: epochs without a better figure after which it stops.
    keep: `best` keeps the epoch with the best validation figure; `last` the last one whatever the figures, as where all
    chips are needed to learn from and none is left to validate on, and so it runs for all of its epochs.
    rate: learning rate at its peak, reached after `warmup` epochs, then falling to 0 along a cosine.
    decay: weight decay of AdamW. average: momentum per step of the weights' moving average, 0..1, 1 excluded; the
    averaged weights are those that are validated and kept.
    Raises InputError for values out of range.
    """

    epochs: int = 60
    patience: int = 20
    rate: float = 2e-3
    warmup: float = 3
    decay: float = 0.02
    average: float = 0.99
    keep: Literal["best", "last"] = "best"

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.patience < 1:
            raise InputError(f"{self.epochs} epochs with a patience of {self.patience} do not fit; give 1 or more")
        if not 0 < self.rate < math.inf:
            raise InputError(f"a learning rate of {self.rate} does not fit; give a number above 0, such as 0.002")
        if not (self.warmup >= 0 and self.decay >= 0 and 0 <= self.average < 1):
            raise InputError(f"warmup and decay must be 0 or more, average 0..1 without 1; got {self}")
        if self.keep not in ("best", "last"):
            raise InputError(f"keep {self.keep!r} is not known; choose best or last")

    def rate_at(self, step: int, steps: int) -> float:
        """Learning rate of a step, counted from 0 over the whole run. steps: of an epoch.

        As Keras' CosineDecay; that one would be part of a compiled step, of which each fold has its own then.
        """
        warmup = round(steps * self.warmup)
        if step < warmup:
            return self.rate * step / warmup
        through = (step - warmup) / max(1, steps * self.epochs - warmup)
        return self.rate * (1 + math.cos(math.pi * min(through, 1))) / 2


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a training came to.

    history: of each epoch `loss`, the mean over its steps, then the validation figures.
    best_epoch: the one that is kept, counted from 1; the network holds its averaged weights.
    """

    history: list[dict[str, float]]
    best_epoch: int
    seconds: float
    interrupted: bool


def fit(
    network: keras.Model,
    task: Task,
    schedule: Schedule,
    checkpoint: Checkpoint,
    advance: Advance = lambda _: None,
) -> Outcome:
    """Train, and leave the averaged weights of the epoch that is kept in the network.

    A checkpoint is written after each epoch; a resumed run goes on from it as if it had never stopped. Ctrl-C ends the
    run with the epoch that would be kept by then. advance: called with the number of chips after each step.
    Raises ValueError for a schedule that keeps the best epoch of a task without validation, InputError when the loss
    becomes infinite or no number, DatasetError when there is nothing to resume from or too little to learn from,
    OutputError when the checkpoint cannot be written.
    """
    if task.validate is None and schedule.keep == "best":
        raise ValueError("to keep the best epoch takes validation; pass a function for it, or keep the last")
    if len(task.batches) < 1:
        raise DatasetError("there are fewer chips than one batch holds; pass a smaller --batch, or more chips")
    # On a CPU, XLA takes a minute to compile the training step and runs it no faster.
    step = step_of(network, task.losses, _optimizer(network, schedule), compiled=bool(gpus()))
    state = _State(network, step.optimizer, task.validate, schedule.keep, checkpoint)
    if checkpoint.resume:
        state.restore()
    interrupted = False
    try:
        while state.epoch < schedule.epochs and state.epoch - state.best_epoch < schedule.patience:
            loss = _epoch(step, task.batches, state.epoch, schedule, advance)
            if not math.isfinite(loss):
                raise InputError(f"the loss of epoch {state.epoch + 1} is {loss}; pass a smaller --rate")
            state.end_epoch(loss)
            shown = ", ".join(f"{name} {value:.4f}" for name, value in state.history[-1].items())
            log.info("epoch %d of %d: %s (kept: %d)", state.epoch, schedule.epochs, shown, state.best_epoch)
    except KeyboardInterrupt:
        if not state.best:
            raise
        interrupted = True
        log.warning("interrupted; of the epochs so far, %d is kept; --resume goes on", state.best_epoch)
    network.set_weights(state.best)
    return Outcome(state.history, state.best_epoch, state.seconds, interrupted)


def _optimizer(network: keras.Model, schedule: Schedule) -> keras.optimizers.Optimizer:
    """Return AdamW as the schedule has it."""
    with strategy_of(network).scope():
        return keras.optimizers.AdamW(
            schedule.rate, weight_decay=schedule.decay, use_ema=True, ema_momentum=schedule.average, clipnorm=_LONGEST
        )


def _epoch(step: Step, batches: Epochs, epoch: int, schedule: Schedule, advance: Advance) -> float:
    """Run all steps of an epoch and return the mean loss.

    Step by step, not `network.fit`: TensorFlow's generator data sets make the allocator give memory back to the system
    after each batch, which costs as much as the training itself on a CPU.
    """
    losses = []
    try:
        for n, (chips, targets) in enumerate(batches.epoch(epoch), start=epoch * len(batches)):
            losses.append(step(chips, targets, schedule.rate_at(n, len(batches))))
            advance(len(chips))
    finally:
        step.settle()
    return float(np.mean([float(loss) for loss in losses]))


class _State:
    """Where a training stands: figures of the epochs so far, and the weights to keep."""

    def __init__(
        self,
        network: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        validate: Validate | None,
        keep: str,
        checkpoint: Checkpoint,
    ) -> None:
        self._network, self._optimizer, self._validate = network, optimizer, validate
        self._checkpoint = checkpoint
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
        """Time that the training took so far, before a resumption too."""
        return self._earlier + time.monotonic() - self._started

    def end_epoch(self, loss: float) -> None:
        """Validate the averaged weights, keep them if they are better, and write a checkpoint."""
        raw = self._network.get_weights()
        self._optimizer.finalize_variable_values(self._network.trainable_variables)
        figures = self._validate() if self._validate else {}
        history = [*self.history, {"loss": loss, **figures}]
        best = self._network.get_weights() if self._kept(history) == len(history) else self.best
        self._network.set_weights(raw)
        self.history, self.best = history, best  # together, so that Ctrl-C never parts them
        self._write()

    def restore(self) -> None:
        """Go back to where the checkpoint was written. Raises DatasetError when that cannot be done."""
        path = self._checkpoint.path
        if (found := self._checkpoint.read()) is None:
            raise DatasetError(
                f"{path} is missing or damaged, nothing to resume; delete it and run again, or give another --out"
            )
        notes, arrays = found
        try:
            for i, variable in enumerate(self._variables()):
                variable.assign(arrays[f"variable{i}"])
            self.best = [arrays[f"best{i}"] for i in range(notes["best"])]
            self.history, self._earlier = notes["history"], notes["seconds"]
        except (KeyError, ValueError) as err:
            raise DatasetError(
                f"{path} does not fit this run ({err}); resume with the options it was started with"
            ) from err
        log.info("resumed after epoch %d", self.epoch)

    def _variables(self) -> list[keras.Variable]:
        return [*self._network.variables, *self._optimizer.variables]

    def _write(self) -> None:
        notes: dict[str, Any] = {"history": self.history, "seconds": self.seconds, "best": len(self.best)}
        arrays = {f"variable{i}": keras.ops.convert_to_numpy(v) for i, v in enumerate(self._variables())}
        arrays |= {f"best{i}": weights for i, weights in enumerate(self.best)}
        self._checkpoint.write(notes, arrays)


def _best(history: list[dict[str, float]]) -> int:
    """Count of the epoch with the best of the first figure, the first of equals; 0 where there is none."""
    if not history:
        return 0
    name = next(name for name in history[0] if name != "loss")
    return 1 + int(np.argmax(np.nan_to_num([figures[name] for figures in history], nan=-np.inf)))
