"""What a scan saw of one scene, tile by tile: what layers, heat maps and reports are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from geoscan.arrays import Scores
from geoscan.grid import TileGrid
from geoscan.labels import MINE
from geoscan.polygons import Provenance, flag

_MISSED: Final = 0.01
"""Share of a core from which nodata counts; less is lone pixels that are as dark as nodata."""


class Sight(IntEnum):
    """Whether a tile was seen, and why not."""

    CLEAR = 0
    HAZY = 1
    """Seen, but through haze, as the model tells."""

    CLOUDY = 2
    """Under cloud, as the model tells; it has scores that say little of the ground."""

    NODATA = 3
    """The scene has no pixels there."""

    FAILED = 4
    """It could not be read."""

    STRANGE = 5
    """It looks like nothing that the model has learned from, and was not scored."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a scan saw of one scene, tile by tile."""

    provenance: Provenance
    grid: TileGrid
    """Of the raster that was scanned."""

    transform: Affine
    """(col, row) of that raster to the coordinates of `crs`."""

    crs: Any
    """As rasterio has it."""

    labels: tuple[str, ...]
    scores: Scores
    """(len(grid), labels), 0..1; NaN where a tile was not scored."""

    observed: NDArray[np.int64]
    """(len(grid),): pixels of each core that are not nodata."""

    sight: NDArray[np.uint8]
    """(len(grid),): a `Sight` each."""

    failed: Mapping[int, str]
    """Tiles that could not be read, in order, and why."""

    card: Mapping[str, str | float | None] = field(default_factory=dict)
    """What the model's card says in short, by name; see `model.essentials`."""

    command: str = ""
    """What was asked for, as a command; empty where nobody typed one."""

    @property
    def whole(self) -> NDArray[np.bool_]:
        """(len(grid),): True where so little of a core is nodata that a mine cannot lie there."""
        areas = self.grid.areas()
        whole: NDArray[np.bool_] = areas - self.observed < _MISSED * areas
        return whole

    @property
    def mine(self) -> NDArray[np.float32]:
        """(len(grid),): the score of each tile for mines, 0..1; NaN where it was not scored."""
        return self.scores[:, self.labels.index(MINE)]

    @property
    def flagged(self) -> NDArray[np.int32]:
        """Shape of the grid: 0 where a tile is part of no detection, else the detection's number from 1."""
        return flag(self.mine.reshape(self.grid.shape), self.provenance.thresholds)
