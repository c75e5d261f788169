"""Write detections as a vector layer: whole or not at all, and the same bytes for the same detections."""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from geoscan.errors import GeoscanError, InputError, OutputError

if TYPE_CHECKING:
    import geopandas

    from geoscan.polygons import Detection, Provenance

LAYER = "mines"
"""Name of the layer inside the file."""

_COLUMNS = {
    "scene": "str",
    "score_max": "float64",
    "score_mean": "float64",
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
    "geoscan": "str",
}
"""The attributes of `polygons.properties` and their types, which a layer without detections has too."""


def check_target(path: Path | str) -> None:
    """Say before a scan whether its result can be written to `path`.

    Raises InputError for a suffix of no known format, a folder that is missing or cannot be written, or a folder in
    the file's place.
    """
    path = Path(path)
    if path.suffix.lower() not in WRITERS:
        given = f"the suffix {path.suffix!r}" if path.suffix else "no suffix"
        raise InputError(f"{path} has {given}, which names no vector format; end it in {', '.join(WRITERS)}")
    if path.is_dir():
        raise InputError(f"{path} is a folder; name a file in it, such as {path / f'mines{path.suffix}'}")
    folder = _real(path).parent
    if not folder.is_dir():
        raise InputError(f"{path} lies in {folder}, which is not a folder; make it first, or write elsewhere")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"{folder} may not be written to; change its permissions, or write elsewhere")


def write(path: Path | str, detections: Sequence[Detection], provenance: Sequence[Provenance]) -> None:
    """Write detections, in the order given, to a .geojson, .json, .gpkg, .fgb or .parquet file.

    provenance: one for each scene that was scanned, with detections or without.
    An existing file is replaced, in one step; after a failure it is still there. Raises InputError as `check_target`
    does, OutputError when writing fails.
    """
    path = Path(path)
    check_target(path)
    content = WRITERS[path.suffix.lower()](detections, provenance)
    with replacing(path) as part:
        part.write_bytes(content)


@contextlib.contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """A hidden path beside `path` with its suffix: what is written there takes its place when the block ends well.

    Raises OutputError in place of an OSError, which rasterio's errors are too; after any error `path` is as it was.
    """
    target = _real(Path(path))
    part = target.with_name(f".{target.stem}.{os.getpid()}.part{target.suffix}")
    try:
        yield part
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(target)
    except GeoscanError:
        raise  # a ReadError is an OSError too
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split()) or type(error).__name__
        raise OutputError(f"{path} could not be written: {reason}; make room or write elsewhere") from error
    finally:
        with contextlib.suppress(OSError):  # gone when all went well
            part.unlink()


def _real(path: Path) -> Path:
    """The file itself, so that a link to it stays a link."""
    return Path(os.path.realpath(path))


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
        return _ogr("GPKG", detections, layer_metadata={"geoscan": _dumps(_summary(provenance))})


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
