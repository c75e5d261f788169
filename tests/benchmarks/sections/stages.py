"""Where the time of a scan goes, and how near the whole comes to the sum of its parts."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np

from geoscan import layers
from geoscan.labels import MINE
from geoscan.machine import cores
from geoscan.model.runtime import FAINT
from geoscan.model.shipped import find
from geoscan.scanning.batch import Prepared, ScoredBatch, prepare, read
from geoscan.scanning.options import ScanOptions
from geoscan.scanning.plan import Plan
from geoscan.scanning.result import detect
from geoscan.scanning.run import detector_of, scan
from geoscan.scanning.workers import workers
from geoscan.scene import Scene
from sections import material
from sections.commands import child, geoscan
from sections.work import Found, Row, Work

STAGES: Final = (
    "core-milliseconds a chip by stage, each alone on all cores; read has radiometry in it, dehaze the guard"
)
BOUND: Final = "wall time against the bound: seconds of read, dehaze and inference, each alone on all cores"

_TOGETHER: Final = 16
"""Batches that are prepared before they are scored, so that memory does not grow with the scene."""

_SMALL: Final = 48
"""Pixels along the side of a chip at 10 m."""

_SAMPLE: Final = 64
"""Chips by which parts of a stage are timed."""


def measure(work: Work, found: Found) -> None:
    """Take models apart, those that ship unless others are asked for, and `compact`, which removes haze."""
    for name in (*work.sizes.models, "compact"):
        model = material.package(work.folder, name) if name == "compact" else find(name).path
        scene = _scene(work, model)
        parts = child("sections.stages", scene, model, work.folder)
        ran = geoscan(scene, "--model", model, "--out", work.folder / "mines.geojson")
        found.add(STAGES, _stages(name, parts))
        found.add(BOUND, _bound(name, parts, ran.seconds))


def _scene(work: Work, model: Path) -> Path:
    if find(str(model)).card.spec.chip == _SMALL:
        return material.units(work.folder, *work.sizes.stage_units)
    return material.square(work.folder, work.sizes.many)


def _stages(name: str, parts: dict[str, Any]) -> Row:
    chips, stages = parts["chips"], parts["core_seconds"]
    total = sum(stages.values())
    each = {f"{stage} ms": round(1000 * seconds / chips, 3) for stage, seconds in stages.items()}
    shares = {f"{stage} %": round(100 * seconds / total, 1) for stage, seconds in stages.items()}
    return {"model": name, "chips": chips, **each, **shares} | {
        "radiometry ms": round(parts["radiometry_ms"], 3),
        "guard ms": round(parts["guard_ms"], 3),
        "scored 8 times %": round(100 * parts["again"], 1),
        "aim": "dehaze at most 1.3 ms",
    }


def _bound(name: str, parts: dict[str, Any], whole: float) -> Row:
    bound = sum(parts["core_seconds"][stage] for stage in ("read", "dehaze", "infer")) / cores()
    return {
        "model": name,
        "chips": parts["chips"],
        "bound s": round(bound, 2),
        "scan s": round(parts["scan_seconds"], 2),
        "efficiency": round(bound / parts["scan_seconds"], 3),
        "whole command s": round(whole, 2),
        "of the whole command": round(bound / whole, 3),
        "aim": "at least 0.9",
    }


class _OneAfterTheOther:
    """Workers that do one thing at a time on all cores, and so a bound for those that do all at once."""

    def begin(self, make: Callable[[], object]) -> None:
        make()

    def run(
        self,
        prepare: Callable[[Sequence[int]], Prepared],
        infer: Callable[[Prepared], ScoredBatch],
        batches: list[list[int]],
    ) -> Iterator[ScoredBatch]:
        with ThreadPoolExecutor(cores()) as pool:
            for first in range(0, len(batches), _TOGETHER):
                for ready in list(pool.map(prepare, batches[first : first + _TOGETHER])):
                    yield infer(ready)


def _taken_apart(scene: Path, model: str, folder: Path) -> dict[str, Any]:
    plan = Plan.of(Scene.open(scene), find(model), ScanOptions())
    apart = scan(plan, _OneAfterTheOther())
    with workers(batches=plan.batches) as pool:
        scores = scan(plan, pool)
    np.testing.assert_array_equal(scores.scores, apart.scores)
    start = time.perf_counter()
    result = detect(scores)
    layers.write(folder / "stages.geojson", result.detections, [result.seen])
    merge = time.perf_counter() - start
    seconds = {stage: took * (cores() if stage == "infer" else 1) for stage, took in apart.stage_seconds.items()}
    facts = {"chips": len(plan.grid), "core_seconds": {**seconds, "merge": merge}, "scan_seconds": scores.seconds}
    return facts | _parts(plan)


def _parts(plan: Plan) -> dict[str, float]:
    """What belongs to other stages, by a sample of chips, in one thread."""
    tiles = np.linspace(0, len(plan.grid) - 1, _SAMPLE).astype(int).tolist()
    raw = [plan.scene.read(plan.grid[index].read) for index in tiles]
    start = time.perf_counter()
    for pixels, valid in raw:
        plan.radiometry.apply(pixels, valid)
    radiometry = time.perf_counter() - start
    seen, card = read(plan, tiles), plan.package.card
    framed, guard = seen.framed(card.preprocess), 0.0
    if card.look is not None:
        start = time.perf_counter()
        card.look.log_odds(framed, seen.shares)
        guard = time.perf_counter() - start
    each = 1000 / len(tiles)
    return {"radiometry_ms": radiometry * each, "guard_ms": guard * each, "again": _again(plan, tiles)}


def _again(plan: Plan, tiles: list[int]) -> float:
    """Share of chips that test-time augmentation scores in all symmetries."""
    if not plan.tta:
        return 0.0
    detect_once = detector_of(plan.package, False, plan.batch, plan.runtime)()
    column = plan.package.card.labels.index(MINE)
    return float((detect_once(prepare(plan, tiles).chips)[:, column] >= FAINT).mean())


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_taken_apart(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))) + "\n")
