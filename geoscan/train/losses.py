"""Losses that leave out what nobody knows: a target of NaN counts nowhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from geoscan.errors import InputError
from geoscan.model.backend import keras
from geoscan.model.spec import Head

Loss: TypeAlias = Callable[[keras.KerasTensor, keras.KerasTensor], keras.KerasTensor]

_LEAST = 1e-6


@dataclass(frozen=True, slots=True)
class Focus:
    """How much less the answers count that are nearly right; all zeros is plain cross-entropy.

    positive, negative: exponents that fade the easy positives and the easy negatives, 0 or more. The same number for
    both is the focal loss (Lin et al. 2017, eq. 4), different ones the asymmetric loss (Ridnik et al. 2021, eqs. 4-7).
    margin: a negative answered below it counts nothing, in [0, 1).
    A target between 0 and 1 weighs the two parts; only with all zeros is the loss least where the answer equals it.
    Raises InputError for other numbers.
    """

    positive: float = 0.0
    negative: float = 0.0
    margin: float = 0.0

    def __post_init__(self) -> None:
        if not (self.positive >= 0 and self.negative >= 0 and 0 <= self.margin < 1):
            raise InputError(f"focus takes exponents of 0 or more and a margin in [0, 1); got {self}")


def loss_of(head: Head, weights: NDArray[np.float32], focus: Focus | None = None) -> Loss:
    """Return the loss of a head: (n, labels) targets and answers, 0..1 -> (n,), the sum over the labels.

    weights: (labels,), how much more a positive counts than its label's negatives.
    focus: plain cross-entropy if None; of a softmax head, which has no negatives, only `positive` is used.
    """
    weight = np.asarray(weights, np.float32)  # no tensor yet: it would lie on one of several devices
    focus = focus or Focus()

    def exclusive(targets: keras.KerasTensor, answers: keras.KerasTensor) -> keras.KerasTensor:
        known = keras.ops.where(keras.ops.isnan(targets), 0.0, targets)
        right = keras.ops.clip(answers, _LEAST, 1.0)
        return -keras.ops.sum(known * weight * _faded(right, focus.positive), axis=-1)

    def independent(targets: keras.KerasTensor, answers: keras.KerasTensor) -> keras.KerasTensor:
        unknown = keras.ops.isnan(targets)
        targets = keras.ops.where(unknown, 0.0, targets)
        answers = keras.ops.clip(answers, _LEAST, 1 - _LEAST)
        shifted = keras.ops.maximum(answers - focus.margin, _LEAST)
        each = -targets * weight * _faded(answers, focus.positive) - (1 - targets) * _faded(1 - shifted, focus.negative)
        return keras.ops.sum(keras.ops.where(unknown, 0.0, each), axis=-1)

    return exclusive if head.activation == "softmax" else independent


def likeness(weight: float) -> Loss:
    """Return the loss of features: (n, channels) targets and answers -> (n,), `weight` times the mean squared error."""

    def far(targets: keras.KerasTensor, answers: keras.KerasTensor) -> keras.KerasTensor:
        return weight * keras.ops.mean(keras.ops.square(targets - answers), axis=-1)

    return far


def _faded(right: keras.KerasTensor, exponent: float) -> keras.KerasTensor:
    """Logarithm of the probability of the truth, times (1 - probability) ** exponent."""
    if not exponent:
        return keras.ops.log(right)
    # The slope of x ** exponent has no bound at 0.
    return keras.ops.power(keras.ops.maximum(1 - right, _LEAST), exponent) * keras.ops.log(right)


def positive_weights(targets: NDArray[np.floating], most: float = 2.0) -> NDArray[np.float32]:
    """Weight of each label's positives, (labels,): the root of negatives per positive, in 1..`most`.

    The root, not the ratio: with the full ratio a handful of chips would decide a rare label's every answer.
    """
    positives = (targets == 1).sum(axis=0)
    negatives = (targets == 0).sum(axis=0)
    weights: NDArray[np.float32] = np.clip(np.sqrt(negatives / np.maximum(positives, 1)), 1, most).astype(np.float32)
    return weights
