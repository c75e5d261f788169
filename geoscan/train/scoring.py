"""Scores of chips, in the columns of all 17 labels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geoscan.arrays import Scores
from geoscan.data.cache import AnyChips
from geoscan.labels import LABELS, columns
from geoscan.machine import BATCH
from geoscan.model.preprocess import Preprocess
from geoscan.model.runtime import Detector


def score(
    detect: Detector,
    labels: tuple[str, ...],
    preprocess: Preprocess,
    chips: AnyChips,
    rows: NDArray[np.integer] | None = None,
) -> Scores:
    """Scores of chips in their frames, (n, 17), columns as in `LABELS`; of the chips at `rows` if given.

    labels: of the detector's columns; other labels score 0. preprocess: removes their haze, as the detector wants it.
    Only a batch of chips at a time is in memory.
    """
    rows = np.arange(len(chips)) if rows is None else rows
    scores = np.zeros((len(rows), len(LABELS)), np.float32)
    for start in range(0, len(rows), BATCH):
        part = slice(start, start + BATCH)
        scores[part, columns(labels)] = detect(preprocess.cleared(np.asarray(chips[rows[part]])))
    return scores
