"""What nobody foresaw ends a scan with the chip named at which it happened."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from geoscan.errors import ChipError, GeoscanError, one_line
from geoscan.machine import is_shortage
from geoscan.scanning.batch import Prepared
from geoscan.scanning.plan import Plan

Given = TypeVar("Given")
Made = TypeVar("Made")


def naming(
    plan: Plan, work: Callable[[Given], Made], split: Callable[[Given], Iterable[tuple[int, Given]]], given: Given
) -> Made:
    """Do some work on a batch.

    split: cuts what is given into single chips, each with the index of its tile.
    Raises ChipError for an error of no kind of ours; a lack of memory stays what it is.
    """
    try:
        return work(given)
    except GeoscanError:
        raise
    except Exception as err:
        if is_shortage(err):
            raise
        raise ChipError(_line(plan, _culprit(work, split(given)), err)) from err


def by_tile(tiles: Sequence[int]) -> Iterator[tuple[int, Sequence[int]]]:
    """Cut a batch that is to be read."""
    return ((tile, [tile]) for tile in tiles)


def by_chip(batch: Prepared) -> Iterator[tuple[int, Prepared]]:
    """Cut a batch that is to be scored."""
    for n, tile in enumerate(batch.tiles):
        yield tile, replace(batch, tiles=[tile], chips=batch.chips[n : n + 1])


def _culprit(work: Callable[[Given], object], chips: Iterable[tuple[int, Given]]) -> int | None:
    """Find the first chip that fails alone, too."""
    for tile, chip in chips:
        try:
            work(chip)
        except Exception:
            return tile
    return None


def _line(plan: Plan, tile: int | None, err: Exception) -> str:
    where = "in a batch whose chips work one by one"
    if tile is not None:
        core = plan.grid[tile].core
        where = f"at the chip of row {core.row}, col {core.col}"
    place = traceback.extract_tb(err.__traceback__)[-1]
    said = one_line(err)
    what = said if said == type(err).__name__ else f"{type(err).__name__}: {said}"
    return (
        f"{plan.name}: {what} {where} ({Path(place.filename).name}, line {place.lineno}); this was not foreseen: "
        "please report it"
    )
