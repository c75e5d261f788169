"""Losses that leave out what nobody knows: a target of NaN counts nowhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from geoscan.model.spec import Head

Loss: TypeAlias = Callable[[keras.KerasTensor, keras.KerasTensor], keras.KerasTensor]

_LEAST = 1e-6


def loss_of(head: Head, weights: NDArray[np.float32]) -> Loss:
    """Return the loss of a head: (n, labels) targets and answers, 0..1 -> (n,), the sum over the labels.

    weights: (labels,), how much more a positive counts than its label's negatives.
    """
    weight = ops.convert_to_tensor(weights)

    def exclusive(targets: keras.KerasTensor, answers: keras.KerasTensor) -> keras.KerasTensor:
        known = ops.where(ops.isnan(targets), 0.0, targets)
        return -ops.sum(known * weight * ops.log(ops.clip(answers, _LEAST, 1.0)), axis=-1)

    def independent(targets: keras.KerasTensor, answers: keras.KerasTensor) -> keras.KerasTensor:
        unknown = ops.isnan(targets)
        targets = ops.where(unknown, 0.0, targets)
        answers = ops.clip(answers, _LEAST, 1 - _LEAST)
        each = -weight * targets * ops.log(answers) - (1 - targets) * ops.log(1 - answers)
        return ops.sum(ops.where(unknown, 0.0, each), axis=-1)

    return exclusive if head.activation == "softmax" else independent


def positive_weights(targets: NDArray[np.floating], most: float = 2.0) -> NDArray[np.float32]:
    """Weight of each label's positives, (labels,): the root of negatives per positive, in 1..`most`.

    The root, not the ratio: with the full ratio a handful of chips would decide a rare label's every answer.
    """
    positives = (targets == 1).sum(axis=0)
    negatives = (targets == 0).sum(axis=0)
    weights: NDArray[np.float32] = np.clip(np.sqrt(negatives / np.maximum(positives, 1)), 1, most).astype(np.float32)
    return weights
