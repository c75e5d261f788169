"""Every script of the examples says what it does when it is asked for help, and does nothing else."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
SCRIPTS = sorted(
    path
    for path in EXAMPLES.rglob("*.py")
    if '__name__ == "__main__"' in path.read_text("utf-8") and "from qgis" not in path.read_text("utf-8")
)


@pytest.mark.large
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_that_is_asked_for_help_gives_it(script, tmp_path):
    command = [sys.executable, str(script), "--help"]
    told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert told.returncode == 0, told.stderr
    assert told.stdout.startswith(f"usage: {script.name}")
    assert list(tmp_path.iterdir()) == []
