"""A cluster of processes of its own: what must hold before the first chip, and what dies or is cut off meanwhile."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import fakes
import pytest
from fakes import Slow
from scans import CHIP, blocks, layer_bytes, reseal, run

import geoscan
from geoscan.errors import ClusterError, InputError
from geoscan.model.package import Package, load
from geoscan.model.shipped import shipped
from geoscan.scanning import cluster
from geoscan.scanning.options import ScanOptions
from geoscan.scanning.plan import Plan
from geoscan.scanning.run import scan
from geoscan.scanning.workers import workers
from geoscan.scene import Scene

TESTS = Path(__file__).parents[1]
LONG = pytest.mark.timeout(600)


@pytest.fixture
def package(make_package) -> Package:
    """A model of 32 px chips that takes pixels as they are."""
    return make_package(chip=CHIP)


# Versions


class Client:
    """A cluster of two workers that answers like this process, but for one worker or the scheduler."""

    def __init__(self, who: str, question: object, answer: object) -> None:
        self._odd = who, question, answer

    def _answer(self, who: str, function: Any, given: tuple[Any, ...]) -> Any:
        odd, question, answer = self._odd
        said = function(*given)
        if who != odd or question not in (function.__name__, *given, *(said if isinstance(said, dict) else ())):
            return said
        return {**said, question: answer} if isinstance(said, dict) else answer

    def run(self, function: Any, *given: Any, on_error: str) -> dict[str, Any]:
        assert on_error == "return"
        return {who: self._answer(who, function, given) for who in ("tcp://a:1", "tcp://b:1")}

    def run_on_scheduler(self, function: Any, *given: Any) -> Any:
        answer = self._answer("scheduler", function, given)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.mark.parametrize("who", ["tcp://b:1", "scheduler"])
@pytest.mark.parametrize(
    ("question", "answer", "told"),
    [
        ("python_version_tuple", ("3", "9", "1"), "Python 3.9, this machine 3."),
        ("geoscan", "0.0.9", f"geoscan 0.0.9, this machine {geoscan.__version__}:"),
        ("geoscan", ModuleNotFoundError("geoscan"), f"no geoscan (geoscan), this machine {geoscan.__version__}:"),
        ("openvino", "2020.1", "openvino 2020.1, this machine 20"),
        ("GDAL", "2.4.0", "GDAL 2.4.0, this machine 3"),
        ("code of geoscan", "0123", "code of geoscan 0123, this machine "),
    ],
)
def test_another_version_anywhere_is_one_line(who, question, answer, told):
    with pytest.raises(InputError, match="scores might differ; install the same there") as caught:
        cluster.check_versions(Client(who, question, answer), ["openvino"])
    assert f"{who} has {told}" in str(caught.value)


def test_equal_versions_pass():
    cluster.check_versions(Client("nobody", "", ""), ["openvino", "tensorflow"])
    major, minor, _ = sys.version_info[:3]
    cluster.check_versions(Client("tcp://a:1", "python_version_tuple", (str(major), str(minor), "99")))


def test_a_scene_that_a_worker_lacks_is_named_with_the_host(make_scene):
    path = make_scene()
    stamps = Scene.open(path).stamps
    assert cluster.missing(stamps) == ""
    os.utime(path, (1, 1))
    assert cluster.missing(stamps).endswith(f" has another {path}")
    path.unlink()
    assert cluster.missing(stamps).endswith(f" lacks {path}")


def test_a_model_is_found_under_another_path_by_its_digest(package, tmp_path, monkeypatch):
    monkeypatch.setattr("geoscan.model.runtime.PLACES", {})
    own = shipped()[0]
    assert not cluster.has_model(tmp_path / "none", package.card.digest)
    assert cluster.has_model(package.path, package.card.digest)
    assert cluster.has_model(tmp_path / "none", own.card.digest)
    assert {package.card.digest: package.path, own.card.digest: own.path} == cluster.runtime.PLACES


def test_a_gpu_is_where_scores_are_computed_and_others_prepare(make_scene, package, tmp_path, monkeypatch):
    from distributed import Scheduler, SpecCluster, Worker

    monkeypatch.setattr("fakes.WHERE", [])
    scene = make_scene(pixels=blocks(9, 9))
    options = {"nthreads": 1, "dashboard": False}
    made = {
        "plain": {"cls": Worker, "options": options},
        "gpu": {"cls": Worker, "options": {**options, "resources": {"GPU": 1}}},
    }
    here = {"cls": Scheduler, "options": {"dashboard": False, "dashboard_address": None, "host": "127.0.0.1"}}
    with (
        warnings.catch_warnings(action="ignore"),
        SpecCluster(scheduler=here, workers=made) as own,
        workers(0, own.scheduler_address) as pool,
    ):
        pool.make_ready([Plan.of(Scene.open(scene), package)])
        scored = layer_bytes(run(scene, package, pool, detector=fakes.Placed), tmp_path)
    assert scored == layer_bytes(run(scene, package), tmp_path)
    assert fakes.WHERE == ["gpu"] * 21


@contextmanager
def growing() -> Iterator[Any]:
    """A cluster of one worker in this process, which may get more: `scale`."""
    from distributed import Scheduler, SpecCluster, Worker

    here = {"cls": Scheduler, "options": {"dashboard": False, "dashboard_address": None, "host": "127.0.0.1"}}
    kind = {"cls": Worker, "options": {"nthreads": 1, "dashboard": False}}
    with warnings.catch_warnings(action="ignore"), SpecCluster(scheduler=here, workers={0: kind}, worker=kind) as own:
        yield own


def grow(own: Any, client: Any, count: int) -> None:
    own.scale(count)
    while len(client.nthreads()) != count:
        time.sleep(0.02)


@pytest.mark.parametrize("lacks", ["GDAL", "scene"])
def test_a_worker_that_joins_later_and_does_not_fit_gets_no_work(
    make_scene, package, tmp_path, monkeypatch, caplog, lacks
):
    monkeypatch.setattr("fakes.WHERE", [])
    scene = make_scene(pixels=blocks(9, 9))

    def join(_: int) -> None:
        if len(pool.client.nthreads()) > 1:
            return
        with pytest.MonkeyPatch.context() as patch:
            if lacks == "GDAL":
                other = {**cluster.versions(("openvino",)), "GDAL": "2.4.0"}
                patch.setattr("geoscan.scanning.cluster.versions", lambda _: other)
            else:
                patch.setattr("geoscan.scanning.cluster.missing", lambda _: f"here lacks {scene}")
            grow(own, pool.client, 2)
            while "gets no work" not in caplog.text:
                time.sleep(0.02)
        grow(own, pool.client, 3)

    with growing() as own, workers(0, own.scheduler_address) as pool:
        pool.make_ready([Plan.of(Scene.open(scene), package, ScanOptions(runtime="openvino"))])
        scored = layer_bytes(run(scene, package, pool, detector=fakes.Placed, advance=join), tmp_path)
        (door,) = pool.asked
        assert door in own.scheduler.worker_plugins
        pool.end()
        assert door not in own.scheduler.worker_plugins
    assert scored == layer_bytes(run(scene, package), tmp_path)
    assert set(fakes.WHERE) == {0, 2}
    (said,) = [one.getMessage() for one in caplog.records if one.name == "geoscan.scanning.cluster"]
    told = "has GDAL 2.4.0, this machine 3" if lacks == "GDAL" else f"here lacks {scene}; workers read scenes under"
    assert told in said
    assert said.endswith("; it gets no work")


def test_a_worker_that_joins_after_all_others_have_gone_takes_over(make_scene, package, tmp_path):
    scene = make_scene(pixels=blocks(9, 9))
    with growing() as own, workers(0, own.scheduler_address) as pool:
        pool.make_ready([Plan.of(Scene.open(scene), package)])
        grow(own, pool.client, 0)
        threading.Timer(1, own.scale, [1]).start()
        scored = layer_bytes(run(scene, package, pool), tmp_path)
    assert scored == layer_bytes(run(scene, package), tmp_path)


# Processes


class Processes:
    """A scheduler and workers, as `dask scheduler` and `dask worker` start them."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._file = folder, folder / "scheduler.json"
        self.scheduler: subprocess.Popen[bytes]
        self.workers: list[subprocess.Popen[bytes]] = []

    def start(self, kind: str, *words: str, before: tuple[str, ...] = ()) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "PYTHONPATH": str(TESTS), "CUDA_VISIBLE_DEVICES": "-1"}
        command = [*before, sys.executable, "-m", f"distributed.cli.dask_{kind}", "--no-dashboard", *words]
        with (self._folder / f"{kind}-{len(self.workers)}.log").open("wb") as log:
            return subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)

    def begin(self, host: str = "127.0.0.1", before: tuple[str, ...] = ()) -> str:
        words = ("--host", host, "--port", "0", "--scheduler-file", str(self._file))
        self.scheduler = self.start("scheduler", *words, before=before)
        while not self._file.exists() or not self._file.stat().st_size:
            assert self.scheduler.poll() is None, (self._folder / "scheduler-0.log").read_text()
            time.sleep(0.1)
        return str(json.loads(self._file.read_text())["address"])

    def join(self, address: str, count: int = 1, *words: str, before: tuple[str, ...] = ()) -> None:
        for _ in range(count):
            where = ("--local-directory", str(self._folder / f"worker-{len(self.workers)}"), "--nthreads", "1")
            self.workers.append(self.start("worker", address, *where, *words, before=before))

    def end(self) -> None:
        for process in (*self.workers, self.scheduler):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture
