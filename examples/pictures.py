"""Draw the pictures of the README from the example scene, with geoscan itself: `python examples/pictures.py`.

The report's needs Debian's chromium. `make_project.py` draws the one of QGIS.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

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


def report() -> None:
    """The report's map and close-up, as a browser shows them."""
    from playwright.sync_api import sync_playwright

    with TemporaryDirectory() as folder, sync_playwright() as driver:
        page_file = Path(folder) / "report.html"
        command = [sys.executable, "-m", "geoscan", str(SCENE), "--report", str(page_file), "-q"]
        subprocess.run(command, check=True)
        browser = driver.chromium.launch(executable_path="/usr/bin/chromium")
        page = browser.new_page(viewport={"width": 640, "height": 760})
        page.goto(page_file.as_uri())
        page.evaluate("document.getElementById('maps').scrollIntoView()")
        page.wait_for_timeout(500)  # the map fades in
        drawn = page.screenshot()
        browser.close()
    reduced(io.BytesIO(drawn), "report.png")


def save(figure: Figure, name: str) -> None:
    """Write a figure."""
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=72)
    reduced(drawn, name)


def reduced(drawn: io.BytesIO, name: str) -> None:
    """Write a picture in 128 colours, which is a third of the size."""
    Image.open(drawn).convert("RGB").quantize(128, dither=Image.Dither.NONE).save(PICTURES / name, optimize=True)


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    PICTURES.mkdir(exist_ok=True)
    detections()
    dehazing()
    report()
