"""Whatever hides pixels hides the same ones: at the file's own resolution, resampled, in overviews and over HTTP."""

import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from conftest import RGB, UTM, write_scene

from geoscan.grid import Window
from geoscan.masks import Masking
from geoscan.scene import Scene

ROWS, COLS = 96, 128
HALF = np.tile(np.arange(COLS) >= COLS // 2, (ROWS, 1))
"""Where the ground is real."""


def ground(dtype="uint16"):
    """Smooth ground with a texture, nowhere 0."""
    rows, cols = np.indices((ROWS, COLS))
    texture = np.random.default_rng(3).integers(0, 30, (3, ROWS, COLS))
    high = 300 + 2 * rows + cols + texture + 100 * np.arange(3)[:, None, None]
    return (high // 4 if dtype == "uint8" else high).astype(dtype)


def whole(scene):
    return scene.read(Window(0, 0, scene.rows, scene.cols))


def nodata_tag(path: Path, text: str) -> Path:
    """Write the text of GDAL's nodata tag, which GDAL itself would not round."""
    content = bytearray(path.read_bytes())
    (first,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, first)
    entries = [bytes(content[first + 2 + 12 * n : first + 14 + 12 * n]) for n in range(count)]
    content += b"\0" * (len(content) % 2)
    value = text.encode() + b"\0"
    entries.append(struct.pack("<HHII", 42113, 2, len(value), len(content)))
    content += value + b"\0" * (len(value) % 2)
    struct.pack_into("<I", content, 4, len(content))
    entries.sort(key=lambda entry: struct.unpack_from("<H", entry))
    content += struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    path.write_bytes(content)
    return path


def vrt(path: Path, source: Path, nodata=("", "", ""), mask="") -> Path:
    bands = "".join(
        f'<VRTRasterBand dataType="UInt16" band="{n}">{f"<NoDataValue>{value}</NoDataValue>" if value else ""}'
        f"<ColorInterp>{color}</ColorInterp>"
        f'<SimpleSource><SourceFilename relativeToVRT="1">{source.name}</SourceFilename><SourceBand>{n}</SourceBand>'
        "</SimpleSource></VRTRasterBand>"
        for n, color, value in zip((1, 2, 3), ("Red", "Green", "Blue"), nodata, strict=True)
    )
    with rasterio.open(source) as dataset:
        numbers = ",".join(map(str, dataset.transform.to_gdal()))
        path.write_text(
            f'<VRTDataset rasterXSize="{dataset.width}" rasterYSize="{dataset.height}"><SRS>{UTM}</SRS>'
            f"<GeoTransform>{numbers}</GeoTransform>{bands}{mask}</VRTDataset>"
        )
    return path


def with_alpha(opaque, dtype="uint16"):
    def make(path):
        pixels = np.concatenate([ground(dtype), (HALF[None] * opaque).astype(dtype)])
        return write_scene(path, pixels=pixels, dtype=dtype, colors=(*RGB, "alpha"))

    return make


def with_value(value, dtype, nodata=None):
    def make(path):
        pixels = np.where(HALF, ground(dtype).astype("float64"), value)
        return write_scene(path, pixels=pixels, dtype=dtype, nodata=nodata)

    return make


def rounded(path):
    with_value(np.finfo("f4").min, "float32")(path)
    return nodata_tag(path, "-3.40282e+38")


def nan_in_one_band(path):
    pixels = ground("float32")
    pixels[1, ~HALF] = np.nan
    return write_scene(path, pixels=pixels, dtype="float32", nodata=-9999)


def mask_inside(path):
    return write_scene(path, pixels=ground(), dtype="uint16", mask=HALF)


def mask_beside(path):
    write_scene(path, pixels=ground(), dtype="uint16")
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(path, "r+") as dataset:
        dataset.write_mask(HALF)
    assert Path(f"{path}.msk").exists()
    return path


def mask_and_nodata(path):
    """The mask hides the upper half of what is hidden, nodata the rest."""
    seen = HALF | (np.arange(ROWS) >= ROWS // 2)[:, None]
    return write_scene(path, pixels=np.where(HALF | ~seen, ground(), 0), dtype="uint16", nodata=0, mask=seen)


def nodata_of_each_band(path):
    values = np.array([7, 8, 9])[:, None, None]
    source = write_scene(path.with_name("source.tif"), pixels=np.where(HALF, ground(), values), dtype="uint16")
    return vrt(path.with_suffix(".vrt"), source, nodata=("7", "8", "9"))


def test_one_fill_of_bands_that_declare_several_is_found_all_the_same(tmp_path, caplog):
    """As where bands that were made one by one are put together: it is hidden where none of them says so."""
    source = write_scene(tmp_path / "source.tif", pixels=np.where(HALF, ground(), 0), dtype="uint16")
    scene = Scene.open(vrt(tmp_path / "scene.vrt", source, nodata=("65535", "0", "0")))
    np.testing.assert_array_equal(whole(scene)[1], HALF)
    assert "0 in all bands is taken for nodata" in caplog.text


def nodata_of_the_dataset(path):
    write_scene(path, pixels=np.where(HALF, ground(), np.array([1, 2, 3])[:, None, None]), dtype="uint16")
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(NODATA_VALUES="1 2 3")
    return path


def mask_of_a_vrt(path):
    source = write_scene(path.with_name("source.tif"), pixels=ground(), dtype="uint16")
    mask = write_scene(path.with_name("mask.tif"), pixels=HALF[None] * 255, photometric="minisblack")
    band = (
        f'<MaskBand><VRTRasterBand dataType="Byte"><SimpleSource><SourceFilename relativeToVRT="1">{mask.name}'
        "</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></MaskBand>"
    )
    return vrt(path.with_suffix(".vrt"), source, mask=band)


def mask_of_each_band(path):
    """One band lacks the upper half of what is hidden, another the rest."""
    write_scene(path, pixels=ground(), dtype="uint16")
    upper = (np.arange(ROWS) < ROWS // 2)[:, None]
    masks = np.stack([HALF | ~upper, HALF | upper, np.ones_like(HALF)]) * 255
    beside = write_scene(path.with_name("masks.tif"), pixels=masks, photometric="minisblack")
    with rasterio.open(beside, "r+") as dataset:
        dataset.update_tags(**{f"INTERNAL_MASK_FLAGS_{n}": "0" for n in (1, 2, 3)})
    beside.rename(f"{path}.msk")
    return path


def classes(name, seen, hidden, dtype="uint16"):
    """A band that tells what each pixel shows; the ground has the same colours where it is hidden."""

    def make(path):
        rows = np.arange(ROWS)[:, None]
        kinds = np.where(HALF, np.take(seen, rows % len(seen)), np.take(hidden, rows % len(hidden)))
        names = ("B04", "B03", "B02", name)
        colors = ["undefined"] * 4
        pixels = np.concatenate([ground(dtype), kinds[None]])
        return write_scene(path, pixels=pixels, dtype=dtype, descriptions=names, colors=colors)

    return make


def zipped(path):
    mask_inside(path)
    shutil.make_archive(str(path.with_suffix("")), "zip", path.parent, path.name)
    path.unlink()
    return f"/vsizip/{path.with_suffix('.zip')}/{path.name}"


FILL = "fill, undeclared"
LEAST = np.finfo("f8").min
KINDS = {
    "alpha 255": with_alpha(255, "uint8"),
    "alpha 1 in 8 bits": with_alpha(1, "uint8"),
    "alpha 1": with_alpha(1),
    "alpha 255 in 16 bits": with_alpha(255),
    "alpha 10000": with_alpha(10000),
    "alpha 65535": with_alpha(65535),
    "alpha 1.0": with_alpha(1, "float32"),
    "nodata": with_value(0, "uint16", 0),
    "nodata 65535": with_value(65535, "uint16", 65535),
    "nodata in 8 bits": with_value(0, "uint8", 0),
    "nodata, negative": with_value(-9999, "int16", -9999),
    "nodata with digits": with_value(-9999.9, "float32", -9999.9),
    "nodata of 32 bits": with_value(-2147483648, "int32", -2147483648),
    "nodata NaN": with_value(np.nan, "float32", np.nan),
    "NaN alone": with_value(np.nan, "float64"),
    "infinity": with_value(np.inf, "float32"),
    "NaN in one band": nan_in_one_band,
    "nodata, rounded": rounded,
    "nodata of 1e30": with_value(1e30, "float32", 1e30),
    "nodata of -5e30": with_value(-5e30, "float32", -5e30),
    "nodata of ESRI": with_value(-3.4028230607370965e38, "float32", -3.4e38),
    "nodata, huge": with_value(LEAST, "float64", LEAST),
    "nodata of each band": nodata_of_each_band,
    "nodata of the dataset": nodata_of_the_dataset,
    "mask inside": mask_inside,
    "mask beside": mask_beside,
    "mask of a VRT": mask_of_a_vrt,
    "mask of each band": mask_of_each_band,
    "mask and nodata": mask_and_nodata,
    FILL: with_value(0, "uint16"),
    "in a zip": zipped,
    "scene classification": classes("SCL", (2, 3, 4, 5, 6, 7, 10, 11), (0, 1, 8, 9)),
    "scene classification as floats": classes("SCL_20m", (4, 7), (8,), "float32"),
    "scene classification in 8 bits": classes("scl", (4, 10), (9, 0), "uint8"),
    "opaque cloud": classes("QA60", (0, 2048), (1024, 3072)),
    "data mask": classes("dataMask", (1,), (0,)),
    "data mask of NaN": classes("dataMask", (1,), (np.nan,), "float32"),
}


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """Where a scene with a mask inside is seen when it is resampled, by metres."""
    scene = Scene.open(mask_inside(tmp_path_factory.mktemp("expected") / "scene.tif"))
    seen = {gsd: whole(scene.at_gsd(gsd))[1] for gsd in (1.8, 7.4, 11)}
    for gsd, valid in seen.items():
        ends = [int(share * COLS * 3.7 / gsd) for share in (0.47, 0.53)]
        assert not valid[:, : ends[0]].any()
        assert valid[2:-2, ends[1] : -2].all()
    return seen


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_pixels_are_hidden_however_they_are_read(tmp_path, kind, expected, caplog):
    scene = Scene.open(KINDS[kind](tmp_path / "scene.tif"))
    native, valid = whole(scene)
    np.testing.assert_array_equal(valid, HALF)
    assert ("does not declare" in caplog.text) is (kind == FILL)
    np.testing.assert_array_equal(scene.overview(32)[1], HALF[::4, ::4])
    for gsd, where in expected.items():
        pixels, seen = whole(scene.at_gsd(gsd))
        np.testing.assert_array_equal(seen, where, err_msg=f"{gsd} m")
        # No fill was mixed into the ground.
        assert pixels[:, seen].min() >= native[:, HALF].min()
        assert pixels[:, seen].max() <= native[:, HALF].max()


def test_what_hides_pixels_is_told(tmp_path):
    told = {kind: Scene.open(KINDS[kind](tmp_path / "scene.tif")).masking.in_words() for kind in ("alpha 1", "nodata")}
    assert told == {"alpha 1": "alpha in band 4", "nodata": "nodata 0"}
    assert Scene.open(mask_and_nodata(tmp_path / "scene.tif")).masking.in_words() == "the file's mask and nodata 0"
    filled = Scene.open(KINDS[FILL](tmp_path / "scene.tif"))
    assert filled.masking.in_words() == "fill 0, which the file does not declare"
    assert Scene.open(KINDS["data mask"](tmp_path / "scene.tif")).masking.in_words() == "data mask in band 4"
    assert Scene.open(rounded(tmp_path / "scene.tif")).masking.in_words() == "nodata -3.40282e+38"


@pytest.mark.parametrize(
    "name", ["QA_PIXEL", "Fmask", "cloud_probability", "MSK_CLDPRB", "udm2_5", "BQA", "SCL_median"]
)
def test_marks_that_nothing_is_made_of_are_told_of(tmp_path, name, caplog):
    assert not Scene.open(classes(name, (0,), (1,))(tmp_path / "scene.tif")).masking
    assert f"scene.tif: nothing is made of {name}: what it marks there" in caplog.text


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("B04", "B03", "B02", "dataMask", "QA_PIXEL"), "QA_PIXEL"),
        (("B04", "B03", "B02", "CLP", "cs_cdf"), "CLP, cs_cdf"),
        (("B04", "B03", "B02", "SCL", "QA10"), ""),  # what tells of clouds is enough
        (("red_cloudmasked", "green_cloudmasked", "blue_cloudmasked", "nir_cloudmasked", "swir"), ""),
        (("B4 of clouds", "B3 of clouds", "B2 of clouds", "nir, cloud-free", "B4_mask"), "B4_mask"),
    ],
)
def test_of_several_marks_those_are_told_of_that_matter(tmp_path, names, told, caplog):
    pixels = np.concatenate([ground(), np.full((2, ROWS, COLS), 4)])
    Scene.open(write_scene(tmp_path / "scene.tif", pixels=pixels, dtype="uint16", descriptions=names))
    assert [record.getMessage() for record in caplog.records] == (
        [f"scene.tif: nothing is made of {told}: what it marks there, such as clouds, counts as seen"] if told else []
    )


@pytest.mark.parametrize("name", ["B8A", "nir", "scale", "square", "", "AOT", "elevation"])
def test_other_bands_are_no_marks(tmp_path, name, caplog):
    assert not Scene.open(classes(name, (3,), (1,))(tmp_path / "scene.tif")).masking
    assert not caplog.text


def test_a_plain_raster_hides_nothing(tmp_path):
    plain = Scene.open(write_scene(tmp_path / "plain.tif", pixels=ground(), dtype="uint16"))
    assert plain.masking == Masking()
    assert plain.masking.in_words() == "none"
    assert whole(plain)[1].all()


def test_black_in_one_band_is_ground(tmp_path):
    pixels = ground()
    pixels[0, :20], pixels[2, 40:] = 0, 0
    scene = Scene.open(write_scene(tmp_path / "scene.tif", pixels=pixels, dtype="uint16", nodata=0))
    assert whole(scene)[1].all()
    assert whole(scene.at_gsd(7.4))[1][1:-1, 1:-1].all()


SERVER = """
import http.server, pathlib, re, sys
folder, log = map(pathlib.Path, sys.argv[1:])
class Files(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *_): pass
    def do_GET(self):
        name = self.path.partition("?")[0].lstrip("/")
        with log.open("a") as file: file.write(name + "\\n")
        path = folder / name
        content = path.read_bytes() if path.is_file() else b""
        wanted = re.match(r"bytes=(\\d+)-(\\d*)", self.headers.get("Range") or "")
        if not path.is_file(): self.send_response(404)
        elif wanted:
            first, last = int(wanted[1]), min(int(wanted[2] or len(content)), len(content) - 1)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
            content = content[first : last + 1]
        else: self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET": self.wfile.write(content)
    do_HEAD = do_GET
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Files)
print(server.server_port, flush=True)
server.serve_forever()
"""


@pytest.fixture
def served(tmp_path):
    """Serve a folder from another process: rasterio holds Python's lock while GDAL looks beside a file."""
    folder, log = tmp_path / "www", tmp_path / "log"
    folder.mkdir()
    log.touch()
    command = [sys.executable, "-c", SERVER, folder, log]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(os.environ)) as server:
        yield folder, f"http://127.0.0.1:{server.stdout.readline().strip()}", log
        server.terminate()


