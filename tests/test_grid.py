import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoscan.errors import GridError
from geoscan.grid import Tile, TileGrid, Window


@st.composite
def grids(draw):
    chip = draw(st.integers(1, 40))
    return TileGrid(draw(st.integers(1, 60)), draw(st.integers(1, 60)), chip, draw(st.integers(1, chip)))


@given(grids())
def test_cores_cover_every_pixel_once(grid):
    seen = np.zeros((grid.rows, grid.cols), int)
    for tile in grid:
        seen[tile.core.slices] += 1
    assert (seen == 1).all()


@given(grids())
def test_a_read_window_is_a_full_chip_of_real_pixels_where_the_raster_allows(grid):
    for tile in grid:
        assert tile.read.rows == min(grid.chip, grid.rows)
        assert tile.read.cols == min(grid.chip, grid.cols)
        assert 0 <= tile.read.row <= grid.rows - tile.read.rows
        assert 0 <= tile.read.col <= grid.cols - tile.read.cols


@given(grids())
def test_a_core_lies_inside_its_read_window(grid):
    for tile in grid:
        assert tile.read.row <= tile.core.row
        assert tile.read.col <= tile.core.col
        assert tile.core.row + tile.core.rows <= tile.read.row + tile.read.rows
        assert tile.core.col + tile.core.cols <= tile.read.col + tile.read.cols


@given(grids())
def test_away_from_the_border_the_core_is_the_centre_of_its_chip(grid):
    margin = (grid.chip - grid.stride) // 2
    for tile in grid:
        inner = tile.core.row - margin > 0 and tile.core.row - margin + grid.chip < grid.rows
        assert not inner or tile.core.row - tile.read.row == margin


@given(grids(), st.data())
def test_a_grid_is_a_sequence(grid, data):
    tiles = list(grid)
    assert len(tiles) == len(grid) == grid.shape[0] * grid.shape[1]
    assert [tile.index for tile in tiles] == list(range(len(grid)))
    index = data.draw(st.integers(-len(grid), len(grid) - 1))
    assert grid[index] == tiles[index]
    cut = data.draw(st.slices(len(grid)))
    assert grid[cut] == tiles[cut]
    for outside in (len(grid), -len(grid) - 1):
        with pytest.raises(IndexError, match=str(outside)):
            grid[outside]


def test_the_last_row_and_column_are_short_not_dropped():
    assert TileGrid(5, 9, 4, 4)[-1] == Tile(5, Window(4, 8, 1, 1), Window(1, 5, 4, 4))


@pytest.mark.parametrize(
    ("given_", "says"),
    [
        ((0, 5, 4, 4), "no pixels"),
        ((5, 5, 4, 5), "stride 5"),
        ((5, 5, 4, 0), "stride 0"),
        ((5, 5, 4, 4.0), r"stride 4\.0 does not fit; give a whole number"),
        (("5", 5, 4, 4), "rows '5' does not fit"),
    ],
)
def test_what_does_not_fit_is_refused(given_, says):
    with pytest.raises(GridError, match=says):
        TileGrid(*given_)


def test_small_integers_of_numpy_do_not_overflow():
    small = TileGrid(np.uint16(60_000), np.int32(300), np.uint8(200), np.uint8(100))
    assert small == TileGrid(60_000, 300, 200, 100)
    assert len(small) == 1800


@given(grids())
def test_cores_of_many_tiles_are_those_of_each(grid):
    each = [(t.core.row, t.core.col, t.core.rows, t.core.cols) for t in grid]
    assert grid.cores(np.arange(len(grid))).tolist() == [list(core) for core in each]


@given(grids(), st.integers(1, 60), st.data())
def test_squares_hold_each_tile_once_and_no_more_than_their_side(grid, side, data):
    tiles = np.array(sorted(data.draw(st.sets(st.integers(0, len(grid) - 1)))), int)
    squares = grid.squares(tiles, side)
    assert sorted(np.concatenate([*squares, tiles[:0]]).tolist()) == tiles.tolist()
    for square in squares:
        cores = grid.cores(square)
        ends = cores[:, :2] + cores[:, 2:]
        assert (ends.max(axis=0) - cores[:, :2].min(axis=0)).max() <= max(side, grid.stride)


@given(grids(), st.data())
def test_the_window_around_tiles_is_the_least_that_holds_them(grid, data):
    tiles = data.draw(st.lists(st.integers(0, len(grid) - 1), min_size=1, unique=True))
    reads = [grid[tile].read for tile in tiles]
    row, col = min(read.row for read in reads), min(read.col for read in reads)
    end = max(read.row + read.rows for read in reads), max(read.col + read.cols for read in reads)
    assert grid.around(np.array(tiles)) == Window(row, col, end[0] - row, end[1] - col)
