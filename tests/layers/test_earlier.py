"""Earlier layers: what was written comes back; what others made is placed; what nobody should read is one line."""

import json
from dataclasses import replace

import geopandas
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from affine import Affine
from sights import seen

from geoscan import layers
from geoscan.changes import seen_ground
from geoscan.errors import InputError
from geoscan.grid import TileGrid
from geoscan.layers import earlier
from geoscan.layers.reading import read_table
from geoscan.outlines import ACTIVATION, areas_ha
from geoscan.polygons import Hysteresis, Provenance, detections, properties
from geoscan.reviewing.layer import read_reviewed
from geoscan.seen import Sight
from geoscan.states import Review, Status

READING = {"product": "PlanetScope visual", "date": "2023-05-01T13:30:12Z"}
SOURCE = Provenance("é.tif", "planet", "sha256:00", Hysteresis(0.6, 0.3, 0.9), "0.1.0", prior=0.008, reading=READING)
SUFFIXES = [suffix for suffix in layers.WRITERS if suffix != ".json"]
SQUARE = shapely.box(0, 0, 0.01, 0.01)


@pytest.fixture
def found():
    mine = np.zeros((3, 5), np.float32)
    mine[0, 0], mine[2, 2:4] = 0.95, 0.7
    scores = np.column_stack([np.full(15, 0.8), np.full(15, 0.2), np.full(15, 0.6), mine.ravel()]).astype(np.float32)
    one, other = detections(
        TileGrid(700, 1200, 256, 256),
        scores,
        ("clear", "haze", "water", "artisinal_mine"),
        SOURCE,
        Affine(3.7, 0, 552_000, 0, -3.7, 9_317_000),
        "EPSG:32721",
        probabilities=mine.ravel() / 10,
        label_thresholds={"water": 0.5},
    )
    gone = {"status": Status.GONE, "first_seen": "2022-11", "review": Review.NOT_MINE, "probability": None}
    return [one, replace(other, **gone)]


def foreign(path, shapes, crs="EPSG:4326", layer=None, **columns):
    geopandas.GeoDataFrame(columns, geometry=shapes, crs=crs).to_file(path, layer=layer)
    return path


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_was_written_comes_back(found, tmp_path, suffix):
    path = tmp_path / f"mines{suffix}"
    layers.write(path, found, [seen(SOURCE)])
    back = earlier.read(path)
    assert back.dates == {"é.tif": READING["date"]}
    again = sorted(back.detections, key=lambda one: one.geometry.bounds)
    want = [replace(found[0], first_seen="2023-05-01"), found[1]]
    assert [properties(one) for one in again] == [properties(one) for one in want]
    assert [one.geometry.wkb for one in again] == [one.geometry.wkb for one in want]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_status_without_a_date_is_not_dated_by_the_scene(found, tmp_path, suffix):
    """The mine was known before that scene, since nobody knows when."""
    path = tmp_path / f"mines{suffix}"
    layers.write(path, [replace(found[0], status=Status.KNOWN)], [seen(SOURCE)])
    assert earlier.read(path).detections[0].first_seen is None


@pytest.mark.parametrize("columns", [{}, {"name": ["a"]}], ids=["none", "others"])
def test_foreign_places_have_no_maker(tmp_path, columns):
    (one,) = earlier.read(foreign(tmp_path / "a.geojson", [SQUARE], **columns)).detections
    facts = properties(one)
    assert facts["area_ha"] == pytest.approx(123.1, rel=0.01)
    assert (facts["n_chips"], facts["review"], facts["tta"]) == (0, "unreviewed", False)
    for name in ("score_max", "probability", "haze", "model", "threshold_low", "status", "first_seen", "geoscan"):
        assert facts[name] is None, name


