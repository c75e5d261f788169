"""What a section gets and gives, and how large its work is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

Row = dict[str, Any]
"""A line of a table: a value for each column."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured."""

    few: int = 12
    """Chips of 256 px along each side of the small scene."""

    many: int = 36
    """The same of the large one, by whose chips stages are measured, too."""

    densenet121: int = 20
    """The same of the scene for the slowest network."""

    repeats: int = 5
    """Of what takes seconds only: the median counts."""

    models: tuple[str, ...] = ("planet", "sentinel2", "sentinel2-lite")
    """Models that are taken apart: those that ship, or by directory."""

    network_seconds: float = 4.0
    """How long a network is timed."""

    units: tuple[int, int] = (15, 9)
    """Times that `material.UNIT` is repeated, down and across, in the scene of 100,000 chips."""

    sides: tuple[int, int] = (10_000, 40_000)
    """Pixels of the scenes whose memory is compared."""

    flagged: int = 1_000_000
    """Chips that are merged."""

    scheduled: int = 100_000
    """Chips that cost nothing."""

    scenes: int = 1_000
    """Small scenes in a directory."""

    stage_units: tuple[int, int] = (4, 2)
    """`material.UNIT` down and across, in the scene by whose chips the stages of models at 10 m are measured."""


TINY: Final = Sizes(
    few=2,
    many=3,
    densenet121=2,
    repeats=1,
    models=("sentinel2",),
    network_seconds=0.2,
    units=(2, 1),
    sides=(520, 1040),
    flagged=2_000,
    scheduled=320,
    scenes=3,
    stage_units=(1, 1),
)
"""Enough to see whether everything runs."""


@dataclass(frozen=True, slots=True)
class Work:
    """What a section may use."""

    folder: Path
    """For scenes and packages; it is removed in the end."""

    sizes: Sizes
    torch_python: str | None
    """The Python of an environment with torch, where there is one."""

    before: Mapping[str, Any]
    """What other sections found, by their names."""


@dataclass(slots=True)
class Found:
    """What a section measured."""

    tables: dict[str, list[Row]] = field(default_factory=dict)
    """By what they show."""

    skipped: dict[str, str] = field(default_factory=dict)
    """What was not measured, and why."""

    def add(self, title: str, *rows: Row) -> None:
        """Add rows to a table."""
        self.tables.setdefault(title, []).extend(rows)
