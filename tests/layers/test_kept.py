"""What a person has put into a file is not replaced."""

import os
import sqlite3
from contextlib import closing
from dataclasses import replace

import geopandas
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
from affine import Affine
from sights import seen

from geoscan import layers
from geoscan.errors import InputError
from geoscan.layers import kept
from geoscan.polygons import Detection, Hysteresis, Provenance
from geoscan.states import Review, Status

SOURCE = Provenance("scene.tif", "planet", "sha256:00", Hysteresis(0.6, 0.3, 0.9), "0.1.0")
SQUARE = shapely.box(0, 0, 0.01, 0.01)
FOUND = Detection(SQUARE, 0.9, 0.9, None, 1, 120.0, {}, "clear", 0.0, SOURCE)


@pytest.fixture(params=layers.WRITERS)
def path(request, tmp_path):
    return tmp_path / f"mines{request.param}"


def test_what_a_scan_has_written_may_be_replaced(path):
    kept.check(path)
    layers.write(path, [FOUND], [seen(SOURCE)])
    kept.check(path)
    layers.write(path, [], [seen(SOURCE)])
    kept.check(path)


@pytest.mark.parametrize("review", [Review.MINE, Review.NOT_MINE])
def test_reviews_are_kept_unless_they_are_taken_over(path, review, tmp_path):
    layers.write(path, [FOUND, replace(FOUND, review=review)], [seen(SOURCE)])
    with pytest.raises(InputError, match=rf"holds 1 reviewed detection, .* --since {path}$"):
        kept.check(path)
    with pytest.raises(InputError, match="1 reviewed detection"):
        kept.check(path, tmp_path / "other.gpkg")
    kept.check(path, path)


@pytest.mark.parametrize("geometry", [SQUARE, None])
@pytest.mark.parametrize("with_ours", [True, False])
def test_layers_and_tables_of_others_are_kept_always(tmp_path, geometry, with_ours):
    path = tmp_path / "mines.gpkg"
    if with_ours:
        layers.write(path, [FOUND], [seen(SOURCE)])
    geopandas.GeoDataFrame({"name": ["a"]}, geometry=[geometry], crs=4326).to_file(path, layer="roads")
    for since in (None, path):
        with pytest.raises(InputError, match="holds roads, which geoscan did not make"):
            kept.check(path, since)


def test_rasters_of_others_are_kept_always(tmp_path):
    path = tmp_path / "mines.gpkg"
    layers.write(path, [FOUND], [seen(SOURCE)])
    how = {"driver": "GPKG", "dtype": "uint8", "count": 3, "height": 256, "width": 256, "crs": "EPSG:3857"}
    place = {"transform": Affine(10, 0, 0, 0, -10, 0), "RASTER_TABLE": "basemap", "APPEND_SUBDATASET": "YES"}
    with rasterio.open(path, "w", **how, **place) as target:
        target.write(np.full((3, 256, 256), 9, np.uint8))
    for since in (None, path):
        with pytest.raises(InputError, match="holds basemap, which geoscan did not make"):
            kept.check(path, since)


def test_a_raster_of_somebody_else_is_kept_also_alone(tmp_path):
    path = tmp_path / "mines.gpkg"
    how = {"driver": "GPKG", "dtype": "uint8", "count": 3, "height": 256, "width": 256, "crs": "EPSG:3857"}
    with rasterio.open(path, "w", **how, transform=Affine(10, 0, 0, 0, -10, 0), RASTER_TABLE="basemap") as target:
        target.write(np.full((3, 256, 256), 9, np.uint8))
    with pytest.raises(InputError, match="holds basemap, which geoscan did not make"):
        kept.check(path)


@pytest.mark.parametrize(
    "change",
    [
        "INSERT INTO layer_styles (f_table_name, styleName, styleQML) VALUES ('detections', 'ours', '<qgis/>')",
        "UPDATE layer_styles SET styleQML = '<qgis/>', styleName = 'ours' WHERE f_table_name = 'detections'",
        "UPDATE layer_styles SET styleQML = NULL, styleName = 'ours' WHERE f_table_name = 'detections'",
    ],
)
def test_styles_of_others_are_kept_always(tmp_path, change):
    path = tmp_path / "mines.gpkg"
    layers.write(path, [FOUND], [seen(SOURCE)])
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(change)
    for since in (None, path):
        with pytest.raises(InputError, match="holds the style ours, which geoscan did not make"):
            kept.check(path, since)


