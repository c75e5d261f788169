"""Fill that no file declares is found; dark water and clouds that reach the border are not taken for it."""

import io
import zipfile

import numpy as np
import pytest
from conftest import write_scene
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from geoscan import fill
from geoscan.grid import Window
from geoscan.scene import Scene

SIDE = 192


def ground(seed=0, side=SIDE, low=300, high=2500):
    """(3, side, side) floats: hills of several sizes with a texture, a little different in each band."""
    rng = np.random.default_rng(seed)
    hills = np.zeros((3, side, side))
    for cells, height in ((4, 1.0), (12, 0.6), (48, 0.3), (side, 0.1)):
        shared, own = rng.random((cells, cells)), rng.random((3, cells, cells))
        for band in range(3):
            image = Image.fromarray((shared + 0.3 * own[band]).astype(np.float32))
            hills[band] += height * np.asarray(image.resize((side, side), Image.Resampling.BICUBIC))
    hills = (hills - hills.min()) / np.ptp(hills)
    return low + (high - low) * hills


def found(pixels, dtype="uint16", hidden=()):
    pixels = np.asarray(pixels).astype(dtype)
    looks = []

    def look(row, col, side):
        looks.append((row, col, side))
        return pixels[:, row : row + side, col : col + side]

    border = fill.find(look, *pixels.shape[1:], dtype, lambda value: value in hidden)
    assert len(looks) <= 25 + 16 * 20, "few looks, whatever the size"
    if border and border.sure:
        return border.least if border.least == border.most else (border.least, border.most)
    return None


ROWS, COLS = np.indices((SIDE, SIDE))
COLLARS = {
    "half": COLS < SIDE // 2,
    "one side": ROWS < 20,
    "all sides": (ROWS < 24) | (ROWS > SIDE - 25) | (COLS < 24) | (COLS > SIDE - 25),
    "turned": (ROWS + 3 * COLS < SIDE) | (ROWS + 3 * COLS > 3 * SIDE),
    "a corner": ROWS + COLS < 60,
    "stripes": (ROWS + COLS // 8) % 33 < 7,  # as Landsat 7 leaves them
    "a seam": (COLS >= 90) & (COLS < 95),
}


@pytest.mark.parametrize("collar", COLLARS)
@pytest.mark.parametrize(
    ("value", "dtype", "low", "high"),
    [
        (0, "uint8", 12, 180),
        (255, "uint8", 12, 180),
        (0, "uint16", 300, 2500),
        (65535, "uint16", 300, 9000),
        (0, "float32", 0.02, 0.4),
        (-9999, "int16", 100, 3000),
        (-32768, "int16", 100, 3000),
        (-9999, "float32", 0.02, 0.4),
        (10000, "float64", 0.02, 0.4),
        (1, "uint16", 300, 2500),
        (-1, "int16", 100, 3000),
        (-999, "int16", 100, 3000),
        (-1000, "int32", 100, 3000),
        (-0.125, "float32", 0.02, 0.4),
    ],
)
def test_a_border_of_one_value_is_fill(collar, value, dtype, low, high):
    pixels = np.where(COLLARS[collar], value, ground(low=low, high=high))
    assert found(pixels, dtype) == value
    assert found(pixels, dtype, hidden=[value]) is None


def test_fill_that_was_blended_at_its_end_is_fill():
    """As resampling without a nodata value does."""
    pixels = np.where(COLLARS["turned"], 0, ground()).astype(np.float32)
    box = 0.4, 0.3, SIDE - 0.5, SIDE - 0.2
    blended = [Image.fromarray(band).resize((SIDE, SIDE), Image.Resampling.BICUBIC, box) for band in pixels]
    assert found(np.stack([np.asarray(band) for band in blended]).clip(0)) == 0


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("value", "shift"), [(0, -560), (255, 560)])
def test_what_the_type_cannot_hold_is_no_fill(seed, value, shift):
    """Lakes and clouds that reach the border: all bands end at one value, each at its own place."""
    edge = np.clip(1 - np.minimum(ROWS, COLS) / 90, 0, 1) * shift
    clipped = (ground(seed, low=20, high=200) + edge).clip(0, 255)
    assert (clipped[:, :8, :8] == value).all()
    assert found(clipped, "uint8") is None


def test_a_lake_with_a_shore_is_no_fill():
    """Water is nearly black, and ends within a few pixels."""
    shore = np.clip((ROWS + COLS - 100) / 12, 0, 1)
    water = np.random.default_rng(0).integers(0, 3, (3, SIDE, SIDE)) * (ROWS + COLS > 60)
    assert found(ground(low=20, high=120) * shore + water * (1 - shore), "uint8") is None


LARGE = 640


