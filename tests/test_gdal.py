import os
import subprocess
import sys

import pytest

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
