"""Flagged tiles into detections: scored polygons in WGS84. Arrays and shapes only, no files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
import scipy.ndimage
import shapely
from affine import Affine
from numpy.typing import NDArray

from geoscan.arrays import Scores
from geoscan.errors import InputError
from geoscan.grid import TileGrid
from geoscan.labels import MINE, WEATHER
from geoscan.model.figures import CUSTOM
from geoscan.outlines import CHIP, Outline, area_ha, areas_ha, outlines, union
from geoscan.states import Review, Status

Outliner: TypeAlias = Callable[[NDArray[np.int32], TileGrid, Affine, Any], list[Outline]]
"""From groups of tiles to their outlines: see `outlines.outlines`."""

_NEIGHBOURS = np.ones((3, 3), int)

MEETING = 2e-5
"""Degrees, 2 m: scenes that adjoin may leave a gap of less between them, as where one UTM zone meets the next."""


@dataclass(frozen=True, slots=True)
class Hysteresis:
    """Scores, 0..1, at which tiles become detections: hysteresis thresholding; `low` <= `high` <= `isolated`.

    Raises InputError when they are out of range or out of order.
    """

    high: float
    """The best tile of a detection scores this or more."""

    low: float
    """Every tile of a detection scores this or more: neighbours join from it on."""

    isolated: float
    """A tile without a neighbour at `low` scores this or more."""

    def __post_init__(self) -> None:
        for name in ("high", "low", "isolated"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise InputError(f"--{name} {value} is not a score; pass one from 0 to 1")
            object.__setattr__(self, name, float(value))
        low, high, isolated = (str(value).removesuffix(".0") for value in (self.low, self.high, self.isolated))
        if self.low > self.high:
            fits = f"0..{high}" if self.high > 0 else "0"
            raise InputError(f"--low {low} is above --high {high}; pass --low {fits}, or a higher --high")
        if self.isolated < self.high:
            fits = f"{high}..1" if self.high < 1 else "1"
            raise InputError(f"--isolated {isolated} is below --high {high}; pass --isolated {fits}, or a lower --high")


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where the detections of one scene come from; it goes into every output."""

    scene: str
    """What the scene is called: its file name, with folders where several scenes of a scan have one name."""

    model: str
    """Name of the model package; empty for outlines that no scan has made."""

    digest: str
    """Digest of the model package."""

    thresholds: Hysteresis

    geoscan: str
    """Version of geoscan."""

    operate: str = CUSTOM
    """Operating point in the model's card that the thresholds are of."""

    tta: bool = False
    """Whether test-time augmentation was used: scores are means over the symmetries of a chip."""

    prior: float | None = None
    """Share of mines among the chips of the scene that `Detection.probability` assumes; None where there is none."""

    outline: str = CHIP
    """What outlines are of, one of `OUTLINES`; empty where an earlier layer does not tell."""

    reading: Mapping[str, str] = field(default_factory=dict)
    """What was taken for granted about the scene: product, bands, values, mask, date."""


@dataclass(frozen=True, slots=True)
class Detection:
    """One polygon: neighbouring flagged tiles."""

    geometry: Outline
    """WGS84 longitude, latitude."""

    score_max: float
    """Highest mine score of its tiles, 0..1."""

    score_mean: float
    """Mean mine score, 0..1; like every mean here each tile counts by the area of its core."""

    probability: float | None
    """Chance that its best tile holds a mine, 0..1; None when the model was not calibrated."""

    n_chips: int
    """How many tiles it joins; of scenes that show the same ground, how many as large would cover it once."""

    area_ha: float
    """Geodesic area on the WGS84 ellipsoid, hectares."""

    other_labels: Mapping[str, float]
    """Other land labels whose mean score reaches their own threshold, and that score."""

    weather: str
    """The weather label with the highest mean score; empty when the model has none."""

    haze: float
    """Mean score of `haze`, 0..1; NaN when the model has no such label."""

    provenance: Provenance
    status: Status | None = None
    """What became of it since an earlier layer; None where there is none."""

    gained_ha: float | None = None
    """Hectares that lie outside of all earlier outlines; None where there is no earlier layer."""

    first_seen: str | None = None
    """Date of the scene in which it was found first, ISO 8601; None where that is not known."""

    review: Review = Review.UNREVIEWED


