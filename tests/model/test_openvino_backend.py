"""Nobody is told that geoscan runs."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import geoscan

LOADED = """
import sys
from geoscan.model.shipped import shipped
from geoscan.model.openvino_runtime import OpenVinoDetector

OpenVinoDetector(shipped()[0])
assert "openvino.tools.ovc" in sys.modules
assert not [name for name in sys.modules if name.startswith("openvino_telemetry")]
"""


def test_openvino_sends_nothing_and_keeps_nothing_about_its_user(tmp_path):
    """Its telemetry would be imported, would make `~/intel`, and would start a process that calls a server."""
    home = {"HOME": str(tmp_path), "USERPROFILE": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", LOADED], env={**os.environ, **home}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.rglob("*"))


def test_one_module_alone_imports_openvino():
    root = Path(geoscan.__file__).parent
    importing = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.Import) and any(name.name.split(".")[0] == "openvino" for name in node.names))
        or (isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "openvino")
    }
    assert importing == {"model/openvino_backend.py"}
