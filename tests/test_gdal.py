import os
import subprocess
import sys

import pytest

from geoscan.gdal import short_name, short_names, vsi_name

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
    assert [short_name(one) for one in ("/x/y.tif", "https://h/z.tif?token=secret")] == ["y.tif", "z.tif"]


@pytest.mark.parametrize("name", ["zip://scenes.zip!in/scene.tif", "zip://scenes.zip!/in/scene.tif"])
def test_a_file_in_a_zip_has_one_name(name):
    """Both are rasterio's ways to write it; GDAL does not know the second with two slashes."""
    assert vsi_name(name) == "/vsizip/scenes.zip/in/scene.tif"
