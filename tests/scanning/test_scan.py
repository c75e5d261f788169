"""The scan with a fake detector: tiles, nodata, failures, clusters and memory, without a network."""

import asyncio
import json
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import fakes
import numpy as np
import pyproj
import pytest
import rasterio
import shapely
from affine import Affine
from click.testing import CliRunner
from conftest import CORNER, write_package, write_scene
from fakes import BrightIsPositive, CornerIsPositive, Deadly, Flow, Lost, Unable
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.warp import Resampling, calculate_default_transform, reproject

from geoscan import layers
from geoscan.cli import main
from geoscan.errors import ClusterError, GridError, InputError, PackageError, SceneError
from geoscan.labels import LABELS, MINE
from geoscan.model.calibration import Calibration
from geoscan.model.package import Package
from geoscan.polygons import Hysteresis
from geoscan.scanning.plan import Plan, each_scene
from geoscan.scanning.result import SceneScores
from geoscan.scanning.run import scan
from geoscan.scanning.workers import workers
from geoscan.scene import Scene

CHIP = 32
GSD = 3.7
MARKS = Hysteresis(0.5, 0.4, 0.6)


@pytest.fixture
def package(make_package) -> Package:
    """A model of 32 px chips that takes pixels as they are."""
    return make_package(chip=CHIP)


def blocks(down: int = 6, across: int = 7, seed: int = 3) -> np.ndarray:
    """(3, down * 32, across * 32) pixels, one grey a chip; a third of them bright."""
    rng = np.random.default_rng(seed)
    grey = np.where(rng.random((down, across)) < 1 / 3, rng.integers(160, 255, (down, across)), 20)
    return np.repeat(np.repeat(grey[None], CHIP, 1), CHIP, 2).repeat(3, axis=0).astype(np.uint8)


def run(path: Path, package: Package, client=None, **how) -> SceneScores:
    plan = Plan.of(Scene.open(path), package, **{key: how.pop(key) for key in ("stride", "stretch") if key in how})
    return scan(plan, package, client, **{"detect": BrightIsPositive, "batch": 4, **how})


def layer_bytes(path: Path, package: Package, folder: Path, client=None, **how) -> bytes:
    """The layer of a scan, without the name of the file that was scanned."""
    scores = run(path, package, client, **how)
    out = folder / "mines.geojson"
    layers.write(out, scores.detections(MARKS), [scores.provenance(MARKS)])
    content = out.read_bytes()
    assert b'"Feature"' in content
    return content.replace(path.name.encode(), b"scene")


def in_crs(scores: SceneScores, thresholds: Hysteresis = MARKS) -> shapely.Geometry:
    """Union of the detections, brought back from longitude and latitude."""
    back = pyproj.Transformer.from_crs("OGC:CRS84", scores.plan.scene.crs, always_xy=True)
    parts = [one.geometry for one in scores.detections(thresholds)]
    return shapely.transform(shapely.union_all(parts), lambda p: np.column_stack(back.transform(*p.T)))


def flagged_cores(scores: SceneScores, thresholds: Hysteresis = MARKS) -> shapely.Geometry:
    """Union of the flagged tiles' cores in the scene's CRS, straight from the grid."""
    boxes = []
    for tile, flagged in zip(scores.plan.grid, scores.flagged(thresholds), strict=True):
        if flagged:
            core = tile.core
            corners = [
                (core.col + x * core.cols, core.row + y * core.rows) for x, y in ((0, 0), (1, 0), (1, 1), (0, 1))
            ]
            boxes.append(shapely.Polygon([scores.plan.scene.transform @ corner for corner in corners]))
    return shapely.union_all(boxes)


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
    mine = scores.scores[:, LABELS.index(MINE)].reshape(scores.plan.grid.shape)
    np.testing.assert_allclose(mine, pixels[0, ::CHIP, ::CHIP] / 255, atol=1e-6)
    truth = flagged_cores(scores)
    union = in_crs(scores)
    assert truth.area == pytest.approx((pixels[0] > 128).sum() * GSD**2)  # in this scene no bright block is alone
    assert union.area == pytest.approx(truth.area, rel=1e-6)
    assert union.symmetric_difference(truth).area < 1e-6 * truth.area
    assert sum(one.n_chips for one in scores.detections(MARKS)) == scores.flagged(MARKS).sum()


