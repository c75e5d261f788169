"""Vector layers: every format reopens, empty ones too; the same bytes each time; whole or not at all."""

import contextlib
import json
import math
import os
import pickle
import sqlite3
import subprocess
import sys
import textwrap
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pyogrio
import pytest
import shapely
from affine import Affine
from open_layers import opened
from sights import seen

from geoscan import layers
from geoscan.errors import InputError, OutputError
from geoscan.grid import TileGrid
from geoscan.layers import WRITERS, check_target, write
from geoscan.polygons import Hysteresis, Provenance, detections, properties
from geoscan.states import Review, Status

T = Hysteresis(high=0.6, low=0.3, isolated=0.9)
SOURCES = [Provenance(f"scene {i}é.tif", "planet", "sha256:00", T, "0.1.0", prior=0.008) for i in (1, 2)]
SCENES = [seen(source) for source in SOURCES]
LABELS = ("clear", "haze", "water", "artisinal_mine")
SUFFIXES = list(WRITERS)
TRANSFORMS = [Affine(3.7, 0, x, 0, -3.7, 9_317_000) for x in (552_000, 560_000)]


@pytest.fixture(scope="module")
def found():
    """Detections of two scenes: one with a hole, one in two parts that touch at a corner, one lone tile."""
    mine = np.zeros((5, 9), np.float32)
    mine[1:4, 1:4] = 0.7
    mine[2, 2] = 0.1
    mine[0, 5] = mine[1, 6] = 0.65
    mine[4, 8] = 0.95
    grid = TileGrid(1200, 2200, 256, 256)
    scores = np.column_stack([np.full(45, 0.8), np.full(45, 0.2), np.full(45, 0.6), mine.ravel()]).astype(np.float32)
    how = {"probabilities": mine.ravel() / 10, "label_thresholds": {"water": 0.5}}
    said = {"status": Status.GROWN, "gained_ha": 1.5, "first_seen": "2023-08-23", "review": Review.MINE}
    return [
        replace(one, **said)
        for source, transform in zip(SOURCES, TRANSFORMS, strict=True)
        for one in detections(grid, scores, LABELS, source, transform, "EPSG:32721", **how)
    ]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_format_gives_back_shapes_and_attributes(found, tmp_path, suffix):
    path = tmp_path / f"mines{suffix}"
    write(path, found, SCENES)
    frame = opened(path)
    assert frame.crs.to_epsg() == 4326
    assert len(frame) == len(found) == 6
    assert frame.geometry.is_valid.all()
    want = [properties(one) for one in found]
    assert [c for c in frame.columns if c != "geometry"] == list(want[0])
    frame["first_seen"] = frame["first_seen"].astype(str)  # GeoJSON has no dates, but GDAL finds them
    order = (
        frame.sort_values(["scene", "area_ha", "score_max"]) if suffix == ".fgb" else frame
    )  # FlatGeobuf sorts by place
    if suffix == ".fgb":
        pairs = sorted(
            zip(want, found, strict=True), key=lambda p: [p[0][k] for k in ("scene", "area_ha", "score_max")]
        )
    else:
        pairs = list(zip(want, found, strict=True))
    assert order[list(want[0])].to_dict("records") == [w for w, _ in pairs]
    for shape, (_, one) in zip(order.geometry, pairs, strict=True):
        assert shapely.equals(shape, one.geometry)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_nobody_knows_is_null(found, tmp_path, suffix):
    path = tmp_path / f"mines{suffix}"
    source = replace(SOURCES[0], prior=None)
    unknown = {"probability": None, "haze": np.nan, "status": None, "gained_ha": None, "first_seen": None}
    write(path, [replace(found[0], **unknown, provenance=source), found[1]], [seen(source)])
    frame = opened(path)
    assert frame[["prior", *unknown]].isna().sum().tolist() == [1] * 6


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_no_detections_are_a_valid_layer_with_typed_columns(found, tmp_path, suffix):
    path = tmp_path / f"mines{suffix}"
    write(path, [], SCENES)
    frame = opened(path)
    assert len(frame) == 0
    assert frame.crs.to_epsg() == 4326
    if suffix in (".gpkg", ".fgb"):
        info = pyogrio.read_info(path, layer=layers.LAYER)
        assert info["geometry_type"] == "MultiPolygon"
        assert list(info["fields"]) == list(properties(found[0]))
    if suffix not in (".geojson", ".json"):  # GeoJSON declares no columns
        kinds = {"str": "OTU", "float64": "f", "int64": "i", "bool": "b"}
        for name, one in layers.ATTRIBUTES.items():
            assert frame[name].dtype.kind in kinds[one.dtype], name


