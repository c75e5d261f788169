"""Where a scan did not see well, and why: cores of tiles, joined where they touch and have one cause."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from geoscan.layers.attributes import Attribute, columns
from geoscan.seen import Seen, Sight

if TYPE_CHECKING:
    import geopandas
    from numpy.typing import NDArray

    from geoscan.outlines import Outline

LAYER: Final = "obscured"

CAUSES: Final[Mapping[int, str]] = {
    Sight.HAZY: "haze",
    Sight.CLOUDY: "cloud",
    Sight.NODATA: "nodata",
    Sight.FAILED: "failed",
    Sight.STRANGE: "not understood",
}
"""What people call them."""

ATTRIBUTES: Final = {
    "scene": Attribute("str", "file name of the scene, with folders where several scenes have one name"),
    "cause": Attribute("str", "why it was not seen well: cloud, haze, nodata, failed or not understood"),
    "observed": Attribute("float64", "share of it that was seen all the same, 0 to 1; of haze what is not nodata"),
    "n_chips": Attribute("int64", "number of chips that it joins"),
    "area_ha": Attribute("float64", "geodesic area in hectares"),
    "failure": Attribute("str", "why its first chip could not be read; empty for other causes"),
}

_PARTLY: Final = max(Sight) + 1
"""Seen, or through haze, but for some nodata."""


def frame(scenes: Sequence[Seen]) -> geopandas.GeoDataFrame:
    """Give what was not seen well as a table: `ATTRIBUTES`, and outlines in EPSG:4326, each a MultiPolygon.

    Cores that are nodata in part, through haze too, are of the cause nodata, apart from those that are nodata all over;
    `observed` tells.
    Raises SceneError when one has no place in longitude and latitude.
    """
    import geopandas

    from geoscan.layers.multi import multi

    found = features(scenes)
    shapes = geopandas.GeoSeries([multi(shape) for _, shape in found], crs="EPSG:4326")
    return geopandas.GeoDataFrame(columns([row for row, _ in found], ATTRIBUTES), geometry=shapes)


def features(scenes: Sequence[Seen]) -> list[tuple[dict[str, Any], Outline]]:
    """Give what was not seen well: attributes and outline, scene by scene; for the rest see `frame`."""
    return [one for seen in scenes for one in _of_scene(seen)]


def observed_pixels(seen: Seen) -> NDArray[np.int64]:
    """(len(grid),): pixels of each core that were observed, as the figures of a scan count them."""
    return np.where(seen.sight <= Sight.HAZY, seen.observed, 0)


def _of_scene(seen: Seen) -> Iterator[tuple[dict[str, Any], Outline]]:
    """Attributes and outline of each part of a scene that was not seen well, by cause and then from the upper left."""
    from geoscan.outlines import areas_ha, outlines

    groups, kinds = _groups(seen)
    if not kinds:
        return
    shapes = outlines(groups, seen.grid, seen.transform, seen.crs)
    flat = groups.ravel()
    chips = np.bincount(flat)[1:]
    share = np.bincount(flat, observed_pixels(seen))[1:] / np.bincount(flat, seen.grid.areas())[1:]
    texts = _failures(seen, flat)
    for n, (kind, shape, area) in enumerate(zip(kinds, shapes, areas_ha(shapes), strict=True)):
        row = {
            "scene": seen.provenance.scene,
            "cause": CAUSES[Sight.NODATA if kind == _PARTLY else kind],
            "observed": round(float(share[n]), 4),
            "n_chips": int(chips[n]),
            "area_ha": round(float(area), 4),
            "failure": texts.get(n + 1, ""),
        }
        yield row, shape


def _groups(seen: Seen) -> tuple[NDArray[np.int32], list[int]]:
    """Number what touches and has one cause, 1..n, (down, across), 0 where all was seen; and the kind of each."""
    import scipy.ndimage

    partly = (seen.sight <= Sight.HAZY) & ~seen.whole
    kind = np.where(partly, _PARTLY, seen.sight).reshape(seen.grid.shape)
    groups = np.zeros(seen.grid.shape, np.int32)
    kinds: list[int] = []
    for value in (*CAUSES, _PARTLY):
        label, n = scipy.ndimage.label(kind == value, structure=np.ones((3, 3), int))
        groups += np.where(label > 0, label + len(kinds), 0).astype(np.int32)
        kinds += [int(value)] * n
    return groups, kinds


def _failures(seen: Seen, groups: NDArray[np.int32]) -> dict[int, str]:
    """Say of each group of tiles that could not be read why: the first text, and how many others there are."""
    texts: dict[int, dict[str, None]] = {}
    for tile, text in seen.failed.items():
        texts.setdefault(int(groups[tile]), {})[text] = None
    return {
        group: next(iter(some)) + (f" (and {len(some) - 1:,} more)" if len(some) > 1 else "")
        for group, some in texts.items()
    }
