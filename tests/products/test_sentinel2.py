"""Sentinel-2 products: the same pixels as in a plain file give the same scores, and what is damaged is one line."""

import multiprocessing
import pickle
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from click.testing import CliRunner
from conftest import write_scene
from make_safe import CORNER, CRS, SIDE, Safe, write_safe, zip_safe
from scans import mine_scores, run

from geoscan.cli import main
from geoscan.errors import ReadError, SceneError
from geoscan.finding import find_scenes
from geoscan.grid import Window
from geoscan.labels import LABELS, MINE
from geoscan.model.package import Package
from geoscan.products import recognise
from geoscan.radiometry import resolve
from geoscan.scanning.options import ScanOptions
from geoscan.scanning.scenes import plan_scenes
from geoscan.scene import Scene

CHIP = 32
PLACE = Affine(10, 0, CORNER[0], 0, -10, CORNER[1])
SHIFTED = {str(band): "-1000" for band in range(13)}
OLD = Safe(baseline="02.04", compact=False, polygons=())
NEW = Safe(offsets=SHIFTED)
SURFACE = Safe("L2A", offsets=SHIFTED)

PRODUCTS = {
    "L1C, old naming": OLD,
    "L1C, compact": replace(OLD, baseline="02.09", compact=True),
    "L1C since 04.00": NEW,
    "L2A, old naming, scaled by 1000": Safe("L2A", "02.01", compact=False, unit="1000"),
    "L2A of 2017": Safe("L2A", "02.05"),
    "L2A before 04.00": Safe("L2A", "02.14"),
    "L2A since 04.00": SURFACE,
}


TILED = (
    '<GDAL_WMS><Service name="TiledWMS"><ServerUrl>{url}/wms?</ServerUrl><TiledGroupName>a</TiledGroupName></Service>'
    "</GDAL_WMS>"
)


class Weighted:
    """A mine is what every pixel and band of a chip say with a weight of its own: nothing may be swapped or shifted."""

    weights = np.random.default_rng(1).normal(size=(CHIP, CHIP, 3)).astype(np.float32)

    def __call__(self, chips: np.ndarray) -> np.ndarray:
        scores = np.zeros((len(chips), len(LABELS)), np.float32)
        sums = (chips * self.weights).mean(axis=(1, 2, 3)) / 10
        scores[:, LABELS.index(MINE)] = 1 / (1 + np.exp(-sums))
        return scores


@pytest.fixture
def package(make_package) -> Package:
    return make_package(chip=CHIP, gsd=10)


def ground(seed: int = 0, cols: int = SIDE) -> np.ndarray:
    """Reflectance x 10,000 of red, green, blue, and some that is brighter than the look shows."""
    return np.random.default_rng(seed).integers(1, 350, (3, SIDE, cols)).astype(np.uint16) * 10