def test_values_that_do_not_fit_are_as_if_empty(tmp_path):
    row = {
        "score_max": "x",
        "n_chips": 1e300,
        "probability": "inf",
        "status": "mine",
        "first_seen": "yesterday",
        "review": " Not_Mine",
        "scene": "a\u001b[31m\nb",
        "model": "m",
        "threshold_high": 0.1,
        "threshold_low": 0.9,
        "threshold_isolated": 0.9,
        "other_labels": "water,bare",
        "other_scores": "0.5,?",
        "tta": {"deep": [1]},
    }
    path = tmp_path / "a.geojson"
    feature = {"type": "Feature", "properties": row, "geometry": shapely.geometry.mapping(SQUARE)}
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    (one,) = earlier.read(path).detections
    assert (one.status, one.first_seen, one.review, one.probability) == (None, None, Review.NOT_MINE, None)
    assert (one.provenance.model, one.provenance.scene) == ("", "a\\x1b[31m b")
    assert one.other_labels == {"water": 0.5}
    layers.write(tmp_path / "again.parquet", [one], [seen(SOURCE)])


def test_a_review_that_nobody_understands_is_refused_in_our_layers_and_told_of_in_others(found, tmp_path, caplog):
    path = tmp_path / "mines.geojson"
    layers.write(path, found, [seen(SOURCE)])
    path.write_text(path.read_text().replace('"not_mine"', '"not mine"'))
    with pytest.raises(InputError, match=r"`review` holds 'not mine' \(1\); the words that fit are "):
        earlier.read(path)
    (one,) = earlier.read(foreign(tmp_path / "a.geojson", [SQUARE], review=["looks fine"])).detections
    assert one.review is Review.UNREVIEWED
    assert "`review` holds 'looks fine' (1)" in caplog.text


def test_a_date_that_is_none_is_told_of(tmp_path, caplog):
    first = ["01.06.2023", "2023-06-01", None]
    back = earlier.read(foreign(tmp_path / "a.geojson", [SQUARE] * 3, first_seen=first)).detections
    assert [one.first_seen for one in back] == [None, "2023-06-01", None]
    assert "`first_seen` holds '01.06.2023', which is no date such as 2023-06-01; 1 of these count as" in caplog.text


def test_shapes_of_any_kind_become_outlines(tmp_path):
    bow = shapely.Polygon([(0, 0), (1, 1), (1, 0), (0, 1)])
    mixed = shapely.GeometryCollection([shapely.Point(5, 5), SQUARE, shapely.LineString([(0, 0), (1, 1)])])
    tall = shapely.Polygon([(0, 0, 7), (0, 1, 7), (1, 1, 7)])
    path = foreign(tmp_path / "a.gpkg", [bow, mixed, tall])
    shapes = [one.geometry for one in earlier.read(path).detections]
    assert all(shape.is_valid and not shape.has_z for shape in shapes)
    assert [round(shape.area, 6) for shape in shapes] == [0.5, 0.0001, 0.5]
    assert shapes[2].exterior.is_ccw


def test_mines_that_somebody_joined_in_one_feature_are_mines_of_their_own(found, tmp_path):
    """But not parts of one detection, nor what meets."""
    far = shapely.MultiPolygon([SQUARE, shapely.box(1, 1, 1.02, 1.01), shapely.box(1.02, 1.01, 1.03, 1.02)])
    parts = earlier.read(foreign(tmp_path / "a.gpkg", [far], review=["mine"], first_seen=["2021-08-01"])).detections
    assert sorted(round(one.geometry.area, 6) for one in parts) == [0.0001, 0.0003]
    assert {(one.review, one.first_seen) for one in parts} == {("mine", "2021-08-01")}
    (one,) = earlier.read(foreign(tmp_path / "b.gpkg", [far], n_chips=[3])).detections
    assert one.geometry.equals(far.buffer(0))


