"""The environment in which scripts run that need torch, and no TensorFlow."""

from __future__ import annotations

from typing import Final

from sections.commands import HERE, run

SCRIPTS: Final = HERE / "torch_side"
"""What runs there."""


def lacking(python: str | None, *modules: str) -> str:
    """Say why scripts that import `modules` cannot run; nothing where they can."""
    if python is None:
        return "no Python with torch was named; see --torch-python"
    asks = f"import importlib.util as u, json; print(json.dumps([m for m in {modules} if u.find_spec(m) is None]))"
    absent = run(python, "-c", asks).figures
    return f"{python} has no {', '.join(absent)}" if absent else ""
