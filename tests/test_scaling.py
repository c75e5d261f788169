"""Scale and offset from what is asked for, from metadata, and from the pixels."""

import numpy as np
import pytest
import rasterio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scans import break_block

from geoscan.errors import RadiometryError, ReadError
from geoscan.products import Scaling
from geoscan.radiometry import resolve, suited
from geoscan.scaling import described, scaling_of
from geoscan.scene import Scene

RNG = np.random.default_rng(5)
GROUND = RNG.gamma(3.0, 250, (3, 96, 96)).clip(30, 9000).round()
"""Reflectance x 10,000 of a scene with dark and bright ground."""


def seen(path, **asked) -> Scaling | None:
    return scaling_of(Scene.open(path), **asked)


def looks(path) -> np.ndarray:
    """The scene as the Sentinel-2 model sees it."""
    scene = Scene.open(path)
    scaling = scaling_of(scene)
    whole = scene.overview()
    return resolve(suited("sentinel2-l1c", scene, scaling), scene, scaling).apply(*whole)


@pytest.mark.parametrize(
    ("stored", "dtype", "scale", "offset"),
    [
        (GROUND, "uint16", 1e-4, 0.0),
        (GROUND, "int16", 1e-4, 0.0),
        (GROUND, "float32", 1e-4, 0.0),
        (GROUND + 1000, "uint16", 1e-4, -0.1),
        (GROUND + 1000, "float32", 1e-4, -0.1),
        (GROUND / 1e4, "float32", 1.0, 0.0),
        (GROUND / 1e4, "float64", 1.0, 0.0),
        (GROUND / 1e4 + 0.1, "float32", 1.0, -0.1),
        (GROUND / 1e4 + 0.1, "float64", 1.0, -0.1),
    ],
)
def test_the_pixels_tell_where_nothing_else_does(make_scene, stored, dtype, scale, offset):
    path = make_scene(pixels=stored, dtype=dtype, gsd=10)
    assert seen(path) == Scaling((scale,) * 3, (offset,) * 3, "pixels")
    plain = looks(make_scene(pixels=GROUND, dtype="uint16", gsd=10, name="plain.tif"))
    # Floats lie to either side of the half between two levels.
    assert np.abs(looks(path).astype(int) - plain).max() <= (1 if scale == 1 and offset else 0)


@pytest.mark.parametrize(
    ("pixels", "dtype"),
    [
        (GROUND / 40, "uint8"),
        (GROUND / 40, "uint16"),
        ((GROUND * 20).clip(0, 65535), "uint16"),
        (GROUND * 100, "float32"),
    ],
)
def test_values_that_fit_nothing_are_taken_for_nothing(make_scene, pixels, dtype):
    scene = Scene.open(make_scene(pixels=pixels.clip(0, 255 if dtype == "uint8" else None), dtype=dtype, gsd=10))
    assert scaling_of(scene) is None
    if dtype != "uint8":
        with pytest.raises(RadiometryError, match=r"neither reflectance .* pass --scale and --offset"):
            suited("sentinel2-l1c", scene, None)


def test_what_is_asked_for_goes_first(make_scene):
    path = make_scene(pixels=GROUND, dtype="uint16")
    assert seen(path, scale=(2e-5,) * 3) == Scaling((2e-5,) * 3, (0.0,) * 3, "option")
    assert seen(path, offset=(-0.1,) * 3) == Scaling((1.0,) * 3, (-0.1,) * 3, "option")
    with pytest.raises(RadiometryError, match="a scale of 0"):
        seen(path, scale=(0.0, 1.0, 1.0))


AGAINST = "pixels, against metadata"


@pytest.mark.parametrize(("added", "offset", "source"), [(1000, -0.1, "metadata"), (0, 0.0, AGAINST)])
def test_gdals_own_scale_and_offset_are_heeded_but_an_offset_is_not_taken_off_twice(
    make_scene, added, offset, source, caplog
):
    path = make_scene(pixels=GROUND + added, dtype="uint16", gsd=10)
    with rasterio.open(path, "r+") as target:
        target.scales, target.offsets = (1e-4,) * 3, (-0.1,) * 3
    assert seen(path) == Scaling((1e-4,) * 3, (offset,) * 3, source)
    said = "so its offset is left out, as taken off already: --scale and --offset override"
    assert [said in line for line in caplog.messages] == ([] if added else [True])
    plain = make_scene(pixels=GROUND, dtype="uint16", gsd=10, name="plain.tif")
    assert (looks(path) == looks(plain)).all()


