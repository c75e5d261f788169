"""Losses that leave unknown targets out: NaN counts nowhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from geoscan.model.backend import keras
from geoscan.model.spec import Head

Loss: TypeAlias = Callable[[keras.KerasTensor, keras.KerasTensor], keras.KerasTensor]

_LEAST = 1e-6
_MOST = 2.0
"""Largest weight of a positive."""


@dataclass(frozen=True, eq=False)
class CrossEntropy:
    """Cross-entropy of a head: (n, labels) targets and answers, 0..1 -> (n,), the sum over the labels.

    Targets may lie between 0 and 1 (soft targets); NaN is unknown and counts nowhere.
    exclusive: whether exactly one label holds. weights: (labels,), how much more a positive counts than its label's
    negatives; no tensor, for it would lie on one of several devices.
    """

    exclusive: bool
    weights: NDArray[np.float32]

    def __call__(self, targets: keras.KerasTensor, answers: keras.KerasTensor) -> keras.KerasTensor:
        """Return the loss of each chip."""
        unknown = keras.ops.isnan(targets)
        targets = keras.ops.where(unknown, 0.0, targets)
        if self.exclusive:
            right = keras.ops.clip(answers, _LEAST, 1.0)
            return -keras.ops.sum(targets * self.weights * keras.ops.log(right), axis=-1)
        answers = keras.ops.clip(answers, _LEAST, 1 - _LEAST)
        each = -targets * self.weights * keras.ops.log(answers) - (1 - targets) * keras.ops.log(1 - answers)
        return keras.ops.sum(keras.ops.where(unknown, 0.0, each), axis=-1)


@dataclass(frozen=True)
class FeatureLoss:
    """Loss of features (hint loss: Romero et al. 2015, section 2.2).

    (n, channels) targets and answers -> (n,), `weight` times the mean squared error.
    """

    weight: float

    def __call__(self, targets: keras.KerasTensor, answers: keras.KerasTensor) -> keras.KerasTensor:
        """Return the loss of each chip."""
        return self.weight * keras.ops.mean(keras.ops.square(targets - answers), axis=-1)


def loss_of(head: Head, weights: NDArray[np.float32]) -> CrossEntropy:
    """Return the loss of a head. weights: see `CrossEntropy`."""
    return CrossEntropy(head.activation == "softmax", np.asarray(weights, np.float32))


def positive_weights(targets: NDArray[np.floating]) -> NDArray[np.float32]:
    """Weight of each label's positives, (labels,), in 1..2: the square root of the number of negatives per positive.

    targets: (n, labels), 1, 0 or NaN for unknown. The root, not the ratio: with the full ratio a handful of chips would
    decide every answer about a rare label.
    """
    positives = (targets == 1).sum(axis=0)
    negatives = (targets == 0).sum(axis=0)
    weights: NDArray[np.float32] = np.clip(np.sqrt(negatives / np.maximum(positives, 1)), 1, _MOST).astype(np.float32)
    return weights
