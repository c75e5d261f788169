"""`geoscan scan`: exit statuses, messages, what is written and what is not."""

import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import termios
import time
import zipfile
from pathlib import Path

import fakes
import numpy as np
import pytest
import rasterio
from affine import Affine
from click.testing import CliRunner
from open_layers import opened
from scans import reseal

from geoscan.cli import main
from geoscan.model.package import CARD, NETWORK, WEIGHTS
from geoscan.polygons import Hysteresis

KEYS = [
    "scene",
    "model",
    "digest",
    "operate",
    "tta",
    "runtime",
    "reading",
    "chips",
    "skipped",
    "failed",
    "not_understood",
    "resumed",
    "flagged",
    "detections",
    "observed_fraction",
    "area_ha",
    "seconds",
    "chips_per_second",
    "stage_seconds",
    "peak_rss_mb",
]
MOON = "+proj=eqc +R=1737400 +units=m +no_defs"


@pytest.fixture
def package(make_package, monkeypatch):
    """A model of 32 px chips at 3.7 m that finds what is bright."""
    monkeypatch.setattr("geoscan.scanning.run.detector", fakes.bright)
    return make_package(chip=32)


@pytest.fixture
def scene(make_scene) -> Path:
    pixels = np.full((3, 96, 128), 20)
    pixels[:, :64, :64] = 230
    return make_scene(pixels=pixels)


def invoke(*words, model=None):
    words = [str(word) for word in words]
    return CliRunner().invoke(main, [*words, *(("--model", str(model.path)) if model else ())], prog_name="geoscan")


def refused(*words, model=None, out=None) -> str:
    """Run a scan that is misused, without dask; return its one line. Nothing appears beside `out`."""
    before = sorted(out.parent.iterdir()) if out else []
    result = invoke(*words, *(("--out", out) if out else ()), "--jobs", "0", model=model)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("geoscan: ")
    assert result.stderr.count("\n") == 1, result.stderr
    assert before == (sorted(out.parent.iterdir()) if out else [])
    return result.stderr.removeprefix("geoscan: ").rstrip()


def test_a_scan_finds_writes_and_ends_well(scene, package, tmp_path):
    out = tmp_path / "mines.geojson"
    result = invoke(scene, "--out", out, model=package)
    assert result.exit_code == 0
    assert result.stdout == ""
    told, found = result.stderr.splitlines()
    assert told.startswith("scene.tif: plain raster; bands 1,2,3; values as they are, stretch visual; mask: none; date")
    assert found.startswith(
        "scene.tif: 1 detection (4 of 12 chips, 6 ha) by fake, balanced; 100% of the scene observed;"
    )
    (feature,) = json.loads(out.read_text())["features"]
    assert feature["properties"]["n_chips"] == 4


def test_json_is_one_object_with_the_promised_keys(scene, package):
    result = invoke(scene, "--json", "-q", model=package)
    assert result.exit_code == 0
    assert result.stderr == ""
    assert result.stdout.count("\n") == 1
    figures = json.loads(result.stdout)
    assert list(figures) == KEYS
    assert list(figures["stage_seconds"]) == ["read", "dehaze", "infer"]
    assert figures["scene"] == "scene.tif"
    assert figures["digest"] == package.card.digest
    assert (figures["chips"], figures["skipped"], figures["failed"], figures["flagged"]) == (12, 0, 0, 4)
    assert figures["detections"] == 1
    assert figures["area_ha"] == pytest.approx(64 * 64 * 3.7**2 / 1e4, rel=0.01)
    assert figures["observed_fraction"] == 1
    assert min(figures["seconds"], figures["chips_per_second"], figures["peak_rss_mb"]) > 0


@pytest.mark.parametrize(("word", "tta"), [((), False), (("--tta",), True), (("--no-tta",), False)])
def test_scores_are_averaged_as_asked_and_what_they_fit_less_well_is_said(scene, package, word, tta):
    result = invoke(scene, "--json", *word, model=package)
    assert json.loads(result.stdout)["tta"] is tta
    assert ("for single scores: with --tta they fit less well" in result.stderr) is tta


