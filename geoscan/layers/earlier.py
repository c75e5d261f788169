"""An earlier layer, of a scan or of known places, as detections."""

from __future__ import annotations

import logging
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np
import shapely

from geoscan.errors import InputError, one_line
from geoscan.layers.about import dates_in, outlines_in
from geoscan.layers.chips import LAYER as CHIPS
from geoscan.layers.detections import NAMES
from geoscan.layers.reading import column_names, layer_names, read_table, read_where, readable
from geoscan.outlines import polygons_in
from geoscan.states import Review, Status

if TYPE_CHECKING:
    import geopandas
    from shapely.geometry import Polygon

    from geoscan.outlines import Outline
    from geoscan.polygons import Detection, Provenance

log = logging.getLogger(__name__)

_SEEN_THROUGH: Final = "haz"
"""How the one cause in the layer `obscured` begins that hides nothing."""

_DAY: Final = re.compile(r"\d{4}-\d\d(-\d\d)?")

_MISSING: Final = ("None", "nan", "NaT", "<NA>")
"""What pandas has where there is nothing, as text."""

_MOST_CHIPS: Final = 2**31

_Word = TypeVar("_Word", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class Earlier:
    """A layer that was written before."""

    path: Path
    detections: list[Detection]
    """Its polygons, as far as its columns tell: where they do not, `score_max` is NaN, `n_chips` 0, and
    `provenance.model` empty, as is `provenance.outline` where the file does not tell. `first_seen` is filled from the
    date of the scene."""

    dates: Mapping[str, str]
    """When each scene was taken, by its name, ISO 8601; as far as the file tells."""


@dataclass(frozen=True, slots=True)
class _Facts:
    """What a file tells of scenes, by their names."""

    dates: Mapping[str, str]
    outlines: Mapping[str, str]

    def outline_of(self, scene: str) -> str:
        """Say what an outline is of; empty where the scenes that it comes from do not agree, or are not known."""
        names = [scene] if scene in self.outlines else scene.split(", ")
        kinds = {self.outlines.get(name, "") for name in names}
        return kinds.pop() if len(kinds) == 1 else ""


def read(path: Path) -> Earlier:
    """Read the polygons of a layer, in any CRS, with or without our columns; those without a place are left out.

    Shapes that lie apart in one feature without `n_chips` are detections of their own: somebody has joined known mines.
    Raises InputError for what is no layer of polygons, has no CRS, or is too large.
    """
    from geoscan.outlines import areas_ha

    frame, told = read_table(path, NAMES)
    facts = _Facts(dates_in(told), outlines_in(told))
    with readable(path):  # columns are decoded when they are looked at
        _check_columns(path, frame)
        rows = frame.drop(columns=frame.geometry.name).to_dict("records")
        shapes = _outlines(path, frame, [not _chips(row) for row in rows])
    usable = [(row, shape) for row, of_one in zip(rows, shapes, strict=True) for shape in of_one]
    if lost := sum(not of_one for of_one in shapes):
        said = f"{lost:,} of the {len(rows):,} features in {path} are no polygons on the globe"
        if not usable:
            raise InputError(f"{said}; give a layer of polygons")
        log.warning("%s, and are left out", said)
    areas = areas_ha([shape for _, shape in usable]).tolist() if usable else []
    found = [_detection(row, shape, area, facts) for (row, shape), area in zip(usable, areas, strict=True)]
    return Earlier(path, found, facts.dates)


def reviews_in(path: Path, words: Sequence[Any]) -> list[Review]:
    """Read what people said of detections; nothing is `unreviewed`. Raises InputError for other words than ours."""
    said = [_text(word).strip().lower() or str(Review.UNREVIEWED) for word in words]
    if wrong := Counter(word for word in said if word not in set(Review)):
        named = ", ".join(f"{one_line(word)[:40]!r} ({count})" for word, count in wrong.most_common(3))
        raise InputError(f"{path}: `review` holds {named}; the words that fit are {', '.join(map(str, Review))}")
    return [Review(word) for word in said]


def _check_columns(path: Path, frame: geopandas.GeoDataFrame) -> None:
    """Raise InputError for a review in a layer of ours that nobody understands, and warn of a date; of columns of
    somebody else's layer, warn alone.
    """
    if "review" in frame:
        try:
            reviews_in(path, frame["review"].tolist())
        except InputError as error:
            if "digest" in frame:
                raise
            log.warning("%s; so they count as %s", error, Review.UNREVIEWED)
    if "first_seen" in frame:
        texts = [text for value in frame["first_seen"].tolist() if (text := _text(value))]
        if wrong := [text for text in texts if not _DAY.match(text)]:
            log.warning(
                "%s: `first_seen` holds %r, which is no date such as 2023-06-01; %d of these count as unknown",
                path,
                wrong[0][:40],
                len(wrong),
            )


def ground_of(path: Path) -> Sequence[Outline] | None:
    """Give what the scenes of a layer showed, in parts that may overlap: what its file has as `footprint`, without
    `obscured` but for haze, and without chips that are partly cloudy, see `changes.seen_ground`.

    What one scene does not show another may. None where the file does not tell. Raises InputError where it cannot be
    read.
    """
    if path.suffix.lower() != ".gpkg" or not {"footprint", "obscured"} <= set(layer_names(path)):
        return None
    whole, hidden = (read_table(path, [name])[0] for name in ("footprint", "obscured"))
    with readable(path):
        if "cause" in hidden.columns:
            hides = [not str(cause).lower().startswith(_SEEN_THROUGH) for cause in hidden["cause"]]
            hidden = hidden.loc[np.array(hides, bool)]
        shown, *less = (_by_scene(path, one) for one in (whole, hidden, _partly_cloudy(path)) if one is not None)
        # What hides ground, and is of no scene that is known, may hide any of it.
        nobodys = [shape for of in less for scene, shapes in of.items() if scene not in shown for shape in shapes]
        found = []
        for scene, shapes in shown.items():
            hiding = [*nobodys, *(shape for of in less for shape in of.get(scene, []))]
            found += polygons_in(shapely.difference(shapely.union_all(shapes), shapely.union_all(hiding)))
        return found


def _partly_cloudy(path: Path) -> geopandas.GeoDataFrame | None:
    """Give the chips of a GeoPackage whose likeliest weather is partly cloudy; None where it does not tell."""
    from geoscan.changes import PARTLY_CLOUDY
    from geoscan.labels import WEATHER

    if CHIPS not in layer_names(path):
        return None
    there = set(column_names(path, CHIPS))
    others = [f'"{PARTLY_CLOUDY}" >= "{label}"' for label in WEATHER if label != PARTLY_CLOUDY and label in there]
    if not {PARTLY_CLOUDY, "scene"} <= there or not others:
        return None
    return read_where(path, CHIPS, " AND ".join(others))


def _by_scene(path: Path, frame: geopandas.GeoDataFrame) -> dict[str, list[Outline]]:
    """Give outlines by the scene that they are of; by no name where the layer does not tell."""
    found: dict[str, list[Outline]] = {}
    names = frame["scene"].tolist() if "scene" in frame else [""] * len(frame)
    for name, shapes in zip(names, _outlines(path, frame), strict=True):
        found.setdefault(_text(name), []).extend(shapes)
    return found


def _outlines(path: Path, frame: geopandas.GeoDataFrame, apart: Sequence[bool] = ()) -> list[list[Outline]]:
    """Bring geometries of any kind and CRS to outlines; none of what is no polygon on the globe.

    apart: whether each feature's shapes that lie apart are outlines of their own; else it is one outline.
    """
    if frame.crs is None:
        raise InputError(f"{path} has no CRS; set one, for example in QGIS")
    projected = not frame.crs.is_geographic
    valid = frame.geometry.force_2d().make_valid()
    try:
        placed = valid.to_crs("EPSG:4326")
    except RuntimeError as error:  # pyproj's and PROJ's
        raise InputError(f"{path} has a CRS without longitude and latitude: {one_line(error)[:200]}") from error
    found = []
    for shape, several in zip(placed, apart or [False] * len(frame), strict=True):
        parts = polygons_in(shape) if _has_place(shape) else []
        groups = _apart(parts) if several else [parts]
        outlines = [_outline(group, projected) for group in groups if group]
        found.append([outline for outline in outlines if not outline.is_empty])
    return found


def _has_place(shape: Any) -> bool:
    if shape is None or not np.isfinite(shape.bounds).all():  # an empty one has no bounds
        return False
    west, south, east, north = shape.bounds
    return bool(-720 <= west <= east <= 720 and -90 <= south <= north <= 90)


def _apart(parts: Sequence[Polygon]) -> list[list[Polygon]]:
    """Group polygons that meet."""
    from geoscan.polygons import MEETING

    if len(parts) < 2:
        return [list(parts)]
    grounds = shapely.get_parts(shapely.union_all(shapely.buffer(np.array(parts, object), MEETING / 2)))
    of, part = shapely.STRtree(parts).query(grounds, "intersects")
    return [[parts[n] for n in part[of == ground].tolist()] for ground in range(len(grounds))]


def _outline(parts: Sequence[Polygon], projected: bool) -> Outline:
    """One outline of polygons, cut at the antimeridian; projected: whether edges across it lead around the globe."""
    from geoscan.outlines import on_globe, union

    west, _, east, _ = shapely.total_bounds(np.array(parts, object))
    if projected or west < -180 or east > 180:
        rings = [[_unwrapped(ring) for ring in (part.exterior, *part.interiors)] for part in parts]
        parts = [part for of_one in rings for part in on_globe(of_one)]
    return union([polygon for part in parts for polygon in polygons_in(shapely.make_valid(part))])


def _unwrapped(ring: Any) -> Any:
    """Points of a ring whose longitude runs on past 180 in place of jumping to -180."""
    points = shapely.get_coordinates(ring)
    laps = np.cumsum(np.rint(np.diff(points[:, 0], prepend=points[0, 0]) / 360))
    return np.column_stack([points[:, 0] - 360 * laps, points[:, 1]])


def _detection(row: Mapping[Any, Any], shape: Outline, area_ha: float, facts: _Facts) -> Detection:
    """Make a detection of a feature; columns that are missing, or hold something else, are as if empty."""
    from geoscan.changes import date_of
    from geoscan.polygons import Detection

    source = _provenance(row, facts)
    status = _word(Status, row.get("status"))
    first = _DAY.match(_text(row.get("first_seen")))
    probability = _number(row.get("probability"))
    labels = _text(row.get("other_labels")).split(",")
    scores = [_number(text) for text in _text(row.get("other_scores")).split(",")]
    return Detection(
        geometry=shape,
        score_max=_number(row.get("score_max")),
        score_mean=_number(row.get("score_mean")),
        probability=None if math.isnan(probability) else probability,
        n_chips=_chips(row, area_ha),
        area_ha=area_ha,
        other_labels={label: score for label, score in zip(labels, scores, strict=False) if not math.isnan(score)},
        weather=_text(row.get("weather")),
        haze=_number(row.get("haze")),
        provenance=source,
        status=status,
        # With a status, but no date: nobody knew it then, and the scene's own is that of a later scan.
        first_seen=first[0] if first else date_of(source.scene, facts.dates) if status is None else None,
        review=_word(Review, row.get("review")) or Review.UNREVIEWED,
    )


def _chips(row: Mapping[Any, Any], area_ha: float | None = None) -> int:
    """Number of chips of a feature, 0 where it does not tell; area_ha: hectares that it has.

    Where somebody has cut it, or joined others to it, it still says how many the whole was of, and its area then.
    """
    chips, before = np.nan_to_num(_number(row.get("n_chips"))), _number(row.get("area_ha"))
    if chips > 0 and area_ha is not None and before > 0:
        chips = max(1, round(chips * area_ha / before))
    return int(np.clip(chips, 0, _MOST_CHIPS))


def _provenance(row: Mapping[Any, Any], facts: _Facts) -> Provenance:
    """Say what made a feature; without a model where the columns do not tell it all."""
    from geoscan.polygons import Hysteresis, Provenance

    scene, model = _text(row.get("scene")), _text(row.get("model"))
    try:
        thresholds = Hysteresis(*(_number(row.get(f"threshold_{name}")) for name in ("high", "low", "isolated")))
    except InputError:
        model, thresholds = "", Hysteresis(1, 1, 1)
    prior = _number(row.get("prior"))
    return Provenance(
        scene,
        model,
        _text(row.get("digest")),
        thresholds,
        _text(row.get("geoscan")),
        operate=_text(row.get("operate")),
        outline=facts.outline_of(scene),
        tta=_number(row.get("tta")) == 1,
        prior=None if math.isnan(prior) else prior,
    )


def _word(words: type[_Word], value: Any) -> _Word | None:
    """Take one of some words, however a person has written it."""
    text = _text(value).strip().lower()
    return words(text) if text in set(words) else None


def _text(value: Any) -> str:
    """Text as one line; empty for what is missing."""
    text = value if isinstance(value, str) else "" if str(value) in _MISSING else str(value)
    return one_line(text) if text else ""


def _number(value: Any) -> float:
    """A finite number; NaN for anything else."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan
    return number if math.isfinite(number) else math.nan
