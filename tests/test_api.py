"""The Python API: lazy, and with the same results as the command line and the scan."""

import inspect
import json
import os
import re
import subprocess
import sys
from dataclasses import fields
from functools import partial
from pathlib import Path

import fakes
import geopandas
import geopandas.testing
import numpy as np
import pytest
import rasterio.windows
from click.testing import CliRunner
from scans import CHIP, blocks, break_block, reseal

import geoscan
from geoscan import layers
from geoscan.cli import main
from geoscan.cli.scan import scan as scan_command
from geoscan.dehazed_scene import WINDOW
from geoscan.errors import InputError, PackageError, SceneError
from geoscan.labels import LABELS, MINE
from geoscan.model import package as packages
from geoscan.model import runtime
from geoscan.polygons import Hysteresis
from geoscan.scanning.options import ScanOptions
from geoscan.scanning.plan import Plan
from geoscan.scanning.run import scan
from geoscan.scene import Scene

MEASURED = {"seconds", "chips_per_second", "stage_seconds", "peak_rss_mb"}


@pytest.fixture
def package(make_package, monkeypatch):
    """A model of 32 px chips at 3.7 m that finds what is bright."""
    monkeypatch.setattr("geoscan.scanning.run.detector", fakes.bright)
    return make_package(chip=CHIP)


def elsewhere(code):
    """What code prints in another process."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_importing_it_imports_nothing_heavy():
    heavy = ("tensorflow", "keras", "rasterio", "dask", "distributed", "cv2", "numpy", "pandas", "shapely", "tqdm")
    printed = elsewhere(f"import sys, geoscan; print(geoscan.__version__, sorted(set(sys.modules) & set({heavy!r})))")
    assert printed == f"{geoscan.__version__} []\n"
    printed = elsewhere("import sys, geoscan; geoscan.open_scene, geoscan.scan; print('tensorflow' in sys.modules)")
    assert printed == "False\n"


def test_every_public_name_is_there_and_documented():
    for name in set(geoscan.__all__) - {"__version__"}:
        assert getattr(geoscan, name).__doc__
    assert set(geoscan.__all__) <= set(dir(geoscan))
    with pytest.raises(AttributeError, match="module 'geoscan' has no attribute 'scann'"):
        geoscan.scann  # noqa: B018  what is tested is the access


def test_the_help_of_scan_names_each_option_and_nothing_that_is_not_handed_out():
    told = inspect.getdoc(geoscan.scan)
    for name in inspect.signature(geoscan.scan).parameters:
        assert re.search(rf"\b{name}\b", told)
    for what in (geoscan.scan, geoscan.open_scene, geoscan.dehaze, geoscan.load_model, geoscan.Model.predict):
        assert "ScanOptions" not in inspect.getdoc(what)


USER = """
from numpy.typing import NDArray
import numpy as np
import geoscan


def mines(path: str, bands: list[int]) -> int:
    scene = geoscan.open_scene(path, bands)
    chips = [scene.read(geoscan.Window(0, 0, 256, 256))[0]]
    clear: NDArray[np.uint8] = geoscan.dehaze(np.zeros((3, 9, 9), np.uint8))
    scores = geoscan.load_model("planet").predict([*chips, clear])
    return len(geoscan.scan([path], bands=bands, scale=[1e-4] * 3)) + len(scores)
