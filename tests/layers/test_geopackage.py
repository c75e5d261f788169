"""A GeoPackage holds all that a scan tells, under names that people read, and styles where QGIS looks for them."""

import contextlib
import os
import shutil
import sqlite3
import subprocess
import warnings
from dataclasses import replace

import geopandas
import numpy as np
import pyogrio
import pytest
from defusedxml import ElementTree
from geopandas.testing import assert_geodataframe_equal
from sights import PLACE, seen

from geoscan import layers
from geoscan.errors import InputError, OutputError
from geoscan.grid import TileGrid
from geoscan.layers import chips, footprint, geopackage, metadata, obscured
from geoscan.outlines import areas_ha
from geoscan.polygons import Hysteresis, Provenance, detections
from geoscan.seen import Sight

T = Hysteresis(high=0.6, low=0.3, isolated=0.9)
READING = {"product": "Sentinel-2 L2A", "date": "2026-08-01", "bands": "4,3,2", "values": "x 0.0001"}
FIRST = Provenance("a.tif", "sentinel2", "sha256:00", T, "0.1.0", operate="balanced", prior=0.008, reading=READING)
GRID = TileGrid(700, 1000, 256, 256)
NAMES = ["detections", "chips", "obscured", "footprint", "metadata", "layer_styles"]


@pytest.fixture(scope="module")
def scenes():
    """Two scenes, by models that know other labels; of the first a chip is cloudy, and one could not be read."""
    scores = np.linspace(0, 1, len(GRID) * 2, dtype=np.float32).reshape(-1, 2)
    sight = np.zeros(len(GRID), np.uint8)
    sight[2], sight[3] = Sight.CLOUDY, Sight.FAILED
    scores[3] = np.nan
    one = seen(FIRST, GRID, scores, labels=("bare_ground", "artisinal_mine"), sight=sight, failed={3: "no answer"})
    one.observed[3] = 0
    one.observed[0] //= 2
    card = {"model_pixel_m": 10.0, "model_finds": 0.52, "model_judged_by": "mine AP 0.87"}
    other = replace(FIRST, scene="b.tif", model="planet")
    return [replace(one, card=card, command="geoscan scan a.tif b.tif"), seen(other, labels=("artisinal_mine",))]


@pytest.fixture(scope="module")
def path(scenes, tmp_path_factory):
    path = tmp_path_factory.mktemp("layer") / "mines.gpkg"
    first = scenes[0]
    found = detections(GRID, first.scores, first.labels, FIRST, PLACE, first.crs)
    assert found
    layers.write(path, found, scenes)
    return path


def test_the_layers_are_there_and_detections_come_first(path):
    assert pyogrio.list_layers(path)[:, 0].tolist() == NAMES
    with contextlib.closing(sqlite3.connect(path)) as database:
        kinds = dict(database.execute("SELECT table_name, data_type FROM gpkg_contents"))
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert database.execute("PRAGMA foreign_key_check").fetchone() is None
    assert kinds == {name: "attributes" if name in NAMES[4:] else "features" for name in NAMES}


def test_chips_have_every_score(path, scenes):
    frame = geopandas.read_file(path, layer="chips")
    assert list(frame.columns) == [*chips.attributes(scenes), "geometry"]
    assert list(frame.columns)[5:7] == ["artisanal_mine", "bare_ground"]
    assert frame["scene"].tolist() == ["a.tif"] * len(GRID) + ["b.tif"]
    first = frame[: len(GRID)]
    assert first["chip"].tolist() == list(range(len(GRID)))
    want = np.round(scenes[0].scores.astype(float), 4)
    np.testing.assert_array_equal(first[["bare_ground", "artisanal_mine"]].to_numpy(), want)
    assert np.isnan(frame["bare_ground"].iloc[-1]), "the other model does not know it"
    assert first["sight"].tolist() == ["clear", "clear", "cloud", "failed", *["clear"] * (len(GRID) - 4)]
    assert first["observed"].tolist() == [0.5, 1, 1, 0, *[1.0] * (len(GRID) - 4)]
    assert first["flagged"].tolist() == (scenes[0].flagged.ravel() > 0).tolist()
    assert 0 < first["flagged"].sum() < len(GRID)
    flagged = first[first["flagged"]].union_all()
    assert flagged.symmetric_difference(geopandas.read_file(path, layer="detections").union_all()).area < 1e-8


def test_many_chips_are_written_piece_by_piece(scenes, tmp_path, monkeypatch):
    layers.write(tmp_path / "one.gpkg", [], scenes)
    monkeypatch.setattr("geoscan.layers.chips._AT_ONCE", 5)
    layers.write(tmp_path / "many.gpkg", [], scenes)
    one, many = (geopandas.read_file(tmp_path / f"{name}.gpkg", layer="chips") for name in ("one", "many"))
    assert_geodataframe_equal(one, many)


