"""The files behind a scene, by whatever name it comes: looked at first, known, and never written to."""

import os
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from affine import Affine
from click.testing import CliRunner
from conftest import write_scene
from geopandas import GeoDataFrame
from shapely.geometry import box
from test_masks import mask_beside, vrt

from geoscan import inputs
from geoscan.cli import main
from geoscan.errors import InputError, ReadError, SceneError
from geoscan.files import check_target
from geoscan.finding import find_scenes
from geoscan.grid import Window
from geoscan.products.tiles import mosaic_of
from geoscan.scene import Scene


@pytest.fixture
def scene(tmp_path):
    return write_scene(tmp_path / "scene.tif")


@pytest.fixture
def archive(scene):
    path = scene.with_name("scenes.zip")
    with zipfile.ZipFile(path, "w") as target:
        target.write(scene, "in/scene.tif")
    return path


def names_of(scene: Path, archive: Path) -> dict[str, Path]:
    return {
        str(scene): scene,
        f"file://{scene}": scene,
        f"vrt://{scene}?bands=1,2,3": scene,
        f"GTIFF_DIR:1:{scene}": scene,
        f"/vsizip/{archive}/in/scene.tif": archive,
        f"/vsizip/{{{archive}}}/in/scene.tif": archive,
        f"zip://{archive}!in/scene.tif": archive,
        f"zip://{archive}!/in/scene.tif": archive,
        f"vrt:///vsizip/{archive}/in/scene.tif?bands=1,2,3": archive,
        f"/vsisubfile/0_{scene.stat().st_size},{scene}": scene,
        f'DRIVER:"{scene}":part': scene,
    }


def test_every_name_of_a_file_is_understood(scene, archive, monkeypatch):
    for name, path in names_of(scene, archive).items():
        assert inputs.named_in(name) == [str(path)], name
    monkeypatch.chdir(scene.parent)
    for name, path in names_of(Path(scene.name), Path(archive.name)).items():
        assert inputs.named_in(name) == [str(scene.parent / path)], name


def test_what_names_no_file_here_gives_none(scene, monkeypatch):
    (scene.parent / "deeper").mkdir()
    monkeypatch.chdir(scene.parent)
    # A file of this name lies here, too, but it is another one.
    for name in ("deeper/scene.tif", "https://example.org/scene.tif", "s3://bucket/scene.tif", "deeper", "", "<VRT/>"):
        assert inputs.named_in(name) == [], name


def test_names_with_marks_are_paths_all_the_same(tmp_path):
    for name in ("a:b.tif", "a?b.tif", 'a"b.tif', "{a}.tif", "100%,1.tif"):
        path = tmp_path / name
        path.touch()
        assert inputs.named_in(str(path)) == [str(path)]


@pytest.mark.parametrize("form", ["{}", "file://{}", "vrt://{}?bands=1,2,3", "GTIFF_DIR:1:{}", "/vsizip/{}/a.tif"])
@pytest.mark.parametrize("kind", ["pipe", "device", "socket", "empty"])
def test_what_gdal_would_wait_for_is_refused_at_once(tmp_path, kind, form):
    path = tmp_path / "scene.tif"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as end:
            end.bind(str(path)[:100] if len(str(path)) > 100 else str(path))
    else:
        path.touch()
    says = {"pipe": "is a pipe", "device": "is a device", "socket": "is a device", "empty": r"is empty \(0 bytes\)"}[
        kind
    ]
    for refused in (Scene.open, lambda name: find_scenes([name])):
        with pytest.raises(SceneError, match=says) as caught:
            refused(form.format(path))
        assert "\n" not in str(caught.value)


def test_standard_input_and_the_parts_of_a_mosaic_are_not_waited_for(scene):
    with pytest.raises(SceneError, match="is a pipe"):
        Scene.open("/vsistdin/")
    pipe = scene.with_name("tile.tif")
    mosaic = vrt(scene.with_name("mosaic.vrt"), scene)
    mosaic.write_text(mosaic.read_text().replace("scene.tif", "tile.tif"))
    os.mkfifo(pipe)
    command = [sys.executable, "-c", "import sys; from geoscan.scene import Scene; Scene.open(sys.argv[1])", mosaic]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert "tile.tif is a pipe" in done.stderr


