"""Streams that are closed or full, signals, lack of memory, in real processes: a result is written, or one line."""

import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

FAKE = Path(__file__).parent.parent / "fake_geoscan.py"


@pytest.fixture
def package(make_package):
    return make_package(chip=32)


@pytest.fixture
def scene(make_scene):
    pixels = np.full((3, 96, 128), 20)
    pixels[:, :64, :64] = 230
    return make_scene(pixels=pixels)


@pytest.fixture
def words(scene, package, tmp_path):
    """A scan; its layer goes to `out/mines.geojson`."""
    (tmp_path / "out").mkdir()
    return ["scan", scene, "--model", package.path, "--jobs", 1, "--out", tmp_path / "out" / "mines.geojson"]


def command(words) -> list[str]:
    return [sys.executable, str(FAKE), *map(str, words)]


def shell(words, redirection: str, **environment: str) -> subprocess.CompletedProcess:
    line = " ".join(f"'{word}'" for word in command(words))
    env = {**os.environ, **environment}
    return subprocess.run(["bash", "-c", f"{line} {redirection}"], capture_output=True, text=True, env=env, check=False)


def layer(words) -> list:
    return json.loads(Path(words[-1]).read_text())["features"]


@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full", "<&- >&- 2>&-", ">&-", ">/dev/full"])
def test_a_layer_is_written_whatever_becomes_of_the_streams(words, redirection):
    done = shell(words, redirection)
    assert done.returncode == 0, done.stderr
    assert len(layer(words)) == 1
    assert sorted(path.name for path in Path(words[-1]).parent.iterdir()) == ["mines.geojson", "mines.qml"]


@pytest.mark.parametrize(
    ("redirection", "reason"), [(">/dev/full", "No space left on device"), (">&-", "standard output is closed")]
)
def test_figures_that_cannot_be_printed_are_one_line_and_the_layer_is_written(words, redirection, reason):
    done = shell(["scan", "--json", "-q", *words[1:]], redirection)
    assert done.returncode == 1
    assert done.stderr.startswith("geoscan: standard output ")
    assert reason in done.stderr
    assert done.stderr.count("\n") == 1
    assert len(layer(words)) == 1


@pytest.mark.parametrize("asked", ["--help", "--version", "models", "models planet", "scan --help"])
def test_what_is_asked_for_and_does_not_get_out_is_one_line(asked):
    done = shell(asked.split(), ">/dev/full")
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.large
def test_a_reader_that_has_gone_is_no_traceback(words):
    done = shell(["--help"], "| true")
    assert done.stderr == ""
    done = shell(["scan", "--json", "-q", *words[1:]], "| true")
    assert "Traceback" not in done.stderr
    assert len(layer(words)) == 1


@pytest.mark.large
def test_an_error_has_its_status_whether_it_can_be_said_or_not(scene, words):
    for redirection in ("2>/dev/full", "2>&-"):
        assert shell(["scan", "missing.tif", *words[2:]], redirection).returncode == 2
        assert shell(["scan", scene], redirection).returncode == 2


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGHUP, marks=pytest.mark.large), signal.SIGINT]
)
def test_signals_end_a_scan_in_one_line(words, make_scene, number):
    Path(words[-1]).write_text("old")
    words[1] = make_scene((3, 1500, 1500), name="large.tif")
    words[2:2] = ["--batch", 16]
    how = {"env": {**os.environ, "GEOSCAN_FAKE": "slow"}, "stderr": subprocess.PIPE, "text": True}
    heeded = partial(signal.signal, number, signal.SIG_DFL)  # these tests may run under nohup, which has it ignored
    with subprocess.Popen(command(words), preexec_fn=heeded, **how) as process:
        process.stderr.readline()  # what was taken for granted, said when the scene is planned
        time.sleep(1)
        process.send_signal(number)
        said = process.stderr.read()
    assert process.returncode == 1, said
    begun = re.fullmatch(r"geoscan: interrupted(; [\d,]+ chips are in .*\.journal, and the same command .*)?\n", said)
    assert begun, said
    folder = Path(words[-1]).parent
    journal = ["mines.geojson.large.tif.journal"] if begun[1] else []
    assert sorted(path.name for path in folder.iterdir()) == ["mines.geojson", *journal]
    assert (folder / "mines.geojson").read_text() == "old"


