"""How many turned scenes have their collar found after JPEG, and how much ground is taken for it.

Run it: pytest -n 0 -m large -s tests/benchmarks/test_collar_real.py
"""

import io
import sys

import numpy as np
import pytest
from conftest import data_folder
from PIL import Image

from geoscan import fill

pytestmark = pytest.mark.large

SCENES = ("slash-burn", "logging", "cultivation")


def found(pixels: np.ndarray) -> fill.Fill | None:
    return fill.find(
        lambda row, col, side: pixels[:, row : row + side, col : col + side], *pixels.shape[1:], str(pixels.dtype)
    )


def test_collars_of_turned_scenes_are_found_and_no_ground_is():
    taken, lost, left = [], [], []
    for name in SCENES:
        with Image.open(data_folder("planet-scenes") / f"{name}.jpg") as file:
            image = file.convert("RGB").crop((500, 100, 2500, 2000))
        assert found(np.asarray(image).transpose(2, 0, 1)) is None
        for angle in (12, 30, -8):
            turned = image.rotate(angle, Image.Resampling.BICUBIC, expand=True)
            inside = np.asarray(Image.new("L", image.size, 255).rotate(angle, expand=True)) > 0
            for quality in (60, 75, 90):
                content = io.BytesIO()
                turned.save(content, "JPEG", quality=quality)
                pixels = np.asarray(Image.open(content)).transpose(2, 0, 1)
                answer = found(pixels)
                taken.append(answer is not None and answer.sure)
                black = (pixels <= 3).all(axis=0)
                lost.append(black[inside].mean())
                left.append(1 - black[~inside].mean())
    sys.stdout.write(
        f"\n{sum(taken)} of {len(taken)} collars found; they keep {np.mean(left):.1%} of their pixels at their rim, "
        f"and {max(lost):.2%} of the ground goes with them at most\n"
    )
    assert sum(taken) >= 0.9 * len(taken)
    assert max(lost) < 0.001
