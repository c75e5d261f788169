"""Flagged tiles into detections: scored polygons in WGS84. Arrays and shapes only, no files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
import pyproj
import scipy.ndimage
import shapely
import shapely.affinity
from affine import Affine
from numpy.typing import NDArray
from shapely.geometry import MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry
from shapely.geometry.polygon import orient

from geoscan.arrays import Scores
from geoscan.errors import InputError, SceneError
from geoscan.grid import TileGrid
from geoscan.labels import MINE, WEATHER
from geoscan.model.figures import CUSTOM

Points: TypeAlias = NDArray[np.float64]
"""(n, 2): x, y, or longitude, latitude."""

Projector: TypeAlias = Callable[[Points], Points]

Outline: TypeAlias = Polygon | MultiPolygon
"""WGS84 longitude, latitude; exterior rings counter-clockwise; cut at the antimeridian."""

_SAG_M = 1e-3
"""How far a straight line in the scene's CRS may lie from one in longitude and latitude."""

_DECIMALS = 9
"""Of a degree: 0.1 mm. The usual 7 (1 cm) would move the area of a single chip by more than 1 in a million."""

_METRES_PER_DEGREE = 111_320.0
_GEOD = pyproj.Geod(ellps="WGS84")
_NEIGHBOURS = np.ones((3, 3), int)

