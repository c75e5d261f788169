"""Scenes and model packages to measure with.

Scenes are the example over and over, so that no chip is blank; packages have random weights, as slow as trained ones,
and no look, so that no scene is refused.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import rasterio
import tiny_model
from affine import Affine
from numpy.typing import NDArray
from rasterio.windows import Window
from scans import reseal

from geoscan.dark_channel import DarkChannel
from geoscan.dehazing import DarkLevel, Dehazing
from geoscan.model.package import load
from geoscan.model.spec import PRESETS, DenseNetSpec
from sections.commands import EXAMPLE, child

UNIT: Final = (1200, 1440)
"""Rows and columns of the example that scenes of 48 px chips repeat: 25 x 30 chips, so that all such scenes hold the
same chips, in the same shares."""

GSD: Final = 3.75
"""Metres per pixel of scenes of 256 px chips. Sides of chips are then whole metres, for TorchGeo's sampler counts by
metres, and adds a row of chips where rounding leaves a rest."""

_APART: Final = 100_000.0
"""Metres from place to place."""

NETWORKS: Final[Mapping[str, DenseNetSpec]] = {
    # The network of the original: without compression, and at full resolution.
    "reduced": DenseNetSpec(blocks=(3, 6, 8), growth=32, stem=32, compression=1.0),
    "densenet121": PRESETS["densenet121"],
    "compact": PRESETS["compact"],
}

DEHAZINGS: Final[Mapping[str, Dehazing]] = {"dark level": DarkLevel(), "dark channel": DarkChannel()}


def scene(
    folder: Path, rows: int, cols: int, gsd: float = GSD, unit: tuple[int, int] | None = None, place: int = 0
) -> Path:
    """Write the example's pixels, or the first `unit` of rows and columns of them, over and over; or find it there.

    place: scenes with other numbers lie elsewhere.
    """
    path = folder / f"{rows}x{cols}-{gsd:g}m-{place}.tif"
    if path.exists():
        return path
    with rasterio.open(EXAMPLE) as source:
        down, across = unit or source.shape
        pixels, crs = source.read(window=Window(0, 0, across, down)), source.crs
    wide = np.tile(pixels, (1, 1, -(-cols // across)))[:, :, :cols]
    wide = np.concatenate([wide, wide[:, :512]], axis=1)  # so that 512 rows from any of its own can be cut out
    profile = {"driver": "GTiff", "count": 3, "dtype": "uint8", "height": rows, "width": cols, "crs": crs}
    stored = {"tiled": True, "blockxsize": 512, "blockysize": 512, "interleave": "pixel", "bigtiff": "IF_SAFER"}
    packed = {"compress": "deflate", "zlevel": 1, "num_threads": "all_cpus"}
    transform = Affine(gsd, 0, 500_000, 0, -gsd, 9_200_000 - place * _APART)
    with rasterio.open(path, "w", transform=transform, **profile, **stored, **packed) as target:
        for row in range(0, rows, 512):
            n = min(512, rows - row)
            target.write(wide[:, row % down :][:, :n], window=Window(0, row, cols, n))
    return path


def square(folder: Path, side: int) -> Path:
    """A scene of so many chips of 256 px along each side."""
    return scene(folder, side * 256, side * 256)


def units(folder: Path, down: int, across: int, place: int = 0) -> Path:
    """A scene at 10 m of so many `UNIT` down and across."""
    return scene(folder, down * UNIT[0], across * UNIT[1], 10.0, UNIT, place)


def package(folder: Path, network: str, dehaze: str = "dark level") -> Path:
    """Make the package of one of `NETWORKS`, or find it there. Another process does it: it takes TensorFlow."""
    path, first = folder / f"{network}, {dehaze}", folder / f"{network}, {next(iter(DEHAZINGS))}"
    if not first.exists():
        child("sections.material", first, network)
    if not path.exists():
        shutil.copytree(first, path)
        reseal(path, preprocess=replace(load(path).card.preprocess, dehaze=DEHAZINGS[dehaze]))
    return path


def chips(side: int, n: int) -> NDArray[np.uint8]:
    """Cut `n` chips from anywhere in the example, (n, side, side, 3)."""
    with rasterio.open(EXAMPLE) as source:
        pixels = source.read().transpose(1, 2, 0)
    rng = np.random.default_rng(0)
    corners = zip(*(rng.integers(0, size - side, n) for size in pixels.shape[:2]), strict=True)
    return np.stack([pixels[row : row + side, col : col + side] for row, col in corners])


def described(network: str) -> dict[str, Any]:
    """What a script that knows nothing of geoscan must know to build the same network, and to remove haze."""
    spec = NETWORKS[network]
    facts = {"blocks": spec.blocks, "growth": spec.growth, "stem": spec.stem, "compression": spec.compression}
    scaling = {"mean": spec.mean, "std": spec.std, "haze": asdict(DarkChannel())}
    return {**facts, **scaling, "chip": spec.chip, "labels": len(spec.labels)}


def _make(path: Path, network: str) -> None:
    tiny_model.package(path, NETWORKS[network], name=network, dehaze=next(iter(DEHAZINGS.values())))


if __name__ == "__main__":
    _make(Path(sys.argv[1]), sys.argv[2])
    sys.stdout.write(json.dumps({}) + "\n")
