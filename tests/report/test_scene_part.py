"""What a report says of one scene: how its ground was seen, and why pictures are missing."""

from dataclasses import replace

import numpy as np
import pytest
from reported import CHIP, FAILURE, result

from geoscan.report.scene_part import part_of
from geoscan.scanning.journal.kept_plan import from_json, to_json
from geoscan.seen import Sight

SHAPE = (5 * CHIP, 7 * CHIP)


@pytest.fixture
def scanned(make_scene, make_package):
    pixels = np.random.default_rng(1).integers(40, 90, (3, *SHAPE))
    return result(make_scene(pixels=pixels), make_package(chip=CHIP), {(1, 1): 0.9, (1, 2): 0.8, (3, 5): 0.7})


def part(of, **own):
    found = dict(enumerate(of.detections, 1))
    return part_of(of, found, own.get("own", found), 128)


def test_shares_are_those_of_the_ground_and_make_the_whole(scanned):
    shares = {one.sight: one for one in part(scanned)[0].shares}
    assert list(shares) == list(Sight)
    assert {sight: one.chips for sight, one in shares.items()} == {Sight.CLEAR: 30, **dict.fromkeys(list(Sight)[1:], 1)}
    assert sum(one.share for one in shares.values()) == pytest.approx(1)
    assert all(one.share == pytest.approx(one.chips / 35) for one in shares.values())
    observed = shares[Sight.CLEAR].share + shares[Sight.HAZY].share
    assert observed == pytest.approx(scanned.summary.observed_fraction, abs=1e-6)


def test_pixels_without_data_count_as_such_in_whatever_tile(scanned):
    observed = scanned.seen.observed.copy()
    observed[0] -= 300
    shares = part(replace(scanned, seen=replace(scanned.seen, observed=observed)))[0].shares
    assert shares[Sight.NODATA].share == pytest.approx((CHIP**2 + 300) / (35 * CHIP**2))
    assert sum(one.share for one in shares) == pytest.approx(1)


def test_causes_are_told_and_counted(scanned):
    failed = {0: FAILURE, **{tile: f"cause {tile % 30}" for tile in range(1, 80)}}
    many = replace(
        scanned,
        seen=replace(scanned.seen, failed=failed),
        summary=replace(scanned.summary, failed=len(failed)),
    )
    found = part(many)[0]
    assert len(found.causes) == 20
    assert found.causes[0] == ("cause 1", 3)
    assert sum(chips for _, chips in found.causes) + found.more_failed == 80


def test_detections_are_pictured_where_asked(scanned):
    found, close_ups = part(scanned, own={2: scanned.detections[1]})
    assert list(close_ups) == [2]
    assert set(found.outlines) == {1, 2}
    assert found.overview is not None
    assert found.no_picture == ""
    assert [one["number"] for one in found.data["detections"]] == [1, 2]
    assert (found.data["rows"], found.data["cols"], found.data["gsd"]) == (*SHAPE, pytest.approx(3.7, rel=0.01))


def test_a_journal_has_no_pictures(scanned):
    kept = replace(scanned, plan=from_json(to_json(scanned.plan)))
    found, close_ups = part(kept)
    assert found.overview is None
    assert close_ups == {}
    assert found.no_picture == "a journal holds scores, no pixels"
    assert found.outlines == part(scanned)[0].outlines
    assert found.sights


@pytest.mark.parametrize("change", ["gone", "written anew"])
def test_no_other_pixels_are_shown_than_were_scanned(scanned, make_scene, change):
    path = scanned.plan.scene.path
    if change == "gone":
        (make_scene(name="other.tif").parent / "scene.tif").unlink()
    else:
        make_scene(pixels=np.full((3, *SHAPE), 250))
    found, close_ups = part(scanned)
    assert found.overview is None
    assert close_ups == {}
    assert f"{path} was written since the scan began" in found.no_picture