def test_with_tta_each_chip_is_scored_in_its_symmetries_and_the_layer_says_so(make_scene, package):
    scene = make_scene(pixels=blocks())
    plain, averaged = (run(scene, package, detect=CornerIsPositive, tta=tta) for tta in (False, True))
    mines = [scores.scores[:, LABELS.index(MINE)] for scores in (plain, averaged)]
    np.testing.assert_allclose(*mines, rtol=1e-6, err_msg="chips of one grey look alike from all sides")
    ramp = np.arange(6, 6 + 6 * CHIP, dtype=np.uint8)[None, :, None].repeat(3, 0).repeat(7 * CHIP, 2)
    scene = make_scene(pixels=ramp, name="ramp.tif")
    plain, averaged = (run(scene, package, detect=CornerIsPositive, tta=tta) for tta in (False, True))
    gain = (averaged.scores - plain.scores)[:, LABELS.index(MINE)]
    np.testing.assert_allclose(gain, (CHIP - 1) / 2 / 255, rtol=1e-5, err_msg="half of the views see the lower border")
    kept = replace(package, card=replace(package.card, tta=True))
    as_its_card = run(scene, kept, detect=CornerIsPositive)
    np.testing.assert_array_equal(as_its_card.scores, averaged.scores)
    assert [scores.provenance(MARKS).tta for scores in (plain, averaged)] == [False, True]
    assert [scores.summary(MARKS, [])["tta"] for scores in (plain, averaged)] == [False, True]


def test_a_probability_is_calibrated_and_says_for_which_share_of_mines(make_scene, package):
    calibrated = replace(package.card, calibration=Calibration({"land": 2.0}, seen_prior=0.5, ground_prior=0.01))
    scores = run(make_scene(pixels=blocks()), replace(package, card=calibrated))
    for prior, assumed in ((None, 0.01), (0.1, 0.1)):
        assert scores.provenance(MARKS, prior).prior == assumed
        found = scores.detections(MARKS, prior)
        assert found
        for one in found:
            odds = (one.score_max / (1 - one.score_max)) ** 0.5 * assumed / (1 - assumed)
            assert one.probability == pytest.approx(odds / (1 + odds), rel=1e-5)


def test_a_model_that_nobody_calibrated_gives_no_probability(make_scene, package):
    scores = run(make_scene(pixels=blocks()), package)
    assert scores.provenance(MARKS, 0.1).prior is None
    assert {one.probability for one in scores.detections(MARKS, 0.1)} == {None}


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
    figures = scores.summary(MARKS, scores.detections(MARKS))
    assert (figures["chips"], figures["skipped"], figures["failed"]) == (42, 21, 0)


def test_a_scene_of_nodata_alone_wakes_no_detector(make_scene, package):
    scores = run(make_scene(pixels=np.zeros((3, 70, 70)), nodata=0), package, detect=Unable)
    assert scores.observed_fraction == 0
    assert scores.detections(MARKS) == []


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


def test_the_same_bytes_with_dask_and_without(make_scene, package, tmp_path):
    scene = make_scene(pixels=blocks(9, 9))
    alone = layer_bytes(scene, package, tmp_path)
    with workers(2) as client:
        assert layer_bytes(scene, package, tmp_path, client) == alone
        assert layer_bytes(scene, package, tmp_path, client, batch=1) == alone
    assert layer_bytes(scene, package, tmp_path, batch=100) == alone