@pytest.mark.parametrize("share", [0.006, 0.02, 0.04])
def test_an_offset_stays_though_some_shadow_reflects_less_than_nothing_by_it(make_scene, share, caplog):
    pixels = GROUND + 1000
    pixels[2, : round(96 * share**0.5), : round(96 * share**0.5)] = 700
    path = make_scene(pixels=pixels, dtype="uint16", gsd=10)
    with rasterio.open(path, "r+") as target:
        target.scales, target.offsets = (1e-4,) * 3, (-0.1,) * 3
    assert seen(path) == Scaling((1e-4,) * 3, (-0.1,) * 3, "metadata")
    assert not caplog.messages


DESERT = np.array([0.24, 0.17, 0.12])[:, None, None] * RNG.uniform(0.9, 1.9, (1, 96, 96))
"""Reflectance of sand from above the atmosphere: red and bright, with nothing dark in any band."""


@pytest.mark.parametrize(
    ("ground", "what"),
    [
        (DESERT, "sand"),
        (DESERT * 0.6, "dark, dry ground"),
        (RNG.uniform(0.2, 0.9, (3, 96, 96)), "snow and cloud"),
        (RNG.uniform(0.2, 0.9, (1, 96, 96)).repeat(3, axis=0), "salt"),
    ],
)
@pytest.mark.parametrize(("scale", "dtype"), [(1.0, "float32"), (1e-4, "uint16")])
def test_bright_ground_is_no_offset(make_scene, ground, what, scale, dtype):
    found = seen(make_scene(pixels=ground / scale, dtype=dtype, gsd=10))
    assert found == Scaling((scale,) * 3, (0.0,) * 3, "pixels"), what


IMPLAUSIBLE = {
    "of 1 on integers x 10,000": (GROUND, "uint16", 1.0, -0.1, 1e-4),
    "of 0.0001 on 0..1": (GROUND / 1e4, "float32", 1e-4, 0.0, 1.0),
    "of radiance": (GROUND, "uint16", 0.01, 0.0, 1e-4),
    "NaN": (GROUND, "uint16", np.nan, 0.0, 1e-4),
    "0": (GROUND, "uint16", 0.0, 0.0, 1e-4),
    "negative": (GROUND, "uint16", -1e-4, 0.0, 1e-4),
    "infinite offset": (GROUND, "uint16", 1e-4, np.inf, 1e-4),
    "of a picture": (GROUND / 40, "uint8", 5.0, 0.0, None),
}


@pytest.mark.parametrize("kind", IMPLAUSIBLE)
def test_a_scale_that_cannot_be_is_told_of_and_the_pixels_are_asked(make_scene, kind, caplog):
    pixels, dtype, scale, offset, wanted = IMPLAUSIBLE[kind]
    path = make_scene(pixels=pixels.clip(0, 255 if dtype == "uint8" else None), dtype=dtype, gsd=10)
    with rasterio.open(path, "r+") as target:
        target.scales, target.offsets = (scale,) * 3, (offset,) * 3
    assert seen(path) == (wanted and Scaling((wanted,) * 3, (0.0,) * 3, AGAINST))
    (line,) = caplog.messages
    assert "scene.tif: its metadata says" in line
    assert "the pixels are asked: --scale and --offset override" in line


@pytest.mark.parametrize(
    ("scale", "offset", "pixels", "dtype"),
    [
        (2.75e-5, -0.2, (GROUND / 1e4 + 0.2 - 0.035) / 2.75e-5, "uint16"),  # Landsat; shadows come out too dark
        (1e-4, 0.0, GROUND, "uint16"),
        (1 / 255, 0.0, (GROUND / 1e4 * 255).clip(0, 255), "uint8"),
        (1 / 65534, 0.5, (GROUND / 1e4 - 0.5) * 65534, "int16"),  # 0..1 packed into all that a type holds
        (1e-4, 0.0, np.full((3, 64, 64), 60) + GROUND[:, :64, :64] % 20, "uint16"),  # the sea alone
    ],
)
def test_a_scale_that_may_be_is_kept(make_scene, scale, offset, pixels, dtype, caplog):
    path = make_scene(pixels=pixels, dtype=dtype, gsd=10)
    with rasterio.open(path, "r+") as target:
        target.scales, target.offsets = (scale,) * 3, (offset,) * 3
    assert seen(path) == Scaling((scale,) * 3, (offset,) * 3, "metadata")
    assert not caplog.messages