"""


@pytest.mark.large
def test_a_users_file_is_checked_by_its_types(tmp_path):
    wrong = ('geoscan.scna("scene.tif")', "from geoscan import open_scenes")
    (tmp_path / "user.py").write_text("\n".join((USER, *wrong, "")))
    words = [sys.executable, "-m", "mypy", "--strict", "--follow-imports", "silent", "user.py"]
    home = Path(geoscan.__file__).parents[1]
    # mypy refuses to be told where installed packages lie; it finds them, but no editable ones.
    where = dict(os.environ) if home.name == "site-packages" else {**os.environ, "MYPYPATH": str(home)}
    told = subprocess.run(words, cwd=tmp_path, env=where, capture_output=True, text=True, check=False)
    assert told.stderr == ""
    scna, scenes, _ = told.stdout.splitlines()
    assert 'error: Module has no attribute "scna"' in scna
    assert 'error: Module "geoscan" has no attribute "open_scenes"' in scenes


def test_a_window_of_rasterios_is_told_from_a_scenes(make_scene):
    scene = geoscan.open_scene(make_scene())
    with pytest.raises(
        InputError, match=r"Window\(col_off=0, .* is no window of a scene; give geoscan\.Window\(row, col"
    ):
        scene.read(rasterio.windows.Window(0, 0, 32, 48))
    assert scene.read(geoscan.Window(0, 0, 48, 32))[0].shape == (3, 48, 32)


def test_scan_has_the_options_of_the_command():
    asked = {field.name for field in fields(ScanOptions)}
    assert set(inspect.signature(geoscan.scan).parameters) == asked | {
        "scenes",
        "since",
        "jobs",
        "scheduler",
        "progress",
    }
    command = {parameter.name for parameter in scan_command.params}
    assert command == asked | {
        *("scenes", "since", "jobs", "scheduler", "journal", "fresh", "as_json", "progress"),
        *("out", "obscured", "heatmap", "report"),
        "quiet",
        "verbose",
    }


def test_every_option_of_a_scan_is_heeded(make_scene, package, monkeypatch):
    asked = ScanOptions(
        model=package.path,
        bands=(3, 2, 1),
        stride=16,
        scale=(1e-4,) * 3,
        offset=(-0.1,) * 3,
        stretch="visual",
        tta=True,
        operate="strict",
        high=0.5,
        low=0.4,
        isolated=0.6,
        outline="chip",
        prior=0.1,
        force=True,
        follow=True,
        batch=3,
        runtime="tensorflow",
    )
    plain = ScanOptions()
    assert all(getattr(asked, one.name) != getattr(plain, one.name) for one in fields(ScanOptions))
    heeded = []

    def plan(scenes, options):
        heeded.append(options)
        raise InputError("enough")

    monkeypatch.setattr("geoscan.api.plan_scenes", plan)
    with pytest.raises(InputError, match="enough"):
        geoscan.scan(make_scene(), **{one.name: getattr(asked, one.name) for one in fields(ScanOptions)})
    assert heeded == [asked]


@pytest.mark.parametrize("jobs", [0, 2])
def test_scan_finds_what_the_command_finds(make_scene, package, tmp_path, jobs):
    paths = [make_scene(pixels=blocks()), make_scene(pixels=blocks(seed=1), name="other.tif")]
    out = tmp_path / "mines.parquet"
    words = [*map(str, paths), "--out", str(out), "--model", str(package.path), "--json", "--high", "0.7", "-q"]
    printed = json.loads(CliRunner().invoke(main, words).stdout)
    found = geoscan.scan(paths, model=package.path, high=0.7, jobs=jobs, progress=False)
    layer = geopandas.read_parquet(out)
    assert len(found) > 1
    geopandas.testing.assert_geodataframe_equal(found, layer)
    figures = json.loads(json.dumps(found.attrs["geoscan"]))
    assert list(figures) == list(printed)
    assert [figures[key] for key in figures if key not in {*MEASURED, "scenes"}] == [
        printed[key] for key in printed if key not in {*MEASURED, "scenes"}
    ]
    assert figures["model"] == "fake"


def test_scan_compares_with_an_earlier_layer(make_scene, package, tmp_path):
    path, old = make_scene(pixels=blocks()), tmp_path / "old.gpkg"
    how = {"model": package.path, "jobs": 0, "progress": False}
    first = geoscan.scan(path, **how)
    first.iloc[:2].to_file(old)
    told = geoscan.scan(path, **how, since=old)
    assert told["status"].tolist() == ["known"] * 2 + ["new"] * (len(first) - 2)
    assert told.attrs["geoscan"]["changes"]["known"] == 2
    assert first["status"].isna().all()
    with pytest.raises(InputError, match=r"none\.gpkg is missing"):
        geoscan.scan(path, **how, since=tmp_path / "none.gpkg")


def test_scan_takes_an_operating_point(make_scene, package, make_package):
    pointed = make_package("pointed", chip=CHIP, strict=Hysteresis(0.95, 0.5, 0.95))
    search = partial(geoscan.scan, make_scene(pixels=blocks()), model=pointed.path, jobs=0, progress=False)
    found, strict = search(), search(operate="strict")
    assert set(found["operate"]) == {"balanced"}
    assert set(strict["operate"]) == {strict.attrs["geoscan"]["operate"]} == {"strict"}
    assert 0 < strict.attrs["geoscan"]["flagged"] < found.attrs["geoscan"]["flagged"]
    with pytest.raises(InputError, match="no operating point is called 'Strict'"):
        search(operate="Strict")
    with pytest.raises(PackageError, match="no operating point sensitive, only balanced, strict"):
        search(operate="sensitive")


def test_scan_takes_a_path_an_open_scene_or_a_directory(make_scene, package):
    path = make_scene(pixels=blocks())
    search = partial(geoscan.scan, model=str(package.path), jobs=0, progress=False)
    found = search(str(path))
    assert list(found.columns) == [*layers.ATTRIBUTES, "geometry"]
    assert found.crs.to_epsg() == 4326
    assert found.attrs["geoscan"]["scene"] == "scene.tif"
    for other in (path, geoscan.open_scene(path), [path], path.parent):
        geopandas.testing.assert_geodataframe_equal(search(other), found)


def test_numbers_may_be_of_any_type_and_a_model_may_be_loaded(make_scene, package):
    path = make_scene(pixels=blocks())
    found = geoscan.scan(path, model=package.path, stride=16, high=0.75, jobs=0, progress=False)
    numbers = {"stride": np.uint8(16), "high": np.float32(0.75), "jobs": np.int64(0), "bands": np.array([1, 2, 3])}
    again = geoscan.scan(path, model=geoscan.load_model(package.path), stretch=None, **numbers, progress=False)
    geopandas.testing.assert_geodataframe_equal(again, found)
    assert found.attrs["geoscan"]["operate"] == "custom"


def test_a_loaded_model_is_the_same_one_from_elsewhere(make_scene, make_package, package, monkeypatch):
    scene = geoscan.open_scene(make_scene(pixels=blocks()))
    other = make_package("there/fake", chip=CHIP, strict=Hysteresis(0.95, 0.5, 0.95))
    monkeypatch.chdir(package.path.parent)
    model = geoscan.load_model(f"./{package.path.name}")
    monkeypatch.chdir(other.path.parent)
    assert model.path == package.path
    found = geoscan.scan(scene, model=model, jobs=0, progress=False)
    assert found.attrs["geoscan"]["digest"] == model.card.digest


def test_a_model_that_was_replaced_since_it_was_loaded_is_not_scanned_with(make_scene, package, monkeypatch):
    monkeypatch.setattr("geoscan.scanning.run.detector", runtime.detector)
    model = geoscan.load_model(package.path)
    reseal(package.path, tta=True)
    with pytest.raises(PackageError, match=r"was replaced while it was in use .*; run again, or load the model"):
        geoscan.scan(make_scene(pixels=blocks()), model=model, force=True, jobs=0, progress=False)


def test_a_scene_without_mines_is_a_table_without_rows(make_scene, package):
    found = geoscan.scan(make_scene(pixels=np.full((3, 64, 64), 20)), model=package.path, jobs=0, progress=False)
    assert len(found) == 0
    assert list(found.columns) == [*layers.ATTRIBUTES, "geometry"]
    assert found.attrs["geoscan"]["chips"] == 4


def test_chips_that_cannot_be_read_are_warned_of(make_scene, package):
    storage = {"tiled": True, "blockxsize": CHIP, "blockysize": CHIP, "compress": "deflate"}
    broken = break_block(make_scene(pixels=blocks(), **storage), 1, 1)
    with pytest.warns(
        UserWarning, match="1 of 42 chips could not be read, such as: scene.tif cannot be read at row 32"
    ):
        found = geoscan.scan(broken, model=package.path, jobs=0, progress=False)
    assert found.attrs["geoscan"]["failed"] == 1
    assert len(found)


@pytest.mark.parametrize(("progress", "shown"), [(True, "scene.tif: 100%"), (False, "")])
def test_progress_is_shown_unless_it_is_unwanted(make_scene, package, capsys, progress, shown):
    geoscan.scan(make_scene(pixels=blocks()), model=package.path, jobs=0, progress=progress)
    told = capsys.readouterr()
    assert told.out == ""
    assert shown in told.err
    assert bool(told.err) is progress


def test_what_cannot_be_scanned_is_refused(make_scene, package):
    search = partial(geoscan.scan, model=package.path, jobs=0, progress=False)
    with pytest.raises(SceneError, match="does not exist"):
        search("missing.tif")
    with pytest.raises(InputError, match=r"--low 0\.9 is above --high 0\.5"):
        search(make_scene(), low=0.9)
    for how, message in (
        ({"tta": "no"}, "tta 'no' does not fit; give True, False"),
        ({"jobs": -1}, "jobs -1 does not fit; give 0 or more"),
        ({"scale": (1e-4, 1e-4)}, r"scale \(0.0001, 0.0001\) does not fit; give a number each for red, green and blue"),
        ({"offset": 0.1}, r"offset 0\.1 does not fit"),
        ({"jobs": 1.5}, r"jobs 1\.5 does not fit; give a whole number"),
        ({"jobs": "2"}, "jobs '2' does not fit"),
        ({"batch": 2.5}, r"batch 2\.5 does not fit; give a whole number"),
        ({"stride": 16.0}, r"stride 16\.0 does not fit; give a whole number"),
        ({"bands": (1.0, 2.0, 3.0)}, r"bands \(1\.0, 2\.0, 3\.0\) do not fit; give the numbers of red, green and blue"),
        ({"bands": "321"}, "bands '321' do not fit"),
        ({"high": "much"}, "high 'much' does not fit; give a number"),
        ({"prior": [0.1]}, r"prior \[0\.1\] does not fit; give a number"),
        ({"stretch": 5}, "stretch 5 does not fit; give a name"),
        ({"model": None}, "a model is no NoneType; give the name of a shipped one"),
        ({"since": geopandas.GeoDataFrame()}, "an earlier layer is no GeoDataFrame; give the path of a file"),
    ):
        with pytest.raises(InputError, match=message):
            search(make_scene(), **how)
    opened = geoscan.open_scene(make_scene())
    for how in ({"bands": (3, 2, 1)}, {"follow": True}):
        for scenes in (opened, ["other.tif", opened]):
            with pytest.raises(
                InputError, match=f"`{next(iter(how))}` does not go with a scene that is open; leave it"
            ):
                search(scenes, **how)
    for scenes in (None, 5, b"scene.tif", np.zeros((3, 64, 64)), [np.zeros((3, 64, 64))]):
        with pytest.raises(InputError, match=r"a scene is no \w+; give a path, a URL, or a scene from `open_scene`"):
            search(scenes)
    with rasterio.open(make_scene()) as dataset:
        for call in (search, geoscan.open_scene, lambda scene: geoscan.dehaze(scene, "clear.tif")):
            with pytest.raises(InputError, match="is no DatasetReader; give"):
                call(dataset)
    with pytest.raises(InputError, match="prior 0 does not fit"):
        search(make_scene(), prior=0)
    with pytest.raises(PackageError, match="no model is called 'plant'"):
        geoscan.scan(make_scene(), model="plant")


@pytest.fixture
def hazy(make_scene):
    """A scene with haze that grows to the right, and a corner of nodata."""
    pixels = np.random.default_rng(0).integers(5, 120, (3, 200, 300)) * np.linspace(1, 0.4, 300)
    pixels += np.linspace(0, 130, 300)
    pixels[:, :40, :60] = 0
    return make_scene(pixels=pixels, nodata=0)


@pytest.mark.parametrize("airlight", ["scene", "fixed"])
def test_an_array_is_dehazed_as_the_scene_that_holds_it(hazy, tmp_path, airlight):
    out = tmp_path / "clear.tif"
    written = geoscan.dehaze(hazy, out, airlight=airlight, jobs=0, progress=False)
    assert (written.path, written.rows, written.cols) == (out, 200, 300)
    scene = geoscan.open_scene(hazy)
    pixels, valid = scene.overview()
    window = 2 * round(WINDOW / 2 / max(scene.gsd))
    clear = geoscan.dehaze(pixels, valid=valid, airlight=airlight, window=window)
    with rasterio.open(out) as dataset:
        np.testing.assert_array_equal(np.where(valid, clear, 0), dataset.read())
    assert clear.dtype == np.uint8
    assert clear[:, :, 250:].mean() < pixels[:, :, 250:].mean() - 8
    geoscan.dehaze(scene, tmp_path / "again.tif", airlight=airlight, jobs=2, progress=False)
    assert (tmp_path / "again.tif").read_bytes() == out.read_bytes()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_floats_come_back_as_floats_and_what_is_not_finite_as_it_was(dtype):
    pixels = np.random.default_rng(0).integers(0, 255, (3, 40, 50), np.uint8)
    floats = pixels.astype(dtype) / np.array(255, dtype)
    clear = geoscan.dehaze(floats)
    assert clear.dtype == dtype
    np.testing.assert_allclose(clear * 255, geoscan.dehaze(pixels), atol=0.51)
    floats[1, 3, 4] = np.nan
    clear = geoscan.dehaze(floats, omega=0.5)
    np.testing.assert_array_equal(clear[:, 3, 4], floats[:, 3, 4])
    assert np.isfinite(clear).sum() == floats.size - 1


@pytest.mark.parametrize(
    ("what", "how", "message"),
    [
        (np.zeros((40, 50, 3), np.uint8), {}, r"shape \(40, 50, 3\) and type uint8 do not fit; give \(3, rows, cols\)"),
        (np.zeros((3, 4, 5), np.uint16), {}, "type uint16 do not fit"),
        (np.full((3, 4, 5), 2.5), {}, r"floats from 2\.5 to 2\.5 do not fit; bring them to 0\.\.1"),
        (np.zeros((3, 4, 5), np.uint8), {"valid": np.ones((5, 4), bool)}, r"a mask of shape \(5, 4\) does not fit"),
        (np.zeros((3, 4, 5), np.uint8), {"valid": 1}, r"a mask of shape \(\) does not fit"),
        (np.zeros((3, 2, 2), np.uint8), {"valid": [[1, 1], [1]]}, r"`valid` is no array .*; give a mask of shape \(2"),
        (np.zeros((3, 4, 5), np.uint8), {"out": "clear.tif"}, "`out` does not go with an array"),
        (np.zeros((3, 4, 5), np.uint8), {"bands": (3, 2, 1)}, "`bands` does not go with an array; leave it out"),
        (np.zeros((3, 4, 5), np.uint8), {"stretch": "visual"}, "`stretch` does not go with an array"),
        (np.zeros((3, 4, 5), np.uint8), {"jobs": 0}, "`jobs` does not go with an array"),
        (np.full((3, 4, 5), -0.01), {}, r"floats from -0\.01 to -0\.01 do not fit"),
        ("scene.tif", {"out": "clear.tif", "valid": np.ones((4, 5), bool)}, "`valid` does not go with a scene"),
        ("scene.tif", {"out": "clear.tif", "window": 256}, "`window` does not go with a scene"),
        ("scene.tif", {"out": "clear.tif", "jobs": -1}, "jobs -1 does not fit; give 0 or more"),
        ("scene.tif", {}, r"pass out='dehazed\.tif'"),
        (np.zeros((3, 4, 5), np.uint8), {"omega": 2}, "omega 2 does not fit"),
        (np.zeros((3, 4, 5), np.uint8), {"omega": "much"}, "omega 'much' does not fit; give a number"),
        (np.zeros((3, 4, 5), np.uint8), {"window": 64.5}, r"window 64\.5 does not fit; give a whole number"),
        ([[[0]]] * 3, {}, r"what is dehazed is no list; give a NumPy array, \(3, rows, cols\), or a path"),
        ("scene.tif", {"out": 5}, "what is written is no int; give the path of a GeoTIFF"),
    ],
)
def test_what_cannot_be_dehazed_is_refused(what, how, message):
    with pytest.raises(InputError, match=message):
        geoscan.dehaze(what, **how)


def test_a_scene_is_dehazed_as_its_values_are_said_to_be(make_scene, tmp_path):
    path = make_scene((3, 300, 300), dtype="uint16")
    with pytest.raises(InputError, match="`bands` does not go with a scene that is open; leave it out"):
        geoscan.dehaze(geoscan.open_scene(path), tmp_path / "clear.tif", bands=(3, 2, 1))
    how = {"scale": (1e-4, 1e-4, 1e-4), "offset": (-0.01, 0, 0)}
    geoscan.dehaze(path, tmp_path / "clear.tif", **how, stretch="sentinel2-l1c", jobs=0, progress=False)
    words = "--scale 0.0001,0.0001,0.0001 --offset -0.01,0,0 --stretch sentinel2-l1c --jobs 0 -q"
    told = CliRunner().invoke(main, ["dehaze", str(path), "--out", str(tmp_path / "said.tif"), *words.split()])
    assert told.exit_code == 0, told.output
    with rasterio.open(tmp_path / "clear.tif") as one, rasterio.open(tmp_path / "said.tif") as other:
        np.testing.assert_array_equal(one.read(), other.read())


def patchy():
    """Pixels, and where they are valid."""
    rng = np.random.default_rng(0)
    return rng.integers(60, 255, (3, 40, 50), np.uint8), rng.random((40, 50)) < 0.7


@pytest.mark.parametrize(
    "alike",
    [
        lambda valid: valid.astype(np.uint8),
        lambda valid: valid.astype(np.uint8) * np.uint8(2),
        lambda valid: valid.astype(np.uint8) * np.uint8(255),
        lambda valid: valid.astype(np.int64),
        lambda valid: valid.astype(float),
        lambda valid: np.where(valid, 1.0, np.nan),
        lambda valid: np.ma.array(np.ones_like(valid), mask=~valid),
        lambda valid: valid.tolist(),
    ],
    ids=["0/1", "0/2", "0/255", "int64", "float", "nan", "masked", "list"],
)
def test_a_mask_may_be_of_any_type(alike):
    pixels, valid = patchy()
    clear = geoscan.dehaze(pixels, valid=valid)
    assert (clear != pixels).any()
    np.testing.assert_array_equal(geoscan.dehaze(pixels, valid=alike(valid)), clear)


def test_the_mask_of_a_masked_array_is_heeded():
    pixels, valid = patchy()
    masked = np.ma.array(pixels, mask=np.zeros(pixels.shape, bool))
    masked[1, ~valid] = np.ma.masked
    clear = geoscan.dehaze(masked)
    np.testing.assert_array_equal(clear.data, geoscan.dehaze(pixels, valid=valid))
    np.testing.assert_array_equal(clear.mask, masked.mask)
    both = valid & (np.arange(50) < 30)
    narrowed = geoscan.dehaze(masked, valid=np.arange(50) < np.full((40, 1), 30))
    np.testing.assert_array_equal(narrowed.data, geoscan.dehaze(pixels, valid=both))


def chips_of(path, package):
    """The chips of a scene as `predict` takes them, and what a scan scores them."""
    plan = Plan.of(Scene.open(path), package)
    return np.stack([plan.scene.read(tile.read)[0] for tile in plan.grid]), scan(plan).scores


def test_predict_gives_what_a_scan_gives(make_scene, tiny_package):
    pixels = np.random.default_rng(0).integers(1, 255, (3, 3 * 256, 6 * 256)).astype(np.uint8)
    chips, scores = chips_of(make_scene(pixels=pixels), tiny_package)
    assert len(chips) == 18
    model = geoscan.load_model(tiny_package.path)
    table = model.predict(chips)
    assert list(table.columns) == list(model.card.labels) == list(LABELS)
    assert (table.dtypes == "float32").all()
    np.testing.assert_allclose(table, scores, atol=1e-5)
    np.testing.assert_allclose(model.predict(list(chips[:2])), table[:2], atol=1e-5)
    np.testing.assert_allclose(model.predict(chips[:2], runtime="tensorflow"), table[:2], atol=1e-4)
    with pytest.raises(InputError, match="no runtime is called 'torch'"):
        model.predict(chips, runtime="torch")
    assert model.predict([]).shape == (0, len(LABELS))


def test_predict_takes_what_is_masked_for_nodata_as_a_scan_does(make_scene, package):
    mask = np.ones((64, 96), bool)
    mask[:40, :50] = False
    path = make_scene(pixels=np.random.default_rng(0).integers(1, 255, (3, 64, 96)), mask=mask)
    plan = Plan.of(Scene.open(path), package)
    pairs = [plan.scene.read(tile.read) for tile in plan.grid]
    chips = np.ma.array([pixels for pixels, _ in pairs], mask=[np.stack([~valid] * 3) for _, valid in pairs])
    model, seen = geoscan.load_model(package.path), np.array([valid.any() for _, valid in pairs])
    table = model.predict(chips[seen])
    np.testing.assert_array_equal(table[MINE], scan(plan).scores[seen, LABELS.index(MINE)])
    assert (table != model.predict(chips[seen].data)).any(axis=None)
    np.testing.assert_array_equal(model.predict(chip for chip in chips[seen]), table)
    with pytest.raises(InputError, match=f"chip {seen.argmin()} is masked everywhere; leave it out"):
        model.predict(chips)
    with pytest.raises(InputError, match="chips are no int; give"):
        model.predict(3)


def test_predict_averages_when_the_card_says_so(make_scene, package, monkeypatch):
    monkeypatch.setattr("geoscan.scanning.run.detector", partial(fakes.made, fakes.CornerIsPositive))
    reseal(package.path, tta=True)
    chips, scores = chips_of(make_scene((3, 64, 96)), packages.load(package.path))
    averaged = geoscan.load_model(str(package.path)).predict(chips)[MINE]
    np.testing.assert_array_equal(averaged, scores[:, LABELS.index(MINE)])
    monkeypatch.setattr("geoscan.scanning.run.detector", partial(fakes.made, fakes.InForest))
    other = geoscan.load_model(str(package.path)).predict(chips)
    np.testing.assert_array_equal(other[MINE], averaged, err_msg="what else is seen makes no other mine")
    assert (other["primary"] > 0.8).all()
    assert (np.abs(averaged - chips[:, :, 0, 0].mean(axis=1) / 255) > 0.01).any()


@pytest.mark.parametrize(
    "chips",
    [np.zeros((2, 32, 32, 3), np.uint8), np.zeros((3, 32, 32), np.uint8), np.zeros((1, 3, 31, 32), np.uint8),
     [np.zeros((3, 32, 32), np.uint16)]],
)  # fmt: skip
def test_chips_of_another_size_or_type_are_refused(package, chips):
    with pytest.raises(InputError, match=r"chip 0 has shape .* and type .*; fake takes \(3, 32, 32\), uint8, at 3.7 m"):
        geoscan.load_model(package.path).predict(chips)


def test_a_model_tells_what_it_is(package):
    assert repr(geoscan.load_model(package.path)).startswith("<geoscan model fake: 32 px chips at 3.7 m, 17 labels, ")
    with pytest.raises(PackageError, match="no model is called 'plant'; shipped: "):
        geoscan.load_model("plant")