@pytest.mark.parametrize(
    ("words", "runtime"),
    [((), "openvino"), (("--runtime", "openvino"), "openvino"), (("--runtime", "tensorflow"), "tensorflow")],
)
def test_the_runtime_is_chosen_and_named(scene, package, monkeypatch, words, runtime):
    asked = []
    monkeypatch.setattr("geoscan.model.runtime._tensorflow_has_gpu", lambda: False)
    monkeypatch.setattr("geoscan.scanning.run.detector", lambda *given: asked.append(given[-1]) or fakes.bright(*given))
    assert json.loads(invoke(scene, "--json", "--jobs", 0, *words, model=package).stdout)["runtime"] == runtime
    assert set(asked) == {runtime}


def test_a_package_of_an_earlier_version_runs_on_tensorflow(scene, package, monkeypatch):
    monkeypatch.setattr("geoscan.model.runtime._tensorflow_has_gpu", lambda: False)
    (package.path / NETWORK).unlink()
    reseal(package.path)
    result = invoke(scene, "--json", model=package)
    assert json.loads(result.stdout)["runtime"] == "tensorflow"
    assert result.stderr.count("it runs on TensorFlow, which starts slower") == 1
    result = invoke(scene, "--json", "--runtime", "openvino", model=package)
    assert result.exit_code == 2
    assert "made without the network that OpenVINO reads; pass --runtime tensorflow" in result.stderr


def test_two_scenes_sum_up(scene, package, make_scene):
    other = make_scene(pixels=np.zeros((3, 40, 40)), nodata=0, name="other.tif")
    figures = json.loads(invoke(scene, other, "--json", "-q", model=package).stdout)
    assert set(figures) == {*KEYS, "scenes"}
    assert figures["scene"] == ["scene.tif", "other.tif"]
    assert figures["chips"] == sum(one["chips"] for one in figures["scenes"]) == 12 + 4
    assert figures["observed_fraction"] == pytest.approx(96 * 128 / (96 * 128 + 40 * 40), rel=1e-3)  # of the ground
    assert [list(one) for one in figures["scenes"]] == [KEYS, KEYS]


def test_scenes_of_one_name_are_told_apart_by_their_folders(scene, package, tmp_path):
    for folder in ("may", "june"):
        (tmp_path / folder).mkdir()
        shutil.copy(scene, tmp_path / folder / "visual.tif")
        with rasterio.open(tmp_path / folder / "visual.tif", "r+") as target:
            target.transform = target.transform @ Affine.translation(5000 * (1 + (folder == "may")), 0)  # not over it
    out = tmp_path / "mines.geojson"
    result = invoke(tmp_path / "may/visual.tif", tmp_path / "june", scene, "--out", out, model=package)
    assert result.exit_code == 0
    named = [one["properties"]["scene"] for one in json.loads(out.read_text())["features"]]
    assert named == ["may/visual.tif", "june/visual.tif", scene.name]


def test_no_detection_is_a_valid_empty_layer(make_scene, package, tmp_path):
    out = tmp_path / "mines.geojson"
    dark = make_scene(pixels=np.full((3, 40, 40), 20))
    result = invoke(dark, "--out", out, "--json", model=package)
    assert result.exit_code == 0
    assert json.loads(result.stdout)["detections"] == 0
    layer = json.loads(out.read_text())
    assert (layer["type"], layer["features"]) == ("FeatureCollection", [])


def test_a_heat_map_holds_every_score_and_comes_of_a_journal_too(scene, package, tmp_path):
    out, kept = tmp_path / "prob.tif", tmp_path / "a.journal"
    how = ("--heatmap", out, "--jobs", "0", "--journal", kept)
    assert invoke(scene, *how, model=package).exit_code == 0, "neither a layer nor figures need be asked for"
    with rasterio.open(out) as dataset:
        assert dataset.read(1) * dataset.scales[0] == pytest.approx(
            np.repeat([[230, 230, 20, 20], [20] * 4], [2, 1], 0) / 255, abs=0.002
        )
    again = tmp_path / "again.tif"
    assert invoke("merge", kept, "--out", tmp_path / "m.gpkg", "--heatmap", again).exit_code == 0
    assert again.read_bytes() == out.read_bytes()


