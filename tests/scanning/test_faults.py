"""What may happen to a scan, and what is left then: each row is a test that really does it.

| fault | what is left |
|---|---|
| kill -9 at random moments | the same command gives the same bytes, and scores at most what was under way twice |
| SIGTERM, Ctrl-C | one line, exit 1, the old layer, the journal |
| disk full, for the journal and for the layer | one line, exit 1, the old layer, the journal |
| read-only folder | one line before the work, exit 2 |
| a place where no journal can be | the journal is in the cache; or a warning that there is none |
| two scans of one scene at once | the second ends with one line, exit 1; the first is not touched |
| scene cut off, bytes of one block flipped | the rest is scanned, exit 1; what failed is tried again |
| network cut for a while | nothing: reads are tried again, with longer and longer waits |
| network cut for good | the rest is scanned, exit 1; what failed is tried again |
| scene replaced during the scan | said, exit 1; the journal of the old one is not used for the new |
| clock set back | the journal holds, and a scene written since is another |
| journal cut off at every 100th byte, flipped, another program's | set aside: see test_journal.py |
| something unforeseen at a chip | one line that names it, exit 1, the journal |
"""

import json
import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from threading import Timer

import fakes
import numpy as np
import pytest
from click.testing import CliRunner, Result
from conftest import write_scene
from fake_geoscan import Fake
from loopback import served
from scans import CHIP, blocks, break_block

from geoscan.cli import main
from geoscan.model.package import Package
from geoscan.scanning.workers import _FEW, IN_FLIGHT

FAKE = Path(__file__).parents[1] / "fake_geoscan.py"
CHIPS = 42
BLOCKS = {"tiled": True, "blockxsize": CHIP, "blockysize": CHIP, "compress": "deflate"}


@pytest.fixture
def package(make_package) -> Package:
    return make_package(chip=CHIP)


@pytest.fixture
def scene(make_scene) -> Path:
    return make_scene(pixels=blocks(), **BLOCKS)


