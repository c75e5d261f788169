"""Red, green and blue by what bands are called."""

import pytest
import rasterio
from rasterio.enums import ColorInterp

from geoscan.bands import Bands, BandTable, choose, marks_pixels, table_of
from geoscan.errors import SceneError

OTHERS = """\
infra red|Infra-Red|Infra_Red|near infra red|Near Infra-Red|near-infrared|NearInfrared|Mid infra red
short-wave infra red|short wave infra red|Shortwave Infrared|thermal infra red|IR red|far red|Deep Red|Red Edge 1
red-edge|RedEdge|Vegetation Red Edge|VRE red|red_edge|NIR|nir1|SWIR 1|uncertainty red|red_mask|red quality|red std
red count|VNIR|ultra blue|Ultra Blue (coastal/aerosol)|deep blue|violet-blue|coastal blue|Coastal Aerosol|Blue-green
green_i|Green I|yellow-green|panchromatic|Yellow|QA_PIXEL|B8A|NIR08|BROADNIR|red_stdDev""".replace("\n", "|").split("|")
"""As products and people call bands that are none of the three."""

COLORS = [
    ("Red", "Green", "Blue"),
    ("B4 (Red)", "B3 (Green)", "B2 (Blue)"),
    ("Band 4 - Red", "Band 3 - Green", "Band 2 - Blue"),
    ("red, 665 nm", "green, 560 nm", "blue, 490 nm"),
    ("Surface_reflectance_red", "Surface_reflectance_green", "Surface_reflectance_blue"),
    ("red_median", "green_median", "blue_median"),
    ("Red 650-680 nm", "Green 547-585 nm", "Blue 464-517 nm"),
    ("B04", "B03", "B02"),
    ("B04_10m", "B03_10m", "B02_10m"),
    ("SR_B4", "SR_B3", "SR_B2"),
    ("R", "G", "B"),
]

LANGUAGES = [
    ("rojo", "verde", "azul", "infrarrojo cercano", "borde rojo", "azul costero"),
    ("Banda vermelha", "Banda verde", "Banda azul", "infravermelho próximo", "IVP", "Borda do vermelho"),
    ("rouge", "vert", "bleu", "proche infrarouge", "PIR rouge", "bord rouge"),
    ("Rood", "Groen", "Blauw", "nabij-infrarood", "rode rand", "Geel"),
    ("Rot", "Grün", "Blau", "nahes Infrarot", "INFRAROT", "Gelb"),
    ("rosso", "verde", "blu", "vicino infrarosso", "bordo rosso", "giallo"),
]
"""Red, green and blue as people call them, and other bands."""


def table(*names: str) -> BandTable:
    return BandTable(("uint16",) * len(names), (ColorInterp.undefined,) * len(names), names)


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("colors", COLORS)
def test_what_is_called_by_a_colour_and_more_is_another_band(other, colors):
    red, green, blue = colors
    assert choose(table(other, blue, green, red), "scene") == (4, 3, 2)
    assert choose(table(green, red, blue, other), "scene") == (2, 1, 3)


@pytest.mark.parametrize("words", LANGUAGES)
def test_colours_have_names_in_several_languages(words):
    red, green, blue, *others = words
    for other in others:
        assert choose(table(other, blue, green, red), "scene") == (4, 3, 2)
        with pytest.raises(SceneError, match=r"calls bands 1,2,3 .*, which are not red, green, blue"):
            choose(table(other, green, blue), "scene")


@pytest.mark.parametrize("first", OTHERS)
def test_without_red_the_bands_are_asked_for(first):
    with pytest.raises(SceneError, match="does not say which are red, green, blue; pass --bands"):
        choose(table("Blue", "Green", first, "Panchromatic", "Aerosol"), "scene")


def test_eight_bands_without_names_are_asked_about_as_their_makers_order_them():
    with pytest.raises(
        SceneError, match=r"pass --bands 6,4,2 when it is PlanetScope's .* or --bands 5,3,2 when it is Wo"
    ):
        choose(table(*[""] * 8), "scene")


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("20210129_075502_95_2223_3B_udm2_clip_tif", True),
        ("ortho_udm2", True),
        ("UDM2", True),
        ("asset.udm.tif", True),
        ("udm2_clear", True),
        ("udm1", True),
        ("udmurtia", False),
        ("20210129_075502_95_2223_3B_AnalyticMS_SR_clip_tif", False),
    ],
)
def test_a_usable_data_mask_is_known_by_its_word(name, wanted):
    assert marks_pixels(name) == wanted


