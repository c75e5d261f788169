import math
import multiprocessing
import os
import pickle
import shutil
import subprocess
import tarfile
import threading
import warnings
import zipfile

import h5py
import numpy as np
import pytest
import rasterio
import rasterio.shutil
from affine import Affine
from conftest import CORNER, RGB, UTM, write_scene
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Geod, Transformer
from rasterio.control import GroundControlPoint
from rasterio.rpc import RPC
from test_masks import vrt

from geoscan import hints
from geoscan import vrt as vrt_text
from geoscan.errors import GeoscanError, ReadError, ResolutionError, SceneError
from geoscan.finding import find_scenes
from geoscan.grid import TileGrid, Window
from geoscan.handles import HANDLES
from geoscan.scene import Scene

MARS = (
    'GEOGCS["Mars 2000",DATUM["D",SPHEROID["Mars",3396190,169.8944]],PRIMEM["M",0],UNIT["degree",0.0174532925199433]]'
)
LOCAL = 'LOCAL_CS["site grid",UNIT["metre",1]]'


def run(words, folder):
    """Run a command of GDAL's."""
    if not shutil.which(words[0]):
        pytest.skip("GDAL's commands are not installed")
    subprocess.run(words, cwd=folder, check=True, capture_output=True)


def whole(scene):
    return scene.read(Window(0, 0, scene.rows, scene.cols))


def noise(*shape, top=9000):
    return np.random.default_rng(7).integers(1, top, shape)


def varied_alpha(rows, cols):
    """Near infrared as it looks, tagged alpha or not: hundreds of values, some of them 0."""
    return np.arange(rows * cols).reshape(1, rows, cols) % 5000


# Reading


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"tiled": True, "blockxsize": 16, "blockysize": 16},
        {"dtype": "uint16", "compress": "deflate"},
        {"dtype": "float32", "interleave": "band"},
        {"dtype": "int16", "overviews": (2, 4)},
    ],
)
def test_native_pixels_are_read_as_they_are(make_scene, how):
    path = make_scene((3, 70, 90), **how)
    scene = Scene.open(path)
    with rasterio.open(path) as source:
        expected = source.read(window=((11, 40), (5, 70)))
    native, valid = scene.read(Window(11, 5, 29, 65))
    assert native.dtype == expected.dtype == scene.dtype
    assert (native == expected).all()
    assert valid.all()
    assert valid.shape == (29, 65)


@pytest.mark.parametrize("window", [Window(0, 0, 65, 80), Window(-1, 0, 4, 4), Window(0, 78, 4, 4), Window(0, 0, 0, 4)])
def test_a_window_outside_of_the_scene_is_an_error(make_scene, window):
    with pytest.raises(ReadError, match=r"scene\.tif"):
        Scene.open(make_scene()).read(window)


def test_a_scene_smaller_than_a_chip_reads_what_there_is(make_scene):
    scene = Scene.open(make_scene((3, 5, 7)))
    (tile,) = TileGrid(scene.rows, scene.cols, 256, 256)
    assert scene.read(tile.read)[0].shape == (3, 5, 7)


def test_an_overview_is_the_decimated_scene(make_scene):
    scene = Scene.open(make_scene(pixels=np.full((3, 300, 150), 9), nodata=0))
    native, valid = scene.overview(100)
    assert native.shape == (3, 100, 50)
    assert (native == 9).all()
    assert valid.all()
    assert Scene.open(make_scene((3, 20, 30))).overview(100)[0].shape == (3, 20, 30)


def test_a_damaged_file_names_itself_the_place_and_the_cause(make_scene):
    path = make_scene((3, 256, 256), tiled=True, blockxsize=64, blockysize=64, compress="deflate")
    path.write_bytes(path.read_bytes()[:-20_000])
    scene = Scene.open(path)
    with pytest.raises(ReadError, match=r"scene\.tif cannot be read at row 192, col 192, 64 x 64 px: \S+") as caught:
        scene.read(Window(192, 192, 64, 64))
    assert "\n" not in str(caught.value)
    assert "See previous exception" not in str(caught.value)
    assert scene.read(Window(0, 0, 64, 64))[1].all()


# Files that GDAL could not open, and would take for black ground from then on


def four_tiles(folder, nodata):
    """A VRT of four tiles of 32 px, and the tile in its second row and column."""
    sources = dict.fromkeys((1, 2, 3), "")
    for row, col in ((0, 0), (0, 32), (32, 0), (32, 32)):
        tile = write_scene(folder / f"{row}_{col}.tif", (3, 32, 32))
        size = 'xSize="32" ySize="32"'
        at = f'<SrcRect xOff="0" yOff="0" {size}/><DstRect xOff="{col}" yOff="{row}" {size}/>'
        for n in sources:
            name = f'<SourceFilename relativeToVRT="1">{tile.name}</SourceFilename><SourceBand>{n}</SourceBand>'
            sources[n] += f"<SimpleSource>{name}{at}</SimpleSource>"
    fill = f"<NoDataValue>{nodata}</NoDataValue>" if nodata is not None else ""
    bands = "".join(
        f'<VRTRasterBand dataType="Byte" band="{n}">{fill}<ColorInterp>{color.capitalize()}</ColorInterp>{sources[n]}'
        "</VRTRasterBand>"
        for n, color in enumerate(RGB, 1)
    )
    place = f"<SRS>{UTM}</SRS><GeoTransform>500000, 3.7, 0, 9200000, 0, -3.7</GeoTransform>"
    path = folder / "mosaic.vrt"
    path.write_text(f'<VRTDataset rasterXSize="64" rasterYSize="64">{place}{bands}</VRTDataset>')
    return path, tile


