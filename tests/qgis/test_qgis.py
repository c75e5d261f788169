"""What geoscan writes, as QGIS shows it."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.transform
import rasterio.warp
from sights import seen

from geoscan import layers
from geoscan.dehazed_scene import dehaze_scene
from geoscan.dehazing import DarkLevel
from geoscan.grid import TileGrid
from geoscan.layers import earlier, heatmap
from geoscan.layers.attributes import Attribute
from geoscan.layers.style import qml
from geoscan.polygons import Hysteresis, Provenance, detections, properties
from geoscan.radiometry import VISUAL
from geoscan.scene import Scene
from geoscan.seen import Sight

pytestmark = pytest.mark.large

PYTHON = "/usr/bin/python3"
SIDE = 768
CHIP = 256
MAGENTA, YELLOW = [255, 0, 255], [255, 255, 0]
SUFFIXES = (".geojson", ".gpkg", ".fgb")
SOURCE = Provenance("scene é.tif", "planet", "sha256:00", Hysteresis(0.6, 0.3, 0.9), "0.1.0", prior=0.008)


@pytest.fixture
def qgis(tmp_path):
    """Gives what QGIS says of layers, and the colours at points (x, y) of its picture of them over a scene's extent."""
    environment = {
        "PATH": "/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "QT_QPA_PLATFORM": "offscreen",
        "HOME": str(tmp_path),
        "XDG_RUNTIME_DIR": str(tmp_path),
    }

    def run(*command):
        return subprocess.run([PYTHON, *command], env=environment, capture_output=True, text=True, check=False)

    if not Path(PYTHON).exists() or run("-c", "import qgis.core").returncode:
        pytest.skip(f"{PYTHON} cannot import qgis; apt-get install python3-qgis to run this")

    def show(paths, scene, points=(), side=SIDE, look="plain"):
        extent = ",".join(map(repr, bounds(scene)))
        told = run(
            str(Path(__file__).with_name("render.py")),
            look,
            str(tmp_path / "picture.png"),
            str(side),
            scene.crs.to_string(),
            extent,
            json.dumps([rasterio.transform.xy(scene.transform, row, col) for row, col in points]),
            *map(str, paths),
        )
        assert told.returncode == 0, told.stderr
        assert "Warning" not in told.stderr
        facts = json.loads(told.stdout)
        assert facts["errors"] == []
        return facts["layers"], facts["colors"]

    return show


def bounds(scene):
    return rasterio.transform.array_bounds(scene.rows, scene.cols, scene.transform)


@pytest.fixture
def scene(make_scene):
    """A scene without one bright or magenta pixel, 3 x 3 chips, with a nodata corner and black ground."""
    pixels = np.random.default_rng(2).integers(20, 90, (3, SIDE, SIDE), np.uint8)
    pixels[:, 300:500, 300:500] = 0
    mask = np.ones((SIDE, SIDE), bool)
    mask[:200, :100] = False
    return Scene.open(make_scene(pixels=pixels, mask=mask))


def mines(scene):
    """Two detections: the two upper chips on the right, and the lower one on the left."""
    scores = np.zeros((9, 4), np.float32)
    scores[:, 0] = 0.8
    scores[[1, 2], 3], scores[6, 3] = 0.7, 0.95
    grid = TileGrid(SIDE, SIDE, CHIP, CHIP)
    assert (scene.rows, scene.cols) == (grid.rows, grid.cols)
    labels = ("clear", "haze", "water", "artisinal_mine")
    return detections(
        grid, scores, labels, SOURCE, scene.transform, scene.crs, probabilities=scores[:, 3].astype(float) / 2
    )


def of(path, name=layers.LAYER):
    """Name a layer as QGIS does."""
    return f"{path}|layername={name}" if Path(path).suffix == ".gpkg" else path


INSIDE = [(8, CHIP + 8), (8, SIDE - 8), (CHIP - 8, 2 * CHIP), (2 * CHIP + 8, 8), (SIDE - 8, CHIP - 8)]
OUTSIDE = [(8, CHIP - 8), (CHIP + 8, CHIP + 8), (CHIP + 8, SIDE - 8), (2 * CHIP - 8, 8), (SIDE - 8, CHIP + 8)]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_mines_are_shown_on_the_scene_where_they_were_found(qgis, scene, tmp_path, suffix):
    found, path = mines(scene), tmp_path / f"mines{suffix}"
    layers.write(path, found, [seen(SOURCE)])
    (layer, below), colors = qgis([of(path), scene.path], scene, INSIDE + OUTSIDE)
    assert layer["valid"]
    assert below["valid"]
    assert (layer["crs"], below["crs"]) == ("EPSG:4326", "EPSG:32721")
    assert layer["count"] == len(found) == 2
    assert layer["shapes_valid"] == [True, True]
    own = [name for name in layer["fields"] if name != "fid"]
    assert own == list(properties(found[0]))
    rows = [{name: row[name] for name in own} for row in layer["features"]]
    assert sorted(rows, key=lambda row: row["n_chips"]) == sorted(map(properties, found), key=lambda r: r["n_chips"])
    west, south, east, north = rasterio.warp.transform_bounds(scene.crs, "EPSG:4326", *bounds(scene))
    assert layer["extent"] == pytest.approx([west, south, east, north], abs=1e-6)
    inside, outside = colors[: len(INSIDE)], colors[len(INSIDE) :]
    assert inside == [YELLOW] * len(INSIDE)
    assert all(20 <= min(color) <= max(color) < 90 for color in outside), outside


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_scene_without_mines_is_a_layer_without_features(qgis, scene, tmp_path, suffix):
    path = tmp_path / f"mines{suffix}"
    layers.write(path, [], [seen(SOURCE)])
    (layer, _), (color,) = qgis([of(path), scene.path], scene, [(10, 600)])
    assert layer["valid"]
    assert layer["count"] == 0
    assert max(color) < 90
    if suffix != ".geojson":  # which declares nothing without a feature
        assert layer["crs"] == "EPSG:4326"
        assert layer["fields"]["score_max"] == "Real"