def as_jpeg(pixels, quality=75):
    """Pixels, (3, rows, cols), as JPEG gives them back."""
    content = io.BytesIO()
    Image.fromarray(np.asarray(pixels).astype(np.uint8).transpose(1, 2, 0)).save(content, "JPEG", quality=quality)
    return np.asarray(Image.open(content)).transpose(2, 0, 1)


def turned(pixels, angle):
    """Pixels turned on a larger, black canvas, and where they are on it, (rows, cols)."""
    image = Image.fromarray(np.asarray(pixels).astype(np.uint8).transpose(1, 2, 0))
    inside = np.asarray(Image.new("L", image.size, 255).rotate(angle, expand=True)) > 0
    rotated = np.asarray(image.rotate(angle, Image.Resampling.BICUBIC, expand=True))
    return rotated.transpose(2, 0, 1), inside


def river(values, at=0.0):
    """(3, LARGE, LARGE): ground with a river of water `values` in all bands, which runs through corners if at 0."""
    rows, cols = np.indices((LARGE, LARGE))
    water = np.abs(cols - rows - 60 * np.sin(rows / 90) - at) < 50
    return np.where(water, values, ground(side=LARGE, low=20, high=160))


@pytest.mark.parametrize("quality", [75, 90])
@pytest.mark.parametrize("angle", [-8, 12, 35])
def test_a_black_collar_that_jpeg_blurred_is_fill(angle, quality, tmp_path, caplog):
    collar, inside = turned(ground(side=LARGE, low=20, high=160), angle)
    pixels = as_jpeg(collar, quality)
    assert pixels[:, ~inside].any(), "not all of it is black any more"
    scene = Scene.open(write_scene(tmp_path / "scene.tif", pixels=pixels))
    valid = scene.read(Window(0, 0, scene.rows, scene.cols))[1]
    assert valid[inside].mean() > 0.995
    assert valid[~inside].mean() < 0.04, "but for the rim"
    np.testing.assert_array_equal(valid, (pixels > 3).any(axis=0))
    assert scene.masking.in_words() == "fill 0 to 3, which the file does not declare"
    assert "its area of 0 to 3 in all bands is taken for nodata" in caplog.text
    assert "nearblack -setmask" in caplog.text


@pytest.mark.parametrize("at", [0, 200])
def test_a_dark_river_that_reaches_the_border_is_ground(at, tmp_path):
    water = np.random.default_rng(1).integers(0, 4, (3, LARGE, LARGE))
    for pixels in (river(water, at), as_jpeg(river(water, at))):
        scene = Scene.open(write_scene(tmp_path / "scene.tif", pixels=pixels))
        assert scene.read(Window(0, 0, scene.rows, scene.cols))[1].all()


def test_a_collar_is_told_of_and_counts_as_seen_where_water_is_as_dark(tmp_path, caplog):
    water = np.random.default_rng(1).integers(0, 9, (3, LARGE, LARGE))
    rows, cols = np.indices((LARGE, LARGE)) - LARGE / 2
    lake = np.hypot(rows, cols) < 150
    collar, _ = turned(np.where(lake, water, ground(side=LARGE, low=20, high=160)), 12)
    scene = Scene.open(write_scene(tmp_path / "scene.tif", pixels=as_jpeg(collar)))
    assert scene.read(Window(0, 0, scene.rows, scene.cols))[1].all()
    assert "its area of 0 to 3 in all bands looks like nodata that the file does not declare, but" in caplog.text


def cloudy(brightest=400):
    return (ground(low=20, high=180) + ground(5, low=-600, high=brightest).clip(0)).clip(0, 255).round()


def test_white_is_no_fill_where_clouds_are_white_too():
    assert found(np.where(COLLARS["half"], 255, cloudy()), "uint8") is None
    assert found(np.where(COLLARS["half"], 0, cloudy()), "uint8") == 0


def test_a_white_border_is_told_of_where_clouds_are_white_too(tmp_path, caplog):
    path = write_scene(tmp_path / "scene.tif", pixels=np.where(COLLARS["one side"], 255, cloudy(250)))
    assert Scene.open(path).masking.fill is None
    assert "area of 255 in all bands looks like nodata that the file does not declare, but ground" in caplog.text


@pytest.mark.parametrize("value", [20, 254, 700])
def test_a_value_among_the_others_is_no_fill(value):
    dtype, low, high = ("uint8", 12, 180) if value < 256 else ("uint16", 300, 2500)
    assert found(np.where(COLLARS["half"], value, ground(low=low, high=high)), dtype) is None


def test_without_ground_or_a_border_of_fill_there_is_no_fill():
    assert found(np.zeros((3, SIDE, SIDE))) is None
    assert found(ground()) is None
    assert found(np.zeros((3, 20, 400))) is None


