"""`geoscan check`: what a scene is and how it will be read."""

import json
import re
import subprocess
import sys

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from conftest import write_scene

from geoscan.cli import main
from geoscan.model.package import load

GROUND = np.random.default_rng(5).gamma(3.0, 250, (3, 200, 240)).clip(30, 9000).round()


def invoke(*words):
    return CliRunner().invoke(main, ["check", *map(str, words)], prog_name="geoscan")


def test_it_says_how_a_scene_is_read_and_what_answers_a_doubt(make_scene):
    path = make_scene(
        pixels=GROUND[::-1] + 1000, dtype="uint16", gsd=10, descriptions=("B02_10m", "B03_10m", "B04_10m")
    )
    result = invoke(path)
    assert result.exit_code == 0, result.output
    assert "bands:    3,2,1" in result.stdout
    assert "reflectance = value x 0.0001 - 0.1 (pixels)" in result.stdout
    assert "EPSG:32721, 200 x 240 px of 10 m" in result.stdout
    assert "sentinel2 (10 m) as it is; sentinel2-lite (10 m) as it is; a scan takes sentinel2\n" in result.stdout
    assert re.search(
        r"25 chips; about \d+ s( to \d+ s)? without a GPU, \d+ s of it to .*; about \d+\.\d GB of", result.stdout
    )
    assert "warning:  nothing says how values become reflectance" in result.stdout
    assert "--scale and --offset" in result.stdout


def test_an_option_takes_the_doubt_away(make_scene):
    result = invoke(make_scene(pixels=GROUND, dtype="uint16", gsd=10), "--scale", "0.0001", "--json")
    found = json.loads(result.stdout)
    assert found["reading"]["values"] == "reflectance = value x 0.0001 (option)"
    assert not any("nothing says how" in one for one in found["warnings"])
    assert any("looks like nothing that sentinel2 has learned from" in one for one in found["warnings"]), "noise"
    assert found["observed_share"] == 1
    assert 200 < found["cost"]["memory_mb"] < 800
    assert 0 < found["cost"]["preparing_seconds"] < found["cost"]["seconds"][0] <= found["cost"]["seconds"][1]
    assert [one["reading"] for one in found["models"]] == ["resampled", "as it is", "as it is"]


def test_black_chips_are_a_warning(make_scene):
    result = invoke(make_scene(pixels=GROUND, dtype="uint16", gsd=10), "--scale", "1e-6")
    assert "warning:  the chips are nearly black: --scale, --offset or --stretch may be wrong" in result.stdout


def test_the_contact_sheet_shows_chips_as_the_model_sees_them(make_scene, tmp_path):
    pixels = np.zeros((3, 48, 96))
    pixels[0], pixels[1, :, 48:] = 255, 255  # red, then yellow
    sheet = tmp_path / "chips.png"
    result = invoke(make_scene(pixels=pixels, gsd=10), "--preview", sheet, "-q")
    assert result.exit_code == 0, result.output
    shown = cv2.imread(str(sheet))
    assert shown[20, 20].tolist() == [0, 0, 255]  # blue, green, red
    assert shown[20, 52 + 20].tolist() == [0, 255, 255]


def test_scenes_that_cannot_be_scanned_are_one_line_each_and_the_others_are_told(make_scene, tmp_path):
    (tmp_path / "no.tif").write_text("no raster")
    result = invoke(tmp_path / "no.tif", make_scene(pixels=GROUND, dtype="uint16", gsd=10), "--json")
    assert result.exit_code == 2
    first, second = map(json.loads, result.stdout.splitlines())
    assert "cannot be opened" in first["error"]
    assert second["chips"] == 25


def test_its_json_holds_what_is_said_while_a_scene_is_opened(make_scene):
    pixels = np.concatenate([GROUND, GROUND[:1] > 900])
    path = make_scene(pixels=pixels, dtype="uint16", gsd=10, descriptions=("B4", "B3", "B2", "CLOUDS"))
    found = json.loads(invoke(path, "--json", "-q").stdout)
    assert sum("nothing is made of" in one for one in found["warnings"]) == 1
    assert any("nothing says how values become reflectance" in one for one in found["warnings"])
    text = invoke(path)
    assert "nothing is made of" in text.stderr
    assert "nothing is made of" not in text.stdout


def test_the_models_are_opened_once_for_all_scenes(make_scene, tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr("geoscan.model.shipped.load", lambda path: opened.append(path) or load(path))
    paths = [make_scene(pixels=GROUND + n, name=f"{n}.tif", dtype="uint16", gsd=10) for n in (0, 1)]
    assert invoke(*paths).exit_code == 0
    assert len(opened) == len(set(opened)) > 1


def test_it_never_starts_tensorflow(make_scene):
    path = make_scene(pixels=GROUND, dtype="uint16", gsd=10)
    run = f"main(['check', {str(path)!r}], standalone_mode=False)"
    code = f"import sys; from geoscan.cli import main; {run}; print('tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.rstrip().endswith("False")


@pytest.mark.parametrize("words", [["--scale", "a"], ["--scale", "1,2"], ["--offset", "nan"]])
def test_scales_that_are_none_are_misuse(make_scene, words):
    result = invoke(make_scene(), *words)
    assert result.exit_code == 2
    assert "is not one number, or three" in result.stderr


def test_a_scene_of_which_nothing_can_be_read_fails_as_its_scan_does(make_scene, tmp_path):
    whole = make_scene(pixels=GROUND, dtype="uint16", gsd=10, tiled=True, blockxsize=32, blockysize=32)
    cut = tmp_path / "cut.tif"
    cut.write_bytes(whole.read_bytes()[:2500])  # the head, and hardly any pixels
    result = invoke(cut, whole, "--scale", "0.0001")
    assert result.exit_code == 1
    first, _, second = result.stdout.partition("\n\n")
    found = re.search(r"warning:  (\d+) of the (\d+) chips that were looked at could not be read; fetch", first)
    assert found is not None, first
    assert found[1] == found[2]
    assert "has data" not in first
    assert "could not be read" not in second
    assert json.loads(invoke(cut, "--scale", "0.0001", "--json").stdout)["failed"] == int(found[1])


def test_a_mask_beside_its_scene_is_passed_over_as_a_scan_passes_over_it(tmp_path):
    item = "20230601_133012_45_2463_3B"
    write_scene(tmp_path / f"{item}_AnalyticMS_SR.tif", (4, 200, 240), dtype="uint16", gsd=3)
    mask = write_scene(tmp_path / f"{item}_udm2.tif", pixels=np.zeros((8, 200, 240), np.uint8), gsd=3)
    result = invoke(tmp_path, "--json")
    assert result.exit_code == 0, result.output
    assert [json.loads(line)["scene"] for line in result.stdout.splitlines()] == [f"{item}_AnalyticMS_SR"]
    alone = invoke(mask)
    assert alone.exit_code == 2
    assert "is a usable data mask, not a scene" in alone.stdout