def test_a_detection_that_somebody_cut_has_its_share_of_chips(tmp_path):
    halves = [shapely.box(0, 0, 0.01, 0.02), shapely.box(0.01, 0, 0.02, 0.02)]
    area = [float(areas_ha([shapely.box(0, 0, 0.02, 0.02)])[0])] * 2
    cut = earlier.read(foreign(tmp_path / "a.gpkg", halves, n_chips=[4, 4], area_ha=area)).detections
    assert [one.n_chips for one in cut] == [2, 2]
    whole = earlier.read(foreign(tmp_path / "b.gpkg", halves, n_chips=[4, 4])).detections
    assert [one.n_chips for one in whole] == [4, 4]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_outlines_are_of_is_told_by_a_layer_or_by_nobody(found, tmp_path, suffix):
    path, source = tmp_path / f"mines{suffix}", replace(SOURCE, outline=ACTIVATION)
    layers.write(path, [replace(one, provenance=source) for one in found], [seen(source)])
    assert {one.provenance.outline for one in earlier.read(path).detections} == {ACTIVATION}
    frame = read_table(path, ["detections"])[0]
    frame.to_file(tmp_path / "copy.gpkg", layer="detections")
    assert {one.provenance.outline for one in earlier.read(tmp_path / "copy.gpkg").detections} == {""}


def test_what_gdal_has_written_anew_tells_its_scenes(found, tmp_path):
    path = tmp_path / "mines.geojson"
    layers.write(path, found, [seen(SOURCE)])
    path.write_text(json.dumps(json.loads(path.read_text()), indent=1))
    assert earlier.read(path).dates == {"é.tif": READING["date"]}


def test_a_shapefile_is_a_layer(tmp_path):
    (one,) = earlier.read(foreign(tmp_path / "known.shp", [SQUARE], review=["mine"])).detections
    assert (one.review, one.n_chips) == ("mine", 0)
    assert one.geometry.equals(SQUARE)


def test_a_projected_shape_across_the_antimeridian_is_cut(tmp_path):
    hole = shapely.Point(736_500, 5_005_000).buffer(3000)
    around = shapely.difference(shapely.box(730_000, 5e6, 745_000, 5.01e6), hole)
    (one,) = earlier.read(foreign(tmp_path / "a.gpkg", [around], "EPSG:32660")).detections
    assert one.area_ha == pytest.approx(around.area / 1e4, rel=2e-3)
    (east,) = earlier.read(foreign(tmp_path / "b.fgb", [shapely.box(190, 0, 190.01, 0.01)])).detections
    assert east.geometry.bounds == pytest.approx((-170, 0, -169.99, 0.01))


def test_what_has_no_place_is_left_out_and_said(tmp_path, caplog):
    path = foreign(tmp_path / "a.geojson", [SQUARE, None, shapely.Point(1, 1), shapely.box(0, 80, 1, 100)])
    assert len(earlier.read(path).detections) == 1
    assert "3 of the 4 features in" in caplog.text
    with pytest.raises(InputError, match=r"1 of the 1 features in .* are no polygons on the globe; give a l"):
        earlier.read(foreign(tmp_path / "b.geojson", [shapely.Point(1, 1)]))


def test_the_layer_of_detections_is_taken_among_several(tmp_path):
    path = tmp_path / "a.gpkg"
    for name, side in (("chips", 1), ("detections", 2), ("footprint", 3)):
        frame = geopandas.GeoDataFrame(geometry=[shapely.box(0, 0, side, side)], crs="EPSG:4326")
        frame.to_file(path, layer=name, mode="a")
    (one,) = earlier.read(path).detections
    assert one.geometry.area == 4
    with pytest.raises(InputError, match="holds several layers: chips, detections, footprint; give a file of one"):
        read_table(path, ["mines"])