def flag(scores: NDArray[np.floating[Any]], thresholds: Hysteresis) -> NDArray[np.int32]:
    """Number the groups of neighbouring tiles that are detections.

    scores: (down, across), 0..1; NaN where a tile was not scored.
    Returns (down, across): 0 is not flagged, 1..n the group, in row-major order of its first tile. Tiles that touch
    at a side or a corner are neighbours.
    """
    label, n = scipy.ndimage.label(scores >= thresholds.low, structure=_NEIGHBOURS)
    size = np.bincount(label.ravel(), minlength=n + 1)
    peak = np.zeros(n + 1, scores.dtype)
    np.fmax.at(peak, label.ravel(), scores.ravel())
    keep = np.where(size == 1, peak >= thresholds.isolated, peak >= thresholds.high)
    keep[0] = False
    number = np.where(keep, np.cumsum(keep), 0).astype(np.int32)
    flagged: NDArray[np.int32] = number[label]
    return flagged


def detections(
    grid: TileGrid,
    scores: Scores,
    labels: Sequence[str],
    provenance: Provenance,
    transform: Affine,
    crs: Any,
    *,
    probabilities: NDArray[np.floating[Any]] | None = None,
    label_thresholds: Mapping[str, float] | None = None,
    outliner: Outliner = outlines,
) -> list[Detection]:
    """Join flagged tiles into detections, sorted by their bounds (west, south, east, north).

    scores: (len(grid), len(labels)), 0..1; a row of NaN where a tile was not scored.
    transform: (col, row) of the grid's raster to the coordinates of `crs`.
    probabilities: (len(grid),), chance that a tile holds a mine, 0..1; None where nobody knows.
    outliner: gives the outlines of groups of tiles; the union of their cores unless given.
    label_thresholds: for each label the mean score from which a detection carries it; labels left out are not carried.
    Raises SceneError when a detection has no place in longitude and latitude, ValueError for scores of another shape.
    """
    if scores.shape != (len(grid), len(labels)):
        raise ValueError(f"scores {scores.shape} do not fit {len(grid)} tiles and {len(labels)} labels")
    mine = list(labels).index(MINE)
    groups = flag(scores[:, mine].reshape(grid.shape), provenance.thresholds)
    if not groups.any():
        return []
    members = _Members.of(groups, grid)
    shapes = outliner(groups, grid, transform, crs)
    area = areas_ha(shapes)
    means = {label: members.mean(scores[:, column]) for column, label in enumerate(labels)}
    highest = members.highest(scores[:, mine])
    chance = None if probabilities is None else members.highest(probabilities)
    weathers = [label for label in WEATHER if label in labels]
    land = {label: means[label] for label in labels if label not in (MINE, *WEATHER)}
    least = {label: (label_thresholds or {}).get(label, np.inf) for label in land}
    found = [
        Detection(
            geometry=shape,
            score_max=float(highest[n]),
            score_mean=float(means[MINE][n]),
            probability=None if chance is None else float(chance[n]),
            n_chips=int(members.count[n]),
            area_ha=float(area[n]),
            other_labels={label: float(mean[n]) for label, mean in land.items() if mean[n] >= least[label]},
            weather=max(weathers, key=lambda label, n=n: means[label][n], default=""),  # type: ignore[misc]
            haze=float(means["haze"][n]) if "haze" in means else float("nan"),
            provenance=provenance,
        )
        for n, shape in enumerate(shapes)
    ]
    bounds, bytes_ = shapely.bounds(shapes).tolist(), shapely.to_wkb(shapes).tolist()
    return [found[n] for n in sorted(range(len(found)), key=lambda n: (bounds[n], bytes_[n]))]


