"""Cores as polygons: where they belong, side by side, whole at the antimeridian and at a pole."""

import numpy as np
import pyproj
import pytest
import shapely
from affine import Affine
from sights import PLACE, seen

from geoscan.cells import Cells
from geoscan.grid import TileGrid
from geoscan.outlines import areas_ha, outlines
from geoscan.polygons import Hysteresis, Provenance

SOURCE = Provenance("scene.tif", "planet", "sha256:00", Hysteresis(0.6, 0.3, 0.9), "0.1.0")
GRID = TileGrid(700, 900, 256, 256)


def all_of(one):
    return Cells.of(one).polygons(np.arange(len(one.grid)))


def outline(one):
    (whole,) = outlines(np.ones(one.grid.shape, np.int32), one.grid, one.transform, one.crs)
    return whole


def test_a_cell_has_the_corners_of_its_core():
    one = seen(SOURCE, GRID)
    back = pyproj.Transformer.from_crs("OGC:CRS84", one.crs, always_xy=True)
    for tile, shape in zip(GRID, all_of(one), strict=True):
        core = tile.core
        x, y = back.transform(*np.array(shape.geoms[0].exterior.coords).T)
        corners = {PLACE @ (core.col + i * core.cols, core.row + j * core.rows) for i in (0, 1) for j in (0, 1)}
        found = set(zip(x.round(2), y.round(2), strict=True))
        np.testing.assert_allclose(sorted(found), sorted(corners), atol=0.02)
        assert shape.geoms[0].exterior.is_ccw


@pytest.mark.parametrize(
    "transform", [PLACE, Affine(3.7, 0, 552_000, 0, 3.7, 9_317_000), Affine(3, 2, 552_000, 2, -3, 9_317_000)]
)
def test_cells_partition_the_scene(transform):
    one = seen(SOURCE, GRID, transform=transform)
    cells = all_of(one)
    whole = shapely.union_all(cells)
    assert areas_ha(list(cells)).sum() == pytest.approx(areas_ha([whole])[0], rel=1e-9)
    assert areas_ha([whole])[0] == pytest.approx(areas_ha([outline(one)])[0], rel=1e-6)
    assert whole.geom_type == "Polygon"
    assert not whole.interiors


@pytest.mark.parametrize(
    ("crs", "transform", "tolerance"),
    [
        ("EPSG:32601", Affine(10, 0, 335_000, 0, -10, 6_800_000), 1e-5),
        ("EPSG:4326", Affine(0.0001, 0, 179.96, 0, -0.0001, 5), 1e-5),
        # There edges that are straight in longitude and latitude lie far from the scene's.
        ("EPSG:3413", Affine(100, 0, -45_000, 0, -100, 35_000), 1e-2),
    ],
    ids=["antimeridian", "degrees beyond 180", "pole"],
)
def test_cells_across_the_antimeridian_are_cut_there(crs, transform, tolerance):
    one = seen(SOURCE, GRID, transform=transform, crs=crs)
    cells = all_of(one)
    west, south, east, north = shapely.total_bounds(cells)
    assert -180 <= west < -179
    assert 179 < east <= 180
    assert -90 <= south < north <= 90
    assert all(shapely.is_valid(cells))
    assert areas_ha(list(cells)).sum() == pytest.approx(areas_ha([outline(one)])[0], rel=tolerance)


def test_a_core_without_a_place_has_no_cell():
    one = seen(SOURCE, GRID, crs="ESRI:54009", transform=Affine(1000, 0, 17_600_000, 0, -1000, 1_000_000))
    cells = all_of(one)
    assert any(cell is None for cell in cells)
    assert any(cell is not None for cell in cells)
    assert all(cell.bounds[2] - cell.bounds[0] < 10 for cell in cells if cell is not None)