def processes(tmp_path) -> Iterator[Processes]:
    (tmp_path / "cluster").mkdir()
    made = Processes(tmp_path / "cluster")
    try:
        yield made
    finally:
        made.end()


def wait_for(address: str, count: int) -> None:
    from distributed import Client

    with warnings.catch_warnings(action="ignore"), Client(address, set_as_default=False, timeout=120) as client:
        client.wait_for_workers(count, timeout=240)


@pytest.mark.large
@LONG
def test_a_worker_that_is_killed_changes_no_byte_of_the_layer(make_scene, package, tmp_path, processes):
    scene = make_scene(pixels=blocks(9, 9))
    alone = layer_bytes(run(scene, package), tmp_path)
    address = processes.begin()
    processes.join(address, 3)
    wait_for(address, 3)
    killed = []

    def kill(_: int) -> None:
        if not killed:
            killed.append(os.killpg(processes.workers[1].pid, signal.SIGKILL))

    with workers(0, address) as pool:
        assert layer_bytes(run(scene, package, pool, detector=Slow, advance=kill), tmp_path) == alone
        assert len(pool.client.nthreads()) == 2


@pytest.mark.large
@LONG
def test_a_scheduler_that_is_killed_is_one_line(make_scene, package, processes):
    address = processes.begin()
    processes.join(address)
    wait_for(address, 1)
    with workers(0, address) as pool, pytest.raises(ClusterError, match="scheduler has gone; start it anew"):
        run(
            make_scene(pixels=blocks(9, 9)),
            package,
            pool,
            detector=Slow,
            advance=lambda _: os.killpg(processes.scheduler.pid, signal.SIGKILL),
        )


