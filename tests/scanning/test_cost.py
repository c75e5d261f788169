"""What a scan will take."""

from dataclasses import replace

import pytest

from geoscan import gdal, machine
from geoscan.model.shipped import find
from geoscan.model.spec import preset
from geoscan.scanning.cost import _product_speed, _speed, cost_of, multiplications
from geoscan.scanning.options import ScanOptions
from geoscan.scanning.plan import Plan
from geoscan.scene import Scene

MIB = 2**20


def test_multiplications_are_those_of_the_papers():
    assert multiplications(replace(preset("densenet121"), chip=224)) == pytest.approx(2.87e9, rel=0.03)
    assert multiplications(preset("lite-small")) == pytest.approx(407e6 * (72 / 224) ** 2)
    assert multiplications(preset("lite1")) == pytest.approx(631e6 * (192 / 240) ** 2)
    assert multiplications(preset("lite1-small")) == pytest.approx(631e6 * (144 / 240) ** 2)
    assert multiplications(preset("lite2-small")) == pytest.approx(899e6 * (144 / 260) ** 2)


@pytest.fixture
def unmeasured():
    """Let the speed of this machine be measured anew, and again by the next test."""
    _product_speed.cache_clear()
    yield
    _product_speed.cache_clear()


@pytest.mark.usefixtures("unmeasured")
def test_a_busy_machine_is_not_taken_for_a_slow_one(monkeypatch):
    ticks = iter(now for n in range(100) for now in (n, n + (0.001 if n == 7 else 0.5)))
    monkeypatch.setattr("time.perf_counter", lambda: next(ticks))
    assert _speed("densenet") == pytest.approx(0.65 * 512**3 / 0.001)


def test_reading_is_shared_by_the_cores_and_averaging_may_take_eight_times_the_network(make_scene, monkeypatch):
    monkeypatch.setattr("geoscan.scanning.cost._speed", lambda family: 1e9)
    scene = Scene.open(make_scene((3, 480, 480), gsd=10))
    single, averaged = (
        cost_of(Plan.of(scene, find("sentinel2-lite"), ScanOptions(tta=tta)), scene, 0.04) for tta in (False, True)
    )
    network = 100 * 631e6 * (144 / 240) ** 2 / 1e9  # of a Lite1, at the side that this model sees
    assert single.preparing_seconds == pytest.approx(100 * 0.04 / machine.cores(), abs=0.01)
    assert single.network_seconds == pytest.approx((0.5 + network,) * 2, abs=0.1)
    assert averaged.network_seconds == pytest.approx((0.5 + network, 0.5 + 8 * network), abs=0.1)


def test_tensorflow_starts_slower_and_takes_more_memory(make_scene, monkeypatch):
    monkeypatch.setattr("geoscan.scanning.cost._speed", lambda family: 1e9)
    scene = Scene.open(make_scene((3, 480, 480), gsd=10))
    one, other = (
        cost_of(Plan.of(scene, find("sentinel2"), ScanOptions(runtime=runtime)), scene, 0.04)
        for runtime in ("openvino", "tensorflow")
    )
    assert other.seconds[0] - one.seconds[0] == pytest.approx(4.5, abs=0.1)
    assert other.memory_mb - one.memory_mb == pytest.approx(640, abs=1)


def test_memory_grows_with_batches_under_way_and_up_to_the_cache_but_hardly_with_the_scene(make_scene):
    scene = Scene.open(make_scene((3, 480, 480), gsd=10))

    def memory(rows, batch=16):
        large = replace(scene, rows=rows, cols=rows)
        return cost_of(
            Plan.of(large, find("sentinel2"), ScanOptions(batch=batch, stretch="visual")), large, 0
        ).memory_mb

    assert memory(4800) - memory(480) == pytest.approx((4800**2 - 480**2) * 3 / MIB, rel=0.1)
    assert memory(48_000) - memory(480) == pytest.approx(gdal.CACHE_BYTES / MIB + 1e6 * 12 / MIB, rel=0.1)
    many = 2 * (machine.cores() + 1)
    assert memory(4800, batch=256) - memory(4800) == pytest.approx(many * 240 * 48 * 48 * 3 * 3 / MIB, rel=0.1)
