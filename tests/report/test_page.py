"""What a report says: the likeliest first, no more than fits, nothing gone counted as found."""

from dataclasses import replace

import numpy as np
import pytest
from reported import CHIP, result

from geoscan.report import page as pages
from geoscan.report.page import page_of
from geoscan.scanning.result import found_in
from geoscan.states import Review, Status

SHAPE = (5 * CHIP, 7 * CHIP)
FIRST = {(0, 0): 0.7, (1, 3): 0.95, (3, 1): 0.8, (3, 6): 0.85}


@pytest.fixture
def results(make_scene, make_package):
    """Two scenes that meet: one mine goes on from the first into the second."""
    from affine import Affine

    package = make_package(chip=CHIP)
    pixels = np.random.default_rng(1).integers(40, 90, (3, *SHAPE))
    place = Affine(3.7, 0, 552_000, 0, -3.7, 9_317_000)
    beside = place @ Affine.translation(SHAPE[1], 0)
    paths = [make_scene(pixels=pixels, transform=at, name=f"{n}.tif") for n, at in enumerate((place, beside))]
    return [result(paths[0], package, FIRST), result(paths[1], package, {(3, 0): 0.9, (0, 5): 0.65})]


def test_the_likeliest_come_first_and_each_mine_once(results):
    page = page_of(results, found_in(results))
    assert [row.number for row in page.rows] == [1, 2, 3, 4, 5]
    assert [row.facts["score_max"] for row in page.rows] == [0.95, 0.9, 0.8, 0.7, 0.65]
    assert [list(row.maps) for row in page.rows] == [[0], [0, 1], [0], [0], [1]]
    assert all(row.close_up is not None for row in page.rows)
    assert [set(one.outlines) for one in page.scenes] == [{1, 2, 3, 4}, {2, 5}]
    assert page.total.detections == 5
    assert page.statuses == {}
    assert all(-57 < row.longitude < -56 and -7 < row.latitude < -6 for row in page.rows)


def test_a_mine_of_two_scenes_is_pictured_where_it_scores_highest(results):
    page = page_of(results, found_in(results))
    window = page.rows[1].close_up.window
    assert (window.row, window.col) == (3 * CHIP, 0), "the first column of the second scene"


def test_no_more_are_pictured_and_listed_than_fit(results, monkeypatch):
    monkeypatch.setattr(pages, "LISTED", 3)
    monkeypatch.setattr(pages, "PICTURED", 2)
    page = page_of(results, found_in(results))
    assert [row.number for row in page.rows] == [1, 2, 3]
    assert [row.number for row in page.pictured] == [1, 2]
    assert page.total.detections == 5
    assert [set(one.outlines) for one in page.scenes] == [{1, 2, 3}, {2}]


def test_what_is_gone_is_told_apart(results, monkeypatch):
    states = iter(["new", "gone", "grown", "unseen", "new"])
    plain = pages.properties
    monkeypatch.setattr(
        pages, "properties", lambda one: {**plain(one), "status": next(states), "gained_ha": 0.5, "first_seen": None}
    )
    page = page_of(results, found_in(results))
    assert page.statuses == {"new": 2, "gone": 1, "grown": 1, "unseen": 1}
    assert [row.facts["status"] for row in page.absent] == ["gone", "unseen"]
    assert {row.facts["status"] for row in page.rows} == {"new", "grown"}
    assert len(page.rows) == 3


def test_ground_that_scenes_share_counts_once(results):
    one, beside = results
    assert not page_of(results, []).overlap
    both = page_of([one, beside, one], [])
    assert both.overlap
    assert both.ground_km2 == pytest.approx(page_of(results, []).ground_km2, rel=1e-6)
    assert both.shared == pytest.approx(1 / 3, rel=1e-3)


def test_what_a_person_called_no_mine_is_counted_but_not_what_is_gone(results):
    found = found_in(results)
    assert not page_of(results, found).reviewed
    no = {"review": Review.NOT_MINE}
    said = [replace(found[0], **no), replace(found[1], **no, status=Status.GONE), *found[2:]]
    page = page_of(results, said)
    assert page.reviewed
    assert page.refuted == [pytest.approx(found[0].area_ha, abs=1e-4)]


def test_many_scenes_have_smaller_pictures(results, monkeypatch):
    sides = []
    monkeypatch.setattr("geoscan.report.scene_part.overview", lambda plan, side: sides.append(side) or 1 / 0)
    for n in (1, 9, 10_000):
        with pytest.raises(ZeroDivisionError):
            page_of(results[1:] * n, [])
    assert sides == [1600, 965, 256]