@pytest.mark.parametrize("nodata", [None, 0])
@pytest.mark.parametrize("depth", [0, 1])
@pytest.mark.parametrize("gsd", [3.7, 7.4])
def test_a_tile_that_could_not_be_opened_once_is_read_or_missed(tmp_path, monkeypatch, nodata, depth, gsd):
    path, tile = four_tiles(tmp_path, nodata)
    if depth:
        path = vrt(tmp_path / "outer.vrt", path)
        path.write_text(path.read_text().replace("UInt16", "Byte"))
    scene = Scene.open(path).at_gsd(gsd)
    expected, seen = whole(scene)
    monkeypatch.setattr(Scene, "changed", lambda _: "")  # it is there, but cannot be opened, as without free handles
    for _ in range(3):
        HANDLES.drop(scene)
        tile.rename(tmp_path / "away")
        for _ in range(3):
            with pytest.raises(ReadError):
                whole(scene)
        (tmp_path / "away").rename(tile)
        native, valid = whole(scene)
        np.testing.assert_array_equal(native, expected)
        np.testing.assert_array_equal(valid, seen)


# Damage that GDAL reads over


def damaged(path, compress, **how):
    """Write 4 x 4 blocks of 64 px, and zero a part of what is stored of the one in the second row and column."""
    smooth = np.indices((256, 256)).sum(axis=0)[None] // 4 + np.array([10, 40, 70])[:, None, None]
    layout = {"tiled": True, "blockxsize": 64, "blockysize": 64, "interleave": "pixel", **how}
    write_scene(path, pixels=smooth, compress=compress, **layout)
    with rasterio.open(path) as source:
        start, size = (int(source.get_tag_item(f"BLOCK_{what}_1_1", "TIFF", bidx=1)) for what in ("OFFSET", "SIZE"))
    content = bytearray(path.read_bytes())
    content[start + size // 2 : start + size - 2] = bytes(size - 2 - size // 2)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("compress", "how"),
    [("jpeg", {"photometric": "ycbcr", "jpeg_quality": 95}), ("jpeg", {}), ("packbits", {}), ("lzma", {}), ("lzw", {})],
    ids=str,
)
@pytest.mark.parametrize("way", ["plain", "in a VRT", "resampled"])
def test_damage_that_gdal_reads_over_fails_all_that_touches_it_and_nothing_else(tmp_path, compress, how, way):
    path = damaged(tmp_path / "scene.tif", compress, **how)
    scene = Scene.open(vrt(tmp_path / "scene.vrt", path) if way == "in a VRT" else path)
    scene = scene.at_gsd(7.4) if way == "resampled" else scene
    side = 8 if way == "resampled" else 16
    for _ in range(2):  # what GDAL keeps of the block must not be taken for good the next time
        for row, col in ((4, 4), (5, 6), (7, 7)):
            with pytest.raises(ReadError, match=r"^scene\.\w+ (is damaged|cannot be read) at row") as caught:
                scene.read(Window(row * side, col * side, side, side))
            assert "\n" not in str(caught.value)
        # GDAL warps whole blocks: in a small scene that is all of it.
        for row, col in ((0, 0), (12, 4), (4, 12)) if way != "resampled" else ():
            assert scene.read(Window(row * side, col * side, side, side))[1].all()


