"""From a reviewed layer and its scenes to a chip set."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyproj
from affine import Affine

from geoscan.errors import InputError, one_line
from geoscan.files import file_names
from geoscan.grid import Tile
from geoscan.model.shipped import shipped
from geoscan.reviewing.chip_set import Picture, Row, write_chip_set
from geoscan.reviewing.choice import Choice, choose, of_scene
from geoscan.reviewing.layer import Reviewed
from geoscan.scanning.batch import read
from geoscan.scanning.plan import Plan
from geoscan.states import Review

log = logging.getLogger(__name__)

LABELS = {Review.MINE: "mine", Review.NOT_MINE: "other"}
"""What training calls them."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What came of a review."""

    mines: int
    others: int
    """Chips of each kind."""

    failed: dict[str, str]
    """Chips that could not be read, by name, and why."""


def model_of(reviewed: Reviewed, asked: str) -> str:
    """Name the model in whose way chips are read: as asked, or with `auto` the shipped one that made the layer.

    Raises InputError where a layer is of several models, or of one that is not shipped.
    """
    made = {reviewed.models[n] for n in reviewed.judged} - {""}
    if asked != "auto" or not made:
        return asked
    names = {package.card.name for package in shipped()}
    if len(made) > 1 or made - names:
        which = one_line(", ".join(sorted(made)))[:200]
        raise InputError(f"the layer was made by {which}; pass --model with the package that the chips are for")
    return made.pop()


def export(reviewed: Reviewed, plans: Sequence[Plan], out: Path) -> Exported:
    """Write the chips of all scenes that show what was reviewed; `out` was checked by `check_folder`.

    What is left out is logged as warnings.
    Raises InputError where no scene shows any reviewed polygon, ReadError where none of the chips can be read,
    OutputError when writing fails.
    """
    reviewed = _with_renamed(reviewed, plans)
    choices = [choose(plan, reviewed, plans) for plan in plans]
    _tell_left_out(reviewed, plans, choices)
    if not any(choice.chips for choice in choices):
        late = any(choice.late for choice in choices)
        raise InputError(
            f"none of the {len(reviewed.judged)} reviewed polygons gives a chip of these scenes; "
            + ("scan and review each by itself" if late else "pass the scenes that they were found in with --scene")
        )
    failed: dict[str, str] = {}
    names = file_names([plan.name for plan in plans])
    pictures = (
        picture
        for plan, choice, name in zip(plans, choices, names, strict=True)
        for picture in _pictures(plan, choice, reviewed, name, failed)
    )
    rows = write_chip_set(out, _some(pictures, failed))
    mines = sum(row.label == "mine" for row in rows)
    return Exported(mines, len(rows) - mines, failed)


def _with_renamed(reviewed: Reviewed, plans: Sequence[Plan]) -> Reviewed:
    """Take a single scene for the one of all polygons, and say so, where it lies there and has another name."""
    names = {reviewed.scenes[n] for n in reviewed.judged}
    if len(plans) != 1 or len(names) != 1 or any(of_scene(name, plans[0].name) for name in names):
        return reviewed
    nameless = replace(reviewed, scenes=("",) * len(reviewed))
    if not choose(plans[0], nameless).here:
        return reviewed
    log.warning(
        "the reviewed polygons are of %s, and %s is taken for it: it lies there; give another scene if it is not the "
        "same under another name",
        one_line(names.pop())[:200],
        plans[0].name,
    )
    return nameless


def _some(pictures: Iterator[Picture], failed: dict[str, str]) -> Iterator[Picture]:
    """Pass pictures on. Raises InputError where there is none."""
    none = True
    for picture in pictures:
        none = False
        yield picture
    if none:
        why = next(iter(failed.values()), "the scenes have no pixels there")
        raise InputError(f"no chip of the reviewed polygons can be read: {why}; give other scenes")


def _pictures(plan: Plan, choice: Choice, reviewed: Reviewed, name: str, failed: dict[str, str]) -> Iterator[Picture]:
    """Read the chips of one scene, as the model reads them, a batch at a time; note those that fail."""
    tiles = list(choice.chips)
    for start in range(0, len(tiles), plan.batch):
        found = read(plan, tiles[start : start + plan.batch])
        for index, pixels in zip(found.tiles, found.framed(plan.package.card.preprocess), strict=True):
            review, polygon = choice.chips[index]
            tile = plan.grid[index]
            transform = plan.scene.transform @ Affine.translation(tile.read.col, tile.read.row)
            row = _row(plan, tile, review, reviewed.scores[polygon], name)
            yield Picture(row, pixels, transform, plan.scene.crs)
        failed |= {f"{plan.name}, chip {tile}": why for tile, why in found.failed.items()}
        for index in set(found.observed) - set(found.tiles):
            log.warning("%s has no pixels at chip %d: left out", plan.name, index)


def _row(plan: Plan, tile: Tile, review: Review, score: float | None, name: str) -> Row:
    label = LABELS[review]
    middle = tile.read.col + tile.read.cols / 2, tile.read.row + tile.read.rows / 2
    crs = pyproj.CRS.from_wkt(plan.scene.crs.to_wkt())
    lon, lat = pyproj.Transformer.from_crs(crs, 4326, always_xy=True).transform(*(plan.scene.transform @ middle))
    return Row(
        file=f"{label}/{name}-{tile.read.row}-{tile.read.col}.png",
        label=label,
        source_gallery=plan.name,
        review=str(review),
        scene=plan.name,
        date=plan.reading["date"],
        model=plan.package.card.name,
        score="" if score is None else round(score, 4),
        longitude=round(lon, 6),
        latitude=round(lat, 6),
    )


def _tell_left_out(reviewed: Reviewed, plans: Sequence[Plan], choices: Sequence[Choice]) -> None:
    """Say which reviewed polygons give no chip, and why."""
    judged = set(reviewed.judged)
    strangers = {n for n in judged if not any(of_scene(reviewed.scenes[n], plan.name) for plan in plans)}
    if strangers:
        names = one_line(", ".join(sorted({reviewed.scenes[n] for n in strangers})))[:200]
        log.warning(
            "%d reviewed polygons are of scenes that were not given (%s): left out; pass these with --scene too",
            len(strangers),
            names,
        )
    outside = judged - strangers - frozenset().union(*(choice.here for choice in choices))
    if outside:
        log.warning("%d reviewed polygons lie outside of the scenes: left out", len(outside))
    if mixed := sum(choice.mixed for choice in choices):
        log.warning(
            "%d chips of what is no mine also show a mine, or a polygon that nobody has reviewed: left out", mixed
        )
    if late := sum(choice.late for choice in choices):
        log.warning(
            "%d chips are left out: another scene of their polygon is later, or of a day that nobody knows, and what "
            "it shows may be new; pass all scenes with --scene, or scan and review each by itself",
            late,
        )
