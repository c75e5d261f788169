"""Scans for tests: scenes of grey blocks, fake detectors, and what comes of them in the scene's own CRS."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import fakes
import numpy as np
import pyproj
import pytest
import rasterio
import shapely
from conftest import write_scene
from rasterio.warp import Resampling, calculate_default_transform, reproject

from geoscan import layers
from geoscan.labels import MINE
from geoscan.model import package as packages
from geoscan.model.card import Card
from geoscan.model.package import CARD, Package
from geoscan.polygons import flag
from geoscan.products import Product
from geoscan.scanning.journal.file import Journal
from geoscan.scanning.options import ScanOptions
from geoscan.scanning.plan import Plan
from geoscan.scanning.result import detect
from geoscan.scanning.run import scan
from geoscan.scanning.scores import SceneScores
from geoscan.scanning.workers import HERE, Workers
from geoscan.scene import Scene

CHIP = 32
GSD = 3.7


def blocks(down: int = 6, across: int = 7, seed: int = 3) -> np.ndarray:
    """(3, down * 32, across * 32) pixels, one grey a chip; a third of them bright."""
    rng = np.random.default_rng(seed)
    grey = np.where(rng.random((down, across)) < 1 / 3, rng.integers(160, 255, (down, across)), 20)
    return np.repeat(np.repeat(grey[None], CHIP, 1), CHIP, 2).repeat(3, axis=0).astype(np.uint8)


def run(
    path: Path | Product,
    package: Package,
    pool: Workers = HERE,
    *,
    detector: Callable[[], Any] = fakes.BrightIsPositive,
    advance: Callable[[int], None] = lambda _: None,
    journal: Journal | None = None,
    **asked: Any,
) -> SceneScores:
    """Score a scene with a fake detector; `asked` are `ScanOptions`."""
    plan = Plan.of(Scene.open(path), package, ScanOptions(**{"batch": 4, **asked}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("geoscan.scanning.run.detector", partial(fakes.made, detector))
        return scan(plan, pool, advance=advance, journal=journal)


def mine_scores(scores: SceneScores) -> np.ndarray:
    """(down, across): the mine score of each tile."""
    return scores.scores[:, scores.plan.package.card.labels.index(MINE)].reshape(scores.plan.grid.shape)


def flagged(scores: SceneScores) -> np.ndarray:
    """(tiles,): True for those that are part of a detection."""
    return flag(mine_scores(scores), scores.plan.thresholds).ravel() > 0


def layer_bytes(scores: SceneScores, folder: Path) -> bytes:
    """The layer of a scan, without the name of the file that was scanned."""
    out = folder / "mines.geojson"
    result = detect(scores)
    plain = replace(result.seen.provenance, reading={})  # it tells how a file is made
    layers.write(out, result.detections, [replace(result.seen, provenance=plain)])
    content = out.read_bytes()
    assert b'"Feature"' in content
    return content.replace(scores.plan.name.encode(), b"scene")


def in_crs(scores: SceneScores) -> shapely.Geometry:
    """Union of the detections, brought back from longitude and latitude."""
    back = pyproj.Transformer.from_crs("OGC:CRS84", scores.plan.scene.crs, always_xy=True)
    parts = [one.geometry for one in detect(scores).detections]
    return shapely.transform(shapely.union_all(parts), lambda p: np.column_stack(back.transform(*p.T)))


def flagged_cores(scores: SceneScores) -> shapely.Geometry:
    """Union of the flagged tiles' cores in the scene's CRS, straight from the grid."""
    boxes = []
    for tile, is_flagged in zip(scores.plan.grid, flagged(scores), strict=True):
        if is_flagged:
            core = tile.core
            corners = [
                (core.col + x * core.cols, core.row + y * core.rows) for x, y in ((0, 0), (1, 0), (1, 1), (0, 1))
            ]
            boxes.append(shapely.Polygon([scores.plan.scene.transform @ corner for corner in corners]))
    return shapely.union_all(boxes)


def to_degrees(path: Path, out: Path) -> Path:
    """Warp a scene to EPSG:4326, as a GIS does."""
    with rasterio.open(path) as source:
        transform, cols, rows = calculate_default_transform(
            source.crs, "EPSG:4326", source.width, source.height, *source.bounds
        )
        warped = np.zeros((4, rows, cols), np.uint8)
        opaque = np.full((1, source.height, source.width), 255, np.uint8)
        reproject(
            np.concatenate([source.read(), opaque]),
            warped,
            src_transform=source.transform,
            src_crs=source.crs,
            dst_transform=transform,
            dst_crs="EPSG:4326",
            resampling=Resampling.bilinear,
        )
    colors = ("red", "green", "blue", "alpha")
    return write_scene(out, pixels=warped, crs="EPSG:4326", transform=transform, colors=colors)


def met_again(before: SceneScores, after: SceneScores) -> float:
    """Share of the detections of one scan that another one touches."""
    others = shapely.union_all([one.geometry for one in detect(after).detections])
    found = [one.geometry.intersects(others) for one in detect(before).detections]
    return sum(found) / len(found)


def break_block(path: Path, down: int, across: int) -> Path:
    """Overwrite the stored bytes of one block of a tiled GeoTIFF."""
    with rasterio.open(path) as dataset:
        offset, size = (
            int(dataset.get_tag_item(f"BLOCK_{what}_{across}_{down}", "TIFF", bidx=1)) for what in ("OFFSET", "SIZE")
        )
    content = bytearray(path.read_bytes())
    content[offset : offset + size] = b"\xa5" * size
    path.write_bytes(content)
    return path


def reseal(path: Path, **change: Any) -> None:
    """Change the card of a package, and seal it with whatever the other files are."""
    card = replace(Card.from_json((path / CARD).read_bytes()), **change)
    digest = packages._digest([path / name for name in packages._SEALED], card.to_json())
    (path / CARD).write_text(replace(card, digest=digest).to_json())