def test_help_says_what_must_be_given_without_a_layer():
    said = " ".join(invoke("scan", "--help").stdout.split())
    assert "Without it, --json, --obscured, --heatmap or --report must be given." in said


def test_a_heat_map_is_of_one_scene(scene, package, make_scene, tmp_path):
    other, heat = make_scene(name="other.tif"), tmp_path / "prob.tif"
    several = refused(scene, other, "--heatmap", heat, "-q", model=package, out=tmp_path / "m.gpkg")
    assert "a heat map is of one scene, and here are 2" in several
    shared = refused(scene, "--heatmap", tmp_path / "m.tif", model=package, out=tmp_path / "m.geojson")
    assert "have one name, so their styles would be one file" in shared
    assert "pass a file as --out" in refused(scene, "--heatmap", heat, "--out", f"{tmp_path}/layers/", model=package)
    assert "is the scene itself" in refused(scene, "--heatmap", scene, "--json", model=package)
    assert not heat.exists()


@pytest.mark.parametrize("suffix", [".geojson", ".gpkg", ".fgb", ".parquet"])
def test_every_format_has_the_detection(scene, package, tmp_path, suffix):
    out = tmp_path / f"mines{suffix}"
    assert invoke(scene, "--out", out, "-q", "--jobs", 0, model=package).exit_code == 0
    frame = opened(out)
    assert frame["n_chips"].tolist() == [4]


def test_the_thresholds_used_are_in_the_layer(scene, package, tmp_path):
    out = tmp_path / "mines.geojson"
    marks = ("--high", "0.7", "--low", "0.3", "--isolated", "0.95")
    assert invoke(scene, "--out", out, *marks, model=package).exit_code == 0
    properties = json.loads(out.read_text())["features"][0]["properties"]
    assert [properties[name] for name in ("threshold_high", "threshold_low", "threshold_isolated")] == [0.7, 0.3, 0.95]


@pytest.fixture
def pointed(make_package):
    """A model with all operating points."""
    points = {"sensitive": Hysteresis(0.2, 0.1, 0.2), "strict": Hysteresis(0.95, 0.5, 0.95)}
    return make_package("pointed", chip=32, **points)


@pytest.fixture
def graded(make_scene) -> Path:
    """One chip alone, three in a row, one alone: their scores are 0.98, 0.55, 0.3."""
    grey = np.full((5, 7), 5)
    grey[0, 0], grey[2, 2:5], grey[4, 6] = 250, 140, 77
    return make_scene(pixels=np.repeat(np.repeat(grey, 32, 0), 32, 1)[None].repeat(3, 0), name="graded.tif")


@pytest.mark.parametrize("suffix", [".geojson", ".gpkg", ".fgb", ".parquet"])
@pytest.mark.parametrize(("point", "flagged"), [("sensitive", 5), ("balanced", 4), ("strict", 1)])
def test_an_operating_point_decides_what_is_found_and_is_named(
    graded, package, pointed, tmp_path, suffix, point, flagged
):

    del package  # its fixture brings the detector
    out = tmp_path / f"mines{suffix}"
    result = invoke(graded, "--operate", point, "--out", out, "--json", "--jobs", 0, model=pointed)
    assert result.exit_code == 0, result.stderr
    figures = json.loads(result.stdout)
    assert (figures["operate"], figures["flagged"]) == (point, flagged)
    assert f"by pointed, {point};" in result.stderr
    frame = opened(out)
    assert set(frame["operate"]) == {point}
    thresholds = pointed.card.points[point]
    assert set(frame["threshold_high"]) == {thresholds.high}
    assert set(frame["threshold_isolated"]) == {thresholds.isolated}


def test_a_threshold_overrides_the_operating_point_which_then_has_another_name(graded, package, pointed, tmp_path):
    del package
    out = tmp_path / "mines.geojson"
    words = (graded, "--operate", "strict", "--jobs", 0, "--out", out, "--json", "-q")
    figures = json.loads(invoke(*words, "--isolated", "0.99", model=pointed).stdout)
    assert (figures["operate"], figures["flagged"]) == ("custom", 0)
    (used,) = json.loads(out.read_text())["geoscan"]["scenes"]
    assert used["operate"] == "custom", "in a layer without detections, too"
    assert [used[name] for name in ("threshold_high", "threshold_low", "threshold_isolated")] == [0.95, 0.5, 0.99]
    assert json.loads(invoke(*words, "--high", "0.95", model=pointed).stdout)["operate"] == "strict"