def test_the_attributes_are_those_of_the_properties(found):
    row = properties(found[0])
    assert list(layers.ATTRIBUTES) == list(row)
    names = {str: "str", float: "float64", int: "int64", bool: "bool"}
    assert [one.dtype for one in layers.ATTRIBUTES.values()] == [names[type(value)] for value in row.values()]


@pytest.mark.parametrize("count", [0, 6])
def test_geojson_follows_rfc_7946(found, tmp_path, count):
    path = tmp_path / "mines.geojson"
    write(path, found[:count], SCENES)
    text = path.read_text("utf-8")
    data = json.loads(text)
    assert data["type"] == "FeatureCollection"
    assert "crs" not in data
    assert [scene["scene"] for scene in data["geoscan"]["scenes"]] == ["scene 1é.tif", "scene 2é.tif"]
    assert data["geoscan"]["scenes"][0]["threshold_high"] == 0.6
    assert len(data["features"]) == count
    assert text.count("\n") == count + 2, "one feature a line"
    for feature in data["features"]:
        shape = shapely.geometry.shape(feature["geometry"])
        for part in shapely.get_parts(shape):
            assert part.exterior.is_ccw
            assert part.exterior.coords[0] == part.exterior.coords[-1]
            assert not any(hole.is_ccw for hole in part.interiors)


def test_binary_formats_say_what_was_scanned(tmp_path):
    for suffix in (".gpkg", ".fgb", ".parquet"):
        write(tmp_path / f"mines{suffix}", [], SCENES)
    about = [
        pyogrio.read_info(tmp_path / "mines.gpkg", layer=layers.LAYER)["layer_metadata"]["geoscan"],
        pq.read_schema(tmp_path / "mines.parquet").metadata[b"geoscan"].decode(),
    ]
    assert [json.loads(text)["scenes"][1]["scene"] for text in about] == ["scene 2é.tif"] * 2
    assert b'"model": "planet"' in (tmp_path / "mines.fgb").read_bytes()


def elsewhere(code, given, **environment):
    """What code prints in another process, to which `given` is handed over."""
    run = subprocess.run(
        [sys.executable, "-c", f"import pickle, sys\ngiven = pickle.load(sys.stdin.buffer)\n{textwrap.dedent(code)}"],
        input=pickle.dumps(given),
        capture_output=True,
        check=False,
        env={**os.environ, **environment},
    )
    assert run.returncode == 0, run.stderr.decode()
    return run.stdout.decode()


