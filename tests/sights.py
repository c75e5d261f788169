"""What scans saw, made up for tests of layers."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from affine import Affine

from geoscan.grid import TileGrid
from geoscan.polygons import Provenance
from geoscan.seen import Seen, Sight

ONE_CHIP = TileGrid(256, 256, 256, 256)
PLACE = Affine(3.7, 0, 552_000, 0, -3.7, 9_317_000)


def seen(
    provenance: Provenance,
    grid: TileGrid = ONE_CHIP,
    scores: np.ndarray | None = None,
    *,
    labels: tuple[str, ...] = ("artisinal_mine",),
    transform: Affine = PLACE,
    crs: Any = "EPSG:32721",
    sight: np.ndarray | None = None,
    failed: Mapping[int, str] | None = None,
) -> Seen:
    """A scene all of which was seen, unless told otherwise; scores: 0 where none are given."""
    scores = np.zeros((len(grid), len(labels)), np.float32) if scores is None else scores
    sight = np.full(len(grid), Sight.CLEAR, np.uint8) if sight is None else sight
    observed = grid.areas()
    return Seen(provenance, grid, transform, crs, labels, scores, observed, sight, failed or {})
