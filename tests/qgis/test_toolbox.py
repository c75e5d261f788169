"""The Processing script of the examples, in QGIS' toolbox."""

import ast
import json
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from sights import seen

from geoscan import layers
from geoscan.model.figures import POINTS
from geoscan.model.shipped import shipped
from geoscan.polygons import Detection, Hysteresis, Provenance

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "examples" / "qgis" / "geoscan_scan.py"
FAKE = ROOT / "tests" / "fake_geoscan.py"
GEOSCAN = Path(sys.executable).with_name("geoscan")
SOURCE = Provenance("scene.tif", "planet", "sha256:00", Hysteresis(0.6, 0.3, 0.9), "0.1.0")


def mine(west):
    return Detection(shapely.box(west, 0, west + 0.01, 0.01), 0.9, 0.9, None, 1, 120.0, {}, "clear", 0.0, SOURCE)


def constant(name):
    """The value that the script gives a name, without QGIS."""
    for node in ast.parse(SCRIPT.read_text()).body:
        if isinstance(node, ast.Assign) and node.targets[0].id == name:
            return ast.literal_eval(node.value)
    raise LookupError(name)


def test_the_script_offers_every_model_and_operating_point():
    assert constant("MODELS") == ["auto", *sorted(one.card.name for one in shipped())]
    assert sorted(constant("POINTS")) == sorted(POINTS)


@pytest.fixture
def toolbox(run_in_qgis):
    """Gives what QGIS says of the algorithm, and of jobs."""

    def run(*jobs, **environment):
        told = json.loads(
            run_in_qgis(Path(__file__).with_name("toolbox.py"), SCRIPT, *map(json.dumps, jobs), **environment)
        )
        assert len(told["jobs"]) == len(jobs)
        return told

    return run


@pytest.fixture
def fake(tmp_path):
    """Gives a command that scans without a network, in the way that is asked for."""

    def make(way):
        path = tmp_path / "geoscan"
        path.write_text(f'#!/bin/sh\nGEOSCAN_FAKE={way} exec {shlex.quote(sys.executable)} {FAKE} "$@"\n')
        path.chmod(0o755)
        return str(path)

    return make


@pytest.fixture
def package(make_package):
    return make_package(chip=32)


@pytest.fixture
def words(package):
    """Extra options that make a scan of a small scene have many batches, on few threads."""
    return f"--model {shlex.quote(str(package.path))} --batch 2 --jobs 1"


@pytest.mark.large
def test_the_example_is_scanned_shown_and_remembered(toolbox, tmp_path):
    scene, out = ROOT / "examples" / "scene.tif", tmp_path / "mines of today.gpkg"
    first = {"layer": str(scene), "parameters": {"COMMAND": str(GEOSCAN), "OUTPUT": str(out)}}
    again = {"parameters": {"PRODUCT": str(scene), "OPERATE": "balanced", "STRIDE": 250, "OUTPUT": str(out)}}
    told = toolbox(first, again)
    assert (told["title"], told["group"]) == ("Scan for artisanal gold mines", "geoscan")
    one, two = told["jobs"]
    assert one["error"] is None
    assert one["results"]["OUTPUT"] == str(out)
    counts = {layer["name"]: layer["count"] for layer in one["layers"]}
    assert one["results"]["COUNT"] == counts["detections"] >= 1
    assert one["results"]["AREA_HA"] > 50
    assert one["results"]["OBSERVED"] == 1
    assert all(layer["valid"] and layer["crs"] == "EPSG:4326" for layer in one["layers"])
    assert one["progress"] == sorted(one["progress"])
    assert one["progress"][-1] == 100
    assert "36 of 36 chips" in one["said"]
    assert two["error"] is None, "the command is remembered"
    assert "--operate balanced --stride 250" in two["said"][0]