@dataclass(frozen=True, slots=True)
class _Members:
    """The tiles of groups, one group after the other."""

    tiles: NDArray[np.int64]
    starts: NDArray[np.int64]
    """(groups,): where each begins among the tiles."""

    area: NDArray[np.float64]
    """(tiles,): pixels of the core of each."""

    @classmethod
    def of(cls, groups: NDArray[np.int32], grid: TileGrid) -> _Members:
        """Sort the tiles of groups 1..n."""
        flat = groups.ravel()
        tiles = np.flatnonzero(flat)
        tiles = tiles[np.argsort(flat[tiles], kind="stable")]
        starts = np.flatnonzero(np.diff(flat[tiles], prepend=0))
        return cls(tiles, starts, grid.areas(tiles).astype(float))

    @property
    def count(self) -> NDArray[np.int64]:
        """(groups,): tiles of each."""
        return np.diff(self.starts, append=len(self.tiles))

    def mean(self, values: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Mean of a value of all tiles of the scene over each group, by the area of the cores."""
        summed: NDArray[np.float64] = np.add.reduceat(self.area * values[self.tiles], self.starts)
        return summed / np.add.reduceat(self.area, self.starts)

    def highest(self, values: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
        """Highest of a value of all tiles of the scene in each group."""
        return np.maximum.reduceat(values[self.tiles], self.starts)


def joined(scenes: Sequence[Sequence[Detection]]) -> list[Detection]:
    """Join detections of different scenes that meet or overlap: they are of one mine.

    scenes: detections of each scene, in the order in which the scenes were given.
    Returns them scene by scene. A joined one stands where its first part stood and has the union of the outlines, the
    chips that cover it once, and the names of its scenes separated by commas; scores are the highest or the mean,
    weighted by area, as in a single one. What made it (model, thresholds) is that of the part with the highest score.
    """
    every = [one for found in scenes for one in found]
    of_scene = np.repeat(np.arange(len(scenes)), [len(found) for found in scenes])
    shapes = np.array([one.geometry for one in every], object)
    one, other = shapely.STRtree(shapes).query(shapes, "dwithin", MEETING)
    apart = of_scene[one] != of_scene[other]
    if not apart.any():
        return every
    # scipy's graphs take a while to import: only where scenes meet
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(apart.sum(), np.int8), (one[apart], other[apart])), shape=(len(every),) * 2)
    _, label = connected_components(graph, directed=False)
    groups: dict[int, list[Detection]] = {}
    for detection, number in zip(every, label.tolist(), strict=True):
        groups.setdefault(number, []).append(detection)
    return [_union(group) if len(group) > 1 else group[0] for group in groups.values()]


def _union(parts: Sequence[Detection]) -> Detection:
    """One detection of several."""
    geometry = union([one.geometry for one in parts])
    area = area_ha(geometry)
    weights = np.array([one.area_ha for one in parts])
    best = max(parts, key=lambda one: one.score_max)
    largest = max(parts, key=lambda one: one.area_ha)
    chances = [one.probability for one in parts if one.probability is not None]
    labels: dict[str, float] = {}
    for one in parts:
        labels |= {label: max(score, labels.get(label, 0.0)) for label, score in one.other_labels.items()}
    scenes = dict.fromkeys(one.provenance.scene for one in parts)
    return Detection(
        geometry=geometry,
        score_max=best.score_max,
        score_mean=float(weights @ [one.score_mean for one in parts] / weights.sum()),
        probability=max(chances, default=None),
        # hectares a chip stay: however often ground was seen, it is no more of it
        n_chips=max(1, round(sum(one.n_chips for one in parts) * area / weights.sum())),
        area_ha=area,
        other_labels=labels,
        weather=largest.weather,
        haze=float(weights @ [one.haze for one in parts] / weights.sum()),
        provenance=replace(best.provenance, scene=", ".join(scenes)),
    )


def properties(detection: Detection) -> dict[str, str | int | float | None]:
    """The flat attributes of a detection, in the order of the columns; the same in every format.

    Scores, chances and hectares have 4 decimals, so that the last bits of a float do not change a file.
    """
    source = detection.provenance
    return {
        "scene": source.scene,
        "score_max": _rounded(detection.score_max),
        "score_mean": _rounded(detection.score_mean),
        "probability": _rounded(detection.probability),
        "n_chips": detection.n_chips,
        "area_ha": round(detection.area_ha, 4),
        "other_labels": ",".join(detection.other_labels),
        "other_scores": ",".join(f"{score:.4f}" for score in detection.other_labels.values()),
        "weather": detection.weather,
        "haze": _rounded(detection.haze),
        "status": None if detection.status is None else detection.status.value,
        "gained_ha": _rounded(detection.gained_ha),
        "first_seen": detection.first_seen,
        "review": detection.review.value,
        **described(source),
    }


def _rounded(value: float | None) -> float | None:
    """To 4 decimals; None for what is not known."""
    return None if value is None or np.isnan(value) else round(value, 4)


def described(source: Provenance) -> dict[str, str | float | bool | None]:
    """What was scanned, with what and how, as flat attributes; nothing of what no scan has made."""
    facts: dict[str, str | float | bool | None] = {
        "model": source.model,
        "digest": source.digest,
        "operate": source.operate,
        "threshold_high": source.thresholds.high,
        "threshold_low": source.thresholds.low,
        "threshold_isolated": source.thresholds.isolated,
        "tta": source.tta,
        "prior": source.prior,
        "geoscan": source.geoscan,
    }
    return facts if source.model else dict.fromkeys(facts) | {"tta": False}