def test_two_bands_of_one_name_are_asked_about():
    with pytest.raises(SceneError, match="does not say which are red, green, blue; pass --bands"):
        choose(table("red", "green", "blue", "red, winter", "aerosol"), "scene")


@pytest.mark.parametrize("dtype", ["uint16", "int16"])
def test_an_alpha_that_is_none_gives_the_lie_to_the_other_tags(dtype):
    tags = (ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha)
    assert choose(BandTable((dtype,) * 4, tags, ("",) * 4), "scene") == (3, 2, 1)
    assert choose(BandTable((dtype,) * 4, tags, ("",) * 4, masking_alpha=4), "scene") == (1, 2, 3)


@pytest.mark.parametrize("dtype", ["int32", "float32"])
def test_copies_in_other_types_are_asked_about(dtype):
    tags = (ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha)
    with pytest.raises(SceneError, match="does not say which are red, green, blue"):
        choose(BandTable((dtype,) * 4, tags, ("",) * 4), "scene")
    assert choose(BandTable((dtype,) * 4, tags, ("",) * 4, masking_alpha=4), "scene") == (1, 2, 3)


RGB = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)

COMPOSITES = [
    ("nir", "red", "green"),
    ("B8", "B4", "B3"),
    ("SR_B5", "SR_B4", "SR_B3"),
    ("B04", "B03", "B08"),
    ("B8A", "B4", "B3"),
    ("B08A", "B04", "B03"),
    ("swir1", "nir", "red"),
    ("VV", "VH", "VV/VH"),
    ("NDVI", "NDWI", "BSI"),
]


@pytest.mark.parametrize("names", COMPOSITES)
@pytest.mark.parametrize("tags", [RGB, (ColorInterp.gray, *(ColorInterp.undefined,) * 2)])
def test_three_bands_that_are_called_something_else_are_refused(names, tags):
    with pytest.raises(SceneError, match=r"calls bands 1,2,3 .*, which are not red, green, blue; give .*--bands"):
        choose(BandTable(("uint16",) * 3, tags, names), "scene")
    assert choose(BandTable(("uint16",) * 3, tags, names), "scene", (1, 2, 3)) == (1, 2, 3)


def test_names_go_before_tags_even_where_one_is_missing():
    assert choose(BandTable(("uint8",) * 3, RGB, ("red", "green", "")), "scene") == (1, 2, 3)
    with pytest.raises(SceneError, match="calls bands 1,2,3 blue, green, nothing"):
        choose(BandTable(("uint8",) * 3, RGB, ("blue", "green", "")), "scene")


@pytest.mark.parametrize("names", [("Band 1", "Band 2", "Band 3"), ("mean_0", "mean_1", "mean_2"), ("1", "2", "3")])
def test_names_that_say_nothing_change_nothing(names):
    assert choose(BandTable(("uint16",) * 3, RGB, names), "scene") == (1, 2, 3)


@pytest.mark.parametrize("count", [8, 12, 13])
def test_a_stack_whose_first_bands_are_tagged_is_asked_about(count):
    """GDAL tags the first three of any bands that are written as RGB; there a stack has coastal blue, blue, green."""
    others = (ColorInterp.undefined,) * (count - 3)
    with pytest.raises(SceneError, match="does not say which are red, green, blue; pass --bands"):
        choose(BandTable(("uint16",) * count, (*RGB, *others), ("",) * count), "scene")
    tagged = (ColorInterp.undefined, *reversed(RGB), *others[1:])
    assert choose(BandTable(("uint16",) * count, tagged, ("",) * count), "scene") == (4, 3, 2)


COUNTED = ["b{}", "Band_{}", "Band {}", "BAND{}"]