def test_a_png_that_was_cut_off_is_read_as_far_as_it_goes(tmp_path):
    """GDAL makes black pixels of all of it when it is read at once, and tells of no error."""
    path = tmp_path / "scene.png"
    rasterio.shutil.copy(write_scene(tmp_path / "scene.tif", (3, 256, 256)), path, driver="PNG")
    path.write_bytes(path.read_bytes()[: -path.stat().st_size // 10])
    scene = Scene.open(path)
    with pytest.raises(ReadError, match=r"scene\.png cannot be read at row 0, col 0, 256 x 256 px"):
        whole(scene)
    with rasterio.open(tmp_path / "scene.tif") as source:
        assert (scene.read(Window(0, 0, 200, 256))[0] == source.read()[:, :200]).all()
    with pytest.raises(ReadError):
        scene.read(Window(240, 0, 16, 256))


def test_an_overview_leaves_out_what_is_damaged(tmp_path):
    scene = Scene.open(damaged(tmp_path / "scene.tif", "jpeg"))
    native, valid = scene.overview(128)
    assert native.shape == (3, 128, 128)
    assert not valid[32:64, 32:64].any()
    assert valid[:32].all()
    assert valid[64:].all()
    assert native[:, valid].min() >= 5
    assert scene.at_gsd(7.4).overview(64)[1].shape == (64, 64)


def test_what_gdal_says_of_a_file_that_it_opens_is_no_damage(make_scene, tmp_path, caplog):
    """A fourth band beside red, green and blue has no tag: GDAL warns of it whenever it opens the file."""
    tile = make_scene((4, 60, 60), name="tile.tif", photometric="rgb", alpha="unspecified")
    content = bytearray(tile.read_bytes())
    at = content.find((338).to_bytes(2, "little") + (3).to_bytes(2, "little"))
    content[at : at + 2] = (65000).to_bytes(2, "little")  # ExtraSamples becomes a tag that nobody knows
    tile.write_bytes(content)
    plain = Scene.open(tile, bands=(1, 2, 3))
    assert "tile.tif: GDAL says: tile.tif: TIFFReadDirectory" in caplog.text
    mosaic = Scene.open(vrt(tmp_path / "mosaic.vrt", tile), bands=(1, 2, 3))
    said = [record.getMessage() for record in caplog.records]
    assert len(set(said)) == len(said)
    for scene in (plain, mosaic, mosaic.at_gsd(7.4)):
        assert scene.read(Window(0, 0, 20, 20))[0].any()
        assert scene.overview(20)[1].any()
    assert [record.getMessage() for record in caplog.records] == said


# Masks


def test_nodata_holds_where_all_bands_have_it(make_scene):
    pixels = noise(3, 40, 40, top=250)
    pixels[:, :10] = 0
    pixels[0, 20:] = 0
    _, valid = whole(Scene.open(make_scene(pixels=pixels, nodata=0)))
    assert (valid == (np.arange(40) >= 10)[:, None]).all()


@pytest.mark.parametrize("nodata", [None, math.nan, -9999])
def test_nan_is_nodata(make_scene, nodata):
    pixels = noise(3, 40, 40).astype("float32")
    pixels[1, :10] = np.nan
    pixels[:, 10:12] = np.nan if nodata is None else nodata
    _, valid = whole(Scene.open(make_scene(pixels=pixels, dtype="float32", nodata=nodata)))
    assert (valid == (np.arange(40) >= 12)[:, None]).all()


@pytest.mark.parametrize("kind", ["alpha", "alpha and nodata", "mask"])
def test_alpha_and_inner_masks_are_heeded(make_scene, kind):
    valid = np.indices((40, 40)).sum(axis=0) > 20
    pixels = noise(3, 40, 40, top=250)
    if kind == "mask":
        path = make_scene(pixels=pixels, mask=valid)
    else:
        rgba = np.concatenate([pixels, valid[None] * 255])
        path = make_scene(pixels=rgba, colors=(*RGB, "alpha"), nodata=255 if "nodata" in kind else None)
    scene = Scene.open(path)
    assert scene.bands == (1, 2, 3)
    assert (whole(scene)[1] == valid).all()
    coarse, refined = scene.at_gsd(7.4), scene.at_gsd(1.85)
    assert abs(whole(coarse)[1].mean() - valid.mean()) < 0.05
    assert abs(whole(refined)[1].mean() - valid.mean()) < 0.03


# Bands


@pytest.mark.parametrize(
    ("how", "bands"),
    [
        ({"shape": (3, 9, 9), "photometric": "minisblack"}, (1, 2, 3)),
        ({"shape": (3, 9, 9), "colors": ("blue", "green", "red")}, (3, 2, 1)),
        ({"shape": (4, 9, 9), "colors": (*RGB, "undefined")}, (1, 2, 3)),
        ({"shape": (4, 9, 9), "colors": (*RGB, "undefined"), "dtype": "uint16"}, (1, 2, 3)),
        ({"shape": (4, 9, 9), "dtype": "uint16", "photometric": "minisblack"}, (3, 2, 1)),
        ({"shape": (4, 9, 9), "descriptions": ("Blue", "Green", "Red", "NIR"), "photometric": "minisblack"}, (3, 2, 1)),
        ({"shape": (12, 9, 9), "descriptions": [f"B{n:02}" for n in range(1, 13)], "dtype": "uint16"}, (4, 3, 2)),
        ({"shape": (13, 9, 9), "descriptions": [f"B{n}, central" for n in range(1, 14)], "dtype": "uint16"}, (4, 3, 2)),
    ],
)
def test_the_file_says_which_bands_are_which(make_scene, how, bands):
    scene = Scene.open(make_scene(how.pop("shape"), **how))
    assert scene.bands == bands
    with rasterio.open(scene.path) as source:
        assert (whole(scene)[0] == source.read(bands)).all()


def test_planets_near_infrared_is_no_mask_though_tagged_alpha(make_scene):
    pixels = np.concatenate([noise(3, 80, 80), varied_alpha(80, 80)])
    scene = Scene.open(make_scene(pixels=pixels, dtype="uint16", colors=(*RGB, "alpha")))
    assert scene.bands == (3, 2, 1)
    assert scene.planet
    native, valid = whole(scene)
    assert (native == pixels[[2, 1, 0]]).all()
    assert valid.all()
    coarse, valid = whole(scene.at_gsd(7.4))
    assert valid.all()
    assert np.allclose(coarse.mean(axis=(1, 2)), pixels[[2, 1, 0]].mean(axis=(1, 2)), rtol=0.02)


def test_a_16_bit_alpha_is_a_mask_all_the_same(make_scene):
    pixels = np.concatenate([noise(3, 80, 80), np.full((1, 80, 80), 65535)])
    pixels[3, :40] = 0
    scene = Scene.open(make_scene(pixels=pixels, dtype="uint16", colors=(*RGB, "alpha")))
    assert scene.bands == (1, 2, 3)
    assert not scene.planet
    assert whole(scene)[1].mean() == 0.5


def test_bands_can_be_asked_for(make_scene):
    path = make_scene((5, 9, 9), photometric="minisblack")
    assert Scene.open(path, bands=(5, 1, 2)).bands == (5, 1, 2)
    for asked in ((1, 2), (0, 1, 2), (1, 2, 6), (1, 2, 3, 4)):
        with pytest.raises(SceneError, match=r"pass three numbers from 1 to 5 as --bands R,G,B"):
            Scene.open(path, bands=asked)


@pytest.mark.parametrize("bands", [(3, 2, 1), (2, 3, 4)])
def test_other_bands_make_the_scene_that_they_would_if_asked_for(make_scene, bands):
    path = make_scene((4, 9, 9), dtype="uint16", descriptions=("B02", "B03", "B04", "NIR"), photometric="minisblack")
    assert Scene.open(path, bands=(1, 2, 3)).with_bands(bands) == Scene.open(path, bands=bands)


@pytest.mark.parametrize(
    ("count", "says"), [(4, "--bands 3,2,1"), (6, "--bands 3,2,1"), (13, "--bands 4,3,2 when it is")]
)
def test_bands_that_nothing_tells_are_asked_for(make_scene, count, says):
    with pytest.raises(SceneError, match=f"{count} bands and does not say.*{says}"):
        Scene.open(make_scene((count, 9, 9), photometric="minisblack"))


# Refusals


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"crs": None}, "no CRS"),
        (
            {"shape": (1, 9, 9)},
            "1 colour band; .* give a scene with all three, or put them together: gdalbuildvrt -separate scene.vrt RED",
        ),
        ({"shape": (2, 9, 9)}, "2 colour bands;"),
        ({"dtype": "complex64"}, "complex values"),
        ({"crs": MARS, "transform": Affine(1e-5, 0, 3, 0, -1e-5, 3)}, "another planet"),
        ({"crs": LOCAL}, "local CRS"),
        ({"transform": Affine.identity()}, "no transform"),
        ({"transform": Affine(3, 3, 5e5, 3, 3, 9e6)}, "squeezes it to a line"),
        ({"crs": "EPSG:3857", "transform": Affine(9, 0, 1e300, 0, -9, 1e300)}, "scene|ground|CRS"),
    ],
)
def test_what_cannot_be_scanned_is_refused_in_one_line(make_scene, how, says):
    path = make_scene(how.pop("shape", (3, 9, 9)), **how)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(SceneError, match=says) as caught:
            Scene.open(path)
    assert "\n" not in str(caught.value)


