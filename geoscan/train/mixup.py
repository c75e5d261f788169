"""Mixup: batches whose chips shine through each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from geoscan.train.batches import Batch

_ALPHA = 0.4


def mixed(batch: Batch, rng: np.random.Generator, amount: float) -> Batch:
    """Blend a batch with a permutation of itself, chips and targets alike (Zhang et al. 2018, section 2).

    amount: probability, 0..1, that it happens; otherwise the batch comes back as it is. One share, drawn from
    beta(0.4, 0.4), serves the whole batch. A target of the blend is known only where both chips' are; what is given
    stays unchanged, and all heads are blended by the same permutation.
    """
    chips, targets = batch
    if rng.random() >= amount:
        return batch
    share = float(rng.beta(_ALPHA, _ALPHA))
    order = rng.permutation(len(chips))
    flat = chips.reshape(len(chips), -1)
    blend = cv2.addWeighted(flat, share, flat[order], 1 - share, 0).reshape(chips.shape)
    return blend.astype(chips.dtype, copy=False), {  # NaN spreads through the sum, as it should
        name: (share * values + (1 - share) * values[order]).astype(np.float32) for name, values in targets.items()
    }