@pytest.mark.parametrize("name", ["scene.tif", "scene.TIFF"])
def test_a_mask_beside_a_remote_file_is_heeded_and_few_requests_are_made(served, name):
    folder, address, log = served
    mask_beside(folder / name)
    scene = Scene.open(f"{address}/{name}")
    assert (whole(scene)[1] == HALF).all()
    assert whole(scene.at_gsd(7.4))[1].mean() == pytest.approx(0.5, abs=0.03)
    asked = log.read_text().split()
    assert set(asked) <= {f"{name}{end}" for end in ("", ".msk", ".MSK", ".ovr", ".OVR", ".aux.xml")}
    assert len(asked) < 25


def test_a_signed_address_is_asked_for_alone_and_its_alpha_may_be_none(served):
    folder, address, log = served
    varied = np.arange(ROWS * COLS).reshape(1, ROWS, COLS) % 5000
    write_scene(folder / "a.tif", pixels=np.concatenate([ground(), varied]), dtype="uint16", colors=(*RGB, "alpha"))
    scene = Scene.open(f"{address}/a.tif?signature=secret")
    assert whole(scene)[1].all()
    assert whole(scene.at_gsd(7.4))[1][1:-1, 1:-1].all()
    assert set(log.read_text().split()) == {"a.tif"}
