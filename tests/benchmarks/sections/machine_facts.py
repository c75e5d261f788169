"""On what machine, and with what libraries, something was measured."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from geoscan.machine import cores

_LIBRARIES: Final = ("geoscan", "openvino", "tensorflow", "numpy", "opencv-python-headless", "rasterio", "dask")


def facts() -> dict[str, Any]:
    """What decides how fast anything is here; `load` tells how busy the machine was before."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "processor": _processor(),
        "cores": cores(),
        "memory GB": _memory_gb(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in _LIBRARIES},
        "load": load,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _processor() -> str:
    """Name, and what of its instructions decides how fast a network is."""
    try:
        lines = dict(line.partition(":")[::2] for line in Path("/proc/cpuinfo").read_text().splitlines() if ":" in line)
    except OSError:
        return platform.processor() or platform.machine()
    known = {key.strip(): value.strip() for key, value in lines.items()}
    wide = [flag for flag in known.get("flags", "").split() if flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16")]
    return " ".join([known.get("model name", platform.machine()), *wide])


def _memory_gb() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    except (AttributeError, ValueError, OSError):
        return None