@pytest.mark.parametrize("name", COUNTED)
@pytest.mark.parametrize("more", [(), ("dataMask",), ("SCL",), ("QA_PIXEL", "cloud_mask")])
@pytest.mark.parametrize(("count", "right"), [(3, (1, 2, 3)), (4, (3, 2, 1))])
def test_names_that_only_count_say_nothing(count, right, more, name):
    names = [name.format(n) for n in range(1, count + 1)]
    assert choose(table(*names, *more), "scene") == right


@pytest.mark.parametrize("name", ["b{}", "BAND{}"])
def test_names_that_only_count_are_of_sentinel_2_where_they_are_all(name):
    assert choose(table(*(name.format(n) for n in range(1, 14))), "scene") == (4, 3, 2)


def test_where_names_only_count_an_alpha_and_the_tags_tell():
    tags = (ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha)
    assert choose(BandTable(("uint8",) * 4, tags, ("b1", "b2", "b3", ""), masking_alpha=4), "scene") == (1, 2, 3)


@pytest.mark.parametrize("name", COUNTED)
@pytest.mark.parametrize("count", [5, 8, 11])
def test_where_names_only_count_the_bands_are_asked_for(count, name):
    with pytest.raises(SceneError, match="does not say which are red, green, blue"):
        choose(table(*(name.format(n) for n in range(1, count + 1))), "scene")


def read(path) -> Bands:
    with rasterio.open(path) as source:
        return choose(table_of(source), "scene")


def with_wavelengths(path, lengths):
    """Write wavelengths in micrometres as GDAL keeps them."""
    with rasterio.open(path, "r+") as target:
        for band, length in enumerate(lengths, 1):
            target.update_tags(band, ns="IMAGERY", CENTRAL_WAVELENGTH_UM=str(length))
    return path


NAMELESS = [None, ("b1", "b2", "b3", "b4"), ("B1", "B2", "B3", "B4"), ("SR_B1", "SR_B2", "SR_B3", "SR_B4")]


@pytest.mark.parametrize("names", NAMELESS)
@pytest.mark.parametrize(
    ("lengths", "right"),
    [
        ((0.485, 0.56, 0.66, 0.83), (3, 2, 1)),
        ((0.443, 0.482, 0.561, 0.655), (4, 3, 2)),
        ((0.83, 0.66, 0.56, 0.485), (2, 3, 4)),
    ],
)
def test_wavelengths_go_before_numbers_and_tags(make_scene, names, lengths, right):
    path = make_scene((4, 9, 9), dtype="uint16", descriptions=names, colors=("red", "green", "blue", "undefined"))
    assert read(with_wavelengths(path, lengths)) == right


@pytest.mark.parametrize("colors", [("red", "green", "blue"), ("undefined",) * 3])
def test_infrared_by_its_wavelength_is_refused(make_scene, colors):
    path = with_wavelengths(make_scene((3, 9, 9), dtype="uint16", colors=colors), (0.833, 0.665, 0.56))
    with pytest.raises(SceneError, match="calls bands 1,2,3 infrared, red, green, which are not red, green, blue"):
        read(path)


@pytest.mark.parametrize(
    "names",
    [
        ("492 Nanometers", "560 Nanometers", "665 Nanometers"),
        ("Band 1 (492 Nanometers)", "Band 2 (560 Nanometers)", "Band 3 (665 Nanometers)"),
        ("0.492 Micrometers", "0.56 Micrometers", "0.665 Micrometers"),
        ("450-520 nm", "520 - 600 nm", "630-690 nm"),
    ],
)
def test_a_name_may_be_a_wavelength(make_scene, names):
    """As GDAL makes it of ENVI's headers; it stays in a copy."""
    assert read(make_scene((3, 9, 9), dtype="uint16", descriptions=names)) == (3, 2, 1)


def test_of_many_bands_in_one_colour_the_tags_tell_where_they_may(make_scene):
    lengths = [0.4 + 0.02 * n for n in range(20)]
    tags = ["undefined"] * 20
    tags[12], tags[8], tags[4] = "red", "green", "blue"
    path = with_wavelengths(make_scene((20, 9, 9), dtype="uint16", colors=tags), lengths)
    assert read(path) == (13, 9, 5)
    tags[19], tags[12] = "red", "undefined"
    path = with_wavelengths(make_scene((20, 9, 9), dtype="uint16", colors=tags), lengths)
    with pytest.raises(SceneError, match="calls bands 20,9,5 infrared, green, blue"):
        read(path)
    path = with_wavelengths(make_scene((20, 9, 9), dtype="uint16", colors=["undefined"] * 20), lengths)
    with pytest.raises(SceneError, match="does not say which are red, green, blue"):
        read(path)


