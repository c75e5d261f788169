"""The scan with a fake detector: tiles, nodata, failures and memory, without a network."""

import json
import os
from dataclasses import replace
from pathlib import Path

import fakes
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from click.testing import CliRunner
from conftest import CORNER, UTM, write_package, write_scene
from fakes import CornerIsPositive, InForest, Lost, Unable
from hypothesis import given, settings
from hypothesis import strategies as st
from scans import (
    CHIP,
    GSD,
    blocks,
    break_block,
    flagged,
    flagged_cores,
    in_crs,
    layer_bytes,
    met_again,
    mine_scores,
    run,
    to_degrees,
)

from geoscan.cli import main
from geoscan.errors import GridError, PackageError
from geoscan.labels import LABELS, MINE
from geoscan.model.calibration import Calibration
from geoscan.model.package import Package
from geoscan.scanning.batch import read
from geoscan.scanning.plan import Plan
from geoscan.scanning.result import detect
from geoscan.scanning.workers import workers
from geoscan.scene import Scene


@pytest.fixture
def package(make_package) -> Package:
    """A model of 32 px chips that takes pixels as they are."""
    return make_package(chip=CHIP)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("property")


@settings(max_examples=40)
@given(
    st.integers(1, 90),
    st.integers(1, 90),
    st.integers(1, CHIP),
    st.integers(1, 7),
)
def test_many_tiles_merged_equal_the_whole_scene(folder, rows, cols, stride, batch):
    pixels = np.random.default_rng(rows * cols).integers(1, 255, (3, rows, cols)).astype(np.uint8)
    package = write_package(folder / "fake", chip=CHIP)
    stride = max(stride, (rows * cols) // 400, 4)  # not thousands of tiles
    scores = run(write_scene(folder / "scene.tif", pixels=pixels), package, stride=min(stride, CHIP), batch=batch)
    # Only what is smaller than a chip is reflected, at its lower and right ends.
    whole = np.pad(pixels, ((0, 0), (0, max(CHIP - rows, 0)), (0, max(CHIP - cols, 0))), mode="symmetric")
    for tile, found in zip(scores.plan.grid, scores.scores[:, LABELS.index(MINE)], strict=True):
        row, col = tile.read.row, tile.read.col
        assert found == pytest.approx(whole[:, row : row + CHIP, col : col + CHIP].mean() / 255, abs=1e-6)
    assert scores.observed.sum() == rows * cols
    assert scores.observed_fraction == 1


def test_the_polygons_are_the_bright_blocks(make_scene, package):
    pixels = blocks()
    scores = run(make_scene(pixels=pixels), package)
    np.testing.assert_allclose(mine_scores(scores), pixels[0, ::CHIP, ::CHIP] / 255, atol=1e-6)
    truth = flagged_cores(scores)
    union = in_crs(scores)
    assert truth.area == pytest.approx((pixels[0] > 128).sum() * GSD**2)  # in this scene no bright block is alone
    assert union.area == pytest.approx(truth.area, rel=1e-6)
    assert union.symmetric_difference(truth).area < 1e-6 * truth.area
    assert sum(one.n_chips for one in detect(scores).detections) == flagged(scores).sum()


def test_with_tta_only_chips_that_may_show_a_mine_are_scored_again(make_scene, package):
    """Every chip shows something, such as forest; a scan searches for mines."""
    asked = []

    class Counted(InForest):
        def __call__(self, chips):
            asked.append(len(chips))
            return super().__call__(chips)

    pixels = np.full((3, 4 * CHIP, 4 * CHIP), 10, np.uint8)
    pixels[:, :CHIP, :CHIP] = 200
    scores = run(make_scene(pixels=pixels), package, detector=Counted, tta=True, batch=16)
    assert asked == [16, 7]
    assert scores.scores[:, LABELS.index(MINE)].max() == pytest.approx(200 / 255)


def test_with_tta_each_chip_is_scored_in_its_symmetries_and_the_layer_says_so(make_scene, package):
    scene = make_scene(pixels=blocks())
    plain, averaged = (run(scene, package, detector=CornerIsPositive, tta=tta) for tta in (False, True))
    mines = [scores.scores[:, LABELS.index(MINE)] for scores in (plain, averaged)]
    np.testing.assert_allclose(*mines, rtol=1e-6, err_msg="chips of one grey look alike from all sides")
    ramp = np.arange(20, 20 + 6 * CHIP, dtype=np.uint8)[None, :, None].repeat(3, 0).repeat(7 * CHIP, 2)
    scene = make_scene(pixels=ramp, name="ramp.tif")
    plain, averaged = (run(scene, package, detector=CornerIsPositive, tta=tta) for tta in (False, True))
    gain = (averaged.scores - plain.scores)[:, LABELS.index(MINE)]
    np.testing.assert_allclose(gain, (CHIP - 1) / 2 / 255, rtol=1e-5, err_msg="half of the views see the lower border")
    kept = replace(package, card=replace(package.card, tta=True))
    as_its_card = run(scene, kept, detector=CornerIsPositive)
    np.testing.assert_array_equal(as_its_card.scores, averaged.scores)
    results = [detect(scores) for scores in (plain, averaged)]
    assert [result.seen.provenance.tta for result in results] == [False, True]
    assert [result.summary.tta for result in results] == [False, True]


def test_a_probability_is_calibrated_and_says_for_which_share_of_mines(make_scene, package):
    calibrated = replace(package.card, calibration=Calibration({"land": 2.0}, seen_prior=0.5, ground_prior=0.01))
    scene = make_scene(pixels=blocks())
    for prior, assumed in ((None, 0.01), (0.1, 0.1)):
        result = detect(run(scene, replace(package, card=calibrated), prior=prior))
        assert result.seen.provenance.prior == assumed
        assert result.detections
        for one in result.detections:
            odds = (one.score_max / (1 - one.score_max)) ** 0.5 * assumed / (1 - assumed)
            assert one.probability == pytest.approx(odds / (1 + odds), rel=1e-5)


def test_a_model_that_nobody_calibrated_gives_no_probability(make_scene, package):
    result = detect(run(make_scene(pixels=blocks()), package, prior=0.1))
    assert result.seen.provenance.prior is None
    assert {one.probability for one in result.detections} == {None}


def test_tiles_of_nodata_never_reach_the_detector(make_scene, package):
    pixels = blocks()
    pixels[:, : 3 * CHIP] = 0
    pixels[:, 3 * CHIP + 5, 40] = 0  # a chip that lacks one pixel is scored
    scores = run(make_scene(pixels=pixels, nodata=0), package, batch=5)
    fakes.SEEN.clear()
    scores = run(make_scene(pixels=pixels, nodata=0), package, batch=5)
    assert sum(fakes.SEEN) == 3 * 7
    assert np.isnan(scores.scores[: 3 * 7]).all()
    assert not np.isnan(scores.scores[3 * 7 :]).any()
    assert scores.observed_fraction == pytest.approx(0.5 - 1 / pixels[0].size)
    figures = detect(scores).summary
    assert (figures.chips, figures.skipped, figures.failed) == (42, 21, 0)


def test_a_scene_of_nodata_alone_wakes_no_detector(make_scene, package):
    scores = run(make_scene(pixels=np.zeros((3, 70, 70)), nodata=0), package, detector=Unable)
    assert scores.observed_fraction == 0
    assert detect(scores).detections == []


def test_a_cloudy_chip_was_not_observed(make_scene, package):
    scores = run(make_scene(pixels=blocks(2, 2)), package)
    scores.scores[0, LABELS.index("cloudy")] = 2
    assert scores.observed_fraction == 0.75


@pytest.mark.parametrize("shape", [(3, 1, 1), (3, 20, 300), (3, 31, 31)])
def test_a_scene_smaller_than_a_chip_is_one_row_of_tiles(make_scene, package, shape):
    scores = run(make_scene(pixels=np.full(shape, 200)), package)
    assert scores.plan.grid.shape == (1, -(-shape[2] // CHIP))
    assert scores.scores[:, LABELS.index(MINE)] == pytest.approx(200 / 255, abs=1e-6)
    assert in_crs(scores).area == pytest.approx(shape[1] * shape[2] * GSD**2, rel=1e-4)  # 0.1 mm of one pixel


def test_a_smaller_stride_answers_for_smaller_cores(make_scene, package):
    pixels = blocks()
    scores = run(make_scene(pixels=pixels), package, stride=8)
    assert len(scores.plan.grid) == 16 * 6 * 7
    assert scores.observed.tolist() == [64] * len(scores.plan.grid)
    union, truth = in_crs(scores), flagged_cores(scores)
    assert union.symmetric_difference(truth).area < 1e-6 * truth.area
    for wrong in (0, 33):
        with pytest.raises(GridError, match=r"--stride 1\.\.32"):
            run(make_scene(pixels=pixels), package, stride=wrong)


@pytest.mark.parametrize(
    "storage",
    [
        {"tiled": True, "blockxsize": 64, "blockysize": 48},
        {"compress": "deflate", "blockysize": 7},
        {"interleave": "band"},
        {"overviews": [2, 4]},
        {"alpha": True},
    ],
    ids=lambda storage: "-".join(map(str, storage)),
)
def test_the_same_bytes_however_the_scene_is_stored(make_scene, package, tmp_path, storage):
    pixels = blocks()
    plain = layer_bytes(run(make_scene(pixels=pixels), package), tmp_path)
    how = dict(storage)
    if how.pop("alpha", False):
        pixels = np.concatenate([pixels, np.full((1, *pixels.shape[1:]), 255, np.uint8)])
        how["colors"] = ("red", "green", "blue", "alpha")
    other = make_scene(pixels=pixels, name="other.tif", **how)
    assert layer_bytes(run(other, package), tmp_path) == plain


@pytest.mark.parametrize("degrees", [30, -123.4])
def test_a_rotated_scene_gives_rotated_polygons(make_scene, package, degrees):
    pixels = blocks()
    straight = run(make_scene(pixels=pixels), package)
    upright = straight.plan.scene.transform
    turn = Affine.rotation(degrees, CORNER)
    turned = run(make_scene(pixels=pixels, name="turned.tif", transform=turn @ upright), package)
    np.testing.assert_array_equal(turned.scores, straight.scores)
    expected = shapely.transform(in_crs(straight), lambda p: np.column_stack(turn @ (p[:, 0], p[:, 1])))
    found = in_crs(turned)
    assert found.area == pytest.approx(expected.area, rel=1e-6)
    assert found.symmetric_difference(expected).area < 2e-6 * expected.area


def test_a_scene_in_degrees_meets_the_same_detections(make_scene, package, tmp_path):
    pixels = np.full((3, 20 * CHIP, 20 * CHIP), 20, np.uint8)
    centres = [(row, col) for row in range(60, 600, 120) for col in range(60, 600, 120)]
    for row, col in centres:
        pixels[:, row - 40 : row + 40, col - 40 : col + 40] = 230
    path = make_scene(pixels=pixels)
    before, after = run(path, package), run(to_degrees(path, tmp_path / "degrees.tif"), package)
    assert len(detect(before).detections) == len(centres)
    assert met_again(before, after) >= 0.9
    assert len(detect(after).detections) <= 1.1 * len(centres)
    assert after.observed.sum() == pytest.approx(before.observed.sum(), rel=0.02)


@pytest.fixture
def broken(make_scene) -> Path:
    """A scene of 6 x 7 chips, the second of the second row cannot be read."""
    storage = {"tiled": True, "blockxsize": CHIP, "blockysize": CHIP, "compress": "deflate"}
    return break_block(make_scene(pixels=blocks(), name="broken.tif", **storage), 1, 1)


@pytest.mark.parametrize("jobs", [0, 2])
def test_a_tile_that_cannot_be_read_is_noted_and_the_rest_is_scored(broken, package, jobs):
    with workers(jobs) as pool:
        scores = run(broken, package, pool)
    assert list(scores.failed) == [8]
    assert "broken.tif cannot be read at row 32, col 32" in scores.failed[8]
    assert np.isnan(scores.scores[8]).all()
    assert np.isnan(scores.scores).any(axis=1).sum() == 1
    assert scores.observed_fraction == pytest.approx(41 / 42)
    result = detect(scores)
    assert (result.summary.failed, result.summary.skipped) == (1, 0)
    assert result.seen.failed == scores.failed


def test_the_command_writes_the_rest_and_says_so(broken, package, tmp_path, monkeypatch):
    monkeypatch.setattr("geoscan.scanning.run.detector", fakes.bright)
    out = tmp_path / "mines.geojson"
    words = [str(broken), "--out", str(out), "--model", str(package.path), "--json", "--jobs", "0"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 1
    assert json.loads(result.stdout)["failed"] == 1
    assert "broken.tif cannot be read at row 32, col 32" in result.stderr
    assert "1 chip could not be read" in result.stderr
    assert json.loads(out.read_text())["features"]


@pytest.mark.parametrize("jobs", [0, 2])
def test_what_is_unexpected_stops_the_scan(make_scene, package, jobs):
    with workers(jobs) as pool, pytest.raises(MemoryError, match="4 chips are too many"):
        run(make_scene(pixels=blocks()), package, pool, detector=Unable)


def test_a_score_that_is_no_number_is_not_taken_for_nodata(make_scene, package):
    with pytest.raises(PackageError, match=r"no score \(NaN\) for 1 of 4 chips"):
        run(make_scene(pixels=blocks()), package, detector=Lost)


def test_a_read_that_fails_once_is_tried_again(make_scene, package, monkeypatch):
    from geoscan.errors import ReadError

    whole, tries = Scene.read, []

    def flaky(scene, window):
        tries.append(window)
        if len(tries) % 2:
            raise ReadError("the connection was lost")
        return whole(scene, window)

    monkeypatch.setattr(Scene, "read", flaky)
    scores = run(make_scene(pixels=blocks()), package)
    assert scores.failed == {}
    assert len(tries) == 2 * len(scores.plan.grid)


@pytest.mark.parametrize("stride", [CHIP, CHIP // 4])
def test_what_neighbours_share_is_read_once(make_scene, package, monkeypatch, stride):
    whole, seen = Scene.read, []
    monkeypatch.setattr(Scene, "read", lambda scene, window: seen.append(window) or whole(scene, window))
    scores = run(make_scene(pixels=blocks()), package, stride=stride, batch=10_000)
    assert len(scores.plan.grid) > 40
    assert len(seen) == 1


def test_tiles_far_apart_are_read_one_by_one(make_scene, package, monkeypatch):
    plan = Plan.of(Scene.open(make_scene((3, 20 * CHIP, 20 * CHIP))), package)
    whole, seen = Scene.read, []
    monkeypatch.setattr(Scene, "read", lambda scene, window: seen.append(window) or whole(scene, window))
    read(plan, [0, 399])
    assert seen == [plan.grid[0].read, plan.grid[399].read]


def test_a_network_is_waited_for_longer_and_one_that_is_lost_not_for_each_chip(make_scene, package, monkeypatch):
    from geoscan.errors import ReadError

    path, whole, waited, lost = make_scene(pixels=blocks()), Scene.read, [], [True]

    def cut(scene, window):
        if lost and window.row == 0:
            raise ReadError("nobody answers")
        return whole(scene, window)

    monkeypatch.setattr(Scene, "read", cut)
    monkeypatch.setattr("geoscan.scanning.batch.gdal.is_remote", lambda _: True)
    monkeypatch.setattr("geoscan.scanning.batch.time.sleep", waited.append)
    scores = run(path, package)
    assert (list(scores.failed), set(scores.failed.values())) == (list(range(7)), {"nobody answers"})
    assert waited == [1, 2, 4, 8] + 6 * [0]
    lost.clear()
    run(path, package)
    lost.append(True)
    waited.clear()
    run(path, package)
    assert waited[:4] == [1, 2, 4, 8], "it came back meanwhile"


def test_blank_tiles_are_not_read(tmp_path, package, monkeypatch):
    path, seen, done = tmp_path / "sparse.tif", [], []
    place = {"crs": UTM, "transform": Affine(GSD, 0, CORNER[0], 0, -GSD, CORNER[1])}
    layout = {"tiled": True, "blockxsize": 64, "blockysize": 64, "sparse_ok": True}
    profile = {"count": 3, "height": 10 * CHIP, "width": 10 * CHIP, "dtype": "uint8", "nodata": 0}
    with rasterio.open(path, "w", driver="GTiff", **profile, **place, **layout) as target:
        target.write(np.full((3, 40, 40), 200, np.uint8), window=((130, 170), (70, 110)))
    whole = Scene.read
    monkeypatch.setattr(Scene, "read", lambda scene, window: seen.append(window) or whole(scene, window))
    scores = run(path, package, advance=done.append)
    assert sum(window.rows * window.cols for window in seen) == 4 * CHIP**2, "one block is stored, under 2 x 2 tiles"
    assert sum(done) == len(scores.plan.grid) == 100
    assert scores.observed.sum() == 1600
    figures = detect(scores).summary
    assert (figures.chips, figures.skipped, figures.failed) == (100, 100 - int(scores.scored.sum()), 0)


def test_a_scene_that_was_written_meanwhile_is_told(make_scene, package):
    path = make_scene(pixels=blocks())
    assert run(path, package).changed == ""
    scores = run(path, package, advance=lambda _: os.utime(path))
    assert scores.changed == str(path)
    assert detect(scores).changed == str(path)
