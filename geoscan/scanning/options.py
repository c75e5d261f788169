"""What a scan can be asked for, in one value."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

from geoscan.errors import InputError
from geoscan.machine import AUTO
from geoscan.model.figures import DEFAULT_POINT, POINTS
from geoscan.model.package import Package
from geoscan.outlines import OUTLINES
from geoscan.polygons import Hysteresis
from geoscan.products import Levels


@dataclass(frozen=True, slots=True)
class ScanOptions:
    """What a scan is asked for; most of what is None is taken from the model's card.

    Raises InputError for an unknown operating point, a prior or a batch out of range; what depends on the scene or the
    model is checked in a plan.
    """

    model: str | os.PathLike[str] | Package = "auto"
    """A shipped model, the directory of a package, or one that is open; `auto` is the shipped one that fits a scene's
    resolution best."""

    bands: tuple[int, int, int] | None = None
    """Numbers of the red, green and blue bands, from 1; the file tells if None."""

    stride: int | None = None
    """Pixels from chip to chip; a whole chip if None, less lets them overlap."""

    scale: Levels | None = None
    """Reflectance is value * scale + offset, a number each for red, green and blue; what the scene says if None."""

    offset: Levels | None = None
    stretch: str = "auto"
    """How values become the look that the model knows, see `radiometry.resolve`; `auto` also heeds the model."""

    tta: bool | None = None
    """Test-time augmentation: average the scores of the 8 rotations and mirror images of a chip."""

    operate: str = DEFAULT_POINT
    """Operating point in the model's card, one of `POINTS`, whose thresholds are taken."""

    high: float | None = None
    """In place of the operating point's: see `Hysteresis`, and likewise `low` and `isolated`; 0..1."""

    low: float | None = None
    isolated: float | None = None

    outline: str | None = None
    """What outlines are of, one of `OUTLINES`; None for activation where the model is a DenseNet whose package can
    tell."""

    prior: float | None = None
    """Fraction of the scene's chips that show a mine, for probabilities; 0..1, ends excluded."""

    force: bool = False
    """Scan what looks like nothing that the model has learned from, too."""

    follow: bool = False
    """Read what a file on this machine names on a network, and what a file on a network names anywhere, too."""

    batch: int | None = None
    """Chips that are scored at once; changes no result. About a million pixels of them if None."""

    runtime: str = AUTO
    """What computes scores, one of `RUNTIMES`; `auto` is what suits this machine, see `runtime_for`."""

    def __post_init__(self) -> None:
        if self.prior is not None and not 0 < self.prior < 1:
            raise InputError(f"prior {self.prior} does not fit; give a fraction above 0 and below 1, such as 0.001")
        if self.operate not in POINTS:
            raise InputError(f"no operating point is called {self.operate!r}; choose one of {', '.join(POINTS)}")
        if self.outline not in (None, *OUTLINES):
            raise InputError(f"outlines are not of {self.outline!r}; choose one of {', '.join(OUTLINES)}")
        if self.batch is not None and self.batch < 1:
            raise InputError(f"batch {self.batch} does not fit; give 1 chip or more")

    def thresholds(self, own: Hysteresis) -> Hysteresis:
        """Take the operating point's `own` thresholds where none are asked for; one that is moves those it contradicts.

        Raises InputError when those asked for contradict each other.
        """
        high = own.high if self.high is None else self.high
        return Hysteresis(
            high=high,
            low=min(own.low, high) if self.low is None else self.low,
            isolated=max(own.isolated, high) if self.isolated is None else self.isolated,
        )


DEFAULT: Final = ScanOptions()
"""All as the scene and the model have it."""
