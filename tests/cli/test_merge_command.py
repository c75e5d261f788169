"""`geoscan merge`: layers of journals, with the thresholds of the scan and with others."""

import json
import subprocess
import sys
from pathlib import Path

import fakes
import numpy as np
import pytest
from click.testing import CliRunner, Result
from scans import CHIP, blocks, reseal

from geoscan.cli import main
from geoscan.model.calibration import Calibration
from geoscan.model.package import Package
from geoscan.polygons import Hysteresis
from geoscan.scanning.journal.file import open_journal
from geoscan.scanning.journal.rows import seal
from geoscan.scanning.options import ScanOptions
from geoscan.scanning.plan import Plan
from geoscan.scene import Scene

POINTS = {"sensitive": Hysteresis(0.2, 0.1, 0.2), "strict": Hysteresis(0.95, 0.5, 0.95)}


@pytest.fixture
def package(make_package, monkeypatch) -> Package:
    monkeypatch.setattr("geoscan.scanning.run.detector", fakes.bright)
    made = make_package("pointed", chip=CHIP, **POINTS)
    reseal(made.path, calibration=Calibration({"land": 2.0}, seen_prior=0.5, ground_prior=0.01))
    return made


@pytest.fixture
def scene(make_scene) -> Path:
    pixels = blocks()
    pixels[:, :CHIP] = 0
    return make_scene(pixels=pixels, nodata=0)


def invoke(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words], prog_name="geoscan")


def scan(scene: Path, package: Package, out: Path, *more: object) -> Result:
    return invoke(scene, "--out", out, "--model", package.path, "--jobs", 0, *more)


@pytest.fixture
def journal(scene, package, tmp_path) -> Path:
    path = tmp_path / "kept.journal"
    assert scan(scene, package, tmp_path / "first.geojson", "--journal", path).exit_code == 0
    scene.unlink()
    package.path.rename(tmp_path / "gone")
    return path


@pytest.fixture
def again(scene, package, tmp_path):
    """Scan with other options, in place of merging."""
    copies = scene.read_bytes()

    def scanned(*how: object) -> bytes:
        scene.write_bytes(copies)
        (tmp_path / "gone").rename(package.path)
        assert scan(scene, package, tmp_path / "again.geojson", *how).exit_code == 0
        return (tmp_path / "again.geojson").read_bytes()

    return scanned


@pytest.mark.parametrize(
    "how",
    [
        (),
        ("--operate", "sensitive"),
        ("--operate", "strict", "--low", 0.3),
        ("--high", 0.8, "--isolated", 0.9),
        ("--prior", 0.2),
    ],
    ids=lambda how: " ".join(map(str, how)),
)
def test_merging_gives_what_a_scan_with_these_thresholds_gives(again, journal, tmp_path, how):
    out = tmp_path / "merged.geojson"
    result = invoke("merge", journal, "--out", out, *how)
    assert result.exit_code == 0, result.stderr
    assert result.stderr.startswith("scene.tif: ")
    assert " by pointed, " in result.stderr
    assert out.read_bytes() == again(*how)
    assert journal.exists()


def test_what_is_not_asked_for_is_as_the_scan_had_it(scene, package, tmp_path):
    kept = tmp_path / "kept.journal"
    first = tmp_path / "first.geojson"
    assert scan(scene, package, first, "--operate", "strict", "--prior", 0.3, "--journal", kept).exit_code == 0
    assert invoke("merge", kept, "--out", tmp_path / "m.geojson").exit_code == 0
    assert (tmp_path / "m.geojson").read_bytes() == first.read_bytes()


def test_several_journals_make_one_layer(make_scene, package, tmp_path):
    paths = [make_scene(pixels=blocks(seed=seed), name=f"{seed}.tif") for seed in (1, 2)]
    one = tmp_path / "one.geojson"
    words = (*paths, "--out", one, "--model", package.path, "--jobs", 0, "--journal", f"{tmp_path}/kept/")
    assert invoke(*words).exit_code == 0
    kept = sorted((tmp_path / "kept").iterdir())
    assert invoke("merge", *kept, kept[0], "--out", tmp_path / "m.geojson").exit_code == 0
    assert (tmp_path / "m.geojson").read_bytes() == one.read_bytes()


