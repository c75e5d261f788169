"""The example scene: the committed file is what the script renders, and the mine lies where the script says."""

import sys
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
from click.testing import CliRunner
from rasterio import features

from geoscan.cli import main

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture(scope="module")
def maker():
    sys.path.insert(0, str(EXAMPLES))
    try:
        import make_scene
    finally:
        sys.path.remove(str(EXAMPLES))
    return make_scene


@pytest.fixture(scope="module")
def rendered(maker):
    return maker.render()


@pytest.fixture(scope="module")
def committed():
    with rasterio.open(EXAMPLES / "scene.tif") as scene:
        return scene.profile, scene.read()


def test_the_file_is_a_small_tiled_georeferenced_rgb(maker, committed):
    profile, pixels = committed
    assert (EXAMPLES / "scene.tif").stat().st_size < 2_000_000
    assert profile["crs"].to_epsg() == 32721
    assert profile["transform"] == maker.TRANSFORM
    assert profile["tiled"]
    assert pixels.shape == (3, 1500, 1536)
    assert pixels.dtype == np.uint8


def test_the_script_renders_the_committed_file(rendered, committed):
    apart = np.abs(rendered.astype(int) - committed[1])
    assert apart.mean() < 3, "more than JPEG loses"
    assert np.percentile(apart, 99) < 25  # chroma is stored at half resolution, so sharp edges bleed a little
    block = (3, 15, 100, 16, 96)  # block means do not see the loss at all
    means = rendered[:, :, :1536].reshape(block).mean((2, 4)) - committed[1].reshape(block).mean((2, 4))
    assert np.abs(means).max() < 1.5


@pytest.mark.large
def test_rendering_twice_gives_the_same_pixels(maker, rendered):
    assert np.array_equal(maker.render(), rendered)


def test_the_outline_lies_on_the_mine_and_nowhere_else_is_like_it(maker, rendered):
    outline = maker.mine_outline()
    assert outline.is_valid
    assert 50e4 < outline.area < 150e4, "50 to 150 ha"
    inside = features.geometry_mask([outline], rendered.shape[1:], maker.TRANSFORM, invert=True)
    bright = rendered.mean(0) > 95
    assert bright[inside].mean() > 0.6  # the rest is regrowth
    ring = features.geometry_mask([outline.buffer(600).difference(outline.buffer(200))], bright.shape, maker.TRANSFORM)
    assert bright[~ring].mean() < 0.12


def test_forest_fills_most_of_the_scene(rendered):
    forest = rendered[:, 900:1100, 740:1020].astype(float)
    assert np.allclose(forest.mean((1, 2)), (61, 70, 61), atol=4)
    assert np.all(forest.std((1, 2)) > 3)
    assert np.mean(rendered.mean(0) < 95) > 0.7


def test_the_shipped_model_finds_the_mine_and_nothing_else(maker, tmp_path):
    out = tmp_path / "mines.geojson"
    result = CliRunner().invoke(main, ["scan", str(EXAMPLES / "scene.tif"), "--out", str(out), "-q"])
    assert result.exit_code == 0, result.output
    found = geopandas.read_file(out).to_crs(maker.EPSG).geometry
    mine = maker.mine_outline()
    assert len(found) >= 1
    assert found.intersects(mine).all()
    assert found.union_all().intersection(mine).area > 0.5 * mine.area
