"""`--since` of `geoscan scan` and `merge`: a series of scenes whose mines appear, grow, vanish, are under cloud."""

import json
import re
from collections import Counter
from functools import partial
from pathlib import Path

import fakes
import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from click.testing import CliRunner, Result
from open_layers import opened
from scans import CHIP, GSD

from geoscan.cli import main

LARGE = pytest.mark.large
MINE, CLOUD = 230, 100
MONTHS = {month: f"2023{month:02d}01_133012_45_2463_3B_Visual.tif" for month in (5, 6, 7)}
CHIP_HA = (CHIP * GSD) ** 2 / 1e4
OLD = {"A": [(0, 0), (0, 1)], "B": [(3, 0)], "C": [(3, 3)], "D": [(0, 6)]}
GROWN = [(row, col) for row in (0, 1) for col in range(4)]
NOW = {"A": GROWN, "B": [(3, 0)], "E": [(3, 6)]}


@pytest.fixture
def package(make_package, monkeypatch):
    monkeypatch.setattr("geoscan.scanning.run.detector", partial(fakes.made, fakes.GreyIsCloudy))
    return make_package(chip=CHIP)


@pytest.fixture
def month(make_scene):
    """Give the scene of a month, 4 x 8 chips: those of mines are bright, those under cloud grey."""

    def make(number: int, mines: dict, cloud: list = (), name: str = "") -> Path:
        chips = np.full((4, 8), 20)
        for row, col in [place for places in mines.values() for place in places]:
            chips[row, col] = MINE
        for row, col in cloud:
            chips[row, col] = CLOUD
        pixels = np.repeat(np.repeat(chips, CHIP, 0), CHIP, 1)
        return make_scene(pixels=np.stack([pixels] * 3), name=name or MONTHS[number])

    return make


def invoke(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words], prog_name="geoscan")


def scan(scene: Path, package, out: Path, *more: object) -> Result:
    result = invoke(scene, "--out", out, "--model", package.path, "--jobs", 0, *more)
    assert result.exit_code == 0, result.output
    return result


def table(path: Path) -> geopandas.GeoDataFrame:
    return opened(path)


def by_place(path: Path, scene: Path) -> dict:
    """Status, first date and review of each mine by where it is: row and col of its first chip."""
    frame = table(path)
    with rasterio.open(scene) as source:
        places = frame.to_crs(source.crs).bounds
        rows = ((source.bounds.top - places["maxy"]) / (CHIP * GSD)).round().astype(int)
        cols = ((places["minx"] - source.bounds.left) / (CHIP * GSD)).round().astype(int)
    told = zip(frame["status"], frame["first_seen"].astype(str).str[:10], strict=True)
    return dict(zip(zip(rows, cols, strict=True), told, strict=True))


MAY, JUNE, JULY = "2023-05-01", "2023-06-01", "2023-07-01"
THEN = {
    (0, 0): ("grown", MAY),
    (3, 0): ("known", MAY),
    (3, 6): ("new", JUNE),
    (3, 3): ("gone", MAY),
    (0, 6): ("unseen", MAY),
}


@pytest.mark.parametrize("suffix", [".geojson", ".gpkg", *(pytest.param(s, marks=LARGE) for s in (".fgb", ".parquet"))])
def test_what_appears_grows_vanishes_and_is_under_cloud(month, package, tmp_path, suffix):
    may, june = month(5, OLD), month(6, NOW, cloud=[(0, 6)])
    old, new = tmp_path / f"may{suffix}", tmp_path / f"june{suffix}"
    scan(may, package, old)
    assert table(old)["status"].isna().all()
    assert set(table(old)["first_seen"].astype(str).str[:10]) == {MAY}
    result = scan(june, package, new, "--since", old, "--json")
    assert by_place(new, june) == THEN
    frame = table(new).set_index("status")
    assert frame.loc["grown", "gained_ha"] == pytest.approx(6 * CHIP_HA, rel=2e-3)
    assert frame.loc["known", "gained_ha"] == pytest.approx(0, abs=1e-3)
    assert frame.loc["new", "gained_ha"] == frame.loc["new", "area_ha"]
    assert frame.loc["gone", "scene"] == Path(MONTHS[5]).stem, "what is gone says where it was found"
    figures = json.loads(result.stdout)
    assert figures["changes"] == {"new": 1, "known": 1, "grown": 1, "gone": 1, "unseen": 1}
    assert (figures["detections"], figures["flagged"]) == (3, 10)
    assert figures["area_ha"] == pytest.approx(10 * CHIP_HA, rel=2e-3)
    assert f"since {old}: 1 new, 1 known, 1 grown, 1 gone, 1 unseen\n" in result.stderr


