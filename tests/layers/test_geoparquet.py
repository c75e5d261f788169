"""GeoParquet as its specification has it: each rule on what the file says of itself, and on what it holds."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyproj
import pytest
import shapely
from sights import seen

from geoscan import layers
from geoscan.grid import TileGrid
from geoscan.polygons import Hysteresis, Provenance
from geoscan.seen import Sight

SOURCE = Provenance("scene.tif", "planet", "sha256:00", Hysteresis(0.6, 0.3, 0.9), "0.1.0")
SIDES = ("xmin", "ymin", "xmax", "ymax")


@pytest.mark.parametrize("empty", [True, False])
def test_it_follows_its_specification(tmp_path, empty):
    grid = TileGrid(512, 512, 256, 256)
    sight = np.array([Sight.CLOUDY, Sight.CLEAR, Sight.HAZY, Sight.CLOUDY], np.uint8)
    path = tmp_path / "hidden.parquet"
    layers.write_obscured(path, [seen(SOURCE, grid, sight=np.zeros(4, np.uint8) if empty else sight)])
    table = pq.read_table(path)
    said = json.loads(table.schema.metadata[b"geo"])
    assert (said["version"], said["primary_column"], list(said["columns"])) == ("1.1.0", "geometry", ["geometry"])
    column = said["columns"]["geometry"]
    assert column["encoding"] == "WKB"
    assert set(column["geometry_types"]) <= {"MultiPolygon"}
    assert pyproj.CRS.from_json_dict(column["crs"]).to_epsg() == 4326
    assert column["covering"] == {"bbox": {side: ["bbox", side] for side in SIDES}}
    assert table.schema.field("geometry").type == pa.binary()
    boxes = table.schema.field("bbox").type
    assert [(boxes.field(n).name, str(boxes.field(n).type)) for n in range(4)] == [(side, "double") for side in SIDES]
    shapes = shapely.from_wkb(table["geometry"].to_numpy())
    assert len(shapes) == (0 if empty else 2)
    assert shapely.is_valid(shapes).all()
    found = [[row[side] for side in SIDES] for row in table["bbox"].to_pylist()]
    np.testing.assert_array_equal(np.reshape(found, (-1, 4)), shapely.bounds(shapes).reshape(-1, 4))
    if not empty:
        assert column["geometry_types"] == ["MultiPolygon"]
        np.testing.assert_array_equal(column["bbox"], shapely.total_bounds(shapes))
