"""Which chips a review labels."""

from dataclasses import replace

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from reviewed_layers import CHIP, area, layer, scene

from geoscan.outlines import outlines
from geoscan.reviewing.choice import choose, of_scene
from geoscan.reviewing.layer import read_reviewed
from geoscan.scanning.options import ScanOptions
from geoscan.scanning.plan import Plan
from geoscan.scene import Scene


@pytest.fixture
def plan(tmp_path, make_package):
    def make(**options) -> Plan:
        path = scene(tmp_path / "scene.tif")
        return Plan.of(Scene.open(str(path)), make_package(chip=CHIP), ScanOptions(**options))

    return make


def chosen(tmp_path, plan, *polygons, **columns):
    choice = choose(plan, read_reviewed(layer(tmp_path / "layer.gpkg", *polygons, **columns)))
    return {tile: review.value for tile, (review, _) in choice.chips.items()}, choice


@pytest.mark.parametrize(
    ("shape", "tiles"),
    [
        (area(1, 1), {6}),
        (area(1, 1, 2, 2), {6, 7, 11, 12}),
        (area(1.3, 1.6, 0.2, 0.2), {6}),  # less than half of any: the one that it covers most
        (area(1, 1.4), {6}),  # 0.6 of one, 0.4 of the next
        (area(3, 4, 5, 5), {19}),  # beyond the edge
        (area(9, 9), set()),
    ],
)
def test_cores_that_are_covered_by_half_or_most(tmp_path, plan, shape, tiles):
    found, choice = chosen(tmp_path, plan(), (shape, "mine"))
    assert found == dict.fromkeys(tiles, "mine")
    assert choice.here == frozenset({0} if tiles else ())


def test_each_kind_has_its_label_and_what_nobody_reviewed_has_none(tmp_path, plan):
    found, choice = chosen(tmp_path, plan(), (area(0, 0), "mine"), (area(2, 2), "not_mine"), (area(3, 0), None))
    assert found == {0: "mine", 12: "not_mine"}
    assert choice.mixed == 0


def test_a_chip_that_shows_a_mine_too_is_one_of_a_mine(tmp_path, plan):
    found, choice = chosen(tmp_path, plan(), (area(0, 0, 2, 2), "not_mine"), (area(1, 1), "mine"))
    assert found == {0: "not_mine", 1: "not_mine", 5: "not_mine", 6: "mine"}
    assert choice.mixed == 1


@pytest.mark.parametrize("other", ["mine", "unreviewed"])
def test_no_ground_that_is_not_reviewed_is_called_no_mine(tmp_path, plan, other):
    """The lower part of the chip belongs to another polygon, and so do some pixels of overlapping chips."""
    found, choice = chosen(tmp_path, plan(), (area(0, 0, 0.7), "not_mine"), (area(0.7, 0, 1.3), other))
    assert 0 not in found
    assert choice.mixed == 1
    overlapping = chosen(tmp_path, plan(stride=16), (area(0.5, 0.5, 0.5), "not_mine"), (area(1, 0.5, 0.5), other))
    assert "not_mine" not in overlapping[0].values()
    assert overlapping[1].mixed == 2


@pytest.mark.parametrize("west", [190, 179.999, -180.001, -56])
@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3832"])  # the latter has its edges at 30 degrees west
def test_longitudes_of_a_scene_may_go_on_beyond_180(tmp_path, make_package, west, crs):
    path, step = scene(tmp_path / "scene.tif"), 3e-5
    with rasterio.open(path, "r+") as file:
        file.crs, file.transform = "EPSG:4326", Affine(step, 0, west, 0, -step, -17)
    plan = Plan.of(Scene.open(str(path)), make_package(chip=CHIP), ScanOptions())
    groups = np.zeros(plan.grid.shape, np.int32)
    groups[0], groups[2, 3], groups[3, 0] = 1, 2, 3
    shapes = outlines(groups, plan.grid, plan.scene.transform, plan.scene.crs)
    shapes += [shapely.box(edge - 1, -18, edge + 1, -16) for edge in (west % 360 - 180, -30)]  # across seams far away
    frame = geopandas.GeoDataFrame({"review": ["mine", "not_mine", "mine", *[None] * 2]}, geometry=shapes, crs=4326)
    frame.to_crs(crs).to_file(tmp_path / "layer.gpkg")
    choice = choose(plan, read_reviewed(tmp_path / "layer.gpkg"), [plan])
    found = {tile: review.value for tile, (review, _) in choice.chips.items()}
    assert found == {**dict.fromkeys(range(5), "mine"), 13: "not_mine", 15: "mine"}
    assert (choice.mixed, choice.late) == (0, 0)


