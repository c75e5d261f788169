"""Commands as users type them, timed; and parts of geoscan that are measured in a process of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

HERE: Final = Path(__file__).parents[1]
EXAMPLE: Final = HERE.parents[1] / "examples" / "scene.tif"


@dataclass(frozen=True, slots=True)
class Ran:
    """A command that was run."""

    seconds: float
    """From its start to its end."""

    figures: dict[str, Any]
    """The JSON that it printed."""


@dataclass(frozen=True, slots=True)
class Clocked:
    """A scan whose progress was watched."""

    seconds: float
    first_chip: float
    """Seconds from the start of the command to the first chip that is done."""

    peak_mb: float
    """Most memory that the process held, writing included."""

    figures: dict[str, Any]


def geoscan(*words: object, seconds: float | None = None) -> Ran:
    """Run `geoscan WORDS --json`."""
    return _anew(run(sys.executable, "-m", "geoscan", *words, "--json", "-q", seconds=seconds))


def _anew(ran: Ran) -> Ran:
    """Refuse to time a scan that took scores from an earlier one."""
    if resumed := ran.figures.get("resumed"):
        raise RuntimeError(f"{resumed} chips were taken from an earlier scan: there is nothing to time")
    return ran


def clocked(folder: Path, *words: object) -> Clocked:
    """Run the same, and note when its progress bar first moves."""
    target = folder / "clock.json"
    begun = time.time()
    ran = _anew(run(sys.executable, HERE / "sections" / "clock.py", target, *words, "--json", "-q"))
    told = json.loads(target.read_text())
    return Clocked(ran.seconds, told["first"] - begun, told["peak_mb"], ran.figures)


def child(module: str, *words: object) -> Any:
    """Run a module of this folder in a process of its own, and return the JSON that it prints."""
    return run(sys.executable, "-m", module, *words).figures


def run(*words: object, seconds: float | None = None) -> Ran:
    """Run a program that prints JSON, for at most so many seconds.

    Raises RuntimeError with what it said last, where it fails, and TimeoutError.
    """
    paths = [str(HERE), str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # what is installed is compiled
    command = [str(word) for word in words]
    start = time.perf_counter()
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired as err:
        raise TimeoutError(f"{command[-1]} took more than {seconds:.0f} s") from err
    took = time.perf_counter() - start
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr[-2000:]}")
    return Ran(took, json.loads(done.stdout.splitlines()[-1]))


def best_and_median(seconds: list[float]) -> dict[str, float]:
    """Sum up several times."""
    return {"best s": round(min(seconds), 2), "median s": round(median(seconds), 2)}
