"""How well outlines fit where a mine's own extent is known; run with -m large -s to see the figures.

The painted mine of the example, and real mine chips that lie anywhere in scenes without mines: there the pasted square
is the extent, which favours outlines of whole chips where it happens to lie on the grid. They are searched for as
`sensitive`, which finds all of them: an outline is asked for, not whether there is one.
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyproj
import pytest
import shapely
from conftest import CORNER, UTM, data_folder, write_scene
from PIL import Image

from geoscan.data.kaggle import read_kaggle
from geoscan.labels import LABELS, MINE
from geoscan.model.shipped import find
from geoscan.outlines import ACTIVATION, CHIP
from geoscan.scanning.options import ScanOptions
from geoscan.scanning.plan import Plan
from geoscan.scanning.result import detect
from geoscan.scanning.run import scan
from geoscan.scene import Scene

EXAMPLES = Path(__file__).parents[2] / "examples"
GSD, SIDE, MINE_SIDE = 3.7, 1024, 256
BACK = pyproj.Transformer.from_crs("OGC:CRS84", UTM, always_xy=True)


def picture(path):
    return np.asarray(Image.open(path).convert("RGB"))


def pasted(folder):
    """Scenes, each with a mine at a place that is no multiple of a chip, and where it lies."""
    chips = read_kaggle(data_folder("planet"))
    mines = np.flatnonzero(chips.targets[:, LABELS.index(MINE)] == 1).tolist()
    grounds = [picture(path) for path in sorted(data_folder("planet-scenes").glob("*.jpg"))]
    rng = np.random.default_rng(16)
    for n, mine in enumerate(mines):
        row, col = 256 * (1 + n % 4), 256 * (2 + 2 * n)
        pixels = grounds[n % len(grounds)][row : row + SIDE, col : col + SIDE].copy()
        top, left = rng.integers(MINE_SIDE // 2, SIDE - 3 * MINE_SIDE // 2, 2).tolist()
        pixels[top : top + MINE_SIDE, left : left + MINE_SIDE] = chips.read(mine).transpose(1, 2, 0)
        x, y, size = CORNER[0] + left * GSD, CORNER[1] - top * GSD, MINE_SIDE * GSD
        path = write_scene(folder / f"{chips.names[mine]}.tif", pixels=pixels.transpose(2, 0, 1), gsd=GSD)
        yield path, shapely.box(x, y - size, x + size, y)


def figures(found, extent):
    """IoU, and the share by which the area is too large, of the detections that touch a mine."""
    shapes = [shapely.transform(one.geometry, lambda p: np.column_stack(BACK.transform(*p.T))) for one in found]
    ground = shapely.union_all([shape for shape in shapes if shape.intersects(extent)])
    return ground.intersection(extent).area / ground.union(extent).area, ground.area / extent.area - 1


@pytest.mark.large
def test_outlines_by_activation_fit_better_than_chips_and_lose_no_detection(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    from make_scene import mine_outline

    package = find("planet")
    assert package.has_evidence
    scenes = [(EXAMPLES / "scene.tif", mine_outline()), *pasted(tmp_path)]
    rows = []
    for path, extent in scenes:
        scores = scan(Plan.of(Scene.open(path), package, ScanOptions(outline=ACTIVATION, operate="sensitive")))
        fine = detect(scores).detections
        whole = detect(replace(scores, plan=replace(scores.plan, outline=CHIP))).detections
        assert sorted(one.n_chips for one in fine) == sorted(one.n_chips for one in whole)
        both = [figures(found, extent) for found in (whole, fine)]
        if both[0][0]:
            rows.append(both)
            told = (f"IoU {fit:.3f}, area {error:+.2f}" for fit, error in both)
            sys.stdout.write(f"{path.name}: chips {' | activation '.join(told)}\n")
    fit, error = np.moveaxis(np.array(rows), 2, 0)
    sys.stdout.write(f"means: IoU {fit.mean(axis=0)}, area error {np.abs(error).mean(axis=0)}\n")
    assert len(rows) > 4
    assert fit[:, 1].mean() > fit[:, 0].mean() + 0.03
    assert np.abs(error[:, 1]).mean() < 0.7 * np.abs(error[:, 0]).mean()
