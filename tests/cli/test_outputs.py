"""--obscured of scans and merges, and the command that a layer tells."""

import json
from pathlib import Path

import click
import fakes
import geopandas
import numpy as np
import pytest
from click.testing import CliRunner
from scans import CHIP, blocks

from geoscan.cli import main, options
from geoscan.cli.command_line import command_line


@pytest.fixture
def package(make_package, monkeypatch):
    monkeypatch.setattr("geoscan.scanning.run.detector", fakes.bright)
    return make_package("plain", chip=CHIP)


@pytest.fixture
def scene(make_scene) -> Path:
    pixels = blocks()
    pixels[:, :CHIP] = 0
    return make_scene(pixels=pixels, nodata=0)


def invoke(*words):
    return CliRunner().invoke(main, [str(word) for word in words], prog_name="geoscan")


def test_a_scan_and_a_merge_write_what_was_not_seen(scene, package, tmp_path):
    how = ("--out", tmp_path / "a.gpkg", "--obscured", tmp_path / "hidden.geojson", "--journal", tmp_path / "a.journal")
    result = invoke(scene, "--model", package.path, "--jobs", 0, *how)
    assert result.exit_code == 0, result.stderr
    (feature,) = json.loads((tmp_path / "hidden.geojson").read_text())["features"]
    assert (feature["properties"]["cause"], feature["properties"]["n_chips"]) == ("nodata", 7)
    merged = ("--out", tmp_path / "b.geojson", "--obscured", tmp_path / "again.geojson")
    assert invoke("merge", tmp_path / "a.journal", *merged).exit_code == 0
    assert (tmp_path / "again.geojson").read_bytes() == (tmp_path / "hidden.geojson").read_bytes()
    (command,) = geopandas.read_file(tmp_path / "a.gpkg", layer="metadata")["command"]
    assert command == f"geoscan scan {scene} --model {package.path}"


def test_what_changes_no_result_changes_no_byte(scene, package, tmp_path):
    for name, how in (("a", ("--jobs", 0)), ("b", ("--jobs", 2, "--batch", 3, "-q", "--fresh"))):
        words = (scene, "--model", package.path, "--out", tmp_path / f"{name}.gpkg", *how)
        assert invoke(*words).exit_code == 0
    assert (tmp_path / "a.gpkg").read_bytes() == (tmp_path / "b.gpkg").read_bytes()


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (("--out", "layers/", "--obscured", "o.geojson"), "--obscured is of one layer, and --out is a folder"),
        (("--out", "a.geojson", "--obscured", "a.fgb"), "a.geojson and a.fgb have one name"),
        (("--out", "a.geojson", "--obscured", "o.shp"), "the suffix '.shp'"),
        (("--out", "a.geojson", "--obscured", ""), "an empty name is no place to write to"),
    ],
)
def test_misuse_is_one_line_before_any_work(scene, package, tmp_path, monkeypatch, how, said):
    monkeypatch.chdir(tmp_path)
    before = np.unique([path.name for path in tmp_path.iterdir()]).tolist()
    result = invoke(scene, "--model", package.path, *how)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert said in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_command_is_told_without_secrets_and_without_what_changes_nothing():
    @click.command()
    @click.argument("scenes", nargs=-1)
    @click.option("--out")
    @click.option("--tta/--no-tta")
    @options.pixels
    def scan(**_):
        click.echo(command_line())

    words = ["https://me:pass@x.org/a.tif?sig=1", "--out", "m.gpkg", "--no-tta", "--bands", "3,2,1", "--scale", "0.1"]
    told = CliRunner().invoke(scan, words, prog_name="scan").stdout
    assert told == "geoscan scan https://x.org/a.tif --no-tta --bands 3,2,1 --scale 0.1,0.1,0.1\n"


def test_outside_of_a_command_there_is_none():
    assert command_line() == ""
