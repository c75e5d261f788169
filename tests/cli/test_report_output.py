"""`--report`, of `geoscan scan` and `geoscan merge`: when it is written, when not, and what it says."""

from pathlib import Path

import fakes
import pytest
from click.testing import CliRunner
from conftest import write_scene
from scans import CHIP, blocks

from geoscan.cli import main
from geoscan.errors import OutputError


@pytest.fixture
def package(make_package, monkeypatch):
    monkeypatch.setattr("geoscan.scanning.run.detector", fakes.bright)
    return make_package(chip=CHIP)


@pytest.fixture
def scene(make_scene) -> Path:
    return make_scene(pixels=blocks())


def invoke(*words):
    return CliRunner().invoke(main, [str(word) for word in words], prog_name="geoscan")


def scan(package, *words):
    return invoke(*words, "--model", package.path, "--jobs", 0)


def test_a_scan_writes_a_report_beside_its_layer(scene, package, tmp_path):
    layer, report = tmp_path / "mines.geojson", tmp_path / "report.html"
    result = scan(package, scene, "--out", layer, "--report", report)
    assert result.exit_code == 0, result.stderr
    assert layer.exists()
    text = report.read_text()
    assert text.startswith("<!doctype html>")
    assert f"geoscan scan {scene} --model" in text
    assert "Pictures are missing" not in text
    assert sorted(tmp_path.glob("*")) == sorted([layer, layer.with_suffix(".qml"), report, scene, tmp_path / "models"])


def test_a_report_may_be_all_that_is_written(scene, package, tmp_path):
    result = scan(package, scene, "--report", tmp_path / "report.htm")
    assert result.exit_code == 0, result.stderr
    assert (tmp_path / "report.htm").exists()


def test_a_page_of_somebody_else_is_not_replaced(scene, package, tmp_path):
    report = tmp_path / "report.html"
    assert [scan(package, scene, "--report", report).exit_code for _ in range(2)] == [0, 0]
    report.write_text("<!doctype html><title>Our village</title>")
    result = scan(package, scene, "--report", report)
    assert (result.exit_code, "report.html is a page that geoscan did not make" in result.stderr) == (2, True)
    assert "Our village" in report.read_text()


def test_a_folder_of_layers_has_no_report(scene, package, tmp_path):
    result = scan(package, scene, "--out", f"{tmp_path}/layers/", "--report", tmp_path / "report.html")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "or keep --journal of the scenes, and pass --report to geoscan merge" in result.stderr
    assert not (tmp_path / "layers").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [("report.pdf", "names no page for a browser; end it in .html, .htm"), ("no/report.html", "is not a folder")],
)
def test_what_cannot_be_written_is_said_before_any_work(scene, package, tmp_path, name, message):
    layer = tmp_path / "mines.geojson"
    result = scan(package, scene, "--out", layer, "--report", tmp_path / name)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert message in result.stderr
    assert not layer.exists()


def test_a_scene_is_never_replaced(scene, package, tmp_path):
    disguised = scene.rename(tmp_path / "scene.html")
    before = disguised.read_bytes()
    result = scan(package, disguised, "--report", disguised)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert disguised.read_bytes() == before


def test_a_report_of_journals_has_no_pictures_and_says_so(scene, package, tmp_path):
    journal = tmp_path / "kept.journal"
    assert scan(package, scene, "--out", tmp_path / "m.geojson", "--journal", journal).exit_code == 0
    report = tmp_path / "report.html"
    result = invoke("merge", journal, "--out", tmp_path / "n.geojson", "--report", report)
    assert result.exit_code == 0, result.stderr
    text = report.read_text()
    assert "Pictures are missing: a journal holds scores, no pixels." in text
    assert "data:image/webp" not in text
    assert text.count("<tr data-row=") > 2


def test_scenes_that_were_not_scanned_are_named(scene, package, make_scene, tmp_path, monkeypatch):
    other = make_scene(pixels=blocks(seed=4), name="other.tif")
    folder = tmp_path / "folder"
    folder.mkdir()
    write_scene(folder / "bad.tif", (1, 64, 64))
    write_scene(folder / "good.tif", pixels=blocks(seed=5))
    from geoscan.errors import SceneError
    from geoscan.scanning import scenes as module

    plain = module.scan_scene

    def breaking(plan, *rest, **more):
        if plan.name == "other.tif":
            raise SceneError("other.tif has no place on <Earth>")
        return plain(plan, *rest, **more)

    monkeypatch.setattr(module, "scan_scene", breaking)
    report = tmp_path / "report.html"
    result = scan(package, scene, other, folder, "--report", report)
    assert result.exit_code == 1
    text = report.read_text()
    assert "<li>other.tif: other.tif has no place on &lt;Earth&gt;</li>" in text
    assert "1 raster could not be scanned, and was left out; the scan named it." in text


def test_a_report_that_cannot_be_written_leaves_the_layer_and_the_old_report(scene, package, tmp_path, monkeypatch):
    layer, report = tmp_path / "mines.geojson", tmp_path / "report.html"
    old = '<meta name="generator" content="geoscan 0.1.0">old'
    report.write_text(old)

    def full(page):
        raise OutputError("the disk is full")

    monkeypatch.setattr("geoscan.report.html.render", full)
    result = scan(package, scene, "--out", layer, "--report", report)
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (1, "geoscan: the disk is full")
    assert layer.exists()
    assert report.read_text() == old
