"""Archives of small chips that are known as mine or other, whose colours tell which: mines are yellow, others green."""

import io
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

COLORS = {"mine": (200, 180, 60), "other": (40, 90, 40)}


def label(i: int, every: int = 2) -> str:
    """Give the label of chip i."""
    return "mine" if i % every == every - 1 else "other"


def png(i: int, side: int, every: int = 2) -> bytes:
    """Encode chip i."""
    noise = np.random.default_rng(i).integers(-9, 9, (side, side, 3))
    buffer = io.BytesIO()
    Image.fromarray((noise + COLORS[label(i, every)] + i % 12).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def make(
    directory: Path, count: int = 16, *, places: int = 4, side: int = 8, every: int = 2, broken: bool = True
) -> tuple[Path, Path]:
    """Write `small.zip` with `count` chips from so many sampling campaigns, and `index.csv`; every other is a mine.

    broken: whether there is one more, a mine, that cannot be read.
    """
    directory.mkdir(parents=True, exist_ok=True)
    rows = [f"{i}.png,{label(i, every)},place_{i * places // count}" for i in range(count)]
    with zipfile.ZipFile(directory / "small.zip", "w") as archive:
        for i in range(count):
            archive.writestr(f"{i}.png", png(i, side, every))
        if broken:
            archive.writestr("broken.png", b"no image")
            rows.append("broken.png,mine,place_0")
    (directory / "index.csv").write_text("\n".join(["file,label,source_gallery", *rows]) + "\n")
    return directory / "small.zip", directory / "index.csv"


def classes(directory: Path, each: int = 6, side: int = 16) -> Path:
    """Write a folder of green chips and one of yellow ones."""
    for kind, name in enumerate(("forest", "sand")):
        (directory / name).mkdir(parents=True)
        for i in range(each):
            (directory / name / f"{i}.png").write_bytes(png(2 * i + kind, side))
    return directory
