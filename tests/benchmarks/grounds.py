"""Scenes of real chips, whose reflectance is known."""

import csv
import io
import zipfile

import numpy as np
from conftest import data_folder
from numpy.typing import NDArray
from PIL import Image

SIDE = 16
"""Chips along one side of a scene."""


def real_grounds() -> list[NDArray[np.float64]]:
    """All chips of the shared Sentinel-2 set in scenes of 16 x 16, reflectance x 10,000; the last is filled up."""
    folder = data_folder("sentinel2-mines")
    with (folder / "index.csv").open(newline="") as lines, zipfile.ZipFile(folder / "chips.zip") as archive:
        names = [row["file"] for row in csv.DictReader(lines)]
        chips = np.stack([np.asarray(Image.open(io.BytesIO(archive.read(name))).convert("RGB")) for name in names])
    order = np.random.default_rng(0).permutation(len(chips))
    scenes = []
    for start in range(0, len(chips), SIDE**2):
        part = chips[np.resize(order[start : start + SIDE**2], SIDE**2)]
        rows = part.reshape(SIDE, SIDE, 48, 48, 3).transpose(4, 0, 2, 1, 3)
        scenes.append(np.rint(rows.reshape(3, SIDE * 48, SIDE * 48) / 255 * 3000))
    return scenes
