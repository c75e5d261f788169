"""TorchGeo's own sampler and loader with the network of the ratios, without dehazing."""

from __future__ import annotations

import json
from typing import Final

from sections import material
from sections.commands import run
from sections.torch_env import SCRIPTS, lacking
from sections.work import Found, Work

TITLE: Final = "whole command: TorchGeo's GridGeoSampler and a DataLoader, the reduced network, no dehazing"
NETWORK: Final = "reduced"


def measure(work: Work, found: Found) -> None:
    """Time it on the small scene of the ratios."""
    if reason := lacking(work.torch_python, "torch", "torchgeo"):
        found.skipped[TITLE] = reason
        return
    scene = material.square(work.folder, work.sizes.few)
    facts = json.dumps(material.described(NETWORK))
    ran = run(work.torch_python, SCRIPTS / "torchgeo_script.py", scene, facts)
    chips = ran.figures["chips"]
    if chips != work.sizes.few**2:
        raise RuntimeError(f"TorchGeo gave {chips} chips of {work.sizes.few**2}")
    row = {"network": NETWORK, "chips": chips, "s": round(ran.seconds, 2), "chips/s": round(chips / ran.seconds, 1)}
    found.add(TITLE, row | {"torchgeo": ran.figures["torchgeo"]})
