"""Planet's products: what they are, their bands, masks and dates, and the scores of the same pixels in a plain file."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from alike import assert_alike, seen
from conftest import write_scene
from loopback import served
from scans import CHIP

from geoscan.errors import SceneError
from geoscan.model.package import Package
from geoscan.products import Product, planet, recognise
from geoscan.scene import Scene

ITEM = "20230601_133012_45_2463"
RGB = {3: (1, 2, 3), 4: (3, 2, 1), 8: (6, 4, 2)}
EIGHT = ("coastal_blue", "blue", "green_i", "green", "yellow", "red", "rededge", "nir")
QUAD_M = 40_075_016.685578488 / 256 / 2**15
SR_TAG = {"TIFFTAG_IMAGEDESCRIPTION": json.dumps({"atmospheric_correction": {"aot_method": "fixed"}})}


@pytest.fixture
def package(make_package) -> Package:
    return make_package(chip=CHIP, gsd=3)


def pixels(count: int = 4, rows: int = 70, cols: int = 90, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 3000, (count, rows, cols)).astype(np.uint16)


def write(path: Path, values: np.ndarray, tags: dict[str, str] | None = None, gsd: float = 3, **how: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_scene(path, pixels=values, dtype=str(values.dtype), gsd=gsd, **how)
    if tags:
        with rasterio.open(path, "r+") as file:
            file.update_tags(**tags)
    return path


def udm2(rows: int = 70, cols: int = 90) -> np.ndarray:
    """Cloud at the top, shadow and haze below, blackfill and lost data on the left, the old cloud bit on the right."""
    mask = np.zeros((8, rows, cols), np.uint8)
    mask[0] = 1
    mask[5, :20], mask[2, 20:30], mask[3, 30:40], mask[4, 40:50] = 1, 1, 1, 1
    mask[7, :, :10], mask[7, :, 10:15], mask[7, :, 80:] = 1, 8, 2
    return mask


def usable(rows: int = 70, cols: int = 90) -> np.ndarray:
    there = np.ones((rows, cols), bool)
    there[:20] = there[:, :15] = False
    return there


def told(path: Path) -> Product:
    product = recognise(str(path))
    assert product is not None
    return product


# What a file is


@pytest.mark.parametrize(
    ("name", "count", "kind"),
    [
        (f"{ITEM}_3B_AnalyticMS", 4, planet.ANALYTIC),
        (f"{ITEM}_3B_AnalyticMS_clip", 4, planet.ANALYTIC),
        (f"{ITEM}_3B_AnalyticMS_8b_clip_file_format", 8, planet.ANALYTIC),
        (f"{ITEM}_3B_Analytic", 3, planet.ANALYTIC),
        (f"{ITEM}_3B_AnalyticMS_SR", 4, planet.REFLECTANCE),
        (f"{ITEM}_3B_AnalyticMS_SR_clip", 4, planet.REFLECTANCE),
        (f"{ITEM}_3B_AnalyticMS_SR_8b_harmonized_clip", 8, planet.REFLECTANCE),
        (f"{ITEM}_3B_SR_8b_clip", 8, planet.REFLECTANCE),
        (f"{ITEM}_3B_AnalyticMS_toar_clip", 4, planet.TOP_OF_ATMOSPHERE),
        ("20170623_180038_0f34_3B_AnalyticMS_SR", 4, planet.REFLECTANCE),
        ("3459418_1856116_2020-07-17_1057_BGRN_Analytic", 4, planet.ANALYTIC),
        ("3459418_1856116_2020-07-17_1057_BGRN_SR", 4, planet.REFLECTANCE),
    ],
)
def test_a_name_as_planet_gives_it_tells_kind_and_bands(name, count, kind, tmp_path):
    product = told(write(tmp_path / f"{name}.tif", pixels(count)))
    assert (product.kind, product.name, product.bands, product.mask) == (kind, name, RGB[count], "")
    assert (product.scaling is not None) == (kind != planet.ANALYTIC)
    if product.scaling:
        assert product.scaling.scale == (1e-4,) * 3
        assert product.scaling.offset == (0, 0, 0)
        assert product.scaling.source == "metadata"


@pytest.mark.parametrize("name", [f"{ITEM}_3B_AnalyticMS_clip", f"{ITEM}_3B_AnalyticMS_SR_clip", "renamed"])
@pytest.mark.parametrize("count", [4, 8])
def test_a_signed_copy_is_read_like_the_original(name, count, tmp_path, package):
    values = pixels(count)
    values[:, :20] = 0
    how = {"descriptions": EIGHT} if count == 8 else {}
    path = write(tmp_path / "signed" / f"{name}.tif", values.astype(np.int16), **how)
    scene = assert_alike(path, write(tmp_path / f"{name}.tif", values, **how), package)
    original = Scene.open(tmp_path / f"{name}.tif")
    assert (scene.bands, scene.planet, scene.product.kind) == (original.bands, original.planet, original.product.kind)
    assert scene.bands == RGB[count]


def test_a_copy_as_floats_is_asked_about(tmp_path):
    with pytest.raises(SceneError, match="4 bands and does not say which are red, green, blue"):
        Scene.open(write(tmp_path / f"{ITEM}_3B_AnalyticMS_SR.tif", (pixels() / 1e4).astype(np.float32)))


@pytest.mark.parametrize("count", [3, 4])
def test_visual_is_red_green_blue_and_perhaps_alpha(count, tmp_path, package):
    values = np.random.default_rng(0).integers(1, 256, (count, 70, 90)).astype(np.uint8)
    alpha = np.zeros((70, 90), bool)
    alpha[5:, 30:] = True
    if count == 4:
        values[3] = 255 * alpha
    path = write(tmp_path / f"{ITEM}_3B_Visual.tif", values)
    plain = write(tmp_path / "plain.tif", values[:3], mask=alpha if count == 4 else None)
    scene = assert_alike(path, plain, package)
    product = scene.product
    assert (product.kind, product.bands, product.scaling) == (planet.VISUAL, (1, 2, 3), None)
    assert product.mask == ("alpha" if count == 4 else "")


def test_a_tag_inside_says_surface_reflectance_whatever_the_name(tmp_path):
    for name in ("renamed.tif", f"{ITEM}_3B_AnalyticMS.tif"):
        product = told(write(tmp_path / name, pixels(), SR_TAG | {"TIFFTAG_DATETIME": "2021:09:13 21:11:31"}))
        assert (product.kind, product.bands) == (planet.REFLECTANCE, (3, 2, 1))
    assert told(tmp_path / "renamed.tif").date == "2021-09-13T21:11:31Z"


def test_a_real_renamed_file_of_planets_is_recognised(shared_data):
    product = told(shared_data("scenes/rasterio__all-nodata.tif"))
    assert (product.kind, product.bands, product.date) == (planet.REFLECTANCE, (3, 2, 1), "2022-01-17T10:43:43Z")


@pytest.mark.parametrize("asset", ["ortho_analytic_8b_sr", "ortho_analytic_8b"])
def test_the_list_of_an_order_tells_the_kind_of_a_renamed_file(asset, tmp_path):
    path = write(tmp_path / "order" / "files" / "renamed.tif", pixels(8))
    listed = {"path": "files/renamed.tif", "annotations": {"planet/asset_type": asset}}
    other = {"path": "files/a.json", "annotations": {}}
    (tmp_path / "order" / "manifest.json").write_text(json.dumps({"files": [{}, {"path": "x"}, other, listed]}))
    assert told(path).kind == (planet.REFLECTANCE if asset.endswith("_sr") else planet.ANALYTIC)


@pytest.mark.parametrize("content", ["", "[", "[1]", '{"files": 3}', '{"files": [[1]]}', '{"a":' * 9000, "\x00\xff"])
def test_a_list_that_is_none_is_no_obstacle(content, tmp_path):
    path = write(tmp_path / f"{ITEM}_3B_AnalyticMS_SR.tif", pixels())
    (tmp_path / "manifest.json").write_text(content)
    assert told(path).kind == planet.REFLECTANCE


def test_four_bands_without_any_evidence_are_left_to_the_pixels(tmp_path):
    for descriptions in (None, ("blue", "green", "red", "nir")):
        assert recognise(str(write(tmp_path / "renamed.tif", pixels(), descriptions=descriptions))) is None
    assert recognise(str(write(tmp_path / "half.tif", pixels(2)))) is None


def test_eight_named_bands_are_planets_though_their_kind_is_not_known(tmp_path):
    product = told(write(tmp_path / "renamed.tif", pixels(8), descriptions=EIGHT))
    assert (product.kind, product.bands, product.scaling) == ("", (6, 4, 2), None)


def test_what_planet_does_not_deliver_is_a_plain_raster(tmp_path):
    names = ("3B_Visual", "3B_AnalyticMS_SR", "3B_AnalyticMS_SR")
    for name, values in zip(names, (pixels(4), pixels(6), pixels(4).astype(np.float32)), strict=True):
        assert recognise(str(write(tmp_path / f"{ITEM}_{name}.tif", values))) is None


def test_a_pipe_ends_at_once(tmp_path):
    os.mkfifo(tmp_path / f"{ITEM}_3B_AnalyticMS.tif")
    assert recognise(str(tmp_path / f"{ITEM}_3B_AnalyticMS.tif")) is None


def test_a_mask_is_no_scene(tmp_path):
    path = write(tmp_path / f"{ITEM}_3B_udm2_clip.tif", udm2())
    with pytest.raises(SceneError, match=r"3B_udm2_clip\.tif is a usable data mask, not a scene; give the scene"):
        recognise(str(path))
    assert recognise(str(write(tmp_path / "my_udm_area.tif", pixels(3)))) is None


# Composites


def test_a_composite_has_its_sidecars(tmp_path, package):
    folder = tmp_path / "files"
    path = write(folder / "composite.tif", pixels(8))
    mask = write(folder / "composite_udm2.tif", udm2())
    product = told(path)
    assert (product.kind, product.bands, product.mask) == ("", (6, 4, 2), "udm2")
    xml = folder / f"{ITEM}_3B_AnalyticMS_8b_metadata_clip.xml"
    xml.write_text("<eop:acquisitionDate>2023-06-01T13:30:12+00:00</eop:acquisitionDate>")
    listed = {"path": "files/composite.tif", "annotations": {"planet/bundle_type": "analytic_8b_sr_udm2"}}
    (tmp_path / "manifest.json").write_text(json.dumps({"files": [listed]}))
    product = told(path)
    assert (product.kind, product.date) == (planet.REFLECTANCE, "2023-06-01T13:30:12Z")
    assert product.files == (str(path), str(mask), str(xml))
    plain = write(tmp_path / "plain.tif", pixels(8)[[5, 3, 1]], mask=usable())
    assert_alike(path, plain, package, stretch="planet-analytic")


def test_a_composite_by_strip_has_its_day_in_its_name(tmp_path):
    path = write(tmp_path / "2023-07-05_strip_6625124_composite_file_format.tif", pixels(4))
    write(tmp_path / "2023-07-05_strip_6625124_composite_udm2_file_format.tif", udm2())
    assert (told(path).date, told(path).mask) == ("2023-07-05", "udm2")


# Masks


@pytest.mark.parametrize("order", [(4, "3B_AnalyticMS_SR"), (8, "3B_AnalyticMS_SR_8b_harmonized")])
@pytest.mark.parametrize("tail", ["", "_clip", "_clip_file_format"])
def test_udm2_hides_cloud_and_what_is_not_usable_and_nothing_else(order, tail, tmp_path, package):
    count, asset = order
    values = pixels(count)
    values[:, 60:, 60:] = 0
    path = write(tmp_path / f"{ITEM}_{asset}{tail}.tif", values)
    mask = write(tmp_path / f"{ITEM}_3B_udm2{tail}.tif", udm2())
    there = usable()
    there[60:, 60:] = False
    plain = write(tmp_path / "plain.tif", values[[n - 1 for n in RGB[count]]], mask=there)
    scene = assert_alike(path, plain, package, stretch="planet-analytic")
    np.testing.assert_array_equal(seen(scene), there)
    assert scene.product.mask == "udm2"
    assert scene.product.files == (str(path), str(mask))
    coarse = scene.at_gsd(6)
    np.testing.assert_array_equal(seen(coarse), seen(Scene.open(plain).at_gsd(6)))


def test_an_old_mask_hides_cloud_too(tmp_path):
    mask = np.zeros((1, 70, 90), np.uint8)
    mask[0, :10], mask[0, 10:20], mask[0, 20:30] = 1, 2, 64
    path = write(tmp_path / f"{ITEM}_3B_AnalyticMS.tif", pixels())
    write(tmp_path / f"{ITEM}_3B_AnalyticMS_DN_udm.tif", mask)
    scene = Scene.open(path)
    assert scene.product.mask == "udm"
    np.testing.assert_array_equal(seen(scene), mask[0] == 0)


@pytest.mark.parametrize("nodata", [None, 0])
def test_zero_in_all_bands_is_fill_whether_or_not_the_file_says_so(nodata, tmp_path):
    values = pixels()
    values[:, :7] = 0
    values[2, 50:] = 0  # dark in one band
    scene = Scene.open(write(tmp_path / f"{ITEM}_3B_AnalyticMS_SR.tif", values, nodata=nodata))
    for one in (scene, scene.at_gsd(3.9)):
        assert seen(one)[1:6].sum() == 0
        assert seen(one)[50:].all()


def test_a_mask_of_other_ground_is_not_used(tmp_path, caplog):
    path = write(tmp_path / f"{ITEM}_3B_AnalyticMS_SR.tif", pixels())
    write(tmp_path / f"{ITEM}_3B_udm2.tif", udm2(90, 90))
    assert Scene.open(path).product.mask == ""
    assert caplog.messages == [f"{ITEM}_3B_AnalyticMS_SR: {ITEM}_3B_udm2.tif does not fit it: not used as its mask"]


def test_over_a_network_the_mask_is_found_beside_the_scene_too(tmp_path):
    write(tmp_path / f"{ITEM}_3B_AnalyticMS_SR_clip.tif", pixels())
    write(tmp_path / f"{ITEM}_3B_udm2_clip.tif", udm2())
    with served(tmp_path) as url:
        scene = Scene.open(f"{url}/{ITEM}_3B_AnalyticMS_SR_clip.tif")
        assert (scene.product.kind, scene.product.mask) == (planet.REFLECTANCE, "udm2")
        np.testing.assert_array_equal(seen(scene), usable())


# Dates


@pytest.mark.parametrize(
    ("name", "date"),
    [
        (f"{ITEM}_3B_AnalyticMS_SR", "2023-06-01T13:30:12Z"),
        ("20170623_180038_0f34_3B_AnalyticMS_SR", "2017-06-23T18:00:38Z"),
        ("3459418_1856116_2020-07-17_1057_BGRN_SR", "2020-07-17"),
        ("20239901_133012_45_2463_3B_AnalyticMS_SR", ""),
    ],
)
def test_the_date_is_in_the_name(name, date, tmp_path):
    assert told(write(tmp_path / f"{name}.tif", pixels())).date == date


@pytest.mark.parametrize(
    ("suffix", "text", "date"),
    [
        (".json", '{"properties": {"acquired": "2023-06-01T13:30:12.4Z"}}', "2023-06-01T13:30:12Z"),
        (".xml", "<eop:acquisitionDate>2023-06-01T13:30:12+00:00</eop:acquisitionDate>", "2023-06-01T13:30:12Z"),
        (".xml", "<ps:acquisitionDateTime> 2023-06-01 </ps:acquisitionDateTime>", "2023-06-01"),
        (".json", '{"acquired": 5}', ""),
    ],
)
def test_else_it_is_in_the_metadata_beside(suffix, text, date, tmp_path):
    path = write(tmp_path / "renamed.tif", pixels(), SR_TAG)
    beside = tmp_path / f"renamed_metadata{suffix}"
    beside.write_text(text)
    assert told(path).date == date
    assert str(beside) in told(path).files


# Basemaps


def quad(path: Path, values: np.ndarray, x: float = -8_766_409.9, y: float = -547_900.0, **how: Any) -> Path:
    place = Affine(QUAD_M, 0, x, 0, -QUAD_M, y)
    return write(path, values, crs="EPSG:3857", transform=place, **how)


def opaque(rows: int = 70, cols: int = 90) -> np.ndarray:
    alpha = np.full((1, rows, cols), 255)
    alpha[0, :9] = 0
    return alpha


@pytest.mark.parametrize("name", ["L15-0669E-0989N.tif", "669-989_quad.tif", "669-989_quad_file_format.tif"])
def test_an_analytic_quad_is_reflectance_with_alpha(name, tmp_path, package):
    folder = tmp_path / "planet_medres_normalized_analytic_2023-06_mosaic"
    path = quad(folder / name, np.concatenate([pixels(), opaque() * 257]).astype(np.uint16))
    plain = quad(tmp_path / "plain.tif", pixels()[[2, 1, 0]], mask=opaque()[0] > 0)
    scene = assert_alike(path, plain, package, stretch="planet-analytic")
    product = scene.product
    assert (product.kind, product.bands, product.mask) == (planet.QUAD, (3, 2, 1), "alpha")
    assert product.scaling is not None
    assert product.scaling.scale == (1e-4,) * 3
    assert product.date == "2023-06"
    assert product.name == f"planet_medres_normalized_analytic_2023-06_mosaic_{path.stem}"


def test_a_visual_quad_is_as_it_looks(tmp_path, package):
    values = np.random.default_rng(0).integers(1, 256, (3, 70, 90)).astype(np.uint8)
    rgba = np.concatenate([values, opaque()]).astype(np.uint8)
    path = quad(tmp_path / "planet_medres_visual_2020-06_2020-11_mosaic" / "669-989_quad.tif", rgba)
    scene = assert_alike(path, quad(tmp_path / "plain.tif", values, mask=opaque()[0] > 0), package)
    product = scene.product
    assert (product.kind, product.bands, product.mask) == (planet.QUAD, (1, 2, 3), "alpha")
    assert (product.scaling, product.date) == (None, "2020-06")


def test_a_quad_has_the_mask_beside_it(tmp_path):
    path = quad(tmp_path / "global_quarterly_2023q3_mosaic_669-989_quad.tif", pixels())
    quad(tmp_path / "global_quarterly_2023q3_mosaic_669-989_ortho_udm2.tif", udm2())
    product = told(path)
    assert (product.mask, product.date, product.name) == ("udm2", "2023-07", path.stem)
    np.testing.assert_array_equal(seen(Scene.open(path)), usable())


def test_a_quad_that_lies_on_no_basemaps_grid_is_a_plain_raster(tmp_path):
    assert recognise(str(write(tmp_path / "669-989_quad.tif", pixels()))) is None
    place = Affine(4.5, 0, 0, 0, -4.5, 0)
    assert recognise(str(write(tmp_path / "1-2_quad.tif", pixels(), crs="EPSG:3857", transform=place))) is None


@pytest.mark.parametrize(("degrees", "metres"), [(0, 4.77), (15, 4.61), (30, 4.14)])
def test_the_ground_size_of_a_quad_is_that_of_its_latitude(degrees, metres, tmp_path):
    y = 6_378_137 * np.arctanh(np.sin(np.radians(degrees)))
    scene = Scene.open(quad(tmp_path / "669-989_quad.tif", pixels(), y=y))
    assert scene.gsd == pytest.approx((metres, metres), rel=0.01)
    assert scene.at_gsd(3.7).resampling == ("" if metres < 1.25 * 3.7 else "bilinear")
