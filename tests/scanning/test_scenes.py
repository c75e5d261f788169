"""Many scenes: which are scanned, with which model, under which names, and their figures together."""

import json
import shutil
from dataclasses import fields, replace

import fakes
import numpy as np
import pytest
import rasterio.shutil
from affine import Affine
from click.testing import CliRunner
from conftest import CORNER
from scans import CHIP, GSD, blocks

from geoscan.cli import main
from geoscan.errors import InputError, PackageError, ResolutionError, SceneError
from geoscan.model.package import Package
from geoscan.polygons import Detection, Hysteresis
from geoscan.scanning.options import ScanOptions
from geoscan.scanning.result import found_in, total
from geoscan.scanning.scenes import plan_scenes, scan_scenes
from geoscan.scanning.summary import Summary
from geoscan.scene import Scene


@pytest.fixture
def package(make_package, monkeypatch) -> Package:
    """A model of 32 px chips that finds what is bright."""
    monkeypatch.setattr("geoscan.scanning.run.detector", fakes.bright)
    return make_package(chip=CHIP)


@pytest.fixture
def options(package) -> ScanOptions:
    return ScanOptions(model=package.path)


def test_what_a_directory_happens_to_hold_is_left_out(make_scene, tmp_path, options, caplog):
    (tmp_path / "folder").mkdir()
    make_scene(pixels=blocks(), name="folder/good.tif")
    bad = make_scene(pixels=blocks(), name="folder/nowhere.tif", crs=None)
    plans, left_out = plan_scenes([tmp_path / "folder"], options)
    assert ([plan.name for plan in plans], left_out) == (["good.tif"], 1)
    assert "left out: nowhere.tif has no CRS" in caplog.text
    with pytest.raises(SceneError, match="has no CRS"):
        plan_scenes([tmp_path / "folder", bad], options)
    (tmp_path / "folder/good.tif").unlink()
    with pytest.raises(InputError, match="none of the 1 rasters"):
        plan_scenes([tmp_path / "folder"], options)


def test_what_is_passed_over_is_said_once(make_scene, tmp_path, options, caplog):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "other.pix").touch()
        make_scene(pixels=blocks(), name=f"{name}/good.tif")
    plan_scenes([tmp_path / "one", tmp_path / "two"], options, broken=lambda *_: None)
    said = [text for text in caplog.messages if text.startswith("passed over")]
    assert said == [f"passed over in {tmp_path / n}: other.pix; name them to scan them" for n in ("one", "two")]


def test_pictures_that_geoscan_made_are_no_scenes(make_scene, tmp_path, options, package, caplog):
    (tmp_path / "folder").mkdir()
    scene = make_scene(pixels=blocks(), name="folder/good.tif")
    clear, heat = (tmp_path / "folder" / name for name in ("clear.tif", "heat.tif"))
    for words in (["dehaze", scene, "--out", clear], [scene, "--heatmap", heat, "--json", "--model", package.path]):
        assert CliRunner().invoke(main, [*map(str, words)], prog_name="geoscan").exit_code == 0
    caplog.set_level("INFO")
    plans, left_out = plan_scenes([tmp_path / "folder"], options)
    assert ([plan.name for plan in plans], left_out) == (["good.tif"], 0)
    for made in (clear, heat):
        assert f"passed over: {made.name} is a picture that geoscan made" in caplog.text
        with pytest.raises(SceneError, match="give the scene that it was made of"):
            plan_scenes([made], options)


def test_scenes_are_named_so_that_folders_tell_them_apart(make_scene, tmp_path, options):
    for folder in ("may", "june"):
        (tmp_path / folder).mkdir()
    first = make_scene(pixels=blocks(), name="may/visual.tif")
    second = Scene.open(shutil.copy(first, tmp_path / "june"))
    plans, _ = plan_scenes([first, second], options)
    assert [plan.name for plan in plans] == ["may/visual.tif", "june/visual.tif"]
    (alone,), _ = plan_scenes([second], options)
    assert alone.name == "visual.tif"


