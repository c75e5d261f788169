"""Red, green and blue by what bands are called."""

import pytest
from rasterio.enums import ColorInterp

from geoscan.bands import BandTable, choose
from geoscan.errors import SceneError

OTHERS = """\
infra red|Infra-Red|Infra_Red|near infra red|Near Infra-Red|near-infrared|NearInfrared|Mid infra red
short-wave infra red|short wave infra red|Shortwave Infrared|thermal infra red|IR red|far red|Deep Red|Red Edge 1
red-edge|RedEdge|Vegetation Red Edge|VRE red|red_edge|NIR|nir1|SWIR 1|uncertainty red|red_mask|red quality|red std
red count|VNIR|ultra blue|Ultra Blue (coastal/aerosol)|deep blue|violet-blue|coastal blue|Coastal Aerosol|Blue-green
green_i|Green I|yellow-green|panchromatic|Yellow|QA_PIXEL""".replace("\n", "|").split("|")
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


def table(*names: str) -> BandTable:
    return BandTable(("uint16",) * len(names), (ColorInterp.undefined,) * len(names), names)


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("colors", COLORS)
def test_what_is_called_by_a_colour_and_more_is_another_band(other, colors):
    red, green, blue = colors
    assert choose(table(other, blue, green, red), "scene") == (4, 3, 2)
    assert choose(table(green, red, blue, other), "scene") == (2, 1, 3)


@pytest.mark.parametrize("first", OTHERS)
def test_without_red_the_bands_are_asked_for(first):
    with pytest.raises(SceneError, match="does not say which are red, green, blue; pass --bands"):
        choose(table("Blue", "Green", first, "Panchromatic", "Aerosol"), "scene")


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
