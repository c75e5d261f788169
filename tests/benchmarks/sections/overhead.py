"""What a scan costs beside its pixels and its network: merging, and dealing out batches."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import cv2
import numpy as np
import rasterio
from affine import Affine

from geoscan import layers
from geoscan.machine import peak_rss_mb
from geoscan.model.shipped import find
from geoscan.polygons import Hysteresis
from geoscan.scanning.batch import STAGES, Prepared, ScoredBatch
from geoscan.scanning.options import ScanOptions
from geoscan.scanning.plan import Plan
from geoscan.scanning.result import detect
from geoscan.scanning.run import scan
from geoscan.scanning.scores import SceneScores
from geoscan.scanning.workers import workers
from geoscan.scene import Scene
from sections.commands import child
from sections.work import Row, Work

_CHIP: Final = 48
_SHARE: Final = 0.25
"""Of the chips that are flagged."""

_LUMP: Final = 1.5
"""Standard deviation in chips of what makes flagged chips gather in lumps, as mines do."""


def merging(work: Work) -> Row:
    """Merge and write flagged chips of a scene that has four times as many."""
    return child("sections.overhead", "merging", work.folder, work.sizes.flagged)


def scheduling(work: Work) -> list[Row]:
    """Scan chips that need neither reading nor a network, with dask and without."""
    return [child("sections.overhead", kind, work.folder, work.sizes.scheduled) for kind in ("threads", "dask")]


def _empty_scene(folder: Path, chips: int) -> Plan:
    """Plan the scan of a scene of about so many chips, in a file without a pixel."""
    side = _CHIP * int(np.ceil(chips**0.5))
    path = folder / f"empty-{side}.tif"
    place = {"crs": "EPSG:32721", "transform": Affine(10, 0, 5e5, 0, -10, 9.2e6)}
    size = {"driver": "GTiff", "count": 3, "height": side, "width": side, "dtype": "uint8", "tiled": True}
    with rasterio.open(path, "w", **size, **place, compress="deflate", sparse_ok=True):
        pass
    return Plan.of(Scene.open(path), find("sentinel2"), ScanOptions(tta=False))


def _merged(folder: Path, flagged: int) -> Row:
    side = int(np.ceil((flagged / _SHARE) ** 0.5))
    noise = np.random.default_rng(0).random((side, side), np.float32)
    ground = cv2.GaussianBlur(noise, (0, 0), _LUMP)
    limit = float(np.sort(ground, axis=None)[-flagged])
    plan = _empty_scene(folder, side * side)
    thresholds = Hysteresis(high=limit, low=limit, isolated=limit)
    plan = replace(plan, thresholds=thresholds)
    scores = ground.reshape(-1, len(plan.package.card.labels))
    observed = np.full(len(scores), _CHIP**2)
    seen = SceneScores(plan, scores, observed, {}, [], 0, "", 1.0, dict.fromkeys(STAGES, 0.0))
    start = time.perf_counter()
    result = detect(seen)
    merged = time.perf_counter()
    layers.write(folder / "merged.gpkg", result.detections, [result.seen])
    written = time.perf_counter()
    return {
        "flagged chips": result.summary.flagged,
        "of chips": len(scores),
        "detections": len(result.detections),
        "merge s": round(merged - start, 2),
        "write .gpkg s": round(written - merged, 2),
        "peak MB": peak_rss_mb(),
        "aim": "under 10",
    }


def _scheduled(folder: Path, chips: int, *, dask: bool) -> Row:
    plan = _empty_scene(folder, chips)
    run = "geoscan.scanning.run"
    with (
        patch.object(Scene, "blank", lambda scene, grid: np.zeros(len(grid), bool)),
        patch(f"{run}.prepare", _prepared),
        patch(f"{run}.infer", _scored),
        workers(batches=None if dask else 1) as pool,
    ):
        start = time.perf_counter()
        scores = scan(plan, pool)
        seconds = time.perf_counter() - start
    if scores.scored.sum() != len(plan.grid):
        raise RuntimeError(f"{scores.scored.sum()} of {len(plan.grid)} chips came back")
    return {
        "by": "threads" if pool.client is None else "dask",
        "chips": len(plan.grid),
        "batches of": plan.batch,
        "s": round(seconds, 2),
        "ms a chip": round(1000 * seconds / len(plan.grid), 4),
        "aim": "under 0.1",
    }


def _prepared(plan: Plan, tiles: Sequence[int]) -> Prepared:
    """Stand in for reading: the same blank chip each time."""
    chips = np.broadcast_to(np.zeros((1, 1, 1, 3), np.uint8), (len(tiles), _CHIP, _CHIP, 3))
    return Prepared(list(tiles), chips, [], 0, dict.fromkeys(tiles, _CHIP**2), {}, {})


def _scored(*given: Any) -> ScoredBatch:
    """Stand in for a network that costs nothing."""
    ready: Prepared = given[-1]
    scores = np.zeros((len(ready.tiles), 1), np.float32)
    return ScoredBatch(ready.tiles, scores, [], 0, ready.observed, {}, {})


if __name__ == "__main__":
    what, folder, size = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    row = _merged(folder, size) if what == "merging" else _scheduled(folder, size, dask=what == "dask")
    sys.stdout.write(json.dumps(row) + "\n")