def test_scenes_of_one_scan_have_one_operating_point(graded, scene, package, pointed):
    del package
    figures = json.loads(invoke(graded, scene, "--operate", "sensitive", "--json", "-q", model=pointed).stdout)
    assert figures["operate"] == "sensitive"
    assert [one["operate"] for one in figures["scenes"]] == ["sensitive"] * 2


def test_an_operating_point_that_is_not_there_is_refused(scene, package, tmp_path):
    out = tmp_path / "mines.geojson"
    message = refused(scene, "--operate", "lax", model=package, out=out)
    assert "'lax' is not one of 'sensitive', 'balanced', 'strict'" in message
    message = refused(scene, "--operate", "strict", model=package, out=out)
    assert message.startswith("the card of fake holds no operating point strict, only balanced; train the model anew")


def test_one_threshold_moves_those_it_would_contradict(scene, package, tmp_path):
    out = tmp_path / "mines.geojson"
    for given, wanted in ((("--high", "0.2"), [0.2, 0.2, 0.6]), (("--high", "0.8"), [0.8, 0.4, 0.8])):
        assert invoke(scene, "--out", out, *given, model=package).exit_code == 0
        used = json.loads(out.read_text())["geoscan"]["scenes"][0]
        assert [used[name] for name in ("threshold_high", "threshold_low", "threshold_isolated")] == wanted


@pytest.mark.parametrize(
    ("marks", "message"),
    [
        (("--high", "0.5", "--low", "0.9"), "--low 0.9 is above --high 0.5; pass --low 0..0.5"),
        (("--high", "0.5", "--isolated", "0.2"), "--isolated 0.2 is below --high 0.5; pass --isolated 0.5..1, or a"),
        (("--high", "1.5"), "1.5 is not in the range 0<=x<=1"),
        (("--isolated", "much"), "'much' is not a valid float"),
    ],
)
def test_thresholds_that_do_not_fit_are_refused(scene, package, tmp_path, marks, message):
    assert message in refused(scene, *marks, model=package, out=tmp_path / "mines.geojson")


def test_a_name_that_gdal_cannot_be_given_is_refused(scene, package, tmp_path):
    path = scene.rename(tmp_path / os.fsdecode(b"sc\xffne.tif"))
    assert "sc\\udcffne.tif' has a name that is not UTF-8" in refused(path, model=package, out=tmp_path / "m.geojson")
    # An unset variable of the shell must not mean the directory that one is in.
    assert "an empty name is no scene" in refused("", model=package, out=tmp_path / "m.geojson")


def test_what_is_no_scene_is_refused(package, tmp_path):
    out = tmp_path / "mines.geojson"
    assert "missing.tif does not exist; give" in refused(tmp_path / "missing.tif", model=package, out=out)
    (tmp_path / "letter.tif").write_text("Dear Sir or Madam")
    assert "letter.tif cannot be opened: " in refused(tmp_path / "letter.tif", model=package, out=out)
    (tmp_path / "empty").mkdir()
    assert "empty holds no rasters" in refused(tmp_path / "empty", model=package, out=out)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"crs": None}, "has no CRS; assign the right one"),
        ({"shape": (1, 40, 40)}, "band"),
        ({"shape": (3, 40, 40), "dtype": "complex64"}, "has complex values"),
        ({"crs": MOON}, "Earth"),
        (
            {"gsd": 0.5},
            "has 0.5 m pixels; the model works at 3.7 m (0.925 to 14.8 m); average them: gdalwarp -tr 3.699 3.699 "
            "-r average scene.tif coarser.tif; shipped models: ",
        ),
        ({"gsd": 30}, "has 30 m pixels; the model works at 3.7 m"),
    ],
)
def test_a_raster_that_cannot_be_scanned_is_refused(make_scene, package, tmp_path, how, message):
    assert message in refused(make_scene(**how), model=package, out=tmp_path / "mines.geojson")


