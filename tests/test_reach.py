"""What a scene may reach: what people name and no more, unless they allow it."""

import zipfile
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
import pytest
import rasterio
from affine import Affine
from click.testing import CliRunner
from conftest import UTM, write_scene
from loopback import served
from products import make_safe
from rasterio._env import del_gdal_config
from test_masks import mask_beside

from geoscan import gdal, reach
from geoscan.cli import main
from geoscan.errors import GridError, ReadError, SceneError
from geoscan.grid import TileGrid, Window
from geoscan.products.rasters import describe
from geoscan.scene import Scene

WMS = (
    '<GDAL_WMS><Service name="TMS"><ServerUrl>{url}/${{z}}/${{x}}/${{y}}.png</ServerUrl></Service><DataWindow>'
    "<UpperLeftX>0</UpperLeftX><UpperLeftY>0</UpperLeftY><LowerRightX>1</LowerRightX><LowerRightY>1</LowerRightY>"
    "<SizeX>64</SizeX><SizeY>64</SizeY></DataWindow></GDAL_WMS>"
)
RAW = "<ImageOffset>0</ImageOffset><PixelOffset>1</PixelOffset><LineOffset>8</LineOffset>"
PYTHON = (
    "<PixelFunctionType>f</PixelFunctionType><PixelFunctionLanguage>Python</PixelFunctionLanguage>"
    "<PixelFunctionCode>def f(*a, **k): open({marker!r}, 'w').close()</PixelFunctionCode>"
)


def vrt(path: Path, source: str, *, side: int = 64, kind: str = "", how: str = "", bare: bool = False) -> Path:
    """Write a VRT of three bands, each from one source; `bare` is the name alone, as a band of raw bytes has it."""
    name = f'<SourceFilename relativeToVRT="0">{escape(source)}</SourceFilename>'
    inside = name if bare else f"<SimpleSource>{name}<SourceBand>1</SourceBand></SimpleSource>"
    bands = "".join(
        f'<VRTRasterBand dataType="Byte" band="{n}" {kind}><ColorInterp>{color}</ColorInterp>{how}{inside}'
        "</VRTRasterBand>"
        for n, color in enumerate(("Red", "Green", "Blue"), 1)
    )
    place = f"<SRS>{UTM}</SRS><GeoTransform>500000, 3.7, 0, 9200000, 0, -3.7</GeoTransform>"
    path.write_text(f'<VRTDataset rasterXSize="{side}" rasterYSize="{side}">{place}{bands}</VRTDataset>')
    return path


AWAY = {
    "curl": "/vsicurl/{url}/a.tif",
    "http": "{url}/a.tif",
    "wms": WMS,
    "zip": "/vsizip//vsicurl/{url}/a.zip/a.tif",
    "driver": 'ZARR:"/vsicurl/{url}/a"',
    "streaming": "/vsicurl_streaming/{url}/a.tif",
    "beside a path": "/vsicurl/{url}/a.tif:/etc/passwd",
    "a VRT in a VRT": '<VRTDataset rasterXSize="64" rasterYSize="64"/>',
    "a server's driver": "PG:host=127.0.0.1 dbname=a",
    "a server beside a path": "PG:host=127.0.0.1 dbname='a:/etc/passwd'",
}


@pytest.mark.parametrize("name", AWAY.values(), ids=AWAY.keys())
@pytest.mark.parametrize("depth", [0, 1])
def test_a_local_vrt_that_names_a_network_is_refused_before_anybody_is_asked(tmp_path, port, name, depth):
    path = vrt(tmp_path / "inner.vrt", name.format(url=port.url))
    if depth:
        path = vrt(tmp_path / "outer.vrt", str(path))
    with pytest.raises(SceneError, match=r"vrt would fetch .* you did not name; pass --follow") as caught:
        Scene.open(path)
    assert "\n" not in str(caught.value)
    assert not port.was_asked


@pytest.mark.parametrize("name", AWAY.values(), ids=AWAY.keys())
def test_gdal_itself_asks_nobody_while_a_local_file_is_read(tmp_path, port, name):
    """Whatever file it is that names a host, known here or not: such as pyramids that lie elsewhere."""
    path = vrt(tmp_path / "scene.vrt", name.format(url=port.url))
    with gdal.settings(str(path)), pytest.raises(gdal.FAILURES), rasterio.open(path) as source:
        source.read(1)
    assert not port.was_asked