@pytest.mark.parametrize(("review", "count"), [([1, 0], 2), ([True, None], 1), ([None, None], 0), (["", "seen"], 1)])
def test_reviews_in_other_words_or_numbers_are_reviews(path, review, count):
    write(path, layers.detections.frame([FOUND, FOUND]).assign(review=review))
    if count:
        with pytest.raises(InputError, match=f"holds {count} reviewed detection"):
            kept.check(path)
    else:
        kept.check(path)


def test_what_is_no_layer_holds_nothing(path):
    for content in (b"", b"no layer", b"SQLite format 3\0", b"{", b"PAR1", b"fgb\x03"):
        path.write_bytes(content)
        kept.check(path)


def test_reviews_in_what_is_too_large_or_cannot_be_read_are_kept(path, monkeypatch):
    layers.write(path, [replace(FOUND, review=Review.MINE)], [seen(SOURCE)])
    with monkeypatch.context() as patch:
        patch.setattr("geoscan.layers.reading._MOST_BYTES", 100)
        with pytest.raises(InputError, match="1 reviewed" if path.suffix == ".gpkg" else "cannot be searched for rev"):
            kept.check(path)
    foreign = path.rename(path.with_name(os.fsdecode(b"\xff") + path.name))
    with pytest.raises(InputError, match="cannot be searched for reviews, which would be lost"):
        kept.check(foreign)

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    path = foreign.rename(path)
    monkeypatch.setattr("pathlib.Path.open", refuse)
    with pytest.raises(InputError, match="cannot be searched for reviews, which would be lost"):
        kept.check(path)


def write(path, table):
    if path.suffix == ".parquet":
        table.to_parquet(path)
    else:
        table.to_file(path, **({"layer": "detections"} if path.suffix == ".gpkg" else {}))


@pytest.mark.parametrize("columns", [{}, {"name": ["a"]}, {"review": ["unreviewed"]}])
def test_a_layer_of_somebody_else_is_kept(path, columns):
    write(path, geopandas.GeoDataFrame(columns, geometry=[SQUARE], crs=4326))
    for since in (None, path):
        with pytest.raises(InputError, match="holds 1 feature, which geoscan did not make and would be lost"):
            kept.check(path, since)


@pytest.mark.parametrize(("value", "lost"), [("seen by boat", True), (7, True), ("", False), (None, False)])
def test_a_column_that_somebody_has_filled_is_kept(path, value, lost):
    layers.write(path, [FOUND, FOUND], [seen(SOURCE)])
    table = layers.detections.frame([FOUND, FOUND])
    write(path, table.assign(fid=[1, 2], layer=["a", "b"], visited=[value, None]))
    for since in (None, path):
        if lost:
            with pytest.raises(InputError, match="holds the column visited, which geoscan did not make and would be"):
                kept.check(path, since)
        else:
            kept.check(path, since)


def test_a_mine_that_was_drawn_by_hand_is_kept(path):
    drawn = geopandas.GeoDataFrame({"review": ["unreviewed"]}, geometry=[SQUARE], crs=4326)
    write(path, pd.concat([layers.detections.frame([FOUND]), drawn], ignore_index=True))
    with pytest.raises(InputError, match=rf"holds 1 feature drawn by hand, which would be lost; .* --since {path}$"):
        kept.check(path)
    kept.check(path, path)


def test_what_a_scan_took_over_from_known_mines_may_be_replaced(path):
    known = replace(FOUND, provenance=replace(SOURCE, model=""), status=Status.GONE)
    layers.write(path, [FOUND, known], [seen(SOURCE)])
    kept.check(path)


def test_names_in_capitals_are_ours(tmp_path):
    path = tmp_path / "mines.geojson"
    table = layers.detections.frame([FOUND, replace(FOUND, review=Review.MINE)])
    write(path, table.rename(columns={name: name.upper() for name in table if name != "geometry"}).assign(FID=1))
    with pytest.raises(InputError, match="holds 1 reviewed detection"):
        kept.check(path)
    kept.check(path, path)
