"""What turns the features of a chip into its mine score, which can be fitted anew while all before it stays."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from geoscan.arrays import Features, Scores
from geoscan.errors import PackageError
from geoscan.labels import MINE
from geoscan.model.backend import keras
from geoscan.model.spec import Spec

_SHRINKAGE: Final = 0.9
"""How far the spread of the features is drawn to one variance for all (Friedman 1989, equation 18): correlations are of
a few dozen campaigns, and mostly theirs alone. From 0.6 to 0.95 average precision over folds changes by 0.005."""

_CENTRE: Final = 0.95
"""Score of the mean of the mines."""

_LEAST: Final = 1e-6

_SELDOM: Final = 0.02
"""Least unit of a feature, in those of most: one that is nearly always 0 would outweigh all others where it is not."""


@dataclass(frozen=True)
class MineRow:
    """The one row of a network's last layer that scores mines."""

    layer: str
    column: int
    weights: NDArray[np.float32]
    """(channels,)"""

    bias: float

    @classmethod
    def of(cls, network: keras.Model, spec: Spec, name: str) -> MineRow:
        """Take it from a network. name: of its model. Raises PackageError where other labels decide the mine score."""
        if (place := spec.alone(MINE)) is None:
            raise PackageError(f"{name} weighs mines against other labels, and cannot be tuned; train it anew")
        layer, column = place
        kernel, bias = network.get_layer(layer).get_weights()
        return cls(layer, column, kernel[:, column].astype(np.float32), float(bias[column]))

    def put(self, network: keras.Model) -> None:
        """Put it into a network of the same spec."""
        layer = network.get_layer(self.layer)
        kernel, bias = layer.get_weights()
        kernel[:, self.column], bias[self.column] = self.weights, self.bias
        layer.set_weights([kernel, bias])

    def odds(self, features: Features) -> NDArray[np.float32]:
        """(..., channels) -> (...), log odds."""
        odds: NDArray[np.float32] = features @ self.weights + np.float32(self.bias)
        return odds

    def scores(self, features: Features) -> Scores:
        """(..., channels) -> (...), 0..1."""
        scores: Scores = expit(self.odds(features))
        return scores

    def by_campaigns(self, features: Features, mines: NDArray[np.bool_], campaigns: NDArray[np.integer]) -> MineRow:
        """Fit it to chips, of which each campaign counts alike, however many it has.

        A network learns most from its largest campaigns. The features that it found serve others as well; how they are
        weighed does not (Kirichenko, Izmailov, Wilson 2023). The fit is a linear discriminant, from means of
        the means of campaigns: what sets campaigns of one class apart counts as noise, as what sets chips of one
        campaign apart (Hatch, Kajarekar, Stolcke 2006). A chip like the mean of the mines scores 0.95, one like the
        mean of the others 0.05, so that scores of networks of several folds mean the same. Only the unit in which a
        feature is measured, its standard deviation, is of all chips alike.

        features: (n, channels). mines: (n,), some of which are and some not. campaigns: (n,), numbers.
        """
        unit = features.std(axis=0, dtype=np.float64)
        unit = np.maximum(unit, _SELDOM * np.median(unit)) + _LEAST
        scaled = features / unit
        mine, other = (_Class.of(scaled[rows], campaigns[rows]) for rows in (mines, ~mines))
        noise = (mine.spread + other.spread) / 2
        even = np.eye(len(noise)) * max(np.trace(noise) / len(noise), _LEAST)
        direction = np.linalg.solve((1 - _SHRINKAGE) * noise + _SHRINKAGE * even, mine.mean - other.mean)
        if (gap := float(direction @ (mine.mean - other.mean))) < _LEAST:  # both classes look the same
            return self
        weights = direction * 2 * logit(_CENTRE) / gap
        midway = (mine.mean + other.mean) / 2
        return replace(self, weights=(weights / unit).astype(np.float32), bias=-float(weights @ midway))


@dataclass(frozen=True)
class _Class:
    """Features of mines, or of the others, with campaigns counted alike."""

    mean: NDArray[np.float64]
    """(channels,)"""

    spread: NDArray[np.float64]
    """(channels, channels), within campaigns and between them."""

    @classmethod
    def of(cls, features: NDArray[np.float64], campaigns: NDArray[np.integer]) -> _Class:
        _, campaign, chips = np.unique(campaigns, return_inverse=True, return_counts=True)
        means = np.zeros((len(chips), features.shape[1]))
        np.add.at(means, campaign, features)
        means /= chips[:, None]
        off = (features - means[campaign]) / np.sqrt(chips[campaign] * len(chips))[:, None]
        return cls(means.mean(axis=0), off.T @ off + np.cov(means.T, bias=True))