def stored(reflectance: np.ndarray, safe: Safe) -> np.ndarray:
    """Bring reflectance x 10,000 to what the product stores."""
    offset = int((safe.offsets or {}).get("3", "0"))
    return (reflectance.astype(int) // (10_000 // int(safe.unit)) - offset).astype(np.uint16)


def whole(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    return scene.read(Window(0, 0, scene.rows, scene.cols))


def plain(path: Path, reflectance: np.ndarray, **how: Any) -> Path:
    return write_scene(path, pixels=reflectance, dtype="uint16", crs=CRS, transform=PLACE, **how)


def patches(values: tuple[int, ...], size: int, step: int) -> np.ndarray:
    """(size, size): patches of `step` pixels, each of one of `values`."""
    side = -(-size // step)
    drawn = np.random.default_rng(size).choice(values, (side, side)).astype(np.uint8)
    return drawn.repeat(step, 0).repeat(step, 1)[:size, :size]


@pytest.mark.parametrize("packed", [False, True], ids=["directory", "zip"])
@pytest.mark.parametrize("kind", PRODUCTS)
def test_a_product_scores_as_the_same_pixels_in_a_plain_file(kind, packed, package, tmp_path):
    safe = PRODUCTS[kind]
    reflectance = ground()
    values = stored(reflectance, safe)
    values[:, :CHIP] = reflectance[:, :CHIP] = 0  # a row of chips without data
    path = root = write_safe(tmp_path, [values], safe)
    if packed:
        path = zip_safe(root, tmp_path / f"{root.stem}.zip")
        shutil.rmtree(root)
    raster = plain(tmp_path / "plain.tif", reflectance, nodata=0)
    expected = run(raster, package, detector=Weighted, stretch="sentinel2-l1c")
    scores = run(path, package, detector=Weighted, stretch="sentinel2-l1c")
    np.testing.assert_allclose(scores.scores, expected.scores, atol=1e-6)
    assert np.ptp(mine_scores(scores)[1:]) > 0.1
    np.testing.assert_array_equal(scores.observed, expected.observed)
    assert scores.observed_fraction == pytest.approx(1 - CHIP / SIDE)
    scene = scores.plan.scene
    assert scores.plan.name == scene.name == safe.name.removesuffix(".SAFE")
    assert scene.product.kind == f"Sentinel-2 {safe.level}, baseline {safe.baseline}"
    assert scene.product.date == ("2023-08-23T14:01:01.024Z" if safe.compact else "2016-09-05T14:07:12.026Z")
    assert (scene.crs.to_epsg(), scene.transform, scene.dtype) == (32721, PLACE, "uint16")
    assert scene.product.files == (
        (str(path),) if packed else tuple(sorted(str(p) for p in root.rglob("*.*") if p.is_file()))
    )


def test_each_band_has_the_offset_of_its_own_id(tmp_path):
    offsets = SHIFTED | {"1": "-900", "2": "-800", "3": "-700.5"}
    scene = Scene.open(write_safe(tmp_path, [ground()], replace(NEW, offsets=offsets, unit="1000")))
    assert scene.product.scaling is not None
    np.testing.assert_allclose(scene.product.scaling.scale, 1e-3)
    np.testing.assert_allclose(scene.product.scaling.offset, (-0.7005, -0.8, -0.9))
    line = resolve("sentinel2-l1c", scene, scene.product.scaling)
    assert (line.low, line.high) == ((700.5, 800, 900), (1000.5, 1100, 1200))


# Masks


def masked(tmp_path: Path, level: str) -> tuple[Path, np.ndarray, str]:
    """Write a product with masks; return it, where the ground is seen, (rows, cols), and what its mask is called."""
    pixels = ground() + 1000
    pixels[:, 100:, 150:] = 0
    pixels[1, :20] = 0  # in one band it is no fill, as in any raster
    seen = pixels.max(axis=0) > 0
    if level == "L2A":
        classes = patches(tuple(range(12)), SIDE // 2, 5)
        seen &= ~np.isin(classes.repeat(2, 0).repeat(2, 1), (0, 1, 8, 9))
        safe, told = replace(SURFACE, classes=[classes]), "scene classification, fill value 0"
    elif level == "L1C before 04.00":
        clouds = patches((0, 0, 0, 1, 2), SIDE // 6, 1)
        seen &= (clouds != 1).repeat(6, 0).repeat(6, 1)
        safe, told = replace(OLD, polygons=[clouds]), "cloud mask, fill value 0"
    else:
        quality = np.stack([np.roll(patches((0,) * 9 + (1,), SIDE, 16), 16 * n, n % 2) for n in range(8)])
        clouds = np.stack([np.roll(patches((0, 0, 0, 1), SIDE // 6, 3), n, 0) for n in range(3)])
        seen &= ~quality[2:6].any(axis=0) & (clouds[0] == 0).repeat(6, 0).repeat(6, 1)
        safe = replace(NEW, quality=[quality], clouds=[clouds])
        told = "quality masks, cloud mask, fill value 0"
    assert 0.2 < seen.mean() < 0.8
    return write_safe(tmp_path, [pixels], safe), seen, told


@pytest.mark.parametrize("level", ["L1C", "L1C before 04.00", "L2A"])
def test_masks_are_the_same_in_windows_as_a_whole_and_resampled(level, tmp_path):
    path, seen, told = masked(tmp_path, level)
    scene = Scene.open(path)
    assert scene.product.mask == told
    np.testing.assert_array_equal(whole(scene)[1], seen)
    np.testing.assert_array_equal(scene.read(Window(33, 97, 90, 61))[1], seen[33:123, 97:158])
    same = Scene.open(plain(tmp_path / "plain.tif", whole(scene)[0], mask=seen))
    for gsd in (6, 15):
        native, valid = whole(scene.at_gsd(gsd))
        expected, expected_valid = whole(same.at_gsd(gsd))
        np.testing.assert_array_equal(valid, expected_valid)
        np.testing.assert_array_equal(native[:, valid], expected[:, valid])


def opened_mask(scene: Scene) -> np.ndarray:
    return whole(scene)[1]


def test_a_mask_of_polygons_travels_to_another_process(tmp_path):
    path, seen, _ = masked(tmp_path, "L1C before 04.00")
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        np.testing.assert_array_equal(pool.apply(opened_mask, (Scene.open(path),)), seen)


def test_granules_have_the_clouds_of_their_own_polygons(tmp_path):
    corners = [CORNER, (CORNER[0] + 10 * SIDE, CORNER[1])]
    clouds = [patches((0, 1), SIDE // 6, size) for size in (2, 5)]
    safe = replace(OLD, crs=(CRS, CRS), corners=corners, polygons=clouds)
    scene = Scene.open(write_safe(tmp_path, [ground(0) + 1, ground(1) + 1], safe))
    expected = np.concatenate(clouds, axis=1).repeat(6, 0).repeat(6, 1) == 0
    np.testing.assert_array_equal(whole(scene)[1], expected)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("<eop:Mask ", "<eop:Mask", "no XML that can be read"),
        ('"2">', '"2">x ', "'x' as a corner in MSK_CLOUDS_B00.gml, where a number belongs"),
        ('srsDimension="2">', 'srsDimension="2">1 2</gml:posList><gml:posList>', "has a polygon that is none"),
    ],
)
def test_polygons_that_are_damaged_are_one_line(old, new, says, tmp_path):
    cloud = np.ones((SIDE // 6, SIDE // 6), np.uint8)
    root = write_safe(tmp_path, [ground()], replace(OLD, compact=True, polygons=[cloud]))
    (gml,) = root.rglob("MSK_CLOUDS_B00.gml")
    gml.write_text(gml.read_text().replace(old, new))
    with pytest.raises(SceneError, match=says) as caught:
        Scene.open(root)
    assert "\n" not in str(caught.value)


def test_an_overview_knows_the_same_mask(tmp_path):
    path, seen, _ = masked(tmp_path, "L2A")
    scene = Scene.open(path)
    for shown in (scene, scene.at_gsd(6)):
        valid = shown.overview(SIDE // 2)[1]
        # A decimated pixel stands for four, and GDAL may choose any of them.
        four = seen.reshape(SIDE // 2, 2, SIDE // 2, 2).swapaxes(1, 2).reshape(SIDE // 2, SIDE // 2, 4)
        agree = (valid & four.any(axis=2)) | (~valid & ~four.all(axis=2))
        assert agree.mean() > 0.99, "but for the rim of fill, where the overviews of JPEG 2000 blend"


def test_masked_pixels_are_not_observed(tmp_path, package):
    path, seen, _ = masked(tmp_path, "L1C")
    scores = run(path, package, stretch="sentinel2-l1c")
    assert scores.observed_fraction == pytest.approx(seen.mean())


@pytest.mark.parametrize(
    ("safe", "told"),
    [
        (OLD, "cloud mask, fill value 0"),
        (replace(SURFACE, fill=7), "fill value 7"),
    ],
)
def test_without_masks_only_fill_is_hidden_and_that_is_said(safe, told, tmp_path):
    pixels = ground() + 10
    pixels[:, :50] = safe.fill
    scene = Scene.open(write_safe(tmp_path, [pixels], safe))
    assert scene.product.mask == told
    np.testing.assert_array_equal(whole(scene)[1], np.arange(SIDE)[:, None].repeat(SIDE, 1) >= 50)


# Names


def test_a_product_has_several_names(tmp_path, monkeypatch):
    root = write_safe(tmp_path, [ground()], NEW)
    granule = root / "GRANULE" / NEW.granule(0)
    flat = zip_safe(root, tmp_path / "renamed.zip", inside=False)
    pixels, _ = whole(Scene.open(root))
    for path in (f"{root}/", root / NEW.metadata, f"file://{root}", flat, granule, granule / "MTD_TL.xml"):
        scene = Scene.open(path)
        np.testing.assert_array_equal(whole(scene)[0], pixels)
        assert scene.name in (root.stem, NEW.granule(0))
    monkeypatch.chdir(tmp_path)
    scene = Scene.open(root.name)
    assert scene.path == str(root)
    monkeypatch.chdir("/")
    np.testing.assert_array_equal(whole(pickle.loads(pickle.dumps(scene)))[0], pixels)


def test_a_folder_may_have_any_name(tmp_path):
    odd = tmp_path / "a & b <c> 'd' ?=1.zip"
    odd.mkdir()
    root = write_safe(odd, [ground()], NEW)
    for path in (root, zip_safe(root, odd / "x.ZIP")):
        assert whole(Scene.open(path))[1].all()


def test_a_folder_that_gdal_cannot_name_is_one_line(tmp_path):
    root = write_safe(tmp_path, [ground()], NEW)
    with pytest.raises(SceneError, match="name that is not UTF-8"):
        Scene.open(root.rename(tmp_path / "\udcff.SAFE"))


def test_a_name_that_is_none_is_not_taken_from_metadata(tmp_path):
    root = write_safe(tmp_path, [ground()], NEW)
    swap(f"<PRODUCT_URI>{NEW.name}", "<PRODUCT_URI>../x\n.SAFE")(root)
    assert Scene.open(root.rename(tmp_path / "mine.SAFE")).name == "mine"


def test_the_true_colour_image_is_a_plain_raster(tmp_path):
    root = write_safe(tmp_path, [ground()], NEW)
    scene = Scene.open(root / NEW.image(0, "TCI"))
    assert (scene.product.kind, scene.dtype, scene.bands) == ("", "uint8", (1, 2, 3))


@pytest.mark.parametrize("safe", [NEW, SURFACE, OLD])
def test_a_band_alone_names_its_product(safe, tmp_path):
    root = write_safe(tmp_path, [ground()], safe)
    with pytest.raises(SceneError, match=rf"is band B04 of a Sentinel-2 product, alone; give {root}"):
        Scene.open(root / safe.image(0, "B04"))
    alone = shutil.copy(root / safe.image(0, "B04"), tmp_path)
    with pytest.raises(SceneError, match=r"give the \.SAFE directory or zip"):
        Scene.open(alone)


# Places and granules


def test_metadata_says_where_images_lie_that_do_not(tmp_path):
    scene = Scene.open(write_safe(tmp_path, [ground()], replace(NEW, georeferenced=False)))
    assert (scene.crs.to_epsg(), scene.transform) == (32721, PLACE)


def beside(cols: float, rows: float = 0) -> tuple[float, float]:
    return CORNER[0] + 10 * cols, CORNER[1] - 10 * rows


def test_granules_of_one_grid_are_one_scene(tmp_path, package):
    reflectance = ground(cols=300)
    two = replace(OLD, corners=(beside(108), CORNER), crs=(CRS, CRS))
    left, right = reflectance[:, :, :SIDE].copy(), reflectance[:, :, 108:].copy()
    left[:, :, 150:] = 0  # seen by the other alone
    root = write_safe(tmp_path, [right, left], two)
    scene = Scene.open(root)
    assert (scene.rows, scene.cols, scene.transform) == (SIDE, 300, PLACE)
    pixels, valid = whole(scene)
    np.testing.assert_array_equal(pixels, reflectance)
    assert valid.all()
    raster = plain(tmp_path / "plain.tif", reflectance)
    expected = run(raster, package, detector=Weighted, stretch="sentinel2-l1c")
    for path in (root, zip_safe(root, tmp_path / "old.zip")):
        scores = run(path, package, detector=Weighted, stretch="sentinel2-l1c")
        np.testing.assert_allclose(scores.scores, expected.scores, atol=1e-6)


def test_a_mosaic_is_masked_by_the_masks_of_its_granules(tmp_path):
    classes = [patches(tuple(range(12)), SIDE // 2, 5), np.full((SIDE // 2, SIDE // 2), 4, np.uint8)]
    two = replace(SURFACE, corners=(CORNER, beside(150, 30)), crs=(CRS, CRS), classes=classes)
    scene = Scene.open(write_safe(tmp_path, [ground(1), ground(2)], two))
    seen = np.zeros((SIDE + 30, SIDE + 150), bool)
    seen[:SIDE, :SIDE] = ~np.isin(classes[0].repeat(2, 0).repeat(2, 1), (0, 1, 8, 9))
    seen[30:, 150:] = True
    np.testing.assert_array_equal(whole(scene)[1], seen)
    same = Scene.open(plain(tmp_path / "plain.tif", whole(scene)[0], mask=seen))
    np.testing.assert_array_equal(whole(scene.at_gsd(6))[1], whole(same.at_gsd(6))[1])


@pytest.mark.parametrize(
    "apart", [{"crs": (CRS, "EPSG:32722"), "corners": (CORNER, CORNER)}, {"corners": (CORNER, beside(9.5))}]
)
def test_granules_of_other_grids_are_named_and_one_can_be_chosen(apart, tmp_path):
    two = replace(OLD, **{"crs": (CRS, CRS), **apart})
    root = write_safe(tmp_path, [ground(1), ground(2)], two)
    for path in (root, zip_safe(root, tmp_path / "two.zip")):
        with pytest.raises(SceneError, match=rf"2 granules .*{two.granule(0)}, {two.granule(1)}.*GRANULE/NAME"):
            Scene.open(path)
    scene = Scene.open(root / "GRANULE" / two.granule(1))
    assert scene.name == two.granule(1)
    np.testing.assert_array_equal(whole(scene)[0], ground(2))


# Folders of products


def test_a_directory_holds_products_beside_rasters(tmp_path, package, caplog):
    folder = tmp_path / "products"
    root = write_safe(folder, [ground()], NEW)
    packed = zip_safe(root, folder / "a.zip")
    raster = plain(folder / "b.tif", ground())
    (folder / "notes.zip").write_bytes(b"PK")
    (folder / "more").mkdir()
    assert find_scenes([folder]) == [str(path) for path in sorted([root, packed, raster])]
    assert find_scenes([root, f"{root}/", packed]) == [str(root), str(packed)]
    (folder / "S2A_broken.zip").write_bytes(b"PK")
    packed.unlink()
    shutil.rmtree(root / "GRANULE")
    plans, left_out = plan_scenes([folder], ScanOptions(model=package.path, stretch="sentinel2-l1c"))
    assert ([plan.name for plan in plans], left_out) == (["b.tif"], 2)
    assert "holds no granule" in caplog.text
    assert "no zip that can be read" in caplog.text


@pytest.mark.parametrize("end", ["", "/", "/MTD_MSIL1C.xml", f"/GRANULE/{NEW.granule(0)}"])
@pytest.mark.parametrize(
    "start",
    [
        "/vsicurl/https://example.org/a/",
        "https://example.org/a/",
        "s3://bucket/a/",
        "/vsigs/bucket/a/",
        "/vsizip//vsicurl/https://example.org/a.zip/",
    ],
)
def test_a_product_over_a_network_is_to_be_fetched(start, end):
    with pytest.raises(SceneError, match="over a network, of which geoscan reads single rasters; fetch the whole"):
        Scene.open(start + NEW.name + end)
    with pytest.raises(SceneError, match="over a network"):
        Scene.open(start + NEW.name.replace(".SAFE", ".zip") + "?sig=secret")


def test_a_product_inside_of_a_zip_is_named_by_the_zip(tmp_path):
    root = write_safe(tmp_path, [ground()], NEW)
    path = zip_safe(root, tmp_path / "a.zip")
    with pytest.raises(SceneError, match="in an archive; give the path of the zip itself"):
        Scene.open(f"/vsizip/{path}/{NEW.name}")
    assert whole(Scene.open(f"/vsizip/{path}/{NEW.name}/{NEW.image(0, 'TCI')}"))[1].all(), "a raster is one"


def test_a_product_that_is_there_packed_and_unpacked_is_one_scene(tmp_path, package, caplog):
    caplog.set_level("INFO")
    root = write_safe(tmp_path, [ground()], NEW)
    path = zip_safe(root, tmp_path / "again.zip")
    plans, _ = plan_scenes([tmp_path], ScanOptions(package.path, force=True))
    assert [plan.scene.path for plan in plans] == [str(root)]
    assert "again.zip shows what another of the scenes shows: it is not scanned twice" in caplog.text
    plans, _ = plan_scenes([path, root], ScanOptions(package.path, force=True))
    assert [plan.scene.path for plan in plans] == [str(path)]


def test_a_scan_names_the_product_whatever_the_path(tmp_path, package):
    root = write_safe(tmp_path, [ground()], NEW)
    options = ScanOptions(model=package.path, stretch="sentinel2-l1c")
    for path in (root / NEW.metadata, zip_safe(root, tmp_path / "a.zip")):
        plans, _ = plan_scenes([path], options)
        assert [plan.name for plan in plans] == [root.stem]


def test_a_directory_named_so_that_holds_another_is_searched(tmp_path):
    root = write_safe(tmp_path / NEW.name, [ground()], NEW)
    assert find_scenes([root.parent]) == [str(root)]


def test_a_fingerprint_is_of_all_files_of_a_product(tmp_path):
    path, _, _ = masked(tmp_path, "L2A")
    first = Scene.open(path).fingerprint()
    moved = path.rename(tmp_path / "moved.SAFE")
    assert Scene.open(moved).fingerprint() == first
    for name in (SURFACE.image(0, "SCL", 20), SURFACE.metadata):
        before = Scene.open(moved).fingerprint()
        (moved / name).write_bytes((moved / name).read_bytes())
        assert Scene.open(moved).fingerprint() != before


# Damage


def cut(file: Path, share: float = 0.5) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])


def swap(old: str, new: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        text = (root / NEW.metadata).read_text()
        assert old in text
        (root / NEW.metadata).write_text(text.replace(old, new))

    return change


CLOUDS = f"GRANULE/{NEW.granule(0)}/QI_DATA/MSK_CLASSI_B00.jp2"
START = "<n1:Level-1C_User_Product"
BOMB = '<!DOCTYPE a [<!ENTITY b "bbbbbbbbbb"><!ENTITY c "&b;&b;&b;&b;">]>'
FETCH = '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]>'

DAMAGES = {
    "no metadata": (lambda root: (root / NEW.metadata).unlink(), "holds no MTD_MSIL1C.xml"),
    "metadata cut off": (lambda root: cut(root / NEW.metadata), "no XML that can be read"),
    "empty metadata": (lambda root: (root / NEW.metadata).write_bytes(b""), "no XML that can be read"),
    "metadata twice": (lambda root: (root / "MTD_MSIL2A.xml").touch(), "holds 2 products"),
    "huge metadata": (lambda root: (root / NEW.metadata).write_bytes(b" " * (2**24 + 1)), "more than 16 MB"),
    "entities": (swap(START, BOMB + START), "no XML that can be read"),
    "files as entities": (swap(START, FETCH + START), "no XML that can be read"),
    "unknown encoding": (swap("UTF-8", "none-such"), "no XML that can be read"),
    "nothing to scale by": (swap(">10000<", "><"), "'' as QUANTIFICATION_VALUE"),
    "scaled by 0": (swap(">10000<", ">0<"), "scales nothing"),
    "offset not a number": (swap('"3">-1000', '"3">nan'), "'nan' as RADIO_ADD_OFFSET"),
    "offset of one band missing": (swap('band_id="2"', 'band_id="20"'), "'' as RADIO_ADD_OFFSET"),
    "no granule": (lambda root: shutil.rmtree(root / "GRANULE"), "holds no granule"),
    "band missing": (lambda root: (root / NEW.image(0, "B03")).unlink(), "lacks B03 at 10 m"),
    "band is no image": (lambda root: (root / NEW.image(0, "B02")).write_bytes(b"<html>"), "B02.jp2 cannot be opened"),
    "band cut off": (lambda root: cut(root / NEW.image(0, "B04"), 0.001), "B04.jp2 cannot be opened"),
    "mask cut off": (lambda root: cut(root / CLOUDS, 0.1), "MSK_CLASSI_B00.jp2 cannot be opened"),
    "bands of several sizes": (lambda root: shutil.copy(root / CLOUDS, root / NEW.image(0, "B03")), "differ in size"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_product_is_one_line(damage, tmp_path):
    change, says = DAMAGES[damage]
    clouds = np.zeros((3, SIDE // 6, SIDE // 6), np.uint8)
    root = write_safe(tmp_path, [ground()], replace(NEW, clouds=[clouds]))
    change(root)
    with pytest.raises(SceneError, match=says) as caught:
        Scene.open(root)
    line = str(caught.value)
    assert NEW.name in line
    assert not any(part in line for part in ("\n", "<VRT", str(tmp_path)))
    result = CliRunner().invoke(main, ["scan", str(root), "--json"])
    assert result.exit_code == 2
    assert line in result.output


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "neither images nor metadata say where"),
        ("<a><HORIZONTAL_CS_CODE>EPSG:1</HORIZONTAL_CS_CODE></a>", "'EPSG:1' where a CRS belongs"),
        ("<a><HORIZONTAL_CS_CODE>EPSG:32721</HORIZONTAL_CS_CODE></a>", "no position for pixels of 10 m"),
    ],
)
def test_a_place_that_nobody_says_is_one_line(content, says, tmp_path):
    root = write_safe(tmp_path, [ground()], replace(NEW, georeferenced=False))
    metadata = root / f"GRANULE/{NEW.granule(0)}/MTD_TL.xml"
    metadata.unlink() if content is None else metadata.write_text(content)
    with pytest.raises(SceneError, match=says):
        Scene.open(root)


def test_zips_that_cannot_be_used_are_one_line(tmp_path):
    root = write_safe(tmp_path / "x", [ground()], NEW)
    cut(zip_safe(root, tmp_path / "S2A_half.zip"))
    shutil.copytree(root, root.with_name("other.SAFE"))
    shutil.make_archive(str(tmp_path / "two"), "zip", root.parent)
    (tmp_path / "empty").mkdir()
    shutil.make_archive(str(tmp_path / "S2A_empty"), "zip", tmp_path / "empty")
    for name, says in (
        ("S2A_half.zip", "is no zip that can be read"),
        ("two.zip", "holds 2 products"),
        ("S2A_empty.zip", "holds no MTD_MSIL1C.xml"),
    ):
        with pytest.raises(SceneError, match=f"^{name} {says}"):
            Scene.open(tmp_path / name)


def test_other_products_are_not_taken_for_these(tmp_path):
    radar = tmp_path / "S1A_IW_GRDH_1SDV_20230823T090000.SAFE"
    radar.mkdir()
    (radar / "manifest.safe").write_text("<none/>")
    with pytest.raises(SceneError, match="geoscan reads Sentinel-2 Level-1C and Level-2A"):
        Scene.open(radar)
    shutil.make_archive(str(tmp_path / "files"), "zip", radar)
    for path in (tmp_path, tmp_path / "files.zip", tmp_path / "absent.SAFE", "https://host/S1A.SAFE", "s3://b/S2A.zip"):
        assert recognise(str(path)) is None


def test_a_product_that_loses_a_file_fails_in_its_own_name(tmp_path):
    root = write_safe(tmp_path, [ground()], NEW)
    scene = Scene.open(root)
    (root / NEW.image(0, "B03")).unlink()
    with pytest.raises(ReadError, match=rf"^{root.stem} cannot be read at") as caught:
        whole(scene)
    assert "<" not in str(caught.value)


def test_nothing_is_written_beside_a_product(tmp_path):
    path, _, _ = masked(tmp_path, "L1C")
    before = {file: file.stat().st_mtime_ns for file in path.rglob("*")}
    scene = Scene.open(path)
    whole(scene.at_gsd(6))
    scene.overview()
    assert {file: file.stat().st_mtime_ns for file in path.rglob("*")} == before
    with rasterio.open(scene.address) as source:
        assert [color.name for color in source.colorinterp] == ["red", "green", "blue"]


@pytest.mark.parametrize(
    ("safe", "said"),
    [
        (NEW, "it has no cloud mask"),
        (SURFACE, "it has no scene classification"),
        (OLD, ""),
        (
            replace(OLD, polygons=None, corners=(CORNER, beside(SIDE)), crs=(CRS, CRS)),
            "its granule {} has no cloud mask",
        ),
    ],
)
def test_what_cannot_mask_clouds_says_so_once(safe, said, tmp_path, caplog):
    count = len(safe.crs)
    root = write_safe(tmp_path, [ground()] * count, safe)
    (path,) = find_scenes([root])
    Scene.open(path)
    assert caplog.messages == [
        f"{root.stem}: {said.format(safe.granule(i))}: clouds are not masked" for i in range(count) if said
    ]


@pytest.mark.parametrize("georeferenced", [True, False])
def test_bands_of_20_m_do_where_nobody_kept_finer_ones(georeferenced, tmp_path):
    safe = replace(SURFACE, georeferenced=georeferenced, classes=[patches(tuple(range(12)), SIDE // 2, 5)])
    root = write_safe(tmp_path, [stored(ground(), safe)], safe)
    for band in ("B02", "B03", "B04", "B08", "TCI"):
        (root / safe.image(0, band)).unlink()
    scene = Scene.open(root)
    assert (scene.rows, scene.cols, scene.transform) == (SIDE // 2, SIDE // 2, PLACE @ Affine.scale(2))
    pixels, valid = whole(scene)
    np.testing.assert_array_equal(pixels, stored(ground(), safe)[:, ::2, ::2] // 2)
    np.testing.assert_array_equal(valid, ~np.isin(safe.classes[0], (0, 1, 8, 9)))
    (root / safe.image(0, "B03", 20)).unlink()
    with pytest.raises(SceneError, match="lacks B03 at 20 m in granule"):
        Scene.open(root)


def test_one_fine_band_that_is_missing_is_no_reason_for_coarse_ones(tmp_path):
    root = write_safe(tmp_path, [ground()], SURFACE)
    (root / SURFACE.image(0, "B03")).unlink()
    with pytest.raises(SceneError, match="lacks B03 at 10 m in granule"):
        Scene.open(root)


def test_a_zip_may_name_its_files_as_windows_does(tmp_path):
    root = write_safe(tmp_path, [ground()], NEW)
    path = tmp_path / "june.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in filter(Path.is_file, root.rglob("*")):
            entry = zipfile.ZipInfo("x")
            entry.filename = str(file.relative_to(tmp_path)).replace("/", "\\")
            archive.writestr(entry, file.read_bytes())
    np.testing.assert_array_equal(whole(Scene.open(path))[0], whole(Scene.open(root))[0])


def test_what_macos_leaves_beside_files_is_none(tmp_path):
    root = write_safe(tmp_path, [ground()], NEW)
    for file in list(filter(Path.is_file, root.rglob("*"))):
        file.with_name(f"._{file.name}").write_bytes(b"\0\5\x16\7" + bytes(4092))
    for path in (root, zip_safe(root, tmp_path / "june.zip")):
        np.testing.assert_array_equal(whole(Scene.open(path))[0], ground())


def test_a_band_that_names_a_server_asks_nobody(tmp_path, port):
    root = write_safe(tmp_path, [stored(ground(), NEW)], NEW)
    for band in root.rglob("*.jp2"):
        band.write_text(TILED.format(url=port.url))
    with pytest.raises(SceneError, match=r"B04\.jp2 cannot be opened"):
        Scene.open(root)
    assert not port.was_asked