@pytest.fixture
def out(tmp_path) -> Path:
    """A layer of an earlier scan, in a folder of its own."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mines.geojson").write_text("old")
    return tmp_path / "out" / "mines.geojson"


@pytest.fixture
def detector(monkeypatch) -> pytest.MonkeyPatch:
    """Let scans in this process use a fake detector."""
    monkeypatch.setattr("geoscan.scanning.run.detector", partial(fakes.made, Fake))
    return monkeypatch


@pytest.fixture
def undisturbed(scene, package, tmp_path, detector) -> bytes:
    """The layer of a scan to which nothing happened; not of the scene itself, which this process would keep open."""
    (tmp_path / "whole").mkdir()
    copy = shutil.copy(scene, tmp_path / "whole" / scene.name)
    assert invoke(copy, tmp_path / "whole.geojson", package).exit_code == 0
    assert list(tmp_path.glob("*.journal")) == []
    return (tmp_path / "whole.geojson").read_bytes()


def words(scene: Path, out: Path, package: Package, *more: object, jobs: int = 0, batch: int = 4) -> list[str]:
    how = ("--jobs", jobs, "--batch", batch, *more)
    return [str(word) for word in (scene, "--out", out, "--model", package.path, *how)]


def invoke(scene: Path, out: Path, package: Package, *more: object, **how: int) -> Result:
    return CliRunner().invoke(main, words(scene, out, package, *more, **how), prog_name="geoscan")


def start(command: list[str], *, way: str = "steady", log: Path | None = None, **how) -> subprocess.Popen[str]:
    """Start a scan in a process of its own; log: see `fake_geoscan`."""
    environment = {**os.environ, "GEOSCAN_FAKE": way, **({"GEOSCAN_FAKE_LOG": str(log)} if log else {})}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, str(FAKE), *command], env=environment, **pipes, **how)


def begun(log: Path, calls: int = 1) -> None:
    """Wait until the detector was called so often."""
    until = time.monotonic() + 120
    while not log.exists() or log.read_text().count("\n") < calls:
        assert time.monotonic() < until, "the scan does not begin"
        time.sleep(0.005)


def journal_of(out: Path, scene: Path) -> Path:
    return out.with_name(f"{out.name}.{scene.name}.journal")


def one_line(said: str) -> str:
    """The line that ends a scan, which is all it says but for how the scene is read and what was left before."""
    *before, last = said.strip().splitlines()
    assert all(line.startswith("scene.tif: plain raster") or ": resumed: " in line for line in before), said
    return last


def kill_somewhere(scene, package, folder, undisturbed, moment: float, jobs: int, batch: int) -> int:
    """Kill a scan so many seconds after its first batch, and go on with it; return how many chips were left."""
    folder.mkdir()
    out, log, dask = folder / "mines.geojson", folder / "log", jobs and _FEW * batch < CHIPS
    with start(words(scene, out, package, jobs=jobs, batch=batch), log=log) as process:
        begun(log)
        time.sleep(moment)
        process.kill()
    done_before = out.exists()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GEOSCAN_FAKE_LOG", str(log))
        result = invoke(scene, out, package, jobs=jobs, batch=batch)
    assert result.exit_code == 0
    assert out.read_bytes() == undisturbed
    assert [path.name for path in folder.iterdir() if "journal" in path.name] == []
    scored = sum(map(int, log.read_text().split()))
    resumed = [line for line in result.stderr.splitlines() if "resumed" in line]
    kept = int(resumed[0].split(": resumed: ")[1].split()[0]) if resumed else 0
    if not done_before:
        # Without dask one thread scores; dask has a few batches under way for each thread, which are seldom all scored.
        under_way = IN_FLIGHT * (jobs + 1) if dask else 1
        assert scored - CHIPS <= batch * under_way, "no more than what was under way twice"
        assert scored + kept >= CHIPS
    return kept


def test_a_scan_that_was_killed_goes_on(scene, package, tmp_path, undisturbed):
    kept = [
        kill_somewhere(scene, package, tmp_path / "alone", undisturbed, 0.2, jobs=0, batch=4),
        kill_somewhere(scene, package, tmp_path / "threads", undisturbed, 0.3, jobs=2, batch=4),
    ]
    assert max(kept) > 0


@pytest.mark.large
@pytest.mark.timeout(900)
def test_a_scan_that_was_killed_at_20_random_moments_goes_on(scene, package, tmp_path, undisturbed):
    rng = random.Random(15)
    kept = []
    for n in range(20):
        jobs, batch = ((0, 4), (2, 4), (0, 4), (2, 1))[n % 4]  # the last is so many batches that dask does them
        folder = tmp_path / f"kill{n}"
        longest = 0.05 * CHIPS / batch + 0.2
        kept.append(kill_somewhere(scene, package, folder, undisturbed, rng.uniform(0, longest), jobs, batch))
    assert sum(0 < one < CHIPS for one in kept) >= 10


@pytest.mark.parametrize("sign", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.large)])
def test_a_scan_that_is_asked_to_end_leaves_a_line_and_its_journal(scene, package, tmp_path, out, undisturbed, sign):
    log = tmp_path / "log"
    with start(words(scene, out, package, jobs=2), log=log) as process:
        begun(log, 4)
        process.send_signal(sign)
        said = process.stderr.read()
    assert process.returncode == 1
    kept = journal_of(out, scene)
    assert one_line(said).startswith("geoscan: interrupted; ")
    assert one_line(said).endswith(f" chips are in {kept}, and the same command goes on from there")
    assert sorted(path.name for path in out.parent.iterdir()) == [out.name, kept.name]
    assert out.read_text() == "old"
    assert ": resumed: " in invoke(scene, out, package).stderr
    assert out.read_bytes() == undisturbed


@pytest.mark.large
def test_a_disk_that_is_full_leaves_the_old_layer_and_the_journal(scene, package, out, undisturbed):
    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))

    with start(words(scene, out, package, batch=1), way="bright", preexec_fn=limited) as process:
        said = process.stderr.read()
    assert process.returncode == 1
    assert one_line(said).startswith(f"geoscan: the journal {journal_of(out, scene)} cannot be written: ")
    assert one_line(said).endswith("; make room, and run the same command again")
    assert out.read_text() == "old"
    assert ": resumed: " in invoke(scene, out, package).stderr
    assert out.read_bytes() == undisturbed


@pytest.fixture
def mounted(tmp_path):
    """Mount things below a folder, as far as this process may."""
    places = []

    def mount(*how: str) -> Path:
        place = tmp_path / f"mount{len(places)}"
        place.mkdir()
        done = subprocess.run(["mount", *how, str(place)], capture_output=True, check=False)
        if done.returncode:
            pytest.skip(f"this process may not mount: {done.stderr.decode().strip()}")
        places.append(place)
        return place

    yield mount
    for place in places:
        subprocess.run(["umount", str(place)], check=True)


def test_a_small_disk_that_is_full_does_so_too(scene, package, mounted, undisturbed):
    disk = mounted("-t", "tmpfs", "-o", "size=100k", "none")
    out = disk / "mines.geojson"
    result = invoke(scene, out, package, batch=1)
    assert result.exit_code == 1
    assert "database or disk is full; make room" in one_line(result.stderr)
    assert not out.exists()
    subprocess.run(["mount", "-o", "remount,size=4m", str(disk)], check=True)
    assert ": resumed: " in invoke(scene, out, package).stderr
    assert out.read_bytes() == undisturbed


def test_a_layer_that_does_not_fit_on_the_disk_costs_no_score(scene, package, out, undisturbed, detector):
    def full(*_):
        raise OSError(28, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("geoscan.files.os.fsync", full)
        result = invoke(scene, out, package)
    assert result.exit_code == 1
    assert one_line(result.stderr).endswith("No space left on device; make room or write elsewhere")
    assert out.read_text() == "old"
    detector.setattr("geoscan.scanning.run.detector", lambda *_: fakes.Unable())
    assert "resumed: 42 of 42 chips" in invoke(scene, out, package).stderr
    assert out.read_bytes() == undisturbed


def test_a_read_only_folder_is_refused_before_the_work(scene, package, mounted, tmp_path, detector):
    (tmp_path / "locked").mkdir()
    (tmp_path / "locked" / "mines.geojson").write_text("old")
    locked = mounted("--bind", str(tmp_path / "locked"))
    subprocess.run(["mount", "-o", "remount,ro,bind", str(locked)], check=True)
    for target in (locked / "mines.geojson", f"{locked}/", f"{locked}/new/"):
        result = CliRunner().invoke(main, words(scene, target, package), prog_name="geoscan")
        assert result.exit_code == 2, result.output
        assert result.stderr.count("\n") == 1
        assert "may not be written to" in result.stderr or "Read-only file system" in result.stderr
    assert (locked / "mines.geojson").read_text() == "old"


def test_where_no_journal_can_be_it_is_in_the_cache(scene, package, tmp_path, out, undisturbed, detector):
    journal_of(out, scene).mkdir()
    detector.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    Third.calls = 0
    detector.setattr("geoscan.scanning.run.detector", partial(fakes.made, Third))
    result = invoke(scene, out, package)
    assert result.exit_code == 1
    (kept,) = (tmp_path / "cache" / "geoscan" / "journals").iterdir()
    assert f"cannot be used: Is a directory; write elsewhere: the journal is {kept}" in result.stderr
    detector.setattr("geoscan.scanning.run.detector", partial(fakes.made, Fake))
    assert "resumed: 8 of 42 chips" in invoke(scene, out, package).stderr
    assert not kept.exists()
    assert out.read_bytes() == undisturbed
    detector.setenv("XDG_CACHE_HOME", str(scene))
    result = invoke(scene, out, package)
    assert "so no journal is kept, and a scan that is ended begins anew" in result.stderr
    assert result.exit_code == 0


def test_what_is_in_the_cache_is_gone_on_with_once_there_is_room(scene, package, tmp_path, out, undisturbed, detector):
    (in_the_way := journal_of(out, scene)).mkdir()
    detector.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    Third.calls = 0
    detector.setattr("geoscan.scanning.run.detector", partial(fakes.made, Third))
    assert invoke(scene, out, package).exit_code == 1
    in_the_way.rmdir()
    detector.setattr("geoscan.scanning.run.detector", partial(fakes.made, Fake))
    assert "resumed: 8 of 42 chips" in invoke(scene, out, package).stderr
    assert out.read_bytes() == undisturbed
    assert not in_the_way.exists()
    assert list((tmp_path / "cache" / "geoscan" / "journals").iterdir()) == []


def test_a_journal_that_could_not_be_begun_leaves_nothing(scene, package, out, undisturbed, detector):
    def full(*_):
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    detector.setenv("XDG_CACHE_HOME", str(out.parent))
    detector.setattr("geoscan.scanning.journal.database.write_ahead", full)
    result = invoke(scene, out, package)
    assert result.exit_code == 0
    assert "so no journal is kept" in result.stderr
    assert list(out.parent.rglob("*.journal*")) == []
    assert out.read_bytes() == undisturbed


class Third(fakes.BrightIsPositive):
    """Fails at the third batch that this process scores."""

    calls = 0

    def __call__(self, chips):
        Third.calls += 1
        if Third.calls % 3 == 0 or len(chips) == 1:
            raise ZeroDivisionError("what nobody foresaw")
        return super().__call__(chips)


def test_long_names_have_journals_too(package, tmp_path, detector):
    scene = write_scene(tmp_path / f"{'s' * 200}.tif", pixels=blocks(2, 2))
    out = tmp_path / f"{'é' * 110}.geojson"
    detector.setattr("geoscan.scanning.run.detector", lambda *_: fakes.Unable())
    assert invoke(scene, out, package).exit_code == 1
    detector.setattr("geoscan.scanning.run.detector", partial(fakes.made, Fake))
    result = invoke(scene, out, package)
    assert (result.exit_code, "journal" in result.stderr) == (0, False), result.stderr
    assert list(tmp_path.glob("*.journal*")) == []


@pytest.mark.parametrize("jobs", [0, 2])
def test_what_nobody_foresaw_is_one_line_with_the_chip(scene, package, out, undisturbed, detector, jobs):
    Third.calls = 0
    detector.setattr("geoscan.scanning.run.detector", partial(fakes.made, Third))
    result = invoke(scene, out, package, jobs=jobs)
    assert result.exit_code == 1
    said = one_line(result.stderr)
    assert said.startswith("geoscan: scene.tif: ZeroDivisionError: what nobody foresaw at the chip of row 32, col 32 (")
    assert "test_faults.py, line " in said
    assert said.endswith("; this was not foreseen: please report it")
    assert out.read_text() == "old"
    detector.setattr("geoscan.scanning.run.detector", partial(fakes.made, Fake))
    assert "resumed: 8 of 42 chips" in invoke(scene, out, package).stderr
    assert out.read_bytes() == undisturbed


@pytest.mark.large
def test_two_scans_of_one_scene_exclude_each_other(scene, package, tmp_path, out, undisturbed):
    log = tmp_path / "log"
    with start(words(scene, out, package), way="slow", log=log) as process:
        begun(log)
        result = invoke(scene, out, package)
        assert result.exit_code == 1
        assert f"{journal_of(out, scene)} is being written by another scan" in one_line(result.stderr)
        begun(log, 3)
        process.terminate()
        assert "interrupted; " in process.stderr.read()
    result = invoke(scene, out, package)
    assert (result.exit_code, "resumed: " in result.stderr) == (0, True)
    assert out.read_bytes() == undisturbed


def test_a_scene_that_was_cut_off_is_scanned_as_far_as_it_goes(scene, package, out, undisturbed):
    whole = scene.read_bytes()
    times = scene.stat().st_mtime_ns
    scene.write_bytes(whole[:-600])
    os.utime(scene, ns=(times, times))
    result = invoke(scene, out, package, "--json")
    assert result.exit_code == 1
    failed = json.loads(result.stdout)["failed"]
    assert 0 < failed < CHIPS
    (facts,) = json.loads(out.read_text())["geoscan"]["scenes"]
    assert facts["failed"] == len(facts["failures"]) == failed
    assert facts["failures"][0].startswith("scene.tif cannot be read at row ")
    assert f"{journal_of(out, scene)} stays: the same command tries again what could not be read" in result.stderr
    scene.write_bytes(whole)
    os.utime(scene, ns=(times, times))
    result = invoke(scene, out, package)
    assert "was begun with another state of the scene, which has changed since" in result.stderr
    assert out.read_bytes() == undisturbed


def test_bytes_of_a_block_that_were_flipped_cost_its_chip_which_is_tried_again(scene, package, out, undisturbed):
    whole, status = scene.read_bytes(), scene.stat()
    break_block(scene, 0, 0)  # where no sample is taken, by which a scene is known
    os.utime(scene, ns=(status.st_mtime_ns, status.st_mtime_ns))
    result = invoke(scene, out, package)
    assert result.exit_code == 1
    assert "1 chip could not be read" in result.stderr
    scene.write_bytes(whole)
    os.utime(scene, ns=(status.st_mtime_ns, status.st_mtime_ns))
    result = invoke(scene, out, package, "--json")
    assert "resumed: 41 of 42 chips" in result.stderr
    assert (result.exit_code, json.loads(result.stdout)["resumed"]) == (0, 41)
    assert out.read_bytes() == undisturbed
    assert not journal_of(out, scene).exists()


def test_a_scene_that_was_replaced_meanwhile_is_said_and_scanned_anew(scene, package, out, tmp_path, detector):
    new = write_scene(tmp_path / "new.tif", pixels=blocks(seed=8), **BLOCKS)
    assert invoke(new, tmp_path / "new.geojson", package).exit_code == 0

    class Replacing(Fake):
        calls = 0

        def __call__(self, chips):
            Replacing.calls += 1
            if Replacing.calls == 3:
                shutil.copy(new, tmp_path / "copy.tif")
                (tmp_path / "copy.tif").replace(scene)
            return super().__call__(chips)

    detector.setattr("geoscan.scanning.run.detector", partial(fakes.made, Replacing))
    result = invoke(scene, out, package)
    assert result.exit_code == 1
    assert "was written during the scan, which may mix old and new pixels; scan it again" in result.stderr
    result = invoke(scene, out, package)
    assert result.exit_code == 0
    assert "was begun with another state of the scene, which has changed since" in result.stderr
    assert out.read_bytes() == (tmp_path / "new.geojson").read_bytes().replace(b"new.tif", b"scene.tif")


def test_a_clock_that_was_set_back_makes_no_difference(scene, package, out, undisturbed, detector):
    detector.setattr("geoscan.scanning.run.detector", partial(fakes.made, Third))
    Third.calls = 0
    assert invoke(scene, out, package).exit_code == 1
    later = time.time() + 86_400
    os.utime(journal_of(out, scene), (later, later))
    detector.setattr("geoscan.scanning.run.detector", partial(fakes.made, Fake))
    assert "resumed: 8 of 42 chips" in invoke(scene, out, package).stderr
    assert out.read_bytes() == undisturbed
    detector.setattr("geoscan.scanning.run.detector", partial(fakes.made, Third))
    Third.calls = 0
    assert invoke(scene, out, package).exit_code == 1
    earlier = scene.stat().st_mtime - 86_400
    os.utime(scene, (earlier, earlier))  # written anew, by a clock that is a day behind
    detector.setattr("geoscan.scanning.run.detector", partial(fakes.made, Fake))
    assert "another state of the scene" in invoke(scene, out, package).stderr
    assert out.read_bytes() == undisturbed


class Cut:
    """A server that is gone after some calls of the detector, for some seconds."""

    def __init__(self, folder: Path, calls: int, seconds: float) -> None:
        self.folder, self.calls, self.seconds = folder, calls, seconds
        self.stack = ExitStack()
        self.url = self.stack.enter_context(served(folder))

    def __call__(self, chips):
        self.calls -= 1
        if self.calls == 0:
            self.stack.close()
            Timer(self.seconds, self.back).start()
        return fakes.BrightIsPositive()(chips)

    def back(self) -> None:
        self.url = self.stack.enter_context(served(self.folder, int(self.url.rpartition(":")[2])))


@pytest.mark.large
@pytest.mark.parametrize("seconds", [2, 12])
def test_a_network_that_is_cut_costs_nothing_or_is_named(package, tmp_path, out, detector, seconds):
    (tmp_path / "served").mkdir()
    noise = np.random.default_rng(0).integers(1, 255, (3, 32 * CHIP, 32 * CHIP))  # more than GDAL reads ahead
    scene = write_scene(tmp_path / "served" / "scene.tif", pixels=noise, **BLOCKS)
    whole = tmp_path / "whole.geojson"
    detector.setattr("geoscan.scanning.run.detector", lambda *_: fakes.BrightIsPositive())
    assert invoke(scene, whole, package, batch=16).exit_code == 0
    detector.setattr("geoscan.scanning.batch._NETWORK", (0.2, 1.0, 2.0, 4.0))
    cut = Cut(scene.parent, 3, seconds)
    with cut.stack:
        detector.setattr("geoscan.scanning.run.detector", lambda *_: cut)
        result = invoke(f"{cut.url}/scene.tif", out, package, "--json", batch=16)
        failed = json.loads(result.stdout)["failed"]
        assert (result.exit_code, failed > 0) == ((0, False) if seconds == 2 else (1, True)), result.stderr
        if failed:
            assert "stays: the same command tries again what could not be read" in result.stderr
            time.sleep(seconds)
            result = invoke(f"{cut.url}/scene.tif", out, package, batch=16)
            assert f"resumed: {1024 - failed:,} of 1,024 chips" in result.stderr
            assert result.exit_code == 0, result.stderr
    assert json.loads(out.read_text())["features"] == json.loads(whole.read_text())["features"]