def hiding(folder: Path) -> tuple[str, ...]:
    """Start a process that sees an empty folder in place of this one, or skip the test where that is not permitted."""
    command = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs none "$0" && exec "$@"', str(folder))
    if subprocess.run([*command, "true"], capture_output=True, check=False).returncode:
        pytest.skip("a process may have no mounts of its own here")
    return command


@pytest.mark.large
@LONG
def test_a_worker_gets_the_model_that_it_lacks_and_says_what_scene_it_lacks(make_scene, tmp_path, processes):
    package = a_model(tmp_path / "models")
    (tmp_path / "scenes").mkdir()
    scene = Path(shutil.move(make_scene(pixels=blocks(16, 16)), tmp_path / "scenes"))
    plan = Plan.of(Scene.open(scene), package, ScanOptions(runtime="openvino", force=True))
    address = processes.begin()
    processes.join(address, 2, before=hiding(package.path))
    wait_for(address, 2)
    with workers(0, address) as pool:
        pool.make_ready([plan])
        sent = sorted(file.name for file in (tmp_path / "cluster").rglob("geoscan-*/card.json"))
        assert sent == ["card.json", "card.json"]
        pool.make_ready([plan])
        scored = scan(plan, pool)
    assert layer_bytes(scored, tmp_path) == layer_bytes(scan(plan), tmp_path)
    processes.join(address, 1, before=hiding(tmp_path / "scenes"))
    wait_for(address, 3)
    with workers(0, address) as pool, pytest.raises(InputError, match=f"lacks {scene}; workers read scenes under"):
        pool.make_ready([plan])


def a_model(folder: Path) -> Package:
    """A real model that nobody has."""
    own = next(one for one in shipped() if one.card.name == "planet")
    path = Path(shutil.copytree(own.path, folder / "mine"))
    low = replace(own.card.detection, high=0.02, low=0.01, isolated=0.02)
    reseal(path, name="mine", detection=low, sensitive=None, strict=None)
    return load(path)


# Networks


@contextmanager
def two_networks() -> Iterator[str]:
    """Give the name of a namespace with the address 10.213.77.2, whose end here is 10.213.77.1."""
    name = f"geoscan{os.getpid()}"
    here, there = f"gsa{os.getpid()}"[:15], f"gsb{os.getpid()}"[:15]
    try:
        if subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode:
            pytest.skip("network namespaces are not permitted here")
        for words in (
            f"ip link add {here} type veth peer name {there} netns {name}",
            f"ip addr add 10.213.77.1/24 dev {here}",
            f"ip link set {here} up",
            f"ip -n {name} addr add 10.213.77.2/24 dev {there}",
            f"ip -n {name} link set {there} up",
            f"ip -n {name} link set lo up",
        ):
            subprocess.run(words.split(), check=True, capture_output=True)
        yield name
    except FileNotFoundError:
        pytest.skip("there is no ip to make network namespaces with")
    finally:
        subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


@pytest.mark.large
@LONG
def test_a_network_that_is_cut_for_ten_seconds_changes_no_byte(make_scene, package, tmp_path, processes):
    scene = make_scene(pixels=blocks(12, 12))
    alone = layer_bytes(run(scene, package), tmp_path)
    with two_networks() as name:
        address = processes.begin("10.213.77.1")
        processes.join(address, 1, "--host", "10.213.77.1")
        processes.join(address, 1, "--host", "10.213.77.2", before=("ip", "netns", "exec", name))
        wait_for(address, 2)
        cut = f"gsa{os.getpid()}"[:15]
        cuts: list[subprocess.Popen[bytes]] = []

        def cut_once(_: int) -> None:
            if not cuts:
                words = f"ip link set {cut} down; sleep 10; ip link set {cut} up"
                cuts.append(subprocess.Popen(["sh", "-c", words]))

        with workers(0, address) as pool:
            found = layer_bytes(run(scene, package, pool, detector=Slow, advance=cut_once), tmp_path)
        assert [one.wait() for one in cuts] == [0]
        assert found == alone
