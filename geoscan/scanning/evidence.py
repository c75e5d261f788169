"""A second look at the chips of detections: where in them the evidence lies."""

from __future__ import annotations

import logging
from typing import Any, Final

import numpy as np
import scipy.special
from affine import Affine
from numpy.typing import NDArray

from geoscan import machine
from geoscan.activation import Maps, grounds
from geoscan.ahead import made_ahead
from geoscan.arrays import Chips, Evidence
from geoscan.grid import TileGrid
from geoscan.model.openvino_runtime import OpenVinoDetector
from geoscan.outlines import Outline, outlines_of
from geoscan.polygons import Outliner
from geoscan.scanning.batch import SQUARE, prepare
from geoscan.scanning.plan import Plan
from geoscan.symmetry import SYMMETRIES, symmetry

_LEAST: Final = 1e-6
"""Of a threshold; 0 and 1 are infinitely far."""

log = logging.getLogger(__name__)


def by_activation(plan: Plan) -> Outliner:
    """Give what cuts the outlines of a scene's detections down to where the evidence is.

    Kept is what speaks for a mine as much as the best chip of a detection must. The chips are read again, in this
    process, and looked at by OpenVINO, whatever has scored them: they are few. One that cannot be read again keeps its
    whole core.
    """
    level = float(scipy.special.logit(np.clip(plan.thresholds.high, _LEAST, 1 - _LEAST)))

    def outliner(groups: NDArray[np.int32], grid: TileGrid, transform: Affine, crs: Any) -> list[Outline]:
        maps = _maps(plan, np.flatnonzero(groups))
        return outlines_of(grounds(groups, grid, maps, level), transform, crs)

    return outliner


def _maps(plan: Plan, tiles: NDArray[np.int64]) -> Maps:
    """The evidence in some tiles' chips, by tile."""
    order = [tile for square in plan.grid.squares(tiles, SQUARE) for tile in square.tolist()]
    batches = [order[start : start + plan.batch] for start in range(0, len(order), plan.batch)]
    detect = OpenVinoDetector(plan.package, plan.batch)
    found: dict[int, NDArray[np.float32]] = {}
    for batch in made_ahead(lambda n: prepare(plan, batches[n]), len(batches), machine.cores()):
        if batch.tiles:
            found |= dict(zip(batch.tiles, averaged(detect, batch.chips), strict=True))
    if lost := len(tiles) - len(found):
        log.warning("%s: %s chips could not be read again: outlines keep all of them", plan.name, f"{lost:,}")
    return found


def averaged(detect: OpenVinoDetector, chips: Chips) -> Evidence:
    """Evidence in chips, (n, chip, chip, 3) -> (n, rows, cols), as the mean over their symmetries.

    Strided convolutions lean to one side, by up to half a cell of the map; the mean does not.
    """
    views = [turned_back(detect.evidence(symmetry(chips, which)), which) for which in range(SYMMETRIES)]
    mean: Evidence = np.mean(views, axis=0, dtype=np.float32)
    return mean


def turned_back(maps: Evidence, which: int) -> Evidence:
    """Undo `symmetry` on maps, (n, rows, cols), made of chips that were turned."""
    mirrored = maps[..., ::-1] if which >= 4 else maps
    return np.rot90(mirrored, -(which % 4), axes=(-2, -1))
