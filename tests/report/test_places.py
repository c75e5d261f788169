"""Where detections lie in a scene's pixels: turned scenes, the antimeridian, several scenes of one mine."""

import numpy as np
import pytest
from affine import Affine
from sights import seen

from geoscan.grid import TileGrid, Window
from geoscan.polygons import Hysteresis, Provenance, detections, joined
from geoscan.report.places import Place, shown_by

SOURCE = Provenance("scene.tif", "planet", "sha256:00", Hysteresis(0.6, 0.3, 0.9), "0.1.0")
NORTH_UP = Affine(3.7, 0, 552_000, 0, -3.7, 9_317_000)
GRID = TileGrid(160, 200, 32, 32)


def of(mines, transform=NORTH_UP, crs="EPSG:32721", grid=GRID):
    """A scene in which these tiles, (down, across), score as mines, and its detections."""
    scores = np.zeros((*grid.shape, 1), np.float32)
    for at, score in mines.items():
        scores[at] = score
    scores = scores.reshape(len(grid), 1)
    what = seen(SOURCE, grid, scores, transform=transform, crs=crs)
    return what, detections(grid, scores, what.labels, SOURCE, transform, crs)


def corners(rings):
    return [{tuple(point) for point in ring} for ring in rings]


PLACES = {
    "north up": (NORTH_UP, "EPSG:32721"),
    "turned": (NORTH_UP @ Affine.rotation(30), "EPSG:32721"),
    "degrees": (Affine(3e-5, 0, -56, 0, -3e-5, -6), "EPSG:4326"),
    "beyond 180 degrees": (Affine(3e-5, 0, 180 - 96 * 3e-5, 0, -3e-5, -6), "EPSG:4326"),
}


@pytest.mark.parametrize(("transform", "crs"), PLACES.values(), ids=PLACES)
def test_an_outline_comes_back_to_the_pixels_of_its_cores(transform, crs):
    scene, (found,) = of({(1, 2): 0.95, (1, 3): 0.7}, transform, crs)
    rings = Place(scene).rings(found.geometry)
    points = np.concatenate(rings)
    assert points.min(axis=0).tolist() == [64, 32]
    assert points.max(axis=0).tolist() == [128, 64]
    if len(rings) == 1:
        assert corners(rings) == [{(64, 32), (128, 32), (128, 64), (64, 64)}]


def test_a_hole_is_a_ring_of_its_own():
    around = {(row, col): 0.7 for row in (1, 2, 3) for col in (1, 2, 3) if (row, col) != (2, 2)}
    scene, (found,) = of(around)
    assert {(64, 64), (96, 64), (96, 96), (64, 96)} in corners(Place(scene).rings(found.geometry))


def test_a_close_up_shows_what_the_model_saw_of_all_chips():
    scene, found = of({(1, 2): 0.95, (2, 3): 0.7, (4, 0): 0.99})
    windows = [Place(scene).window(one) for one in sorted(found, key=lambda one: -one.n_chips)]
    assert windows == [Window(32, 64, 64, 64), Window(128, 0, 32, 32)]


def test_a_large_detection_is_shown_around_its_best_chip():
    grid = TileGrid(64, 4000, 32, 32)
    scene, (found,) = of({(0, col): 0.99 if col == 100 else 0.7 for col in range(grid.shape[1])}, grid=grid)
    assert Place(scene).window(found) == Window(0, 100 * 32 + 16 - 512, 64, 1024)


@pytest.mark.parametrize(
    ("transform", "told"),
    [
        (NORTH_UP, "North is up."),
        (NORTH_UP @ Affine.rotation(90), "Up is 90 degrees east of north."),
        (NORTH_UP @ Affine.rotation(-30), "Up is 30 degrees west of north."),
        (NORTH_UP @ Affine.scale(-1, 1), "North is up. The picture is mirrored."),
    ],
)
def test_it_is_said_which_way_is_up(transform, told):
    assert Place(of({}, transform)[0]).up() == told


def test_a_mine_of_two_scenes_is_shown_by_both():
    _, first = of({(1, 5): 0.95, (4, 0): 0.92})
    _, second = of({(1, 0): 0.99}, NORTH_UP @ Affine.translation(192, 0))
    found = joined([first, second])
    assert len(found) == 2
    shown = shown_by([first, second], found)
    (both,) = set(shown[0]) & set(shown[1])
    assert found[both].n_chips == 2
    assert (shown[0][both].score_max, shown[1][both].score_max) == pytest.approx((0.95, 0.99))
    assert [len(one) for one in shown] == [2, 1]
    assert shown_by([[], []], []) == [{}, {}]