def test_dask_in_this_process_opens_nothing_to_the_network():
    import psutil

    before = {link.laddr for link in psutil.Process().net_connections("tcp") if link.status == "LISTEN"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # such as that port 8787 is taken, by another scan
        with workers(1), workers(1):
            after = {link.laddr for link in psutil.Process().net_connections("tcp") if link.status == "LISTEN"}
    assert {address.ip for address in after - before} <= {"127.0.0.1"}


def test_only_a_wait_that_nobody_waits_for_goes_unreported(caplog):
    async def lost(error: Exception) -> None:
        asyncio.get_running_loop().create_future().set_exception(error)

    with workers(1) as client:
        client.sync(lost, TimeoutError("Timeout"))
        assert "Timeout" not in caplog.text
        client.sync(lost, OSError("the cable is cut"))
    assert "the cable is cut" in caplog.text


def test_a_worker_in_this_process_sends_no_heartbeats(monkeypatch):
    from distributed import Worker

    heard = []

    async def heartbeat(worker: Worker) -> None:
        heard.append(worker.address)

    monkeypatch.setattr(Worker, "heartbeat", heartbeat)
    with workers(1) as client:
        time.sleep(1.5)  # dask's workers send one a second, unless told otherwise
        assert client.submit(pow, 2, 5).result() == 32
        assert heard == []
        assert not client.cluster.scheduler.worker_ttl


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a scheduler of two processes."""
    from distributed import LocalCluster

    with (
        warnings.catch_warnings(),
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
    ):
        yield cluster.scheduler_address


@pytest.mark.large
def test_the_same_bytes_from_two_processes(make_scene, package, tmp_path, cluster):
    scene = make_scene(pixels=blocks(9, 9))
    alone = layer_bytes(scene, package, tmp_path)
    with workers(0, cluster) as client:
        assert len(client.nthreads()) == 2
        assert layer_bytes(scene, package, tmp_path, client) == alone


@pytest.mark.large
def test_a_detector_that_fails_in_another_process_stops_the_scan(make_scene, package, cluster):
    with workers(0, cluster) as client, pytest.raises(MemoryError, match="too many"):
        run(make_scene(pixels=blocks(9, 9)), package, client, detect=Unable)


@pytest.mark.large
def test_workers_that_die_are_one_line(make_scene, package):
    import dask
    from distributed import LocalCluster

    with (
        warnings.catch_warnings(),
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        LocalCluster(n_workers=1, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        workers(0, cluster.scheduler_address) as client,
        pytest.raises(ClusterError, match=r"1 dask workers died one after the other; .* smaller --batch"),
    ):
        run(make_scene(pixels=blocks(9, 9)), package, client, detect=Deadly)


def test_a_scheduler_that_goes_away_is_one_line(make_scene, package):
    from distributed import LocalCluster

    with (
        warnings.catch_warnings(),
        LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None) as cluster,
        workers(0, cluster.scheduler_address) as client,
        pytest.raises(ClusterError, match="scheduler has gone; start it anew"),
    ):
        run(make_scene(pixels=blocks(9, 9)), package, client, progress=lambda _: cluster.close())


def test_a_scheduler_without_workers_is_refused():
    from distributed import LocalCluster

    with (
        LocalCluster(n_workers=0, processes=False, dashboard_address=None) as cluster,
        pytest.raises(InputError, match="has no workers; start some: dask worker"),
        workers(2, cluster.scheduler_address),
    ):
        pass


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
    plain = layer_bytes(make_scene(pixels=pixels), package, tmp_path)
    how = dict(storage)
    if how.pop("alpha", False):
        pixels = np.concatenate([pixels, np.full((1, *pixels.shape[1:]), 255, np.uint8)])
        how["colors"] = ("red", "green", "blue", "alpha")
    assert layer_bytes(make_scene(pixels=pixels, name="other.tif", **how), package, tmp_path) == plain


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


def to_degrees(path: Path, out: Path) -> Path:
    """Warp a scene to EPSG:4326, as a GIS does."""
    with rasterio.open(path) as source:
        transform, cols, rows = calculate_default_transform(
            source.crs, "EPSG:4326", source.width, source.height, *source.bounds
        )
        warped = np.zeros((4, rows, cols), np.uint8)
        opaque = np.full((1, source.height, source.width), 255, np.uint8)
        reproject(
            np.concatenate([source.read(), opaque]),
            warped,
            src_transform=source.transform,
            src_crs=source.crs,
            dst_transform=transform,
            dst_crs="EPSG:4326",
            resampling=Resampling.bilinear,
        )
    colors = ("red", "green", "blue", "alpha")
    return write_scene(out, pixels=warped, crs="EPSG:4326", transform=transform, colors=colors)


def met_again(before: SceneScores, after: SceneScores, thresholds: Hysteresis = MARKS) -> float:
    """Share of the detections of one scan that another one touches."""
    others = shapely.union_all([one.geometry for one in after.detections(thresholds)])
    found = [one.geometry.intersects(others) for one in before.detections(thresholds)]
    return sum(found) / len(found)


def test_a_scene_in_degrees_meets_the_same_detections(make_scene, package, tmp_path):
    pixels = np.full((3, 20 * CHIP, 20 * CHIP), 20, np.uint8)
    centres = [(row, col) for row in range(60, 600, 120) for col in range(60, 600, 120)]
    for row, col in centres:
        pixels[:, row - 40 : row + 40, col - 40 : col + 40] = 230
    path = make_scene(pixels=pixels)
    before, after = run(path, package), run(to_degrees(path, tmp_path / "degrees.tif"), package)
    assert len(before.detections(MARKS)) == len(centres)
    assert met_again(before, after) >= 0.9
    assert len(after.detections(MARKS)) <= 1.1 * len(centres)
    assert after.observed.sum() == pytest.approx(before.observed.sum(), rel=0.02)


def test_batches_under_way_are_bounded(make_scene, package, monkeypatch):
    for name in ("prepared", "used", "most", "reading", "most_reading"):
        monkeypatch.setattr(Flow, name, 0)
    monkeypatch.setattr("geoscan.scanning.run.prepare", fakes.counted_prepare)
    scene = make_scene(pixels=blocks(12, 12))
    with workers(2) as client:
        scores = run(scene, package, client, batch=2, progress=fakes.slow_use)
        threads = sum(client.nthreads().values())
    assert Flow.prepared == Flow.used == len(scores.plan.grid) // 2 == 72
    assert Flow.most_reading <= threads
    assert 2 <= Flow.most <= 2 * threads


def break_block(path: Path, down: int, across: int) -> Path:
    """Overwrite the stored bytes of one block of a tiled GeoTIFF."""
    with rasterio.open(path) as dataset:
        offset, size = (
            int(dataset.get_tag_item(f"BLOCK_{what}_{across}_{down}", "TIFF", bidx=1)) for what in ("OFFSET", "SIZE")
        )
    content = bytearray(path.read_bytes())
    content[offset : offset + size] = b"\xa5" * size
    path.write_bytes(content)
    return path


@pytest.fixture
def broken(make_scene) -> Path:
    """A scene of 6 x 7 chips, the second of the second row cannot be read."""
    storage = {"tiled": True, "blockxsize": CHIP, "blockysize": CHIP, "compress": "deflate"}
    return break_block(make_scene(pixels=blocks(), name="broken.tif", **storage), 1, 1)


@pytest.mark.parametrize("jobs", [0, 2])
def test_a_tile_that_cannot_be_read_is_noted_and_the_rest_is_scored(broken, package, jobs):
    with workers(jobs) as client:
        scores = run(broken, package, client)
    assert list(scores.failed) == [8]
    assert "broken.tif cannot be read at row 32, col 32" in scores.failed[8]
    assert np.isnan(scores.scores[8]).all()
    assert np.isnan(scores.scores).any(axis=1).sum() == 1
    assert scores.observed_fraction == pytest.approx(41 / 42)
    figures = scores.summary(MARKS, scores.detections(MARKS))
    assert (figures["failed"], figures["skipped"]) == (1, 0)


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
    with workers(jobs) as client, pytest.raises(MemoryError, match="4 chips are too many"):
        run(make_scene(pixels=blocks()), package, client, detect=Unable)


def test_a_score_that_is_no_number_is_not_taken_for_nodata(make_scene, package):
    with pytest.raises(PackageError, match=r"no score \(NaN\) for 1 of 4 chips"):
        run(make_scene(pixels=blocks()), package, detect=Lost)


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


def test_what_a_directory_happens_to_hold_is_left_out(make_scene, tmp_path, caplog):
    good = make_scene(pixels=blocks())
    bad = make_scene(pixels=blocks(), name="nowhere.tif", crs=None)
    made, left_out = each_scene(Scene.open, [(str(good), False), (str(bad), False)])
    assert ([scene.name for scene in made], left_out) == (["scene.tif"], 1)
    assert "left out: nowhere.tif has no CRS" in caplog.text
    with pytest.raises(SceneError, match="has no CRS"):
        each_scene(Scene.open, [(str(good), False), (str(bad), True)])
    with pytest.raises(InputError, match="none of the 1 rasters"):
        each_scene(Scene.open, [(str(bad), False)])


def test_several_scenes_and_a_directory_make_one_layer(make_scene, package, tmp_path, monkeypatch):
    monkeypatch.setattr("geoscan.scanning.run.detector", fakes.bright)
    (tmp_path / "more").mkdir()
    make_scene(pixels=blocks(seed=1), name="more/b.tif")
    make_scene(pixels=blocks(seed=2), name="more/a.tif")
    make_scene(pixels=blocks(), name="more/far.tif", gsd=100)  # no scene for this model
    make_scene(shape=(1, 64, 64), name="more/grey.tif")
    named = make_scene(pixels=blocks(seed=4))
    out = tmp_path / "mines.geojson"
    words = [str(named), str(tmp_path / "more"), "--out", str(out), "--model", str(package.path), "--json"]
    result = CliRunner().invoke(main, [*words, "--jobs", "1"])
    assert result.exit_code == 1, result.stderr
    assert [line for line in result.stderr.splitlines() if line.startswith("warning: left out: far.tif has 100 m")]
    assert [line for line in result.stderr.splitlines() if line.startswith("warning: left out: grey.tif ")]
    figures = json.loads(result.stdout)
    assert figures["scene"] == ["scene.tif", "a.tif", "b.tif"]
    assert figures["chips"] == 3 * 42
    layer = json.loads(out.read_text())
    assert [one["scene"] for one in layer["geoscan"]["scenes"]] == figures["scene"]
    assert {one["properties"]["scene"] for one in layer["features"]} == set(figures["scene"])
    (tmp_path / "more/far.tif").unlink()
    (tmp_path / "more/grey.tif").unlink()
    assert CliRunner().invoke(main, [*words, "--jobs", "0"]).exit_code == 0