def test_a_scene_that_is_open_keeps_its_bands(make_scene, options):
    path = make_scene(pixels=blocks())
    (plan,), _ = plan_scenes([Scene.open(path, bands=(3, 2, 1))], options)
    assert plan.scene.bands == (3, 2, 1)
    (plan,), _ = plan_scenes([path], replace(options, bands=(2, 3, 1)))
    assert plan.scene.bands == (2, 3, 1)


def test_a_scene_that_is_open_stands_for_its_file(make_scene, options, monkeypatch):
    path = make_scene(pixels=blocks())
    monkeypatch.chdir(path.parent)
    opened = Scene.open(path, bands=(3, 2, 1))
    for given in (
        [opened, path.name],
        [path.name, opened],
        [path.parent, opened],
        [opened, Scene.open(path.name, bands=(3, 2, 1))],
    ):
        (plan,), _ = plan_scenes(given, options)
        assert plan.scene.bands == (3, 2, 1)
    for other in (Scene.open(path), opened.at_gsd(10)):
        with pytest.raises(InputError, match=r"scene\.tif was opened in two ways, and is scanned once"):
            plan_scenes([opened, other], options)


def test_two_of_a_scene_whose_nodata_is_nan_are_one(make_scene, options):
    path = make_scene(pixels=blocks(), dtype="float32", nodata=float("nan"))
    plans, _ = plan_scenes([Scene.open(path), Scene.open(path)], replace(options, stretch="percentile:2,98"))
    assert len(plans) == 1


def test_parts_of_one_scene_are_found_from_elsewhere(make_scene, tmp_path, options, monkeypatch):
    make_scene(pixels=blocks(), name="left.tif")
    make_scene(pixels=blocks(seed=1), name="right.tif", transform=east(7 * CHIP * GSD))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    (plan,), _ = plan_scenes(["left.tif", "right.tif"], options)
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert plan.scene.overview()[1].all()


def test_each_scene_gets_the_shipped_model_nearest_its_resolution(make_scene, make_package, monkeypatch):
    ours = [make_package("planet", gsd=3.4, chip=32), make_package("sentinel", gsd=10, chip=32)]
    monkeypatch.setattr("geoscan.scanning.scenes.shipped", lambda: ours)
    paths = [make_scene(gsd=gsd, name=f"{gsd}.tif") for gsd in (3, 5, 8, 12)]
    plans, _ = plan_scenes(paths)
    assert [plan.package.card.name for plan in plans] == ["planet", "planet", "sentinel", "sentinel"]
    with pytest.raises(ResolutionError, match=r"shipped models: planet 3.4 m, sentinel 10 m; give a scene of their"):
        plan_scenes([make_scene(gsd=300)])


def test_a_damaged_shipped_model_is_no_obstacle_to_another(make_scene, options, monkeypatch):
    def shipped():
        raise PackageError("models/planet: card and weights do not fit together")

    monkeypatch.setattr("geoscan.scanning.scenes.shipped", shipped)
    with pytest.raises(PackageError, match="do not fit together"):
        plan_scenes([make_scene()])
    plans, _ = plan_scenes([make_scene()], options)
    assert len(plans) == 1
    with pytest.raises(ResolutionError, match="shipped models: none; give"):
        plan_scenes([make_scene(gsd=300)], options)


OWN = Hysteresis(high=0.5, low=0.4, isolated=0.6)


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ({}, OWN),
        ({"high": 0.2}, Hysteresis(0.2, 0.2, 0.6)),
        ({"high": 0.8}, Hysteresis(0.8, 0.4, 0.8)),
        ({"low": 0.1, "isolated": 0.5}, Hysteresis(0.5, 0.1, 0.5)),
        ({"high": 0.7, "low": 0.3, "isolated": 0.95}, Hysteresis(0.7, 0.3, 0.95)),
    ],
)
def test_a_threshold_that_is_asked_for_moves_those_it_contradicts(asked, wanted):
    assert ScanOptions(**asked).thresholds(OWN) == wanted