def test_what_is_no_raster_is_refused_in_one_line(tmp_path):
    (tmp_path / "notes.tif").write_text("not a raster")
    (tmp_path / "empty.tif").touch()
    for name, says in (("notes.tif", "cannot be opened"), ("empty.tif", "is empty"), ("gone.tif", "not exist")):
        with pytest.raises(SceneError, match=says) as caught:
            Scene.open(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_the_crs_in_a_file_beside_is_named(make_scene):
    path = make_scene(crs=None)
    path.with_suffix(".prj").write_text("anything")
    with pytest.raises(SceneError, match=r"gdal_edit\.py -a_srs scene\.prj scene\.tif$"):
        Scene.open(path)


@pytest.mark.parametrize(("driver", "name"), [("GTiff", "a.tif"), ("PNG", "a.png"), ("JP2OpenJPEG", "a.jp2")])
def test_what_it_says_assigns_a_crs_and_nodata(make_scene, tmp_path, driver, name):
    """To files, too, that GDAL does not change."""
    path = tmp_path / name
    how = {"GeoJP2": "NO", "GMLJP2": "NO"} if driver == "JP2OpenJPEG" else {}
    rasterio.shutil.copy(make_scene(crs=None), path, driver=driver, **how)
    (tmp_path / "a.j2w").write_text("9\n0\n0\n-9\n5e5\n9.2e6\n")
    with pytest.raises(SceneError, match=r"example: gdal_edit\.py \S*") as caught:
        Scene.open(path)
    command = str(caught.value).rsplit("example: ", 1)[1].split()
    run(command, tmp_path)
    assert Scene.open(path).crs == UTM
    for value in (7.0, 1234567.0):
        *words, told = hints.assign_nodata(value, name).split()
        assert float(told) == value
    if words[0] == "gdal_translate":
        run([*words, "7", name, "new.tif"], tmp_path)
        path = tmp_path / "new.tif"
    else:
        run([*words, "7", name], tmp_path)
    assert Scene.open(path).masking.nodata == (7, 7, 7)


@pytest.mark.parametrize("value", [7, 0.1, -9999, 1234567, 16777216, -3.4028234663852886e38, 1e-7])
def test_a_number_is_spelt_so_that_it_is_the_same(value):
    assert float(hints.exactly(value)) == value


@pytest.mark.parametrize("name", ["scene.tar", "scene.tar.gz", "scene.tgz"])
def test_of_a_tar_it_is_said_what_to_give(tmp_path, make_scene, name):
    source = make_scene((3, 20, 30))
    with tarfile.open(tmp_path / name, "w" if name.endswith("tar") else "w:gz") as archive:
        archive.add(source, "tiles/scene.tif")
    with pytest.raises(SceneError, match=r"it is a tar; give what lies in it: (/vsitar/\S+)$") as caught:
        Scene.open(tmp_path / name)
    assert (whole(Scene.open(str(caught.value).rsplit(" ", 1)[1]))[0] == whole(Scene.open(source))[0]).all()


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_of_several_rasters_in_an_archive_it_is_said_to_unpack_it(tmp_path, make_scene, kind):
    (tmp_path / "bands").mkdir()
    for name in ("B04.tif", "B03.TIF", "._B04.tif"):
        make_scene((1, 20, 30), name=f"bands/{name}")
    path = shutil.make_archive(str(tmp_path / "landsat"), kind, tmp_path / "bands")
    with pytest.raises(SceneError, match=f"it is a {kind} of 2 rasters; unpack it, and give the folder$"):
        Scene.open(path)


def test_what_gdal_opens_without_bands_is_refused_in_one_line(tmp_path):
    with h5py.File(tmp_path / "one.h5", "w") as file:
        file["times"] = np.arange(5)
    with pytest.raises(
        SceneError, match=r"^one\.h5 holds no pixels; give a GeoTIFF or another raster that GDAL reads$"
    ):
        Scene.open(tmp_path / "one.h5")


def test_a_zarr_is_a_scene_and_no_folder_of_scenes(tmp_path):
    rasters = write_scene(tmp_path / "a.tif"), tmp_path / "b.zarr"
    rasterio.shutil.copy(*rasters, driver="Zarr")
    assert find_scenes([rasters[1]]) == [str(rasters[1])]
    assert find_scenes([tmp_path]) == [str(path) for path in rasters]


def test_a_refusal_says_how_to_bring_it_into_shape(tmp_path, make_scene):
    source = make_scene((3, 20, 30))
    with zipfile.ZipFile(tmp_path / "scene.zip", "w") as archive:
        archive.writestr("read me.txt", "see scene.tif")
        archive.write(source, "tiles/scene.tif")
    with pytest.raises(SceneError, match=r"it is a zip; give what lies in it: (/vsizip/\S+)$") as caught:
        Scene.open(tmp_path / "scene.zip")
    assert (whole(Scene.open(str(caught.value).rsplit(" ", 1)[1]))[0] == whole(Scene.open(source))[0]).all()

    palette = make_scene((1, 20, 30), name="palette.tif", colors=["palette"])
    with pytest.raises(SceneError, match=r"gdal_translate -expand rgb palette\.tif"):
        Scene.open(palette)

    tilted = make_scene((3, 20, 30), name="tilted.tif", crs=None, transform=Affine.identity())
    numbers = [1.0, *[0.0] * 19]
    with rasterio.open(tilted, "r+") as target:
        target.rpcs = RPC(100, 100, -10, 10, numbers, numbers, 10, 15, -55, 1, numbers, numbers, 15, 20)
    with pytest.raises(SceneError, match=r"RPCs alone.*gdalwarp -rpc -to RPC_DEM=dem\.tif tilted\.tif"):
        Scene.open(tilted)


# Places


@pytest.mark.parametrize(
    ("crs", "transform", "gsd"),
    [
        (UTM, Affine(3.7, 0, CORNER[0], 0, -3.7, CORNER[1]), (3.7, 3.7)),
        (UTM, Affine.translation(*CORNER) @ Affine.rotation(30) @ Affine.scale(4, -5), (4, 5)),
        ("EPSG:3857", Affine(10, 0, 0, 0, -10, 8399737.9), (5, 5)),  # 60 degrees north: twice the size on the map
        ("EPSG:2263", Affine(10, 0, 1e6, 0, -10, 2e5), (3.048, 3.048)),  # US survey feet
        ("EPSG:4326", Affine(1e-4, 0, -57, 0, -1e-4, 0), (11.132, 11.057)),
    ],
)
def test_ground_resolution_is_measured_on_the_ground(make_scene, crs, transform, gsd):
    scene = Scene.open(make_scene(crs=crs, transform=transform))
    # UTM itself is up to 4 in 10,000 off, and Web Mercator takes Earth for a sphere.
    assert scene.gsd == pytest.approx(gsd, rel=6e-3)


def control_points(rows, cols, transform):
    place = transform.__matmul__
    return [
        GroundControlPoint(row, col, *place((col, row))) for row in (0, rows / 2, rows) for col in (0, cols / 2, cols)
    ]


@pytest.mark.parametrize("varying", [False, True])
def test_a_scene_placed_by_control_points_lies_where_they_say(make_scene, varying):
    pixels = np.full((4, 80, 80), 30)
    pixels[:3, 30:40, 50:60] = 200
    pixels[3] = varied_alpha(80, 80) % 251 if varying else 255
    points = control_points(80, 80, Affine(3e-5, 0, -57, 0, -3e-5, -7))
    scene = Scene.open(make_scene(pixels=pixels, gcps=points, crs="EPSG:4326", colors=(*RGB, "alpha")))
    assert scene.crs.to_epsg() == 32721
    to_utm = Transformer.from_crs(4326, 32721, always_xy=True)
    expected = to_utm.transform(-57 + 55 * 3e-5, -7 - 35 * 3e-5)
    for placed in (scene, scene.at_gsd(7)):
        native, valid = whole(placed)
        rows, cols = np.nonzero(native[0] > 100)
        a, _, c, _, e, f = placed.transform[:6]
        assert (c + a * (cols.mean() + 0.5), f + e * (rows.mean() + 0.5)) == pytest.approx(expected, abs=4)
        assert valid.mean() > 0.9


TURNED = Affine.translation(*CORNER) @ Affine.rotation(20) @ Affine.scale(4, -4)


@pytest.mark.parametrize(
    ("points", "crs", "says"),
    [
        (control_points(80, 80, TURNED)[:2], UTM, "at least three points that are not in one line"),
        (control_points(80, 80, TURNED)[::4], UTM, "at least three points that are not in one line"),
        (control_points(80, 80, Affine(3e-5, 0, 303, 0, -3e-5, -7)), "EPSG:4326", "beyond or across 180 degrees"),
    ],
)
def test_points_that_place_nothing_are_refused(make_scene, points, crs, says):
    with pytest.raises(SceneError, match=says):
        Scene.open(make_scene(gcps=points, crs=crs))


@pytest.mark.parametrize("off", [0, 15, 3000])
@pytest.mark.parametrize("crs", [UTM, "EPSG:4326"])
def test_a_point_that_contradicts_the_others_is_named(make_scene, crs, off, caplog):
    points = control_points(80, 80, TURNED)
    if crs != UTM:
        to_lonlat = Transformer.from_crs(UTM, crs, always_xy=True)
        for point in points:
            point.x, point.y = to_lonlat.transform(point.x, point.y)
    points[5].x += off * (1 if crs == UTM else 1 / 110_500)
    Scene.open(make_scene(gcps=points, crs=crs))
    told = [record.message for record in caplog.records if "control points" in record.message]
    assert len(told) == (off == 3000)
    assert all("number 6, at col 80, row 40, lies 3," in text or "lies 2,9" in text for text in told)


def test_points_over_hills_do_not_contradict_each_other(make_scene, caplog):
    points = control_points(80, 80, TURNED) + control_points(60, 70, TURNED)
    for point, (x, y) in zip(points, np.random.default_rng(2).normal(0, 20, (len(points), 2)).tolist(), strict=True):
        point.x, point.y = point.x + x, point.y + y
    Scene.open(make_scene(gcps=points))
    assert not [record for record in caplog.records if "control points" in record.message]


def test_a_datum_that_nobody_can_place_is_said(make_scene, caplog):
    Scene.open(make_scene(crs="+proj=utm +zone=21 +south +ellps=intl +units=m"))
    assert [r.message for r in caplog.records if "may be off by hundreds of metres" in r.message]


@pytest.mark.parametrize(
    "crs", [UTM, "EPSG:31981", "EPSG:24881", "EPSG:29191", "+proj=utm +zone=21 +south +ellps=GRS80", "ESRI:53027"]
)
def test_of_other_datums_nothing_is_said(make_scene, crs, caplog):
    Scene.open(make_scene(crs=crs))
    assert not caplog.records


def test_a_scene_near_the_models_resolution_is_itself(make_scene):
    scene = Scene.open(make_scene(gsd=3.7))
    for gsd in (3.0, 3.7, 4.6):
        assert scene.at_gsd(gsd) is scene


@pytest.mark.parametrize("gsd", [0.9, 15.5])
def test_a_scene_far_from_the_models_resolution_is_refused(make_scene, gsd):
    scene = Scene.open(make_scene(gsd=3.75))
    with pytest.raises(ResolutionError, match=rf"3\.75 m pixels; the model works at {gsd} m"):
        scene.at_gsd(gsd)


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        (UTM, Affine(0.03, 0, CORNER[0], 0, -0.03, CORNER[1])),
        ("EPSG:3857", Affine(0.06, 0, 1e6, 0, -0.06, 8.4e6)),
        ("EPSG:2229", Affine(0.1, 0, 6.5e6, 0, -0.1, 1.8e6)),  # US survey feet
        ("EPSG:4326", Affine(3e-7, 0, -57, 0, -3e-7, -7)),
    ],
)
def test_of_a_scene_that_is_too_fine_it_is_said_how_to_make_it_coarser(make_scene, tmp_path, crs, transform):
    path = make_scene((3, 400, 500), crs=crs, transform=transform)
    with pytest.raises(
        ResolutionError, match=r"average them: gdalwarp .* -r average scene\.tif coarser\.tif$"
    ) as caught:
        Scene.open(path).at_gsd(3.4)
    command = str(caught.value).rsplit("average them: ", 1)[1].split()
    run(command, tmp_path)
    assert Scene.open(tmp_path / "coarser.tif").gsd == pytest.approx((3.4, 3.4), rel=0.01)


