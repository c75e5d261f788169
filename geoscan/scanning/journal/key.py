"""What decides the scores of a scan: where it differs, a journal is of another scan."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final

from geoscan import __version__
from geoscan.scanning.plan import Plan

_WORDS: Final = {
    "bands": "other bands (--bands)",
    "model": "another model",
    "grid": "another grid of chips (--stride, --model)",
    "values": "another reading of its values (--scale, --offset, --stretch)",
    "tta": "--tta",
    "runtime": "another --runtime",
    "force": "--force",
    "geoscan": "another version of geoscan",
    "scene": "another state of the scene, which has changed since",
}
"""What a journal was begun with, where a part of its key differs."""


def key_of(plan: Plan) -> dict[str, str]:
    """Everything that decides scores, by name; thresholds, prior and batch are no part of it."""
    grid, look = plan.grid, plan.radiometry
    return {
        "scene": plan.scene.fingerprint(),
        "bands": ",".join(map(str, plan.scene.bands)),
        "model": plan.package.card.digest,
        "grid": f"{grid.rows},{grid.cols},{grid.chip},{grid.stride}",
        "values": repr((look.low, look.high)),
        "tta": str(plan.tta),
        "runtime": plan.runtime,
        "force": str(plan.force),
        "geoscan": __version__,
    }


def difference(old: Mapping[str, str], new: Mapping[str, str]) -> str:
    """Say with what, or without it, the old was begun where the new differs; empty for nothing.

    The scene is named only where nothing else is, for it has bands.
    """
    differing = [name for name in _WORDS if old.get(name) != new.get(name)]
    named = [name for name in differing if name != "scene"] or differing
    without = [name for name in named if old.get(name) == str(False)]
    sides = {"with": [name for name in named if name not in without], "without": without}
    return " and ".join(
        f"{side} {' and '.join(_WORDS[name] for name in names)}" for side, names in sides.items() if names
    )


def mark_of(plan: Plan) -> str:
    """Digest of everything that decides a layer: the scores, and what is made of them."""
    how = (plan.name, plan.thresholds, plan.operate, plan.prior, plan.outline)
    detections = repr((*how, sorted(plan.reading.items())))
    return hashlib.sha256(repr((sorted(key_of(plan).items()), detections)).encode()).hexdigest()
