"""`geoscan review`: chips of what a person said, and what it refuses."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner
from conftest import write_package
from PIL import Image
from reviewed_layers import CHIP, area, layer, scene

from geoscan.cli import main
from geoscan.data.mine_chips import read_mine_chips
from geoscan.scanning.batch import read
from geoscan.scanning.options import ScanOptions
from geoscan.scanning.plan import Plan
from geoscan.scene import Scene


@pytest.fixture(autouse=True)
def there(tmp_path, monkeypatch):
    """A scene, a model, and a layer with one mine, one that is none, and one that nobody has reviewed."""
    monkeypatch.chdir(tmp_path)
    write_package(tmp_path / "model", chip=CHIP)
    scene(tmp_path / "scene.tif")
    polygons = (area(0, 0, 1, 2), "mine"), (area(2, 2), "not_mine"), (area(3, 0), "unreviewed")
    layer(tmp_path / "mines.gpkg", *polygons, score_max=[0.9, 0.7, 0.6])


def run(*words: str, layer: str = "mines.gpkg", scenes=("scene.tif",)):
    named = [word for scene in scenes for word in ("--scene", scene)]
    return CliRunner().invoke(main, ["review", layer, *named, "--model", "./model", *words], prog_name="geoscan")


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_chips_are_what_the_model_reads(tmp_path):
    result = run("--out", "chips/")
    assert result.exit_code == 0, result.output
    assert "chips: 2 chips of mines, 1 of what is no mine" in result.stderr
    with Path("chips/index.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["file"], row["label"], row["review"], row["score"]) for row in rows] == [
        ("mine/scene.tif-0-0.png", "mine", "mine", "0.9"),
        ("mine/scene.tif-0-32.png", "mine", "mine", "0.9"),
        ("other/scene.tif-64-64.png", "other", "not_mine", "0.7"),
    ]
    assert {(row["scene"], row["source_gallery"], row["model"], row["date"]) for row in rows} == {
        ("scene.tif", "scene.tif", "model", "unknown")
    }
    plan = Plan.of(Scene.open("scene.tif"), write_package(tmp_path / "model", chip=CHIP), ScanOptions())
    seen = read(plan, [0, 1, 12]).framed(plan.package.card.preprocess)
    known = read_mine_chips(Path("chips"), Path("chips/index.csv"))
    assert not known.problems.lines()
    assert known.campaigns == ("scene.tif",) * 3
    for n in range(3):
        assert np.array_equal(known.read(n).transpose(1, 2, 0), seen[n])


def test_chips_know_where_they_lie():
    run("--out", "chips")
    with rasterio.open("chips/other/scene.tif-64-64.png") as chip, rasterio.open("scene.tif") as whole:
        assert chip.crs == whole.crs
        assert np.allclose(chip.transform[:6], (whole.transform @ whole.transform.translation(64, 64))[:6])


def test_an_earlier_chip_set_is_replaced_and_nothing_else(tmp_path):
    run("--out", "chips")
    before = files(tmp_path)
    layer(tmp_path / "less.gpkg", (area(2, 2), "not_mine"))
    assert run("--out", "chips", layer="less.gpkg").exit_code == 0
    assert [name for name in files(Path("chips")) if name.endswith(".png")] == ["other/scene.tif-64-64.png"]
    assert run("--out", "chips").exit_code == 0
    assert files(tmp_path) == sorted([*before, "less.gpkg"])
    Path("chips/notes.txt").write_text("mine")
    result = run("--out", "chips")
    assert result.exit_code == 2
    assert "chips holds other things than an earlier chip set; give a new folder" in result.stderr


def test_a_scene_inside_of_the_chip_set_is_not_lost():
    run("--out", "chips")
    shutil.copy("scene.tif", "chips/mine/scene.tif-0-0.png")
    Image.open("scene.tif").save("chips/mine/scene.tif-0-0.png")
    result = run("--out", "chips", scenes=["chips/mine/scene.tif-0-0.png"])
    assert result.exit_code == 2
    assert "lies in chips, which would be replaced" in result.stderr


def test_what_is_left_out_is_said(tmp_path):
    polygons = (area(0, 0), "mine"), (area(9, 9), "mine"), (area(1, 1), "mine"), (area(3, 3, 0.6), "not_mine")
    doubtful = (area(3.6, 3, 0.4), "unreviewed")
    layer(tmp_path / "far.gpkg", *polygons, doubtful, scene=["scene.tif", "", "old.tif", "", ""])
    result = run("--out", "chips", layer="far.gpkg")
    assert result.exit_code == 0
    assert "1 reviewed polygons are of scenes that were not given (old.tif): left out" in result.stderr
    assert "1 reviewed polygons lie outside of the scenes: left out" in result.stderr
    assert "1 chips of what is no mine also show a mine, or a polygon that nobody has reviewed" in result.stderr
    assert "1 chips of mines, 0 of what is no mine" in result.stderr


def test_a_scene_that_was_renamed_is_taken_and_said(tmp_path):
    layer(tmp_path / "old.gpkg", (area(0, 0), "mine"), (area(9, 9), "mine"), scene=["before.tif"] * 2)
    result = run("--out", "chips", layer="old.gpkg")
    assert result.exit_code == 0, result.stderr
    assert "the reviewed polygons are of before.tif, and scene.tif is taken for it" in result.stderr
    assert "1 reviewed polygons lie outside of the scenes: left out" in result.stderr
    layer(tmp_path / "two.gpkg", (area(0, 0), "mine"), (area(1, 1), "mine"), scene=["before.tif", "other.tif"])
    scene(tmp_path / "next.tif")
    for name, scenes in (("two.gpkg", ["scene.tif"]), ("old.gpkg", ["scene.tif", "next.tif"])):
        result = run("--out", "none", layer=name, scenes=scenes)
        assert (result.exit_code, "2 reviewed polygons are of scenes that were not" in result.stderr) == (2, True)


def test_two_scenes_are_two_places(tmp_path):
    scene(tmp_path / "next.tif")
    assert run("--out", "chips", scenes=["scene.tif", "next.tif"]).exit_code == 0
    assert set(read_mine_chips(Path("chips"), Path("chips/index.csv")).campaigns) == {"scene.tif", "next.tif"}


def test_chips_of_scenes_that_may_be_earlier_are_left_out_and_said(tmp_path):
    scene(tmp_path / "next.tif")
    layer(tmp_path / "joined.gpkg", (area(0, 0, 1, 2), "mine"), scene=["scene.tif, next.tif"])
    for scenes, count in ((["scene.tif", "next.tif"], 4), (["scene.tif"], 2)):
        result = run("--out", "chips", layer="joined.gpkg", scenes=scenes)
        assert result.exit_code == 2
        assert f"{count} chips are left out: another scene of their polygon is later, or of a day" in result.stderr
        assert "none of the 1 reviewed polygons gives a chip of these scenes; scan and review each" in result.stderr
    layer(tmp_path / "joined.gpkg", (area(0, 0), "mine"), (area(2, 2), "mine"), scene=["scene.tif, next.tif", ""])
    result = run("--out", "chips", layer="joined.gpkg")
    assert (result.exit_code, "1 chips are left out" in result.stderr) == (0, True)
    assert "1 chips of mines, 0 of what is no mine" in result.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["none.gpkg", "--scene", "scene.tif"], "none.gpkg is missing"),
        (["mines.gpkg"], "Missing option '--scene'"),
        (["mines.gpkg", "--scene", "absent.tif"], "absent.tif"),
        (["far.gpkg", "--scene", "scene.tif"], "none of the 1 reviewed polygons gives a chip of these scenes"),
        (["wrong.gpkg", "--scene", "scene.tif"], "`review` holds 'perhaps' (1); the words that fit are unreviewed"),
        (["own.gpkg", "--scene", "scene.tif"], "the layer was made by mine_2026; pass --model"),
    ],
)
def test_misuse_is_one_line_and_writes_nothing(tmp_path, words, message):
    layer(tmp_path / "far.gpkg", (area(9, 9), "mine"))
    layer(tmp_path / "wrong.gpkg", (area(0, 0), "perhaps"))
    layer(tmp_path / "own.gpkg", (area(0, 0), "mine"), model=["mine_2026"])
    before = files(tmp_path)
    model = [] if words[0] == "own.gpkg" else ["--model", "./model"]
    result = CliRunner().invoke(main, ["review", *words, "--out", "chips", *model], prog_name="geoscan")
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert result.stderr.count("geoscan: ") == 1
    assert files(tmp_path) == before
    assert not Path("chips").exists()
