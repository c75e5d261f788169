"""What was not seen well: which cores, why, how much of them was seen, and the same in every format."""

import geopandas
import numpy as np
import pytest
import shapely
from geojson_pydantic import FeatureCollection
from sights import seen

from geoscan import layers
from geoscan.cells import Cells
from geoscan.errors import InputError, OutputError
from geoscan.grid import TileGrid
from geoscan.layers import obscured
from geoscan.polygons import Hysteresis, Provenance
from geoscan.seen import Sight

SOURCE = Provenance("scene é.tif", "planet", "sha256:00", Hysteresis(0.6, 0.3, 0.9), "0.1.0")
GRID = TileGrid(1024, 1400, 256, 256)
WHOLE = 256 * 256


@pytest.fixture
def scene():
    """4 x 6 cores, the last column short: clouds that meet at a corner, haze, nodata, failures, and one strange."""
    sight = np.full((4, 6), Sight.CLEAR, np.uint8)
    sight[0, 0] = sight[1, 1] = Sight.CLOUDY
    sight[0, 1] = Sight.HAZY
    sight[0, 3:5] = Sight.NODATA
    sight[2, :3] = Sight.FAILED
    sight[2, 5] = Sight.STRANGE
    sight[3, 1] = Sight.HAZY
    failed = {12: "rows 512 to 768 cannot be read", 13: "rows 512 to 768 cannot be read", 14: "no answer"}
    one = seen(SOURCE, GRID, sight=sight.ravel(), failed=failed)
    one.observed[[3, 4, 12, 13, 14]] = 0
    one.observed[5] = 30_000  # of a short core beside nodata
    one.observed[19] = WHOLE // 2
    one.observed[[1, 22, 23]] -= 300  # less than a hundredth
    return one


def test_cores_are_joined_by_cause(scene):
    rows = obscured.frame([scene]).drop(columns="geometry").to_dict("records")
    short = 256 * (1400 - 5 * 256)
    assert [(row["cause"], row["n_chips"], row["observed"]) for row in rows] == [
        ("haze", 1, round(1 - 300 / WHOLE, 4)),
        ("cloud", 2, 0),
        ("nodata", 2, 0),
        ("failed", 3, 0),
        ("not understood", 1, 0),
        ("nodata", 1, round(30_000 / short, 4)),
        ("nodata", 1, 0.5),  # through haze
    ]
    assert {row["scene"] for row in rows} == {"scene é.tif"}
    assert [row["failure"] for row in rows if row["failure"]] == ["rows 512 to 768 cannot be read (and 1 more)"]


def test_outlines_are_the_cores(scene):
    frame = obscured.frame([scene])
    cells = Cells.of(scene).polygons(np.arange(len(GRID)))
    want = {"haze": [1], "cloud": [0, 7], "failed": [12, 13, 14], "not understood": [17], "nodata": [3, 4, 5, 19]}
    for cause, tiles in want.items():
        found = shapely.union_all(frame.geometry[frame.cause == cause].array)
        assert shapely.symmetric_difference(found, shapely.union_all(cells[tiles])).area < 1e-9
    assert set(frame.geom_type) == {"MultiPolygon"}
    assert frame.area_ha.sum() == pytest.approx(frame.to_crs("EPSG:32721").area.sum() / 1e4, rel=2e-3)


def test_a_scene_that_was_seen_well_has_none():
    assert len(obscured.frame([seen(SOURCE, GRID)])) == 0


@pytest.mark.parametrize("suffix", layers.OBSCURED)
@pytest.mark.parametrize("empty", [True, False])
def test_every_format_gives_it_back(scene, tmp_path, suffix, empty):
    path = tmp_path / f"hidden{suffix}"
    layers.write_obscured(path, [] if empty else [scene, scene])
    frame = geopandas.read_parquet(path) if suffix == ".parquet" else geopandas.read_file(path, layer=obscured.LAYER)
    assert len(frame) == (0 if empty else 14)
    assert frame.crs.to_epsg() == 4326
    if not empty:
        assert sorted(frame["cause"]) == sorted([*obscured.frame([scene])["cause"]] * 2)
        assert list(frame.columns) == [*obscured.ATTRIBUTES, "geometry"]
    assert (tmp_path / "hidden.qml").exists() == (suffix != ".gpkg")


def test_its_geojson_follows_rfc_7946(scene, tmp_path):
    path = tmp_path / "hidden.geojson"
    layers.write_obscured(path, [scene])
    data = FeatureCollection.model_validate_json(path.read_bytes())
    for feature in data.features:
        for part in shapely.get_parts(shapely.geometry.shape(feature.geometry)):
            assert part.exterior.is_ccw


def test_two_layers_of_one_name_would_share_a_style(tmp_path):
    with pytest.raises(InputError, match="have one name, so their styles would be one file"):
        layers.check_apart(tmp_path / "a.geojson", tmp_path / "x" / ".." / "a.fgb")
    with pytest.raises(InputError, match="have one name"):
        layers.check_apart(tmp_path / "a.gpkg", tmp_path / "a.gpkg")
    layers.check_apart(tmp_path / "a.geojson", tmp_path / "b.geojson")
    layers.check_apart(tmp_path / "a.gpkg", tmp_path / "a.tif")  # a GeoPackage holds its styles


def test_a_failure_leaves_the_old_file(scene, tmp_path, monkeypatch):
    (tmp_path / "hidden.gpkg").write_bytes(b"old")

    def none(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pyogrio.write_dataframe", none)
    with pytest.raises(OutputError, match="No space left on device"):
        layers.write_obscured(tmp_path / "hidden.gpkg", [scene])
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("hidden.gpkg", b"old")]