def test_a_series_gives_each_mine_its_first_date_in_one_file(month, package, tmp_path):
    """The monthly habit: the layer is read whole, and then replaced."""
    out = tmp_path / "mines.gpkg"
    scan(month(5, OLD), package, out)
    scan(month(6, NOW, cloud=[(0, 6)]), package, out, "--since", out)
    july = month(7, {"A": GROWN, "C": OLD["C"], "D": OLD["D"], "E": [(2, 5)]}, cloud=[(3, 0)])
    result = scan(july, package, out, "--since", out, "-q")
    assert result.stderr == ""
    assert by_place(out, july) == {
        (0, 0): ("known", MAY),
        (0, 6): ("known", MAY),  # it was under cloud in June
        (3, 3): ("known", MAY),  # it was gone in June
        (2, 5): ("known", JUNE),  # it touches where it was
        (3, 0): ("unseen", MAY),
    }


def test_a_scene_that_shows_a_part_says_nothing_of_the_rest(month, package, make_scene, tmp_path):
    old, out = tmp_path / "may.gpkg", tmp_path / "june.gpkg"
    scan(month(5, OLD), package, old)
    pixels = np.full((3, 4 * CHIP, 4 * CHIP - 6), 20)  # C in its last column is cut, D beyond it
    pixels[:, :CHIP, : 2 * CHIP] = MINE
    part = make_scene(pixels=pixels, name=MONTHS[6])
    scan(part, package, out, "--since", old)
    want = {(0, 0): ("known", MAY), (3, 0): ("gone", MAY), (3, 3): ("unseen", MAY), (0, 6): ("unseen", MAY)}
    assert by_place(out, part) == want


def test_merging_journals_compares_as_a_scan_does(month, package, tmp_path):
    old, new, merged = (tmp_path / f"{name}.geojson" for name in ("may", "june", "merged"))
    scan(month(5, OLD), package, old)
    kept = tmp_path / "june.journal"
    scan(month(6, NOW, cloud=[(0, 6)]), package, new, "--since", old, "--journal", kept)
    assert invoke("merge", kept, "--out", merged, "--since", old).exit_code == 0
    assert merged.read_bytes() == new.read_bytes()
    assert '"gone"' in merged.read_text()


def test_reviews_stay_with_their_places(month, package, tmp_path):
    old, out = tmp_path / "may.geojson", tmp_path / "june.geojson"
    scan(month(5, OLD), package, old)
    frame = table(old)
    places = list(by_place(old, tmp_path / MONTHS[5]))
    said = {(0, 0): "not_mine", (3, 0): "Mine ", (3, 3): "not_mine", (0, 6): None}
    frame["review"] = [said[place] for place in places]
    frame.to_file(old)
    june = month(6, NOW)
    scan(june, package, out, "--since", old)
    reviews = dict(zip(by_place(out, june), table(out)["review"], strict=True))
    assert reviews == {
        (0, 0): "unreviewed",  # grown: what was no mine is a quarter of it
        (3, 0): "mine",
        (3, 6): "unreviewed",
        (3, 3): "not_mine",
        (0, 6): "unreviewed",
    }


class WhileScanning(fakes.GreyIsCloudy):
    """Somebody does something meanwhile."""

    do = staticmethod(lambda: None)

    def __call__(self, chips):
        self.do()
        return super().__call__(chips)