def test_pyramids_that_a_file_beside_a_scene_names_are_not_fetched(make_scene, port):
    path = make_scene()
    (path.parent / "scene.tif.aux.xml").write_text(
        f'<PAMDataset><Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">/vsicurl/{port.url}/a.tif</MDI></Metadata>'
        "</PAMDataset>"
    )
    assert Scene.open(path).overview(16)[0].shape == (3, 13, 16)
    assert not port.was_asked


def test_what_is_allowed_is_read(tmp_path):
    pixels = np.arange(3 * 64 * 64).reshape(3, 64, 64) % 251
    write_scene(tmp_path / "far.tif", pixels=pixels)
    with served(tmp_path) as url:
        near = vrt(tmp_path / "near.vrt", f"/vsicurl/{url}/far.tif")
        native, valid = Scene.open(near, follow=True).read(Window(0, 0, 64, 64))
        far = Scene.open(f"{url}/near.vrt", follow=True).read(Window(0, 0, 64, 64))[0]
        asked = CliRunner().invoke(main, ["check", str(near), "--json"])
        allowed = CliRunner().invoke(main, ["check", str(near), "--json", "--follow"])
    np.testing.assert_array_equal(native, np.stack([pixels[0]] * 3))
    np.testing.assert_array_equal(far, native)
    assert valid.all()
    assert (asked.exit_code, allowed.exit_code) == (2, 0)
    assert "--follow" in asked.stdout


@pytest.mark.parametrize("is_remote", [False, True])
def test_a_part_that_a_server_does_not_have_is_told_at_once(tmp_path, is_remote):
    with served(tmp_path) as url:
        path = vrt(tmp_path / "near.vrt", f"/vsicurl/{url}/gone.tif")
        with pytest.raises(SceneError, match=r"near\.vrt is made of .*gone\.tif, which cannot be opened: "):
            Scene.open(f"{url}/near.vrt" if is_remote else path, follow=True)


@pytest.mark.parametrize("name", ["/vsizip//vsicurl/{url}/a.zip/in/far.tif", "zip+{url}/a.zip!in/far.tif"])
def test_an_archive_on_a_network_is_read(tmp_path, name):
    path = write_scene(tmp_path / "far.tif")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(path, "in/far.tif")
    with served(tmp_path) as url:
        native, _ = Scene.open(name.format(url=url)).read(Window(0, 0, 64, 64))
    np.testing.assert_array_equal(native, Scene.open(path).read(Window(0, 0, 64, 64))[0])


@pytest.fixture(params=[("GDAL_DISABLE_READDIR_ON_OPEN", "EMPTY_DIR"), ("GDAL_PAM_ENABLED", "NO")])
def setting(request):
    """Give a variable of GDAL's and a value. rasterio keeps what the environment said: no later test is to hear it."""
    yield request.param
    del_gdal_config(request.param[0])


def test_what_lies_beside_a_scene_counts_whatever_the_environment_says(tmp_path, monkeypatch, setting):
    path = mask_beside(tmp_path / "scene.tif")
    nodata = write_scene(tmp_path / "plain.tif", pixels=np.full((3, 64, 64), 9))
    (tmp_path / "plain.tif.aux.xml").write_text(
        "<PAMDataset>"
        + "".join(f'<PAMRasterBand band="{n}"><NoDataValue>9</NoDataValue></PAMRasterBand>' for n in (1, 2, 3))
        + "</PAMDataset>"
    )
    seen = [Scene.open(one).read(Window(0, 0, 64, 64))[1] for one in (path, nodata)]
    monkeypatch.setenv(*setting)
    assert not seen[0].all()
    assert not seen[1].any()
    for one, before in zip((path, nodata), seen, strict=True):
        np.testing.assert_array_equal(Scene.open(one).read(Window(0, 0, 64, 64))[1], before)


@pytest.mark.parametrize("name", ["scene.vrt", "scene.tif"])
def test_a_vrt_over_a_network_reads_no_file_of_this_machine(tmp_path, name):
    (tmp_path / "server").mkdir()
    vrt(tmp_path / "server" / name, str(write_scene(tmp_path / "mine.tif")))
    with served(tmp_path / "server") as url, pytest.raises(SceneError, match=f"{name}: it comes over a network"):
        Scene.open(f"{url}/{name}")