def test_too_far_off_names_the_shipped_models(make_scene, make_package, tmp_path, monkeypatch):
    ours = [make_package("planet", gsd=3.4), make_package("sentinel", gsd=10)]
    monkeypatch.setattr("geoscan.scanning.scenes.shipped", lambda: ours)
    message = refused(make_scene(gsd=300), out=tmp_path / "mines.geojson")
    assert "has 300 m pixels; the model works at 10 m (2.5 to 40 m)" in message
    assert "shipped models: planet 3.4 m, sentinel 10 m; give a scene of their resolution" in message


def test_the_shipped_model_is_chosen_by_resolution(make_scene, make_package, monkeypatch):
    monkeypatch.setattr("geoscan.scanning.run.detector", fakes.bright)
    ours = [make_package("planet", gsd=3.4, chip=32), make_package("sentinel", gsd=10, chip=32)]
    monkeypatch.setattr("geoscan.scanning.scenes.shipped", lambda: ours)
    for gsd, name in ((3, "planet"), (5, "planet"), (8, "sentinel"), (12, "sentinel")):
        assert json.loads(invoke(make_scene(gsd=gsd), "--json", "-q").stdout)["model"] == name


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("mines.txt", "names no vector format; end it in .geojson"),
        ("mines", "has no suffix"),
        ("missing/mines.geojson", "missing"),
    ],
)
def test_a_target_that_cannot_be_written_is_refused_before_the_work(scene, package, tmp_path, target, message):
    out = tmp_path / target
    assert message in refused(scene, "--out", out, model=package)
    assert not (tmp_path / "missing").exists()


def test_a_folder_that_may_not_be_written_is_refused(scene, package, tmp_path, monkeypatch):
    locked = tmp_path / "locked"
    locked.mkdir()
    may = os.access
    # Root may write anywhere, so the permission bits alone would not show it.
    monkeypatch.setattr(os, "access", lambda path, *how, **more: Path(path) != locked and may(path, *how, **more))
    assert "locked" in refused(scene, model=package, out=locked / "mines.geojson")


def test_nothing_to_write_is_refused(scene, package):
    assert "pass --out mines.geojson, or --json" in refused(scene, model=package)
    for word in ("--out", "--journal"):
        assert "an empty name is no place to write to" in refused(scene, "--json", word, "", model=package)
    assert "is no name for a file here (File name too long)" in refused(
        scene, "--out", f"{'x' * 300}.geojson", model=package
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--stride", "0"), "0 is not in the range x>=1"),
        (("--stride", "33"), "stride 33 px does not fit 32 px chips; pass --stride 1..32"),
        (("--stride", "few"), "'few' is not a valid integer"),
        (("--bands", "3,2"), "does not name three bands; give red, green, blue, such as 3,2,1"),
        (("--bands", "a,b,c"), "does not name three bands"),
        (("--bands", "1,2,9"), "9"),
        (("--bands", "0,1,2"), "0"),
        (("--stretch", "visaul"), "did you mean visual?"),
        (("--stretch", "percentile:98,2"), "pass percentile:2,98"),
        (("--stretch", "sentinel2-l1c"), "8-bit"),
        (("--jobs", "-1"), "-1 is not in the range x>=0"),
        (("--batch", "0"), "0 is not in the range x>=1"),
        (("--runtime", "torch"), "'torch' is not one of 'auto', 'tensorflow', 'openvino'"),
    ],
    ids=" ".join,
)
def test_options_that_do_not_fit_are_refused(scene, package, tmp_path, words, message):
    out = tmp_path / "mines.geojson"
    result = invoke(scene, "--jobs", "0", *words, "--out", out, model=package)
    assert result.exit_code == 2
    assert result.stderr.startswith("geoscan: ")
    assert result.stderr.count("\n") == 1
    assert message in result.stderr
    assert not out.exists()


def test_a_model_that_is_not_there_is_refused(scene, tmp_path):
    out = tmp_path / "mines.geojson"
    assert "no model is called 'plant'; shipped: " in refused(scene, "--model", "plant", out=out)
    assert "is no model package" in refused(scene, "--model", tmp_path / "nowhere", out=out)