@pytest.mark.large
def test_a_scan_that_is_cancelled_goes_on_when_it_is_started_again(toolbox, fake, make_scene, words, tmp_path):
    pixels = np.full((3, 320, 320), 20)
    pixels[:, :64, :64] = 230
    out = tmp_path / "out" / "mines.geojson"
    out.parent.mkdir()
    parameters = {"EXTRA": words, "OUTPUT": str(out), "COMMAND": fake("slow")}
    job = {"layer": str(make_scene(pixels=pixels)), "parameters": parameters}
    stopped, whole = toolbox({**job, "cancel": 20}, job)["jobs"]
    assert stopped["results"] is None
    assert stopped["error"].startswith("interrupted; ")
    assert "the same command goes on" in stopped["error"]
    assert 20 <= stopped["progress"][-1] < 100
    assert stopped["layers"] == []
    assert whole["error"] is None
    assert whole["progress"][0] >= 20, "what was done is not done again"
    assert whole["results"]["COUNT"] == 1
    assert [layer["count"] for layer in whole["layers"]] == [1]
    assert sorted(path.name for path in out.parent.iterdir()) == ["mines.geojson", "mines.qml"]


@pytest.mark.large
def test_what_cannot_be_done_is_one_line(toolbox, fake, make_scene, words, tmp_path):
    scene = str(make_scene())
    out, command = str(tmp_path / "mines.gpkg"), fake("bright")
    broken = tmp_path / "broken"
    broken.write_text("no program\n")
    broken.chmod(0o755)
    cases = [
        ({"PRODUCT": scene, "OUTPUT": out}, "The command geoscan is neither in PATH nor at "),
        ({"OUTPUT": out, "COMMAND": command}, "Give a scene, or else a product: one of the two"),
        ({"PRODUCT": scene, "OUTPUT": out, "COMMAND": str(tmp_path / "gone")}, "is no command; give the file geoscan"),
        ({"PRODUCT": scene, "OUTPUT": out, "COMMAND": str(broken)}, "cannot be started: Exec format error"),
        ({"PRODUCT": f"{scene}f", "OUTPUT": out, "COMMAND": command}, "status 2: "),
        (
            {"PRODUCT": scene, "OUTPUT": out, "EXTRA": "--prior '3"},
            "Extra options cannot be read (No closing quotation)",
        ),
        ({"PRODUCT": scene, "OUTPUT": out, "EXTRA": "--prior 3"}, "status 2: Invalid value for '--prior'"),
        ({"PRODUCT": scene, "OUTPUT": out, "EXTRA": "--help"}, "status 0: "),
        ({"PRODUCT": scene, "OUTPUT": str(tmp_path / "no" / "mines.gpkg"), "EXTRA": words}, "status 2: "),
    ]
    service = {
        "layer": "type=xyz&url=http://127.0.0.1:9/{z}/{x}/{y}.png",
        "provider": "wms",
        "parameters": {"OUTPUT": out},
    }
    (tmp_path / "edited.gpkg-wal").touch()
    cases += [({"PRODUCT": scene, "OUTPUT": str(tmp_path / "edited.gpkg"), "EXTRA": words}, "is being edited; save ")]
    *jobs, last = toolbox(*({"parameters": asked} for asked, _ in cases), service)["jobs"]
    for job, (asked, line) in zip(jobs, cases, strict=True):
        assert job["results"] is None, asked
        assert line in job["error"], asked
        assert "Traceback" not in job["error"], asked
        assert job["layers"] == []
    assert "a scene comes from a service (wms), and geoscan reads files" in last["error"]
    assert not Path(out).exists()


