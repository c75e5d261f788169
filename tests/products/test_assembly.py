"""Texts of VRTs against the arrays that they stand for."""

import numpy as np
import pytest
import rasterio
from affine import Affine
from conftest import UTM, write_scene
from hypothesis import given
from hypothesis import strategies as st

from geoscan.products import assembly

SIDE = 24
PLACE = assembly.Place(rasterio.CRS.from_user_input(UTM), Affine(10, 0, 5e5, 0, -10, 9.2e6), SIDE, SIDE)


@pytest.fixture(scope="module")
def classes(tmp_path_factory) -> tuple[assembly.Band, assembly.Band, np.ndarray, np.ndarray]:
    """Give two bands of classes 0..19, of 10 m and of 30 m, and what they hold at 10 m."""
    folder, rng = tmp_path_factory.mktemp("classes"), np.random.default_rng(0)
    fine, coarse = rng.integers(0, 20, (3, SIDE, SIDE)), rng.integers(0, 20, (3, SIDE // 3, SIDE // 3))
    paths = [write_scene(folder / f"{len(one[0])}.tif", pixels=one) for one in (fine, coarse)]
    bands = [assembly.Band(str(path), 2, side, side) for path, side in zip(paths, (SIDE, SIDE // 3), strict=True)]
    return bands[0], bands[1], fine[1], coarse[1].repeat(3, 0).repeat(3, 1)


@given(st.sets(st.integers(0, 19)), st.sets(st.integers(0, 19)))
def test_what_any_band_hides_is_hidden_and_nothing_else(classes, some, others):
    fine, coarse, *held = classes
    hidden = [assembly.Hidden(band, tuple(own)) for band, own in ((fine, some), (coarse, others)) if own]
    with rasterio.open(assembly.stack(PLACE, [fine] * 3, "uint8", hidden)) as source:
        seen = source.dataset_mask() > 0
        np.testing.assert_array_equal(source.read(2), held[0])
    expected = ~(np.isin(held[0], list(some)) | np.isin(held[1], list(others)))
    np.testing.assert_array_equal(seen, expected)


@given(st.sets(st.integers(0, 19), min_size=1))
def test_what_is_hidden_by_all_bands_is_hidden_by_all(classes, values):
    fine, coarse, *held = classes
    hidden = assembly.Hidden(fine, tuple(values), also=[coarse])
    with rasterio.open(assembly.stack(PLACE, [fine] * 3, "uint8", [hidden])) as source:
        seen = source.dataset_mask() > 0
    np.testing.assert_array_equal(seen, ~(np.isin(held[0], list(values)) & np.isin(held[1], list(values))))


def test_any_of_bands_is_not_0_where_one_of_them_is_not(classes):
    fine, coarse, *held = classes
    with rasterio.open(assembly.stack(PLACE, [assembly.any_of(PLACE, [fine, coarse])] * 3, "uint8")) as source:
        np.testing.assert_array_equal(source.read(1), np.where(held[1] > 0, held[1], held[0]))


@given(st.lists(st.sets(st.integers(0, 24), min_size=1), min_size=2, max_size=4), st.integers(0, 24))
def test_whatever_hides_a_pixel_hides_it(classes, each, value):
    """In any number and order: what the fine band hides, what the coarse one does, and what both do together."""
    fine, coarse, *held = classes
    hidden = [assembly.Hidden((fine, coarse)[n % 2], tuple(values)) for n, values in enumerate(each)]
    hidden.insert(value % len(hidden), assembly.hidden_in_all([fine, coarse], value))
    expected = ~np.logical_or.reduce([np.isin(held[n % 2], list(values)) for n, values in enumerate(each)])
    expected &= ~((held[0] == value) & (held[1] == value))
    with rasterio.open(assembly.stack(PLACE, [fine] * 3, "uint8", hidden)) as source:
        np.testing.assert_array_equal(source.dataset_mask() > 0, expected)


def moved(rows: float, cols: float, **other: object) -> assembly.Place:
    of = {"crs": PLACE.crs, "transform": PLACE.transform @ Affine.translation(cols, rows), "rows": 5, "cols": 7}
    return assembly.Place(**{**of, **other})


@given(st.lists(st.tuples(st.integers(-50, 50), st.integers(-50, 50)), min_size=1, max_size=4))
def test_a_union_holds_all_places_and_no_row_more(corners):
    places = [moved(*corner) for corner in corners]
    whole = assembly.union(places)
    offsets = [place.offset(whole) for place in places]
    assert np.min(offsets, axis=0) == pytest.approx(0)
    assert np.max(offsets, axis=0) == pytest.approx((whole.rows - 5, whole.cols - 7))


@pytest.mark.parametrize(
    "other",
    [
        moved(0, 0.5),
        moved(-1.3, 0),
        moved(0, 7, crs=rasterio.CRS.from_epsg(32722)),
        moved(0, 7, transform=PLACE.transform @ Affine.scale(2)),
        moved(0, 7, transform=PLACE.transform @ Affine.rotation(90)),
    ],
)
def test_places_of_other_grids_have_no_union(other):
    assert assembly.union([PLACE, other]) is None