def test_polygons_of_other_scenes_are_not_looked_for(tmp_path, plan):
    scenes = ["other.tif", "folder/scene.tif", None]
    shapes = [(area(n, n), "mine") for n in range(3)]
    found, choice = chosen(tmp_path, plan(), *shapes, scene=scenes)
    assert found == {6: "mine", 12: "mine"}
    assert choice.here == {1, 2}


MAY, JUNE, UNDATED = "20230501_133012_45_2463_3B_Visual.tif", "20230601_133012_45_2463_3B_Visual.tif", "other.tif"
EAST = 1.25


@pytest.fixture
def both(tmp_path, make_package):
    """Plans of two scenes; the second lies a chip and a quarter to the east."""

    def make(*names: str) -> list[Plan]:
        found = []
        for n, name in enumerate(names):
            (tmp_path / str(n)).mkdir()
            path = scene(tmp_path / str(n) / name)
            with rasterio.open(path, "r+") as file:
                file.transform = file.transform @ Affine.translation(EAST * CHIP * n, 0)
            found.append(Plan.of(Scene.open(str(path)), make_package(chip=CHIP), ScanOptions(), f"{n}/{name}"))
        return found

    return make


@pytest.mark.parametrize("review", ["mine", "not_mine"])
@pytest.mark.parametrize(
    ("names", "first", "second"),
    [
        ((MAY, JUNE), {5}, {5, 6, 7, 8}),  # what is new in June may not be there in May
        ((JUNE, MAY), {5, 6, 7, 8, 9}, set()),
        ((MAY, MAY), {5, 6, 7, 8, 9}, {5, 6, 7, 8}),
        ((MAY, UNDATED), {5}, set()),
        ((UNDATED, UNDATED), {5}, set()),
    ],
)
def test_a_polygon_of_several_scenes_labels_the_latest_that_shows_the_ground(
    tmp_path, both, review, names, first, second
):
    plans = both(*names)
    named = ", ".join(plan.name for plan in plans)
    reviewed = read_reviewed(layer(tmp_path / "layer.gpkg", (area(1, 0, 1, 5), review), scene=[named]))
    choices = [choose(plan, reviewed, plans) for plan in plans]
    assert [set(choice.chips) for choice in choices] == [first, second]
    assert [choice.late for choice in choices] == [5 - len(first), 4 - len(second)]


@pytest.mark.parametrize(
    ("names", "dates", "found"),
    [
        ("c.tif, {}", {"c.tif": "2023-06-02"}, False),
        ("c.tif, {}", {"c.tif": "2023-06-01T23:00:00Z"}, True),
        ("a, b.tif, {}", {}, False),
        ("{}", {}, True),
        ("", {}, True),
    ],
)
def test_of_scenes_that_are_not_given_the_layer_tells_the_day(tmp_path, both, names, dates, found):
    (plan,) = both(JUNE)
    path = layer(tmp_path / "layer.geojson", (area(1, 1), "mine"), scene=[names.format(JUNE)])
    reviewed = replace(read_reviewed(path), dates=dates)
    choice = choose(plan, reviewed, [plan])
    assert (set(choice.chips), choice.late) == (({6}, 0) if found else (set(), 1))


@pytest.mark.parametrize(
    ("names", "scene", "same"),
    [
        ("", "a.tif", True),
        ("a.tif", "a.tif", True),
        ("x/a.tif", "a.tif", True),
        ("a.tif", "x/a.tif", True),
        ("y/a.tif", "x/a.tif", False),
        ("ba.tif", "a.tif", False),
        ("a, b.tif", "a, b.tif", True),
    ],
)
def test_names_of_scenes(names, scene, same):
    assert of_scene(names, scene) is same