ramp = np.indices((120, 160)).sum(axis=0)[None].repeat(3, axis=0)


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        (UTM, Affine(4, 0, CORNER[0], 0, -4, CORNER[1])),
        (UTM, Affine.translation(*CORNER) @ Affine.rotation(20) @ Affine.scale(4, -4)),
        ("EPSG:4326", Affine(4e-5, 0, -57, 0, -4e-5, -7)),
        ("EPSG:4326", Affine(4e-5, 0, 303, 0, -4e-5, -7)),
        ("EPSG:4326", Affine(4e-5, 0, 180 - 80 * 4e-5, 0, -4e-5, -7)),
        ("EPSG:4326", Affine(4e-5, 0, -180 - 80 * 4e-5, 0, -4e-5, -7)),
        ("EPSG:4284", Affine(8e-5, 0, 180 - 80 * 8e-5, 0, -4e-5, 65)),  # another datum
        ("EPSG:4618", Affine(4e-5, 0, 303, 0, -4e-5, -7)),
        ("EPSG:3857", Affine(4, 0, -6.3e6, 0, -4, -8e5)),
        ("EPSG:2263", Affine(13, 0, 1e6, 0, -13, 2e5)),
    ],
)
@pytest.mark.parametrize("factor", [0.5, 2.5])
@pytest.mark.parametrize("nodata", [None, 0])
def test_resampled_pixels_stay_in_their_place(make_scene, crs, transform, factor, nodata):
    scene = Scene.open(make_scene(pixels=ramp + 1, dtype="uint16", crs=crs, transform=transform, nodata=nodata))
    there = scene.at_gsd(scene.gsd[0] * factor)
    assert there.gsd == pytest.approx((scene.gsd[0] * factor,) * 2, rel=2e-3)
    assert not there.crs.is_geographic
    native, valid = whole(there)
    across, down = np.meshgrid(np.arange(there.cols) + 0.5, np.arange(there.rows) + 0.5)
    a, b, c, d, e, f = there.transform[:6]
    x, y = Transformer.from_crs(there.crs, scene.crs, always_xy=True).transform(
        a * across + b * down + c, d * across + e * down + f
    )
    if scene.crs.is_geographic:
        middle = (transform @ (80, 60))[0]
        x = middle + (x - middle + 180) % 360 - 180
    a, b, c, d, e, f = (~transform)[:6]
    col, row = a * x + b * y + c, d * x + e * y + f
    inside = (col > 4) & (col < 156) & (row > 4) & (row < 116)
    assert valid[inside].all()
    assert not valid[(col < -4) | (col > 164) | (row < -4) | (row > 124)].any()
    assert np.abs(native[0][inside] - (row + col)[inside]).max() < 1.6