def test_the_same_detections_are_the_same_bytes(found, tmp_path):
    (tmp_path / "other").mkdir()
    names = {f"{len(some)}{suffix}": some for suffix in SUFFIXES for some in (found, [])}
    for name, some in names.items():
        write(tmp_path / name, some, SCENES)
    code = """
        from geoscan.layers import write
        for path, found, scenes in given:
            write(path, found, scenes)
    """
    given = [(tmp_path / "other" / name, some, SCENES) for name, some in names.items()]
    elsewhere(code, given, TZ="Asia/Tokyo", PYTHONHASHSEED="7")
    for name in names:
        assert (tmp_path / name).read_bytes() == (tmp_path / "other" / name).read_bytes(), name


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_existing_file_is_replaced(found, tmp_path, suffix):
    path = tmp_path / f"mines{suffix}"
    write(path, found, SCENES)
    write(path, found[:1], SCENES[:1])
    assert len(opened(path)) == 1
    assert {p.name for p in tmp_path.iterdir()} == {path.name, *(["mines.qml"] if suffix != ".gpkg" else [])}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_failure_leaves_the_old_file_and_nothing_else(found, tmp_path, monkeypatch, suffix):
    path = tmp_path / f"mines{suffix}"
    path.write_bytes(b"old")

    def half(part, content):
        with part.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError(28, "No space left on device")

    def none(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", half)
    monkeypatch.setattr("pyogrio.write_arrow", none)  # the second layer of a GeoPackage
    with pytest.raises(OutputError, match="could not be written: No space left on device; make room") as caught:
        write(path, found, SCENES)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.skipif(sys.platform == "win32", reason="limits the size of files as only POSIX can")
def test_a_full_disk_is_an_output_error(found, tmp_path):
    paths = [tmp_path / f"mines{suffix}" for suffix in SUFFIXES]
    for path in paths:
        path.write_bytes(b"old")
    code = """
        import resource
        from geoscan.errors import OutputError
        from geoscan.layers import write
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
        for path, found, scenes in given:
            try:
                write(path, found, scenes)
            except OutputError as error:
                print(error)
    """
    given = [(path, found * 20, SCENES) for path in paths]
    printed = elsewhere(code, given, PYTHONDONTWRITEBYTECODE="1").splitlines()  # cut short, it would be damaged
    assert len(printed) == len(paths)
    for path, line in zip(paths, printed, strict=True):
        assert line.startswith(f"{path} could not be written: File too large; ")
        assert path.read_bytes() == b"old"
    assert sorted(tmp_path.iterdir()) == sorted(paths)


def test_a_target_that_does_not_fit_is_refused_before_a_scan(tmp_path):
    with pytest.raises(InputError, match=r"the suffix '\.shp'.*\.geojson, \.json, \.gpkg, \.fgb, \.parquet"):
        check_target(tmp_path / "mines.shp")
    (tmp_path / "scene.gpkg").touch()
    with pytest.raises(InputError, match="is the scene itself"):
        check_target(tmp_path / "scene.gpkg", [str(tmp_path / "scene.gpkg")])
    check_target(tmp_path / "MINES.GeoJSON", [str(tmp_path / "scene.gpkg")])


def test_a_geopackage_that_is_being_edited_is_not_replaced(found, tmp_path):
    path = tmp_path / "mines.gpkg"
    write(path, found, SCENES)
    before = path.read_bytes()
    (tmp_path / "mines.gpkg-wal").write_bytes(b"edits")
    with pytest.raises(InputError, match=r"is being edited, as .*-wal shows; save and close it"):
        write(path, found[:1], SCENES)
    assert path.read_bytes() == before
    check_target(tmp_path / "mines.geojson")


def test_a_geopackage_is_of_a_version_that_older_readers_know(found, tmp_path):
    write(tmp_path / "mines.gpkg", found, SCENES)
    with contextlib.closing(sqlite3.connect(tmp_path / "mines.gpkg")) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (10200,)


def test_a_model_without_haze_writes_null(tmp_path):
    grid = TileGrid(256, 256, 256, 256)
    found = detections(grid, np.ones((1, 1), np.float32), ("artisinal_mine",), SOURCES[0], TRANSFORMS[0], "EPSG:32721")
    for suffix in (".geojson", ".gpkg"):
        write(tmp_path / f"mines{suffix}", found, SCENES[:1])
        (value,) = opened(tmp_path / f"mines{suffix}")["haze"]
        assert value is None or math.isnan(value)


def test_a_geopackage_without_scenes_does_not_say_that_nothing_was_seen(found, tmp_path):
    write(tmp_path / "changes.gpkg", found, [])
    assert pyogrio.list_layers(tmp_path / "changes.gpkg")[:, 0].tolist() == ["detections", "layer_styles"]