@pytest.mark.parametrize(
    ("address", "remote"),
    [
        ("/vsizip//vsis3/bucket/a.zip/a.tif", True),
        ("GTIFF_DIR:1:/vsicurl/http://host/a.tif", True),
        ("zip+https://host/a.zip!a.tif", True),
        ("file:///data/a.tif", False),
        ("zip:///data/a.zip!a.tif", False),
        ("vrt:///data/a.tif?bands=1", False),
        ("/data/a.tif", False),
    ],
)
def test_what_goes_through_a_network_is_known_by_its_name(address, remote):
    assert reach.is_remote(address) == remote


# Files of this machine


@pytest.mark.parametrize("name", ["{path}", "GTIFF_DIR:1:{path}", "vrt://{path}?bands=1", "/vsisubfile/0_99999,{path}"])
def test_a_local_vrt_may_name_any_local_raster(make_scene, tmp_path, name):
    (tmp_path / "elsewhere").mkdir()
    path = make_scene((3, 64, 64), name="a:b.tif" if name == "{path}" else "scene.tif")
    scene = Scene.open(vrt(tmp_path / "elsewhere" / "scene.vrt", name.format(path=path)))
    assert scene.read(Window(0, 0, 64, 64))[1].all()


def test_a_vrt_takes_bytes_for_pixels_only_from_files_beside_it(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "secret").write_bytes(bytes(64))
    (tmp_path / "data" / "bytes.raw").write_bytes(bytes(range(64)))
    raw = {"side": 8, "kind": 'subClass="VRTRawRasterBand"', "how": RAW, "bare": True}
    own = vrt(tmp_path / "data" / "own.vrt", str(tmp_path / "data" / "bytes.raw"), **raw)
    assert Scene.open(own).read(Window(0, 0, 8, 8))[0][0].ravel().tolist() == list(range(64))
    other = vrt(tmp_path / "data" / "other.vrt", str(tmp_path / "secret"), **raw)
    spelt = other.read_text().replace("VRTRaw", "VRTRa&#119;")
    (tmp_path / "data" / "spelt.vrt").write_text(spelt)
    (tmp_path / "data" / "link.raw").symlink_to(tmp_path / "secret")
    linked = vrt(tmp_path / "data" / "linked.vrt", str(tmp_path / "data" / "link.raw"), **raw)
    outer = vrt(tmp_path / "outer.vrt", str(other), side=8)
    for path in (other, tmp_path / "data" / "spelt.vrt", linked, outer):
        with pytest.raises(SceneError, match=r"takes the bytes of .* move it beside the VRT"):
            Scene.open(path)


def test_code_in_a_vrt_is_never_run(make_scene, tmp_path, monkeypatch):
    monkeypatch.setenv("GDAL_VRT_ENABLE_PYTHON", "YES")
    marker = tmp_path / "ran"
    how = PYTHON.format(marker=str(marker))
    scene = Scene.open(
        vrt(tmp_path / "code.vrt", str(make_scene((3, 64, 64))), kind='subClass="VRTDerivedRasterBand"', how=how)
    )
    with pytest.raises(ReadError, match="cannot be read"):
        scene.read(Window(0, 0, 64, 64))
    assert not marker.exists()


@pytest.mark.parametrize(
    "head",
    [
        '<!DOCTYPE a [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;">]>',
        '<!DOCTYPE a [<!ENTITY a SYSTEM "file:///etc/passwd">]>',
        "<a>" * 20_000,
    ],
    ids=["entities", "external", "deep"],
)
def test_gdal_expands_no_entity_and_reads_no_endless_xml(make_scene, tmp_path, head):
    path = vrt(tmp_path / "scene.vrt", str(make_scene((3, 64, 64))))
    text = path.read_text().replace(UTM, "&a;")
    path.write_text(head + text)
    with pytest.raises(SceneError) as caught:
        Scene.open(path)
    assert "root:" not in str(caught.value)
    assert "lollol" not in str(caught.value)


def test_a_vrt_that_is_made_of_itself_is_one_line(tmp_path):
    scene = Scene.open(vrt(tmp_path / "self.vrt", str(tmp_path / "self.vrt")))
    with pytest.raises(ReadError, match=r"self\.vrt cannot be read"):
        scene.read(Window(0, 0, 64, 64))


# Sizes that headers claim