def test_ground_is_footprint_without_what_hides_it(tmp_path):
    path = tmp_path / "a.gpkg"
    parts = {"detections": [SQUARE], "footprint": [shapely.box(0, 0, 2, 2), shapely.box(2, 0, 3, 2)]}
    hidden = {"cause": ["cloud", "haze", "not understood"]}
    parts["obscured"] = [shapely.box(0, 0, 1, 1), shapely.box(1, 0, 2, 1), shapely.box(2, 0, 4, 1)]
    for name, shapes in parts.items():
        columns = hidden if name == "obscured" else {}
        geopandas.GeoDataFrame(columns, geometry=shapes, crs="EPSG:4326").to_file(path, layer=name, mode="a")
    assert shapely.union_all(earlier.ground_of(path)).equals(
        shapely.union(shapely.box(0, 1, 3, 2), shapely.box(1, 0, 2, 1))
    )
    nothing = geopandas.GeoDataFrame({"cause": []}, geometry=[], crs="EPSG:4326")
    clear = foreign(tmp_path / "clear.gpkg", [SQUARE], layer="footprint")
    nothing.to_file(clear, layer="obscured", mode="a", geometry_type="Polygon")
    assert shapely.union_all(earlier.ground_of(clear)).equals(SQUARE)
    assert earlier.ground_of(foreign(tmp_path / "b.gpkg", [SQUARE])) is None
    assert earlier.ground_of(foreign(tmp_path / "b.geojson", [SQUARE])) is None


def test_ground_that_one_scene_does_not_show_another_may(tmp_path):
    path = tmp_path / "a.gpkg"
    whole = shapely.box(0, 0, 2, 2)
    for name, shapes, columns in (
        ("footprint", [whole, whole], {"scene": ["a", "b"]}),
        ("obscured", [shapely.box(0, 0, 1, 2), shapely.box(0, 0, 2, 1)], {"scene": ["a", "b"], "cause": ["cloud"] * 2}),
    ):
        geopandas.GeoDataFrame(columns, geometry=shapes, crs="EPSG:4326").to_file(path, layer=name, mode="a")
    hidden = shapely.box(0, 0, 1, 1)
    assert shapely.union_all(earlier.ground_of(path)).equals(shapely.difference(whole, hidden))
    nobodys = geopandas.GeoDataFrame({"scene": ["c"], "cause": ["cloud"]}, geometry=[whole], crs="EPSG:4326")
    nobodys.to_file(path, layer="obscured", mode="a")
    assert earlier.ground_of(path) == []


def test_ground_of_a_layer_is_what_its_scan_saw(tmp_path):
    labels = ("clear", "partly_cloudy", "haze", "cloudy", "artisinal_mine")
    scores = np.zeros((9, 5), np.float32)
    scores[:, 0] = 1
    scores[4, :2], scores[5, :3] = (0.4, 0.6), (0.3, 0.4, 0.5)
    sight = np.full(9, Sight.CLEAR, np.uint8)
    sight[0], sight[7:] = Sight.CLOUDY, Sight.HAZY
    scene = seen(SOURCE, TileGrid(768, 768, 256, 256), scores, labels=labels, sight=sight)
    scene.observed[8] //= 2
    layers.write(tmp_path / "a.gpkg", [], [scene])
    told, there = (shapely.union_all(of) for of in (earlier.ground_of(tmp_path / "a.gpkg"), seen_ground(scene)))
    assert told.symmetric_difference(there).area < 1e-6 * there.area
    assert round(9 * there.area / shapely.box(*there.bounds).area) == 6


