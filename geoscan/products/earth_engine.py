"""Earth Engine's exports that are cut into parts: name-0000000000-0000004096.tif begins at row 0, column 4096.

One that is whole is a plain GeoTIFF. What its values mean, floats of 0 to 1 or integers x 10,000, it does not say.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from geoscan import gdal
from geoscan.errors import SceneError
from geoscan.products import Product
from geoscan.products.bundle import is_macs
from geoscan.products.rasters import look_into
from geoscan.products.tiles import Tile, side_by_side

KIND: Final = "Earth Engine export"

_PART: Final = re.compile(r"(?P<name>.+)-(?P<row>\d{10})-(?P<col>\d{10})\.tiff?", re.IGNORECASE | re.DOTALL)
_ALONE: Final = (
    "it is called like a part of an Earth Engine export, and in an archive or over a network the others are not looked "
    "for: fetch all of them into one folder, and give that"
)
"""What is told of such a part."""

_NAMED: Final = 4
"""Missing parts that a message names, at most."""


def recognise(path: str) -> Product | None:
    """Recognise an export in parts by any of them, by what their names have in common, or by their directory.

    A directory is one when all rasters in it are parts of one export. Of a part over a network or in an archive the
    others are not looked for: it is a plain raster with a warning.
    Raises SceneError for parts that are missing, damaged, or do not fit together.
    """
    given = Path(path).absolute()
    if gdal.is_remote(path) or not gdal.exists(str(given.parent)):
        name = gdal.short_name(path)
        return Product(path, name, files=(path,), warnings=(_ALONE,)) if _PART.fullmatch(name) else None
    found = _PART.fullmatch(given.name)
    name = found["name"] if found else given.name
    parts: list[_Part] = []
    with suppress(OSError, ValueError):  # no directory, or no name that one could have
        if given.is_dir():
            parts = _alone(given)
        elif found or not given.exists():
            parts = [part for part in _parts(given.parent) if part.name == name]
    return _whole(parts) if parts else None


@dataclass(frozen=True, slots=True)
class _Part:
    path: Path
    name: str
    row: int
    col: int


def _parts(folder: Path) -> list[_Part]:
    matches = ((file, _PART.fullmatch(file.name)) for file in sorted(folder.iterdir()) if not is_macs(file.name))
    return [_Part(file, found["name"], int(found["row"]), int(found["col"])) for file, found in matches if found]


def _alone(folder: Path) -> list[_Part]:
    """Give the parts in `folder`, if its rasters are those of one export and no others."""
    parts = _parts(folder)
    rasters = [
        file for file in folder.iterdir() if file.suffix.lower() in (".tif", ".tiff", ".vrt") and not is_macs(file.name)
    ]
    return parts if len({part.name for part in parts}) == 1 and len(parts) == len(rasters) else []


def _whole(parts: Sequence[_Part]) -> Product:
    """Lay all parts of one export side by side."""
    name = parts[0].name
    tiles = [_tile(part) for part in parts]
    places = [tile.raster.place for tile in tiles]
    high, wide = max(place.rows for place in places), max(place.cols for place in places)
    _check_complete(parts, high, wide)
    begin = places[0]
    as_named = all(
        (round(row), round(col)) == (part.row, part.col)
        for part, (row, col) in zip(parts, (place.offset(begin) for place in places), strict=True)
    )
    whole = tiles[0].product if len(tiles) == 1 else side_by_side(tiles, name, KIND)
    if whole is None or not as_named:
        raise SceneError(f"the {len(parts)} parts of {name} do not lie on one grid as their names say; export it again")
    return whole


def _tile(part: _Part) -> Tile:
    path = str(part.path)
    raster = look_into(path)
    if raster is None:
        raise SceneError(f"{part.path.name} is a part of {part.name} and no raster with a CRS; fetch it again")
    return Tile(Product(path, part.name, KIND, files=(path,)), raster)


def _check_complete(parts: Sequence[_Part], high: int, wide: int) -> None:
    """Raise SceneError when parts are missing; all but the last of a row or column have `high` rows, `wide` columns.

    A last row or column that is missing altogether cannot be told.
    """
    there = {(part.row, part.col) for part in parts}
    last_row, last_col = (max(at) for at in zip(*there, strict=True))
    wanted = ((row, col) for row in range(0, last_row + 1, high) for col in range(0, last_col + 1, wide))
    missing = [f"row {row}, col {col}" for row, col in islice((at for at in wanted if at not in there), _NAMED + 1)]
    if missing:
        more = "; and more" if len(missing) > _NAMED else ""
        raise SceneError(
            f"{parts[0].name} lacks its parts at {'; '.join(missing[:_NAMED])}{more}: fetch them; where the export "
            "left out empty ones, make one file of the others with gdalbuildvrt"
        )
