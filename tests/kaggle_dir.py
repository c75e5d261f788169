"""Directories in Kaggle's layout with chips whose colours tell their labels, so that a tiny network can learn them."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

GROUND = {
    "primary": (40, 90, 45),
    "water": (40, 70, 150),
    "agriculture": (150, 160, 70),
    "bare_ground": (170, 110, 80),
    "artisinal_mine": (210, 190, 60),
}
"""Colour of the ground that each label stands for."""


def tags(i: int) -> str:
    """Give the tags of chip i: weather, forest, and one more kind of ground."""
    if i % 10 == 9:
        return "cloudy"
    kinds = list(GROUND)
    return f"{'haze' if i % 7 == 3 else 'clear'} primary {kinds[1 + i % 4]}"


def picture(i: int, side: int = 256) -> Image.Image:
    """Render chip i."""
    rng = np.random.default_rng(i)
    words = tags(i).split()
    if words == ["cloudy"]:
        coarse = np.full((8, 8, 3), 225.0)
    else:
        coarse = np.empty((8, 8, 3))
        coarse[:4], coarse[4:] = GROUND["primary"], GROUND[words[2]]
        if words[0] == "haze":
            coarse = 0.6 * coarse + 0.4 * np.array([181, 178, 170])
    noisy = np.clip(coarse + rng.normal(0, 6, coarse.shape), 0, 255).astype(np.uint8)
    return Image.fromarray(noisy).resize((side, side), Image.Resampling.BICUBIC)


def jpeg(i: int, mode: str = "RGB") -> bytes:
    """Encode chip i; mode CMYK gives a JPEG of four components, as a part of Kaggle's are."""
    buffer = io.BytesIO()
    picture(i).convert(mode).save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


def make(directory: Path, n: int = 60) -> Path:
    """Write `train_v2.csv` and `train-jpg/` with n chips; the second one has four components."""
    (directory / "train-jpg").mkdir(parents=True)
    for i in range(n):
        (directory / "train-jpg" / f"train_{i}.jpg").write_bytes(jpeg(i, "CMYK" if i == 1 else "RGB"))
    rows = [f"train_{i},{tags(i)}" for i in range(n)]
    (directory / "train_v2.csv").write_text("\n".join(["image_name,tags", *rows]) + "\n")
    return directory
