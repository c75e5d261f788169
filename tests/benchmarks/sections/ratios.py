"""Whole commands side by side: geoscan, and a plain script with the same network in PyTorch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sections import material
from sections.commands import Ran, geoscan, run
from sections.torch_env import SCRIPTS, lacking
from sections.work import Found, Row, Work

TITLE: Final = "whole commands, with dehazing: geoscan and a plain script (rasterio, OpenCV, eager PyTorch)"


@dataclass(frozen=True, slots=True)
class _Pair:
    """A network, a scene, and geoscan's way to remove haze; the script's is the dark channel."""

    network: str
    scene: str
    """A field of `Sizes`."""

    dehaze: str
    aim: float | None
    """Times as fast as the script."""


_PAIRS: Final = (
    _Pair("reduced", "few", "dark level", 1.8),
    _Pair("reduced", "many", "dark level", 2.5),
    _Pair("reduced", "many", "dark channel", None),
    _Pair("densenet121", "densenet121", "dark level", 2.0),
)


def measure(work: Work, found: Found) -> None:
    """Time both, with networks and scenes of the same size. Weights are random."""
    if reason := lacking(work.torch_python, "torch", "rasterio", "cv2"):
        found.skipped[TITLE] = reason
        return
    scripts: dict[tuple[str, str], Ran] = {}
    for pair in _PAIRS:
        scene, key = material.square(work.folder, getattr(work.sizes, pair.scene)), (pair.network, pair.scene)
        if key not in scripts:
            scripts[key] = _script(work, scene, pair.network)
        package = material.package(work.folder, pair.network, pair.dehaze)
        ours = geoscan(scene, "--model", package, "--out", work.folder / "mines.geojson")
        found.add(TITLE, _row(pair, scripts[key], ours))


def _script(work: Work, scene: Path, network: str) -> Ran:
    facts = json.dumps(material.described(network))
    return run(work.torch_python, SCRIPTS / "plain_script.py", scene, work.folder / "boxes.geojson", facts)


def _row(pair: _Pair, script: Ran, ours: Ran) -> Row:
    chips = ours.figures["chips"]
    if script.figures["chips"] != chips:
        raise RuntimeError(f"the script has scored {script.figures['chips']} chips, geoscan {chips}")
    return {
        "network": pair.network,
        "geoscan removes haze by": pair.dehaze,
        "chips": chips,
        "script s": round(script.seconds, 2),
        "geoscan s": round(ours.seconds, 2),
        "script chips/s": round(chips / script.seconds, 1),
        "geoscan chips/s": round(chips / ours.seconds, 1),
        "times as fast": round(script.seconds / ours.seconds, 2),
        "aim": f"at least {pair.aim}" if pair.aim else "",
    }
