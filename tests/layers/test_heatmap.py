"""The heat map: values, place, colours; a valid COG; the same bytes; whole or not at all."""

import math
from dataclasses import replace

import numpy as np
import pytest
import rasterio
from conftest import write_scene
from hypothesis import given, settings
from hypothesis import strategies as st
from rio_cogeo.cogeo import cog_validate
from sights import PLACE, seen

from geoscan.errors import InputError, OutputError
from geoscan.grid import TileGrid
from geoscan.layers import heatmap
from geoscan.layers.heatmap import SCALE, UNSEEN, check_target, values, write
from geoscan.polygons import Hysteresis, Provenance
from geoscan.seen import Sight

SOURCE = Provenance("scene é.tif", "planet", "sha256:00", Hysteresis(0.6, 0.3, 0.9), "0.1.0", prior=0.008)


def scored(down, across, scores, **how):
    """A scene of chips that overlap by half, whose last row and column are short."""
    grid = TileGrid(down * 128 - 50, across * 128 - 7, 256, 128)
    assert grid.shape == (down, across)
    column = np.column_stack([np.ones(len(grid)), np.ravel(scores)]).astype(np.float32)
    return seen(SOURCE, grid, column, labels=("clear", "artisinal_mine"), **how)


SMALL = scored(3, 4, np.linspace(0, 1, 12))


@pytest.fixture(scope="module")
def large():
    """A raster with two overviews, of odd sides; faint but for one chip, and a quarter of it was not seen."""
    scores = np.random.default_rng(1).uniform(0, 0.2, (1099, 700)).astype(np.float32)
    scores[801, 333] = 1
    sight = np.full(scores.shape, Sight.CLEAR, np.uint8)
    sight[:550, :350] = Sight.NODATA
    return scored(*scores.shape, scores, sight=sight.ravel())


def test_a_pixel_is_the_score_of_a_core(tmp_path):
    path = tmp_path / "prob.tif"
    write(path, SMALL)
    with rasterio.open(path) as dataset:
        assert (dataset.count, dataset.dtypes, dataset.nodata) == (1, ("uint8",), UNSEEN)
        assert dataset.crs.to_epsg() == 32721
        assert dataset.scales == (SCALE,)
        assert dataset.read(1) * dataset.scales[0] == pytest.approx(np.linspace(0, 1, 12).reshape(3, 4), abs=SCALE / 2)
        for tile in SMALL.grid:
            corner = PLACE @ (tile.core.col, tile.core.row)
            assert dataset.transform @ divmod(tile.index, 4)[::-1] == pytest.approx(corner)
        (_, bottom, right, _) = dataset.bounds
        assert (right, bottom) == pytest.approx(PLACE @ (4 * 128, 3 * 128)), "the last cores' pixels are whole"


@pytest.mark.parametrize("sight", list(Sight))
def test_what_was_not_seen_is_no_score(sight):
    kinds = np.full(12, Sight.CLEAR, np.uint8)
    kinds[5] = sight
    found = values(scored(3, 4, np.full(12, 0.5), sight=kinds)).ravel()
    assert found[5] == (125 if sight in (Sight.CLEAR, Sight.HAZY) else UNSEEN)
    assert (np.delete(found, 5) == 125).all()


def test_a_score_that_is_no_number_was_not_seen():
    assert values(scored(1, 2, [np.nan, 1])).tolist() == [[UNSEEN, 250]]


@settings(max_examples=20)
@given(st.floats(0, 1, width=32))
def test_no_score_is_lost(score):
    (value,) = values(scored(1, 1, [score])).ravel()
    assert math.isclose(value * SCALE, score, abs_tol=SCALE / 2 + 1e-6)


@pytest.mark.parametrize("at_once", [1, 7, 12])
def test_working_part_by_part_changes_nothing(monkeypatch, at_once):
    whole = values(SMALL)
    monkeypatch.setattr(heatmap, "_AT_ONCE", at_once)
    assert np.array_equal(values(SMALL), whole)


