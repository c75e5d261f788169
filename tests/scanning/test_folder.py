"""A layer a scene: what is written, what is skipped, and that one broken scene stops no other."""

import json
import os
import zipfile
from functools import partial
from pathlib import Path

import fakes
import numpy as np
import pytest
from click.testing import CliRunner, Result
from conftest import write_scene
from fake_geoscan import Fake
from scans import CHIP, blocks, break_block

from geoscan.cli import main
from geoscan.errors import ReadError
from geoscan.model.package import Package
from geoscan.scanning.journal.file import open_journal
from geoscan.scanning.options import ScanOptions
from geoscan.scanning.plan import Plan
from geoscan.scene import Scene

BLOCKS = {"tiled": True, "blockxsize": CHIP, "blockysize": CHIP, "compress": "deflate"}


@pytest.fixture
def package(make_package, monkeypatch) -> Package:
    """A model of 32 px chips that finds what is bright."""
    monkeypatch.setattr("geoscan.scanning.run.detector", partial(fakes.made, Fake))
    return make_package(chip=CHIP)


@pytest.fixture
def scenes(tmp_path) -> list[Path]:
    (tmp_path / "in").mkdir()
    return [
        write_scene(tmp_path / "in" / f"{name}.tif", pixels=blocks(2, 3, seed), **BLOCKS)
        for seed, name in enumerate("abc")
    ]


def invoke(*words: object, package: Package) -> Result:
    how = ("--model", package.path, "--jobs", 0)
    return CliRunner().invoke(main, [str(word) for word in (*words, *how)], prog_name="geoscan")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_each_scene_gets_a_layer_a_line_and_a_row(scenes, package, tmp_path):
    result = invoke(tmp_path / "in", "--out", f"{tmp_path}/layers/", "--json", package=package)
    assert result.exit_code == 0, result.stderr
    figures = [json.loads(line) for line in result.stdout.splitlines()]
    assert [one["scene"] for one in figures] == ["a.tif", "b.tif", "c.tif"]
    assert names(tmp_path / "layers") == [f"{one}.{end}" for one in "abc" for end in ("figures.json", "geojson", "qml")]
    for scene, one in zip(scenes, figures, strict=True):
        alone = tmp_path / f"{scene.stem}.geojson"
        assert invoke(scene, "--out", alone, package=package).exit_code == 0
        assert (tmp_path / "layers" / alone.name).read_bytes() == alone.read_bytes()
        assert one["detections"] == len(json.loads(alone.read_text())["features"])
    head, *rows = result.stderr.splitlines()[-4:]
    assert head.split() == ["scene", "chips", "failed", "observed", "detections", "ha", "s"]
    assert [row.split()[:4] for row in rows] == [[f"{one}.tif", "6", "0", "100%"] for one in "abc"]
    assert len({len(row) for row in (head, *rows)}) == 1