HOLE = (ROWS - 96) ** 2 + (COLS - 96) ** 2 < 45**2


def test_a_hole_of_one_among_256_values_may_be_a_lake():
    assert found(np.where(HOLE, 0, ground(low=12, high=180)), "uint8") is None


@pytest.mark.parametrize(
    ("value", "dtype", "low", "high"),
    [(0, "uint16", 300, 2500), (1, "uint16", 300, 2500), (-9999, "int16", 100, 3000), (0, "float32", 0.02, 0.4)],
)
def test_a_hole_of_one_among_many_values_is_fill(value, dtype, low, high):
    """So clouds are cut out, and nothing is said of it; the holes hide what they hide anywhere."""
    assert found(np.where(HOLE, value, ground(low=low, high=high)), dtype) == value


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("value", "dtype"), [(0, "uint16"), (1, "uint16"), (0, "float32")])
def test_a_lake_that_was_clipped_is_no_hole(seed, value, dtype):
    """Each band ends at the least value at its own place, as where an atmospheric correction took off too much."""
    depth = np.clip(1 - np.hypot(ROWS - 96, COLS - 96) / 90, 0, 1)
    clipped = (ground(seed, low=60, high=600) - 1800 * depth).clip(value)
    assert (clipped[:, 92:100, 92:100] == value).all()
    assert found(clipped, dtype) is None


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("bend", [4, 12, 40])
@pytest.mark.parametrize("width", [3, 5, 7])
def test_a_narrow_river_that_was_clipped_is_no_stripe(width, bend, dtype):
    """All bands are 0 in it, and end at once, as where someone stretched a picture."""
    river = abs(COLS - 96 - bend * np.sin(ROWS / 20) - 0.8 * np.sin(ROWS * 1.9)) < width / 2
    low, high = (60, 200) if dtype == "uint8" else (3000, 9000)
    assert found(np.where(river, 0, ground(low=low, high=high)), dtype) is None


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("apart", [1000, 33])
@pytest.mark.parametrize("angle", [0, 13, 70])
def test_straight_canals_that_were_clipped_are_no_stripes(angle, apart, dtype):
    """One, or one beside another: a pixel that they share with the ground shows some of both."""
    across = (COLS - 93.3) * np.cos(np.radians(angle)) + (ROWS - 96) * np.sin(np.radians(angle))
    share = np.clip(3.5 - np.abs((across + apart / 2) % apart - apart / 2), 0, 1)
    scale = {"uint8": 60, "uint16": 3000, "float32": 0.1}[dtype]
    pixels = ground(low=1, high=3) * (1 - share) - 0.3 * share
    assert found((pixels * scale).clip(0), dtype) is None


def test_a_river_makes_no_fill_of_a_lake():
    """Of 256 levels both may be 0 all over."""
    river = abs(COLS - 40 - 12 * np.sin(ROWS / 20)) < 4
    assert found(np.where(river | HOLE, 0, ground(low=60, high=200)), "uint8") is None


def test_what_cannot_be_read_is_passed_over():
    pixels = np.where(COLLARS["half"], 0, ground()).astype("uint16")

    def look(row, col, side):
        return None if row < 40 else pixels[:, row : row + side, col : col + side]

    assert fill.find(look, SIDE, SIDE, "uint16") == (0, 0, True)
    assert fill.find(lambda *_: None, SIDE, SIDE, "uint16") is None


@settings(max_examples=40)
@given(st.integers(0, 2**16), st.floats(0.5, 3), st.floats(0, 1), st.sampled_from(["uint8", "uint16"]))
def test_ground_of_any_contrast_that_is_clipped_is_no_fill(seed, contrast, middle, dtype):
    top = np.iinfo(dtype).max
    pixels = (ground(seed, low=0, high=1) - middle) * contrast + 0.5
    assert found((pixels * top).clip(0, top), dtype) is None


def test_no_real_chip_has_fill(shared_data):
    """In scenes of 4 x 4 chips, as they are and brighter, until a part of them is white."""
    with zipfile.ZipFile(shared_data("eurosat-rgb.zip")) as archive:
        names = [name for name in sorted(archive.namelist()) if name.endswith(".jpg")]
        for start in range(0, len(names) - 540, 540):
            some = names[start : start + 540 : 34]
            chips = [np.asarray(Image.open(io.BytesIO(archive.read(name)))) for name in some]
            scene = np.concatenate([np.concatenate(chips[i : i + 4], axis=1) for i in range(0, 16, 4)])
            for gain in (1.0, 3.0):
                assert found((scene.transpose(2, 0, 1) * gain).clip(0, 255), "uint8") is None, (some[0], gain)
