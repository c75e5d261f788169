"""What files say in other encodings reaches nobody as a traceback."""

import subprocess
import sys

from conftest import write_scene


def test_words_that_are_no_utf8_are_one_line(tmp_path):
    write_scene(tmp_path / "scene.tif")
    path = tmp_path / "scene.vrt"
    path.write_bytes(b'<VRTDataset rasterXSize="\xe2\x28" rasterYSize="1"><\xff\xfe></VRTDataset>')
    done = subprocess.run([sys.executable, "-m", "geoscan", "check", path], capture_output=True, check=False)
    assert done.returncode == 2
    shown = (done.stdout + done.stderr).decode()
    assert shown.startswith("geoscan: ")
    assert shown.count("\n") == 1
