"""Pictures of a report, decoded again: nodata is transparent, what was not seen lies where it was not seen."""

import base64
import io
from dataclasses import replace

import numpy as np
import pytest
import rasterio
from PIL import Image
from sights import seen

from geoscan.dehazed_scene import dehaze_scene
from geoscan.grid import TileGrid, Window
from geoscan.polygons import Hysteresis, Provenance
from geoscan.report.pictures import CLOSE_UP, COLOURS, close_up, overview, sights
from geoscan.scanning.options import ScanOptions
from geoscan.scanning.plan import Plan
from geoscan.scene import Scene
from geoscan.seen import Sight

SOURCE = Provenance("scene.tif", "planet", "sha256:00", Hysteresis(0.6, 0.3, 0.9), "0.1.0")


def decoded(uri, mode="RGBA"):
    head, _, body = uri.partition(";base64,")
    assert head in ("data:image/webp", "data:image/png")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(body))).convert(mode))


@pytest.fixture
def plan(make_scene, make_package):
    """Smooth hazy ground, 300 x 500 px, without data in its upper left corner."""
    rows, cols = np.mgrid[:300, :500]
    pixels = np.stack(
        [90 + 60 * np.sin(rows / 40), 120 + 50 * np.cos(cols / 50), 100 + 40 * np.sin((rows + cols) / 60)]
    )
    mask = np.ones((300, 500), bool)
    mask[:100, :200] = False
    scene = Scene.open(make_scene(pixels=pixels, mask=mask))
    return Plan.of(scene, make_package(chip=32), ScanOptions())


def test_an_overview_is_the_scene_and_is_transparent_without_data(plan):
    picture = decoded(overview(plan, 250).picture)
    assert picture.shape == (150, 250, 4)
    assert (picture[:50, :100, 3] == 0).all()
    assert (picture[52:, 102:, 3] == 255).all()
    native, _ = plan.scene.overview(250)
    apart = np.abs(picture[60:, :, :3].astype(int) - native.transpose(1, 2, 0)[60:])
    assert apart.mean() < 4, "more than WebP loses"


def test_a_close_up_shows_the_pixels_and_what_dehazing_makes_of_them(plan, tmp_path):
    haze = overview(plan, 1024).haze
    window = Window(90, 190, 128, 160)
    made = close_up(plan, haze, window)
    dehaze_scene(plan.scene, plan.radiometry, haze, tmp_path / "clear.tif", jobs=0)
    with rasterio.open(plan.scene.path) as before, rasterio.open(tmp_path / "clear.tif") as after:
        wanted = [one.read()[:, *window.slices].transpose(1, 2, 0).astype(int) for one in (before, after)]
    assert np.abs(wanted[0] - wanted[1])[20:].mean() > 5
    for picture, pixels in zip((made.as_it_is, made.dehazed), wanted, strict=True):
        found = decoded(picture)
        assert found.shape == (128, 160, 4)
        assert (found[:10, :10, 3] == 0).all()
        assert np.abs(found[20:, 20:, :3] - pixels[20:, 20:]).mean() < 4


def test_a_large_close_up_is_made_small(plan):
    made = close_up(plan, overview(plan, 64).haze, Window(0, 0, 300, 500))
    assert decoded(made.as_it_is).shape[:2] == (round(CLOSE_UP * 3 / 5), CLOSE_UP)


@pytest.mark.parametrize("side", [64, 700])
def test_what_was_not_seen_lies_where_it_was_not_seen(side):
    grid = TileGrid(160, 200, 48, 48)
    sight = np.arange(len(grid), dtype=np.uint8) % len(Sight)
    picture = decoded(sights(seen(SOURCE, grid, sight=sight), side))
    rows, cols, _ = picture.shape
    assert max(rows, cols) == side
    for tile in grid:
        row, col = tile.core.row + tile.core.rows / 2, tile.core.col + tile.core.cols / 2
        found = picture[int(row * rows / 160), int(col * cols / 200)]
        colour = COLOURS[Sight(sight[tile.index])]
        assert found.tolist() == list(colour) or colour[3] == found[3] == 0


def test_colours_tell_apart_and_can_be_looked_up():
    assert set(COLOURS) == set(Sight)
    assert len({colour[:3] for colour in COLOURS.values()}) == len(Sight)


def test_a_scene_all_of_which_was_seen_needs_no_picture():
    assert sights(seen(SOURCE), 64) == ""


def test_small_tiles_are_not_lost_in_a_small_picture():
    grid = TileGrid(10, 500, 1, 1)
    sight = np.zeros(len(grid), np.uint8)
    sight[77] = Sight.FAILED
    picture = decoded(sights(replace(seen(SOURCE, grid), sight=sight), 64))
    assert (picture[..., 3] > 0).sum() == 1
    assert picture[0, 77].tolist() == list(COLOURS[Sight.FAILED])
