"""What a layer that a person reviewed must be, and what is taken of it."""

import geopandas
import numpy as np
import pytest
from reviewed_layers import area, layer
from shapely.geometry import Point

from geoscan.errors import InputError
from geoscan.reviewing.layer import read_reviewed
from geoscan.states import Review


@pytest.mark.parametrize("suffix", [".gpkg", ".geojson", ".fgb", ".parquet"])
def test_every_format_and_crs_gives_the_same(tmp_path, suffix):
    polygons = (area(0, 0), "mine"), (area(1, 1), "not_mine"), (area(2, 2), None), (area(3, 3), "unreviewed")
    crs = "EPSG:4326" if suffix == ".geojson" else "EPSG:32721"
    found = read_reviewed(layer(tmp_path / f"drawn{suffix}", *polygons, crs=crs, score_max=[0.5, 0.25, None, 0.125]))
    by_score = dict(zip(found.scores, found.reviews, strict=True))
    assert by_score[0.5] is Review.MINE
    assert by_score[0.25] is Review.NOT_MINE
    assert by_score[None] is by_score[0.125] is Review.UNREVIEWED
    assert len(found.judged) == 2
    assert set(found.scenes) == set(found.models) == {""}


def test_what_was_found_earlier_alone_is_left_out(tmp_path):
    path = layer(tmp_path / "a.gpkg", (area(0, 0), "mine"), (area(1, 1), "mine"), status=["gone", "known"])
    assert len(read_reviewed(path)) == 1


def test_reviews_of_what_is_absent_alone_are_told_of(tmp_path):
    words, states = ["mine", "not_mine", "unreviewed"], ["gone", "unseen", "known"]
    path = layer(tmp_path / "a.gpkg", *((area(n, n), word) for n, word in enumerate(words)), status=states)
    with pytest.raises(InputError, match=r"all reviewed polygons in .* are gone or unseen, and left out"):
        read_reviewed(path)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["maybe", "mine", "maybe"], "`review` holds 'maybe' (2); the words that fit are unreviewed, mine, not_mine"),
        ([None, "", "unreviewed"], "holds no reviewed polygon among 3"),
    ],
)
def test_words_that_do_not_fit_are_named(tmp_path, words, message):
    path = layer(tmp_path / "a.gpkg", *((area(n, n), word) for n, word in enumerate(words)))
    with pytest.raises(InputError, match=message.replace("(", r"\(").replace(")", r"\)")):
        read_reviewed(path)


def test_small_things_of_hands_are_forgiven(tmp_path):
    assert read_reviewed(layer(tmp_path / "a.gpkg", (area(0, 0), " Mine "))).reviews == (Review.MINE,)


def test_a_layer_without_reviews_or_place_or_area_is_refused(tmp_path):
    frame = geopandas.GeoDataFrame({"name": ["a"]}, geometry=[area(0, 0)], crs="EPSG:32721")
    frame.to_file(tmp_path / "plain.gpkg")
    with pytest.raises(InputError, match="no column `review`"):
        read_reviewed(tmp_path / "plain.gpkg")
    frame.assign(review="mine").set_crs(None, allow_override=True).to_parquet(tmp_path / "nowhere.parquet")
    with pytest.raises(InputError, match="no CRS"):
        read_reviewed(tmp_path / "nowhere.parquet")
    geopandas.GeoDataFrame({"review": ["mine"]}, geometry=[Point(0, 0)], crs=4326).to_file(tmp_path / "point.gpkg")
    with pytest.raises(InputError, match="1 reviewed features are no polygons"):
        read_reviewed(tmp_path / "point.gpkg")


def test_a_polygon_that_crosses_itself_is_mended(tmp_path):
    from shapely.geometry import Polygon

    path = tmp_path / "bow.parquet"
    bow = Polygon([(0, 0), (1, 1), (1, 0), (0, 1)])
    geopandas.GeoDataFrame({"review": ["mine"]}, geometry=[bow], crs=4326).to_parquet(path)
    assert np.isclose(read_reviewed(path).shapes[0].area, 0.5)


def test_what_is_missing_is_missing_in_every_dtype(tmp_path):
    polygons = (area(0, 0), "mine"), (area(1, 1), None)
    path = layer(tmp_path / "a.parquet", *polygons, scene=[None, "a.tif"], model=[None, None])
    geopandas.read_parquet(path).assign(score_max=[None, 0.5]).convert_dtypes().to_parquet(path)
    found = read_reviewed(path)
    assert (found.scenes, found.models, found.scores) == (("", "a.tif"), ("", ""), (None, 0.5))
    assert found.reviews == (Review.MINE, Review.UNREVIEWED)
