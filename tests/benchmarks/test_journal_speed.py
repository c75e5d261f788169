"""What a journal of a million chips costs: `pytest -n 0 -m large tests/benchmarks/test_journal_speed.py`."""

import sys
from dataclasses import replace
from time import perf_counter

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import write_package, write_scene

from geoscan.cli import main
from geoscan.grid import TileGrid
from geoscan.labels import MINE
from geoscan.machine import BATCH
from geoscan.scanning.gathered import Part
from geoscan.scanning.journal.file import open_journal
from geoscan.scanning.plan import Plan
from geoscan.scene import Scene

SIDE = 1000
"""Chips from side to side."""

CHIP = 32


def part(rng, start, labels):
    """A batch of a scene of which one chip in a thousand shows a mine."""
    tiles = np.arange(start, start + BATCH, dtype=np.uint32)
    scores = rng.random((BATCH, len(labels)), np.float32)
    scores[:, labels.index(MINE)] **= 700
    return Part(tiles, np.full(BATCH, CHIP * CHIP, np.uint32), tiles, scores, np.empty(0, np.uint32), 0, {})


@pytest.mark.large
def test_a_journal_of_a_million_chips(tmp_path, capsys):
    plan = Plan.of(
        Scene.open(write_scene(tmp_path / "a.tif", gsd=10)), write_package(tmp_path / "m", chip=CHIP, gsd=10)
    )
    side = SIDE * CHIP
    plan = replace(plan, scene=replace(plan.scene, rows=side, cols=side), grid=TileGrid(side, side, CHIP, CHIP))
    rng, labels, path = np.random.default_rng(0), plan.package.card.labels, tmp_path / "a.journal"
    parts = [part(rng, start, labels) for start in range(0, SIDE * SIDE, BATCH)]

    started = perf_counter()
    journal, _ = open_journal(path, plan)
    with journal:
        for one in parts:
            journal.record(one)
    wrote = perf_counter() - started

    started = perf_counter()
    journal, told = open_journal(path, plan)
    resumed = perf_counter() - started
    with journal:
        assert (journal.done, told) == (SIDE * SIDE, "")
        np.testing.assert_array_equal(journal.found.scores, np.concatenate([one.scores for one in parts]))

    started = perf_counter()
    result = CliRunner().invoke(main, ["merge", str(path), "--out", str(tmp_path / "m.geojson")])
    merged = perf_counter() - started
    assert result.exit_code == 0, result.output
    with capsys.disabled():
        chips = SIDE * SIDE
        sys.stdout.write(
            f"\n{chips:,} chips of {len(labels)} labels: {1e6 * wrote / len(parts):.0f} us to write {BATCH}, "
            f"{path.stat().st_size / chips:.0f} bytes a chip, {resumed:.1f} s to resume, {merged:.1f} s to merge\n"
            f"{result.stderr}"
        )
