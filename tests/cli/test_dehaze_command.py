"""`geoscan dehaze`: what it writes, and what it refuses."""

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner
from conftest import write_scene

from geoscan.cli import main


def invoke(*words):
    return CliRunner().invoke(main, ["dehaze", *map(str, words)], prog_name="geoscan")


@pytest.mark.parametrize("jobs", [0, 2])
def test_a_scene_is_written_on_its_own_grid(make_scene, tmp_path, jobs):
    scene, out = make_scene((3, 300, 400)), tmp_path / "clear.tif"
    result = invoke(scene, "--out", out, "--jobs", jobs)
    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    assert "300 x 400 px, airlight 0." in result.stderr
    assert result.stderr.count("\n") == 1
    with rasterio.open(scene) as before, rasterio.open(out) as after:
        assert (after.shape, after.crs, after.transform) == (before.shape, before.crs, before.transform)
        assert (after.count, after.dtypes[0]) == (3, "uint8")


def test_the_same_file_with_threads_and_without(make_scene, tmp_path):
    scene = make_scene((3, 600, 1200))
    contents = []
    for jobs in (0, 3):
        out = tmp_path / f"clear{jobs}.tif"
        assert invoke(scene, "--out", out, "--jobs", jobs, "-q").output == ""
        contents.append(out.read_bytes())
    assert contents[0] == contents[1]


def test_only_what_geoscan_made_is_replaced(make_scene, tmp_path):
    scene, out = make_scene((3, 64, 80)), tmp_path / "clear.tif"
    other = write_scene(tmp_path / "other.tif", (3, 60, 70))
    assert [invoke(scene, "--out", out, "-q").exit_code for _ in range(2)] == [0, 0]
    content = other.read_bytes()
    result = invoke(scene, "--out", other)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert f"{other} is a raster that geoscan did not make, and would be lost" in result.stderr
    assert other.read_bytes() == content


def test_omega_0_and_fixed_airlight_leave_the_pixels(make_scene, tmp_path):
    scene, out = make_scene((3, 64, 80)), tmp_path / "clear.tif"
    assert invoke(scene, "--out", out, "--airlight", "fixed", "--omega", 0).exit_code == 0
    with rasterio.open(scene) as before, rasterio.open(out) as after:
        np.testing.assert_allclose(after.read().astype(int), before.read(), atol=1)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("missing.tif", "--out", "clear.tif"), "missing.tif does not exist"),
        (("scene.tif",), "Missing option '--out'"),
        ((), "Missing argument 'SCENE'"),
        (("scene.tif", "--out", "clear.jpg"), ".tif"),
        (("scene.tif", "--out", "clear"), ".tif"),
        (("scene.tif", "--out", "nowhere/clear.tif"), "nowhere"),
        (("scene.tif", "--out", "scene.tif"), "scene.tif"),
        (("scene.tif", "--out", "."), "is a directory"),
        (("scene.tif", "--out", "clear.tif", "--omega", "2"), "2.0 is not in the range 0<=x<=1"),
        (("scene.tif", "--out", "clear.tif", "--airlight", "chip"), "is not one of 'scene', 'fixed'"),
        (("scene.tif", "--out", "clear.tif", "--bands", "1"), "does not name three bands"),
        (("scene.tif", "--out", "clear.tif", "--stretch", "more"), "stretch 'more' is not known"),
        (("grey.tif", "--out", "clear.tif"), "grey.tif"),
        (("nowhere.tif", "--out", "clear.tif"), "nowhere.tif has no CRS"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else None,
)
def test_what_does_not_fit_is_refused(make_scene, tmp_path, monkeypatch, words, message):
    make_scene()
    make_scene((1, 40, 40), name="grey.tif")
    make_scene(name="nowhere.tif", crs=None)
    monkeypatch.chdir(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    result = invoke(*words)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("geoscan: ")
    assert result.stderr.count("\n") == 1
    assert message in result.stderr
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_pixels_that_cannot_be_read_leave_the_old_file(make_scene, tmp_path):
    scene = make_scene((3, 700, 700), compress="deflate", tiled=True, blockxsize=256, blockysize=256)
    content = bytearray(scene.read_bytes())
    with rasterio.open(scene) as dataset:
        start = int(dataset.get_tag_item("BLOCK_OFFSET_1_1", "TIFF", bidx=1))
    content[start : start + 999] = b"\xa5" * 999
    scene.write_bytes(content)
    out = tmp_path / "clear.tif"
    out.write_text("old")
    result = invoke(scene, "--out", out, "--airlight", "fixed")
    assert result.exit_code == 1
    assert result.stderr.startswith("geoscan: scene.tif cannot be read at ")
    assert result.stderr.count("\n") == 1
    assert out.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clear.tif", "scene.tif"]
