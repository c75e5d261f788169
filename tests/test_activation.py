"""Ground by evidence: within its cores, smooth, without seams, and never nothing."""

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from geoscan import activation
from geoscan.activation import grounds
from geoscan.grid import TileGrid

GRID = TileGrid(1500, 1536, 256, 256)
CELLS = 8


def maps_of(grid, groups, evidence, cells=CELLS):
    """Maps of all chips of groups, by a function of (row, col) in pixels."""
    middles = (np.arange(cells) + 0.5) * grid.chip / cells
    found = {}
    for tile in np.flatnonzero(groups).tolist():
        read = grid[tile].read
        found[tile] = np.asarray(evidence(read.row + middles[:, None], read.col + middles), np.float32)
    return found


def group_of(grid, *parts):
    groups = np.zeros(grid.shape, np.int32)
    for n, part in enumerate(parts, 1):
        groups[part] = n
    return groups


def cores_of(grid, groups, n=1):
    boxes = grid.cores(np.flatnonzero(groups.ravel() == n))
    return shapely.union_all([shapely.box(col, row, col + cols, row + rows) for row, col, rows, cols in boxes])


def hill(row, col, radius, top=3.0, bottom=-3.0):
    """Above 0 within a radius of a point: falls from top to bottom."""
    return lambda rows, cols: (top + (bottom - top) * np.hypot(rows - row, cols - col) / (2 * radius)).clip(bottom)


def iou(one, other):
    return one.intersection(other).area / one.union(other).area


@pytest.mark.parametrize("stride", [256, 128, 90])
def test_a_mine_at_a_corner_of_four_chips_is_one_smooth_disc(stride):
    grid = TileGrid(1500, 1536, 256, stride)
    at, half = 512, 256 // stride + 1
    middle = at // stride
    groups = group_of(grid, np.s_[middle - half : middle + half + 1, middle - half : middle + half + 1])
    (ground,) = grounds(groups, grid, maps_of(grid, groups, hill(at, at, 120)), 0.0)
    assert isinstance(ground, shapely.Polygon)
    assert ground.is_valid
    assert not ground.interiors
    disc = shapely.Point(at, at).buffer(120)
    assert iou(ground, disc) > 0.93
    # a seam would be a step: no edge is long, no turn sharp
    edges = np.diff(shapely.get_coordinates(ground), axis=0)
    turns = np.abs(np.diff(np.unwrap(np.arctan2(*edges.T))))
    assert turns.max() < 0.8


def test_it_never_leaves_the_cores():
    groups = group_of(GRID, np.s_[5, 2:6])
    (ground,) = grounds(groups, GRID, maps_of(GRID, groups, hill(1300, 1000, 400)), 0.0)
    cores = cores_of(GRID, groups)
    assert cores.bounds[3] == 1500
    assert ground.difference(cores).area < 1e-3
    assert 0.3 * cores.area < ground.area < 0.95 * cores.area


@pytest.mark.parametrize("level", [-np.inf, 0.0, 4.9])
def test_evidence_everywhere_is_all_of_the_cores(level):
    groups = group_of(GRID, np.s_[0:2, 0], np.s_[5, 5])
    for n, ground in enumerate(grounds(groups, GRID, maps_of(GRID, groups, lambda r, c: 5 + 0 * r * c), level), 1):
        assert ground.equals(cores_of(GRID, groups, n))


def test_no_group_is_lost():
    groups = group_of(GRID, np.s_[0:2, 0], np.s_[3, 3], np.s_[5, 5])
    maps = maps_of(GRID, groups, lambda r, c: -5 + 0 * r * c)
    maps[GRID.shape[1] * 3 + 3][4, 4] = 30
    found = grounds(groups, GRID, maps, 0.0)
    assert found[0].equals(cores_of(GRID, groups, 1))
    assert found[2].equals(cores_of(GRID, groups, 3))
    assert 0 < found[1].area < 0.2 * 256**2


def test_a_chip_that_nobody_looked_at_again_keeps_its_core():
    groups = group_of(GRID, np.s_[1, 1:4], np.s_[4, 4])
    maps = maps_of(GRID, groups, hill(384, 384, 60))
    lost = GRID.shape[1] + 3
    del maps[lost], maps[4 * GRID.shape[1] + 4]
    first, second = grounds(groups, GRID, maps, 0.0)
    kept = cores_of(GRID, group_of(GRID, np.s_[1, 3]))
    assert first.covers(kept)
    assert first.area - kept.area == pytest.approx(np.pi * 60**2, rel=0.2)
    assert second.equals(cores_of(GRID, groups, 2))


def test_parts_and_holes_of_less_than_a_cell_are_left_out():
    groups = group_of(GRID, np.s_[1:3, 1:3])
    maps = maps_of(GRID, groups, hill(512, 512, 200))
    maps[GRID.shape[1] + 1][7, 7] = -6  # in the middle of the hill
    maps[GRID.shape[1] + 1][0, 0] = 3  # in a far corner
    (ground,) = grounds(groups, GRID, maps, 0.0)
    cell = (256 / CELLS) ** 2
    parts = shapely.get_parts(ground)
    assert min(part.area for part in parts) >= cell or len(parts) == 1
    assert all(shapely.Polygon(hole).area >= cell for part in parts for hole in part.interiors)


@pytest.mark.parametrize("stride", [256, 100])
def test_working_block_by_block_changes_nothing(monkeypatch, stride):
    grid = TileGrid(1500, 1536, 256, stride)
    groups = group_of(grid, np.s_[:, :])
    waves = maps_of(grid, groups, lambda r, c: np.sin(r / 150) + np.sin(c / 110) + 0.1)
    monkeypatch.setattr(activation, "_PLAIN", 0)  # which points are left out depends on where a ring begins
    (whole,) = grounds(groups, grid, waves, 0.0)
    monkeypatch.setattr(activation, "_BLOCK", 2)
    (pieced,) = grounds(groups, grid, waves, 0.0)
    assert whole.symmetric_difference(pieced).area < 1
    assert len(shapely.get_parts(whole)) == len(shapely.get_parts(pieced))


def test_a_scene_smaller_than_a_chip_has_ground_in_it_alone():
    grid = TileGrid(100, 180, 256, 256)
    groups = group_of(grid, np.s_[0, 0])
    (ground,) = grounds(groups, grid, maps_of(grid, groups, hill(0, 0, 90)), 0.0)
    assert ground.difference(shapely.box(0, 0, 180, 100)).area < 1e-3
    assert ground.area == pytest.approx(np.pi * 90**2 / 4, rel=0.25)


@settings(max_examples=10)
@given(st.integers(0, 2**32 - 1), st.sampled_from([3, 5, 8]), st.sampled_from([48, 31]))
def test_whatever_the_evidence_ground_is_valid_and_within(seed, cells, stride):
    rng = np.random.default_rng(seed)
    grid = TileGrid(200, 170, 48, stride)
    groups = (rng.random(grid.shape) < 0.5).astype(np.int32)
    groups[0, 0] = 1
    maps = maps_of(grid, groups, lambda r, c: rng.normal(size=np.broadcast_shapes(r.shape, c.shape)), cells)
    (ground,) = grounds(groups, grid, maps, 0.5)
    assert ground.is_valid
    assert ground.area > 0
    assert ground.difference(cores_of(grid, groups)).area < 1e-2
