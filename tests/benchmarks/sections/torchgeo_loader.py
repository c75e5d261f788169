"""TorchGeo's own sampler and loader with the network of the ratios, without dehazing."""

from __future__ import annotations

import json
from typing import Final

from sections import material
from sections.commands import run
from sections.ratios import NO_TORCH, SCRIPTS
from sections.work import Found, Work

TITLE: Final = "whole command: TorchGeo's GridGeoSampler and a DataLoader, the reduced network, no dehazing"
NETWORK: Final = "reduced"


def measure(work: Work, found: Found) -> None:
    """Time it on the small scene of the ratios."""
    if work.torch_python is None:
        found.skipped[TITLE] = NO_TORCH
        return
    scene = material.square(work.folder, work.sizes.few)
    facts = json.dumps(material.described(NETWORK))
    try:
        ran = run(work.torch_python, SCRIPTS / "torchgeo_script.py", scene, facts)
    except RuntimeError as err:
        if "No module named 'torchgeo'" not in str(err):
            raise
        found.skipped[TITLE] = f"{work.torch_python} has no torchgeo"
        return
    chips = ran.figures["chips"]
    row = {"network": NETWORK, "chips": chips, "s": round(ran.seconds, 2), "chips/s": round(chips / ran.seconds, 1)}
    found.add(TITLE, row | {"torchgeo": ran.figures["torchgeo"]})
