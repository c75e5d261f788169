import pickle

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from rasterio.enums import Resampling

from geoscan import radiometry
from geoscan.errors import RadiometryError
from geoscan.radiometry import Radiometry, percentile, resolve, suited
from geoscan.scaling import scaling_of
from geoscan.scene import Scene

ADAPTERS = [radiometry.VISUAL, radiometry.SENTINEL2_L1C, radiometry.SENTINEL2_TCI, radiometry.PLANET_ANALYTIC]


@st.composite
def mappings(draw):
    if draw(st.booleans()):
        return draw(st.sampled_from(ADAPTERS))
    low = draw(st.tuples(*[st.floats(-1e4, 1e4)] * 3))
    width = draw(st.tuples(*[st.floats(1e-2, 1e4)] * 3))
    return Radiometry("any", low, tuple(a + b for a, b in zip(low, width, strict=True)))


@st.composite
def natives(draw):
    dtype = draw(st.sampled_from(["uint8", "uint16", "int16", "int32", "float32", "float64"]))
    shape = (3, *draw(array_shapes(min_dims=2, max_dims=2, max_side=6)))
    elements = {"allow_subnormal": False} if "float" in dtype else None
    return draw(arrays(dtype, shape, elements=elements))


@given(mappings(), natives())
def test_the_mapping_is_monotone_in_range_and_deterministic(mapping, native):
    valid = np.ones(native.shape[1:], bool)
    visual = mapping.apply(native, valid)
    assert visual.dtype == np.uint8
    assert visual.shape == native.shape
    assert (visual == mapping.apply(native.copy(), valid)).all()
    for band, mapped in zip(native.reshape(3, -1), visual.reshape(3, -1), strict=True):
        real = ~np.isnan(band) if band.dtype.kind == "f" else np.ones(band.shape, bool)
        order = np.argsort(band[real], kind="stable")
        assert (np.diff(mapped[real][order].astype(int)) >= 0).all()
        assert (mapped[~real] == 0).all()


@given(mappings(), natives(), st.data())
def test_nodata_becomes_black_and_leaves_the_others_alone(mapping, native, data):
    valid = data.draw(arrays(bool, native.shape[1:]))
    visual = mapping.apply(native, valid)
    assert (visual[:, ~valid] == 0).all()
    assert (visual[:, valid] == mapping.apply(native, np.ones_like(valid))[:, valid]).all()


@given(natives(), st.data())
def test_a_percentile_stretch_exists_for_any_pixels(native, data):
    valid = data.draw(arrays(bool, native.shape[1:]))
    if native.dtype.kind == "f":
        native = np.where(np.abs(native) < 1e30, native, np.nan).astype(native.dtype)
    visual = percentile(2, 98, native[:, valid].astype(float)).apply(native, valid)
    assert (visual[:, ~valid] == 0).all()


def test_the_input_is_left_as_it_is():
    native = np.full((3, 4, 4), 5000, "uint16")
    radiometry.PLANET_ANALYTIC.apply(native, np.zeros((4, 4), bool))
    assert (native == 5000).all()


def test_visual_keeps_every_8_bit_value():
    native = np.arange(3 * 256, dtype="uint8").reshape(3, 16, 16)
    assert (radiometry.VISUAL.apply(native, np.ones((16, 16), bool)) == native).all()


def test_true_colour_and_reflectance_of_sentinel2_meet():
    dn = np.arange(0, 3000, 50).reshape(1, 1, -1).repeat(3, axis=0)
    tci = np.rint(dn * 255 / 3558).astype("uint8")
    valid = np.ones(dn.shape[1:], bool)
    from_dn = radiometry.SENTINEL2_L1C.apply(dn.astype("uint16"), valid)
    assert np.abs(from_dn.astype(int) - radiometry.SENTINEL2_TCI.apply(tci, valid)).max() <= 1


def test_percentile_takes_each_band_from_its_own_valid_pixels():
    native = np.stack([np.arange(101.0).reshape(1, -1) * k for k in (1, 2, 3)]).astype("float32")
    native[:, 0, 100] = 1e6
    valid = native[0] < 1e6
    mapping = percentile(0, 100, native[:, valid].astype(float))
    assert mapping.low == (0, 0, 0)
    assert mapping.high == (99, 198, 297)
    assert mapping.name == "percentile:0,100"


@pytest.mark.parametrize(
    ("how", "name"),
    [
        ({"dtype": "uint8"}, "visual"),
        ({"shape": (4, 32, 32), "dtype": "uint16"}, "planet-analytic"),
        ({"shape": (4, 32, 32), "dtype": "uint16", "gsd": 10}, "percentile:2,98"),
        ({"dtype": "uint16"}, "percentile:2,98"),
        ({"dtype": "float32"}, "percentile:2,98"),
    ],
)
def test_auto_knows_the_product(make_scene, how, name):
    scene = Scene.open(make_scene(how.pop("shape", (3, 32, 32)), **how))
    chosen = resolve("auto", scene)
    assert chosen.name == name
    assert pickle.loads(pickle.dumps(chosen)) == chosen
    assert resolve(chosen.name, scene) == chosen