def test_it_is_a_valid_cog_with_the_highest_scores_in_its_overviews(tmp_path, large):
    path = tmp_path / "prob.tif"
    write(path, large)
    assert cog_validate(path, strict=True) == (True, [], [])
    full = values(large)
    with rasterio.open(path) as dataset:
        assert np.array_equal(dataset.read(1), full)
        assert dataset.overviews(1) == [2, 4]
    for level, factor in enumerate((2, 4)):
        with rasterio.open(path, overview_level=level) as dataset:
            pixels = dataset.read(1)
            assert dataset.nodata == UNSEEN
        for row, col in ((0, 0), (801 // factor, 333 // factor), (-1, -1), (549 // factor, 349 // factor)):
            row, col = row % pixels.shape[0], col % pixels.shape[1]
            part = full[row * factor : (row + 1) * factor, col * factor : (col + 1) * factor]
            assert pixels[row, col] == max(part[part != UNSEEN], default=UNSEEN)
        assert pixels[801 // factor, 333 // factor] == 250


@pytest.mark.parametrize("shape", [(1, 1), (1, 600), (513, 2)])
def test_any_shape_is_a_valid_cog(tmp_path, shape):
    write(tmp_path / "prob.tif", scored(*shape, np.full(shape, 0.3)))
    assert cog_validate(tmp_path / "prob.tif", strict=True) == (True, [], [])


def test_colours_grow_lighter_and_what_was_not_seen_is_transparent(tmp_path):
    write(tmp_path / "prob.tif", SMALL)
    with rasterio.open(tmp_path / "prob.tif") as dataset:
        table = np.array([dataset.colormap(1)[value] for value in range(256)])
    light = table[:251, :3] @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(light) >= -1).all()
    assert light[0] < 5
    assert light[250] > 230
    assert (table[:251, 3] == 255).all()
    assert table[UNSEEN, 3] == 0


def test_it_says_what_it_is(tmp_path):
    write(tmp_path / "prob.tif", replace(SMALL, provenance=replace(SOURCE, scene="é\x1b<&>\udcff.tif")))
    with rasterio.open(tmp_path / "prob.tif") as dataset:
        tags = dataset.tags()
        assert dataset.descriptions == ("mine score",)
    assert tags["scene"] == r"é\x1b<&>\udcff.tif"
    told = (tags["model"], tags["digest"], tags["geoscan"], tags["threshold_high"], tags["tta"])
    assert told == ("planet", "sha256:00", "0.1.0", "0.6", "False")
    assert f"value * {SCALE}; {UNSEEN} was not seen" in tags["meaning"]
    assert "beyond the scene" in tags["extent"]


def test_the_same_scan_is_the_same_file(tmp_path, large):
    for name in ("a.tif", "b.tif"):
        write(tmp_path / name, large)
    for suffix in (".tif", ".qml"):
        assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


def test_a_failure_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "prob.tif"
    write(path, SMALL)
    before = path.read_bytes()

    def full(self, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(OutputError, match="No space left"):
        write(path, scored(1, 1, [0.1]))
    assert path.read_bytes() == before
    assert sorted(one.name for one in tmp_path.iterdir()) == ["prob.qml", "prob.tif"]


def test_the_style_of_somebody_else_stays_and_that_is_said(tmp_path, caplog):
    write(tmp_path / "prob.tif", SMALL)
    write(tmp_path / "prob.tif", SMALL)
    assert not caplog.records
    style = tmp_path / "prob.qml"
    style.write_text("<qgis/>")
    write(tmp_path / "prob.tif", SMALL)
    assert style.read_text() == "<qgis/>"
    (said,) = [record.getMessage() for record in caplog.records]
    assert said == f"{style} is no style of geoscan's and stays; move it away for one that fits prob.tif"


def test_what_does_not_fit_is_refused_before_a_scan(tmp_path):
    with pytest.raises(InputError, match=r"the suffix '\.png'.*GeoTIFF.*\.tif, \.tiff"):
        check_target(tmp_path / "prob.png")
    (tmp_path / "scene.tif").touch()
    with pytest.raises(InputError, match="is the scene itself"):
        check_target(tmp_path / "scene.tif", [str(tmp_path / "scene.tif")])
    with pytest.raises(InputError, match="of one scene, and here are 3; scan them one by one"):
        check_target(tmp_path / "prob.tif", scenes=3)
    write_scene(tmp_path / "other.tif", (3, 8, 8))
    with pytest.raises(InputError, match=r"other\.tif is a raster that geoscan did not make, and would be lost"):
        check_target(tmp_path / "other.tif")
    (tmp_path / "map.qml").mkdir()
    with pytest.raises(InputError, match=r"map\.qml is a folder"):
        check_target(tmp_path / "map.tif")
    check_target(tmp_path / "PROB.TIF", [str(tmp_path / "scene.tif")])


@pytest.mark.large
def test_millions_of_chips_take_little_memory(tmp_path):
    import resource

    grid = TileGrid(2**11 * 32, 2**11 * 32, 32, 32)
    whole = replace(SMALL, grid=grid, scores=np.zeros((len(grid), 2), np.float32), sight=np.zeros(len(grid), np.uint8))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    write(tmp_path / "prob.tif", whole)
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < 100
    assert cog_validate(tmp_path / "prob.tif", strict=True)[0]