def test_footprints_are_the_outlines_of_scenes(path, scenes):
    frame = geopandas.read_file(path, layer="footprint")
    assert list(frame.columns) == [*footprint.ATTRIBUTES, "geometry"]
    assert frame["area_ha"].tolist() == pytest.approx(areas_ha(list(frame.geometry)).tolist(), abs=1e-4)
    assert frame["area_ha"][0] == pytest.approx(700 * 1000 * 3.7**2 / 1e4, rel=2e-3)
    cores = GRID.cores(np.arange(len(GRID)))[:, 2:].prod(axis=1)
    lost = cores[0] - cores[0] // 2 + cores[2] + cores[3]
    assert frame["observed"].tolist() == [round(1 - lost / (700 * 1000), 6), 1]
    assert frame["date"].tolist() == ["2026-08-01"] * 2


def test_metadata_say_how_each_scene_was_scanned(path, scenes):
    frame = pyogrio.read_dataframe(path, layer="metadata")
    assert list(frame.columns) == list(metadata.ATTRIBUTES)
    first, second = frame.to_dict("records")
    want = {"scene": "a.tif", **READING, "model": "sentinel2", "operate": "balanced", "threshold_high": 0.6}
    want |= {"model_pixel_m": 10, "model_finds": 0.52, "command": "geoscan scan a.tif b.tif", "geoscan": "0.1.0"}
    want |= {"n_chips": len(GRID), "n_cloudy": 1, "n_failed": 1, "n_nodata": 0, "stride_px": 256, "prior": 0.008}
    want |= {"n_flagged": int((scenes[0].flagged > 0).sum()), "n_detections": int(scenes[0].flagged.max())}
    assert {name: first[name] for name in want} == want
    assert (second["scene"], second["model"], second["n_chips"]) == ("b.tif", "planet", 1)
    assert np.isnan(second["model_finds"])


def test_styles_are_where_qgis_looks_for_them(path):
    with contextlib.closing(sqlite3.connect(path)) as database:
        geometries = dict(database.execute("SELECT table_name, column_name FROM gpkg_geometry_columns"))
        asked = "SELECT f_table_name, f_geometry_column, styleQML FROM layer_styles WHERE useAsDefault = 1"
        rows = database.execute(f"{asked} AND f_table_schema = ''").fetchall()
    assert [name for name, _, _ in rows] == NAMES[:5]
    for name, column, text in rows:
        assert column == geometries.get(name, "")
        aliases = ElementTree.fromstring(text, forbid_dtd=False).findall("aliases/alias")
        columns = pyogrio.read_info(path, layer=name)["fields"].tolist()
        assert [one.get("field") for one in aliases] == columns


def test_what_was_not_seen_is_the_same_as_by_itself(path, scenes, tmp_path):
    layers.write_obscured(tmp_path / "hidden.gpkg", scenes)
    assert pyogrio.list_layers(tmp_path / "hidden.gpkg")[:, 0].tolist() == ["obscured", "layer_styles"]
    alone = geopandas.read_file(tmp_path / "hidden.gpkg", layer=obscured.LAYER)
    assert_geodataframe_equal(alone, geopandas.read_file(path, layer=obscured.LAYER))
    assert alone["cause"].tolist() == ["cloud", "failed", "nodata"]


@pytest.mark.skipif(shutil.which("ogrinfo") is None, reason="ogrinfo is not installed")
def test_ogrinfo_reads_it(path):
    done = subprocess.run(["ogrinfo", "-ro", "-al", "-so", path], capture_output=True, text=True, check=True)
    assert [line.split(": ")[1] for line in done.stdout.splitlines() if line.startswith("Layer name")] == NAMES
    assert "Warning" not in done.stderr
    assert "ERROR" not in done.stderr


def test_gdals_settings_are_as_before(path, scenes, tmp_path):
    before = {name: pyogrio.get_gdal_config_option(name) for name in geopackage._OPTIONS}
    layers.write(tmp_path / "mines.gpkg", [], scenes)
    assert {name: pyogrio.get_gdal_config_option(name) for name in geopackage._OPTIONS} == before


@pytest.mark.parametrize("write", [lambda path, scenes: layers.write(path, [], scenes), layers.write_obscured])
def test_a_folder_that_gdal_cannot_name_is_refused_before_any_work(scenes, tmp_path, write):
    path = tmp_path / os.fsdecode(b"\xff") / "mines.gpkg"
    path.parent.mkdir()
    for refused in (lambda: layers.check_target(path), lambda: write(path, scenes)):
        with pytest.raises(InputError, match="has a name that is not UTF-8, which GDAL cannot write to; write elsewh"):
            refused()
    layers.check_target(path.with_suffix(".geojson"))


def test_what_gdal_warns_of_a_file_that_it_is_making_is_not_told(scenes, tmp_path, monkeypatch):
    def warn(*_, **__):
        warnings.warn("GPKG: bad application_id=0x00000000", RuntimeWarning, stacklevel=1)
        raise pyogrio.errors.DataLayerError("disk I/O error")

    monkeypatch.setattr("pyogrio.write_arrow", warn)
    with warnings.catch_warnings(record=True) as told, pytest.raises(OutputError, match="could not be written: disk I"):
        layers.write(tmp_path / "mines.gpkg", [], scenes)
    assert told == []