def test_options_that_fit_no_scene_are_refused():
    with pytest.raises(InputError, match="no operating point is called 'lax'; choose one of sensitive, balanced, st"):
        ScanOptions(operate="lax")
    for wrong in ({"prior": 0}, {"prior": 1}, {"batch": 0}):
        with pytest.raises(InputError, match=f"{next(iter(wrong))} . does not fit"):
            ScanOptions(**wrong)
    with pytest.raises(InputError, match=r"--low 0\.9 is above --high 0\.5"):
        ScanOptions(low=0.9).thresholds(OWN)


@pytest.mark.parametrize(("asked", "said"), [(None, 0), (False, 0), (True, 1)])
def test_scores_that_thresholds_do_not_fit_are_told_once_a_model(make_scene, options, caplog, asked, said):
    plans, _ = plan_scenes([make_scene(), make_scene(name="other.tif")], replace(options, tta=asked))
    assert [plan.tta for plan in plans] == [bool(asked)] * 2
    assert caplog.text.count("are for single scores: with --tta they fit less well") == said


def test_results_come_scene_by_scene(make_scene, options):
    scenes = [make_scene(pixels=blocks(seed=i), name=f"{i}.tif") for i in range(3)]
    plans, _ = plan_scenes(scenes, replace(options, batch=16))
    told = []
    results = scan_scenes(plans, begin=told.append, advance=told.append)
    for i in range(3):
        assert next(results).plan is plans[i]
        assert told[-1] == 42 % 16
        assert [one for one in told if isinstance(one, str)] == ["0.tif", "1.tif", "2.tif"][: i + 1]
    assert sum(one for one in told if isinstance(one, int)) == 3 * 42


def test_figures_of_several_scenes_are_sums_and_means_over_the_ground(make_scene, options):
    pixels = np.zeros((3, 40, 40))
    paths = [make_scene(pixels=blocks()), make_scene(pixels=pixels, nodata=0, name="other.tif", gsd=7.4)]
    plans, _ = plan_scenes(paths, options)
    results = list(scan_scenes(plans))
    assert total(results[:1], []) is results[0].summary
    figures = total(results, found_in(results))
    assert list(figures.to_dict()) == [field.name for field in fields(Summary) if field.name != "changes"]
    assert total(results, found_in(results), compared=True).to_dict()["changes"]["new"] == 0
    assert "scenes" not in results[0].summary.to_dict()
    assert (figures.scene, figures.model, figures.tta) == (["scene.tif", "other.tif"], "fake", False)
    assert (figures.chips, figures.skipped) == (
        42 + 9,
        9,
    )  # the second is refined to 81 x 81 px, for metres of UTM are longer here
    grounds = [6 * 7 * CHIP**2 * 3.7**2, 81 * 81 * 3.7**2]
    assert [plan.ground_m2 for plan in plans] == pytest.approx(grounds, rel=0.01)
    assert figures.observed_fraction == pytest.approx(grounds[0] / sum(grounds), rel=0.01)
    assert figures.area_ha == results[0].summary.area_ha > 0
    assert json.loads(json.dumps(figures.to_dict()))["scenes"][1]["skipped"] == 9


def test_what_differs_among_scenes_is_listed(make_scene, options, make_package):
    results = []
    for name in ("one", "two"):
        plans, _ = plan_scenes([make_scene()], replace(options, model=make_package(name, chip=CHIP).path))
        results += scan_scenes(plans)
    figures = total(results, found_in(results))
    assert figures.model == ["one", "two"]
    assert figures.digest == [result.plan.package.card.digest for result in results]


def east(metres: float) -> Affine:
    """Place a scene so far from where scenes are made."""
    return Affine(GSD, 0, CORNER[0] + metres, 0, -GSD, CORNER[1])


