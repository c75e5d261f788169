"""What became of mines: by chips that lie otherwise, at the antimeridian, by the thousand."""

import time
from dataclasses import replace

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sights import seen

from geoscan.changes import compared, counts, date_of, present, seen_ground, since
from geoscan.grid import TileGrid
from geoscan.outlines import ACTIVATION, areas_ha, outlines, projector
from geoscan.polygons import Detection, Hysteresis, Provenance, detections, joined
from geoscan.seen import Sight
from geoscan.states import Review, Status

SOURCE = Provenance("scene.tif", "planet", "sha256:00", Hysteresis(0.5, 0.4, 0.6), "0.1.0")
CHIP, GSD = 16, 60.0
UTM = "EPSG:32721"


def chips(mask: np.ndarray, right: int = 0, down: int = 0) -> list[Detection]:
    """Detections of what a mask shows, by chips of 16 px that begin so many pixels from its corner."""
    side = mask.shape[0] // CHIP * CHIP - CHIP
    share = mask[down : down + side, right : right + side].reshape(side // CHIP, CHIP, -1, CHIP).mean((1, 3))
    scores = (share > 0).astype(np.float32).reshape(-1, 1)
    transform = Affine(GSD, 0, 500_000 + right * GSD, 0, -GSD, 9_200_000 - down * GSD)
    grid = TileGrid(side, side, CHIP, CHIP)
    return detections(grid, scores, ("artisinal_mine",), SOURCE, transform, UTM)


def disc(radius: float, row: float = 80.5, col: float = 80.5) -> np.ndarray:
    rows, cols = np.mgrid[:176, :176]
    return np.hypot(rows - row, cols - col) <= radius


def box(west: float, south: float, side: float = 0.01, *, n_chips: int = 1, **how) -> Detection:
    shape = shapely.box(west, south, west + side, south + side)
    area = float(areas_ha([shape])[0])
    return Detection(shape, 0.9, 0.9, None, n_chips, area, {}, "clear", 0.0, SOURCE, **how)


@settings(max_examples=15)
@given(
    st.integers(0, CHIP - 1),
    st.integers(0, CHIP - 1),
    st.floats(1, 40),
    st.floats(70, 90),
    st.floats(70, 90),
)
@example(right=3, down=1, radius=18.5, row=82.0, col=70.0)  # a strip of 15/16 of a chip, longer than 1.5 chips
def test_an_unchanged_mine_never_grows_because_chips_lie_otherwise(right, down, radius, row, col):
    mask = disc(radius, row, col)
    (one,) = compared(chips(mask, right, down), chips(mask), None)
    assert one.status is Status.KNOWN


@pytest.mark.parametrize(("right", "down"), [(0, 0), (8, 8), (3, 14)])
def test_a_mine_that_spreads_by_two_chips_grows(right, down):
    before, after = chips(disc(12)), chips(disc(12 + 2 * CHIP), right, down)
    (one,) = compared(after, before, None)
    assert one.status is Status.GROWN
    outside = shapely.difference(after[0].geometry, before[0].geometry)
    assert one.gained_ha == pytest.approx(areas_ha([outside])[0])


def test_one_chip_more_is_no_growth_and_two_are():
    old, wide = box(0, 0), [box(0, 0), box(0.01, 0), box(0.02, 0)]
    for more, status in ((2, Status.KNOWN), (3, Status.GROWN)):
        shape = shapely.union_all([one.geometry for one in wide[:more]])
        now = replace(old, geometry=shape, n_chips=more, area_ha=sum(one.area_ha for one in wide[:more]))
        (one,) = compared([now], [old], None)
        assert one.status is status
        assert one.gained_ha == pytest.approx((more - 1) * old.area_ha, rel=1e-6)


def test_a_large_mine_grows_by_a_fifth():
    old = box(0, 0, 0.1, n_chips=100)
    shapes = [shapely.box(0, 0, 0.1 + more, 0.1) for more in (0.019, 0.03)]
    now = [replace(old, geometry=one, n_chips=120, area_ha=float(areas_ha([one])[0])) for one in shapes]
    assert [compared([one], [old], None)[0].status for one in now] == [Status.KNOWN, Status.GROWN]


@pytest.mark.parametrize("kind", [ACTIVATION, ""])
@pytest.mark.parametrize("n_chips", [0, 1000])
def test_chips_around_finer_outlines_are_no_growth(n_chips, kind):
    old = box(0.0099, 0.0099, 0.0002, n_chips=n_chips)
    old = replace(old, provenance=replace(SOURCE, outline=kind))
    now = box(0, 0, 0.02, n_chips=4)
    assert compared([now], [old], None)[0].status is Status.KNOWN
    wider = box(-0.02, -0.02, 0.06, n_chips=36)
    assert compared([wider], [old], None)[0].status is Status.GROWN


FINE = replace(SOURCE, outline=ACTIVATION)


def evidence(mask: np.ndarray, right: int = 0, down: int = 0) -> list[Detection]:
    """Likewise of outlines by activation: cells of 2 px that show it, of chips of which it covers a tenth."""
    side, cell = mask.shape[0] // CHIP * CHIP - CHIP, 2
    part = mask[down : down + side, right : right + side]
    share = part.reshape(side // CHIP, CHIP, -1, CHIP).mean((1, 3))
    cells = part.reshape(side // cell, cell, -1, cell).any((1, 3))

    def outliner(groups, grid, transform, crs):
        fine = np.where(cells, np.repeat(np.repeat(groups, CHIP // cell, 0), CHIP // cell, 1), 0).astype(np.int32)
        return outlines(fine, TileGrid(side, side, cell, cell), transform, crs)

    transform = Affine(GSD, 0, 500_000 + right * GSD, 0, -GSD, 9_200_000 - down * GSD)
    grid, scores = TileGrid(side, side, CHIP, CHIP), (share >= 0.1).astype(np.float32).reshape(-1, 1)
    return detections(grid, scores, ("artisinal_mine",), FINE, transform, UTM, outliner=outliner)


def river(width: float, length: float, angle: float, row: float = 80.5, col: float = 80.5) -> np.ndarray:
    """A mine along a river."""
    rows, cols = np.mgrid[:176, :176]
    along = (cols - col) * np.cos(angle) + (rows - row) * np.sin(angle)
    across = (rows - row) * np.cos(angle) - (cols - col) * np.sin(angle)
    return (np.abs(along) <= length / 2) & (np.abs(across) <= width / 2)


SHIFT = st.integers(0, CHIP - 1)


@settings(max_examples=15)
@given(SHIFT, SHIFT, st.floats(5, 14), st.floats(30, 110), st.floats(0, np.pi), st.floats(70, 90))
@example(right=8, down=8, width=12.0, length=100.0, angle=0.8, row=80.0)
def test_an_unchanged_mine_never_grows_by_fine_outlines(right, down, width, length, angle, row):
    for mask in (river(width, length, angle, row), disc(length / 3, row)):
        told = compared(evidence(mask, right, down), evidence(mask), None)
        assert Status.GROWN not in [one.status for one in told]


@settings(max_examples=15)
@given(SHIFT, SHIFT, st.floats(6, 12), st.floats(50, 60), st.floats(0, np.pi))
def test_a_narrow_mine_that_doubles_grows(right, down, width, length, angle):
    before, after = river(width, length, angle), river(width, 2 * length, angle)
    told = compared(evidence(after, right, down), evidence(before), None)
    assert Status.GROWN in [one.status for one in told]


@pytest.mark.parametrize("source", [FINE, SOURCE])
def test_growth_is_told_where_the_earlier_chips_are_smaller(source):
    """By half a stride, or since somebody cut a detection and each part says how many chips the whole had."""
    whole = replace(box(0, 0, 0.02, n_chips=4), provenance=source)
    now = replace(whole, geometry=shapely.box(0, 0, 0.02, 0.03), n_chips=6, area_ha=1.5 * whole.area_ha)
    for before in (
        [replace(whole, n_chips=16)],
        [replace(box(0.01 * n, 0, 0.01, n_chips=9), provenance=source) for n in (0, 1)],
    ):
        assert compared([now], before, None)[0].status is Status.GROWN


def test_gone_needs_the_place_to_be_seen():
    old = [box(0, 0), box(1, 0), box(2, 0)]
    ground = [shapely.box(-1, -1, 0.006, 1), shapely.box(0.005, -1, 0.5, 1), shapely.box(0.9, -1, 1.008, 1)]
    ground.append(shapely.box(1.001, -1, 1.008, 1))  # the same ground twice is not more of it
    told = compared([], old, ground)
    assert [one.status for one in told] == [Status.GONE, Status.UNSEEN, Status.UNSEEN]
    assert [one.status for one in compared([], told, None)] == [Status.GONE, Status.UNSEEN, Status.UNSEEN]
    assert present(told) == []
    assert counts(told) == {"new": 0, "known": 0, "grown": 0, "gone": 1, "unseen": 2}


def test_mines_that_join_or_part_have_the_first_date_and_none_is_gone():
    old = [box(0, 0, first_seen="2023-05-01"), box(0.02, 0, first_seen="2023-04"), box(0.04, 0)]
    now = box(0, 0, 0.03, n_chips=9, first_seen="2023-06-01")
    (one, unseen) = compared([now], old, None)
    assert (one.first_seen, unseen.first_seen) == ("2023-04", None)
    parts = compared([box(0, 0), box(0.02, 0.02)], [replace(now, first_seen="2022-01-01")], None)
    assert [(part.status, part.first_seen) for part in parts] == [(Status.KNOWN, "2022-01-01")] * 2


def test_what_is_not_shown_of_a_known_mine_is_unseen_and_no_growth_when_it_is_shown_again():
    whole = box(0, 0, 0.04, n_chips=16, first_seen="2023-06-01", review=Review.MINE)
    half = replace(whole, geometry=shapely.box(0, 0, 0.02, 0.04), n_chips=8, area_ha=whole.area_ha / 2)
    half = replace(half, review=Review.UNREVIEWED, first_seen="2023-07-01")
    west = shapely.box(-1, -1, 0.02, 1)
    known, rest = compared([half], [whole], [west])
    assert (known.status, rest.status, rest.n_chips, rest.review) == (Status.KNOWN, Status.UNSEEN, 8, Review.MINE)
    assert rest.geometry.equals(shapely.box(0.02, 0, 0.04, 0.04))
    assert rest.area_ha == pytest.approx(whole.area_ha / 2, rel=1e-6)
    again = replace(whole, first_seen="2023-08-01", review=Review.UNREVIEWED)
    (one,) = compared([again], [known, rest], [shapely.box(-1, -1, 1, 1)])
    assert (one.status, one.gained_ha, one.first_seen) == (Status.KNOWN, pytest.approx(0), "2023-06-01")


def test_what_is_not_shown_of_a_mine_drawn_by_hand_is_unseen():
    drawn = box(0, 0, 0.04, n_chips=0, first_seen="2021-08-01", review=Review.MINE)
    half = replace(box(0, 0, 0.02, n_chips=4), first_seen="2023-07-01")
    known, rest = compared([half], [drawn], [shapely.box(-1, -1, 0.02, 1)])
    assert (known.status, rest.status, rest.review, rest.first_seen) == ("known", "unseen", "mine", "2021-08-01")
    assert rest.geometry.equals(shapely.box(0.02, 0, 0.04, 0.04))
    nearly = [shapely.box(-1, -1, 0.037, 1)]
    assert [one.status for one in compared([half], [drawn], nearly)] == ["known"]


def test_what_is_shown_or_less_than_a_chip_is_not_unseen():
    whole = box(0, 0, 0.04, n_chips=16)
    half = replace(whole, geometry=shapely.box(0, 0, 0.02, 0.04), n_chips=8)
    for ground in ([shapely.box(-1, -1, 1, 1)], [shapely.box(-1, -1, 0.0399, 1)], None):
        assert [one.status for one in compared([half], [whole], ground)] == [Status.KNOWN]


def test_where_new_scenes_show_no_ground_the_rest_of_a_known_mine_is_unseen():
    whole = box(0, 0, 0.04, n_chips=16)
    half = replace(whole, geometry=shapely.box(0, 0, 0.02, 0.04), n_chips=8)
    labels = ("clear", "partly_cloudy", "artisinal_mine")
    partly = seen(SOURCE, scores=np.array([[0.4, 0.6, 0.9]], np.float32), labels=labels)
    for told in (since([half], [whole], [partly]), compared([half], [whole], [])):
        assert [(one.status, one.n_chips) for one in told] == [(Status.KNOWN, 8), (Status.UNSEEN, 8)]


def test_the_rest_of_what_was_gone_is_not_unseen():
    old = box(0, 0, 0.04, n_chips=16, status=Status.GONE)
    assert [one.status for one in compared([box(0, 0, 0.02, n_chips=4)], [old], [])] == [Status.KNOWN]


@settings(max_examples=25)
@given(arrays(bool, (4, 4)).filter(np.any), st.lists(arrays(bool, (4, 4)), max_size=4))
@example(np.ones((4, 4), bool), [np.tri(4, dtype=bool)] * 2)
def test_an_unchanged_mine_under_clouds_is_known_or_unseen_month_after_month(mine, clouds):
    grid, told = TileGrid(1024, 1024, 256, 256), []
    for month, cloud in enumerate([np.zeros((4, 4), bool), *clouds, np.zeros((4, 4), bool)]):
        scores = (mine & ~cloud).astype(np.float32).reshape(-1, 1)
        scene = seen(SOURCE, grid, scores, sight=np.where(cloud, Sight.CLOUDY, Sight.CLEAR).astype(np.uint8).ravel())
        found = detections(grid, scores, scene.labels, SOURCE, scene.transform, scene.crs)
        told = since(found, told, [scene]) if month else found
        assert sum(one.n_chips for one in told) == mine.sum()
        assert {one.status for one in told} <= ({Status.KNOWN, Status.UNSEEN} if month else {None})
    assert {one.status for one in told} == {Status.KNOWN}


@pytest.mark.parametrize("n_chips", [0, 1])
def test_slivers_without_an_area_are_compared(n_chips):
    """As a difference in a GIS leaves them, in the decimals of a layer."""
    west, south = -56.364903495, -6.77851166
    corners = [(west, south), (west + 0.005, south + 0.0015), (west + 0.01, south + 0.003)]
    sliver = replace(box(0, 0), geometry=shapely.Polygon(corners), n_chips=n_chips, area_ha=0.0)
    assert (sliver.geometry.area > 0, areas_ha([sliver.geometry]).tolist()) == (True, [0])
    assert [one.status for one in compared([box(-57, -7, n_chips=1)], [sliver], [])] == [Status.NEW, Status.UNSEEN]
    around = box(west, south, 0.02, n_chips=n_chips)
    for ground in ([], [shapely.box(west, south, west + 0.002, south + 1)]):
        assert compared([around], [sliver], ground)[0].status in (Status.KNOWN, Status.GROWN)
        assert compared([sliver], [around], ground)[0].status is Status.KNOWN
        assert compared([sliver], [sliver], ground)[0].status is Status.KNOWN


def test_who_wins_among_reviews():
    mine, no = ({"review": review} for review in (Review.MINE, Review.NOT_MINE))
    now = box(0, 0, 0.03, n_chips=9)
    squares = [box(0.01 * col, 0.01 * row, **no) for row in range(3) for col in range(3)]
    most, others = squares[:8], [replace(one, review=Review.UNREVIEWED) for one in squares[5:]]
    for old, review in (
        (squares[:3], Review.UNREVIEWED),
        (squares[:5], Review.UNREVIEWED),  # it has grown, and nobody has looked at what it gained
        ([*squares[:5], *others], Review.UNREVIEWED),  # nor at these
        (most, Review.NOT_MINE),
        ([*most, box(0.02, 0.02, **mine)], Review.MINE),
        ([*most, box(0.03, 0, **mine)], Review.NOT_MINE),  # it touches alone
    ):
        assert compared([now], old, None)[0].review is review
    assert compared([replace(now, review=Review.NOT_MINE)], [box(0, 0, **mine)], None)[0].review is Review.NOT_MINE
    assert compared([], most, None)[0].review is Review.NOT_MINE


@pytest.mark.parametrize(("before", "after"), [(1, 3), (3, 1), (3, 3)])
def test_however_often_ground_was_seen_one_chip_more_is_no_growth_and_two_are(before, after):
    def passes(count: int, side: int) -> list[Detection]:
        shape = shapely.box(0, 0, 0.01 * side, 0.01)
        one = replace(box(0, 0), geometry=shape, n_chips=side, area_ha=float(areas_ha([shape])[0]))
        return joined([[replace(one, provenance=replace(SOURCE, scene=str(n)))] for n in range(count)])

    (known,), (grown,) = (compared(passes(after, side), passes(before, 4), None) for side in (5, 6))
    assert (known.status, grown.status) == (Status.KNOWN, Status.GROWN)


@pytest.mark.parametrize("kind", ["chips", "evidence"])
@pytest.mark.parametrize(("before", "after"), [(1, 3), (3, 1), (3, 3)])
def test_however_often_ground_was_seen_by_chips_that_lie_apart_changes_nothing(kind, before, after):
    outlined = {"chips": chips, "evidence": evidence}[kind]

    def passes(count: int, mask: np.ndarray) -> list[Detection]:
        return joined([outlined(mask, n, 2 * n) for n in range(count)])

    (single,), (one,) = outlined(disc(20)), passes(3, disc(20))
    assert one.area_ha / one.n_chips == pytest.approx(single.area_ha / single.n_chips, rel=0.25)
    (known,), (grown,) = (compared(passes(after, disc(radius)), passes(before, disc(20)), None) for radius in (20, 56))
    assert (known.status, grown.status) == (Status.KNOWN, Status.GROWN)


def test_outlines_that_overlap_count_once_when_growth_is_judged():
    old = [box(0, 0, 0.1, n_chips=100)] * 3
    now = replace(box(0, 0), geometry=shapely.box(0, 0, 0.13, 0.1), n_chips=130, area_ha=1.3 * old[0].area_ha)
    assert compared([now], old, None)[0].status is Status.GROWN


def test_a_mine_across_the_antimeridian_is_known_and_its_ground_seen():
    grid = TileGrid(4, 8, 1, 1)
    place = Affine(1000, 0, 736_000 - 4000, 0, -1000, 5_000_000), "EPSG:32660"
    groups = np.zeros(grid.shape, np.int32)
    groups[1:3, :] = 1
    (shape,) = outlines(groups, grid, *place)
    assert shape.bounds[2] - shape.bounds[0] > 359
    old = replace(box(0, 0), geometry=shape, n_chips=16, area_ha=1600.0)
    assert compared([old], [old], None)[0].status is Status.KNOWN
    scene = seen(SOURCE, grid, transform=place[0], crs=place[1])
    assert [one.status for one in since([], [old], [scene])] == [Status.GONE]


def test_ground_is_what_was_seen():
    grid = TileGrid(40, 40, 1, 1)
    sight = np.full(len(grid), Sight.CLEAR, np.uint8)
    for n, bad in enumerate((Sight.CLOUDY, Sight.NODATA, Sight.FAILED, Sight.STRANGE, Sight.HAZY)):
        sight[n] = bad
    scene = seen(SOURCE, grid, sight=sight, transform=Affine(500, 0, 500_000, 0, -500, 9_200_000))
    scene.observed[5] = 0
    ground = shapely.union_all(seen_ground(scene))
    lonlat = projector(UTM)(np.array([(500_250 + 500 * n, 9_199_750) for n in range(8)]))
    assert shapely.contains_xy(ground, *lonlat.T).tolist() == [False] * 4 + [True, False, True, True]
    assert len(seen_ground(scene)) > 4, "in parts"
    assert seen_ground(replace(scene, sight=np.full(len(grid), Sight.CLOUDY, np.uint8))) == []
    nowhere = replace(scene, transform=Affine(1e9, 0, 0, 0, -1e9, 0))
    assert seen_ground(nowhere) == [], "a scene without a place on the globe shows none"


def test_a_mine_under_some_cloud_is_not_gone():
    labels = ("clear", "partly_cloudy", "haze", "cloudy", "artisinal_mine")
    scores = np.zeros((9, 5), np.float32)
    scores[:, 0] = 1
    scores[4, :2] = 0.4, 0.6
    place = Affine(1000, 0, 500_000, 0, -1000, 9_200_000), UTM
    scene = seen(SOURCE, TileGrid(3, 3, 1, 1), scores, labels=labels, transform=place[0], crs=place[1])
    middle, corner = (
        replace(box(0, 0), geometry=outlines(np.eye(9, dtype=np.int32)[n].reshape(3, 3), scene.grid, *place)[0])
        for n in (4, 0)
    )
    told = since([], [middle, corner], [scene])
    assert {one.geometry: one.status for one in told} == {
        middle.geometry: Status.UNSEEN,
        corner.geometry: Status.GONE,
    }
    assert (scene.sight == Sight.CLEAR).all(), "it counts as observed all the same"


def test_dates_are_of_all_scenes():
    dates = {"a.tif": "2023-06-01T13:30:12Z", "b.tif": "2023-05", "c.tif": "unknown", "d, e": "2022-01-01"}
    told = [date_of(scene, dates) for scene in ("a.tif", "a.tif, b.tif", "a.tif, c.tif", "d, e", "x", "")]
    assert told == ["2023-06-01", "2023-05", None, "2022-01-01", None, None]


@pytest.mark.large
def test_thousands_of_mines_take_seconds():
    rng = np.random.default_rng(0)
    at = rng.permutation(200 * 200)[:20_000]
    boxes = [box(-60 + 0.02 * (n % 200), -6 + 0.02 * (n // 200)) for n in at.tolist()]
    start = time.perf_counter()
    told = compared(boxes[:12_000], boxes[8_000:], [shapely.box(-60, -6, -58, -2)])
    assert time.perf_counter() - start < 60
    count = counts(told)
    assert (count["new"], count["known"], count["grown"]) == (8_000, 4_000, 0)
    assert min(count["gone"], count["unseen"]) > 3_000
