"""Which chips an epoch shows, and in which order."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geoscan.errors import InputError

_FLOOR = 0.15
"""Added to how wrong the network was: a chip that it knows well comes now and then, or it would be forgotten."""
_UNSEEN = 0.5
"""How wrong the network is taken to be about a chip that it has not seen yet."""


class Order:
    """Every chip once an epoch.

    indexes: (n,), the chips.
    state: what the next epoch depends on besides chance, to be kept with a checkpoint.
    """

    def __init__(self, indexes: NDArray[np.integer]) -> None:
        self._indexes = indexes
        self.state: NDArray[np.float32] = np.empty(0, np.float32)

    def __len__(self) -> int:
        """Chips of an epoch."""
        return len(self._indexes)

    def draw(self, rng: np.random.Generator) -> NDArray[np.integer]:
        """Return the chips of an epoch, shuffled."""
        return rng.permutation(self._indexes)

    def notice(self, shown: NDArray[np.integer], losses: NDArray[np.floating]) -> None:
        """Hear the losses, (k,), of chips that were shown, (k,); every chip comes anyway."""


class HardNegatives(Order):
    """All positives each epoch, and a share of the negatives: those that passed for positives more often.

    Most chips without a mine are plain forest, which is learned in an epoch; time is better spent on the others. A chip
    is drawn by how wrong the network was when it saw it last: importance sampling (Katharopoulos and Fleuret 2018) with
    a score that costs nothing, and without weights to undo it, for the order of scores counts and their level is
    calibrated afterwards.
    negative: (n,), which of `indexes` are negatives. share: of the negatives, more than 0, at most 1.
    state: (largest index + 1,), how wrong the network was about each chip, 0..1.
    Raises InputError for another share.
    """

    def __init__(self, indexes: NDArray[np.integer], negative: NDArray[np.bool_], share: float) -> None:
        if not 0 < share <= 1:
            raise InputError(f"a share of the negatives is more than 0, at most 1; got {share}")
        super().__init__(indexes)
        self._positives, self._negatives = indexes[~negative], indexes[negative]
        self._drawn = round(share * len(self._negatives))
        self.state = np.full(int(indexes.max(initial=-1)) + 1, _UNSEEN, np.float32)

    def __len__(self) -> int:
        """Chips of an epoch."""
        return len(self._positives) + self._drawn

    def draw(self, rng: np.random.Generator) -> NDArray[np.integer]:
        """Return the chips of an epoch, by what was noticed until now."""
        weights = _FLOOR + self.state[self._negatives].astype(np.float64)
        drawn = rng.choice(self._negatives, self._drawn, replace=False, p=weights / weights.sum())
        return rng.permutation(np.concatenate([self._positives, drawn]))

    def notice(self, shown: NDArray[np.integer], losses: NDArray[np.floating]) -> None:
        """Remember the share that the wrong answer had: the cross-entropy of a negative is -log(1 - score)."""
        self.state[shown] = 1 - np.exp(-losses)
