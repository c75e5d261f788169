"""How many real chips and scenes the guard takes for misread, and how many misread ones it tells.

Run it: pytest -n 0 -m large -s tests/benchmarks/test_look_real.py
"""

import csv
import io
import sys
import zipfile

import numpy as np
import pytest
from conftest import data_folder
from PIL import Image

from geoscan.model.look import Look
from geoscan.model.shipped import find
from geoscan.train.look import misread

pytestmark = pytest.mark.large

CHIPS, SCENES, OF = 1500, 200, 64
"""Chips that are drawn, scenes that are made of them, and how many of them a scene has."""


def sentinel2(rng: np.random.Generator) -> np.ndarray:
    folder = data_folder("sentinel2-mines")
    with (folder / "index.csv").open(newline="") as lines, zipfile.ZipFile(folder / "chips.zip") as archive:
        names = [row["file"] for row in csv.DictReader(lines)]
        drawn = rng.permutation(len(names))[:CHIPS]
        return np.stack([np.asarray(Image.open(io.BytesIO(archive.read(names[i]))).convert("RGB")) for i in drawn])


def planet(rng: np.random.Generator) -> np.ndarray:
    files = sorted((data_folder("planet") / "train-jpg").glob("*.jpg"))
    drawn = rng.permutation(len(files))[:CHIPS]
    return np.stack([np.asarray(Image.open(files[i]).convert("RGB")) for i in drawn])


def told(look: Look, chips: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """Shares of chips, and of scenes of `OF` chips, that are not understood."""
    parts = [look.log_odds(chips[i : i + 250], np.ones(len(chips[i : i + 250]))) for i in range(0, len(chips), 250)]
    odds = np.concatenate(parts)
    scenes = [not look.knows(odds[rng.integers(0, len(odds), OF)]) for _ in range(SCENES)]
    return float((odds < look.limit).mean()), float(np.mean(scenes))


@pytest.mark.parametrize(("model", "chips_of"), [("sentinel2", sentinel2), ("planet", planet)])
def test_misread_scenes_are_told_from_real_ones(model, chips_of):
    rng = np.random.default_rng(0)
    chips, look = chips_of(rng), find(model).card.look
    assert look is not None
    rows = {"as they are": told(look, chips, rng)}
    rows |= {kind: told(look, strange, rng) for kind, strange in misread(chips, rng)}
    lines = [f"| {kind} | {100 * one:.1f} % | {100 * scene:.1f} % |" for kind, (one, scene) in rows.items()]
    sys.stdout.write(
        "\n".join(["", f"| {model} | chips not understood | scenes refused |", "|---|---|---|", *lines, ""])
    )
    chip, scene = rows.pop("as they are")
    assert chip <= 0.001
    assert scene == 0
    assert min(scene for _, scene in rows.values()) >= 0.99
