"""From the first second: the example as a user's first command, and how long it takes until a chip is done."""

from __future__ import annotations

from typing import Final

from sections.commands import EXAMPLE, best_and_median, clocked, geoscan
from sections.work import Found, Work

TITLE: Final = "the start: `geoscan examples/scene.tif --out mines.geojson`"


def measure(work: Work, found: Found) -> None:
    """Run it several times, after a first time that fills the system's caches."""
    words = (EXAMPLE, "--out", work.folder / "mines.geojson")
    geoscan(*words)
    whole = [geoscan(*words).seconds for _ in range(work.sizes.repeats)]
    first = [clocked(work.folder, *words).first_chip for _ in range(work.sizes.repeats)]
    found.add(TITLE, {"what": "whole command", **best_and_median(whole), "aim": "under 5"})
    found.add(TITLE, {"what": "from its start to the first chip", **best_and_median(first), "aim": "at most 2.5"})