def damage_weights(path: Path) -> None:
    content = bytearray((path / WEIGHTS).read_bytes())
    content[len(content) // 2] ^= 1
    (path / WEIGHTS).write_bytes(content)


def edit_card(path: Path) -> None:
    card = json.loads((path / CARD).read_text())
    card["detection"]["high"] = 0.55
    (path / CARD).write_text(json.dumps(card))


def garble_card(path: Path) -> None:
    (path / CARD).write_text("{")


def drop_label(path: Path) -> None:
    card = json.loads((path / CARD).read_text())
    del card["thresholds"]["road"]
    (path / CARD).write_text(json.dumps(card))


@pytest.mark.parametrize("damage", [damage_weights, edit_card, garble_card, drop_label])
def test_a_damaged_package_is_refused(scene, package, tmp_path, damage):
    damage(package.path)
    message = refused(scene, model=package, out=tmp_path / "mines.geojson")
    assert str(package.path) in message
    assert "train" in message or "restore" in message


def test_a_scheduler_that_does_not_answer_is_refused(scene, package, tmp_path, monkeypatch):
    monkeypatch.setattr("geoscan.scanning.workers.CONNECT_SECONDS", 1)
    out = tmp_path / "mines.geojson"
    for address in ("tcp://127.0.0.1:1", "somewhere"):
        result = invoke(scene, "--out", out, "--scheduler", address, model=package)
        assert result.exit_code == 2
        assert f"no dask scheduler answers at {address}" in result.stderr
        assert result.stderr.count("\n") == 2, result.stderr  # the first says how the scene is read
        assert not out.exists()


def test_what_fails_leaves_the_old_layer(scene, package, tmp_path, monkeypatch):
    out = tmp_path / "mines.geojson"
    out.write_text("old")
    assert invoke(scene, "--out", out, "--stride", "99", model=package).exit_code == 2
    assert out.read_text() == "old"
    monkeypatch.setattr("geoscan.scanning.run.detector", lambda *_: fakes.Unable())
    result = invoke(scene, "--out", out, "--jobs", 0, "-q", model=package)
    assert result.exit_code == 1
    assert result.stderr == "geoscan: memory ran out; pass a smaller --batch or fewer --jobs, or end other programs\n"
    assert out.read_text() == "old"
    monkeypatch.setattr("geoscan.scanning.run.detector", fakes.bright)

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        result = invoke(scene, "--out", out, "-q", model=package)
    assert result.exit_code == 1
    assert result.stderr.startswith("geoscan: ")
    assert "No space left on device" in result.stderr
    assert result.stderr.count("\n") == 1
    assert out.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir() if "part" in path.name] == []


@pytest.mark.parametrize("name", ["two words.tif", "mine à ciel ouvert-金.tif", "100% #1 [a]{b}?.tif", "a'b\"c.tif"])
def test_any_file_name_will_do(make_scene, package, tmp_path, name):
    pixels = np.full((3, 96, 128), 230)
    path, out = make_scene(pixels=pixels, name=name), tmp_path / f"{name}.geojson"
    assert invoke(path, "--out", out, model=package).exit_code == 0
    assert json.loads(out.read_text())["features"][0]["properties"]["scene"] == name


