"""The QGIS project of the examples, as QGIS opens it."""

import json
import re
import shutil
from pathlib import Path

import geopandas
import pyogrio
import pytest

from geoscan.layers import ATTRIBUTES

EXAMPLES = Path(__file__).parents[2] / "examples"
LAYERS = {"detections", "chips", "obscured", "footprint", "metadata"}
PARTS = ("geoscan.qgs", "mines.gpkg", "scene.tif")


@pytest.fixture
def copied(tmp_path):
    """A copy of the project: QGIS writes beside what it opens."""
    folder = tmp_path / "some where"
    (folder / "pictures").mkdir(parents=True)
    for name in (*PARTS, "make_project.py"):
        shutil.copy(EXAMPLES / name, folder)
    return folder


def test_the_layers_that_are_kept_are_of_today():
    layers = dict(pyogrio.list_layers(EXAMPLES / "mines.gpkg"))
    assert set(layers) == LAYERS | {"layer_styles"}
    found = geopandas.read_file(EXAMPLES / "mines.gpkg", layer="detections")
    assert list(found.columns.drop("geometry")) == list(ATTRIBUTES)
    assert len(found) >= 1


def test_the_project_names_files_beside_it_and_no_person_or_time():
    text = (EXAMPLES / "geoscan.qgs").read_text(encoding="utf-8")
    sources = re.findall(r"<datasource>(.*?)</datasource>", text)
    assert set(sources) - {""} == {"./scene.tif", *(f"./mines.gpkg|layername={name}" for name in LAYERS)}
    assert re.findall(r' save\w+="', text) == []
    assert re.findall(r"<(?:author|creation)>(.+?)</", text) == []


@pytest.mark.large
def test_the_project_opens_without_a_warning(run_in_qgis, copied):
    told = json.loads(run_in_qgis(Path(__file__).with_name("project.py"), copied / "geoscan.qgs"))
    assert told["read"]
    assert (told["error"], told["said"]) == ("", [])
    assert told["crs"] == "EPSG:32721"
    layers = told["layers"]
    assert set(layers) == LAYERS | {"scene"}
    assert all(one["valid"] and str(copied) in one["source"] for one in layers.values())
    assert layers["scene"]["renderer"] == "multibandcolor"
    for name in LAYERS - {"metadata"}:
        assert layers[name]["crs"] == "EPSG:4326"
        assert layers[name]["renderer"] not in ("", "nullSymbol")
    assert layers["detections"]["renderer"] == "graduatedSymbol"
    assert layers["detections"]["labels"]
    assert layers["detections"]["count"] >= 1
    assert layers["chips"]["count"] == 36
    assert told["order"] == ["detections", "chips", "obscured", "footprint", "scene"]
    assert [name for name, one in layers.items() if not one["ticked"]] == ["chips"]
    assert told["colors"] > 100


@pytest.mark.large
def test_the_script_makes_the_project_that_is_kept(run_in_qgis, copied):
    (copied / "geoscan.qgs").unlink()
    run_in_qgis(copied / "make_project.py")
    text = [(folder / "geoscan.qgs").read_text(encoding="utf-8") for folder in (copied, EXAMPLES)]
    (made_by, kept_by) = (re.search(r' version="([^"]*)"', one)[1] for one in text)
    if made_by != kept_by:
        pytest.skip(f"the project is kept as QGIS {kept_by} writes it, and this is {made_by}")
    assert text[0] == text[1]
    assert 10_000 < (copied / "pictures" / "qgis.png").stat().st_size < 150_000