def test_a_directory_is_searched_but_not_waited_for(scene):
    os.mkfifo(scene.with_name("pipe.tif"))
    assert find_scenes([scene.parent]) == [str(scene)]


def test_a_mosaic_without_one_of_its_parts_is_refused(scene):
    mosaic = vrt(scene.with_name("mosaic.vrt"), scene)
    scene.unlink()
    with pytest.raises(SceneError, match=r"mosaic\.vrt is made of .*scene\.tif, which does not exist"):
        Scene.open(mosaic)


@pytest.mark.parametrize("name", ["page.tif", "C:\\scenes\\tile.tif", "/vsizip/gone.zip/tile.tif", "no:where/tile.tif"])
@pytest.mark.parametrize("depth", [0, 1])
def test_a_mosaic_of_which_a_part_cannot_be_opened_is_refused(scene, name, depth):
    (scene.parent / "page.tif").write_text("<html>503 Service Unavailable</html>")
    mosaic = vrt(scene.with_name("mosaic.vrt"), scene)
    part = name if name[0] in "C/" else f"{scene.parent}/{name}"
    mosaic.write_text(mosaic.read_text().replace('relativeToVRT="1">scene.tif', f'relativeToVRT="0">{part}'))
    outer = vrt(scene.with_name("outer.vrt"), mosaic) if depth else mosaic
    with pytest.raises(SceneError, match=rf"{outer.name} is made of .*{part[-8:]}, which cannot be opened: ") as caught:
        Scene.open(outer)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("form", ["index.gti.gpkg", "GTI:index.gpkg", "index.gti"])
def test_the_tiles_of_an_index_are_files_of_the_scene(tmp_path, form):
    (tmp_path / "tiles").mkdir()
    tiles = [write_scene(tmp_path / "tiles" / f"{n}.tif", gsd=3.7) for n in (1, 2)]
    index = tmp_path / ("index.gti.gpkg" if form == "index.gti.gpkg" else "index.gpkg")
    with rasterio.open(tiles[0]) as source:
        place, crs = box(*source.bounds), source.crs
    first = "tiles/1.tif" if form == "index.gti.gpkg" else str(tiles[0])
    table = GeoDataFrame({"location": [first, str(tiles[1])]}, geometry=[place, place], crs=crs)
    table.to_file(index, driver="GPKG", layer="index")
    (tmp_path / "index.gti").write_text(
        f"<GDALTileIndexDataset><IndexDataset>{index}</IndexDataset><IndexLayer>index</IndexLayer>"
        "<LocationField>location</LocationField></GDALTileIndexDataset>"
    )
    name = f"GTI:{index}" if form.startswith("GTI") else str(tmp_path / form)
    scene = Scene.open(name)
    assert set(scene.product.files) >= set(map(str, tiles))
    os.utime(tiles[1], ns=(1, 1))
    assert scene.changed() == str(tiles[1])
    tiles[1].write_text("<html>503 Service Unavailable</html>")
    with pytest.raises(SceneError, match=r"is made of .*2\.tif, which cannot be opened: "):
        Scene.open(name)


def test_all_files_behind_a_scene_are_known(tmp_path):
    tile = mask_beside(tmp_path / "tile.tif")
    (tmp_path / "tile.tif.aux.xml").write_text("<PAMDataset></PAMDataset>")
    inner = vrt(tmp_path / "inner.vrt", tile)
    outer = vrt(tmp_path / "outer.vrt", inner)
    link = tmp_path / "link.vrt"
    link.symlink_to(outer)
    files = {
        str(tmp_path / name) for name in ("tile.tif", "tile.tif.msk", "tile.tif.aux.xml", "inner.vrt", "outer.vrt")
    }
    assert set(Scene.open(outer).product.files) == files
    assert set(Scene.open(link).product.files) >= (files - {str(outer)}) | {str(link)}


