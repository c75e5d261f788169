"""What becomes of time and memory as scenes grow, and as there are more of them."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any, Final

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
    """Scan several small scenes in one command, and the large one in another.

    What a small scene takes is that of all but the first, for which the model is loaded.
    """
    small = [material.units(work.folder, *_FEW, place) for place in range(work.sizes.repeats + 1)]
    few = _scan(work, "sentinel2", *small)
    many = _scan(work, "sentinel2", material.units(work.folder, *work.sizes.units))
    base = median(_ms(one) for one in few.figures["scenes"][1:])
    large = _ms(many.figures)
    return [
        {"chips": few.figures["scenes"][0]["chips"], "scenes": len(small), "ms a chip": base, **_taken(few)},
        {"chips": many.figures["chips"], "scenes": 1, "ms a chip": large, **_taken(many)}
        | {"times": round(large / base, 3), "aim": "at most 1.03 times"},
    ]


def _scan(work: Work, model: str, *scenes: Path) -> Clocked:
    return clocked(work.folder, *scenes, "--model", model, "--out", work.folder / "mines.gpkg")


def _ms(figures: dict[str, Any]) -> float:
    return round(1000 * figures["seconds"] / figures["chips"], 4)


def _taken(run: Clocked) -> Row:
    return {"whole command s": round(run.seconds, 2), "flagged": run.figures["flagged"], "peak MB": run.peak_mb}


def _memory(work: Work) -> list[Row]:
    rows: list[Row] = []
    for side in work.sizes.sides:
        scene = material.scene(work.folder, side, side)
        run = _scan(work, "planet", scene)
        scene.unlink()
        row = {"px": side, "chips": run.figures["chips"], **_taken(run)}
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