REFUSED = {
    "text.geojson": (b"hello", "is no geojson file, or is damaged"),
    "server.geojson": (b"<OGRVRTDataSource><OGRVRTLayer name='a'/></OGRVRTDataSource>", "is no geojson file"),
    "broken.geojson": (b'{"type": "FeatureCollection", "features": [', "cannot be read as a layer: "),
    "deep.geojson": (b'{"type": "FeatureCollection", "features": ' + b"[" * 100_000, "cannot be read as a layer: "),
    "empty.gpkg": (b"", "is no gpkg file"),
    "cut.gpkg": (b"SQLite format 3\0" + b"x" * 100, "cannot be read as a layer: "),
    "cut.fgb": (b"fgb\x03fgb\0" + b"\xff" * 100, "holds no layer with geometries"),
    "cut.parquet": (b"PAR1" + b"x" * 100, "cannot be read as a layer: "),
    "cut.shp": (b"\0\0\x27\x0a" + b"x" * 100, "cannot be read as a layer: "),
    "a.kml": (b"", "is no layer, by its suffix; give one that ends in .geojson, .json, .gpkg, .fgb, .parquet, .shp"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_layer_is_one_line(tmp_path, name):
    content, message = REFUSED[name]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        earlier.read(path)
    assert str(caught.value).startswith(f"{path} {message}")
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_text_that_is_no_utf8_is_one_line(found, tmp_path):
    path = tmp_path / "a.parquet"
    frame = layers.frame(found).to_arrow()
    table = pa.table(frame)
    wrong = pa.StringArray.from_buffers(2, pa.py_buffer(np.array([0, 1, 2], np.int32)), pa.py_buffer(b"\xd7\xd7"))
    table = table.set_column(table.column_names.index("model"), "model", wrong)
    layers.frame(found).to_parquet(tmp_path / "b.parquet")
    pq.write_table(table.replace_schema_metadata(pq.read_schema(tmp_path / "b.parquet").metadata), path)
    with pytest.raises(InputError, match=r"a\.parquet cannot be read as a layer: "):
        earlier.read(path)


def test_what_is_too_large_or_has_no_crs_is_refused(tmp_path, monkeypatch):
    path = foreign(tmp_path / "a.fgb", [SQUARE] * 3)
    packed = tmp_path / "a.parquet"
    geopandas.GeoDataFrame({"a": ["x" * 1000] * 3}, geometry=[SQUARE] * 3, crs="EPSG:4326").to_parquet(packed)
    plain = tmp_path / "plain.parquet"
    pq.write_table(pa.table({"a": [1]}), plain)
    for limit, value in (("_MOST_FEATURES", 2), ("_MOST_BYTES", 100)):
        with monkeypatch.context() as patch:
            patch.setattr(f"geoscan.layers.reading.{limit}", value)
            for one in (path, packed):
                with pytest.raises(InputError, match="fit; give a part of it"):
                    earlier.read(one)
    with monkeypatch.context() as patch:
        patch.setattr("geoscan.layers.reading._MOST_BYTES", 100)
        assert len(earlier.read(foreign(tmp_path / "a.gpkg", [SQUARE])).detections) == 1, "of it a layer alone is read"
    with pytest.raises(InputError, match="cannot be read as a layer: "):
        earlier.read(plain)
    no_crs = tmp_path / "b.parquet"
    geopandas.GeoDataFrame(geometry=[SQUARE]).to_parquet(no_crs)
    with pytest.raises(InputError, match=r"has no CRS; set one"):
        earlier.read(no_crs)
    moon = "+proj=longlat +R=1737400 +no_defs"
    with pytest.raises(InputError, match="has a CRS without longitude and latitude"):
        earlier.read(foreign(tmp_path / "moon.gpkg", [SQUARE], moon))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("spelt", [str.upper, str.title])
def test_columns_in_capitals_are_ours(found, tmp_path, suffix, spelt):
    path, table = tmp_path / f"mines{suffix}", layers.frame(found)
    table = table.rename(columns={name: spelt(name) for name in table if name != "geometry"})
    table.to_parquet(path) if suffix == ".parquet" else table.to_file(path)
    back = sorted(earlier.read(path).detections, key=lambda one: one.geometry.bounds)
    assert [properties(one) for one in back] == [properties(one) for one in found]
    assert read_reviewed(foreign(tmp_path / "drawn.gpkg", [SQUARE], Review=["mine"])).reviews == (Review.MINE,)


def test_a_column_in_capitals_beside_ours_is_another(tmp_path):
    path = foreign(tmp_path / "a.geojson", [SQUARE], Review=["seen by boat"], review=["mine"], REVIEW=["no"])
    frame, _ = read_table(path, [])
    assert set(frame) == {"Review", "review", "REVIEW", "geometry"}
    assert earlier.read(path).detections[0].review is Review.MINE


def test_a_layer_of_mines_among_others_is_the_one(tmp_path):
    path = foreign(tmp_path / "a.gpkg", [SQUARE], layer="roads")
    foreign(path, [SQUARE], layer="mines", review=["mine"])
    assert [one.review for one in earlier.read(path).detections] == list(read_reviewed(path).reviews) == ["mine"]