@pytest.mark.parametrize(
    ("name", "driver", "beside", "how"),
    [
        ("a.img", "HFA", ["a.ige"], {"USE_SPILL": "YES"}),
        ("a.dat", "ENVI", ["a.hdr"], {}),
        ("a.ers", "ERS", ["a"], {}),
        ("a.rst", "RST", ["a.rdc"], {}),
        ("a.grd", "RRASTER", ["a.gri"], {}),
        ("a.mrf", "MRF", ["a.idx", "a.ppg"], {}),
        ("a.mrf", "MRF", ["A.ROWS", "A.BYTES"], {"INDEXNAME": "a.rows", "DATANAME": "a.bytes"}),
    ],
)
@pytest.mark.parametrize("depth", [0, 1])
def test_pixels_may_lie_beside_the_file_that_is_named(tmp_path, name, driver, beside, how, depth):
    path = tmp_path / name
    rasterio.shutil.copy(write_scene(tmp_path / "plain.tif"), path, driver=driver, **how)
    named = vrt(tmp_path / "mosaic.vrt", path) if depth else path
    scene = Scene.open(named)
    assert {str(tmp_path / side) for side in beside} <= set(scene.product.files)
    for side in beside:
        with pytest.raises(InputError, match="a file that it is read from"):
            check_target(tmp_path / side, (Path(side).suffix.lower(),), "raster", scene.product.files)
        before = Scene.open(named)
        os.utime(tmp_path / side, ns=(0, 0))
        assert before.changed() == str(tmp_path / side)
        assert before.fingerprint() != Scene.open(named).fingerprint()


def test_parts_of_a_mosaic_have_their_pixels_beside_them(tmp_path):
    """As those have that are laid side by side here, of which no VRT tells."""
    parts = []
    for n in (0, 1):
        plain = write_scene(tmp_path / f"{n}.tif", (3, 20, 30), transform=Affine(9, 0, 5e5 + 270 * n, 0, -9, 9.2e6))
        parts.append(str(tmp_path / f"{n}.img"))
        rasterio.shutil.copy(plain, parts[-1], driver="HFA", USE_SPILL="YES")
    files = Scene.open(mosaic_of(parts)).product.files
    assert {str(tmp_path / f"{n}.ige") for n in (0, 1)} <= set(files)


def test_what_is_written_while_it_is_read_is_no_change(tmp_path):
    """GDAL keeps tiles of another raster in an MRF."""
    source, path = write_scene(tmp_path / "a.tif"), tmp_path / "cache.mrf"
    with rasterio.open(source) as dataset:
        path.write_text(
            f"<MRF_META><CachedSource><Source>{source}</Source></CachedSource><Raster>"
            f'<Size x="{dataset.width}" y="{dataset.height}" c="3"/><PageSize x="64" y="64" c="3"/></Raster><GeoTags>'
            f'<BoundingBox minx="{dataset.bounds.left}" miny="{dataset.bounds.bottom}" maxx="{dataset.bounds.right}" '
            f'maxy="{dataset.bounds.top}"/><Projection>{dataset.crs.to_wkt()}</Projection></GeoTags></MRF_META>'
        )
    for _ in range(2):
        scene = Scene.open(path)
        scene.read(Window(0, 0, scene.rows, scene.cols))
        assert scene.changed() == ""
        assert (tmp_path / "cache.ppg").exists()


def test_facts_beside_a_scene_may_be_empty(tmp_path):
    path = write_scene(tmp_path / "scene.tif")
    for name in ("scene.IMD", "scene.tfw", "scene.tif.aux.xml", "scene.tif.ovr"):
        (tmp_path / name).touch()
    assert Scene.open(path).rows