def test_starting_again_skips_what_is_done(scenes, package, tmp_path, monkeypatch):
    out = tmp_path / "layers"
    out.mkdir()
    first = invoke(tmp_path / "in", "--out", out, "--json", package=package)
    (out / "b.geojson").unlink()
    layer = (out / "a.geojson").read_bytes()
    (out / "a.geojson").write_bytes(layer[: len(layer) // 2])
    record = json.loads((out / "c.figures.json").read_text())
    del record["figures"]["chips"]
    (out / "c.figures.json").write_text(json.dumps(record))
    looked = []
    monkeypatch.setattr("geoscan.scanning.scenes.look_before", lambda plan: looked.append(plan.name))
    again = invoke(tmp_path / "in", "--out", out, "--json", package=package)
    assert looked == ["a.tif", "b.tif", "c.tif"], "one lost a part of its layer, one all of it, one its record"
    assert "is done" not in again.stderr
    looked.clear()
    last = invoke(tmp_path / "in", "--out", out, "--json", package=package)
    assert (last.exit_code, looked, last.stdout) == (0, [], again.stdout)
    assert last.stderr.count("is done: its layer is there, of the same scene, model and options") == 3
    assert (out / "a.geojson").read_bytes() == layer
    write_scene(scenes[0], pixels=blocks(2, 3, 9), **BLOCKS)
    changed = invoke(tmp_path / "in", "--out", out, "--json", package=package)
    assert (looked, first.stdout != changed.stdout) == (["a.tif"], True)
    for different in (("--high", 0.9), ("--stride", 16), ("--fresh",)):
        looked.clear()
        assert invoke(tmp_path / "in", "--out", out, *different, package=package).exit_code == 0
        assert len(looked) == 3


def test_a_layer_that_somebody_edited_is_not_replaced(scenes, package, tmp_path):
    out = tmp_path / "layers"
    invoke(scenes[0], "--out", f"{out}/", package=package)
    edited = (out / "a.geojson").read_text().replace('"unreviewed"', '"mine"') + "\n"
    (out / "a.geojson").write_text(edited)
    assert invoke(scenes[0], "--out", f"{out}/", package=package).exit_code == 0
    assert (out / "a.geojson").read_text() == edited
    other = invoke(scenes[0], "--out", f"{out}/", "--high", 0.9, package=package)
    assert (other.exit_code, "reviews would be lost" in other.stderr) == (2, True)
    assert (out / "a.geojson").read_text() == edited


def test_reviews_that_are_saved_during_the_scan_are_not_replaced(scenes, package, tmp_path, monkeypatch):
    out = tmp_path / "layers"
    layer = out / "b.geojson"
    invoke(*scenes, "--out", f"{out}/", package=package)

    class Reviewing(Fake):
        def __call__(self, chips):
            layer.write_text(layer.read_text().replace('"unreviewed"', '"mine"'))
            return super().__call__(chips)

    monkeypatch.setattr("geoscan.scanning.run.detector", partial(fakes.made, Reviewing))
    monkeypatch.setattr("geoscan.scanning.folder.Folder.prepare", lambda *_: None)  # they are saved after it has looked
    result = invoke(*scenes, "--out", f"{out}/", "--high", 0.9, package=package)
    assert result.exit_code == 1
    assert "b.tif: " in result.stderr
    assert "reviews would be lost" in result.stderr
    assert '"mine"' in layer.read_text()
    assert names(out) == sorted(
        [*(f"{one}.{end}" for one in "abc" for end in ("figures.json", "geojson", "qml")), "b.geojson.journal"]
    )


def test_a_broken_scene_stops_no_other(scenes, package, tmp_path):
    out = tmp_path / "layers"
    scenes[0].write_bytes(b"")
    scenes[1].write_bytes(b"<html>404</html>")
    missing = tmp_path / "missing.tif"
    result = invoke(missing, *scenes, "--out", f"{out}/", "--json", package=package)
    assert result.exit_code == 1
    assert names(out) == ["c.figures.json", "c.geojson", "c.qml"]
    said = {one["scene"]: one.get("error", "") for one in map(json.loads, result.stdout.splitlines())}
    assert "is empty (0 bytes)" in said["a.tif"]
    assert "cannot be opened" in said["b.tif"]
    assert "does not exist" in said["missing.tif"]
    assert said["c.tif"] == ""
    table = result.stderr.splitlines()[-5:]
    assert sum("cannot be" in row or "is empty" in row or "does not exist" in row for row in table) == 3
    for alone in (missing, scenes[1]):
        result = invoke(alone, "--out", f"{out}/", package=package)
        assert (result.exit_code, result.stderr.count("\n")) == (2, 1)


def test_a_scene_that_is_not_understood_stops_no_other(scenes, package, tmp_path, monkeypatch):
    from geoscan.errors import LookError
    from geoscan.scanning import scenes as room

    whole = room.look_after

    def look_after(plan, *counts):
        if plan.name == "b.tif":
            raise LookError("b.tif looks like nothing")
        whole(plan, *counts)

    monkeypatch.setattr("geoscan.scanning.scenes.look_after", look_after)
    result = invoke(*scenes, "--out", f"{tmp_path}/layers/", package=package)
    assert result.exit_code == 1
    assert [name for name in names(tmp_path / "layers") if name.endswith(".geojson")] == ["a.geojson", "c.geojson"]
    assert "warning: b.tif: b.tif looks like nothing" in result.stderr
    result = invoke(*scenes, "--out", tmp_path / "one.geojson", "--json", package=package)
    assert result.exit_code == 1
    assert json.loads(result.stdout)["scene"] == ["a.tif", "c.tif"]
    assert len([line for line in result.stderr.splitlines() if line.endswith("b.tif looks like nothing")]) == 1
    result = invoke(scenes[1], "--out", tmp_path / "two.geojson", package=package)
    assert result.exit_code == 2
    assert not (tmp_path / "two.geojson").exists()


def test_what_could_not_be_read_is_tried_again_and_nothing_else(scenes, package, tmp_path, monkeypatch):
    """As on a network drive that fails for a while."""
    out, read = tmp_path / "layers", Scene.read

    def failing(scene, window):
        if scene.name == "b.tif" and window.row == 0 and window.col <= CHIP < window.col + window.cols:
            raise ReadError(f"{scene.name} cannot be read: Input/output error")
        return read(scene, window)

    with monkeypatch.context() as patch:
        patch.setattr(Scene, "read", failing)
        result = invoke(*scenes, "--out", f"{out}/", package=package)
    assert result.exit_code == 1
    assert f"{out / 'b.geojson.journal'} stays: the same command tries again" in result.stderr
    assert "b.figures.json" not in names(out)
    result = invoke(*scenes, "--out", f"{out}/", package=package)
    assert result.exit_code == 0
    assert "b.tif: resumed: 5 of 6 chips" in result.stderr
    assert result.stderr.count("is done: ") == 2
    assert names(out) == [f"{one}.{end}" for one in "abc" for end in ("figures.json", "geojson", "qml")]


def test_a_scene_that_another_scan_is_at_is_left_to_it(scenes, package, tmp_path):
    out = tmp_path / "layers"
    out.mkdir()
    plan = Plan.of(Scene.open(scenes[1]), package, ScanOptions())
    journal, _ = open_journal(out / "b.geojson.journal", plan)
    with journal:
        result = invoke(*scenes, "--out", out, package=package)
    assert result.exit_code == 1
    assert "b.tif: " in result.stderr
    assert "is being written by another scan" in result.stderr
    assert [name for name in names(out) if name.endswith(".geojson")] == ["a.geojson", "c.geojson"]


def test_scenes_of_one_stem_get_layers_of_their_own(package, tmp_path):
    paths = [write_scene(tmp_path / name, pixels=blocks(2, 3)) for name in ("x.tif", "x.tiff", "y b.tif")]
    with_gap = np.zeros((3, 64, 64))
    write_scene(tmp_path / "x.tiff", pixels=with_gap, transform=None, gsd=3.6)
    assert invoke(*paths, "--out", f"{tmp_path}/layers/", package=package).exit_code == 0
    layers = [name for name in names(tmp_path / "layers") if name.endswith(".geojson")]
    assert layers == ["x.tif.geojson", "x.tiff.geojson", "y_b.geojson"]


@pytest.mark.parametrize("jobs", [0, 2])
def test_the_journals_that_were_asked_for_stay(scenes, package, tmp_path, jobs):
    kept = tmp_path / "journals"
    result = invoke(*scenes, "--out", tmp_path / "m.geojson", "--journal", f"{kept}/", "--jobs", jobs, package=package)
    assert result.exit_code == 0, result.stderr
    assert names(kept) == ["a.tif.journal", "b.tif.journal", "c.tif.journal"]
    assert list(tmp_path.glob("m.geojson.*")) == []
    again = invoke(*scenes, "--out", f"{tmp_path}/layers/", "--journal", kept, package=package)
    assert again.stderr.count("resumed: 6 of 6 chips") == 3
    assert list((tmp_path / "layers").glob("*.journal")) == []


@pytest.mark.parametrize(
    ("journal", "message"),
    [
        ("all.journal", "all.journal names one journal for 3 scenes; name a folder, such as all/"),
        ("missing/deep/", "cannot be made: No such file or directory"),
    ],
)
def test_journals_that_have_no_place_are_refused(scenes, package, tmp_path, journal, message):
    out = tmp_path / "m.geojson"
    result = invoke(*scenes, "--out", out, "--journal", f"{tmp_path}/{journal}", package=package)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not out.exists()


def test_a_journal_is_never_a_scene_or_another_file(scenes, package, tmp_path):
    for wrong, message in (("places.gpkg", "end it in .journal"), ("in/a.tif", "end it in .journal")):
        result = invoke(scenes[0], "--out", tmp_path / "m.geojson", "--journal", tmp_path / wrong, package=package)
        assert result.exit_code == 2
        assert message in result.stderr
    disguised = scenes[0].rename(tmp_path / "scene.journal")
    content = disguised.read_bytes()
    result = invoke(disguised, "--out", tmp_path / "m.geojson", "--journal", disguised, package=package)
    assert (result.exit_code, disguised.read_bytes()) == (2, content)


def test_a_folder_that_cannot_be_is_refused_before_the_work(scenes, package, tmp_path):
    (tmp_path / "file").write_text("x")
    for wrong, message in (("file/", "File exists"), ("missing/deep/", "is not a folder; make it first")):
        result = invoke(scenes[0], "--out", f"{tmp_path}/{wrong}", package=package)
        assert result.exit_code == 2
        assert message in result.stderr
    result = invoke(tmp_path / "file", tmp_path / "none.tif", "--out", f"{tmp_path}/new/", package=package)
    assert (result.exit_code, (tmp_path / "new").exists()) == (2, False)


def test_a_record_of_another_layer_does_not_stay(scenes, package, tmp_path):
    out, whole, status = tmp_path / "layers", scenes[0].read_bytes(), scenes[0].stat()
    first = invoke(scenes[0], "--out", f"{out}/", package=package)
    layer = (out / "a.geojson").read_bytes()
    break_block(scenes[0], 0, 1)
    assert invoke(scenes[0], "--out", f"{out}/", "--high", 0.9, package=package).exit_code == 1
    assert names(out) == ["a.geojson", "a.geojson.journal", "a.qml"]
    scenes[0].write_bytes(whole)
    os.utime(scenes[0], ns=(status.st_mtime_ns,) * 2)
    again = invoke(scenes[0], "--out", f"{out}/", package=package)
    assert (first.exit_code, again.exit_code, "is done" in again.stderr) == (0, 0, False)
    assert (out / "a.geojson").read_bytes() == layer


def test_a_scene_of_the_same_name_elsewhere_does_not_replace_a_layer(scenes, package, tmp_path):
    out, july = tmp_path / "layers", tmp_path / "july" / "a.tif"
    assert invoke(tmp_path / "in", "--out", f"{out}/", package=package).exit_code == 0
    layer = (out / "a.geojson").read_bytes()
    july.parent.mkdir()
    write_scene(july, pixels=blocks(2, 3, 9), **BLOCKS)
    other = invoke(july, "--out", f"{out}/", package=package)
    assert (other.exit_code, "a.geojson is the layer of another a.tif" in other.stderr) == (2, True)
    assert (out / "a.geojson").read_bytes() == layer
    assert invoke(july, "--out", f"{out}/", "--fresh", package=package).exit_code == 0
    assert (out / "a.geojson").read_bytes() != layer


def test_another_scene_of_one_archive_is_another_scene(scenes, package, tmp_path):
    out, archive = tmp_path / "layers", tmp_path / "months.zip"
    with zipfile.ZipFile(archive, "w") as both:
        for month, scene in zip(("june", "july"), scenes, strict=False):
            both.write(scene, f"{month}/scene.tif")
    june, july = (f"/vsizip/{archive}/{month}/scene.tif" for month in ("june", "july"))
    assert invoke(june, "--out", f"{out}/", package=package).exit_code == 0
    layer = (out / "scene.geojson").read_bytes()
    other = invoke(july, "--out", f"{out}/", package=package)
    assert (other.exit_code, "scene.geojson is the layer of another scene.tif" in other.stderr) == (2, True)
    again = invoke(june, "--out", f"{out}/", package=package)
    assert (again.exit_code, "scene.tif is done" in again.stderr) == (0, True)
    assert (out / "scene.geojson").read_bytes() == layer


def test_a_layer_never_replaces_what_a_scene_is_read_from(scenes, package, tmp_path):
    disguised = scenes[0].rename(tmp_path / "in" / "d.geojson")
    content = disguised.read_bytes()
    link = tmp_path / "d.tif"
    link.hardlink_to(disguised)
    result = invoke(link, "--out", tmp_path / "in", package=package)
    assert result.exit_code == 2
    assert "d.geojson is a file that a scene is read from" in result.stderr
    assert disguised.read_bytes() == content
