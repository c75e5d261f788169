"""Write detections as a vector layer: whole or not at all, and the same bytes for the same detections."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from geoscan import files

if TYPE_CHECKING:
    import geopandas

    from geoscan.polygons import Detection, Provenance

LAYER = "mines"
"""Name of the layer inside the file."""

_CAUSES: Final = 1000
"""Chips that could not be read, and are named one by one in a layer's metadata; they are counted to the last."""


class Attribute(NamedTuple):
    """One attribute of a detection."""

    dtype: str
    """As pandas names it."""

    meaning: str


ATTRIBUTES: Final = {
    "scene": Attribute("str", "file name of the scene, with folders where several scenes have one name"),
    "score_max": Attribute("float64", "highest mine score of its chips, 0 to 1"),
    "score_mean": Attribute("float64", "mean mine score of its chips, 0 to 1"),
    "probability": Attribute(
        "float64", "probability that its best chip shows a mine, assuming that a fraction `prior` of the chips do"
    ),
    "n_chips": Attribute("int64", "number of chips that it joins"),
    "area_ha": Attribute("float64", "geodesic area in hectares"),
    "other_labels": Attribute("str", "other land labels that its chips carry, separated by commas"),
    "other_scores": Attribute("str", "mean scores of these labels, in the same order"),
    "weather": Attribute("str", "the likeliest weather; empty when the model does not tell"),
    "haze": Attribute("float64", "mean score of haze, 0 to 1; empty when the model does not tell"),
    "model": Attribute("str", "name of the model"),
    "digest": Attribute("str", "digest of the model, which tells models of one name apart"),
    "operate": Attribute("str", "operating point in the model's card; custom where a threshold was asked for"),
    "threshold_high": Attribute("float64", "score that its best chip had to reach"),
    "threshold_low": Attribute("float64", "score from which neighbouring chips joined"),
    "threshold_isolated": Attribute("float64", "score that a chip without neighbours had to reach"),
    "tta": Attribute("bool", "whether scores are means over rotations and mirror images: test-time augmentation"),
    "prior": Attribute("float64", "fraction of the scene's chips assumed to show a mine; empty without probability"),
    "geoscan": Attribute("str", "version of geoscan"),
}
"""The attributes of `polygons.properties`, in their order; a layer without detections has them too."""


def check_target(path: Path | str, sources: Iterable[str] = ()) -> None:
    """Check, before any work, that the result of a scan of `sources` can be written to `path`.

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
    """What was scanned, and what could not be read: so a layer without detections says so too."""
    from geoscan.polygons import described

    return {"scenes": [_of_scene(one, described(one)) for one in provenance]}


def _of_scene(source: Provenance, described: dict[str, Any]) -> dict[str, Any]:
    causes = {"failures": list(source.failed[:_CAUSES])} if source.failed else {}
    return {"scene": source.scene, **described, "reading": dict(source.reading), "failed": len(source.failed), **causes}


def frame(detections: Sequence[Detection]) -> geopandas.GeoDataFrame:
    """Give detections as a table: `ATTRIBUTES`, and outlines in EPSG:4326, each a MultiPolygon."""
    import geopandas
    import pandas as pd
    from shapely.geometry import MultiPolygon, Polygon

    from geoscan.polygons import properties

    rows = [properties(one) for one in detections]
    columns = {name: pd.Series([row[name] for row in rows], dtype=one.dtype) for name, one in ATTRIBUTES.items()}
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
        frame(detections), file, driver=driver, layer=LAYER, geometry_type="MultiPolygon", **options
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
    frame(detections).to_parquet(plain, index=False)
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
