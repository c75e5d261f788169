"""A scene through TorchGeo's own sampler and loader into the same network, without dehazing.

python torchgeo_script.py scene.tif '{"blocks": [3, 6, 8], ...}'
"""

import json
import sys
from pathlib import Path

import torch
import torchgeo
from torch.utils.data import DataLoader
from torch_densenet import densenet
from torchgeo.datasets import RasterDataset, stack_samples
from torchgeo.samplers import GridGeoSampler

BATCH = 32


def scan(scene, facts):
    path, chip = Path(scene), facts["chip"]

    class Scenes(RasterDataset):
        filename_glob = path.name

    dataset = Scenes(path.parent)
    sampler = GridGeoSampler(dataset, size=chip, stride=chip)
    loader = DataLoader(dataset, batch_size=BATCH, sampler=sampler, collate_fn=stack_samples)
    mean, std = (torch.tensor(facts[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
    network, n = densenet(**facts), 0
    with torch.inference_mode():
        for batch in loader:
            n += len(network((batch["image"].float() - mean) / std))
    return n


if __name__ == "__main__":
    scene, facts = sys.argv[1:]
    chips = scan(scene, json.loads(facts))
    sys.stdout.write(json.dumps({"chips": chips, "torch": torch.__version__, "torchgeo": torchgeo.__version__}))
