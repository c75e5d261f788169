"""Pictures for a report, as data URIs: a scene from above, what was not seen of it, and detections close up."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from geoscan.arrays import Mask, Visual, to_reflectance
from geoscan.dark_channel import OMEGA
from geoscan.dehazed_scene import dehazed, picture
from geoscan.dehazing import DarkLevel
from geoscan.grid import Window
from geoscan.scanning.plan import Plan
from geoscan.seen import Seen, Sight

CLOSE_UP: Final = 256
"""Most pixels of a close-up's side."""

_QUALITY: Final = 80

_MOST_CELLS: Final = 4096
"""Of a side of the picture of what was not seen, where a scene has more tiles from side to side."""

COLOURS: Final[dict[Sight, tuple[int, int, int, int]]] = {
    Sight.CLEAR: (0, 0, 0, 0),
    Sight.HAZY: (214, 206, 255, 90),
    Sight.CLOUDY: (255, 255, 255, 170),
    Sight.NODATA: (112, 118, 128, 150),
    Sight.FAILED: (230, 60, 150, 190),
    Sight.STRANGE: (245, 146, 30, 180),
}
"""Red, green, blue, opacity, 0..255."""


@dataclass(frozen=True, slots=True)
class Overview:
    """A scene from above."""

    picture: str
    """A WebP, transparent where there is no data."""

    haze: DarkLevel
    """How haze is removed from this scene for people to look at."""


@dataclass(frozen=True, slots=True)
class CloseUp:
    """A detection close up."""

    as_it_is: str
    dehazed: str
    window: Window
    """What they show, in pixels of the scene."""


def overview(plan: Plan, side: int) -> Overview:
    """Show a scene in the model's look, neither side longer than `side` px. Raises ReadError."""
    native, valid = plan.scene.overview(side)
    visual = plan.radiometry.apply(native, valid)
    haze = picture("scene", OMEGA, lambda: (to_reflectance(visual), valid))
    return Overview(_webp(visual, valid), haze)


def close_up(plan: Plan, haze: DarkLevel, window: Window) -> CloseUp:
    """Show a part of a scene in the model's look, as it is and as `geoscan dehaze` shows it. Raises ReadError."""
    native, valid = plan.scene.read(window)
    hazy = plan.radiometry.apply(native, valid)
    clear, _ = dehazed(plan.scene, plan.radiometry, haze, window)
    return CloseUp(_webp(hazy, valid, CLOSE_UP), _webp(clear, valid, CLOSE_UP), window)


def sights(seen: Seen, side: int) -> str:
    """Show what a scan did not see, as a PNG over the whole scene: `COLOURS`, transparent where it saw.

    side: pixels of the longer side; more where the scene has more tiles. Empty where all was seen clearly.
    """
    if (seen.sight == Sight.CLEAR).all():
        return ""
    grid, sight = seen.grid, seen.sight.reshape(seen.grid.shape)
    longer = min(max(side, *grid.shape), _MOST_CELLS)
    scale = longer / max(grid.rows, grid.cols)
    rows, cols = (max(1, round(size * scale)) for size in (grid.rows, grid.cols))
    down, across = (_cells(n, size, grid.stride) for n, size in ((rows, grid.rows), (cols, grid.cols)))
    image = Image.fromarray(sight[np.ix_(down, across)], "P")
    image.putpalette([level for sight in Sight for level in COLOURS[sight][:3]])
    return _uri(image, "png", optimize=True, transparency=bytes(COLOURS[sight][3] for sight in Sight))


def _cells(n: int, size: int, stride: int) -> NDArray[np.int64]:
    """Tile in whose core each of n pixels lies that show a side of `size` px."""
    return (((np.arange(n) + 0.5) * size / n) // stride).astype(np.int64)


def _webp(visual: Visual, valid: Mask, side: int | None = None) -> str:
    """(3, rows, cols) as a picture that is transparent outside of `valid`, no larger than `side` px."""
    bands = visual if valid.all() else np.concatenate([visual, valid[None] * np.uint8(255)])
    image = Image.fromarray(np.ascontiguousarray(bands.transpose(1, 2, 0)))
    if side is not None:
        image.thumbnail((side, side))
    return _uri(image, "webp", quality=_QUALITY)


def _uri(image: Image.Image, kind: str, **options: object) -> str:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"
