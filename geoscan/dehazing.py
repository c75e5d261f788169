"""Haze removal by the dark level of a wide window: the dark channel prior, with a window as wide as a chip.

He, Sun and Tang ("Single Image Haze Removal Using Dark Channel Prior", CVPR 2009) take it for granted that something in
every window is dark. In the 15 px of their windows sand and bare soil have nothing dark: they count as haze, and are
dimmed. Haze is smooth over kilometres and such places are not, so here the window is a chip, some hundreds of metres
wide. Its darkest level in each band is what haze, the atmosphere and an undeclared offset add to the ground's own light
(dark object subtraction: Chavez, "An improved dark-object subtraction technique for atmospheric scattering correction
of multispectral data", Remote Sensing of Environment 24, 1988). `dark_channel` has the small window.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final, Literal, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from geoscan.arrays import Mask, Reflectance, Visual, to_reflectance, to_visual
from geoscan.dark_channel import DarkChannel, check_haze
from geoscan.dark_channel import dehaze as by_dark_channel
from geoscan.errors import InputError

LEVELS: Final = 256

NOTHING_DARK: Final = (0.7, 0.9)
"""Dark level over airlight, in the band where it is least: up to the first it counts as haze, from the second on there
is nothing dark, such as in cloud or sand, and nothing is removed. Haze that lets 40 % of the light through stays under
the first."""

MARGIN: Final = 2
"""Cells around a part of a raster that decide, beside its own, what becomes of it."""

_Levels: TypeAlias = NDArray[np.float64]
"""(..., bands), 0..1"""


@dataclass(frozen=True, slots=True)
class DarkLevel:
    """How haze is removed from a chip; part of a model's card, so it round-trips through JSON.

    Each band of a chip goes through one straight line: (I - A) / t + A with the transmission t = 1 - omega d / A
    (CVPR 2009, equations 12 and 16), where d is the dark level of that band.
    Raises InputError for a value out of range.
    """

    airlight: tuple[float, float, float] = (0.9, 0.9, 0.9)
    """A: the haze's own red, green, blue, 0.01..1."""

    omega: float = 0.9
    """Share of the dark level that is removed, 0..1."""

    percent: float = 1.0
    """Share of a band's pixels, in percent, above 0, that are at most as bright as its dark level."""

    t0: float = 0.25
    """Floor of the transmission, above 0 and at most 1: contrast is raised by at most 1 / t0."""

    by_band: bool = True
    """Whether each band has a transmission of its own. Otherwise all have that of the band where the dark level over
    the airlight is least, as in the paper: colours stay, but so does the blue of the atmosphere."""

    kind: Literal["dark-level"] = "dark-level"

    def __post_init__(self) -> None:
        check_haze(self.airlight, self.omega, self.t0)
        if not 0 < self.percent < 100:
            raise InputError(f"percent {self.percent} does not fit; give a number above 0 and below 100")


Dehazing: TypeAlias = Annotated[DarkLevel | DarkChannel, Field(discriminator="kind")]
"""Any way to remove haze from a chip; `kind` tells them apart in JSON."""


def dehaze(chip: Visual, valid: Mask | None, params: DarkLevel | DarkChannel) -> Visual:
    """Remove the haze of a chip, (3, rows, cols); what is left depends on this chip alone.

    valid: (rows, cols), None for all; nodata changes nothing, and what becomes of it means nothing.
    """
    if isinstance(params, DarkChannel):
        return to_visual(by_dark_channel(to_reflectance(chip), valid, params))
    if valid is not None and not valid.any():
        return chip.copy()
    table = _table(histograms(chip, valid), params)
    bands = (np.ascontiguousarray(band) for band in chip)
    return np.stack([np.asarray(cv2.LUT(band, table[:, i]), np.uint8) for i, band in enumerate(bands)])


def dehaze_framed(chip: NDArray[np.uint8], params: DarkLevel | DarkChannel) -> NDArray[np.uint8]:
    """Do the same to a chip without nodata whose bands are interleaved, (rows, cols, 3), as networks take them."""
    chip = np.ascontiguousarray(chip)
    if isinstance(params, DarkChannel):
        return np.ascontiguousarray(dehaze(chip.transpose(2, 0, 1), None, params).transpose(1, 2, 0))
    counted = [cv2.calcHist([chip], [band], None, [LEVELS], [0, LEVELS]) for band in range(3)]
    table = _table(np.stack(counted).reshape(-1, LEVELS).astype(np.int64), params)
    return np.asarray(cv2.LUT(chip, table[None]), np.uint8)


def _table(counts: NDArray[np.int64], params: DarkLevel) -> NDArray[np.uint8]:
    """What becomes of each value in each band, (256, 3); counts: as `histograms` gives them."""
    levels = dark_levels(counts, params.percent) / (LEVELS - 1)
    transmission = transmissions(levels, strengths(levels, params), params)
    light = np.array(params.airlight)
    ramp = np.arange(LEVELS)[:, None] / (LEVELS - 1)
    return to_visual(((ramp - light) / transmission + light).clip(0, 1))