def test_blocks_that_do_not_fit_into_memory_are_refused_before_any_is_read(tmp_path):
    place = {"crs": UTM, "transform": Affine(3.7, 0, 5e5, 0, -3.7, 9.2e6)}
    size = {"width": 100, "height": 100, "count": 3, "dtype": "uint8"}
    path = tmp_path / "scene.tif"
    blocks = {"tiled": True, "blockxsize": 16384, "blockysize": 16384, "sparse_ok": True, "interleave": "pixel"}
    with rasterio.open(path, "w", driver="GTiff", **size, **place, **blocks):
        pass
    for scene in (path, vrt(tmp_path / "scene.vrt", str(path))):
        with pytest.raises(SceneError, match=r"blocks of 16384 x 16384 px, 768 MB each, .* -co TILED=YES"):
            Scene.open(scene)
    with pytest.raises(SceneError, match="blocks of 16384"):
        describe(str(path))


def test_blocks_of_overviews_have_to_fit_too(make_scene, monkeypatch):
    path = make_scene((3, 512, 512), tiled=True, blockxsize=16, blockysize=16, interleave="pixel")
    with rasterio.Env(GDAL_TIFF_OVR_BLOCKSIZE=128), rasterio.open(path, "r+") as target:
        target.build_overviews([2, 4])
    assert Scene.open(path).rows == 512
    monkeypatch.setattr(gdal, "CACHE_BYTES", 128 * 128)
    with pytest.raises(SceneError, match="blocks of 128 x 128 px"):
        Scene.open(path)


def test_more_bands_than_anybody_has_are_refused(tmp_path):
    place = {"crs": UTM, "transform": Affine(3.7, 0, 5e5, 0, -3.7, 9.2e6)}
    path = tmp_path / "scene.tif"
    size = {"width": 16, "height": 16, "count": 5000, "dtype": "uint8"}
    with rasterio.open(path, "w", driver="GTiff", **size, **place, sparse_ok=True):
        pass
    with pytest.raises(SceneError, match="has 5,000 bands, of which 4,096 fit"):
        Scene.open(path)


def test_pixels_without_a_size_are_one_line(tmp_path):
    pixels = [np.ones((3, make_safe.SIDE, make_safe.SIDE), np.uint16)]
    root = make_safe.write_safe(tmp_path, pixels, make_safe.Safe(georeferenced=False))
    (metadata,) = root.rglob("MTD_TL.xml")
    metadata.write_text(metadata.read_text().replace("<XDIM>10</XDIM>", "<XDIM>0</XDIM>"))
    with pytest.raises(SceneError, match="have no size or are not north up; download the product again"):
        Scene.open(root)


def test_a_grid_of_more_tiles_than_memory_holds_is_refused():
    assert len(TileGrid(2**20, 2**20, 256, 256)) == 2**24
    with pytest.raises(GridError, match=r"make 16,781,312 tiles, .* cut the scene into parts, or pass a"):
        TileGrid(2**20 + 1, 2**20, 256, 256)


# Names


def test_names_are_shown_without_what_a_terminal_would_obey(make_scene, tmp_path):
    path = make_scene((3, 64, 64), name="a\x1b[31mred\u202e.tif", descriptions=("B04", "B03", "B02\x1b]0;title\x07"))
    scene = Scene.open(path)
    assert scene.name == "a\\x1b[31mred\\u202e.tif"
    for words in (["check", str(path)], ["check", "--json", str(path)], ["scan", "--json", f"{path}.none"]):
        shown = CliRunner().invoke(main, words).output
        assert "31m" in shown
        assert not {"\x1b", "\u202e", "\x07"} & set(shown)


def test_a_vrt_whose_sources_have_names_that_are_no_text_is_one_line(tmp_path):
    source = (
        '<SimpleSource><SourceFilename relativeToVRT="1">NAME</SourceFilename><SourceBand>1</SourceBand></SimpleSource>'
    )
    bands = "".join(f'<VRTRasterBand dataType="Byte" band="{n}">{source}</VRTRasterBand>' for n in (1, 2, 3))
    place = "<SRS>EPSG:32721</SRS><GeoTransform>500000,3.7,0,9200000,0,-3.7</GeoTransform>"
    text = f'<VRTDataset rasterXSize="80" rasterYSize="64">{place}{bands}</VRTDataset>'
    (tmp_path / "scene.vrt").write_bytes(text.encode().replace(b"NAME", b"a\xe2b\x94.tif"))
    with pytest.raises(SceneError, match=r"scene\.vrt names files that cannot be read") as caught:
        Scene.open(tmp_path / "scene.vrt")
    assert "\n" not in str(caught.value)