@pytest.mark.parametrize("scale", [1e-4, 2e-5])
@pytest.mark.parametrize("added", [0.0, 0.1])
def test_a_scale_without_an_offset_leaves_that_to_the_pixels(make_scene, scale, added, caplog):
    path = make_scene(pixels=(GROUND / 1e4 + added) / scale, dtype="uint16", gsd=10)
    with rasterio.open(path, "r+") as target:
        target.scales = (scale,) * 3
    assert seen(path) == Scaling((scale,) * 3, (-added if added else 0.0,) * 3, AGAINST if added else "metadata")
    assert len(caplog.messages) == bool(added)
    if added:
        assert "by which nothing is dark; so 0.1 is taken off, which ESA adds: --scale and --offset" in caplog.text


LANDSAT = (GROUND / 1e4 + 0.2) / 2.75e-5


@pytest.mark.parametrize(
    ("pixels", "dtype", "scale", "offset", "source"),
    [
        (LANDSAT, "uint16", 2.75e-5, -0.2, "band names"),
        (LANDSAT, "float32", 2.75e-5, -0.2, "band names"),
        (LANDSAT - 1300, "uint16", 2.75e-5, -0.2, "band names"),  # dark water comes out below 0
        (GROUND, "uint16", 1e-4, 0.0, "pixels"),
        (GROUND + 1000, "uint16", 1e-4, -0.1, "pixels"),
        (GROUND / 1e4, "float32", 1.0, 0.0, "pixels"),
        (DESERT * 1e4, "uint16", 1e-4, 0.0, "pixels"),
    ],
)
@pytest.mark.parametrize("names", [("SR_B4", "SR_B3", "SR_B2"), ("SR_B3_median", "SR_B2_median", "SR_B1_median")])
def test_what_is_called_as_landsats_is_read_so_where_it_may_be(make_scene, pixels, dtype, scale, offset, source, names):
    path = make_scene(pixels=pixels, dtype=dtype, gsd=30, descriptions=names)
    assert seen(path) == Scaling((scale,) * 3, (offset,) * 3, source)


@pytest.mark.parametrize("bits", [10, 11, 12, 16])
def test_what_a_sensor_counted_is_no_reflectance(make_scene, bits, caplog):
    path = make_scene(pixels=(GROUND / 8).clip(0, 2**10 - 1), dtype="uint16", nbits=bits)
    if bits < 12:
        assert seen(path) is None
        assert "scene.tif: its values have no more bits than what a sensor counts" in caplog.text
        assert resolve("auto", Scene.open(path), None).name == "percentile:2,98"
        assert seen(path, scale=(1e-4,) * 3).source == "option"
    else:
        assert seen(path) == Scaling((1e-4,) * 3, (0.0,) * 3, "pixels")


@pytest.mark.parametrize(("low", "wanted"), [(1809, "planet-analytic"), (200, "reflectance")])
def test_planets_radiance_has_nothing_dark_in_blue(make_scene, low, wanted):
    pixels = (np.concatenate([GROUND, GROUND[:1]]) + low).astype("uint16")
    scene = Scene.open(make_scene(pixels=pixels, dtype="uint16", gsd=3.0))
    assert scene.planet
    assert resolve("auto", scene, scaling_of(scene)).name == wanted


def test_nodata_says_nothing(make_scene):
    pixels = GROUND + 1000
    pixels[:, :40] = 0
    assert seen(make_scene(pixels=pixels, dtype="uint16", nodata=0)).offset == (-0.1,) * 3


