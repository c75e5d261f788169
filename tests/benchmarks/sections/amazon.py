"""What the whole Amazon costs, extrapolated from the large scene of `growth`."""

from __future__ import annotations

from typing import Final

from geoscan.machine import cores
from geoscan.model.shipped import find
from sections import growth
from sections.work import Found, Row, Work

TITLE: Final = "the Amazon at 10 m, sentinel2: extrapolated from the large scene, reading, merging and writing included"

KM2: Final = 8.2e6
"""Of the Amazon basin and its forests."""

_MORE_CORES: Final = 16


def measure(work: Work, found: Found) -> None:
    """Work it out."""
    tables = work.before.get("growth", {}).get("tables", {})
    if growth.TIME not in tables:
        found.skipped[TITLE] = "no large scene was measured; run --only growth,amazon"
        return
    large = tables[growth.TIME][-1]
    found.add(TITLE, *rows(large["chips"], large["whole command s"], find("sentinel2").card.chip_km2, cores()))


def rows(chips: int, seconds: float, chip_km2: float, measured_cores: int) -> list[Row]:
    """Scale a scan of so many chips up to the Amazon: on as many cores, and by division on more of them."""
    needed = KM2 / chip_km2
    hours = needed * seconds / chips / 3600
    row = {"km2": round(KM2), "million chips": round(needed / 1e6, 1)}
    return [
        {
            "cores": n,
            **row,
            "hours": round(hours * measured_cores / n, 1),
            "chips/s": round(chips / seconds * n / measured_cores),
        }
        | {"how": f"extrapolated from {chips:,} chips" + (f" on {measured_cores} cores" if n != measured_cores else "")}
        for n in dict.fromkeys((measured_cores, _MORE_CORES))
    ]