def reviewing(path: Path):
    def save() -> None:
        frame = table(path)
        frame["review"] = "mine"
        frame.to_file(path)

    return save


def test_reviews_that_are_saved_during_the_scan_are_taken_over(month, package, tmp_path, monkeypatch):
    out = tmp_path / "mines.geojson"
    scan(month(5, OLD), package, out)
    monkeypatch.setattr("geoscan.scanning.run.detector", partial(fakes.made, WhileScanning))
    monkeypatch.setattr(WhileScanning, "do", staticmethod(reviewing(out)))
    june = month(6, NOW)
    scan(june, package, out, "--since", out)
    reviews = dict(zip(by_place(out, june), table(out)["review"], strict=True))
    assert reviews == {place: "unreviewed" if place == (3, 6) else "mine" for place in THEN}


def test_reviews_that_are_saved_during_the_scan_are_not_replaced(month, package, tmp_path, monkeypatch):
    out, may, june = tmp_path / "mines.geojson", month(5, OLD), month(6, NOW)
    scan(may, package, out)
    monkeypatch.setattr("geoscan.scanning.run.detector", partial(fakes.made, WhileScanning))
    monkeypatch.setattr(WhileScanning, "do", staticmethod(reviewing(out)))
    result = invoke(june, "--out", out, "--model", package.path, "--jobs", 0)
    assert result.exit_code == 2
    assert "4 reviewed detections, and the reviews would be lost" in result.stderr
    assert "It was changed during the scan, whose journal stays: move the file away, and" in result.stderr
    assert set(table(out)["review"]) == {"mine"}
    again = scan(june, package, out, "--since", out)
    assert "resumed: 32 of 32 chips" in again.stderr
    assert table(out)["review"].isin(["mine", "unreviewed"]).all()


def test_a_layer_of_what_was_not_seen_takes_no_reviews_over(month, package, tmp_path):
    old = tmp_path / "may.gpkg"
    scan(month(5, OLD), package, old)
    frame = table(old)
    frame["review"] = "mine"
    frame.to_file(old, layer="detections")
    how = ("--obscured", old, "--since", old, "--json", "--model", package.path, "--jobs", 0)
    result = invoke(month(6, NOW), *how)
    assert (result.exit_code, "reviews would be lost" in result.stderr) == (2, True)
    assert set(table(old)["review"]) == {"mine"}


@pytest.mark.parametrize("how", ["since", "compare"])
def test_what_is_partly_cloudy_is_not_gone(month, package, tmp_path, monkeypatch, how):
    class GreyIsPartlyCloudy(fakes.BrightIsPositive):
        def __call__(self, chips):
            scores = super().__call__(chips)
            grey = chips.mean(axis=(1, 2, 3)) == CLOUD
            scores[grey, :2] = 0.4, 0.6
            return scores

    monkeypatch.setattr("geoscan.scanning.run.detector", partial(fakes.made, GreyIsPartlyCloudy))
    old, new, out = (tmp_path / f"{name}.gpkg" for name in ("may", "june", "both"))
    scan(month(5, OLD), package, old)
    june = month(6, NOW, cloud=[(0, 6)])
    if how == "since":
        result = scan(june, package, out, "--since", old)
        assert "100% of the scene observed" in result.stderr
    else:
        scan(june, package, new)
        assert invoke("compare", old, new, "--out", out).exit_code == 0
    assert by_place(out, june) == THEN