def lit(rows=128, cols=128) -> np.ndarray:
    """A dark scene in which the two middle columns of tiles of the middle row are bright."""
    pixels = np.full((3, rows, cols), 20)
    pixels[:, 32:64, 32:96] = 230
    return pixels


def scanned(paths, options) -> tuple[list[str], list[Detection]]:
    plans, _ = plan_scenes(paths, options)
    return [plan.name for plan in plans], found_in(list(scan_scenes(plans)))


def test_parts_of_one_scene_find_what_lies_on_their_border_once(make_scene, options):
    whole = make_scene(pixels=lit())
    _, expected = scanned([whole], options)
    parts = [
        make_scene(pixels=lit()[:, :, :64], name="scene_1.tif"),
        make_scene(pixels=lit()[:, :, 64:], name="scene_2.tif", transform=east(64 * GSD)),
    ]
    names, found = scanned(parts, options)
    assert len(names) == len(found) == len(expected) == 1
    assert found[0].n_chips == 2
    assert found[0].geometry.equals_exact(expected[0].geometry, 1e-9)


def test_tiles_and_the_mosaic_that_is_made_of_them_are_scanned_once(make_scene, options, tmp_path):
    (tmp_path / "twice").mkdir()
    tile = make_scene(pixels=lit(), name="twice/a.tif")
    rasterio.shutil.copy(tile, tmp_path / "twice" / "mosaic.vrt", driver="VRT")
    names, found = scanned([tmp_path / "twice"], options)
    assert len(names) == len(found) == 1


@pytest.mark.parametrize(("shift", "mines"), [(0, 1), (40, 1), (4000, 2)])
def test_scenes_that_overlap_or_meet_give_each_mine_once(make_scene, options, shift, mines):
    """Another grid, so that they are no parts of one scene."""
    paths = [make_scene(pixels=lit()), make_scene(pixels=lit(), name="b.tif", transform=east(shift + 0.5))]
    names, found = scanned(paths, options)
    assert names == ["scene.tif", "b.tif"]
    assert len(found) == mines
    if mines == 1:
        (one,) = found
        assert one.provenance.scene == "scene.tif, b.tif"
        assert one.n_chips == 2  # each scene has two, of the same ground
        wide = 64 * GSD + shift + 0.5
        assert one.area_ha == pytest.approx(wide * 32 * GSD / 1e4, rel=2e-3)


def test_several_scenes_and_a_directory_make_one_layer(make_scene, package, tmp_path):
    (tmp_path / "more").mkdir()
    make_scene(pixels=blocks(seed=1), name="more/b.tif", transform=east(10_000))
    make_scene(pixels=blocks(seed=2), name="more/a.tif", transform=east(20_000))
    make_scene(pixels=blocks(), name="more/far.tif", gsd=100)  # no scene for this model
    make_scene(shape=(1, 64, 64), name="more/grey.tif")
    named = make_scene(pixels=blocks(seed=4))
    out = tmp_path / "mines.geojson"
    words = [str(named), str(tmp_path / "more"), "--out", str(out), "--model", str(package.path), "--json"]
    result = CliRunner().invoke(main, [*words, "--jobs", "1"])
    assert result.exit_code == 1, result.stderr
    assert [line for line in result.stderr.splitlines() if line.startswith("warning: left out: far.tif has 100 m")]
    assert [line for line in result.stderr.splitlines() if line.startswith("warning: left out: grey.tif ")]
    figures = json.loads(result.stdout)
    assert figures["scene"] == ["scene.tif", "a.tif", "b.tif"]
    assert figures["chips"] == 3 * 42
    layer = json.loads(out.read_text())
    assert [one["scene"] for one in layer["geoscan"]["scenes"]] == figures["scene"]
    assert {one["properties"]["scene"] for one in layer["features"]} == set(figures["scene"])
    (tmp_path / "more/far.tif").unlink()
    (tmp_path / "more/grey.tif").unlink()
    assert CliRunner().invoke(main, [*words, "--jobs", "0"]).exit_code == 0
