"""Earth Engine exports in parts: one scene by any of their names, and said when it is not whole."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from alike import assert_alike
from conftest import CORNER, write_scene
from loopback import served
from scans import CHIP

from geoscan.errors import SceneError
from geoscan.finding import find_scenes
from geoscan.model.package import Package
from geoscan.products import earth_engine, recognise
from geoscan.scene import Scene

GSD = 10.0
SIZE = 64
NAMES = ("B4", "B3", "B2")


@pytest.fixture
def package(make_package) -> Package:
    return make_package(chip=CHIP, gsd=10)


def pixels(dtype: str = "float32") -> np.ndarray:
    values = np.random.default_rng(0).uniform(0.01, 0.3, (3, 150, 170))
    return values.astype(dtype) if dtype == "float32" else (values * 10_000).astype(dtype)


def export(folder: Path, values: np.ndarray, name: str = "mines of 2023", shift: int = 0) -> list[Path]:
    """Write parts of up to 64 x 64 px, named as Earth Engine names them."""
    folder.mkdir(exist_ok=True)
    made = []
    for row in range(0, values.shape[1], SIZE):
        for col in range(0, values.shape[2], SIZE):
            place = Affine(GSD, 0, CORNER[0] + (col + shift) * GSD, 0, -GSD, CORNER[1] - row * GSD)
            part = values[:, row : row + SIZE, col : col + SIZE]
            path = folder / f"{name}-{row:010}-{col:010}.tif"
            made.append(write_scene(path, pixels=part, dtype=str(part.dtype), transform=place, descriptions=NAMES))
            shift *= 2
    return made


@pytest.mark.parametrize("dtype", ["float32", "uint16"])
def test_any_part_the_prefix_and_the_directory_open_the_whole(dtype, tmp_path, package):
    values = pixels(dtype)
    parts = export(tmp_path / "drive", values)
    plain = write_scene(tmp_path / "plain.tif", pixels=values, dtype=dtype, gsd=GSD, descriptions=NAMES)
    for path in (parts[0], parts[4], parts[-1], tmp_path / "drive" / "mines of 2023", tmp_path / "drive"):
        scene = assert_alike(path, plain, package, stretch="percentile:2,98")
        assert (scene.name, scene.product.kind) == ("mines of 2023", "Earth Engine export")
        assert set(scene.product.files) == set(map(str, parts))
        assert (scene.bands, scene.product.scaling, scene.product.mask) == ((1, 2, 3), None, "")
    assert find_scenes([tmp_path / "drive"]) == [str(tmp_path / "drive")]


def test_a_directory_of_several_exports_is_no_product_but_each_part_is_its_own_whole(tmp_path):
    one, other = export(tmp_path, pixels(), "one"), export(tmp_path, pixels(), "other")
    assert recognise(str(tmp_path)) is None
    assert set(Scene.open(one[3]).product.files) == set(map(str, one))
    assert Scene.open(other[3]).name == "other"
    write_scene(tmp_path / "third.tif")
    assert recognise(str(tmp_path / "third.tif")) is None
    assert recognise(str(tmp_path / "absent")) is None


def test_the_only_part_is_whole(tmp_path):
    path = export(tmp_path, pixels()[:, :50, :60])[0]
    scene = Scene.open(path)
    assert (scene.path, scene.product.address, scene.name) == (str(path), str(path), "mines of 2023")


@pytest.mark.parametrize(
    ("gone", "named"),
    [
        ([0], "row 0, col 0"),
        ([4], "row 64, col 64"),
        ([3, 4, 5], "row 64, col 0; row 64, col 64; row 64, col 128"),
        ([0, 1, 2, 3, 4], "row 0, col 0; row 0, col 64; row 0, col 128; row 64, col 0; and more"),
        ([1, 4, 7], "row 0, col 64; row 64, col 64; row 128, col 64"),
    ],
)
def test_missing_parts_are_named(gone, named, tmp_path):
    parts = export(tmp_path, pixels())
    for n in gone:
        parts[n].unlink()
    with pytest.raises(SceneError, match=f"mines of 2023 lacks its parts at {named}: fetch them"):
        Scene.open(tmp_path / "mines of 2023")


def test_parts_that_do_not_fit_are_refused(tmp_path):
    export(tmp_path / "a", pixels(), shift=1)
    with pytest.raises(SceneError, match="the 9 parts of mines of 2023 do not lie on one grid as their names say"):
        Scene.open(tmp_path / "a")
    parts = export(tmp_path / "b", pixels())
    write_scene(parts[4], pixels=pixels("uint16")[:, :SIZE, :SIZE], dtype="uint16", gsd=GSD)
    with pytest.raises(SceneError, match="do not lie on one grid"):
        Scene.open(parts[0])


def test_a_part_whose_neighbours_cannot_be_listed_is_told_of(tmp_path, caplog):
    parts = export(tmp_path, pixels())
    with zipfile.ZipFile(tmp_path / "drive.zip", "w") as archive:
        for part in parts:
            archive.write(part, part.name)
    with served(tmp_path) as url:
        for path in (f"{url}/{parts[1].name.replace(' ', '%20')}", f"/vsizip/{tmp_path}/drive.zip/{parts[1].name}"):
            caplog.clear()
            scene = Scene.open(path)
            assert (scene.rows, scene.cols, scene.product.kind) == (SIZE, SIZE, "")
            (line,) = caplog.messages
            assert line.startswith(f"{scene.name}: it is called like a part of an Earth Engine export, and in an arch")
            assert line.endswith("fetch all of them into one folder, and give that")
    with pytest.raises(SceneError, match=r"it is a zip of 9 rasters; unpack it, and give the folder$"):
        Scene.open(tmp_path / "drive.zip")


def test_what_macos_leaves_beside_parts_is_none(tmp_path):
    for part in export(tmp_path, pixels()):
        part.with_name(f"._{part.name}").write_bytes(b"\0\5\x16\7")
    assert len(Scene.open(tmp_path).product.files) == 9


def test_a_damaged_part_is_named(tmp_path):
    parts = export(tmp_path, pixels())
    parts[4].write_bytes(b"II*\0")
    with pytest.raises(SceneError, match=f"{parts[4].name} is a part of mines of 2023 and no raster with a CRS"):
        Scene.open(parts[0])


def test_names_that_only_look_so(tmp_path):
    """Rows and columns beyond all rasters cost no time."""
    write_scene(tmp_path / "x-9999999999-9999999999.tif")
    with pytest.raises(SceneError, match="x lacks its parts at row 0, col 0; row 0, col 80"):
        Scene.open(tmp_path / "x-9999999999-9999999999.tif")
    assert earth_engine.recognise("x" * 5000) is None
    assert earth_engine.recognise("http://127.0.0.1/x-000000000-0000000000.tif") is None
    assert earth_engine.recognise("nul\0-0000000000-0000000000.tif") is None