def test_a_stretch_does_not_depend_on_overviews(make_scene):
    """They may be empty, as where making them was ended, or of earlier pixels."""
    pixels = np.random.default_rng(0).integers(12800, 28600, (3, 600, 600))
    path = make_scene(pixels=pixels, dtype="uint16", gsd=10)
    plain = resolve("percentile:2,98", Scene.open(path))
    for factor in (0, 0.6):
        with rasterio.open(path, "r+") as dataset:
            dataset.build_overviews([2, 4], Resampling.nearest)
        with rasterio.open(path, "r+", overview_level=0) as overview:
            overview.write((pixels[:, ::2, ::2] * factor).astype(np.uint16))
        scene = Scene.open(path)
        assert scene.overview(300)[0].mean() == pytest.approx(pixels.mean() * factor, rel=0.01)
        assert resolve("percentile:2,98", scene) == plain


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("visaul", "did you mean visual"),
        ("sentinel2", "did you mean sentinel2"),
        ("qqqq", "pass one of auto, visual"),
        ("visual:3", "takes no numbers"),
        ("percentile:2", "two numbers"),
        ("percentile:a,b", "two numbers"),
        ("percentile:98,2", "LOW < HIGH"),
        ("percentile:nan,2", "LOW < HIGH"),
        ("percentile:0,101", "LOW < HIGH"),
        ("planet-analytic", "not 8-bit pixels"),
    ],
)
def test_a_spec_that_does_not_fit_is_answered_in_one_line(make_scene, spec, says):
    with pytest.raises(RadiometryError, match=says) as caught:
        resolve(spec, Scene.open(make_scene()))
    assert "\n" not in str(caught.value)


def test_visual_refuses_16_bits(make_scene):
    with pytest.raises(RadiometryError, match=r"visual takes 8-bit pixels, scene\.tif has uint16"):
        resolve("visual", Scene.open(make_scene(dtype="uint16")))


def planet_pairs(shared_data):
    """The six chips that exist both ways: (6, 3, 65536) of native and of visual values."""
    natives, visuals = [], []
    for n in range(6):
        with rasterio.open(shared_data(f"planet/train-tif-v2/train_{n}.tif")) as chip:
            natives.append(chip.read([3, 2, 1]).reshape(3, -1).astype(float))
        # GDAL turns their four components (CMYK) into red, green, blue as Pillow does.
        with rasterio.open(shared_data(f"planet/train-jpg/train_{n}.jpg")) as chip:
            visuals.append(chip.read([1, 2, 3]).reshape(3, -1).astype(float))
    return np.array(natives), np.array(visuals)


def least_deviations(native, visual):
    """Ends of the line with the least absolute deviation, by reweighted least squares."""
    slope, offset = np.polyfit(native, visual, 1)
    for _ in range(30):
        weight = 1 / np.maximum(np.abs(slope * native + offset - visual), 0.5)
        slope, offset = np.polyfit(native, visual, 1, w=np.sqrt(weight))
    return -offset / slope, (255 - offset) / slope


def fit(natives, visuals):
    """Every 13th pixel tells as much as all."""
    ends = [least_deviations(natives[:, b, ::13].ravel(), visuals[:, b, ::13].ravel()) for b in range(3)]
    return Radiometry("fitted", *map(tuple, np.array(ends).T))


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_planet_analytic_is_what_the_pairs_give(shared_data):
    natives, visuals = planet_pairs(shared_data)
    fitted = fit(natives, visuals)
    assert np.allclose(fitted.low, radiometry.PLANET_ANALYTIC.low, atol=1)
    assert np.allclose(fitted.high, radiometry.PLANET_ANALYTIC.high, atol=1)

    valid = np.ones((1, natives.shape[2]), bool)
    errors = []
    for left_out in range(6):
        others = np.arange(6) != left_out
        mapped = fit(natives[others], visuals[others]).apply(natives[left_out][:, None], valid)[:, 0]
        errors.append(np.abs(mapped - visuals[left_out]).mean(axis=1))
    red, green, blue = np.mean(errors, axis=0)
    assert (red, green, blue) == (
        pytest.approx(20.6, abs=0.1),
        pytest.approx(15.7, abs=0.1),
        pytest.approx(31.9, abs=0.1),
    )
    assert np.mean(errors) < 22.8


@pytest.mark.parametrize(
    ("wanted", "dtype", "found"),
    [
        ("visual", "uint8", "auto"),
        ("visual", "uint16", "auto"),
        ("sentinel2-l1c", "uint16", "sentinel2-l1c"),
        ("sentinel2-l1c", "uint8", "sentinel2-tci"),
        ("percentile:2,98", "uint8", "percentile:2,98"),
    ],
)
def test_a_models_look_comes_from_the_product_that_the_scene_is(make_scene, wanted, dtype, found):
    level = 200 if dtype == "uint8" else 900
    scene = Scene.open(make_scene(pixels=level + np.arange(192).reshape(3, 8, 8) % 5, dtype=dtype))
    assert suited(wanted, scene, scaling_of(scene)) == found
    resolve(found, scene, scaling_of(scene))
