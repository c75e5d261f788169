"""What stored values mean: how they become reflectance, by what is asked for, by metadata, or by the pixels themselves.

Files hold reflectance as 0..1, as integers x 10,000, or as these plus 1,000 (ESA's since January 2022), and many do not
say which. Dark water, shadow and forest do: some ground in every scene reflects next to nothing in red light.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from geoscan import gdal
from geoscan.errors import RadiometryError, ReadError
from geoscan.grid import Window
from geoscan.products import Levels, Scaling

if TYPE_CHECKING:
    from geoscan.scene import Scene

Values: TypeAlias = NDArray[np.float64]
"""(3, n): red, green, blue of some pixels that are no nodata, in the scene's own units."""

_TEN_THOUSAND: Final = 1e-4
"""Scale of reflectance that is stored x 10,000, as nearly all makers do."""

_ADDED: Final = 1000.0
"""What ESA adds to the stored values since processing baseline 04.00."""

DARK_PERCENT: Final = 0.5
_DARKEST_SHIFTED: Final = 950.0
"""Where the darkest half percent of red is not below this, 1,000 was added. In 43 scenes of 256 real chips each it is
471 at most without, and 1,000 at least with it (tests/benchmarks/test_scaling_real.py)."""

_NEGATIVE: Final = -0.02
"""Reflectance of the darkest half percent of red under which an offset was taken off twice."""

_MOST_REFLECTED: Final = 2.0
"""Glint and snow under a low sun reflect more than 1; more than this is no reflectance."""

_DARKEST_RADIANCE: Final = 1200.0
"""Planet's radiance x 100 has nothing darker in blue, for the air itself shines; surface reflectance of forest has."""

_SIDE, _WINDOWS = 128, 5
"""Pixels are taken from 5 x 5 windows of 128 px at most, spread over the scene: an average would hide what is dark."""


def scaling_of(scene: Scene, scale: Levels | None = None, offset: Levels | None = None) -> Scaling | None:
    """Tell how the stored values of a scene become reflectance; None for 8-bit pictures, Planet's radiance, and values
    that fit nothing known.

    scale, offset: what is asked for; it goes before metadata, and metadata before the pixels. Metadata whose offset was
    taken off already is found out.
    Raises ReadError when the pixels cannot be read, RadiometryError for a scale of 0.
    """
    if scale is not None or offset is not None:
        return _asked(scale, offset)
    stated = scene.product.scaling
    if scene.dtype == "uint8" and stated is None:
        return None
    if scene.product.kind.startswith("PlanetScope analytic"):
        return None
    values = sample(scene)
    if not values.size:
        return stated
    return _checked(stated, values) if stated else _seen(scene, values)


def sample(scene: Scene) -> Values:
    """Take pixels at full resolution from windows spread over the scene, nodata left out.

    So is what is damaged in a local file: a scan names it. Raises ReadError when a server does not give them.
    """
    parts = []
    for down in range(_WINDOWS):
        for across in range(_WINDOWS):
            rows, cols = min(_SIDE, scene.rows), min(_SIDE, scene.cols)
            row = round((scene.rows - rows) * down / (_WINDOWS - 1))
            col = round((scene.cols - cols) * across / (_WINDOWS - 1))
            try:
                native, valid = scene.read(Window(row, col, rows, cols))
            except ReadError:
                if gdal.is_remote(scene.address):
                    raise
                continue
            parts.append(native[:, valid].astype(np.float64))
    return np.concatenate(parts, axis=1) if parts else np.empty((3, 0))


def described(scaling: Scaling | None) -> str:
    """Say in words how values become reflectance."""
    if scaling is None:
        return "values as they are"
    scale, offset = (_short(numbers) for numbers in (scaling.scale, scaling.offset))
    added = "" if not any(scaling.offset) else f" + {offset}" if not offset.startswith("-") else f" - {offset[1:]}"
    return f"reflectance = value x {scale}{added} ({scaling.source})"


def _short(numbers: Levels) -> str:
    texts = [f"{number:.6g}" for number in numbers]
    return texts[0] if len(set(texts)) == 1 else "/".join(texts)


def _asked(scale: Levels | None, offset: Levels | None) -> Scaling:
    if scale is not None and not all(scale):
        raise RadiometryError("a scale of 0 makes everything black; pass --scale 0.0001 for integers x 10,000")
    return Scaling(scale or (1.0,) * 3, offset or (0.0,) * 3, "option")


def _checked(stated: Scaling, values: Values) -> Scaling:
    """Leave out an offset that was taken off already: with it the darkest ground would reflect less than nothing."""
    dark = float(np.percentile(values[0], DARK_PERCENT)) * stated.scale[0] + stated.offset[0]
    if stated.offset[0] < 0 and dark < _NEGATIVE:
        return replace(stated, offset=(0.0, 0.0, 0.0), source="pixels")
    return stated


def _seen(scene: Scene, values: Values) -> Scaling | None:
    """Tell from the pixels alone."""
    high = float(np.percentile(values, 99.9))
    if np.issubdtype(np.dtype(scene.dtype), np.floating) and high <= _MOST_REFLECTED:
        return Scaling((1.0,) * 3, (0.0,) * 3, "pixels")
    # Values of a picture, in a type that is too large for it, or of neither kind.
    if high <= 255 or high * _TEN_THOUSAND > _MOST_REFLECTED + _ADDED * _TEN_THOUSAND:
        return None
    red, _, blue = np.percentile(values, DARK_PERCENT, axis=1)
    if scene.planet and blue >= _DARKEST_RADIANCE:
        return None
    offset = -_ADDED * _TEN_THOUSAND if red >= _DARKEST_SHIFTED else 0.0
    return Scaling((_TEN_THOUSAND,) * 3, (offset,) * 3, "pixels")
