"""`geoscan compare`: two layers, compared after their scans."""

from pathlib import Path

import geopandas
import pandas as pd
import pytest
import shapely
from click.testing import CliRunner, Result
from open_layers import opened

from geoscan.cli import main

HERE = (-56.0, -6.0)


def invoke(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words], prog_name="geoscan")


def square(col: float, row: float = 0, side: float = 0.01) -> shapely.Polygon:
    west, south = HERE[0] + col * 0.01, HERE[1] + row * 0.01
    return shapely.box(west, south, west + side, south + side)


def layer(path: Path, shapes: list, name: str = "detections", **columns: list) -> Path:
    frame = geopandas.GeoDataFrame(columns, geometry=shapes, crs="EPSG:4326")
    frame.to_file(path, **({"layer": name, "mode": "a"} if path.suffix == ".gpkg" else {}))
    return path


@pytest.fixture
def old(tmp_path) -> Path:
    days = ["2023-05-01", "2023-04-02", None, None]
    return layer(tmp_path / "old.geojson", [square(col) for col in (0, 2, 4, 20)], first_seen=days)


def statuses(path: Path) -> list[str]:
    frame = opened(path)
    return frame.iloc[frame.bounds["minx"].argsort().to_numpy()]["status"].tolist()


@pytest.fixture
def new(tmp_path) -> Path:
    """It knows what it saw: cloud over the second mine, haze over the third, nothing of the fourth."""
    path = layer(tmp_path / "new.gpkg", [square(0), square(8)], first_seen=["2023-06-01"] * 2)
    layer(path, [square(-1, -1, 0.15)], "footprint")
    return layer(path, [square(1.9, 0, 0.02), square(4)], "obscured", cause=["cloud", "haze"])


def test_gone_is_what_a_later_layer_saw_and_does_not_have(old, new, tmp_path):
    out = tmp_path / "changes.gpkg"
    result = invoke("compare", old, new, "--out", out)
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == f"since {old}: 1 new, 1 known, 1 gone, 2 unseen\n"
    assert statuses(out) == ["known", "unseen", "gone", "new", "unseen"]
    first = opened(out).sort_values("first_seen")["first_seen"]
    assert first.dropna().tolist() == ["2023-04-02", "2023-05-01", "2023-06-01"]


@pytest.mark.parametrize("suffix", [".geojson", ".fgb", ".gpkg", ".parquet"])
def test_a_layer_that_does_not_tell_what_it_saw_calls_nothing_gone(old, tmp_path, suffix):
    new, out = tmp_path / f"new{suffix}", tmp_path / "changes.geojson"
    frame = geopandas.GeoDataFrame(geometry=[square(0), square(8)], crs="EPSG:4326")
    frame.to_parquet(new) if suffix == ".parquet" else frame.to_file(new)
    result = invoke("compare", old, new, "--out", out)
    assert result.exit_code == 0
    assert f"warning: {new} does not tell what its scenes showed, so that no mine is called gone" in result.stderr
    assert statuses(out) == ["known", "unseen", "unseen", "new", "unseen"]


def test_what_was_absent_in_the_later_layer_is_not_there(old, tmp_path):
    new = layer(tmp_path / "new.geojson", [square(0), square(2)], status=["gone", "known"])
    out = tmp_path / "changes.geojson"
    assert invoke("compare", old, new, "--out", out).exit_code == 0
    assert statuses(out) == ["unseen", "known", "unseen", "unseen"]


def test_a_review_of_the_later_layer_stands(tmp_path):
    old = layer(tmp_path / "old.geojson", [square(0), square(2)], review=["mine", "not_mine"])
    new = layer(tmp_path / "new.geojson", [square(0), square(2)], review=["not_mine", "unreviewed"])
    out = tmp_path / "changes.geojson"
    assert invoke("compare", old, new, "--out", out).exit_code == 0
    assert geopandas.read_file(out)["review"].tolist() == ["not_mine", "not_mine"]


def test_a_layer_that_is_compared_is_not_replaced(old, new):
    before = old.read_bytes(), new.read_bytes()
    for out in (old, new):
        result = invoke("compare", old, new, "--out", out)
        assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
        assert f"{out} is one of the layers that are compared; give another file" in result.stderr
    assert (old.read_bytes(), new.read_bytes()) == before


def test_empty_layers_compare(new, tmp_path):
    empty = tmp_path / "empty.parquet"
    geopandas.GeoDataFrame({"review": pd.Series([], dtype="str")}, geometry=[], crs="EPSG:32721").to_parquet(empty)
    out = tmp_path / "changes.geojson"
    assert invoke("compare", empty, new, "--out", out).exit_code == 0
    assert statuses(out) == ["new", "new"]
    assert invoke("compare", new, empty, "--out", out).exit_code == 0
    assert statuses(out) == ["unseen", "unseen"]