def test_a_heat_map_is_shown_in_its_colours_and_what_was_not_seen_is_not(qgis, scene, tmp_path):
    grid, path = TileGrid(SIDE, SIDE, CHIP, CHIP), tmp_path / "prob.tif"
    sight = np.full(9, Sight.CLEAR, np.uint8)
    sight[4] = Sight.CLOUDY
    scores = np.array([[0.0], [0.5], [1.0]] * 3, np.float32)
    heatmap.write(path, seen(SOURCE, grid, scores, transform=scene.transform, crs=scene.crs, sight=sight))
    middles = [(row, col) for row in (128, 384, 640) for col in (128, 384, 640)]
    (layer,), colors = qgis([path], scene, middles)
    assert (layer["valid"], layer["renderer"], layer["shape"]) == (True, "singlebandpseudocolor", [1, 3, 3])
    assert layer["crs"] == "EPSG:32721"
    assert layer["extent"] == pytest.approx(bounds(scene), abs=1e-6)
    with rasterio.open(path) as dataset:
        table = dataset.colormap(1)
    low, middle, high = ([*table[value][:3]] for value in (0, 125, 250))
    assert len({*map(tuple, (low, middle, high, MAGENTA))}) == 4
    assert colors == [low, middle, high, low, MAGENTA, high, low, middle, high]


def scanned(scene):
    """What was seen of a scene of 3 x 3 chips: cloud, haze, nodata, one that failed, one that was not understood."""
    scores = np.full((9, 2), 0.05, np.float32)
    scores[[1, 2], 1], scores[6, 1] = 0.7, 0.95
    sight = np.array([3, 0, 0, 2, 1, 4, 0, 5, 0], np.uint8)
    scores[sight >= Sight.NODATA] = np.nan
    grid = TileGrid(SIDE, SIDE, CHIP, CHIP)
    how = {"labels": ("water", "artisinal_mine"), "transform": scene.transform, "crs": scene.crs}
    return seen(SOURCE, grid, scores, sight=sight, failed={5: "<b>no</b> answer & more"}, **how)


def check_detections(layer, count):
    style = layer["style"]
    assert (layer["valid"], layer["crs"], layer["count"]) == (True, "EPSG:4326", count)
    assert style["renderer"] == "graduatedSymbol"
    assert style["attribute"] == 'coalesce("probability", "score_max", 0)'
    assert style["classes"][0][0] == 0
    assert style["classes"][-1][1] == 1
    assert '"area_ha"' in style["labels"]
    aliases = {name: alias for name, alias in style["aliases"].items() if name != "fid"}
    assert aliases == {name: one.alias for name, one in layers.ATTRIBUTES.items()}


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".parquet"])
def test_a_layer_of_any_format_opens_with_its_style(qgis, scene, tmp_path, suffix):
    path, hidden = tmp_path / f"mines{suffix}", tmp_path / f"hidden{suffix}"
    seen_of_it = scanned(scene)
    layers.write(path, mines(scene), [seen_of_it])
    layers.write_obscured(hidden, [seen_of_it])
    edge = [(0, CHIP + 40), (2 * CHIP + 40, 0)]
    told, colors = qgis([of(path), of(hidden, "obscured"), scene.path], scene, edge, look="styled")
    if suffix == ".parquet" and not told[0]["valid"]:
        pytest.skip("the GDAL of this QGIS reads no Parquet")
    check_detections(told[0], 2)
    assert "Probability of a mine: 0." in told[0]["style"]["tips"][0]
    assert "scene é.tif" in told[0]["style"]["tips"][0]
    style = told[1]["style"]
    assert (told[1]["crs"], told[1]["count"], style["renderer"], style["attribute"]) == (
        "EPSG:4326",
        5,
        "categorizedSymbol",
        "cause",
    )
    assert sorted(style["classes"]) == ["cloud", "failed", "haze", "nodata", "not understood"]
    assert sum("&lt;b>no&lt;/b> answer &amp; more" in tip for tip in style["tips"]) == 1
    assert all(max(color) > 120 for color in colors), "detections have bright outlines"


