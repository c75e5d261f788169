"""From scores that rank chips to probabilities."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from geoscan.errors import PackageError
from geoscan.model.spec import Activation, Spec

GROUND_PRIOR = 0.008
"""Share of chips with an artisanal mine in Kaggle's set. On the ground mines are far rarer: give the known share."""


@dataclass(frozen=True, slots=True)
class Curve:
    """From the scores of one label to probabilities: log odds = a ln(score) - b ln(1 - score) + c.

    Beta calibration: Kull, Silva Filho, Flach 2017 (AISTATS), section 3. Against the log odds of the score its slope
    goes from a, for low scores, to b, for high ones; a = b = 1 and c = 0 change nothing. The order of chips stays the
    same.
    Raises PackageError for a slope that is not above 0, or a c that is no number.
    """

    a: float = 1.0
    b: float = 1.0
    c: float = 0.0

    def __post_init__(self) -> None:
        _check_above_0(self.a, f"a {self.a}")
        _check_above_0(self.b, f"b {self.b}")
        if not math.isfinite(self.c):
            raise PackageError(f"c {self.c} does not fit; give a number")

    def __call__(self, scores: NDArray[np.floating]) -> NDArray[np.float64]:
        """Probabilities of scores, any shape, 0..1; 0 and 1 stay what they are."""
        from scipy.special import expit  # takes a while to import: only at the end of a scan

        exact = np.asarray(scores, np.float64)
        with np.errstate(divide="ignore"):
            odds = self.a * np.log(exact) - self.b * np.log1p(-exact) + self.c
        probability: NDArray[np.float64] = expit(odds)
        return probability


@dataclass(frozen=True, slots=True)
class Calibration:
    """Turns a model's scores into probabilities; without arguments it leaves every score as it is.

    The thresholds of a card are for uncalibrated scores.
    Raises PackageError for a temperature that is not above 0, or a share outside 0..1, ends excluded.
    """

    temperatures: Mapping[str, float] = field(default_factory=dict)
    """Temperature of a head, by name; 1 where none is given, above 1 where the model was too sure of itself.

    Cards of earlier versions have one for every head, later ones for those alone whose labels exclude each other.
    """

    seen_prior: float | None = None
    """Share of mines among the chips that this was fitted on, 0..1; None leaves the share of mines uncorrected."""

    ground_prior: float = GROUND_PRIOR
    """Share of mines among the chips of a scene, 0..1: assumed, not measured."""

    curves: Mapping[str, Curve] = field(default_factory=dict)
    """By label; its head's temperature does not count for a label that has one."""

    def __post_init__(self) -> None:
        for name, value in self.temperatures.items():
            _check_above_0(value, f"temperature {value} of {name}")
        if self.seen_prior is not None:
            _check_share("seen_prior", self.seen_prior)
        _check_share("ground_prior", self.ground_prior)

    def apply(self, scores: NDArray[np.floating], spec: Spec) -> NDArray[np.float64]:
        """Send scores through the curves of their labels; divide other logits by the temperature of their head.

        Temperatures: Guo, Pleiss, Sun, Weinberger 2017, section 4.2.
        scores: (n, labels), 0..1, columns as `spec.labels`. Returns the same shape; 0 and 1 stay what they are. In
        double precision, for in single one that is nearly certain comes out as 1, which no share of mines moves.
        Raises PackageError when the columns are not the spec's labels in number.
        """
        if scores.ndim != 2 or scores.shape[1] != len(spec.labels):
            raise PackageError(f"scores of shape {scores.shape} do not fit; give (n, {len(spec.labels)})")
        result, start = scores.astype(np.float64), 0
        for head in spec.heads:
            columns = slice(start, start := start + len(head.labels))
            temperature = self.temperatures.get(head.name, 1.0)
            if temperature != 1:
                result[:, columns] = scaled(result[:, columns], head.activation, temperature)
        for label, curve in self.curves.items():
            column = spec.labels.index(label)
            result[:, column] = curve(scores[:, column])
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


def _check_above_0(value: float, what: str) -> None:
    if not (math.isfinite(value) and value > 0):
        raise PackageError(f"{what} does not fit; give a number above 0")


def _check_share(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise PackageError(f"{name} {value} does not fit; give a share above 0 and below 1, such as {GROUND_PRIOR}")