def test_a_scan_counts_once_by_links_and_copies(journal, tmp_path):
    link, copy, alone = tmp_path / "link.journal", tmp_path / "copy.journal", tmp_path / "alone.geojson"
    link.symlink_to(journal)
    copy.write_bytes(journal.read_bytes())
    assert invoke("merge", journal, "--out", alone).exit_code == 0
    result = invoke("merge", journal, link, copy, "--out", tmp_path / "m.geojson")
    assert result.exit_code == 0, result.stderr
    assert result.stderr.count("is left out") == 1
    assert f"warning: {copy} is left out: {journal} is of the same scan" in result.stderr
    assert (tmp_path / "m.geojson").read_bytes() == alone.read_bytes()


def test_a_journal_that_is_not_complete_merges_and_says_so(scene, package, tmp_path):
    class Two(fakes.BrightIsPositive):
        calls = 0

        def __call__(self, chips):
            Two.calls += 1
            if Two.calls > 2:
                raise MemoryError
            return super().__call__(chips)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("geoscan.scanning.run.detector", lambda *_: Two())
        assert scan(scene, package, tmp_path / "m.geojson", "--batch", 4).exit_code == 1
    (journal,) = tmp_path.glob("*.journal")
    out = tmp_path / "part.geojson"
    result = invoke("merge", journal, "--out", out)
    assert result.exit_code == 1
    assert f"warning: {journal} is not complete: 30 of 42 chips were not scanned yet; they are not obs" in result.stderr
    (facts,) = json.loads(out.read_text())["geoscan"]["scenes"]
    assert facts["failed"] == 30
    assert set(facts["failures"]) == {"not scanned yet"}
    assert result.stderr.endswith("12% of the scene observed; 7 chips without data\n")
    assert result.stderr.count("\n") == 2


def test_what_is_no_journal_is_one_line(scene, tmp_path, journal):
    (tmp_path / "text.journal").write_text("x" * 200)
    for wrong, message in (
        (tmp_path / "missing.journal", "no journal is at"),
        (tmp_path / "text.journal", "is no journal of a scan, or is damaged; give another, or scan again"),
    ):
        result = invoke("merge", journal, wrong, "--out", tmp_path / "m.geojson")
        assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
        assert message in result.stderr
    result = invoke("merge", journal, "--out", tmp_path / "m.geojson", "--high", 0.3, "--low", 0.4)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert not (tmp_path / "m.geojson").exists()


@pytest.mark.parametrize(
    "change", [{"crs": "nowhere"}, {"transform": [1, 0, 0, 0, -1]}, {"grid": {"rows": 0}}, {"x": 1}]
)
def test_a_plan_that_a_stranger_wrote_is_one_line(journal, tmp_path, change):
    import sqlite3

    with sqlite3.connect(journal) as db:
        key, plan = db.execute("SELECT key, plan FROM scan").fetchone()
        plan = json.dumps({**json.loads(plan), **change}).encode()
        db.execute("UPDATE scan SET plan = ?, seal = ?", (plan, seal(0, (key, plan))))
    db.close()
    result = invoke("merge", journal, "--out", tmp_path / "m.geojson")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "kept.journal is damaged: " in result.stderr


def test_a_journal_that_is_written_is_left_alone(make_scene, package, tmp_path):
    plan = Plan.of(Scene.open(make_scene(pixels=blocks(2, 2))), package, ScanOptions())
    journal, _ = open_journal(tmp_path / "a.journal", plan)
    with journal:
        result = invoke("merge", journal.path, "--out", tmp_path / "m.geojson")
    assert result.exit_code == 1
    assert "is being written by another scan" in result.stderr


def test_merging_loads_no_model_and_opens_no_scene(journal, tmp_path):
    code = (
        "import sys\nfrom geoscan.cli import main\n"
        "try:\n    main()\nfinally:\n"
        "    print(sorted(set(sys.modules) & {'tensorflow', 'keras', 'openvino', 'dask', 'distributed'}))"
    )
    words = [sys.executable, "-c", code, "merge", str(journal), "--out", str(tmp_path / "m.geojson"), "-q"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")
    assert json.loads((tmp_path / "m.geojson").read_text())["features"]


def test_other_formats_hold_the_same(journal, tmp_path):
    import geopandas

    assert invoke("merge", journal, "--out", tmp_path / "m.gpkg").exit_code == 0
    frame = geopandas.read_file(tmp_path / "m.gpkg", layer="detections")
    assert np.isclose(frame["prior"], 0.01).all()
    assert set(frame["model"]) == {"pointed"}
