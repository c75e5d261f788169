"""A Python that QGIS belongs to, in an environment of its own."""

import subprocess
from pathlib import Path

import pytest

PYTHON = "/usr/bin/python3"


@pytest.fixture
def run_in_qgis(tmp_path):
    """Gives what runs a script by QGIS' Python, and gives what it prints; the test is skipped where there is none."""
    environment = {
        "PATH": "/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "QT_QPA_PLATFORM": "offscreen",
        "HOME": str(tmp_path),
        "XDG_RUNTIME_DIR": str(tmp_path),
    }

    def run(*command, **more):
        whole = [PYTHON, *map(str, command)]
        return subprocess.run(whole, env=environment | more, capture_output=True, text=True, check=False)

    if not Path(PYTHON).exists() or run("-c", "import qgis.core").returncode:
        pytest.skip(f"{PYTHON} cannot import qgis; apt-get install python3-qgis to run this")

    def printed(*command, **more):
        done = run(*command, **more)
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr, done.stderr
        return done.stdout

    return printed
