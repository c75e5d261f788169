"""Which chips a review labels."""

import pytest
from reviewed_layers import CHIP, area, layer, scene

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


def test_polygons_of_other_scenes_are_not_looked_for(tmp_path, plan):
    scenes = ["other.tif", "folder/scene.tif", "other.tif, scene.tif", None]
    shapes = [(area(n, n), "mine") for n in range(4)]
    found, choice = chosen(tmp_path, plan(), *shapes, scene=scenes)
    assert found == {6: "mine", 12: "mine", 18: "mine"}
    assert choice.here == {1, 2, 3}


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
