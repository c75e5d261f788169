"""Polygons that a person has reviewed, from any layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray

from geoscan.errors import InputError
from geoscan.layers.about import dates_in
from geoscan.layers.detections import NAMES
from geoscan.layers.earlier import reviews_in
from geoscan.layers.reading import read_table
from geoscan.states import ABSENT, Review

_AREAS: Final = (3, 6)
"""Polygon and MultiPolygon, as shapely numbers them."""


@dataclass(frozen=True, slots=True)
class Reviewed:
    """Polygons of a layer, and what a person says of each; those that nobody has reviewed are among them."""

    shapes: NDArray[np.object_]
    """(n,): valid, in `crs`."""

    crs: pyproj.CRS
    reviews: tuple[Review, ...]
    scenes: tuple[str, ...]
    """Names of the scenes that each was found in, separated by commas; empty where the layer does not tell."""

    scores: tuple[float | None, ...]
    """Highest mine score of each, 0..1, as the layer has it."""

    models: tuple[str, ...]
    """Name of the model that found each; empty where the layer does not tell."""

    dates: Mapping[str, str]
    """When each scene was taken, by its name, ISO 8601; as far as the file tells."""

    def __len__(self) -> int:
        return len(self.reviews)

    @property
    def judged(self) -> list[int]:
        """Positions of those that a person called a mine or not."""
        return [n for n, review in enumerate(self.reviews) if review is not Review.UNREVIEWED]


def read_reviewed(path: Path) -> Reviewed:
    """Read a layer that has a column `review`; what was found earlier alone (`status` gone or unseen) is left out.

    An empty review is `unreviewed`. The other columns of a scan are taken where they are there.
    Raises InputError for a file that is no layer, without that column, with other words in it, without a CRS, where
    what was reviewed is no polygon, and where nobody has reviewed any.
    """
    table, told = read_table(path, NAMES)
    if "review" not in table:
        raise InputError(
            f"{path} has no column `review`; add one of text, and write {Review.MINE} or {Review.NOT_MINE} into it"
        )
    reviews = reviews_in(path, table["review"].tolist())
    if all(review is Review.UNREVIEWED for review in reviews):
        raise InputError(
            f"{path} holds no reviewed polygon among {len(reviews)}; set `review` to {Review.MINE} or "
            f"{Review.NOT_MINE} first, and save"
        )
    if "status" in table:
        here = ~table["status"].isin([str(status) for status in ABSENT]).to_numpy()
        table, reviews = table[here], [review for review, there in zip(reviews, here, strict=True) if there]
        if all(review is Review.UNREVIEWED for review in reviews):
            raise InputError(
                f"all reviewed polygons in {path} are {' or '.join(ABSENT)}, and left out, for its scene does not show "
                "them; give the layer of a scene that does"
            )
    if table.crs is None:
        raise InputError(f"{path} has no CRS, so nobody knows where its polygons lie; assign the right one")
    shapes = np.array(table.geometry.tolist(), object)
    _check_shapes(path, shapes, reviews)
    areas = np.isin(shapely.get_type_id(shapes), _AREAS) & ~shapely.is_empty(shapes)
    kept = np.flatnonzero(areas).tolist()
    return Reviewed(
        shapely.make_valid(shapes[areas]),
        pyproj.CRS(table.crs),
        tuple(reviews[n] for n in kept),
        tuple(_words(table, "scene", kept)),
        tuple(_numbers(table, "score_max", kept)),
        tuple(_words(table, "model", kept)),
        dates_in(told),
    )


def _check_shapes(path: Path, shapes: NDArray[np.object_], reviews: Sequence[Review]) -> None:
    """Refuse what was reviewed and covers no ground."""
    areas = np.isin(shapely.get_type_id(shapes), _AREAS) & ~shapely.is_empty(shapes)
    judged = np.array([review is not Review.UNREVIEWED for review in reviews], bool)
    if count := int((judged & ~areas).sum()):
        raise InputError(f"{path}: {count} reviewed features are no polygons; draw polygons around what they mean")


def _words(table: Any, column: str, rows: Sequence[int]) -> list[str]:
    if column not in table:
        return [""] * len(rows)
    words, missing = table[column].tolist(), table[column].isna().tolist()
    return ["" if missing[n] else str(words[n]) for n in rows]


def _numbers(table: Any, column: str, rows: Sequence[int]) -> list[float | None]:
    values = table[column].tolist() if column in table else [None] * len(table)
    return [float(value) if isinstance(value := values[n], float | int) and value == value else None for n in rows]
