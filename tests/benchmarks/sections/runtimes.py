"""The network alone, by each runtime, beside what the machine could do at most."""

from __future__ import annotations

import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import numpy as np

from geoscan.model import openvino_runtime
from geoscan.model.runtime import detector
from geoscan.model.shipped import find
from geoscan.scanning.plan import Plan
from geoscan.scene import Scene
from sections import limits, material
from sections.commands import EXAMPLE, child
from sections.work import Found, Row, Work

TITLE: Final = "the network alone, chips in memory, as many at a time as in a scan"

_RUNTIMES: Final = ("openvino f32", "openvino bf16", "tensorflow f32")
_BATCHES: Final = 4
"""That are scored in one go."""


def measure(work: Work, found: Found) -> None:
    """Time each runtime in a process of its own, network by network."""
    models = {name: find(name).path for name in work.sizes.models}
    models["compact"] = material.package(work.folder, "compact")
    for runtime in _RUNTIMES:
        if runtime.endswith("bf16") and not limits.has_bfloat16():
            found.skipped[runtime] = "this processor does not compute in bfloat16"
            continue
        answers = child("sections.runtimes", runtime, work.sizes.network_seconds, work.folder, *models.values())
        found.add(TITLE, *(_row(name, runtime, answer) for name, answer in zip(models, answers, strict=True)))


def _row(name: str, runtime: str, answer: dict[str, Any]) -> Row:
    limit = answer["matrix"] / answer["flops"]
    return {
        "model": name,
        "runtime": runtime,
        "at a time": answer["batch"],
        "chips/s": round(answer["rate"], 1),
        "ready s": round(answer["ready"], 2),
        "GFLOPs a chip": round(answer["flops"] / 1e9, 3),
        "matrices GFLOPs/s": round(answer["matrix"] / 1e9),
        "chips/s at most": round(limit),
        "share": round(answer["rate"] / limit, 2),
        "scores differ by": float(f"{answer['differ']:.1g}"),
    }


def _timed(path: Path, runtime: str, seconds: float, folder: Path) -> dict[str, float]:
    """Score the same chips again and again. folder: where scores of the first runtime are kept, to be compared."""
    name, precision = runtime.split()
    package = find(str(path))
    card, first = package.card, folder / f"{package.card.digest}.npy"
    batch = Plan.of(Scene.open(EXAMPLE), package).batch
    chips = material.chips(card.spec.chip, _BATCHES * batch)
    start = time.perf_counter()
    detect = detector(path, card.digest, batch, name)
    detect(chips[:batch])
    ready = time.perf_counter() - start
    scores = detect(chips)
    if not first.exists():
        np.save(first, scores)
    times: list[float] = []
    while sum(times) < seconds or len(times) < 2:
        start = time.perf_counter()
        detect(chips)
        times.append(time.perf_counter() - start)
    return {
        "batch": batch,
        "rate": len(chips) / float(np.median(times)),
        "ready": ready,
        "differ": float(np.abs(scores - np.load(first)).max()),
        "flops": limits.flops_a_chip(path, card.spec.chip),
        "matrix": limits.flops_a_second(precision),
    }


def _main(runtime: str, seconds: str, folder: str, *paths: str) -> None:
    """Compute in bfloat16 where it is asked for, whatever geoscan has for these packages."""
    if runtime.startswith("tensorflow"):
        importlib.import_module("geoscan.model.backend")  # takes seconds that are not the network's
    precision = {"INFERENCE_PRECISION_HINT": runtime.split()[1]}
    with patch.dict(openvino_runtime._SETTINGS, precision):
        answers = [_timed(Path(path), runtime, float(seconds), Path(folder)) for path in paths]
    sys.stdout.write(json.dumps(answers) + "\n")


if __name__ == "__main__":
    _main(*sys.argv[1:])