@pytest.mark.parametrize(("dtype", "scale"), [("uint16", 1e-4), ("int16", 1e-4), ("float32", 1.0)])
def test_a_scene_without_data_is_one(make_scene, dtype, scale, caplog):
    """Nobody can tell what its values would mean, and nobody needs to: tiles at the edge of a mosaic hold none."""
    path = make_scene(pixels=GROUND * 0, dtype=dtype, nodata=0)
    assert seen(path) == Scaling((scale,) * 3, (0.0,) * 3, "assumed, without any pixels")
    assert (
        f"shows no data wherever it was looked at; should there be some, reflectance = value x {scale:g}" in caplog.text
    )
    assert looks(path).max() == 0


@pytest.mark.parametrize(
    ("value", "dtype"), [(0, "uint16"), (1500, "uint16"), (-9999, "int16"), (0.25, "float32"), (1234567, "int32")]
)
def test_a_scene_of_one_value_is_refused(make_scene, value, dtype):
    path = make_scene(pixels=GROUND * 0 + value, dtype=dtype)
    with pytest.raises(RadiometryError, match=rf"nothing but {value}\b.*gdal_edit.py -a_nodata {value}\b"):
        seen(path)


@pytest.mark.parametrize("at", [150, 1000, 2900])
def test_what_lies_between_the_windows_that_are_looked_at_is_found(make_scene, at):
    pixels = np.zeros((3, 3000, 600), np.uint16)
    pixels[:, at : at + 40, 200:280] = GROUND[:, :40, :80] + 1000
    path = make_scene(pixels=pixels, dtype="uint16", gsd=10, nodata=0)
    assert seen(path) == Scaling((1e-4,) * 3, (-0.1,) * 3, "pixels")


def test_a_damaged_block_of_a_small_scene_leaves_the_others_to_ask(make_scene):
    layout = {"tiled": True, "blockxsize": 128, "blockysize": 128, "compress": "deflate"}
    path = make_scene(pixels=np.tile(GROUND, (1, 2, 2)), dtype="uint16", gsd=10, **layout)
    whole = seen(path)
    assert seen(break_block(path, 0, 0)) == whole == Scaling((1e-4,) * 3, (0.0,) * 3, "pixels")
    for down, across in ((0, 1), (1, 0), (1, 1)):
        break_block(path, down, across)
    with pytest.raises(ReadError, match=r"scene\.tif (cannot be read|is damaged)"):
        seen(path)


def test_it_is_said_in_words():
    assert described(None) == "values as they are"
    assert described(Scaling((1e-4,) * 3, (-0.1,) * 3, "metadata")) == "reflectance = value x 0.0001 - 0.1 (metadata)"
    assert described(Scaling((1.0,) * 3, (0.0,) * 3, "pixels")) == "reflectance = value x 1 (pixels)"


NAMES = {
    "plain": (None, None, None),
    "sentinel": ("B04", "B03", "B02"),
    "sentinel 10 m": ("B04_10m", "B03_10m", "B02_10m"),
    "landsat": ("SR_B4", "SR_B3", "SR_B2"),
    "words": ("Red", "GREEN band", "blue, 490 nm"),
}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(
    st.sampled_from(sorted(NAMES)),
    st.permutations([0, 1, 2]),
    st.sampled_from(["uint16", "int16", "float32", "unit"]),
    st.booleans(),
    st.sampled_from([{}, {"tiled": True, "blockxsize": 16, "blockysize": 16}, {"interleave": "band"}]),
    st.booleans(),
)
def test_the_same_ground_gives_the_same_look(make_scene, names, order, dtype, shifted, layout, half):
    """Whatever the type, scale, offset, order, nodata and layout; a file without names is red, green, blue."""
    order = [0, 1, 2] if names == "plain" else order
    ground = GROUND.copy()
    stored = (ground + 1000 * (shifted and dtype != "unit")) / (1e4 if dtype == "unit" else 1)
    plain = make_scene(pixels=ground, dtype="uint16", gsd=10, name="plain.tif")
    expected = looks(plain)
    if half:
        stored[:, :, :30] = 0
        expected[:, :, :30] = 0
    path = make_scene(
        pixels=stored[order],
        dtype="float32" if dtype == "unit" else dtype,
        descriptions=None if names == "plain" else [NAMES[names][i] for i in order],
        nodata=0 if half else None,
        gsd=10,
        **layout,
    )
    assert np.abs(looks(path).astype(int) - expected).max() <= (1 if dtype == "unit" else 0)