def test_links_archives_and_side_files_are_scenes_too(scene, package, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link.tif").symlink_to(scene)
    with zipfile.ZipFile(tmp_path / "scenes.zip", "w") as archive:
        archive.write(scene, "in/scene.tif")
    (tmp_path / "scene.tif.xml").write_text("<metadata>not GDAL's</metadata>")
    (tmp_path / "scene.tif.aux.xml").write_text("<PAMDataset></PAMDataset>")
    (tmp_path / "scene.xml").write_text("no xml at all")
    names = ("link.tif", "scene.tif", "/vsizip/scenes.zip/in/scene.tif", f"zip://{tmp_path}/scenes.zip!in/scene.tif")
    for name in names:
        result = invoke(name, "--json", "-q", model=package)
        assert result.exit_code == 0, result.stderr
        assert json.loads(result.stdout)["flagged"] == 4


def test_a_link_to_a_layer_stays_a_link(scene, package, tmp_path):
    (tmp_path / "link.geojson").symlink_to(tmp_path / "real.geojson")
    assert invoke(scene, "--out", tmp_path / "link.geojson", model=package).exit_code == 0
    assert (tmp_path / "link.geojson").is_symlink()
    assert json.loads((tmp_path / "real.geojson").read_text())["features"]


def test_the_scene_is_never_the_target(make_scene, package, tmp_path):
    path = make_scene(name="scene.gpkg.tif").rename(tmp_path / "scene.gpkg")
    content = path.read_bytes()
    result = invoke(path, "--out", path, "--jobs", 0, model=package)
    assert result.exit_code == 2
    assert path.read_bytes() == content


# What follows starts real processes with a real network.


def command(*words) -> list[str]:
    return [sys.executable, "-m", "geoscan", *map(str, words)]


@pytest.mark.large
def test_a_shipped_model_goes_on_to_the_same_bytes(tmp_path):
    words = (
        Path(__file__).parents[2] / "examples" / "scene.tif",
        "--model",
        "planet",
        "--stride",
        96,
        "--jobs",
        2,
    )
    whole, out = tmp_path / "whole.geojson", tmp_path / "mines.geojson"
    subprocess.run(command(*words, "--out", whole), check=True, capture_output=True)
    log = tmp_path / "mines.geojson.scene.tif.journal-wal"
    with subprocess.Popen(command(*words, "--out", out, "-q")) as process:
        while process.poll() is None and not (log.exists() and log.stat().st_size > 60_000):  # some batches, not all
            time.sleep(0.01)
        process.kill()
    done = subprocess.run(command(*words, "--out", out), check=True, capture_output=True, text=True)
    assert re.search(r"scene.tif: resumed: \d+ of 256 chips", done.stderr)
    assert out.read_bytes() == whole.read_bytes()


@pytest.mark.large
def test_a_real_process_is_silent_when_asked_to_be(make_scene, tiny_package, tmp_path):
    out = tmp_path / "mines.geojson"
    words = command(make_scene((3, 300, 600)), "--out", out, "--json", "-q", "--model", tiny_package.path)
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=200)
    assert (done.returncode, done.stderr) == (0, "")
    assert list(json.loads(done.stdout)) == KEYS
    assert json.loads(out.read_text())["type"] == "FeatureCollection"


@pytest.mark.large
@pytest.mark.parametrize("jobs", [0, 2])
def test_interrupting_leaves_nothing_but_the_journal_behind(make_scene, tiny_package, tmp_path, jobs):
    scene = make_scene((3, 2000, 2000))
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "mines.geojson").write_text("old")
    words = ("scan", scene, "--out", folder / "mines.geojson", "--model", tiny_package.path, "--stride", 8)
    terminal, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 100))  # without a width there is no bar
    with subprocess.Popen(command(*words, "--jobs", jobs), stdout=subprocess.PIPE, stderr=theirs) as process:
        os.close(theirs)
        shown = read_until(terminal, rb"[1-9]\d*/62500 .*chip/s")
        assert re.search(rb"scene.tif: .*[1-9]\d*/62500 \[\d\d:\d\d<.*chip/s", shown), "no progress"
        process.send_signal(signal.SIGINT)
        shown = read_until(terminal, rb"never printed")
        said = process.stdout.read()
    assert process.returncode == 1
    assert said == b""
    assert b"geoscan: interrupted" in shown
    assert b"Traceback" not in shown
    assert b"Error" not in shown
    assert sorted(path.name for path in folder.iterdir()) == ["mines.geojson", "mines.geojson.scene.tif.journal"]
    assert (folder / "mines.geojson").read_text() == "old"


def read_until(terminal: int, pattern: bytes, seconds: float = 120) -> bytes:
    """What a terminal shows, until `pattern` is there or nobody writes any more."""
    shown, until = b"", time.monotonic() + seconds
    while time.monotonic() < until and not re.search(pattern, shown):
        if not select.select([terminal], [], [], 1)[0]:
            continue
        try:
            shown += os.read(terminal, 65536)
        except OSError:  # the other end is closed
            break
    return shown
