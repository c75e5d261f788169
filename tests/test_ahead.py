import threading
import time

import pytest
import rasterio
from rasterio.env import get_gdal_config

from geoscan.ahead import made_ahead


def test_in_order_however_long_each_takes():
    def make(i):
        time.sleep(0.01 * (i % 2 == 0))
        return i

    for workers in (0, 1, 2):
        assert list(made_ahead(make, 9, workers)) == list(range(9))
        assert list(made_ahead(make, 0, workers)) == []


def test_only_a_few_are_made_before_they_are_taken():
    started, all_asked = [], threading.Event()

    def make(i):
        started.append(i)
        if len(started) == 4:
            all_asked.set()

    things = made_ahead(make, 1000)
    next(things)
    assert all_asked.wait(10)
    time.sleep(0.05)
    assert len(started) <= 5
    things.close()
    assert len(started) <= 5


def test_without_workers_each_is_made_in_this_thread_when_it_is_asked_for():
    made = []

    def make(i):
        made.append((i, threading.current_thread()))

    things = made_ahead(make, 9, workers=0)
    next(things)
    assert made == [(0, threading.current_thread())]


def test_what_fails_is_raised_at_its_turn():
    def make(i):
        return 1 / (2 - i)

    things = made_ahead(make, 9)
    assert [next(things), next(things)] == [0.5, 1.0]
    with pytest.raises(ZeroDivisionError):
        next(things)


@pytest.mark.parametrize("workers", [0, 2])
def test_options_of_rasterio_that_a_thread_has_reach_those_that_it_starts(workers):
    made = []

    def ask():
        with rasterio.Env(GDAL_HTTP_HEADERS="X-Token: abc"):
            made.extend(made_ahead(lambda _: get_gdal_config("GDAL_HTTP_HEADERS"), 9, workers))
        made.extend(made_ahead(lambda _: get_gdal_config("GDAL_HTTP_HEADERS"), 1, workers))

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert made == ["X-Token: abc"] * 9 + [None]
