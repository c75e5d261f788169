"""Parts of one raster: laid side by side they are the raster again, and nothing else is taken for parts."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from alike import assert_alike, seen
from conftest import CORNER, write_scene
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.enums import ColorInterp
from rasterio.shutil import copy
from rasterio.vrt import WarpedVRT
from scans import CHIP, blocks, run

from geoscan.grid import Window
from geoscan.model.package import Package
from geoscan.products.tiles import each_once, groups_of, made_of, mosaic_of
from geoscan.scanning.result import detect
from geoscan.scene import Scene

GSD = 3.7


@pytest.fixture
def package(make_package) -> Package:
    return make_package(chip=CHIP)


def cut(folder: Path, pixels: np.ndarray, down: list[int], across: list[int], **how: Any) -> list[Path]:
    """Write a raster as parts that end at these rows and columns, named as gdal_retile names them."""
    folder.mkdir(exist_ok=True)
    made = []
    for i, (top, bottom) in enumerate(zip([0, *down], [*down, pixels.shape[1]], strict=True)):
        for j, (left, right) in enumerate(zip([0, *across], [*across, pixels.shape[2]], strict=True)):
            place = Affine(GSD, 0, CORNER[0] + left * GSD, 0, -GSD, CORNER[1] - top * GSD)
            own = {key: value[top:bottom, left:right] if key == "mask" else value for key, value in how.items()}
            part = folder / f"scene_{i + 1}_{j + 1}.tif"
            made.append(write_scene(part, pixels=pixels[:, top:bottom, left:right], transform=place, **own))
    return made


def text(paths: list[Path]) -> list[str]:
    return [str(path) for path in paths]


def noise(rows: int = 70, cols: int = 90, count: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(1, 250, (count, rows, cols)).astype(np.uint8)


def whole(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    return scene.read(Window(0, 0, scene.rows, scene.cols))


def hole() -> np.ndarray:
    mask = np.ones((70, 90), bool)
    mask[20:50, 40:70] = False
    return mask


HOW: dict[str, dict[str, Any]] = {
    "plain": {},
    "nodata": {"nodata": 7},
    "mask": {"mask": hole()},
    "alpha": {"colors": ("red", "green", "blue", "alpha")},
    "named": {"descriptions": ("B2", "B3", "B4", "B8"), "dtype": "float32", "nodata": float("nan")},
}


@pytest.mark.parametrize("dtype", ["int8", "int16", "uint32", "int64", "uint64"])
def test_parts_of_any_type_are_joined(dtype, tmp_path):
    pixels = noise().astype(dtype)
    mosaic = mosaic_of(text(cut(tmp_path, pixels, [13, 40], [33], dtype=dtype)))
    assert mosaic is not None
    with rasterio.open(mosaic.address) as joined:
        assert joined.dtypes == (dtype,) * 3
        np.testing.assert_array_equal(joined.read(), pixels)


@pytest.mark.parametrize("how", HOW)
def test_parts_side_by_side_are_the_raster_that_they_were_cut_from(how, tmp_path, package):
    pixels = noise(count=4 if how in ("alpha", "named") else 3).astype(HOW[how].get("dtype", "uint8"))
    pixels[:, 50:60, 30:70] = 7
    if how == "alpha":
        pixels[3] = 255 * hole()
    original = write_scene(tmp_path / "whole.tif", pixels=pixels, **HOW[how])
    mosaic = mosaic_of(text(cut(tmp_path / "tiles", pixels, [13, 40], [33], **HOW[how])))
    assert mosaic is not None
    assert (mosaic.name, mosaic.kind, len(mosaic.files)) == ("scene", "Mosaic", 6)
    assert Scene.open(mosaic).name == "scene"
    with rasterio.open(original) as one, rasterio.open(mosaic.address) as other:
        assert (one.crs, one.transform, one.shape, one.dtypes) == (
            other.crs,
            other.transform,
            other.shape,
            other.dtypes,
        )
        assert (one.descriptions, one.colorinterp) == (other.descriptions, other.colorinterp)
        np.testing.assert_array_equal(one.read(), other.read())
        np.testing.assert_array_equal(one.dataset_mask(), other.dataset_mask())
    assert_alike(mosaic, original, package, stretch="auto" if pixels.dtype == "uint8" else "percentile:2,98")


def test_what_bands_say_of_themselves_stays(tmp_path):
    colors = [color for color in ColorInterp if color is not ColorInterp.palette]
    parts = cut(tmp_path, noise(count=len(colors)).astype(np.uint16), [30], [40])
    for path in parts:
        with rasterio.open(path, "r+") as part:
            part.colorinterp = colors
            part.update_tags(1, ns="IMAGERY", CENTRAL_WAVELENGTH_UM="0.865")
    mosaic = mosaic_of(text(parts))
    assert mosaic is not None
    with rasterio.open(mosaic.address) as joined:
        assert list(joined.colorinterp) == colors
        assert joined.tags(1, ns="IMAGERY") == {"CENTRAL_WAVELENGTH_UM": "0.865"}
        assert joined.tags(2, ns="IMAGERY") == {}


def test_parts_of_raw_counts_make_a_scene_of_raw_counts(tmp_path):
    mosaic = mosaic_of(text(cut(tmp_path, noise().astype(np.uint16), [30], [40], dtype="uint16", nbits=10)))
    assert mosaic is not None
    assert Scene.open(mosaic).raw


def test_a_mine_on_the_border_of_four_parts_is_found_once(tmp_path, package):
    pixels = np.full((3, 192, 192), 20, np.uint8)
    pixels[:, 64:128, 64:128] = 230
    mosaic = mosaic_of(text(cut(tmp_path, pixels, [96], [96])))
    assert mosaic is not None
    found = detect(run(mosaic, package)).detections
    assert len(found) == 1
    assert found[0].area_ha == pytest.approx((64 * GSD) ** 2 / 1e4, rel=0.01)


@pytest.mark.parametrize("how", ["plain", "nodata", "mask", "alpha"])
def test_where_there_is_no_part_there_is_no_data(how, tmp_path):
    pixels = noise(count=4 if how == "alpha" else 3)
    if how == "alpha":
        pixels[3] = 255
    parts = cut(
        tmp_path, pixels, [30], [40], **{**HOW[how], **({"mask": np.ones((70, 90), bool)} if how == "mask" else {})}
    )
    mosaic = mosaic_of(text(parts[:-1]))
    assert mosaic is not None
    there = np.ones((70, 90), bool)
    there[30:, 40:] = False
    np.testing.assert_array_equal(seen(Scene.open(mosaic)), there)


@settings(max_examples=25)
@given(st.data())
def test_however_it_is_cut_it_is_one_again(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("cut")
    pixels = noise(40, 50)
    down, across = (sorted(data.draw(st.sets(st.integers(1, size - 1), max_size=4))) for size in (40, 50))
    parts = data.draw(st.permutations(text(cut(folder, pixels, down, across))))
    assert len(groups_of(parts)) == 1
    if len(parts) > 1:
        mosaic = mosaic_of(parts)
        assert mosaic is not None
        with rasterio.open(mosaic.address) as source:
            np.testing.assert_array_equal(source.read(), pixels)
            assert source.transform.almost_equals(Affine(GSD, 0, CORNER[0], 0, -GSD, CORNER[1]))


# What is no part


def test_rasters_that_lie_over_each_other_stay_alone(tmp_path):
    parts = text(cut(tmp_path, noise(), [30], []))
    over = write_scene(
        tmp_path / "over.tif", pixels=noise(10, 10), transform=Affine(GSD, 0, CORNER[0], 0, -GSD, CORNER[1] - 25 * GSD)
    )
    assert groups_of([*parts, str(over)]) == [[path] for path in (*parts, str(over))]


def test_corners_alone_do_not_join(tmp_path):
    parts = cut(tmp_path, noise(), [30], [40])
    assert mosaic_of(text([parts[0], parts[3]])) is None


@pytest.mark.parametrize(
    "other",
    [
        {"dtype": "uint16"},
        {"nodata": 3},
        {"crs": "EPSG:32720"},
        {"descriptions": ("a", "b", "c")},
        {"mask": np.ones((40, 90), bool)},
        {"gsd": 3.8},
        {"shift": 0.3},
        {"count": 4},
    ],
    ids=str,
)
def test_what_differs_is_no_part(other, tmp_path):
    how = dict(other)
    gsd, shift = how.pop("gsd", GSD), how.pop("shift", 0)
    first = cut(tmp_path, noise(30, 90), [], [])
    place = Affine(gsd, 0, CORNER[0] + shift * GSD, 0, -gsd, CORNER[1] - 30 * GSD)
    second = write_scene(tmp_path / "second.tif", pixels=noise(40, 90, how.pop("count", 3)), transform=place, **how)
    assert mosaic_of(text([*first, second])) is None


@pytest.mark.parametrize(
    ("step", "dtype", "scale"),
    [(1000, "uint16", None), (1000, "float32", None), (0.1, "float32", None), (5000, "uint16", 2e-5)],
)
@pytest.mark.parametrize("fill", [0, None])
def test_neighbours_of_which_one_has_esas_offset_are_no_parts(step, dtype, scale, fill, tmp_path):
    """Of four, one has it not, as a file of 2021 beside those of 2022; fill has no offset."""
    ground = np.random.default_rng(0).gamma(3.0, 0.25, (3, 70, 90)) * step
    ground[:, :, 30:50] += np.arange(0, 20) * step / 20  # water here and sand there
    parts = cut(tmp_path, ground.astype(dtype), [30], [40], dtype=dtype, nodata=fill)
    assert len(groups_of(text(parts))) == 1
    for path in parts:
        with rasterio.open(path, "r+") as part:
            pixels = part.read() + (0 if path == parts[0] else np.array(step, dtype))
            if fill is not None:
                pixels[:, :3, :9] = fill
            part.write(pixels)
            if scale:
                part.scales = (scale,) * 3
    assert groups_of(text(parts)) == [text(parts[:1]), text(parts[1:])]
    assert mosaic_of(text(parts)) is None


def test_two_rasters_in_one_folder_make_two_groups_in_their_order(tmp_path):
    (tmp_path / "notes.tif").write_text("no raster")
    left = text(cut(tmp_path / "a", noise(), [30], []))
    far = text(cut(tmp_path / "b", noise(), [20], [20], crs="EPSG:32722"))
    given_ = [far[0], str(tmp_path / "notes.tif"), *left, *far[1:]]
    assert groups_of(given_) == [far, [str(tmp_path / "notes.tif")], left]
    assert mosaic_of([*left, str(tmp_path / "notes.tif")]) is None


# Each once


def vrt_of(path: Path, parts: list[Path]) -> Path:
    """Write a VRT as gdalbuildvrt does."""
    mosaic = mosaic_of(text(parts))
    assert mosaic is not None
    path.write_text(mosaic.address)
    return path


def test_a_mosaic_stands_for_the_tiles_that_it_is_made_of(tmp_path):
    parts = cut(tmp_path, noise(), [30], [40])
    mosaic = vrt_of(tmp_path / "mosaic.vrt", parts)
    outer = tmp_path / "outer.vrt"
    with rasterio.open(mosaic) as source, WarpedVRT(source) as warped:
        copy(warped, outer, driver="VRT")
    assert made_of(str(mosaic)) == set(text(parts))
    assert made_of(str(outer)) == {*text(parts), str(mosaic)}
    assert made_of(str(parts[0])) == frozenset()
    assert each_once(text([*parts, mosaic])) == [str(mosaic)]
    assert each_once(text([mosaic, outer, *parts])) == [str(outer)]


def test_a_cut_out_of_tiles_goes_and_they_stay(tmp_path):
    parts = cut(tmp_path, noise(), [30], [40])
    small = tmp_path / "small.vrt"
    sources = "".join(
        f'<SimpleSource><SourceFilename relativeToVRT="1">{parts[n].name}</SourceFilename><SourceBand>1</SourceBand>'
        f'<DstRect xOff="{x}" yOff="0" xSize="20" ySize="20"/></SimpleSource>'
        for n, x in ((0, 0), (1, 20))
    )
    place = (
        f"<SRS>EPSG:32721</SRS><GeoTransform>{CORNER[0] + 20 * GSD}, {GSD}, 0, {CORNER[1]}, 0, -{GSD}</GeoTransform>"
    )
    band = f'<VRTRasterBand dataType="Byte" band="1">{sources}</VRTRasterBand>'
    small.write_text(f'<VRTDataset rasterXSize="40" rasterYSize="20">{place}{band}</VRTDataset>')
    assert made_of(str(small)) == set(text(parts[:2]))
    assert each_once(text([small, *parts])) == text(parts)


def test_what_lies_beside_tiles_is_none(tmp_path):
    """A world file is read with its tile; the mosaic is a cut out of the tiles all the same."""
    parts = cut(tmp_path, noise(), [30], [40])
    mosaic = vrt_of(tmp_path / "mosaic.vrt", parts[:2])
    for part in parts:
        part.with_suffix(".IMD").write_text("version = 1;")
    assert made_of(str(mosaic)) == set(text(parts[:2]))
    assert set(text([part.with_suffix(".IMD") for part in parts[:2]])) <= set(Scene.open(mosaic).product.files)


def test_other_names_of_a_file_are_left_out(tmp_path):
    scene = write_scene(tmp_path / "b.tif")
    (tmp_path / "a.tif").symlink_to(scene)
    (tmp_path / "c.tif").hardlink_to(scene)
    other = write_scene(tmp_path / "d.tif")
    assert each_once(text([tmp_path / "a.tif", scene, tmp_path / "c.tif", other])) == text([scene, other])
    assert each_once(text([tmp_path / "a.tif", other])) == text([tmp_path / "a.tif", other])


def test_a_vrt_of_other_files_is_a_scene_of_its_own(tmp_path):
    parts = cut(tmp_path / "tiles", noise(), [30], [40])
    mosaic = vrt_of(tmp_path / "mosaic.vrt", parts)
    other = write_scene(tmp_path / "other.tif", pixels=noise())
    assert each_once(text([mosaic, other])) == text([mosaic, other])
    (tmp_path / "broken.vrt").write_text("<VRTDataset")
    assert made_of(str(tmp_path / "broken.vrt")) == frozenset()
    assert each_once([str(tmp_path / "broken.vrt"), "http://127.0.0.1:9/a.vrt"])[0] == str(tmp_path / "broken.vrt")


def test_a_vrt_that_is_made_of_itself_ends(tmp_path):
    loop = tmp_path / "loop.vrt"
    loop.write_text(
        '<VRTDataset rasterXSize="8" rasterYSize="8"><VRTRasterBand dataType="Byte" band="1"><SimpleSource>'
        '<SourceFilename relativeToVRT="1">loop.vrt</SourceFilename><SourceBand>1</SourceBand></SimpleSource>'
        "</VRTRasterBand></VRTDataset>"
    )
    assert made_of(str(loop)) == frozenset()


def test_the_mask_of_a_product_is_no_scene_of_its_own(tmp_path):
    item = "20230601_133012_45_2463_3B"
    scene = write_scene(tmp_path / f"{item}_AnalyticMS_SR.tif", (4, 20, 20), dtype="uint16")
    mask = write_scene(tmp_path / f"{item}_udm2.tif", pixels=np.zeros((8, 20, 20), np.uint8))
    assert each_once(text([mask, scene])) == [str(scene)]


def test_blocks_of_the_scan_are_as_they_were(tmp_path, package):
    pixels = blocks()
    original = write_scene(tmp_path / "whole.tif", pixels=pixels)
    mosaic = mosaic_of(text(cut(tmp_path / "tiles", pixels, [50, 100], [77, 99, 180])))
    assert mosaic is not None
    assert_alike(mosaic, original, package, stride=16)
