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
from geoscan.layers.about import dates_in
from geoscan.layers.detections import LAYER
from geoscan.layers.reading import layer_names, read_table, readable
from geoscan.states import Review, Status

if TYPE_CHECKING:
    import geopandas

    from geoscan.outlines import Outline
    from geoscan.polygons import Detection, Provenance

log = logging.getLogger(__name__)

_FOUND: Final = ("detections", LAYER)
"""Names of the layer of detections in a file of several."""

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
    `provenance.model` empty. `first_seen` is filled from the date of the scene."""

    dates: Mapping[str, str]
    """When each scene was taken, by its name, ISO 8601; as far as the file tells."""


def read(path: Path) -> Earlier:
    """Read the polygons of a layer, in any CRS, with or without our columns; those without a place are left out.

    Raises InputError for what is no layer of polygons, has no CRS, or is too large.
    """
    from geoscan.outlines import areas_ha

    frame, told = read_table(path, _FOUND)
    dates = dates_in(told)
    with readable(path):  # columns are decoded when they are looked at
        _check_columns(path, frame)
        shapes = _outlines(path, frame)
        rows = frame.drop(columns=frame.geometry.name).to_dict("records")
    usable = [(row, shape) for row, shape in zip(rows, shapes, strict=True) if shape is not None]
    if len(usable) < len(rows):
        said = f"{len(rows) - len(usable):,} of the {len(rows):,} features in {path} are no polygons on the globe"
        if not usable:
            raise InputError(f"{said}; give a layer of polygons")
        log.warning("%s, and are left out", said)
    areas = areas_ha([shape for _, shape in usable]).tolist() if usable else []
    found = [_detection(row, shape, area, dates) for (row, shape), area in zip(usable, areas, strict=True)]
    return Earlier(path, found, dates)


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
    """Give what the scenes of a layer showed: what its file has as `footprint`, without `obscured` but for haze.

    None where the file does not tell. Raises InputError where it cannot be read.
    """
    from geoscan.outlines import polygons_in

    if path.suffix.lower() != ".gpkg" or not {"footprint", "obscured"} <= set(layer_names(path)):
        return None
    whole, hidden = (read_table(path, [name])[0] for name in ("footprint", "obscured"))
    with readable(path):
        if "cause" in hidden.columns:
            hides = [not str(cause).lower().startswith(_SEEN_THROUGH) for cause in hidden["cause"]]
            hidden = hidden.loc[np.array(hides, bool)]
        shown, not_shown = (
            shapely.union_all([shape for shape in _outlines(path, one) if shape is not None]) for one in (whole, hidden)
        )
        return polygons_in(shapely.difference(shown, not_shown))


def _outlines(path: Path, frame: geopandas.GeoDataFrame) -> list[Outline | None]:
    """Bring geometries of any kind and CRS to outlines; None for what is no polygon on the globe."""
    if frame.crs is None:
        raise InputError(f"{path} has no CRS; set one, for example in QGIS")
    projected = not frame.crs.is_geographic
    valid = frame.geometry.force_2d().make_valid()
    try:
        placed = valid.to_crs("EPSG:4326")
    except RuntimeError as error:  # pyproj's and PROJ's
        raise InputError(f"{path} has a CRS without longitude and latitude: {one_line(error)[:200]}") from error
    return [_outline(shape, projected) for shape in placed]


def _outline(shape: Any, projected: bool) -> Outline | None:
    """One outline, cut at the antimeridian; projected: whether edges across it lead around the globe."""
    from geoscan.outlines import on_globe, polygons_in, union

    if shape is None or not np.isfinite(shape.bounds).all():  # an empty one has no bounds
        return None
    west, south, east, north = shape.bounds
    if not (-720 <= west <= east <= 720 and -90 <= south <= north <= 90):
        return None
    parts: list[Any] = list(polygons_in(shape))
    if projected or west < -180 or east > 180:
        rings = [[_unwrapped(ring) for ring in (part.exterior, *part.interiors)] for part in parts]
        parts = [part for of_one in rings for part in on_globe(of_one)]
    outline = union([part if part.is_valid else shapely.make_valid(part) for part in parts])
    return None if outline.is_empty else outline


def _unwrapped(ring: Any) -> Any:
    """Points of a ring whose longitude runs on past 180 in place of jumping to -180."""
    points = shapely.get_coordinates(ring)
    laps = np.cumsum(np.rint(np.diff(points[:, 0], prepend=points[0, 0]) / 360))
    return np.column_stack([points[:, 0] - 360 * laps, points[:, 1]])


def _detection(row: Mapping[Any, Any], shape: Outline, area_ha: float, dates: Mapping[str, str]) -> Detection:
    """Make a detection of a feature; columns that are missing, or hold something else, are as if empty."""
    from geoscan.changes import date_of
    from geoscan.polygons import Detection

    source = _provenance(row)
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
        n_chips=int(np.clip(np.nan_to_num(_number(row.get("n_chips"))), 0, _MOST_CHIPS)),
        area_ha=area_ha,
        other_labels={label: score for label, score in zip(labels, scores, strict=False) if not math.isnan(score)},
        weather=_text(row.get("weather")),
        haze=_number(row.get("haze")),
        provenance=source,
        status=status,
        # With a status, but no date: nobody knew it then, and the scene's own is that of a later scan.
        first_seen=first[0] if first else date_of(source.scene, dates) if status is None else None,
        review=_word(Review, row.get("review")) or Review.UNREVIEWED,
    )


def _provenance(row: Mapping[Any, Any]) -> Provenance:
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
