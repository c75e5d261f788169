"""Progress in lines, for programs that call `geoscan scan`."""

import json
import time

import fakes
import numpy as np
import pytest
from click.testing import CliRunner

from geoscan.cli import main, progress


@pytest.fixture
def package(make_package, monkeypatch):
    monkeypatch.setattr("geoscan.scanning.run.detector", fakes.bright)
    return make_package(chip=32)


def lines(stderr):
    return [json.loads(line) for line in stderr.splitlines() if line.startswith("{")]


def scan(scenes, package, *words):
    asked = ["scan", *map(str, scenes), "--model", str(package.path), "--jobs", "0", "--batch", "2", *words]
    result = CliRunner().invoke(main, asked, prog_name="geoscan")
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture
def scenes(make_scene):
    """Two scenes of 12 chips and 1."""
    return [make_scene(pixels=np.full((3, *shape), 20), name=f"{shape[0]}.tif") for shape in ((96, 128), (32, 32))]


@pytest.mark.parametrize("quiet", [(), ("-q",)])
def test_lines_count_the_chips_of_all_scenes_up_to_the_last(scenes, package, monkeypatch, quiet):
    monkeypatch.setattr(progress, "_PAUSE", 0)
    result = scan(scenes, package, "--json", "--progress", *quiet)
    told = lines(result.stderr)
    assert {one["chips"] for one in told} == {13}
    done = [one["done"] for one in told]
    assert done == sorted(done)
    assert set(done) == {0, 2, 4, 6, 8, 10, 12, 13}, "a line a batch, where nothing holds them back"
    assert json.loads(result.stdout)["chips"] == 13, "stdout holds the figures alone"


def test_without_it_no_line_is_json(scenes, package):
    assert lines(scan(scenes, package, "--json").stderr) == []


def test_a_folder_counts_what_is_left_to_scan(scenes, package, tmp_path):
    folder = f"{tmp_path}/layers/"
    assert lines(scan(scenes[:1], package, "--out", folder, "--progress").stderr)[-1] == {"done": 12, "chips": 12}
    assert lines(scan(scenes, package, "--out", folder, "--progress").stderr)[-1] == {"done": 1, "chips": 1}


def test_lines_are_few(capsys):
    with progress.shown(100_000, lines=True) as told:
        started = time.monotonic()
        for _ in range(100_000):
            told["advance"](1)
        spent = time.monotonic() - started
    said = lines(capsys.readouterr().err)
    assert said[-1] == {"done": 100_000, "chips": 100_000}
    assert len(said) <= 3 + spent / 0.2
