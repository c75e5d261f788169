import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from conftest import write_scene

from geoscan.gdal import absolute, short_name, short_names, vsi_name
from geoscan.scene import Scene

CACHE = """
import sys
from threading import Thread
from rasterio.env import get_gdal_config
from geoscan.grid import Window
from geoscan.scene import Scene

scene = Scene.open(sys.argv[1])
reader = Thread(target=scene.read, args=[Window(0, 0, 8, 8)])
reader.start()
reader.join()
print(get_gdal_config("GDAL_CACHEMAX"))
"""


@pytest.mark.parametrize(("asked", "size"), [(None, 256 * 2**20), ("32", 32 * 2**20)])
def test_the_cache_of_blocks_is_limited_for_all_threads_and_the_user_has_the_last_word(make_scene, asked, size):
    environment = {**os.environ, **({"GDAL_CACHEMAX": asked} if asked else {})}
    if not asked:
        environment.pop("GDAL_CACHEMAX", None)
    command = [sys.executable, "-c", CACHE, str(make_scene())]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    told = int(run.stdout)
    assert told in (size, int(asked or 0))  # GDAL gives the user's setting back in the user's unit, megabytes


@pytest.mark.parametrize(
    ("addresses", "names"),
    [
        ([], []),
        (["x/a.tif", "x/b.tif"], ["a.tif", "b.tif"]),
        (["x/a.tif", "y/a.tif", "y/b.tif"], ["x/a.tif", "y/a.tif", "b.tif"]),
        (["p/x/a.tif", "q/x/a.tif", "q/z/a.tif"], ["p/x/a.tif", "q/x/a.tif", "z/a.tif"]),
        (["a.tif", "x/a.tif"], ["a.tif", "x/a.tif"]),
        (["s3://b/1/t.tif?key=1", "s3://b/2/t.tif?key=2"], ["1/t.tif", "2/t.tif"]),
        (["s3://b/t.tif?key=1", "s3://b/t.tif?key=2"], ["s3://b/t.tif", "s3://b/t.tif"]),
    ],
)
def test_short_names_tell_addresses_apart_and_no_secrets(addresses, names):
    assert short_names(addresses) == names


def test_a_short_name_is_the_last_part():
    names = {"/x/y.tif": "y.tif", "https://h/z.tif?token=secret": "z.tif", 'NETCDF:"/x/y.nc":red': "y.nc:red"}
    assert {one: short_name(one) for one in names} == names


NAMES = (
    "{}scene.tif",
    "file:{}scene.tif",
    "file://{}scene.tif",
    "GTIFF_DIR:1:{}scene.tif",
    "vrt://{}scene.tif?bands=1,2,3",
    "/vsisubfile/0_99999999,{}scene.tif",
    "/vsizip/{}scenes.zip/scene.tif",
    "/vsizip/{{{}scenes.zip}}/scene.tif",
    "zip://{}scenes.zip!scene.tif",
    "zip+file://{}scenes.zip!scene.tif",
    "vrt:///vsizip/{}scenes.zip/scene.tif?bands=1,2,3",
)


@pytest.mark.parametrize("name", NAMES)
def test_a_scene_by_whatever_name_is_found_from_elsewhere(tmp_path, monkeypatch, name):
    for folder, value in (("here", 10), ("there", 200)):
        (tmp_path / folder).mkdir()
        write_scene(tmp_path / folder / "scene.tif", pixels=np.full((3, 64, 80), value))
        with zipfile.ZipFile(tmp_path / folder / "scenes.zip", "w") as archive:
            archive.write(tmp_path / folder / "scene.tif", "scene.tif")
    (tmp_path / "here" / "1").write_text("a driver's number is no file")
    monkeypatch.chdir(tmp_path / "here")
    scene = Scene.open(name.format(""))
    assert scene.path == name.format(f"{tmp_path}/here/")
    assert "scene.tif" in scene.name
    assert "/" not in scene.name
    monkeypatch.chdir(tmp_path / "there")
    pixels, valid = scene.overview()
    assert valid.all()
    assert (pixels == 10).all()


@pytest.mark.parametrize(
    "name",
    [
        "gone.tif",
        "no:gone.tif",
        "/vsizip/gone.zip/a.tif",
        "s3://a.tif",
        "/vsicurl/a.tif",
        "/vsimem/a.tif",
        "<VRT>a.tif",
    ],
)
def test_what_names_no_file_here_stays_as_it_is(tmp_path, monkeypatch, name):
    (tmp_path / "a.tif").touch()
    monkeypatch.chdir(tmp_path)
    assert absolute(name) == name


@pytest.mark.parametrize("name", ["zip://scenes.zip!in/scene.tif", "zip://scenes.zip!/in/scene.tif"])
def test_a_file_in_a_zip_has_one_name(name):
    """Both are rasterio's ways to write it; GDAL does not know the second with two slashes."""
    assert vsi_name(name) == "/vsizip/scenes.zip/in/scene.tif"
