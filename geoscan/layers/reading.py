"""Read vector layers, which anybody may have made: as tables, with what their files say of themselves."""

from __future__ import annotations

import json
import warnings
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from geoscan.errors import InputError, one_line
from geoscan.gdal import is_utf8
from geoscan.layers import detections, footprint, obscured

if TYPE_CHECKING:
    import geopandas
    import pandas as pd

_BEGIN: Final = {
    ".geojson": b"{",
    ".json": b"{",
    ".gpkg": b"SQLite format 3\0",
    ".fgb": b"fgb\x03",
    ".parquet": b"PAR1",
    ".shp": b"\x00\x00\x27\x0a",
}
"""How a file of each suffix begins: GDAL goes by the content, and would follow one that names a server."""

_BLANK: Final = b"\xef\xbb\xbf \t\r\n"
"""What may stand before it, where it is text."""

_MOST_BYTES: Final = 2**29
"""Of a file that is read as one; of a GeoPackage a layer alone is."""

_MOST_TOLD: Final = 2**24
"""Bytes of metadata."""

_DAMAGE: Final = (RuntimeError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, OSError)
"""What the readers raise over files that contradict themselves."""

_MOST_FEATURES: Final = 200_000
"""Twice what the largest scenes have; each takes some kilobytes and a tenth of a millisecond."""

_ATTRIBUTES: Final = {*detections.ATTRIBUTES, *obscured.ATTRIBUTES, *footprint.ATTRIBUTES}
"""Columns of layers of geoscan's."""


class UnreadError(InputError):
    """Nobody has looked into a file, which may be a layer: it is too large, may not be read, or cannot be named."""


def read_table(path: Path, names: Sequence[str]) -> tuple[geopandas.GeoDataFrame, Any]:
    """Read a .geojson, .json, .gpkg, .fgb, .parquet or .shp file.

    names: of the layer, where a file holds several; the first that is there is taken.
    Returns its features, in the layer's own CRS, and its metadata (see `about`), None where it has none. Columns that
    differ from ours in capitals alone have our names.
    Raises InputError for what is no such file, or holds several layers of other names, and of these UnreadError for
    what is too large, or cannot be opened.
    """
    _check(path)
    with readable(path):
        frame, told = _from_parquet(path) if path.suffix.lower() == ".parquet" else _from_ogr(path, names)
        return frame.rename(columns=_renamed(list(frame))), told


def layer_names(path: Path) -> list[str]:
    """Name the layers of a file that have geometries. Raises InputError as `read_table` does."""
    return [name for name, kind in _listed(path) if kind is not None]


def table_names(path: Path) -> list[str]:
    """Name the layers of a file, and its tables without geometries. Raises InputError as `read_table` does."""
    return [name for name, _ in _listed(path)]


def read_columns(path: Path, layer: str, but: Collection[str]) -> pd.DataFrame:
    """Read the columns of a file, without geometries: of `layer`, where it is a GeoPackage; none where it lacks that.

    but: names of columns that are left out, however a file writes them. Columns are named as by `read_table`.
    Raises InputError as it does.
    """
    import pandas as pd

    _check(path)
    with readable(path):
        if path.suffix.lower() == ".parquet":
            import pyarrow as pa
            import pyarrow.parquet as pq

            schema = pq.read_schema(path)
            shapes = {one.name for one in schema if pa.types.is_binary(one.type) or pa.types.is_nested(one.type)}
            wanted = [name for name in schema.names if name not in shapes and name.lower() not in but]
            found = pd.DataFrame(pq.read_table(path, columns=wanted).to_pandas())
            return found.rename(columns=_renamed(wanted))
        import pyogrio

        if path.suffix.lower() != ".gpkg":
            layer = table_names(path)[0]
        elif layer not in table_names(path):
            return pd.DataFrame()
        info = pyogrio.read_info(path, layer=layer, force_feature_count=True)
        wanted = [name for name in info["fields"] if name.lower() not in but]
        if not wanted:
            return pd.DataFrame(index=range(info["features"]))
        found = pd.DataFrame(pyogrio.read_dataframe(path, layer=layer, columns=wanted, read_geometry=False))
        return found.rename(columns=_renamed(wanted))


def read_where(path: Path, layer: str, where: str) -> geopandas.GeoDataFrame:
    """Read the features of a GeoPackage's layer that fit a condition in SQL: their column `scene`, and geometries.

    Raises InputError as `read_table` does.
    """
    import geopandas
    import pyogrio

    _check(path)
    with readable(path):
        return geopandas.GeoDataFrame(pyogrio.read_dataframe(path, layer=layer, columns=["scene"], where=where))