def restored(pixels: Reflectance, transmission: Reflectance, airlight: tuple[float, ...]) -> Reflectance:
    """Solve I = J t + A (1 - t) for J, the ground's own light (CVPR 2009, equation 16).

    pixels, transmission: (3, rows, cols), 0..1, the latter above 0. Returns (3, rows, cols), 0..1.
    """
    light = np.array(airlight, np.float32)[:, None, None]
    clear: Reflectance = ((pixels - light) / transmission + light).clip(0, 1)
    return clear


def transmission_map(pixels: Visual, valid: Mask, params: DarkLevel, cell: int) -> Reflectance:
    """Transmission of a whole raster, smooth and without seams, (3, rows, cols).

    pixels: (3, rows, cols). valid: (rows, cols). cell: in pixels, half of the window.
    Every `cell` pixels, from the first row and column on, there is a node; its dark level is that of the four cells
    around it. Levels are averaged over 3 x 3 nodes, by their pixels, so that nodata and places where nothing is dark
    take the haze of their surroundings, and between nodes they change along straight lines. So a pixel depends on those
    within three cells, and a part of a raster that begins on a node gives what the whole gives, but for `MARGIN` cells
    along its borders.
    """
    _, rows, cols = pixels.shape
    down, across = -(-rows // cell), -(-cols // cell)
    counts = np.zeros((down + 2, across + 2, 3, LEVELS), np.int64)
    for i, j in np.ndindex(down, across):
        part = slice(i * cell, (i + 1) * cell), slice(j * cell, (j + 1) * cell)
        counts[i + 1, j + 1] = histograms(pixels[:, *part], valid[part])
    around = counts[:-1, :-1] + counts[1:, :-1] + counts[:-1, 1:] + counts[1:, 1:]
    seen = around[:, :, 0].sum(axis=-1).astype(np.float64)
    levels = dark_levels(around, params.percent) / (LEVELS - 1)
    hazy = seen * strengths(levels, params)
    weight = _neighbours(hazy)
    strength = weight / np.maximum(_neighbours(seen), 1)
    known = np.maximum(weight, np.finfo(float).tiny)
    smooth = np.stack([_neighbours(hazy * levels[..., band]) / known for band in range(3)], axis=-1)
    nodes = transmissions(smooth, strength, params)
    over, along = _hats(rows, cell, down + 1), _hats(cols, cell, across + 1)
    return np.stack([over @ nodes[..., band] @ along.T for band in range(3)]).astype(np.float32)


def _neighbours(nodes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum over 3 x 3 nodes, (rows, cols), 0 or more, nothing beyond the border."""
    # Not `boxFilter`: its running sums leave a residue, often negative, where all nine are 0 but some before were not.
    return np.asarray(cv2.filter2D(nodes, -1, np.ones((3, 3)), borderType=cv2.BORDER_CONSTANT), np.float64)


def _hats(pixels: int, cell: int, nodes: int) -> NDArray[np.float64]:
    """Share that each node has in each pixel, (pixels, nodes)."""
    away = (np.arange(pixels)[:, None] + 0.5) / cell - np.arange(nodes)
    shares: NDArray[np.float64] = np.maximum(0, 1 - np.abs(away))
    return shares


def histograms(chip: Visual, valid: Mask | None) -> NDArray[np.int64]:
    """How many pixels have each value, (3, 256). chip: (3, rows, cols). valid: (rows, cols), None for all."""
    mask = None if valid is None else np.ascontiguousarray(valid).view(np.uint8)
    counted = [cv2.calcHist([np.ascontiguousarray(band)], [0], mask, [LEVELS], [0, LEVELS]) for band in chip]
    return np.stack(counted).reshape(-1, LEVELS).astype(np.int64)  # OpenCV 4 adds an axis


def dark_levels(counts: NDArray[np.int64], percent: float) -> NDArray[np.int64]:
    """Level that `percent` of the pixels do not exceed: (..., 256) counts -> (...), 0..255; 255 where there is none."""
    summed = counts.cumsum(axis=-1)
    below = summed < np.maximum(summed[..., -1:] * (percent / 100), 1)
    levels: NDArray[np.int64] = np.minimum(below.sum(axis=-1), LEVELS - 1)
    return levels


def strengths(levels: _Levels, params: DarkLevel) -> NDArray[np.float64]:
    """How far dark levels, (..., 3), 0..1, are haze: (...), 1 for all of it, 0 where nothing is dark."""
    haze, ground = NOTHING_DARK
    veil = (levels / np.array(params.airlight)).min(axis=-1)
    strength: NDArray[np.float64] = np.clip((ground - veil) / (ground - haze), 0, 1)
    return strength


def transmissions(levels: _Levels, strength: NDArray[np.float64], params: DarkLevel) -> _Levels:
    """Share of the ground's light that comes through, t0..1, (..., 3); levels: (..., 3), 0..1, strength: (...)."""
    haze = levels / np.array(params.airlight)
    if not params.by_band:
        haze = np.broadcast_to(haze.min(axis=-1, keepdims=True), haze.shape)
    veil = params.omega * strength[..., None] * haze
    transmission: _Levels = np.maximum(1 - veil, params.t0)
    return transmission
