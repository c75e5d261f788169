"""Dask's workers, in this process and in others, with a fake detector."""

import asyncio
import threading
import time
import warnings
from collections.abc import Iterator

import fakes
import pytest
import rasterio
from fakes import Deadly, Flow, Unable
from rasterio.env import get_gdal_config
from scans import (
    CHIP,
    blocks,
    layer_bytes,
    run,
)

from geoscan.errors import ClusterError, InputError, PackageError
from geoscan.model.package import Package
from geoscan.scanning.workers import workers


@pytest.fixture
def package(make_package) -> Package:
    """A model of 32 px chips that takes pixels as they are."""
    return make_package(chip=CHIP)


def test_the_same_bytes_with_dask_and_without(make_scene, package, tmp_path):
    scene = make_scene(pixels=blocks(9, 9))
    alone = layer_bytes(run(scene, package), tmp_path)
    with workers(2) as pool:
        assert layer_bytes(run(scene, package, pool), tmp_path) == alone
        assert layer_bytes(run(scene, package, pool, batch=1), tmp_path) == alone
    assert layer_bytes(run(scene, package, batch=100), tmp_path) == alone


def test_the_same_bytes_from_threads_that_do_for_a_few_batches(make_scene, package, tmp_path):
    scene = make_scene(pixels=blocks(9, 9))
    alone = layer_bytes(run(scene, package), tmp_path)
    with workers(2, batches=21) as pool:
        assert (pool.client, pool.threads) == (None, 2)
        assert layer_bytes(run(scene, package, pool), tmp_path) == alone
        with pytest.raises(MemoryError, match="too many"):
            run(scene, package, pool, detector=Unable)
    with workers(2, batches=129) as pool:
        assert pool.client is not None


def test_options_of_rasterio_that_a_thread_has_reach_dask():
    made = []

    def ask():
        with rasterio.Env(GDAL_HTTP_HEADERS="X-Token: abc"), workers(2) as pool:
            made.extend(pool.run(lambda _: get_gdal_config("GDAL_HTTP_HEADERS"), lambda told: told, [[1]] * 9))

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert made == ["X-Token: abc"] * 9


def test_threads_prepare_no_more_than_is_bounded(make_scene, package, monkeypatch):
    for name in ("prepared", "used", "most", "reading", "most_reading"):
        monkeypatch.setattr(Flow, name, 0)
    monkeypatch.setattr("geoscan.scanning.run.prepare", fakes.counted_prepare)
    with workers(2, batches=21) as pool:
        scores = run(make_scene(pixels=blocks(12, 12)), package, pool, batch=7, advance=fakes.slow_use)
    assert Flow.prepared == Flow.used == scores.plan.batches == 21
    assert Flow.most_reading <= 2
    assert 2 <= Flow.most <= 5


def test_the_model_is_loaded_while_the_first_batch_is_read():
    loaded = threading.Event()
    with workers(1, batches=1) as pool:
        pool.begin(loaded.set)
        assert list(pool.run(lambda tiles: loaded.wait(10), lambda ready: ready, [[0]])) == [True]


def test_a_model_that_cannot_be_loaded_is_one_error(make_scene, package):
    def missing():
        raise PackageError("there is no model")

    with workers(1, batches=1) as pool, pytest.raises(PackageError, match="there is no model"):
        run(make_scene(pixels=blocks(2, 2)), package, pool, detector=missing)


def test_dask_in_this_process_opens_nothing_to_the_network():
    import psutil

    before = {link.laddr for link in psutil.Process().net_connections("tcp") if link.status == "LISTEN"}
    with warnings.catch_warnings(action="ignore"):
        warnings.simplefilter("error")  # such as that port 8787 is taken, by another scan
        with workers(1), workers(1):
            after = {link.laddr for link in psutil.Process().net_connections("tcp") if link.status == "LISTEN"}
    assert {address.ip for address in after - before} <= {"127.0.0.1"}


def test_only_a_wait_that_nobody_waits_for_goes_unreported(caplog):
    async def lost(error: Exception) -> None:
        asyncio.get_running_loop().create_future().set_exception(error)

    with workers(1) as pool:
        pool.client.sync(lost, TimeoutError("Timeout"))
        assert "Timeout" not in caplog.text
        pool.client.sync(lost, OSError("the cable is cut"))
    assert "the cable is cut" in caplog.text


def test_a_worker_in_this_process_sends_no_heartbeats(monkeypatch):
    from distributed import Worker

    heard = []

    async def heartbeat(worker: Worker) -> None:
        heard.append(worker.address)

    monkeypatch.setattr(Worker, "heartbeat", heartbeat)
    with workers(1) as pool:
        time.sleep(1.5)  # dask's workers send one a second, unless told otherwise
        assert pool.client.submit(pow, 2, 5).result() == 32
        assert heard == []
        assert not pool.client.cluster.scheduler.worker_ttl


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a scheduler of two processes."""
    from distributed import LocalCluster

    with (
        warnings.catch_warnings(action="ignore"),
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
    ):
        yield cluster.scheduler_address


@pytest.mark.large
def test_the_same_bytes_from_two_processes(make_scene, package, tmp_path, cluster):
    scene = make_scene(pixels=blocks(9, 9))
    alone = layer_bytes(run(scene, package), tmp_path)
    with workers(0, cluster) as pool:
        assert len(pool.client.nthreads()) == 2
        assert layer_bytes(run(scene, package, pool), tmp_path) == alone


@pytest.mark.large
def test_a_detector_that_fails_in_another_process_stops_the_scan(make_scene, package, cluster):
    with workers(0, cluster) as pool, pytest.raises(MemoryError, match="too many"):
        run(make_scene(pixels=blocks(9, 9)), package, pool, detector=Unable)


@pytest.mark.large
def test_workers_that_die_are_one_line(make_scene, package):
    import dask
    from distributed import LocalCluster

    with (
        warnings.catch_warnings(action="ignore"),
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        LocalCluster(n_workers=1, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        workers(0, cluster.scheduler_address) as pool,
        pytest.raises(ClusterError, match=r"1 dask workers died one after the other; .* smaller --batch"),
    ):
        run(make_scene(pixels=blocks(9, 9)), package, pool, detector=Deadly)


def test_a_scheduler_that_goes_away_is_one_line(make_scene, package):
    from distributed import LocalCluster

    with (
        warnings.catch_warnings(action="ignore"),
        LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None) as cluster,
        workers(0, cluster.scheduler_address) as pool,
        pytest.raises(ClusterError, match="scheduler has gone; start it anew"),
    ):
        run(make_scene(pixels=blocks(9, 9)), package, pool, advance=lambda _: cluster.close())


def test_a_scheduler_without_workers_is_refused():
    from distributed import LocalCluster

    with (
        LocalCluster(n_workers=0, processes=False, dashboard_address=None) as cluster,
        pytest.raises(InputError, match="has no workers; start some: dask worker"),
        workers(2, cluster.scheduler_address),
    ):
        pass


def test_batches_under_way_are_bounded(make_scene, package, monkeypatch):
    for name in ("prepared", "used", "most", "reading", "most_reading"):
        monkeypatch.setattr(Flow, name, 0)
    monkeypatch.setattr("geoscan.scanning.run.prepare", fakes.counted_prepare)
    scene = make_scene(pixels=blocks(12, 12))
    with workers(2) as pool:
        scores = run(scene, package, pool, batch=2, advance=fakes.slow_use)
        threads = sum(pool.client.nthreads().values())
    assert Flow.prepared == Flow.used == len(scores.plan.grid) // 2 == 72
    assert Flow.most_reading <= threads
    assert 2 <= Flow.most <= 2 * threads
