"""What becomes of time and memory as scenes grow, and as there are more of them."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Final

import rasterio
from affine import Affine

from sections import material, overhead
from sections.commands import Clocked, clocked, geoscan
from sections.work import Found, Row, Work

TIME: Final = "time a chip in a small scene and in a large one of the same chips, sentinel2"
MEMORY: Final = "memory by size of the scene, planet"
MERGING: Final = "merging flagged chips"
SCHEDULING: Final = "dealing out chips that need neither reading nor a network"
MANY: Final = "a directory of small scenes, sentinel2"

_FEW: Final = (2, 1)
"""`material.UNIT` down and across in the small scene: 1,500 chips."""

_SIDE: Final = 96
"""Pixels along each of many scenes: 4 chips."""

_APART: Final = 10_000.0
"""Metres between them, so that none meets another."""

_MOST_SECONDS: Final = 300.0
"""What many scenes may take."""


def measure(work: Work, found: Found) -> None:
    """Measure one after the other; the largest scene takes about 3 GB of disk."""
    found.add(TIME, *_time(work))
    found.add(MEMORY, *_memory(work))
    found.add(MERGING, overhead.merging(work))
    found.add(SCHEDULING, *overhead.scheduling(work))
    try:
        found.add(MANY, _many(work))
    except TimeoutError as err:
        found.skipped[MANY] = str(err)


def _time(work: Work) -> list[Row]:
    small, large = (material.units(work.folder, *size) for size in (_FEW, work.sizes.units))
    runs = [_scan(work, small, "sentinel2") for _ in range(work.sizes.repeats)]
    few = median(run.ms_per_chip for run in runs)
    many = _scan(work, large, "sentinel2")
    last = sorted(runs, key=lambda run: run.seconds)[len(runs) // 2]
    aim = "within 3 % of the small one's"
    return [_grown(last, few, few, ""), _grown(many, many.ms_per_chip, few, aim)]


def _scan(work: Work, scene: Path, model: str) -> Clocked:
    return clocked(work.folder, scene, "--model", model, "--out", work.folder / "mines.gpkg")


def _grown(run: Clocked, each: float, base: float, aim: str) -> Row:
    return {
        "chips": run.figures["chips"],
        "ms a chip": round(each, 4),
        "times": round(each / base, 3),
        "whole command s": round(run.seconds, 2),
        "flagged": run.figures["flagged"],
        "peak MB": run.peak_mb,
        "aim": aim,
    }


def _memory(work: Work) -> list[Row]:
    rows: list[Row] = []
    for side in work.sizes.sides:
        scene = material.scene(work.folder, side, side)
        run = _scan(work, scene, "planet")
        scene.unlink()
        row = {"px": side, "chips": run.figures["chips"], "peak MB": run.peak_mb, "whole command s": run.seconds}
        rows.append(row | {"times": round(run.peak_mb / (rows or [row])[0]["peak MB"], 3)})
    rows[0]["aim"] = "under 1,000 MB"
    rows[-1]["aim"] = "under 1,000 MB, within 5 % of the small one's"
    return rows


def _many(work: Work) -> Row:
    n, folder = work.sizes.scenes, work.folder / "scenes"
    folder.mkdir()
    with rasterio.open(material.units(work.folder, *_FEW)) as source:
        pixels = source.read(window=((0, _SIDE), (0, _SIDE)))
        profile = source.profile | {"height": _SIDE, "width": _SIDE, "blockxsize": 96, "blockysize": 96}
    for i in range(n):
        down, across = divmod(i, 30)
        profile["transform"] = Affine(10, 0, 500_000 + across * _APART, 0, -10, 9_200_000 - down * _APART)
        with rasterio.open(folder / f"{i:04}.tif", "w", **profile) as target:
            target.write(pixels)
    ran = geoscan(folder, "--model", "sentinel2", "--out", work.folder / "many.gpkg", seconds=_MOST_SECONDS)
    return {
        "scenes": n,
        "chips": ran.figures["chips"],
        "whole command s": round(ran.seconds, 1),
        "ms a scene": round(1000 * ran.seconds / n, 1),
        "aim": "far under 1,000 ms a scene",
    }
