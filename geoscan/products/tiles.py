"""Files that are parts of one raster: laid side by side again, and told from the mosaics that are made of them.

What lies on a border belongs to two parts. Scanned one by one, each shows half of it, and a mine is found twice or not.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, takewhile
from typing import Final

import numpy as np
import rasterio
import rasterio.windows
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import MaskFlags

from geoscan import gdal, inputs, vrt
from geoscan.errors import SceneError
from geoscan.grid import Window
from geoscan.products import Product, assembly, recognise
from geoscan.products.rasters import Raster, covers, look_into
from geoscan.scaling import ADDED, TEN_THOUSAND

_NEAR: Final = 1e-3
"""Pixels; grids that are off by less are one."""

_SPOTS, _SPOT = 8, 32
"""Along an edge that two tiles share, values are compared at so many spots, of so many pixels."""

_STEP: Final = (0.5, 1.5)
"""Of the offset that ESA adds: a change between these across an edge is such an offset. Tiles of other days differ by a
little more or less; tiles of one scene do not differ."""

_SAME: Final = 1e-9
"""As a share; pixels whose sides differ by less are of one size."""


@dataclass(frozen=True)
class Tile:
    """A raster that may be a part of another."""

    product: Product
    raster: Raster

    @classmethod
    def at(cls, path: str) -> Tile | None:
        """Open what is at `path`, a product or any raster; None when it is neither."""
        try:
            product = recognise(path) or Product(path, gdal.short_name(path), files=(path,))
        except SceneError:
            return None
        raster = look_into(product.address)
        if raster is None or not all(vrt.takes(layer.dtype) for layer in raster.layers):
            return None
        return cls(product, raster)

    @cached_property
    def look(self) -> str:
        """What parts of one raster have in common, but for the size of their pixels."""
        one, product = self.raster, self.product
        own = product.kind, product.bands, product.scaling, product.mask, product.date
        return repr((one.place.crs.to_wkt(), one.layers, MaskFlags.per_dataset in one.flags, own))


def groups_of(paths: Sequence[str]) -> list[list[str]]:
    """Sort rasters into those that are parts of one; what stands alone comes alone, and so does what is no raster.

    Parts of one raster have one grid, and bands, types, fill, kind, scaling and date in common; each shares an edge
    with another, so that all hang together; and none lies over another. Where nobody names their scaling, they do not
    hang together by an edge at which all values change by the offset that ESA adds to reflectance.
    paths: whatever `recognise` or GDAL knows. Returns the groups, and the paths in them, in the order given.
    """
    tiles = [Tile.at(path) for path in paths]
    found = _groups([tile for tile in tiles if tile])
    names = {id(tile): path for tile, path in zip(tiles, paths, strict=True)}
    grouped = [[names[id(tile)] for tile in group] for group in found]
    alone = [[path] for tile, path in zip(tiles, paths, strict=True) if tile is None]
    return sorted(grouped + alone, key=lambda group: paths.index(group[0]))


def mosaic_of(paths: Sequence[str]) -> Product | None:
    """Lay the parts of one raster side by side; None when they are not parts of one, see `groups_of`.

    Where there is no part, there is no data. Two parts at least.
    """
    tiles = [tile for path in paths if (tile := Tile.at(path))]
    return side_by_side(tiles) if len(tiles) == len(paths) else None


def side_by_side(tiles: Sequence[Tile], name: str = "", kind: str = "Mosaic") -> Product | None:
    """Lay tiles side by side, as `mosaic_of` does. name, kind: for people, where the tiles have none."""
    if len(tiles) < 2 or len(_groups(tiles)) > 1:
        return None
    first = tiles[0]
    places = [_with_pixels_of(first.raster.place, tile.raster.place) for tile in tiles]
    whole = assembly.union(places)
    if whole is None:
        return None
    parts = [assembly.Part.on(whole, tile.raster.path, place) for tile, place in zip(tiles, places, strict=True)]
    return replace(
        first.product,
        address=assembly.sheet(whole, parts, first.raster.layers, masked=_masked(first.raster, whole, parts)),
        name=name or _name([tile.product.name for tile in tiles]),
        kind=first.product.kind or kind,
        files=_of_all(tile.product.files for tile in tiles),
        unread=_of_all(tile.product.unread for tile in tiles),
        warnings=_of_all(tile.product.warnings for tile in tiles),
    )


def each_once(paths: Sequence[str]) -> list[str]:
    """Leave out what another of the paths shows: tiles of which a mosaic is made, or the mosaic, where it shows less
    than they do; and what belongs to a product, such as its mask.

    Of two that show the same, the first stays; of several names of one file, that which is no link. The order is kept.
    """
    paths = _one_name_each(paths)
    real = {path: os.path.realpath(path) for path in paths}
    given = set(real.values())
    shown = {real[path]: _shown(path) for path in paths}
    kept, products = [], set()
    for n, path in enumerate(paths):
        file = real[path]
        made = made_of(path)
        if made and made <= given and not made <= shown[file]:
            continue  # a cut out of them
        others = [real[other] for other in paths if real[other] != file and file in shown[real[other]]]
        earlier = {real[other] for other in paths[:n]}
        if any(other in earlier or other not in shown[file] for other in others):
            continue
        own = _identity(path)
        if own and own in products:
            continue
        products.add(own)
        kept.append(path)
    return kept


def _one_name_each(paths: Sequence[str]) -> list[str]:
    """Leave out links to others of the files, and all names of a file but one."""
    names: dict[object, str] = {}
    for path in sorted(paths, key=os.path.islink):
        names.setdefault(next(iter(inputs.identities([path])), path), path)
    return [path for path in paths if path in names.values()]


def _identity(path: str) -> str:
    """What copies of one product have in common: kind, name, date and place; empty for other rasters."""
    try:
        product = recognise(path)
    except SceneError:
        return ""
    raster = look_into(product.address) if product and product.kind and product.date else None
    return repr((product.kind, product.name, product.date, raster.place)) if product and raster else ""


def made_of(path: str) -> frozenset[str]:
    """Real paths of the files that a VRT is made of, and those of the VRTs among them; none for anything else."""
    if not path.lower().endswith(".vrt"):
        return frozenset()
    try:
        files = inputs.behind([path], path, beside=False)
    except SceneError:
        return frozenset()  # opening it will tell
    real = {os.path.realpath(file) for file in files if not file.lower().endswith(inputs.BESIDE)}
    return frozenset(real - {os.path.realpath(path)})


def _shown(path: str) -> frozenset[str]:
    """Real paths of the files that need not be scanned when `path` is."""
    made = made_of(path)
    if made:
        whole = look_into(path)
        parts = {file: look_into(file) for file in made}
        return frozenset(file for file, part in parts.items() if whole and part and covers(whole.place, part.place))
    try:
        product = recognise(path)
    except SceneError:
        return frozenset()
    own = (*product.files, *product.unread) if product else ()
    return frozenset(map(os.path.realpath, own)) - {os.path.realpath(path)}


def _groups(tiles: Sequence[Tile]) -> list[list[Tile]]:
    return [
        [lattice[n] for n in members] for lattice, boxes in _lattices(tiles) for members in _connected(lattice, boxes)
    ]


def _lattices(tiles: Sequence[Tile]) -> list[tuple[list[Tile], NDArray[np.int64]]]:
    """Sort tiles by what they look like and by the grid on which their pixels lie.

    Returns with each lot (n, 4): first row and column, and those after the last, on their common grid.
    """
    lots: list[list[tuple[Tile, tuple[int, int, int, int]]]] = []
    for tile in tiles:
        for lot in lots:
            if tile.look == lot[0][0].look and (box := _box(tile.raster.place, lot[0][0].raster.place)):
                lot.append((tile, box))
                break
        else:
            place = tile.raster.place
            lots.append([(tile, (0, 0, place.rows, place.cols))])
    return [([tile for tile, _ in lot], np.array([box for _, box in lot])) for lot in lots]


def _box(place: assembly.Place, of: assembly.Place) -> tuple[int, int, int, int] | None:
    """Place a grid on the pixels of another; None where they do not fall on each other."""
    sides = zip(place.transform[:2] + place.transform[3:5], of.transform[:2] + of.transform[3:5], strict=True)
    if any(abs(own - other) > _SAME * max(abs(own), abs(other)) for own, other in sides):
        return None
    row, col = place.offset(of)
    if abs(row - round(row)) > _NEAR or abs(col - round(col)) > _NEAR:
        return None
    return round(row), round(col), round(row) + place.rows, round(col) + place.cols


def _with_pixels_of(first: assembly.Place, place: assembly.Place) -> assembly.Place:
    """Take the size of pixels from another grid: one that differs in its last digit only would be another grid."""
    a, b, _, d, e, _ = first.transform[:6]
    return replace(place, transform=Affine(a, b, place.transform.c, d, e, place.transform.f))


def _connected(tiles: Sequence[Tile], boxes: NDArray[np.int64]) -> list[list[int]]:
    """Number the tiles that hang together by their edges; those that lie over each other, and theirs, stay alone.

    boxes: of the tiles, as `_lattices` gives them.
    """
    top, left, bottom, right = boxes.T
    shapes = shapely.box(left, top, right, bottom)
    one, other = shapely.STRtree(shapes).query(shapes, predicate="intersects")
    one, other = one[one < other], other[one < other]
    down = np.minimum(bottom[one], bottom[other]) - np.maximum(top[one], top[other])
    across = np.minimum(right[one], right[other]) - np.maximum(left[one], left[other])
    beside, over = (np.minimum(down, across) == 0) & (np.maximum(down, across) > 0), (down > 0) & (across > 0)
    for at in np.flatnonzero(beside):
        ours, theirs = one[at], other[at]
        beside[at] = not _differ(tiles[ours], tiles[theirs], _spots(boxes[ours], boxes[theirs]))
    # scipy's graphs take a while to import: only for several scenes
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    edges = coo_matrix((np.ones(beside.sum()), (one[beside], other[beside])), shape=(len(boxes),) * 2)
    _, labels = connected_components(edges, directed=False)
    torn = {int(labels[n]) for n in (*one[over], *other[over])}
    groups: dict[tuple[int, int], list[int]] = {}
    for n, label in enumerate(labels):
        groups.setdefault((int(label), n if label in torn else 0), []).append(n)
    return list(groups.values())


def _spots(one: NDArray[np.int64], other: NDArray[np.int64]) -> list[tuple[Window, Window]]:
    """Give spots along the edge that two boxes share: pixels of the one, and those of the other that touch them.

    Each in the pixels of its own box.
    """
    top, left = np.maximum(one[:2], other[:2]).tolist()
    bottom, right = np.minimum(one[2:], other[2:]).tolist()
    is_upright = left == right
    side = bottom - top if is_upright else right - left
    long = min(side, _SPOT)

    def spot(at: int, box: NDArray[np.int64]) -> Window:
        row = top + at if is_upright else top - int(box[2] == top)
        col = left - int(box[3] == left) if is_upright else left + at
        return Window(row - int(box[0]), col - int(box[1]), *((long, 1) if is_upright else (1, long)))

    places = np.unique(np.linspace(0, side - long, _SPOTS).astype(int)).tolist()
    return [(spot(at, one), spot(at, other)) for at in places]


def _differ(one: Tile, other: Tile, spots: Sequence[tuple[Window, Window]]) -> bool:
    """Tell whether two tiles differ along their edge by the offset that ESA adds, of which neither says anything."""
    if one.product.kind or one.raster.dtype == "uint8" or gdal.is_remote(one.product.address):
        return False
    try:
        own, theirs = (_values(tile, at) for tile, at in zip((one, other), zip(*spots, strict=True), strict=True))
    except gdal.FAILURES:
        return False  # a scan tells
    change = theirs - own
    change = change[:, np.isfinite(change).all(axis=0)]
    if not change.size:
        return False
    added = ADDED / np.array([layer.scale for layer in one.raster.layers])
    shares = [np.median(change, axis=1) / step for step in (added, added / TEN_THOUSAND)]
    return any(bool(((_STEP[0] <= part) & (part <= _STEP[1])).all()) for share in shares for part in (share, -share))


def _values(tile: Tile, windows: Sequence[Window]) -> NDArray[np.float64]:
    """Read (bands, n) pixels; NaN is no data."""
    path = tile.raster.path
    with gdal.settings(path), rasterio.open(gdal.vsi_name(path)) as source:
        parts = [
            source.read(window=rasterio.windows.Window(one.col, one.row, one.cols, one.rows), masked=True)
            for one in windows
        ]
    return np.concatenate([one.astype(np.float64).filled(np.nan).reshape(len(one), -1) for one in parts], axis=1)


def _masked(first: Raster, whole: assembly.Place, parts: Sequence[assembly.Part]) -> bool:
    """Tell whether a mosaic needs a mask of its own: its parts have some, or there are gaps that nothing else tells."""
    if MaskFlags.per_dataset in first.flags and MaskFlags.alpha not in first.flags:
        return True
    gaps = sum(part.at.rows * part.at.cols for part in parts) < whole.rows * whole.cols
    return gaps and not first.masked


def _of_all(texts: Iterable[Iterable[str]]) -> tuple[str, ...]:
    """Give each once, in their order."""
    return tuple(dict.fromkeys(chain.from_iterable(texts)))


def _name(names: Sequence[str]) -> str:
    """Give what the names have in common at their beginning, whole words of it; else the first, and how many more."""
    words = zip(*(re.split(r"([-_. ])", name) for name in names), strict=False)
    same = "".join(word[0] for word in takewhile(lambda word: len(set(word)) == 1, words)).rstrip("-_. ")
    return same or f"{names[0]} and {len(names) - 1} more"
