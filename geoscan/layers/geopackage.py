"""GeoPackage: all that a scan tells in one file, styled; the same bytes for the same scan."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from geoscan.errors import OutputError
from geoscan.layers import chips, detections, footprint, metadata, obscured, style
from geoscan.layers.about import about, dumps

if TYPE_CHECKING:
    import pandas as pd

    from geoscan.layers.attributes import Attribute
    from geoscan.polygons import Detection
    from geoscan.seen import Seen

_OPTIONS: Final = {
    # GDAL stamps a GeoPackage with the time of writing unless it is told one.
    "OGR_CURRENT_DATE": "1970-01-01T00:00:00.000Z",
    # The file replaces another only when it is whole: no journal need bring back a half-written one.
    "OGR_SQLITE_JOURNAL": "OFF",
    "OGR_SQLITE_SYNCHRONOUS": "OFF",
}
_LAYER: Final = {
    "GEOMETRY_NAME": chips.GEOMETRY,
    # Which SQLite serves GDAL depends on what the process loaded before it, and not each can index.
    # Equal scans are to be equal files; QGIS makes an index where one is wanted.
    "SPATIAL_INDEX": "NO",
}
_PLACED: Final[dict[str, Any]] = {"geometry_type": "MultiPolygon", "crs": "EPSG:4326", "layer_options": _LAYER}
_VERSION: Final = {"VERSION": "1.2"}
"""QGIS up to 3.34 warns of a later one."""


def write(path: Path, found: Sequence[Detection], scenes: Sequence[Seen]) -> None:
    """Make the file, with the layers detections, chips, obscured, footprint, metadata, and their styles.

    Without scenes, as where two layers are compared, nobody knows more than the detections: they are alone then.
    Raises OutputError when it cannot be written, SceneError where a part of a scene has no place on the globe.
    """
    tables: dict[str, tuple[Any, Mapping[str, Attribute]]] = {
        detections.LAYER: (detections.frame(found), detections.ATTRIBUTES)
    }
    if scenes:
        tables |= {
            chips.LAYER: (chips.reader(scenes), chips.attributes(scenes)),
            obscured.LAYER: (obscured.frame(scenes), obscured.ATTRIBUTES),
            footprint.LAYER: (footprint.frame(scenes), footprint.ATTRIBUTES),
            metadata.LAYER: (metadata.frame(scenes), metadata.ATTRIBUTES),
        }
    _write(path, tables, scenes)


def write_obscured(path: Path, scenes: Sequence[Seen]) -> None:
    """Make a file with the layer obscured alone; raises as `write` does."""
    _write(path, {obscured.LAYER: (obscured.frame(scenes), obscured.ATTRIBUTES)}, scenes)


def _write(path: Path, tables: Mapping[str, tuple[Any, Mapping[str, Attribute]]], scenes: Sequence[Seen]) -> None:
    from pyogrio.errors import DataLayerError, DataSourceError

    path.unlink(missing_ok=True)
    said = {"geoscan": dumps(about(scenes))}
    try:
        with _gdal_options(_OPTIONS), warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of a half-written file, where the disk is full
            for name, (table, _) in tables.items():
                _append(path, name, table, said if path.exists() is False else {})
            _append(path, style.TABLE, _styles({name: attributes for name, (_, attributes) in tables.items()}), {})
    except (DataLayerError, DataSourceError) as err:
        _blame_disk(path)
        raise OutputError(f"a GeoPackage could not be written: {err}; make room or write elsewhere") from err
    _settle(path)


def _append(path: Path, name: str, table: Any, said: Mapping[str, str]) -> None:
    """Add a layer: of a stream of Arrow's, or of a table with places or without."""
    import geopandas
    import pyogrio

    how: dict[str, Any] = {"driver": "GPKG", "layer": name, "append": path.exists(), "layer_metadata": dict(said)}
    if not path.exists():
        how["dataset_options"] = _VERSION
    if hasattr(table, "__arrow_c_stream__") and not hasattr(table, "columns"):
        pyogrio.write_arrow(table, path, geometry_name=chips.GEOMETRY, **_PLACED, **how)
    elif isinstance(table, geopandas.GeoDataFrame):
        pyogrio.write_dataframe(table, path, **{k: v for k, v in _PLACED.items() if k != "crs"}, **how)
    else:
        pyogrio.write_dataframe(table, path, **how)


def _styles(layers: Mapping[str, Mapping[str, Attribute]]) -> pd.DataFrame:
    """The table in which QGIS looks for the style of a layer that it opens."""
    import pandas as pd

    rows = [
        {
            "f_table_catalog": "",
            "f_table_schema": "",
            "f_table_name": name,
            "f_geometry_column": "" if name == metadata.LAYER else chips.GEOMETRY,
            "styleName": name,
            "styleQML": style.qml(name, attributes),
            "styleSLD": "",
            "useAsDefault": True,
            "description": "by geoscan",
            "owner": "",
            "ui": "",
            "update_time": pd.Timestamp(0, tz="UTC"),
        }
        for name, attributes in layers.items()
    ]
    return pd.DataFrame(rows)


def _settle(path: Path) -> None:
    """Let the header of SQLite say nothing but of the file."""
    # For the same reason as in `_LAYER` its count of changes (byte 24, repeated at 92) and its version (byte 96) say
    # nothing about the file (SQLite's "Database File Format", section 1.3); equal counts say that the rest holds.
    with path.open("r+b") as file:
        for place, content in ((24, (1).to_bytes(4, "big")), (92, (1).to_bytes(4, "big") + bytes(4))):
            file.seek(place)
            file.write(content)


def _blame_disk(path: Path) -> None:
    """Raise the OSError that kept a file from growing, where that is why: GDAL has no word for a full disk."""
    with path.open("ab") as file:
        file.write(bytes(2**20))
        file.flush()


@contextlib.contextmanager
def _gdal_options(options: Mapping[str, str]) -> Iterator[None]:
    import pyogrio

    before = {name: pyogrio.get_gdal_config_option(name) for name in options}
    pyogrio.set_gdal_config_options(dict(options))
    try:
        yield
    finally:
        pyogrio.set_gdal_config_options(before)
