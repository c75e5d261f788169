"""What is new, known, grown, gone or unseen since an earlier layer. Detections and shapes only, no files."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, TypeAlias

import numpy as np
import shapely
import shapely.affinity
from numpy.typing import NDArray

from geoscan.errors import SceneError
from geoscan.labels import WEATHER
from geoscan.outlines import CHIP, METRES_PER_DEGREE, Outline, areas_ha, outlines, polygons_in, union
from geoscan.polygons import MEETING, Detection
from geoscan.seen import Seen, Sight
from geoscan.states import ABSENT, Review, Status

Shapes: TypeAlias = NDArray[np.object_]
"""(n,) shapely geometries, WGS84 longitude, latitude."""

Numbers: TypeAlias = NDArray[np.int64]

GROWN: Final = (1.5, 0.2)
"""A mine has grown by more than so many chips, and by more than this share of its earlier outlines. One chip more or
less is what a score near a threshold does."""

_NARROW: Final = 0.98
"""Chips: a strip of whole chips no wider is no growth. Where the grid of chips lies otherwise than before, each chip
that shows an unchanged mine still overlaps the chips of before, and what it has beside them is less than a chip wide.
What lacks to a whole chip is for rounding."""

_NARROW_FINE: Final = 0.4
"""Likewise of outlines that are finer than chips: they move by a cell or two of a map, of which a chip has 8 across. A
mine itself may be narrower than a chip, and so may what it gains."""

_FINER: Final = 0.5
"""Earlier outlines that are not of whole chips, with less area a chip: the whole chips around them are no growth."""

_WHOLE: Final = 0.9
"""Share of a place that must be seen before a mine is called gone."""

_REST: Final = 0.1
"""Share of a mine that was drawn by hand from which a part that is not seen is kept."""

_OVERLAP: Final = 0.01
"""Share of the smaller of two outlines from which they overlap; less is rounding."""

_BLOCK: Final = 16
"""Tiles across and down: seen ground comes in such parts, of which few lie near a mine."""

PARTLY_CLOUDY: Final = "partly_cloudy"
"""The weather of a chip that shows its ground in part: no proof that a mine is gone."""

_DAY: Final = re.compile(r"\d{4}-\d\d(-\d\d)?")


def since(found: Sequence[Detection], earlier: Sequence[Detection], scenes: Sequence[Seen]) -> list[Detection]:
    """Tell what became of each mine since an earlier layer, by what a scan has found, and what it saw; see `compared`.

    scenes: all that were scanned. What is new has their date.
    """
    return compared(dated(found, scenes), earlier, [part for scene in scenes for part in seen_ground(scene)])


def dated(found: Sequence[Detection], scenes: Sequence[Seen]) -> list[Detection]:
    """Say of what was found when it was seen first as far as a scan knows: when its scene was taken."""
    dates = {scene.provenance.scene: scene.provenance.reading.get("date", "") for scene in scenes}
    return [replace(one, first_seen=date_of(one.provenance.scene, dates)) for one in found]


def compared(
    found: Sequence[Detection], earlier: Sequence[Detection], ground: Sequence[Outline] | None
) -> list[Detection]:
    """Tell what became of each mine.

    found: what there is now; `first_seen` of each is when its scene was taken. earlier: what an earlier layer holds,
    with what is absent there. ground: what the new scenes show, in parts that may overlap; None where nobody knows.
    Returns `found` in its order, with status, gained hectares, first date and review, and then what is gone or unseen,
    sorted by its bounds. Outlines that meet or overlap are of one mine. What is gone stays gone until it is found
    again; then it is known. Of a mine that is seen in part, the rest is unseen, unless it was gone before, or nobody
    knows what was shown.
    """
    new, old = _shapes(found), _shapes(earlier)
    one, other = shapely.STRtree(old).query(new, "dwithin", MEETING)
    met = {n: [earlier[m] for m in other[rows].tolist()] for n, rows in _groups(one)}
    gained = _gained(new, {n: _union(before) for n, before in met.items()})
    now = [_judged(here, met.get(n, []), float(gained[n])) for n, here in enumerate(found)]
    left = np.setdiff1d(np.arange(len(earlier)), other)
    shown = np.array([] if ground is None else ground, object)
    share = _share(old[left], shown)
    gone = [_absent(earlier[m], seen) for m, seen in zip(left.tolist(), share.tolist(), strict=True)]
    if ground is not None:
        gone += _rests(earlier, old, new, (one, other), shown)
    return now + sorted(gone, key=lambda lost: (lost.geometry.bounds, lost.geometry.wkb))


def counts(found: Sequence[Detection]) -> dict[str, int]:
    """Count what became of mines since an earlier layer, by status."""
    count = Counter(one.status for one in found)
    return {status.value: count[status] for status in Status}


def present(found: Sequence[Detection]) -> list[Detection]:
    """Give what was found now, without what an earlier layer alone holds."""
    return [one for one in found if one.status not in ABSENT]


def date_of(scene: str, dates: Mapping[str, str]) -> str | None:
    """Give the day, or month, of a detection's scene, the earliest of several; None where one is not known.

    scene: as `Provenance.scene` has it. dates: of each scene by its name, ISO 8601.
    """
    names = [scene] if scene in dates else scene.split(", ")
    known = [_DAY.match(dates.get(name, "")) for name in names]
    days = [match[0] for match in known if match]
    return min(days) if len(days) == len(names) else None


def seen_ground(scene: Seen) -> list[Outline]:
    """Outline what a scan saw: tiles that were scored, hold little nodata, and are not under cloud, nor partly.

    A tile that is partly cloudy is observed, and what is found in it is there. Nobody knows what lies under its cloud.
    """
    grid = scene.grid
    clear = ((scene.sight <= Sight.HAZY) & scene.whole & ~_partly_cloudy(scene)).reshape(grid.shape)
    if not clear.any():
        return []
    down, across = np.indices(grid.shape) // _BLOCK
    block = np.where(clear, 1 + down * (grid.shape[1] // _BLOCK + 1) + across, 0)
    groups = np.zeros(grid.shape, np.int32)
    groups[clear] = np.unique(block[clear], return_inverse=True)[1].ravel() + 1
    try:
        return outlines(groups, grid, scene.transform, scene.crs)
    except SceneError:  # it has no place on the globe, so it shows none
        return []


def _partly_cloudy(scene: Seen) -> NDArray[np.bool_]:
    """(len(grid),): True where partly cloudy is the likeliest weather, as far as the model tells weather."""
    weather = [label for label in WEATHER if label in scene.labels]
    if PARTLY_CLOUDY not in weather:
        return np.zeros(len(scene.grid), bool)
    scores = scene.scores[:, [scene.labels.index(label) for label in weather]]
    partly: NDArray[np.bool_] = scores.argmax(axis=1) == weather.index(PARTLY_CLOUDY)
    return partly


def _judged(now: Detection, before: Sequence[Detection], gained_ha: float) -> Detection:
    """Say of one detection what became of it; before: all that it meets."""
    review = now.review if now.review is not Review.UNREVIEWED else _kept_review(now, before)
    if not before:
        return replace(now, status=Status.NEW, gained_ha=now.area_ha, review=review)
    status = Status.GROWN if _has_grown(now, before, gained_ha) else Status.KNOWN
    # A known mine whose first date nobody knows is older than this scene.
    days = [one.first_seen for one in before if one.first_seen]
    first = min(filter(None, [now.first_seen, *days])) if days else None
    return replace(now, status=status, gained_ha=gained_ha, first_seen=first, review=review)


def _absent(lost: Detection, seen: float) -> Detection:
    """Say of an earlier detection that it is gone, or was not seen; seen: share of its place, 0..1."""
    gone = lost.status is Status.GONE or seen >= _WHOLE
    return replace(lost, status=Status.GONE if gone else Status.UNSEEN, gained_ha=None)


def _rests(
    earlier: Sequence[Detection], old: Shapes, new: Shapes, met: tuple[Numbers, Numbers], shown: Shapes
) -> list[Detection]:
    """Give what is hidden of known mines; met: numbers of new outlines, and of the old ones that each meets."""
    seen: dict[int, list[Outline]] = {m: [] for m in met[1].tolist()}
    for n, m in np.transpose(met).tolist():
        seen[m].append(new[n])
    known = list(seen)
    for at, part in shapely.STRtree(shown).query(old[known], "intersects").T.tolist():
        seen[known[at]].append(shown[part])
    return [rest for m, parts in seen.items() for rest in _hidden(earlier[m], parts)]


def _hidden(known: Detection, seen: Sequence[Outline]) -> list[Detection]:
    """Give the part of a mine that new scenes do not show, as unseen, if it is worth a chip; seen: what they do.

    Of one that was drawn by hand, without chips, it is worth a `_REST`. Else it would be lost, and told as growth when
    it is seen again. What was unseen before may be so once more, month after month.
    """
    if known.status is Status.GONE:
        return []
    rest = union(polygons_in(shapely.difference(known.geometry, shapely.union_all(seen))))
    area_ha = 0.0 if rest.is_empty else float(areas_ha([rest])[0])
    share = area_ha / known.area_ha if known.area_ha else 0.0  # a sliver's may round to 0
    chips = round(known.n_chips * share)
    if not chips and (known.n_chips or share < _REST):
        return []
    return [replace(known, geometry=rest, n_chips=chips, area_ha=area_ha, status=Status.UNSEEN, gained_ha=None)]


def _kept_review(now: Detection, before: Sequence[Detection]) -> Review:
    """Take over what a person said of the place.

    A mine stays one wherever it overlaps, also where the same detection covers a place without one: to hide a mine is
    the worse mistake. What is no mine says so only of a detection most of which it covers, and which has not grown
    beyond it: nobody has looked at the rest.
    """
    mines = [one.geometry for one in before if one.review is Review.MINE]
    for shape in mines:
        if shapely.intersection(shape, now.geometry).area > _OVERLAP * min(shape.area, now.geometry.area):
            return Review.MINE
    others = [one for one in before if one.review is Review.NOT_MINE]
    beyond = shapely.difference(now.geometry, _union(others))
    if not others or beyond.area >= now.geometry.area / 2:
        return Review.UNREVIEWED
    gained_ha = 0.0 if beyond.is_empty else float(areas_ha([beyond])[0])
    return Review.UNREVIEWED if _has_grown(now, others, gained_ha) else Review.NOT_MINE


def _has_grown(now: Detection, before: Sequence[Detection], gained_ha: float) -> bool:
    """Tell whether a mine is larger by more than its outlines vary, see `GROWN`."""
    old_ha, old_chips = sum(one.area_ha for one in before), sum(one.n_chips for one in before)
    new_chip = now.area_ha / now.n_chips if now.n_chips else 0.0
    old_chip = old_ha / old_chips if old_chips else 0.0
    chip_ha = max(new_chip, old_chip)
    if gained_ha <= GROWN[0] * chip_ha or not now.area_ha:
        return False
    metres = _metres(now.geometry)
    new, old = metres(now.geometry), metres(_union(before))
    least = max(GROWN[0] * chip_ha, GROWN[1] * old.area / 1e4)
    side = (chip_ha * new.area / now.area_ha) ** 0.5  # in those metres, for they err alike
    whole = now.provenance.outline == CHIP
    finer = old_chip < _FINER * new_chip and any(one.provenance.outline != CHIP for one in before)
    if not old_chips or (whole and finer):
        old = shapely.buffer(old, side, join_style="mitre")
    beyond = shapely.difference(new, old)
    narrow = side * (_NARROW if whole else _NARROW_FINE) / 2
    solid = beyond.buffer(-narrow, join_style="mitre").buffer(narrow, join_style="mitre")
    return bool(solid.area / 1e4 > least)


def _metres(around: Outline) -> Any:
    """Give what brings shapes near an outline to metres, within a percent."""
    west, south, _, north = around.bounds
    tall = METRES_PER_DEGREE
    wide = tall * float(np.cos(np.radians((south + north) / 2)))
    return lambda shape: shapely.affinity.affine_transform(shape, (wide, 0, 0, tall, -wide * west, -tall * south))


def _gained(new: Shapes, old: Mapping[int, Any]) -> NDArray[np.float64]:
    """(n,): hectares of each new outline outside of the old ones that it meets; old: their union, by its number."""
    gained = np.zeros(len(new))
    number = np.array(list(old), int)
    if len(number):
        outside = shapely.difference(new[number], np.array(list(old.values()), object))
        some = ~shapely.is_empty(outside)
        if some.any():
            gained[number[some]] = areas_ha(outside[some].tolist())
    return gained


def _share(places: Shapes, ground: Shapes) -> NDArray[np.float64]:
    """(n,): share of each place that lies on the ground, 0..1."""
    share = np.zeros(len(places))
    one, other = shapely.STRtree(ground).query(places, "intersects")
    pieces = shapely.intersection(places[one], ground[other])
    for n, rows in _groups(one):
        share[n] = shapely.union_all(pieces[rows]).area / places[n].area
    return share


def _groups(keys: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Give each key, and where it stands; keys: ascending."""
    if len(keys):
        for rows in np.split(np.arange(len(keys)), np.flatnonzero(np.diff(keys)) + 1):
            yield int(keys[rows[0]]), rows


def _union(parts: Sequence[Detection]) -> Any:
    return shapely.union_all(_shapes(parts))


def _shapes(of: Sequence[Detection]) -> Shapes:
    return np.array([one.geometry for one in of], object)