def test_a_geographic_scene_too_wide_for_utm_is_refused(make_scene):
    transform = Affine(0.2, 0, -75, 0, -0.2, 5)
    fits = Scene.open(make_scene(pixels=ramp[:, :, :90], crs="EPSG:4326", transform=transform))
    assert not fits.at_gsd(40_000).crs.is_geographic
    wide = Scene.open(make_scene(pixels=ramp, crs="EPSG:4326", transform=transform))
    assert wide.at_gsd(22_200) is wide, "as it is it may be scanned"
    with pytest.raises(SceneError, match=r"is 32 degrees wide and must be resampled .* up to 20; cut it into parts"):
        wide.at_gsd(40_000)


@given(st.integers(0, 40), st.integers(0, 40), st.integers(1, 30), st.integers(1, 30))
@settings(max_examples=40)
def test_a_window_is_part_of_the_whole(tmp_path_factory, row, col, rows, cols):
    path = tmp_path_factory.getbasetemp() / "parts.tif"
    if not path.exists():
        turned = Affine.translation(*CORNER) @ Affine.rotation(20) @ Affine.scale(4, -4)
        write_scene(path, (3, 120, 160), transform=turned, nodata=0, dtype="uint16")
    scene = Scene.open(path).at_gsd(8)
    window = Window(row, col, rows, cols)
    native, valid = scene.read(window)
    all_native, all_valid = whole(scene)
    assert (native == all_native[:, *window.slices]).all()
    assert (valid == all_valid[window.slices]).all()


