"""From scores that rank chips to probabilities."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from geoscan.arrays import Scores
from geoscan.errors import PackageError
from geoscan.model.spec import Activation, Spec

GROUND_PRIOR = 0.008
"""Share of chips with an artisanal mine in Kaggle's set. On the ground mines are far rarer: give the known share."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """Turns a model's scores into probabilities; without arguments it leaves every score as it is.

    The order of chips by one label stays the same. The thresholds of a card are for uncalibrated scores.
    Raises PackageError for a temperature that is not above 0, or a share outside 0..1, ends excluded.
    """

    temperatures: Mapping[str, float] = field(default_factory=dict)
    """Temperature of each head, by name; 1 where none is given, above 1 where the model was too sure of itself."""

    seen_prior: float | None = None
    """Share of mines among the chips that this was fitted on, 0..1; None leaves the share of mines uncorrected."""

    ground_prior: float = GROUND_PRIOR
    """Share of mines among the chips of a scene, 0..1: assumed, not measured."""

    def __post_init__(self) -> None:
        for name, value in self.temperatures.items():
            if not (math.isfinite(value) and value > 0):
                raise PackageError(f"temperature {value} of {name} does not fit; give a number above 0")
        if self.seen_prior is not None:
            _check_share("seen_prior", self.seen_prior)
        _check_share("ground_prior", self.ground_prior)

    def apply(self, scores: Scores, spec: Spec) -> Scores:
        """Divide each head's logits by its temperature: Guo, Pleiss, Sun, Weinberger 2017, section 4.2.

        scores: (n, labels), 0..1, columns as `spec.labels`. Returns the same shape; 0 and 1 stay what they are.
        Raises PackageError when the columns are not the spec's labels in number.
        """
        if scores.ndim != 2 or scores.shape[1] != len(spec.labels):
            raise PackageError(f"scores of shape {scores.shape} do not fit; give (n, {len(spec.labels)})")
        result, start = scores.copy(), 0
        for head in spec.heads:
            columns = slice(start, start := start + len(head.labels))
            temperature = self.temperatures.get(head.name, 1.0)
            if temperature != 1:
                result[:, columns] = scaled(scores[:, columns].astype(np.float64), head.activation, temperature)
        return result

    def mine_probability(self, score: NDArray[np.floating], prior: float | None = None) -> NDArray[np.float64]:
        """Probability that a chip shows an artisanal mine: Saerens, Latinne, Decaestecker 2002, eq. 4, known priors.

        score: any shape, 0..1, from `apply`. prior: share of mines where the chips come from; `ground_prior` if None.
        Returns the same shape: the log odds of the score, moved by as much as those of the two shares differ.
        Raises PackageError for a prior outside 0..1, ends excluded.
        """
        prior = self.ground_prior if prior is None else prior
        _check_share("prior", prior)
        exact = np.asarray(score, np.float64)
        if self.seen_prior is None:
            return exact
        from scipy.special import expit, logit  # takes a while to import: only at the end of a scan

        probability: NDArray[np.float64] = expit(logit(exact) + logit(prior) - logit(self.seen_prior))
        return probability


def scaled(scores: NDArray[np.float64], activation: Activation, temperature: float) -> NDArray[np.float64]:
    """Scores of one head, (n, labels), 0..1, with their logits divided by a temperature; 0 and 1 stay what they are."""
    from scipy.special import expit, logit

    result: NDArray[np.float64]
    if activation == "sigmoid":
        result = expit(logit(scores) / temperature)
        return result
    top = scores.max(axis=1, keepdims=True)
    power = (scores / np.where(top > 0, top, 1)) ** (1 / temperature)  # softmax(log p / T), without the log of 0
    total = power.sum(axis=1, keepdims=True)
    result = power / np.where(total > 0, total, 1)
    return result


def _check_share(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise PackageError(f"{name} {value} does not fit; give a share above 0 and below 1, such as {GROUND_PRIOR}")
