"""Draw the pictures of the README from the example scene, with geoscan itself: `python examples/pictures.py`."""

from __future__ import annotations

import io
from pathlib import Path

import matplotlib.pyplot as plt
import rasterio
from matplotlib.figure import Figure
from PIL import Image
from rasterio.plot import plotting_extent

import geoscan

HERE = Path(__file__).parent
SCENE = HERE / "scene.tif"
PICTURES = HERE / "pictures"
MINE = (slice(430, 830), slice(830, 1330))
"""Rows and columns around the painted mine."""


def detections() -> None:
    """The layer of a scan over the scene."""
    mines = geoscan.scan(SCENE, progress=False)
    with rasterio.open(SCENE) as source:
        pixels, extent, crs = source.read([1, 2, 3]), plotting_extent(source), source.crs
    figure, axes = plt.subplots(figsize=(6, 5.8), layout="constrained")
    axes.imshow(pixels.transpose(1, 2, 0), extent=extent)
    placed = mines.to_crs(crs)
    placed.boundary.plot(ax=axes, color="#ffd800", linewidth=2)
    for one in placed.itertuples():
        where = one.geometry.bounds
        label = f"{one.area_ha:.0f} ha, probability {one.probability:.2f}"
        axes.annotate(label, (where[0], where[3]), (0, 4), textcoords="offset points", color="#ffd800", size=11)
    axes.set_axis_off()
    save(figure, "detections.png")


def dehazing() -> None:
    """A part of the scene before and after."""
    with rasterio.open(SCENE) as source:
        hazy = source.read([1, 2, 3])
    clear = geoscan.dehaze(hazy)
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
    for part, pixels, title in zip(axes, (hazy, clear), ("as it is", "without haze"), strict=True):
        part.imshow(pixels[:, *MINE].transpose(1, 2, 0))
        part.set_title(title)
        part.set_axis_off()
    save(figure, "dehazing.png")


def save(figure: Figure, name: str) -> None:
    """Write a picture in 128 colours, which is a third of the size."""
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=72)
    Image.open(drawn).convert("RGB").quantize(128, dither=Image.Dither.NONE).save(PICTURES / name, optimize=True)


if __name__ == "__main__":
    PICTURES.mkdir(exist_ok=True)
    detections()
    dehazing()
