"""Tiles that hold no data are told without reading, and none that does is among them."""

import itertools

import numpy as np
import pytest
import rasterio
from conftest import CORNER, RGB, UTM, write_scene
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.windows import Window as RasterWindow

from geoscan.blank import outside
from geoscan.grid import TileGrid, Window
from geoscan.scene import Scene

SIDE = 640
BLOCK = 64


def sparse(path, places=((100, 200), (500, 70)), *, nodata=0, dtype="uint16", alpha=False, crs=UTM, scale=10.0, **how):
    """Write 30 x 50 px of ground at each place, and nothing else."""
    transform = rasterio.Affine(scale, 0, CORNER[0], 0, -scale, CORNER[1])
    if crs == "EPSG:4326":
        transform = rasterio.Affine(1e-4, 0, -57, 0, -1e-4, -7)
    profile = {"driver": "GTiff", "count": 3 + alpha, "height": SIDE, "width": SIDE, "dtype": dtype, "nodata": nodata}
    layout = {"tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK, "sparse_ok": True, "photometric": "RGB", **how}
    with rasterio.open(path, "w", **profile, crs=crs, transform=transform, **layout) as target:
        if alpha:
            target.colorinterp = [rasterio.enums.ColorInterp[name] for name in (*RGB, "alpha")]
        for row, col in places:
            pixels = np.random.default_rng(row).integers(1, 250, (3 + alpha, 30, 50)).astype(dtype)
            if alpha:
                pixels[3] = 255
            target.write(pixels, window=RasterWindow(col, row, 50, 30))
    return path


def assert_blank_is_blank(scene, chip=48, stride=None) -> float:
    """Check that each blank tile is all nodata; give the share of tiles that are blank."""
    grid = TileGrid(scene.rows, scene.cols, chip, stride or chip)
    blank = scene.blank(grid)
    assert blank.shape == (len(grid),)
    _, valid = scene.read(Window(0, 0, scene.rows, scene.cols))
    for tile in itertools.compress(grid, blank):
        assert not valid[tile.read.slices].any()
    return float(blank.mean())


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"compress": "deflate"},
        {"interleave": "band"},
        {"tiled": False, "blockysize": 16},
        {"alpha": True, "nodata": None, "dtype": "uint8"},
        {"nodata": -9999, "dtype": "int16"},
        {"nodata": float("nan"), "dtype": "float32"},
        {"crs": "EPSG:4326"},
    ],
    ids=str,
)
@pytest.mark.parametrize("gsd", [None, 6.0, 20.0])
def test_blocks_that_are_not_stored_are_blank(tmp_path, how, gsd):
    scene = Scene.open(sparse(tmp_path / "scene.tif", **how))
    scene = scene.at_gsd(gsd) if gsd else scene
    assert assert_blank_is_blank(scene) > (0.4 if "tiled" in how else 0.7)
    assert assert_blank_is_blank(scene, chip=64, stride=40) > 0.2


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 600), st.integers(0, 590)), max_size=4), st.sampled_from([None, 7.0, 15.0]))
def test_wherever_the_ground_is_no_tile_of_it_is_blank(tmp_path_factory, places, gsd):
    path = sparse(tmp_path_factory.getbasetemp() / "any.tif", [(min(row, 610), col) for row, col in places])
    scene = Scene.open(path)
    scene = scene.at_gsd(gsd) if gsd else scene
    grid = TileGrid(scene.rows, scene.cols, 48, 48)
    blank = scene.blank(grid)
    assert blank.any()
    _, valid = scene.read(Window(0, 0, scene.rows, scene.cols))
    assert valid.any() == bool(places)
    assert not any(valid[tile.read.slices].any() for tile in itertools.compress(grid, blank))


def test_what_is_not_hidden_is_not_blank(tmp_path):
    """Without nodata, blocks that are not stored are black ground, as far as anybody can tell."""
    ground = [(row, col) for row in range(0, SIDE, 128) for col in range(0, SIDE, 128)]
    scene = Scene.open(sparse(tmp_path / "scene.tif", ground, nodata=None))
    assert not scene.blank(TileGrid(SIDE, SIDE, 48, 48)).any()
    full = Scene.open(write_scene(tmp_path / "full.tif", (3, 200, 200), nodata=0))
    assert not full.blank(TileGrid(200, 200, 48, 48)).any()


def test_a_mask_inside_is_read(tmp_path):
    path = sparse(tmp_path / "scene.tif", nodata=None)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as target:
        target.write_mask(np.ones((SIDE, SIDE), bool))
    assert not Scene.open(path).blank(TileGrid(SIDE, SIDE, 48, 48)).any()


@pytest.mark.parametrize("masked", [False, True])
def test_gaps_of_a_mosaic_are_blank(tmp_path, masked):
    tiles = [write_scene(tmp_path / f"{n}.tif", (3, 60, 80), dtype="uint16", gsd=10) for n in (0, 1)]
    places = ((10, 20), (500, 400))

    def sources(band):
        return "".join(
            f"<SimpleSource><SourceFilename>{tile}</SourceFilename><SourceBand>{band}</SourceBand>"
            '<SrcRect xOff="0" yOff="0" xSize="80" ySize="60"/>'
            f'<DstRect xOff="{col}" yOff="{row}" xSize="80" ySize="60"/></SimpleSource>'
            for tile, (row, col) in zip(tiles, places, strict=True)
        )

    nodata = "" if masked else "<NoDataValue>0</NoDataValue>"
    colors = zip((1, 2, 3), ("Red", "Green", "Blue"), strict=True)
    bands = "".join(
        f'<VRTRasterBand dataType="UInt16" band="{n}">{nodata}<ColorInterp>{color}</ColorInterp>{sources(n)}'
        "</VRTRasterBand>"
        for n, color in colors
    )
    mask = f'<MaskBand><VRTRasterBand dataType="Byte">{sources("mask,1")}</VRTRasterBand></MaskBand>' if masked else ""
    path = tmp_path / "mosaic.vrt"
    path.write_text(
        f'<VRTDataset rasterXSize="{SIDE}" rasterYSize="{SIDE}"><SRS>{UTM}</SRS>'
        f"<GeoTransform>500000,10,0,9200000,0,-10</GeoTransform>{bands}{mask}</VRTDataset>"
    )
    scene = Scene.open(path)
    for one in (scene, scene.at_gsd(20)):
        assert assert_blank_is_blank(one) > 0.7


@given(
    st.lists(st.tuples(*[st.integers(0, 9)] * 2, *[st.integers(1, 10)] * 2), max_size=6),
    st.integers(1, 12),
    st.integers(1, 12),
)
def test_a_pixel_outside_of_all_windows_is_found_where_there_is_one(boxes, rows, cols):
    windows = [Window(*box) for box in boxes]
    free = np.ones((rows, cols), bool)
    for window in windows:
        free[window.slices] = False
    at = outside(windows, rows, cols)
    assert (at is not None) == free.any()
    assert at is None or free[at]
