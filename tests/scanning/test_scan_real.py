"""A scene mosaicked from real chips: the scan must answer for each what the model alone answers."""

import json
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from conftest import CORNER, data_folder, write_scene
from scans import flagged, flagged_cores, in_crs, layer_bytes, met_again, mine_scores, to_degrees

from geoscan.api import load_model
from geoscan.data import kaggle
from geoscan.labels import LABELS, MINE
from geoscan.model.package import Package, load
from geoscan.model.runtime import FAINT
from geoscan.polygons import Hysteresis
from geoscan.scanning.options import ScanOptions
from geoscan.scanning.plan import Plan
from geoscan.scanning.result import detect
from geoscan.scanning.run import scan
from geoscan.scanning.scores import SceneScores
from geoscan.scanning.workers import HERE, workers
from geoscan.scene import Scene

pytestmark = pytest.mark.large

SIDE = 16
GSD = 3.7


@pytest.fixture(scope="module")
def package(request) -> Package:
    """The shipped Planet model, or a random one where there is none."""
    shipped = Path(__file__).parents[2] / "models" / "planet"
    return load(shipped) if shipped.exists() else request.getfixturevalue("tiny_package")


@pytest.fixture(scope="module")
def chips() -> list[np.ndarray]:
    """256 real chips: all that show mines, and others spread over the set, of all weathers."""
    data = kaggle.read_kaggle(data_folder("planet"))
    mine = data.targets[:, LABELS.index(MINE)] == 1
    others = np.flatnonzero(~mine)
    chosen = np.concatenate([np.flatnonzero(mine), others[:: len(others) // SIDE**2]])[: SIDE**2]
    order = np.random.default_rng(0).permutation(chosen)
    return [kaggle.read_chip(data.paths[i]) for i in order]


@pytest.fixture(scope="module")
def mosaic(chips) -> np.ndarray:
    rows = [np.concatenate(chips[start : start + SIDE], axis=2) for start in range(0, SIDE**2, SIDE)]
    return np.concatenate(rows, axis=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("real")


@pytest.fixture(scope="module")
def scene(mosaic, folder) -> Path:
    return write_scene(folder / "striped.tif", pixels=mosaic, gsd=GSD, compress="deflate", zlevel=1)


def run(path: Path, package: Package, pool=HERE, *, tta: bool | None = None) -> SceneScores:
    return scan(Plan.of(Scene.open(path), package, ScanOptions(outline="chip", tta=tta)), pool)


@pytest.fixture(scope="module")
def marks(scene, package) -> Hysteresis:
    """Thresholds that flag about a twelfth of the chips, whatever the model: this tests geometry."""
    mine = mine_scores(run(scene, package))
    low, high, isolated = (float(np.round(np.quantile(mine, q), 6)) for q in (0.88, 0.92, 0.94))
    return Hysteresis(high, low, isolated)


@pytest.fixture(scope="module")
def marked(package, marks) -> Package:
    """The model with these thresholds on its card."""
    return replace(package, card=replace(package.card, detection=marks, sensitive=None, strict=None))


@pytest.fixture(scope="module")
def scores(scene, marked) -> SceneScores:
    """What the scan says, without dask."""
    return run(scene, marked)


@pytest.fixture(scope="module")
def layer(scores, folder) -> bytes:
    return layer_bytes(scores, folder)


def test_every_chip_scores_what_predict_gives_it(scores, scene, package, chips):
    assert scores.plan.grid.shape == (SIDE, SIDE)
    assert scores.observed.sum() == (SIDE * 256) ** 2
    alone, single = load_model(package.path).predict(chips), run(scene, package, tta=False).scores
    assert np.ptp(alone[MINE]) > 0.01
    np.testing.assert_allclose(mine_scores(scores).ravel(), alone[MINE], atol=1e-4)
    # Other labels are averaged where mines are to be seen, if the card says so, and nowhere else.
    seen = np.where(single[:, [package.card.spec.mine_column]] >= FAINT, alone, single)
    np.testing.assert_allclose(scores.scores, seen, atol=1e-4)


def test_the_polygons_are_the_flagged_cores(scores, layer):
    count = int(flagged(scores).sum())
    assert 5 <= count <= 40
    truth, union = flagged_cores(scores), in_crs(scores)
    assert truth.area == pytest.approx(count * (256 * GSD) ** 2, rel=1e-9)
    assert union.area == pytest.approx(truth.area, rel=1e-6)
    assert union.symmetric_difference(truth).area < 1e-6 * truth.area
    features = json.loads(layer)["features"]
    assert sum(feature["properties"]["n_chips"] for feature in features) == count
    assert all(shapely.geometry.shape(feature["geometry"]).is_valid for feature in features)


def test_the_same_bytes_with_dask(scene, marked, layer, folder):
    with workers(2) as pool:
        assert layer_bytes(run(scene, marked, pool), folder) == layer


def test_the_same_bytes_from_two_processes(scene, marked, layer, folder):
    from distributed import LocalCluster

    with (
        warnings.catch_warnings(),
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        workers(0, cluster.scheduler_address) as pool,
    ):
        assert len(pool.client.nthreads()) == 2
        assert layer_bytes(run(scene, marked, pool), folder) == layer


@pytest.mark.parametrize("storage", ["tiled", "alpha"])
def test_the_same_bytes_however_it_is_stored(mosaic, marked, layer, folder, storage):
    how = {"compress": "deflate", "zlevel": 1, "tiled": True}
    pixels = mosaic
    if storage == "alpha":
        pixels = np.concatenate([mosaic, np.full((1, *mosaic.shape[1:]), 255, np.uint8)])
        how = {"compress": "deflate", "zlevel": 1, "colors": ("red", "green", "blue", "alpha")}
    path = write_scene(folder / f"{storage}.tif", pixels=pixels, gsd=GSD, **how)
    assert layer_bytes(run(path, marked), folder) == layer


def test_rotated_it_scores_the_same_and_its_polygons_are_rotated(mosaic, marked, scores, folder):
    turn = Affine.rotation(27, CORNER)
    transform = turn @ scores.plan.scene.transform
    path = write_scene(folder / "rotated.tif", pixels=mosaic, transform=transform, compress="deflate", zlevel=1)
    turned = run(path, marked)
    np.testing.assert_array_equal(turned.scores, scores.scores)
    expected = shapely.transform(flagged_cores(scores), lambda p: np.column_stack(turn @ (p[:, 0], p[:, 1])))
    found = in_crs(turned)
    assert found.area == pytest.approx(expected.area, rel=1e-6)
    assert found.symmetric_difference(expected).area < 1e-6 * expected.area


def test_in_degrees_it_meets_the_same_detections(scene, marked, scores, folder):
    path = to_degrees(scene, folder / "degrees.tif")
    with rasterio.open(path) as warped:
        assert warped.crs.to_epsg() == 4326
    after = run(path, marked)
    assert len(detect(scores).detections) >= 5
    assert met_again(scores, after) >= 0.9
