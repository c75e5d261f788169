"""OpenVINO, imported without its telemetry.

When it is imported it tells its makers over the network, unasked, and keeps a number for this user in the home
directory. Whoever needs it takes it from here, `from geoscan.model.openvino_backend import ov`, and nowhere else.
"""

from __future__ import annotations

import sys
from typing import Any

__all__ = ["ops", "ov"]

_TELEMETRY = "openvino_telemetry"
_modules: dict[str, Any] = sys.modules

_unknown = _TELEMETRY not in _modules
if _unknown:
    _modules[_TELEMETRY] = None  # as if it were not installed: OpenVINO then does without
try:
    import openvino as ov
    from openvino import opset13 as ops
finally:
    if _unknown:
        del _modules[_TELEMETRY]