@pytest.mark.parametrize("tag", ["nir", "rededge", "swir", "coastal", "pan", "other_ir", "yellow", "hue"])
def test_a_tag_that_is_none_of_the_three_is_heeded(make_scene, tag):
    with pytest.raises(SceneError, match=f"calls bands 1,2,3 {tag}, nothing, nothing, which are not red, green, blue"):
        read(make_scene((3, 9, 9), dtype="uint16", colors=(tag, "red", "green")))
    assert read(make_scene((4, 9, 9), dtype="uint16", colors=(tag, "red", "green", "blue"))) == (2, 3, 4)
    assert read(make_scene((3, 9, 9), colors=(tag, "undefined", "undefined"), descriptions=RGB_NAMES)) == (1, 2, 3)


RGB_NAMES = ("red", "green", "blue")


@pytest.mark.parametrize("prefix", ["B", "SR_B", "B0"])
@pytest.mark.parametrize("tags", [RGB, (ColorInterp.gray, *(ColorInterp.undefined,) * 2)])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("more", [(), ("QA_PIXEL",)])
def test_numbers_that_two_sensors_share_are_asked_about(prefix, tags, dtype, more):
    names = (*(f"{prefix}{n}" for n in range(1, 5)), *more)
    colors = (*tags, *(ColorInterp.undefined,) * (1 + len(more)))
    with pytest.raises(SceneError) as caught:
        choose(BandTable((dtype,) * len(names), colors, names), "scene")
    assert str(caught.value) == (
        f"scene has bands {', '.join(names)} and does not say which are red, green, blue; pass --bands 3,2,1 where "
        f"{prefix}1 is blue, as of Landsat 5 and 7, or --bands 4,3,2 where {prefix}2 is blue, as of Landsat 8 and 9 "
        "and Sentinel-2"
    )


@pytest.mark.parametrize(
    ("names", "right"),
    [
        (("SR_B1", "SR_B2", "SR_B3", "SR_B4", "SR_B5", "SR_B7"), (3, 2, 1)),
        (("SR_B1", "SR_B2", "SR_B3", "SR_B4", "SR_B5", "SR_B6", "SR_B7"), (4, 3, 2)),
        (("SR_B1", "SR_B2", "SR_B3", "SR_B4 nir"), (3, 2, 1)),
        (("B2", "B3", "B4", "B8"), (3, 2, 1)),
        (("B4", "B3", "B2", "B4_stdDev", "B3_stdDev", "B2_stdDev"), (1, 2, 3)),
        (("B2", "B3", "B4", "B5", "B6", "B7", "B8A", "B11", "B12"), (3, 2, 1)),
        (("B0", "B1", "B2", "B3"), (3, 2, 1)),  # Pleiades and SPOT
        (("B2", "B1", "B0", "B3"), (1, 2, 3)),
        (("B2", "B1", "B0"), (1, 2, 3)),
        (("b0", "b1", "b2"), (1, 2, 3)),  # some program's count
        (("vermelho", "verde", "azul", "infravermelho"), (1, 2, 3)),
        (("Azul", "Verde", "Vermelho", "Infravermelho Próximo"), (3, 2, 1)),
    ],
)
def test_numbers_and_words_of_known_sensors(names, right):
    assert choose(table(*names), "scene") == right


def test_what_a_sensor_counted_is_not_of_planets_make(make_scene):
    """WorldView's and Kompsat's four bands have 11 bits; some are delivered blue first, some red first."""
    pixels = {"shape": (4, 9, 9), "dtype": "uint16", "photometric": "minisblack"}
    assert read(make_scene(**pixels)) == (3, 2, 1)
    with pytest.raises(SceneError, match="does not say which are red, green, blue"):
        read(make_scene(nbits=11, **pixels))