def test_none_of_them_is_a_target(tmp_path):
    """By no name, and no link; nor is a file whose sidecar the scene is read from."""
    tile = mask_beside(tmp_path / "tile.tif")
    scene = Scene.open(vrt(tmp_path / "mosaic.vrt", vrt(tmp_path / "inner.vrt", tile)))
    (tmp_path / "hard.tif").hardlink_to(tile)
    (tmp_path / "soft.tif").symlink_to(tile)
    lone = write_scene(tmp_path / "other.tif")
    (tmp_path / "lone.tif.ovr").hardlink_to(lone)
    for name in ("tile.tif", "hard.tif", "soft.tif", "inner.vrt", "tile.tif.msk"):
        with pytest.raises(InputError, match="is the scene itself, or a file that it is read from"):
            check_target(tmp_path / name, (".tif", ".vrt", ".msk"), "raster", scene.product.files)
    with pytest.raises(InputError, match=r"lone\.tif\.ovr, which the scene is read from, would go with the old"):
        check_target(tmp_path / "lone.tif", (".tif",), "raster", [str(lone)])
    check_target(tmp_path / "new.tif", (".tif",), "raster", scene.product.files)


def test_dehazing_replaces_no_file_of_the_scene(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_scene(tmp_path / "tile1.tif")
    with zipfile.ZipFile("scenes.zip", "w") as target:
        target.write("tile1.tif", "in.tif")
    vrt(tmp_path / "mosaic.vrt", tmp_path / "tile1.tif")
    (tmp_path / "hard.tif").hardlink_to("tile1.tif")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    tile = tmp_path / "tile1.tif"
    names = ("tile1.tif", "mosaic.vrt", f"file://{tile}", f"vrt://{tile}", f"GTIFF_DIR:1:{tile}", "hard.tif")
    for name in names:
        for out in ("tile1.tif", "hard.tif"):
            result = CliRunner().invoke(main, ["dehaze", name, "--out", out], prog_name="geoscan")
            assert result.exit_code == 2, (name, result.output)
            assert "is the scene itself, or a file that it is read from" in result.stderr
            assert result.stderr.count("\n") == 1
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_reading_leaves_nothing_beside_a_scene(tmp_path):
    path = write_scene(tmp_path / "scene.tif", (3, 300, 300), dtype="uint16", nodata=0)
    before = path.stat()
    opened = Scene.open(path)
    for scene in (opened, opened.at_gsd(7)):
        scene.read(Window(0, 0, 50, 50))
        scene.overview(50)
    assert [file.name for file in tmp_path.iterdir()] == ["scene.tif"]
    assert (path.stat().st_mtime_ns, path.stat().st_size) == (before.st_mtime_ns, before.st_size)


@pytest.mark.parametrize("way", ["in place", "replaced", "removed", "its mask", "a tile"])
def test_a_scene_that_was_written_is_not_read_on(tmp_path, way):
    tile = mask_beside(tmp_path / "tile.tif")
    path = vrt(tmp_path / "mosaic.vrt", tile) if way == "a tile" else tile
    scene = Scene.open(path)
    assert scene.changed() == ""
    if way == "replaced":
        kept = tile.stat()
        other = write_scene(tmp_path / "new.tif", (3, 9, 9))
        os.utime(other, ns=(kept.st_atime_ns, kept.st_mtime_ns))
        other.rename(tile)
    elif way == "removed":
        tile.unlink()
    elif way == "its mask":
        os.utime(f"{tile}.msk")
    else:
        with rasterio.open(tile, "r+") as dataset:
            dataset.write(np.zeros((3, 96, 128), "uint16"))
    assert scene.changed() == (f"{tile}.msk" if way == "its mask" else str(tile))
    with pytest.raises(ReadError, match="has been written or removed since the scene was opened"):
        scene.read(Window(0, 0, 9, 9))


def test_what_a_gis_writes_beside_a_scene_changes_nothing(tmp_path):
    path = write_scene(tmp_path / "scene.tif")
    (tmp_path / "scene.tif.aux.xml").write_text("<PAMDataset></PAMDataset>")
    scene = Scene.open(path)
    (tmp_path / "scene.tif.aux.xml").write_text("<PAMDataset>\n</PAMDataset>")
    (tmp_path / "scene.tif.ovr").write_bytes(b"to be")
    assert scene.changed() == ""
