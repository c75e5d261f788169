import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoscan.resolution import is_native, is_usable, native_range, usable_range

GSDS = st.floats(0.1, 100)


@pytest.mark.parametrize(("gsd", "native", "usable"), [(10, (7.5, 12.5), (2.5, 40)), (3.4, (2.55, 4.25), (0.85, 13.6))])
def test_the_ranges_of_the_models_that_exist(gsd, native, usable):
    assert native_range(gsd) == pytest.approx(native)
    assert usable_range(gsd) == pytest.approx(usable)


@given(GSDS, st.floats(0.1, 10))
def test_the_ranges_are_where_the_answers_change(gsd, factor):
    pixel = gsd * factor
    for answer, (low, high) in ((is_native, native_range(gsd)), (is_usable, usable_range(gsd))):
        if low * 1.001 < pixel < high * 0.999:
            assert answer(pixel, gsd)
        elif pixel < low * 0.999 or pixel > high * 1.001:
            assert not answer(pixel, gsd)


@given(GSDS)
def test_what_is_taken_as_it_is_is_taken(gsd):
    assert is_native(gsd, gsd)
    low, high = native_range(gsd)
    assert is_usable(low, gsd)
    assert is_usable(high, gsd)