def test_a_signal_leaves_no_half_written_file(make_scene, tmp_path):
    scene = make_scene((3, 5000, 5000), compress="deflate", tiled=True)
    folder = tmp_path / "out"
    folder.mkdir()
    words = ["dehaze", scene, "--out", folder / "clear.tif", "--jobs", 1]
    with subprocess.Popen(command(words), stderr=subprocess.PIPE, text=True) as process:
        until = time.monotonic() + 60
        while not any(folder.iterdir()) and time.monotonic() < until:
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        said = process.stderr.read()
    assert process.returncode == 1
    assert said.endswith("geoscan: interrupted\n")
    assert list(folder.iterdir()) == []


def test_a_lack_of_memory_is_one_line(words):
    done = shell(["scan", "-q", *words[1:]], "", GEOSCAN_FAKE="short")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "geoscan: memory ran out; pass a smaller --batch or fewer --jobs, or end other programs\n"
    assert not Path(words[-1]).exists()


@pytest.mark.parametrize(
    ("gigabytes", "runtime"),
    [(0.2, "auto"), (0.6, "auto"), (1.5, "openvino"), (1.5, "tensorflow"), (3.0, "tensorflow")],
)
def test_a_limit_that_libraries_cannot_live_with_is_told_before_they_end_the_process(words, gigabytes, runtime):
    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (int(gigabytes * 1e9),) * 2)

    plain = [sys.executable, "-m", "geoscan", *map(str, words), "--runtime", runtime, "-q"]
    done = subprocess.run(plain, capture_output=True, text=True, check=False, preexec_fn=limit)
    assert done.returncode == 1
    assert done.stderr.startswith(f"geoscan: memory is limited to {gigabytes:.1f} GB (ulimit -v), and ")
    assert done.stderr.count("\n") == 1


def test_a_scene_that_is_written_during_the_scan_is_said_and_the_layer_is_kept(words, scene):
    done = shell(["scan", *words[1:]], "", GEOSCAN_FAKE="write", GEOSCAN_FAKE_FILE=str(scene))
    assert done.returncode == 1
    assert (
        f"warning: {scene} was written during the scan, which may mix old and new pixels; scan it again" in done.stderr
    )
    assert Path(words[-1]).exists()


INTERRUPTED = """
import time
import numpy as np
from geoscan.cli import main
from geoscan.cli.models import models
from geoscan.model.openvino_backend import ops, ov

def interrupted(**_):
    shape = ops.parameter([1], np.float32)
    queue = ov.AsyncInferQueue(ov.Core().compile_model(ov.Model([ops.relu(shape)], [shape]), "CPU"), 1)
    queue.set_callback(lambda *_: [time.sleep(0.001) for _ in range(2000)])
    queue.start_async(np.zeros(1, np.float32))
    models.queue = queue
    raise KeyboardInterrupt("interrupted; enough")

models.callback = interrupted
main(["models"])
"""
"""A command that is interrupted while a thread of OpenVINO's is about to come back to Python, again and again."""


def test_a_library_that_still_computes_does_not_abort_an_interrupted_process():
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "geoscan: interrupted; enough\n")


TWICE = """
import signal
from geoscan.cli import main, streams
from geoscan.cli.models import models

def interrupted(**_):
    raise KeyboardInterrupt

def say(text, say=streams.say):
    signal.raise_signal(signal.SIGINT)
    say(text)

models.callback, streams.say = interrupted, say
main(["models"])
"""
"""A command that is interrupted again while it says so."""


def test_a_second_interrupt_changes_nothing():
    done = subprocess.run([sys.executable, "-c", TWICE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "geoscan: interrupted\n")
