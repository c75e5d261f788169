"""Write detections as a vector layer: whole or not at all, and the same bytes for the same detections."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from geoscan import files

if TYPE_CHECKING:
    import geopandas

    from geoscan.polygons import Detection, Provenance

LAYER = "mines"
"""Name of the layer inside the file."""

_COLUMNS = {
    "scene": "str",
    "score_max": "float64",
    "score_mean": "float64",
    "probability": "float64",
    "n_chips": "int64",
    "area_ha": "float64",
    "co_labels": "str",
    "co_scores": "str",
    "weather": "str",
    "haze": "float64",
    "model": "str",
    "digest": "str",
    "seed": "float64",
    "join": "float64",
    "lone": "float64",
    "tta": "bool",
    "prior": "float64",
    "geoscan": "str",
}
"""The attributes of `polygons.properties` and their types, which a layer without detections has too."""


def check_target(path: Path | str, sources: Iterable[str] = ()) -> None:
    """Say before a scan of `sources` whether its result can be written to `path`.

    Raises InputError for a suffix of no known format, and as `files.check_target` does.
    """
    files.check_target(path, WRITERS, "vector format", sources)


def write(path: Path | str, detections: Sequence[Detection], provenance: Sequence[Provenance]) -> None:
    """Write detections, in the order given, to a .geojson, .json, .gpkg, .fgb or .parquet file.

    provenance: one for each scene that was scanned, with detections or without.
    An existing file is replaced, in one step; after a failure it is still there. Raises InputError as `check_target`
    does, OutputError when writing fails.
    """
    path = Path(path)
    check_target(path)
    content = WRITERS[path.suffix.lower()](detections, provenance)
    with files.replacing(path) as part:
        part.write_bytes(content)


def _geojson(detections: Sequence[Detection], provenance: Sequence[Provenance]) -> bytes:
    """RFC 7946, one feature a line, so that a diff of two scans reads well."""
    from shapely.geometry import mapping

    from geoscan.polygons import properties

    features = [
        _dumps({"type": "Feature", "properties": properties(one), "geometry": mapping(one.geometry)})
        for one in detections
    ]
    head = _dumps({"type": "FeatureCollection", "name": LAYER, "geoscan": _summary(provenance)})
    body = ",\n".join(features)
    end = "\n]}\n" if features else "]}\n"
    return f'{head[:-1]}, "features": [\n{body}{end}'.encode()


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _summary(provenance: Sequence[Provenance]) -> dict[str, Any]:
    """What was scanned: so a layer without detections says so too."""
    from geoscan.polygons import described

    return {"scenes": [{"scene": one.scene, **described(one)} for one in provenance]}


def _frame(detections: Sequence[Detection]) -> geopandas.GeoDataFrame:
    import geopandas
    import pandas as pd
    from shapely.geometry import MultiPolygon, Polygon

    from geoscan.polygons import properties

    rows = [properties(one) for one in detections]
    columns = {name: pd.Series([row[name] for row in rows], dtype=dtype) for name, dtype in _COLUMNS.items()}
    # One geometry type a layer: what many readers, and GeoPackage, ask for.
    shapes = [MultiPolygon([g]) if isinstance(g := one.geometry, Polygon) else g for one in detections]
    return geopandas.GeoDataFrame(columns, geometry=geopandas.GeoSeries(shapes, crs="EPSG:4326"))


def _gpkg(detections: Sequence[Detection], provenance: Sequence[Provenance]) -> bytes:
    # GDAL stamps a GeoPackage with the time of writing unless it is told one.
    with _gdal_option("OGR_CURRENT_DATE", "1970-01-01T00:00:00.000Z"):
        content = bytearray(
            _ogr(
                "GPKG",
                detections,
                layer_metadata={"geoscan": _dumps(_summary(provenance))},
                dataset_options={"VERSION": "1.2"},  # QGIS up to 3.34 warns of a later one
                # Which SQLite serves GDAL depends on what the process loaded before it, and not each can index.
                # Equal detections are to be equal files, and some thousand polygons need no index.
                layer_options={"SPATIAL_INDEX": "NO"},
            )
        )
    # For the same reason its count of changes (byte 24, repeated at 92) and its version (byte 96) say nothing about the
    # file (SQLite's "Database File Format", section 1.3); equal counts say that the rest of the header holds.
    content[24:28] = content[92:96] = (1).to_bytes(4, "big")
    content[96:100] = bytes(4)
    return bytes(content)


def _fgb(detections: Sequence[Detection], provenance: Sequence[Provenance]) -> bytes:
    # Features come in the order of its spatial index; FlatGeobuf has no metadata but a description.
    return _ogr("FlatGeobuf", detections, layer_options={"TITLE": LAYER, "DESCRIPTION": _dumps(_summary(provenance))})


def _ogr(driver: str, detections: Sequence[Detection], **options: dict[str, str]) -> bytes:
    """A file as GDAL makes it, in memory: GDAL's own word for a full disk is some error of SQLite."""
    import pyogrio

    file = io.BytesIO()
    pyogrio.write_dataframe(
        _frame(detections), file, driver=driver, layer=LAYER, geometry_type="MultiPolygon", **options
    )
    return file.getvalue()


@contextlib.contextmanager
def _gdal_option(name: str, value: str) -> Iterator[None]:
    import pyogrio

    before = pyogrio.get_gdal_config_option(name)
    pyogrio.set_gdal_config_options({name: value})
    try:
        yield
    finally:
        pyogrio.set_gdal_config_options({name: before})


def _parquet(detections: Sequence[Detection], provenance: Sequence[Provenance]) -> bytes:
    import pyarrow.parquet as pq

    plain, described = io.BytesIO(), io.BytesIO()
    _frame(detections).to_parquet(plain, index=False)
    table = pq.read_table(plain)  # GeoPandas takes no metadata of ours
    metadata = {**table.schema.metadata, b"geoscan": _dumps(_summary(provenance)).encode()}
    pq.write_table(table.replace_schema_metadata(metadata), described, compression="zstd")
    return described.getvalue()


Writer: TypeAlias = Callable[["Sequence[Detection]", "Sequence[Provenance]"], bytes]

WRITERS: dict[str, Writer] = {
    ".geojson": _geojson,
    ".json": _geojson,
    ".gpkg": _gpkg,
    ".fgb": _fgb,
    ".parquet": _parquet,
}
"""Suffix to the function that makes a file of that format."""
