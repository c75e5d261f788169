import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.enums import Compression, MaskFlags

from geoscan import dehazed_scene, gdal
from geoscan.dark_channel import HAZE, DarkChannel, scene_airlight
from geoscan.dehazed_scene import dehaze_scene, overview, picture
from geoscan.dehazing import DarkLevel, restored, transmission_map
from geoscan.errors import InputError, ReadError
from geoscan.grid import Window
from geoscan.radiometry import VISUAL
from geoscan.scene import Scene

PARAMS = DarkLevel((0.8, 0.78, 0.75), 0.8, t0=0.4, by_band=False)
NORTH_UP = Affine(3.7, 0, 500_000, 0, -3.7, 9_200_000)


def turned(degrees):
    """`NORTH_UP` with the scene turned on its corner."""
    cos, sin = 3.7 * math.cos(math.radians(degrees)), 3.7 * math.sin(math.radians(degrees))
    return Affine(cos, -sin, 500_000, -sin, -cos, 9_200_000)


@pytest.fixture
def hazy(tmp_path):
    """Writes a scene with haze, cloud and a nodata corner; gives its Scene."""

    def make(rows=700, cols=900, transform=NORTH_UP, name="scene.tif", crs="EPSG:32721"):
        random = np.random.default_rng(4)
        ground = cv2.resize(random.random((rows // 16 + 1, cols // 16 + 1, 3)), (cols, rows)) * 0.5
        ground += random.normal(0, 0.02, ground.shape)
        haze = np.linspace(0.1, 0.7, cols)[None, :, None]
        image = ground * (1 - haze) + np.array([0.8, 0.78, 0.75]) * haze
        pixels = (image.clip(0.01, 1) * 255).astype(np.uint8).transpose(2, 0, 1)
        pixels[:, : rows // 4, : cols // 5] = 0
        profile = {"driver": "GTiff", "dtype": "uint8", "count": 3, "height": rows, "width": cols, "nodata": 0}
        with rasterio.open(tmp_path / name, "w", crs=crs, transform=transform, **profile) as dataset:
            dataset.write(pixels)
        return Scene.open(tmp_path / name)

    return make


def whole(scene, params, cell):
    """The scene dehazed in one piece, 0..255."""
    native, valid = scene.read(Window(0, 0, scene.rows, scene.cols))
    pixels = VISUAL.apply(native, valid)
    clear = restored(pixels / np.float32(255), transmission_map(pixels, valid, params, cell), params.airlight)
    return np.rint(clear * 255).astype(int) * valid, valid


@pytest.mark.parametrize(("block", "jobs"), [(512, 0), (512, 2), (1024, 1)])
@pytest.mark.parametrize("metres", [200, 900])
def test_blocks_equal_the_whole_scene(hazy, tmp_path, monkeypatch, metres, block, jobs):
    monkeypatch.setattr(dehazed_scene, "BLOCK", block)
    monkeypatch.setattr(dehazed_scene, "WINDOW", metres)
    scene = hazy(rows=700, cols=1100)
    result = dehaze_scene(scene, VISUAL, PARAMS, tmp_path / "out.tif", jobs=jobs)
    expected, valid = whole(scene, PARAMS, round(metres / 2 / 3.7))
    with rasterio.open(result.path) as dataset:
        np.testing.assert_array_equal(dataset.read(), expected)
        assert np.array_equal(dataset.read_masks(1) > 0, valid)
    assert result.observed_fraction == pytest.approx(valid.mean())


def test_the_colour_of_the_haze_is_that_of_the_scene_if_asked_for(hazy):
    scene = hazy()
    told = picture("scene", 0.8, lambda: overview(scene, VISUAL)).airlight
    np.testing.assert_allclose(told, scene_airlight(*overview(scene, VISUAL), DarkChannel()))
    assert picture("fixed", 0.8, pytest.fail).airlight == HAZE != told
    with pytest.raises(InputError, match="airlight 'sky' is not known"):
        picture("sky", 0.8, pytest.fail)


def test_windows_stay_between_small_and_large(hazy, tmp_path, monkeypatch):
    seen = []

    def told(*given):
        seen.append(given[-1])
        return transmission_map(*given)

    monkeypatch.setattr(dehazed_scene, "transmission_map", told)
    for metres, cell in ((0.3, 256), (900.0, 16)):
        scene = replace(hazy(rows=60, cols=60), gsd=(metres, metres))
        dehaze_scene(scene, VISUAL, PARAMS, tmp_path / "out.tif", jobs=0)
        assert seen.pop() == cell


def test_bytes_do_not_depend_on_jobs(hazy, tmp_path, monkeypatch):
    monkeypatch.setattr(dehazed_scene, "BLOCK", 512)
    scene = hazy(rows=600, cols=1100)
    one, two = (dehaze_scene(scene, VISUAL, PARAMS, tmp_path / f"{jobs}.tif", jobs=jobs).path for jobs in (0, 2))
    assert one.read_bytes() == two.read_bytes()


def test_haze_is_less_and_contrast_more(hazy, tmp_path):
    scene = hazy()
    dehaze_scene(scene, VISUAL, PARAMS, tmp_path / "out.tif")
    with rasterio.open(scene.path) as before, rasterio.open(tmp_path / "out.tif") as after:
        hazy_side = np.s_[:, 300:, 600:800]
        assert after.read()[hazy_side].mean() < 0.8 * before.read()[hazy_side].mean()
        assert after.read()[hazy_side].std() > before.read()[hazy_side].std()


@pytest.mark.parametrize("transform", [NORTH_UP, turned(31)])
def test_file_lies_where_the_scene_lies(hazy, tmp_path, transform):
    scene = hazy(transform=transform)
    dehaze_scene(scene, VISUAL, PARAMS, tmp_path / "out.tif")
    with rasterio.open(tmp_path / "out.tif") as dataset:
        assert dataset.transform.almost_equals(scene.transform, 1e-9)
        assert dataset.crs == scene.crs
        assert dataset.shape == (scene.rows, scene.cols)
        assert [color.name for color in dataset.colorinterp] == ["red", "green", "blue"]


def test_resampled_scene_is_written_on_its_new_grid(hazy, tmp_path):
    scene = hazy(transform=turned(20)).at_gsd(7.4)
    dehaze_scene(scene, VISUAL, PARAMS, tmp_path / "out.tif")
    expected, valid = whole(scene, PARAMS, round(450 / 7.4))
    with rasterio.open(tmp_path / "out.tif") as dataset:
        assert dataset.shape == (scene.rows, scene.cols)
        assert dataset.transform.almost_equals(scene.transform, 1e-9)
        assert np.array_equal(dataset.read_masks(1) > 0, valid)
        assert np.abs(dataset.read().astype(int) - expected).max() <= 1


def test_file_is_tiled_compressed_masked_and_has_overviews(hazy, tmp_path):
    dehaze_scene(hazy(rows=1100, cols=700), VISUAL, DarkLevel(omega=0.1), tmp_path / "out.tif")
    with rasterio.open(tmp_path / "out.tif") as dataset:
        assert dataset.profile["tiled"]
        assert dataset.compression is Compression.deflate
        assert dataset.overviews(1) == [2, 4]
        assert dataset.mask_flag_enums == ([MaskFlags.per_dataset],) * 3
        assert dataset.dtypes == ("uint8",) * 3
        small, mask = dataset.read(out_shape=(3, 275, 175)), dataset.read_masks(1, out_shape=(275, 175))
    # Nodata is no black that bleeds into its neighbours.
    assert small[:, mask > 0].min() > 0
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["out.tif", "scene.tif"]


def test_small_scene_has_no_overviews(hazy, tmp_path):
    dehaze_scene(hazy(rows=40, cols=30), VISUAL, PARAMS, tmp_path / "out.tif")
    with rasterio.open(tmp_path / "out.tif") as dataset:
        assert dataset.overviews(1) == []
        assert dataset.shape == (40, 30)


def test_blocks_are_tracked(hazy, tmp_path, monkeypatch):
    monkeypatch.setattr(dehazed_scene, "BLOCK", 512)
    seen = []

    def track(items):
        for item in items:
            seen.append(item)
            yield item

    dehaze_scene(hazy(700, 600), VISUAL, PARAMS, tmp_path / "out.tif", track=track)
    assert seen == [0, 1, 2, 3]


def test_scene_is_never_overwritten(hazy, tmp_path):
    scene = hazy()
    before = (tmp_path / "scene.tif").read_bytes()
    (tmp_path / "link.tif").symlink_to(tmp_path / "scene.tif")
    for out in ("scene.tif", "link.tif"):
        with pytest.raises(InputError, match="is the scene itself"):
            dehaze_scene(scene, VISUAL, PARAMS, tmp_path / out)
    assert (tmp_path / "scene.tif").read_bytes() == before


@pytest.mark.parametrize("name", ["out.png", "out", "no/out.tif"])
def test_places_that_cannot_be_written_are_refused_before_the_work(hazy, tmp_path, monkeypatch, name):
    scene = hazy(40, 40)
    monkeypatch.setattr(Scene, "read", None)
    monkeypatch.setattr(Scene, "overview", None)
    with pytest.raises(InputError, match=r"end it in \.tif, \.tiff|make it first"):
        dehaze_scene(scene, VISUAL, PARAMS, tmp_path / name)


def test_pyramids_and_statistics_of_the_replaced_file_are_not_taken_for_its_own(hazy, tmp_path):
    out = tmp_path / "out.tif"
    with (
        rasterio.open(hazy(rows=600, name="old.tif").path) as old,
        rasterio.open(out, "w", **{**old.profile, "driver": "GTiff"}) as copy,
    ):
        copy.write(old.read())
        copy.update_tags(**gdal.maker())
    with rasterio.Env(TIFF_USE_OVR=True), rasterio.open(out, "r+") as copy:
        copy.build_overviews([2, 4, 8], rasterio.enums.Resampling.nearest)
    (tmp_path / "out.tif.aux.xml").write_text("<PAMDataset><Metadata><MDI key='A'>old</MDI></Metadata></PAMDataset>")
    assert (tmp_path / "out.tif.ovr").exists()
    dehaze_scene(hazy(rows=1100, cols=700), VISUAL, PARAMS, out)
    with rasterio.open(out) as dataset:
        assert dataset.overviews(1) == [2, 4]
        assert "A" not in dataset.tags()
        assert dataset.files == [str(out)]


@pytest.mark.parametrize("jobs", [0, 2])
def test_failed_read_leaves_the_old_file_and_nothing_else(hazy, tmp_path, jobs, monkeypatch):
    scene = hazy(600, 1100)
    (tmp_path / "out.tif").write_bytes(b"old")
    read = Scene.read

    def fail_late(self, window):
        if window.col > 0:
            raise ReadError("scene.tif cannot be read at row 0, col 1024")
        return read(self, window)

    monkeypatch.setattr(Scene, "read", fail_late)
    monkeypatch.setattr(dehazed_scene, "BLOCK", 512)
    monkeypatch.setattr(dehazed_scene, "WINDOW", 100)
    with pytest.raises(ReadError, match="col 1024"):
        dehaze_scene(scene, VISUAL, PARAMS, tmp_path / "out.tif", jobs=jobs)
    assert (tmp_path / "out.tif").read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.tif", "scene.tif"]


FULL_DISK = """
import resource, sys
from geoscan.dehazing import DarkLevel
from geoscan.errors import OutputError
from geoscan.radiometry import VISUAL
from geoscan.dehazed_scene import dehaze_scene
from geoscan.scene import Scene

scene = Scene.open(sys.argv[1])
for limit in map(int, sys.argv[3:]):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        dehaze_scene(scene, VISUAL, DarkLevel((0.8, 0.78, 0.75), 0.8, t0=0.4, by_band=False), sys.argv[2])
    except OutputError as error:
        assert "could not be written" in str(error), error
    else:
        sys.exit(f"{limit} bytes were enough")
"""


def test_a_name_that_gdal_cannot_write_to_is_refused_before_the_work(hazy, tmp_path):
    folder = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")
    Path(folder).mkdir()
    with pytest.raises(InputError, match=r"has a name that is not UTF-8, which GDAL cannot write to; write elsewhere"):
        dehaze_scene(hazy(), VISUAL, PARAMS, f"{folder}/out.tif")
    assert list(Path(folder).iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="limits the size of files in the POSIX way")
def test_full_disk_is_noticed_wherever_it_happens(hazy, tmp_path):
    scene = hazy()
    dehaze_scene(scene, VISUAL, PARAMS, tmp_path / "out.tif")
    size = (tmp_path / "out.tif").stat().st_size
    (tmp_path / "out.tif").unlink()
    limits = [str(int(size * share)) for share in (0.1, 0.5, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.99)] + [str(size - 1)]
    command = [sys.executable, "-c", FULL_DISK, scene.path, str(tmp_path / "out.tif"), *limits]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["scene.tif"]