def test_all_layers_of_a_geopackage_open_with_their_styles(qgis, scene, tmp_path):
    path = tmp_path / "mines.gpkg"
    layers.write(path, mines(scene), [scanned(scene)])
    names = ["detections", "chips", "obscured", "footprint", "metadata"]
    *told, _ = qgis([*(of(path, name) for name in names), scene.path], scene, look="styled")[0]
    assert [layer["valid"] for layer in told] == [True] * 5
    assert [layer["count"] for layer in told] == [2, 9, 5, 1, 1]
    assert [layer["crs"] for layer in told] == ["EPSG:4326"] * 4 + [""]
    renderers = [layer["style"]["renderer"] for layer in told]
    assert renderers == ["graduatedSymbol", "graduatedSymbol", "categorizedSymbol", "singleSymbol", None]
    assert told[1]["style"]["attribute"] == "artisanal_mine"
    assert told[1]["style"]["aliases"]["artisanal_mine"] == "Score of artisanal mine"
    assert "Mine score: 0.70, part of a detection" in told[1]["style"]["tips"][1]
    assert told[4]["style"]["aliases"]["command"] == "What was asked for"
    for layer in told[:4]:
        assert all("scene é.tif" in tip for tip in layer["style"]["tips"])
        assert not any("[%" in tip for tip in layer["style"]["tips"])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_mines_that_an_earlier_layer_holds_without_scores_are_drawn(qgis, scene, tmp_path, suffix):
    path, drawn = tmp_path / f"mines{suffix}", tmp_path / "drawn.geojson"
    known = layers.frame(mines(scene)).sort_values("n_chips")[["geometry"]]  # the lower left one is first
    known.assign(status=["gone", "unseen"]).to_file(drawn)
    layers.write(path, earlier.read(drawn).detections, [seen(SOURCE)])
    dotted, solid = ([(row + 20 + n, CHIP) for n in range(200)] for row in (2 * CHIP, 0))
    (layer, _), colors = qgis([of(path), scene.path], scene, dotted + solid, look="styled")
    assert [row["score_max"] for row in layer["features"]] == [None, None]
    check_detections(layer, 2)
    bright = [min(color[:2]) > 200 for color in colors]
    assert 20 < sum(bright[:200]) < 180, "the outline of what is gone is dotted"
    assert all(bright[200:])
    for tip in layer["style"]["tips"]:
        assert "Mine score: not known<br>" in tip
        assert not any(word in tip for word in ("NULL", "[%", "at best", "or more", "0 chips"))


def test_reviews_are_chosen_from_three(qgis, scene, tmp_path):
    path = tmp_path / "mines.geojson"
    layers.write(path, mines(scene), [scanned(scene)])
    reviewed = {
        "review": ("mine", "not_mine"),
        "status": ("new", "grown"),
        "gained_ha": (3.5, None),
        "first_seen": ("2026-01-02", "2026-07-02"),
    }
    content = json.loads(path.read_text())
    for n, feature in enumerate(content["features"]):
        feature["properties"] |= {name: values[n] for name, values in reviewed.items()}
    path.write_text(json.dumps(content))
    more = {name: Attribute("str", name) for name in reviewed}
    path.with_suffix(".qml").write_text(qml("detections", layers.ATTRIBUTES | more), encoding="utf-8")
    (layer,), colors = qgis([path], scene, [(40, CHIP + 40), (SIDE - 40, 40)], look="styled")
    style = layer["style"]
    assert style["widgets"]["review"] == "ValueMap"
    values = [value for choice in style["choices"]["review"] for value in choice.values()]
    assert values == ["unreviewed", "mine", "not_mine"]
    assert "new, 3.5 ha gained" in style["tips"][0]
    assert "First seen: 2026-01-02" in style["tips"][0]
    assert "Review: not_mine" in style["tips"][1]
    assert ' || if("gained_ha" > 0' in style["labels"]
    assert colors[0] != colors[1], "what is no mine is faint"


# Three pixels of the picture for one of the scene's: at one for one QGIS may show a neighbour.
@pytest.mark.parametrize("side", [3 * SIDE, SIDE // 4])
def test_the_dehazed_scene_is_shown_and_its_nodata_is_not(qgis, scene, tmp_path, side):
    out = tmp_path / "dehazed.tif"
    dehaze_scene(scene, VISUAL, DarkLevel(), out)
    nodata = [(2, 2), (100, 50), (190, 90)]
    ground = [(210, 50), (100, 110), (700, 700), (400, 400)]
    (layer,), colors = qgis([out], scene, nodata + ground, side)
    assert layer["valid"]
    assert layer["crs"] == "EPSG:32721"
    assert layer["extent"] == pytest.approx(bounds(scene), abs=1e-6)
    assert layer["renderer"] == "multibandcolor"
    assert layer["pyramids"] == [[384, 384]]
    assert colors[:3] == [MAGENTA] * 3
    assert all(max(color) < 90 for color in colors[3:])
    assert max(colors[-1]) < 5, "black ground is no nodata"
    if side > SIDE:
        with rasterio.open(out) as dataset:
            pixels = dataset.read()
        assert colors[3:] == [pixels[:, row, col].tolist() for row, col in ground]