def test_an_overview_of_resampled_pixels_covers_the_same_ground(make_scene):
    scene = Scene.open(make_scene(pixels=ramp + 1, dtype="uint16", nodata=0, gsd=4)).at_gsd(8)
    native, valid = scene.overview(20)
    assert native.shape == (3, 15, 20)
    assert valid.mean() > 0.8
    assert abs(native[0][valid].mean() - whole(scene)[0][0].mean()) < 10


# Addresses, threads, processes


def read_sum(scene):
    return int(whole(scene)[0].sum())


@pytest.mark.parametrize("gsd", [None, 8.0])
def test_a_scene_pickles_to_plain_values(make_scene, gsd):
    scene = Scene.open(make_scene())
    scene = scene.at_gsd(gsd) if gsd else scene
    total = read_sum(scene)
    again = pickle.loads(pickle.dumps(scene))
    assert again == scene
    assert again.fingerprint() == scene.fingerprint()
    assert read_sum(again) == total


@pytest.mark.parametrize("method", ["spawn", *(["fork"] if hasattr(os, "fork") else [])])
def test_another_process_reads_the_same_pixels(make_scene, method, monkeypatch):
    path = make_scene(name="far.tif")
    monkeypatch.chdir(path.parent)
    scene = Scene.open("far.tif")
    total = read_sum(scene)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads about, which this is here to try
        with multiprocessing.get_context(method).Pool(1) as pool:
            assert pool.apply_async(read_sum, [scene]).get(timeout=60) == total
    assert read_sum(scene) == total


def test_each_thread_has_its_own_dataset_and_few_of_them(make_scene):
    scenes = [Scene.open(make_scene(name=f"{n}.tif")) for n in range(7)]
    seen = []  # not by the thread's number: the next may get that of one that has ended

    def read_all():
        for scene in scenes:
            read_sum(scene)
        seen.append([handle for _, handle in HANDLES._open.values()])

    threads = [threading.Thread(target=read_all) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(handles) for handles in seen] == [4, 4, 4]
    assert len({id(handle) for handles in seen for handle in handles}) == 12


def test_files_of_one_size_and_time_are_not_one_scene(make_scene):
    """Two months that were unpacked from one archive."""
    prints = set()
    for level in (3000, 4000):
        path = make_scene(pixels=np.full((3, 40, 40), level), dtype="uint16")
        os.utime(path, (1e9, 1e9))
        prints.add((path.stat().st_size, path.stat().st_mtime_ns, Scene.open(path).fingerprint()))
    (one, *file), (other, *same) = (reversed(told) for told in prints)
    assert file == same
    assert one != other


def test_parts_of_one_file_are_not_one_scene(make_scene, tmp_path):
    """Though they may look alike wherever it was looked: of an archive, and pages."""
    make_scene((3, 40, 40)).rename(tmp_path / "scene.tif")
    with zipfile.ZipFile(tmp_path / "both.zip", "w") as archive:
        for month in ("june", "july"):
            archive.write(tmp_path / "scene.tif", f"{month}/scene.tif")
    june, july = (Scene.open(f"/vsizip/{tmp_path}/both.zip/{month}/scene.tif") for month in ("june", "july"))
    assert june.fingerprint() != july.fingerprint()
    with rasterio.open(tmp_path / "scene.tif") as scene:
        rasterio.shutil.copy(scene, tmp_path / "pages.tif", driver="GTiff")
        rasterio.shutil.copy(scene, tmp_path / "pages.tif", driver="GTiff", append_subdataset=True)
    first, second = (Scene.open(f"GTIFF_DIR:{page}:{tmp_path}/pages.tif") for page in (1, 2))
    assert first.fingerprint() != second.fingerprint()
    (tmp_path / "moved").mkdir()
    (tmp_path / "pages.tif").rename(tmp_path / "moved" / "pages.tif")
    assert Scene.open(f"GTIFF_DIR:2:{tmp_path}/moved/pages.tif").fingerprint() == second.fingerprint()


