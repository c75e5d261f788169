"""`compare.py`: sections are run, kept, and left out for a reason; what it counts is right."""

import json
import sys
from pathlib import Path

import compare
import numpy as np
import pytest
import rasterio
from sections import amazon, limits, material, tables, torch_env
from sections.commands import EXAMPLE

from geoscan.model.shipped import find
from geoscan.scanning.cost import multiplications


@pytest.fixture(autouse=True)
def _no_torch(monkeypatch):
    monkeypatch.delenv(compare.TORCH_PYTHON, raising=False)


def compared(target, *words, status=0):
    with pytest.raises(SystemExit) as end:
        compare.main(["--tiny", "--json", str(target), *words])
    assert end.value.code == status
    return json.loads(target.read_text())["sections"]


@pytest.mark.large
def test_the_start_is_measured_and_sections_without_torch_say_why_they_are_not(tmp_path, capsys):
    found = compared(tmp_path / "out.json", "--only", "start,ratios,torchgeo,amazon")
    assert set(found) == {"start", "ratios", "torchgeo", "amazon"}
    whole, first = next(iter(found["start"]["tables"].values()))
    assert 0 < first["best s"] <= first["median s"]
    assert 0 < whole["best s"] <= whole["median s"]
    for name, reason in (("ratios", "--torch-python"), ("torchgeo", "--torch-python"), ("amazon", "growth")):
        assert not found[name]["tables"]
        assert reason in next(iter(found[name]["skipped"].values()))
    assert found["start"]["machine"]["cores"] >= 1
    assert found["start"]["machine"]["versions"]["openvino"]
    printed = capsys.readouterr().out
    assert "## start" in printed
    assert "no Python with torch" in printed


def test_what_an_environment_lacks_is_named():
    assert torch_env.lacking(sys.executable, "json", "numpy") == ""
    assert (
        torch_env.lacking(sys.executable, "json", "no_torch", "no_cv2") == f"{sys.executable} has no no_torch, no_cv2"
    )


def test_a_section_that_fails_stops_no_other_and_earlier_ones_are_kept(tmp_path, monkeypatch):
    def fails(work, found):
        found.add("half", {"n": 1})
        raise RuntimeError("no luck")

    monkeypatch.setattr(compare, "SECTIONS", {"one": fails, "two": lambda work, found: found.add("t", {"n": 2})})
    target = tmp_path / "out.json"
    target.write_text(json.dumps({"sections": {"zero": {}}}))
    found = compared(target, "--only", "two,one", status=1)
    assert list(found) == ["zero", "one", "two"]
    assert found["one"]["error"] == "RuntimeError: no luck"
    assert found["one"]["tables"] == {"half": [{"n": 1}]}
    assert found["two"]["tables"] == {"t": [{"n": 2}]}
    assert not found["two"]["error"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--only start,stop", "no section is called 'stop'"),
        ("--torch-python missing/python", "missing/python is no program"),
        ("--json missing/out.json", "No such file"),
        ("--json broken.json", "cannot be taken further"),
    ],
)
def test_what_cannot_work_is_said_before_the_work(words, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("broken.json").write_text("{}")
    with pytest.raises(SystemExit) as end:
        compare.main(words.split())
    assert end.value.code == 2
    assert message in capsys.readouterr().err
    assert Path("broken.json").read_text() == "{}"


def test_operations_are_those_of_the_network():
    package = find("planet")
    spec = package.card.spec
    wide = package.card.spec.blocks[-1] * spec.growth  # more features than these reach the heads, at a product a label
    convolutions = 2 * multiplications(spec)
    counted = limits.flops_a_chip(package.path, spec.chip)
    assert convolutions + 2 * wide * len(spec.labels) < counted < 1.001 * convolutions


def test_a_scene_is_the_example_over_and_over(tmp_path):
    with rasterio.open(EXAMPLE) as source:
        unit = source.read()[:, :600, :700]
    with rasterio.open(material.scene(tmp_path, 1500, 1000, unit=(600, 700))) as scene:
        np.testing.assert_array_equal(scene.read(), np.tile(unit, (1, 3, 2))[:, :1500, :1000])


def test_the_amazon_is_extrapolated_by_its_area():
    here, more = amazon.rows(chips=100_000, seconds=100.0, chip_km2=0.25, measured_cores=2)
    assert here["hours"] == pytest.approx(8.2e6 / 0.25 / 1000 / 3600, abs=0.05)
    assert (more["cores"], more["chips/s"]) == (16, 8000)
    assert more["hours"] == pytest.approx(here["hours"] / 8, abs=0.05)
    assert "on 2 cores" in more["how"]


def test_a_table_has_a_column_for_every_key():
    lines = tables.table([{"a": 1000, "b": 0.5}, {"a": 2, "c": "x"}]).splitlines()
    assert lines == ["| a     | b   | c |", "|-------|-----|---|", "| 1,000 | 0.5 |   |", "| 2     |     | x |"]


@pytest.mark.large
def test_everything_that_needs_no_torch_runs(tmp_path):
    found = compared(tmp_path / "out.json", "--only", "stages,runtimes,growth,amazon")
    assert all(one["tables"] for one in found.values())
    assert not found["growth"]["skipped"]