_MEETING = 2e-5
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
        if self.low > self.high:
            raise InputError(f"--low {self.low} is above --high {self.high}; pass --low 0..{self.high}")
        if self.isolated < self.high:
            raise InputError(f"--isolated {self.isolated} is below --high {self.high}; pass --isolated {self.high}..1")


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where the detections of one scene come from; it goes into every output."""

    scene: str
    """What the scene is called: its file name, with folders where several scenes of a scan have one name."""

    model: str
    """Name of the model package."""

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

    reading: Mapping[str, str] = field(default_factory=dict)
    """What was taken for granted about the scene: product, bands, values, mask, date."""

    failed: Sequence[str] = ()
    """Causes why chips could not be read, one a chip."""


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
    """How many tiles it joins."""

    area_ha: float
    """Geodesic area on the WGS84 ellipsoid, hectares."""

    other_labels: Mapping[str, float]
    """Other land labels whose mean score reaches their own threshold, and that score."""

    weather: str
    """The weather label with the highest mean score; empty when the model has none."""

    haze: float
    """Mean score of `haze`, 0..1; NaN when the model has no such label."""

    provenance: Provenance


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
) -> list[Detection]:
    """Join flagged tiles into detections, sorted by their bounds (west, south, east, north).

    scores: (len(grid), len(labels)), 0..1; a row of NaN where a tile was not scored.
    transform: (col, row) of the grid's raster to the coordinates of `crs`.
    probabilities: (len(grid),), chance that a tile holds a mine, 0..1; None where nobody knows.
    label_thresholds: for each label the mean score from which a detection carries it; labels left out are not carried.
    Raises SceneError when a detection has no place in longitude and latitude, ValueError for scores of another shape.
    """
    if scores.shape != (len(grid), len(labels)):
        raise ValueError(f"scores {scores.shape} do not fit {len(grid)} tiles and {len(labels)} labels")
    mine = list(labels).index(MINE)
    groups = flag(scores[:, mine].reshape(grid.shape), provenance.thresholds).ravel()
    order = np.argsort(groups, kind="stable")
    members = np.split(order, np.searchsorted(groups[order], np.arange(1, groups.max() + 1)))[1:]
    project = projector(crs)
    found = []
    for tiles in members:
        cores = grid.cores(tiles)
        area = cores[:, 2:].prod(axis=1).astype(float)
        means = dict(zip(labels, (area @ scores[tiles].astype(float) / area.sum()).tolist(), strict=True))
        weather = {label: means[label] for label in WEATHER if label in means}
        geometry = outline(cores, transform, project)
        passed = {
            label: means[label]
            for label in labels
            if label not in (MINE, *WEATHER) and means[label] >= (label_thresholds or {}).get(label, np.inf)
        }
        found.append(
            Detection(
                geometry=geometry,
                score_max=float(scores[tiles, mine].max()),
                score_mean=means[MINE],
                probability=None if probabilities is None else float(probabilities[tiles].max()),
                n_chips=len(tiles),
                area_ha=area_ha(geometry),
                other_labels=passed,
                weather=max(weather, key=weather.__getitem__, default=""),
                haze=means.get("haze", float("nan")),
                provenance=provenance,
            )
        )
    return sorted(found, key=lambda one: (one.geometry.bounds, one.geometry.wkb))


def outline(cores: NDArray[np.int64], transform: Affine, to_lonlat: Projector) -> Outline:
    """The union of cores, in WGS84 longitude and latitude, RFC 7946: valid, wound, cut at the antimeridian.

    cores: (n, 4), row, col, rows, cols. transform: (col, row) to what `to_lonlat`, from `projector`, takes.
    Edges get as many vertices as keep them within 1 mm of the straight edges in that CRS, so that the area is the
    cores'. A union around a pole includes the pole. Raises SceneError when it has no place in longitude and latitude.
    """
    union = shapely.union_all(shapely.box(*_strips(cores).T))
    polygons = []
    for part in _polygons(union):
        rings = [shapely.get_coordinates(ring) for ring in (part.exterior, *part.interiors)]
        polygons += _on_globe([_place(_turns(ring), transform, to_lonlat) for ring in rings])
    return _finished(MultiPolygon(polygons))


def _strips(cores: NDArray[np.int64]) -> NDArray[np.float64]:
    """Boxes (west, north, east, south) of cores that follow one another in a row, (n, 4): a union of fewer is fast."""
    row, col, rows, cols = cores[np.lexsort((cores[:, 1], cores[:, 0]))].T
    goes_on = (row[1:] == row[:-1]) & (rows[1:] == rows[:-1]) & (col[1:] == col[:-1] + cols[:-1])
    first, last = np.insert(~goes_on, 0, True), np.append(~goes_on, True)
    boxes = [col[first], row[first], (col + cols)[last], (row + rows)[last]]
    return np.column_stack(boxes).astype(float)


def joined(scenes: Sequence[Sequence[Detection]]) -> list[Detection]:
    """Join detections of different scenes that meet or overlap: they are of one mine.

    scenes: detections of each scene, in the order in which the scenes were given.
    Returns them scene by scene. A joined one stands where its first part stood and has the union of the outlines, the
    sum of the chips, and the names of its scenes separated by commas; scores are the highest or the mean, weighted by
    area, as in a single one. What made it (model, thresholds) is that of the part with the highest score.
    """
    every = [one for found in scenes for one in found]
    of_scene = np.repeat(np.arange(len(scenes)), [len(found) for found in scenes])
    shapes = np.array([one.geometry for one in every], object)
    one, other = shapely.STRtree(shapes).query(shapes, "dwithin", _MEETING)
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
    geometry = _finished(shapely.union_all([one.geometry for one in parts]))
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
        n_chips=sum(one.n_chips for one in parts),
        area_ha=area_ha(geometry),
        other_labels=labels,
        weather=largest.weather,
        haze=float(weights @ [one.haze for one in parts] / weights.sum()),
        provenance=replace(best.provenance, scene=", ".join(scenes)),
    )


def _finished(geometry: BaseGeometry) -> Outline:
    """Round, mend, sort and wind: the same ground, the same bytes."""
    rounded = shapely.transform(geometry, _round)
    valid = rounded if rounded.is_valid else shapely.make_valid(rounded)
    wound = [orient(polygon) for polygon in _polygons(shapely.normalize(valid))]
    return wound[0] if len(wound) == 1 else MultiPolygon(wound)


def area_ha(geometry: Outline) -> float:
    """Geodesic area on the WGS84 ellipsoid, hectares."""
    # Long edges are cut first: what is straight in longitude and latitude is not a geodesic.
    area, _ = _GEOD.geometry_area_perimeter(shapely.segmentize(geometry, 0.01))
    return abs(float(area)) / 1e4


def properties(detection: Detection) -> dict[str, str | int | float | None]:
    """The flat attributes of a detection, in the order of the columns; the same in every format.

    Scores, chances and hectares have 4 decimals, so that the last bits of a float do not change a file.
    """
    source = detection.provenance
    return {
        "scene": source.scene,
        "score_max": round(detection.score_max, 4),
        "score_mean": round(detection.score_mean, 4),
        "probability": None if detection.probability is None else round(detection.probability, 4),
        "n_chips": detection.n_chips,
        "area_ha": round(detection.area_ha, 4),
        "other_labels": ",".join(detection.other_labels),
        "other_scores": ",".join(f"{score:.4f}" for score in detection.other_labels.values()),
        "weather": detection.weather,
        "haze": None if np.isnan(detection.haze) else round(detection.haze, 4),
        **described(source),
    }


def described(source: Provenance) -> dict[str, str | float | bool | None]:
    """What was scanned, with what and how, as flat attributes."""
    return {
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


def projector(crs: Any) -> Projector:
    """Make what brings coordinates of `crs` to longitude and latitude; it raises SceneError for those that have none.

    To make it takes as long as to place hundreds of outlines.
    """
    transformer = pyproj.Transformer.from_crs(pyproj.CRS.from_user_input(crs), "OGC:CRS84", always_xy=True)

    def project(points: Points) -> Points:
        lonlat = np.column_stack(transformer.transform(points[:, 0], points[:, 1]))
        if not np.isfinite(lonlat).all():
            x, y = points[~np.isfinite(lonlat).all(axis=1)][0]
            raise SceneError(
                f"({x:.6g}, {y:.6g}) in {crs} has no longitude and latitude; check the scene's georeference"
            )
        return lonlat

    return project


def _turns(ring: Points) -> Points:
    """The closed ring without the vertices at which it runs straight on; exact for whole-numbered coordinates."""
    points = ring[:-1]
    before, after = points - np.roll(points, 1, axis=0), np.roll(points, -1, axis=0) - points
    kept = points[before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]]
    return np.vstack([kept, kept[:1]])


def _place(ring: Points, transform: Affine, to_lonlat: Projector) -> Points:
    """A closed ring of (col, row) as closed longitude, latitude, with vertices added where its edges are curved."""
    linear = np.array([[transform.a, transform.b], [transform.d, transform.e]])
    points = ring @ linear.T + (transform.c, transform.f)
    lonlat = to_lonlat(points)
    for _ in range(5):  # the sagitta falls with the square of the pieces, so one round is enough but near a pole
        pieces = np.ceil(np.sqrt(_sagitta(points, lonlat, to_lonlat) / _SAG_M)).clip(1, 1000).astype(int)
        if (pieces == 1).all():
            break
        edge = np.repeat(np.arange(len(pieces)), pieces)
        step = np.arange(len(edge)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
        share = (step / pieces[edge])[:, None]
        points = np.vstack([points[edge] * (1 - share) + points[edge + 1] * share, points[-1:]])
        lonlat = to_lonlat(points)
    return lonlat


def _sagitta(points: Points, lonlat: Points, to_lonlat: Projector) -> NDArray[np.float64]:
    """(edges,): metres between each edge, straight in its CRS, and the straight line in longitude, latitude."""
    share = np.array([0.25, 0.5, 0.75])[:, None, None]

    def between(ends: Points) -> NDArray[np.float64]:
        along: NDArray[np.float64] = ends[:-1] * (1 - share) + ends[1:] * share
        return along

    true = to_lonlat(between(points).reshape(-1, 2)).reshape(3, -1, 2)
    off = true - between(_unwrapped(lonlat))
    off[..., 0] = (off[..., 0] + 180) % 360 - 180
    off[..., 0] *= np.cos(np.radians(true[..., 1]))
    worst: NDArray[np.float64] = np.hypot(off[..., 0], off[..., 1]).max(axis=0)
    return worst * _METRES_PER_DEGREE


def _unwrapped(lonlat: Points) -> Points:
    """Points whose longitude runs on past 180 instead of jumping to -180."""
    laps = np.cumsum(np.rint(np.diff(lonlat[:, 0], prepend=lonlat[0, 0]) / 360))
    return np.column_stack([lonlat[:, 0] - 360 * laps, lonlat[:, 1]])


def _on_globe(rings: Sequence[Points]) -> list[Polygon]:
    """One polygon of closed longitude, latitude rings, the exterior first, cut at the antimeridian.

    Not left to the `antimeridian` package (0.4.9): it fails on a hole across the antimeridian, and answers with a
    part without area where an edge lies on it.
    """
    around = [_unwrapped(ring) for ring in rings]
    if all(np.abs(ring[:, 0]).max() <= 180 and ring[0, 0] == ring[-1, 0] for ring in around):
        return [Polygon(around[0], around[1:])]
    exterior, *holes = (shapely.union_all(_cut(ring)) for ring in around)
    return _polygons(exterior.difference(shapely.union_all(holes)))


def _cut(ring: Points) -> list[Polygon]:
    """The inside of an unwrapped ring, in parts from -180 to 180."""
    if ring[0, 0] != ring[-1, 0]:  # once around the globe: close it over the pole
        pole = np.copysign(90, ring[:, 1].mean())
        ring = np.vstack([ring, [(ring[-1, 0], pole), (ring[0, 0], pole), ring[0]]])
    inside, west, east = Polygon(ring), ring[:, 0].min(), ring[:, 0].max()
    parts = []
    for lap in range(int((west + 180) // 360), int((east + 180) // 360) + 1):
        part = inside.intersection(shapely.box(360 * lap - 180, -90, 360 * lap + 180, 90))
        parts += [shapely.affinity.translate(polygon, -360 * lap) for polygon in _polygons(part)]
    return parts


def _polygons(geometry: BaseGeometry) -> list[Polygon]:
    """The polygons in a geometry, without the points and lines that an intersection leaves."""
    parts = shapely.get_parts(shapely.get_parts(geometry))  # twice: a collection may hold a multipolygon
    return [part for part in parts if isinstance(part, Polygon) and part.area > 0]


def _round(points: Points) -> Points:
    return np.round(points, _DECIMALS) + 0.0  # no -0.0 in a file