@pytest.mark.parametrize("types", [("uint16", "uint16", "float32"), ("uint16", "int16", "uint16")])
def test_bands_of_several_types_are_read_as_one_that_holds_them_all(tmp_path, types):
    """As those that were made one by one, and put together with gdalbuildvrt -separate."""
    pixels = noise(3, 80, 80).astype("float32")
    bands = []
    for n, (dtype, color) in enumerate(zip(types, RGB, strict=True), 1):
        write_scene(tmp_path / f"{n}.tif", pixels=pixels[n - 1 : n], dtype=dtype, photometric="minisblack")
        bands.append(vrt_text.band(n, dtype, color, vrt_text.source(str(tmp_path / f"{n}.tif"), 1)))
    with rasterio.open(tmp_path / "1.tif") as first:
        place = vrt_text.grid(first.crs, first.transform)
    (tmp_path / "scene.vrt").write_text(vrt_text.dataset((80, 80), "".join(bands), place))
    scene = Scene.open(tmp_path / "scene.vrt")
    assert scene.dtype == np.result_type(*types)
    np.testing.assert_array_equal(whole(scene)[0], pixels)


def test_a_fingerprint_is_of_the_pixels_not_of_the_path(make_scene, tmp_path):
    path = make_scene((5, 9, 9), photometric="minisblack")
    scene = Scene.open(path, bands=(1, 2, 3))
    moved = path.rename(tmp_path / "moved.tif")
    assert Scene.open(moved, bands=(1, 2, 3)).fingerprint() == scene.fingerprint()
    others = [Scene.open(moved, bands=(3, 2, 1)), scene.at_gsd(8), scene.at_gsd(9)]
    make_scene((5, 9, 9), name="moved.tif", pixels=np.zeros((5, 9, 9)), photometric="minisblack")
    others.append(Scene.open(moved, bands=(1, 2, 3)))
    assert len({other.fingerprint() for other in [scene, *others]}) == 5


def test_a_file_written_anew_is_not_read_from_the_old_handle(make_scene):
    assert read_sum(Scene.open(make_scene(pixels=np.full((3, 9, 9), 1)))) == 243
    assert read_sum(Scene.open(make_scene(pixels=np.full((3, 9, 9), 2)))) == 486


def test_directories_are_searched_one_level(make_scene, tmp_path):
    (tmp_path / "deeper").mkdir()
    for name in ("b.tif", "a.TIF", "deeper/c.tif", "._b.tif"):
        make_scene(name=name)
    (tmp_path / "notes.txt").touch()
    remote = "s3://bucket/scene.tif"
    inside = [str(tmp_path / name) for name in ("a.TIF", "b.tif")]
    assert find_scenes([tmp_path]) == inside
    assert find_scenes([remote, tmp_path / "b.tif", tmp_path]) == [remote, inside[1], inside[0]]
    (tmp_path / "empty").mkdir()
    with pytest.raises(SceneError, match="holds no rasters"):
        find_scenes([tmp_path / "empty"])


def test_other_rasters_in_a_directory_are_named(make_scene, tmp_path, caplog):
    path = make_scene(name="a.tif")
    for name in ("b.pix", "c.dat", "c.hdr", "d.png", "d.pgw", "e", "e.hdr", "f.jpeg", "f.wld", "g.mrf", "g.idx"):
        (tmp_path / name).touch()
    for name in ("preview.png", "thumb.jpg", "table.dat", "README", "a.tif.aux.xml", "._b.pix"):
        (tmp_path / name).touch()
    assert find_scenes([tmp_path]) == [str(path)]
    assert caplog.messages == [
        f"passed over in {tmp_path}: b.pix, c.dat, d.png, e, f.jpeg and 1 more; name them to scan them"
    ]
    path.unlink()
    with pytest.raises(SceneError, match=r"holds no rasters .* or products; name these to scan them: b\.pix, c\.dat, "):
        find_scenes([tmp_path])


def test_a_scene_named_in_two_ways_comes_once(make_scene, tmp_path, monkeypatch):
    path = make_scene(name="a.tif")
    monkeypatch.chdir(tmp_path)
    assert find_scenes(["a.tif", "./a.tif", str(path), "."]) == ["a.tif"]


@pytest.mark.parametrize("name", ["a" * 300, "folder/" + "a" * 300 + ".tif"])
def test_a_name_too_long_for_the_system_is_no_scene(name):
    assert find_scenes([name]) == [name]
    with pytest.raises(SceneError, match="does not exist"):
        Scene.open(name)


# Real files


def test_no_real_file_gives_anything_but_pixels_or_a_line(shared_data):
    seen = {}
    for path in find_scenes([shared_data("scenes"), shared_data("planet/train-tif-v2")]):
        try:
            native, valid = Scene.open(path).overview(64)
            seen[path.rsplit("/", 1)[-1]] = native.shape[1:] == valid.shape
        except GeoscanError as error:
            seen[path.rsplit("/", 1)[-1]] = "more lines" if "\n" in str(error) else type(error)
    assert seen["rio-cogeo__slc.tif"] is SceneError
    assert seen["train_0.tif"] is SceneError
    assert seen["rio-tiler__pix4d_alpha_nodata.tif"] is True
    assert sum(found is True for found in seen.values()) >= 9
    assert set(seen.values()) <= {True, SceneError, ReadError}


def test_ground_resolution_agrees_with_the_geodesic_over_the_whole_scene(make_scene):
    scene = Scene.open(make_scene((3, 400, 400), crs="EPSG:4326", transform=Affine(1e-4, 0, -57, 0, -1e-4, -7)))
    length = Geod(ellps="WGS84").inv(-57, -7.02, -56.96, -7.02)[2]
    assert scene.gsd[0] == pytest.approx(length / 400, rel=1e-6)


def test_what_gdal_says_goes_on_in_our_sentence(tmp_path):
    (tmp_path / "text.tif").write_text("no raster")
    with pytest.raises(SceneError, match=r"supported file format; give a GeoTIFF"):
        Scene.open(tmp_path / "text.tif")
