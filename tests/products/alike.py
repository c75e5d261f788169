"""Two scenes that are to be one: scored by a detector that tells every pixel and band apart."""

from pathlib import Path
from typing import Any

import numpy as np
from scans import CHIP, run

from geoscan.grid import Window
from geoscan.labels import LABELS, MINE
from geoscan.model.package import Package
from geoscan.products import Product
from geoscan.scene import Scene


class EachPixel:
    """A mine is what the pixels of a chip say, each in each band with a weight of its own."""

    weights = np.random.default_rng(1).uniform(-1, 1, (CHIP, CHIP, 3)).astype(np.float32)

    def __call__(self, chips: np.ndarray) -> np.ndarray:
        scores = np.zeros((len(chips), len(LABELS)), np.float32)
        scores[:, LABELS.index(MINE)] = 1 / (1 + np.exp(-(chips * self.weights).mean(axis=(1, 2, 3)) / 4))
        return scores


def assert_alike(found: str | Path | Product, plain: str | Path, package: Package, **asked: Any) -> Scene:
    """Check that two scenes score and are seen alike; `asked` are `ScanOptions`. Give the first of them."""
    ours, theirs = (run(path, package, detector=EachPixel, **asked) for path in (found, plain))
    np.testing.assert_allclose(ours.scores, theirs.scores, atol=1e-6)
    np.testing.assert_array_equal(ours.observed, theirs.observed)
    assert ours.scores.any()
    one, other = ours.plan.scene, theirs.plan.scene
    assert (one.crs, one.transform, one.rows, one.cols) == (other.crs, other.transform, other.rows, other.cols)
    return one


def seen(scene: Scene) -> np.ndarray:
    """Give (rows, cols): where the ground is seen."""
    return scene.read(Window(0, 0, scene.rows, scene.cols))[1]