def column_names(path: Path, layer: str) -> list[str]:
    """Name the columns of a layer. Raises InputError as `read_table` does."""
    import pyogrio

    _check(path)
    with readable(path):
        return [str(name) for name in pyogrio.read_info(path, layer=layer)["fields"]]


def _renamed(names: Sequence[str]) -> dict[str, str]:
    """Give our names of columns that programs or people have written in capitals, of each the first; ours stay."""
    found: dict[str, str] = {}
    for name in names:
        ours = name.lower()
        if ours in _ATTRIBUTES and ours not in names and ours not in found.values():
            found[name] = ours
    return found


def _listed(path: Path) -> list[tuple[str, str | None]]:
    import pyogrio

    _check(path)
    with readable(path):
        return [(str(name), kind) for name, kind in pyogrio.list_layers(path)]


def _check(path: Path) -> None:
    """Look at a file before GDAL does."""
    suffix = path.suffix.lower()
    if suffix not in _BEGIN:
        raise InputError(f"{path} is no layer, by its suffix; give one that ends in {', '.join(_BEGIN)}")
    try:
        if not path.is_file():
            raise InputError(f"{path} is {'no file' if path.exists() else 'missing'}; give an earlier layer")
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(1024)
    except OSError as error:
        raise UnreadError(f"{path} cannot be read: {error.strerror}; give an earlier layer") from error
    if not is_utf8(str(path)):
        raise UnreadError(f"{path} has a name that is not UTF-8, which GDAL cannot read; rename it")
    if size > _MOST_BYTES and suffix != ".gpkg":
        raise UnreadError(f"{path} has {size:,} bytes, of which {_MOST_BYTES:,} fit; give a part of it")
    if not start.lstrip(_BLANK).startswith(_BEGIN[suffix]):
        raise InputError(f"{path} is no {suffix[1:]} file, or is damaged; give an earlier layer")


def _check_count(path: Path, count: int) -> None:
    if count > _MOST_FEATURES:
        raise InputError(f"{path} has {count:,} features, of which {_MOST_FEATURES:,} fit; give a part of it")


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn what is raised over a damaged file, while it is read or afterwards, into one line."""
    from shapely.errors import ShapelyError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they warn of what they mend or leave out; what counts is checked here
            yield
    except InputError:
        raise
    except (*_DAMAGE, ShapelyError) as error:
        raise InputError(f"{path} cannot be read as a layer: {one_line(error)[:200]}; give an earlier layer") from error


def _from_parquet(path: Path) -> tuple[geopandas.GeoDataFrame, Any]:
    import geopandas
    import pyarrow.parquet as pq

    facts = pq.read_metadata(path)
    _check_count(path, facts.num_rows)
    unpacked = sum(facts.row_group(n).total_byte_size for n in range(facts.num_row_groups))
    if unpacked > _MOST_BYTES:
        raise InputError(f"{path} unpacks to {unpacked:,} bytes, of which {_MOST_BYTES:,} fit; give a part of it")
    return geopandas.read_parquet(path), _parsed((facts.metadata or {}).get(b"geoscan", b""))


def _from_ogr(path: Path, names: Sequence[str]) -> tuple[geopandas.GeoDataFrame, Any]:
    import geopandas
    import pyogrio

    layer = _chosen(path, names)
    info = pyogrio.read_info(path, layer=layer, force_feature_count=True)
    _check_count(path, info["features"])
    frame = pyogrio.read_dataframe(path, layer=layer)
    if not isinstance(frame, geopandas.GeoDataFrame):
        raise InputError(f"{path} has no geometries; give a layer of polygons")
    metadata = info["layer_metadata"] or {}
    if path.suffix.lower() in (".geojson", ".json"):
        return frame, _told_by_geojson(path)
    return frame, _parsed(metadata.get("geoscan") or metadata.get("DESCRIPTION") or "")


def _chosen(path: Path, names: Sequence[str]) -> str:
    there = layer_names(path)
    found = next(([name] for name in names if name in there), there)
    if len(found) > 1:
        raise InputError(f"{path} holds several layers: {one_line(', '.join(there))[:200]}; give a file of one of them")
    if not found:
        raise InputError(f"{path} holds no layer with geometries; give an earlier layer")
    return found[0]


def _told_by_geojson(path: Path) -> Any:
    """Metadata stand before the features, also where GDAL has written the file anew; GDAL does not give them."""
    with path.open("rb") as file:
        head, _, _ = file.read(_MOST_TOLD).partition(b'"features"')
    told = _parsed(head.strip(_BLANK).removesuffix(b",") + b"}")
    return told.get("geoscan") if isinstance(told, dict) else None


def _parsed(text: str | bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