def test_known_places_of_others_are_known_mines(month, package, tmp_path):
    """A layer in another CRS, without any of our columns: its first dates are not known."""
    june, out = month(6, NOW), tmp_path / "june.gpkg"
    corner = np.array([500_000.0, 9_200_000.0])
    side = CHIP * GSD

    def place(row, col, size=20):
        middle = corner + side * np.array([col + 0.5, -row - 0.5])
        return shapely.box(*(middle - size), *(middle + size))

    shapes = [place(0, 1), place(3, 6), place(3, 3), shapely.Point(corner)]
    foreign = tmp_path / "known.gpkg"
    geopandas.GeoDataFrame({"name": list("abcd")}, geometry=shapes, crs="EPSG:32721").to_file(foreign)
    result = scan(june, package, out, "--since", foreign)
    assert "warning: 1 of the 4 features in" in result.stderr
    frame = table(out)
    told = dict(zip(by_place(out, june), zip(frame["status"], frame["first_seen"].isna(), strict=True), strict=True))
    assert told[0, 0] == ("grown", True), "it reaches further than one chip around what was drawn"
    assert told[3, 6] == ("known", True), "a chip is larger than what was drawn in it"
    assert told[3, 0] == ("new", False)
    gone = frame[frame["status"] == "gone"].iloc[0]
    assert gone[["score_max", "model", "threshold_high"]].isna().all()
    assert gone["area_ha"] == pytest.approx(0.16, rel=1e-2)
    again = tmp_path / "again.geojson"
    scan(june, package, again, "--since", out)
    assert Counter(table(again)["status"]) == {"known": 3, "gone": 1}
    assert table(again)["first_seen"].isna().sum() == 3, "nobody knows them later either"


def test_what_a_difference_may_come_of_is_said(month, package, tmp_path):
    old, scene = tmp_path / "may.gpkg", month(5, OLD)
    scan(scene, package, old)
    result = scan(scene, package, tmp_path / "again.gpkg", "--since", old, "--high", 0.45)
    assert f"warning: {old} is of {Path(MONTHS[5]).stem} too: " in result.stderr
    assert f"warning: {old} was made with another model or thresholds" in result.stderr
    assert f"since {old}: 4 known\n" in result.stderr


@pytest.mark.parametrize("suffix", [".gpkg", ".geojson"])
def test_an_earlier_layer_that_is_later_is_told_of(month, package, tmp_path, suffix):
    may, june = (tmp_path / f"{name}{suffix}" for name in ("may", "june"))
    scan(month(5, OLD), package, may)
    right = scan(month(6, NOW), package, june, "--since", may)
    wrong = scan(month(5, OLD), package, tmp_path / f"again{suffix}", "--since", june)
    compared = invoke("compare", june, may, "--out", tmp_path / f"both{suffix}")
    for told in (wrong.stderr, compared.stderr):
        assert re.search(rf"{june} is of 2023-06-\d\d, later than 2023-05-\d\d: what is told as new may be", told)
    assert "later than" not in right.stderr


def test_nothing_then_and_nothing_now(month, package, tmp_path):
    old = tmp_path / "may.parquet"
    scan(month(5, {}), package, old)
    result = invoke(month(6, {}), "--json", "--since", old, "--model", package.path, "--jobs", 0)
    assert result.exit_code == 0, result.stderr
    assert set(json.loads(result.stdout)["changes"].values()) == {0}
    assert f"since {old}: no mine, then or now\n" in result.stderr


def test_what_cannot_be_compared_is_refused_before_any_work(month, package, tmp_path):
    scene, out = month(5, OLD), tmp_path / "mines.gpkg"
    damaged = tmp_path / "damaged.gpkg"
    damaged.write_bytes(b"SQLite format 3\0" + bytes(200))
    folder = tmp_path / "layers"
    for since, to, message in (
        (tmp_path / "missing.gpkg", out, "is missing; give an earlier layer"),
        (scene, out, "is no layer, by its suffix; give one that ends in .geojson"),
        (damaged, out, "damaged.gpkg cannot be read as a layer: "),
        (tmp_path, out, "is no layer, by its suffix"),
        (damaged, f"{folder}/", "--since is of one layer, and --out is a folder; pass a file as --out, or keep"),
    ):
        result = invoke(scene, "--out", to, "--since", since, "--model", package.path, "--jobs", 0)
        assert (result.exit_code, result.stderr.count("\n")) == (2, 1), result.stderr
        assert message in result.stderr
    assert not out.exists()
    assert not folder.exists()