@pytest.mark.large
def test_a_scene_with_a_part_that_cannot_be_read_is_shown_with_a_warning(toolbox, fake, make_scene, words, tmp_path):
    scene = make_scene((3, 96, 96), tiled=True, blockxsize=32, blockysize=32, compress="deflate")
    content = bytearray(scene.read_bytes())
    content[-2000:] = bytes(2000)
    scene.write_bytes(content)
    (tmp_path / "of_qgis").mkdir()
    (tmp_path / "of_qgis" / "click.py").write_text("raise ImportError('of another Python')")
    parameters = {"PRODUCT": str(scene), "OUTPUT": str(tmp_path / "a.gpkg"), "EXTRA": words, "COMMAND": fake("bright")}
    (job,) = toolbox({"parameters": parameters}, PYTHONPATH=str(tmp_path / "of_qgis"))["jobs"]
    assert job["error"] is None
    assert any(said.startswith("warning: ") and "cannot be read" in said for said in job["said"])
    assert "The layer is written, but a part of the scene is missing: see the warnings above" in job["said"]
    assert all(layer["valid"] for layer in job["layers"])
    assert job["layers"]


@pytest.mark.large
def test_layers_of_an_earlier_scan_into_the_same_file_are_read_anew(toolbox, tmp_path):
    one, out, figures = mine(0), tmp_path / "found.gpkg", '{"detections": 1, "area_ha": 1, "observed_fraction": 1}'
    jobs = []
    for n, found in enumerate(([one], [mine(1), mine(2), one])):
        layers.write(tmp_path / f"{n}.gpkg", found, [seen(SOURCE)])
        command = tmp_path / f"geoscan{n}"
        command.write_text(f"#!/bin/sh\ncp --remove-destination {tmp_path / f'{n}.gpkg'} {out}\necho '{figures}'\n")
        command.chmod(0o755)
        parameters = {"PRODUCT": str(tmp_path / "scene.zip"), "OUTPUT": str(out), "COMMAND": str(command)}
        jobs.append({"parameters": parameters, "goes_on": n > 0})
    counts = [
        {layer["count"] for layer in job["layers"] if layer["name"] == "detections"} for job in toolbox(*jobs)["jobs"]
    ]
    assert counts == [{1}, {3}]


@pytest.mark.large
def test_of_a_file_of_several_rasters_the_one_that_is_shown_is_scanned(toolbox, tmp_path):
    path = tmp_path / "scenes of 2026.gpkg"
    how = {"driver": "GPKG", "dtype": "uint8", "count": 3, "height": 64, "width": 64, "crs": "EPSG:32721"}
    for name in ("may", "june"):
        more = {"RASTER_TABLE": name, "APPEND_SUBDATASET": str(path.exists())}
        with rasterio.open(path, "w", **how, **more, transform=Affine(10, 0, 500_000, 0, -10, 9_200_000)) as target:
            target.write(np.full((3, 64, 64), 9, np.uint8))
    parameters = {"OUTPUT": str(tmp_path / "a.gpkg"), "COMMAND": "/bin/false"}
    (job,) = toolbox({"layer": f"GPKG:{path}:june", "parameters": parameters})["jobs"]
    assert shlex.split(job["said"][0])[:3] == ["/bin/false", "scan", f"GPKG:{path}:june"]


@pytest.mark.large
def test_what_was_found_and_what_was_not_seen_are_loaded_in_their_styles(toolbox, tmp_path):
    command, out = tmp_path / "geoscan", tmp_path / "found.gpkg"
    figures = '{"detections": 1, "area_ha": 359.1, "observed_fraction": 0.5}'
    command.write_text(f"#!/bin/sh\ncp {shlex.quote(str(ROOT / 'examples' / 'mines.gpkg'))} {out}\necho '{figures}'\n")
    command.chmod(0o755)
    parameters = {"PRODUCT": str(tmp_path / "scene.zip"), "OUTPUT": str(out), "COMMAND": str(command)}
    (job,) = toolbox({"parameters": parameters})["jobs"]
    assert job["error"] is None
    assert {layer["name"]: layer["renderer"] for layer in job["layers"]} == {
        "detections": "graduatedSymbol",
        "obscured": "categorizedSymbol",
    }
    assert all(layer["valid"] for layer in job["layers"])
    results = job["results"]
    assert results["DETECTIONS"] == f"{out}|layername=detections"
    assert (results["COUNT"], results["AREA_HA"], results["OBSERVED"]) == (1, 359.1, 0.5)
