"""Render the example scene: rainforest, a muddy river, clouds, pasture, and one artisanal gold mine.

Everything comes from seeded noise: no pixel was copied from an image. Colours and texture were set by the statistics
of 3 m satellite scenes of the Amazon. The place is real, what is drawn there is not.

    python examples/make_scene.py --out examples/scene.tif
"""

from __future__ import annotations

import argparse
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio import features
from rasterio.crs import CRS
from rasterio.transform import Affine
from shapely.geometry import Polygon, shape

ROWS, COLS = 1500, 1536  # the rows do not divide by a 256 px chip, so the scene has short cores at its lower edge
GSD = 3.7
EPSG = 32721
TRANSFORM = Affine(GSD, 0, 552_000, 0, -GSD, 9_317_000)  # Tapajos basin, 6.2 S 56.5 W

Plane = NDArray[np.float32]
"""(rows, cols)"""
Image = NDArray[np.float32]
"""(rows, cols, 3), red, green, blue, 0..255"""

MINE_PATH = ((1292, 430), (1232, 500), (1190, 560), (1105, 596), (1030, 650), (960, 668), (900, 726), (836, 752))
"""(x, y) pixels along the worked stretch of the stream, from upstream."""
STREAM_PATH = ((1470, 120), (1410, 240), (1370, 330), *MINE_PATH, (770, 810), (690, 850), (600, 905), (470, 940))
RIVER_PATH = (
    (-60, 300),
    (90, 420),
    (235, 480),
    (330, 600),
    (345, 760),
    (440, 930),
    (590, 1060),
    (650, 1210),
    (740, 1560),
)
TRACK_PATH = ((1010, 640), (1080, 760), (1100, 900), (1180, 1040), (1250, 1180), (1330, 1290), (1560, 1330))

CANOPY = (55, 65, 56)
RIVER = (143, 122, 95)
SAND = ((201, 178, 145), (193, 160, 124), (184, 155, 115), (208, 187, 160), (177, 158, 122))
POND = (
    (144, 160, 116),
    (126, 138, 100),
    (168, 157, 112),
    (156, 139, 104),
    (102, 113, 88),
    (184, 158, 110),
    (134, 152, 126),
)
SOIL = ((158, 128, 97), (138, 119, 88), (121, 109, 80))


def noise(rng: np.random.Generator, *scales: tuple[float, float]) -> Plane:
    """Smooth noise over the scene, a sum of octaves of (wavelength in pixels, standard deviation)."""
    total = np.zeros((ROWS, COLS), np.float32)
    for wavelength, deviation in scales:
        small = rng.standard_normal((int(ROWS / wavelength) + 4, int(COLS / wavelength) + 4)).astype(np.float32)
        grown = cv2.resize(small, None, fx=wavelength, fy=wavelength, interpolation=cv2.INTER_CUBIC)[:ROWS, :COLS]
        total += grown * np.float32(deviation / grown.std())
    return total


def smooth(plane: Plane, sigma: float) -> Plane:
    """The plane, Gaussian blurred."""
    return cv2.GaussianBlur(plane, (0, 0), sigma)


def ramp(plane: Plane, low: float, high: float) -> Plane:
    """0 below `low`, 1 above `high`, a smooth step between."""
    t = np.clip((plane - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def cells(rng: np.random.Generator, spacing: float) -> tuple[Plane, NDArray[np.int32], int]:
    """Cells around scattered points: distance to the own point, number of the cell (from 1), and how many there are."""
    seeds = np.full((ROWS, COLS), 255, np.uint8)
    n = int(ROWS * COLS / spacing**2)
    seeds[rng.integers(0, ROWS, n), rng.integers(0, COLS, n)] = 0
    distance, label = cv2.distanceTransformWithLabels(seeds, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_CCOMP)
    return distance, label, int(label.max())


def curve(points: tuple[tuple[float, float], ...]) -> NDArray[np.float64]:
    """A smooth line through control points, (n, 2) x, y, about one point a pixel: Chaikin's corner cutting."""
    line = np.array(points, float)
    for _ in range(5):
        cut = np.stack([0.75 * line[:-1] + 0.25 * line[1:], 0.25 * line[:-1] + 0.75 * line[1:]], 1).reshape(-1, 2)
        line = np.vstack([line[:1], cut, line[-1:]])
    return line


def away_from(points: tuple[tuple[float, float], ...]) -> Plane:
    """Distance in pixels to a smooth line through the points."""
    canvas = np.full((ROWS, COLS), 255, np.uint8)
    cv2.polylines(canvas, [np.round(curve(points)).astype(np.int32)], isClosed=False, color=0)
    return cv2.distanceTransform(canvas, cv2.DIST_L2, 5)


def paint(image: Image, colour: Image | tuple[int, int, int], cover: Plane) -> None:
    """Lay a colour over the image, in place, where `cover` (0..1) says."""
    image += (np.asarray(colour, np.float32) - image) * cover[..., None]


def choose(rng: np.random.Generator, palette: tuple[tuple[int, int, int], ...], n: int) -> NDArray[np.float32]:
    """A table of n + 1 colours drawn from a palette with a little variation: index it with cell numbers."""
    drawn = np.array(palette, np.float32)[rng.integers(0, len(palette), n + 1)]
    return drawn + rng.normal(0, 6, (n + 1, 1)).astype(np.float32) + rng.normal(0, 3, (n + 1, 3)).astype(np.float32)


def bent_cells(rng: np.random.Generator, spacing: float) -> tuple[NDArray[np.int32], int]:
    """Numbers of cells with wandering borders, and how many there are."""
    _, label, n = cells(rng, spacing)
    across, down = np.meshgrid(np.arange(COLS, dtype=np.float32), np.arange(ROWS, dtype=np.float32))
    bends = [noise(rng, (6, 0.8), (0.6 * spacing, 0.12 * spacing), (2 * spacing, 0.3 * spacing)) for _ in range(2)]
    rows, cols = np.clip(down + bends[0], 0, ROWS - 1), np.clip(across + bends[1], 0, COLS - 1)
    return label[rows.astype(int), cols.astype(int)], n


def edges(label: NDArray[np.int32]) -> Plane:
    """Distance in pixels to the nearest border between cells."""
    border = np.ones((ROWS, COLS), np.uint8)
    border[:, 1:] &= label[:, 1:] == label[:, :-1]
    border[1:] &= label[1:] == label[:-1]
    return cv2.distanceTransform(border, cv2.DIST_L2, 5)


def soft(image: Image, sigma: float) -> Image:
    """The image, Gaussian blurred."""
    return cv2.GaussianBlur(image, (0, 0), sigma)


def forest(rng: np.random.Generator) -> Image:
    """Canopy: crowns of 15 to 30 m lit from the north-east, over relief and stands of differing tone."""
    height = np.zeros((ROWS, COLS), np.float32)
    tint = np.zeros((ROWS, COLS), np.float32)
    for spacing, weight in ((5.0, 1.0), (9.0, 0.8)):
        distance, label, n = cells(rng, spacing)
        height += weight * np.sqrt(np.clip(1 - (distance / (0.9 * spacing)) ** 2, 0, 1))
        tint += weight * rng.standard_normal(n + 1).astype(np.float32)[label]
    height = smooth(height, 0.5)
    light = cv2.Sobel(height, cv2.CV_32F, 0, 1) - cv2.Sobel(height, cv2.CV_32F, 1, 0)
    texture = 3.4 * light / light.std() + 1.6 * height / height.std() + 1.5 * smooth(tint, 0.6) / tint.std()
    texture += noise(rng, (3, 0.7), (8, 1.0), (18, 0.9), (45, 0.8), (150, 1.0), (500, 1.6))
    tone = np.float32([1.5, 1.26, 0.94])  # bright crowns are yellower than shade, as the shade is lit by the blue sky
    return (
        np.float32(CANOPY)
        + (texture - texture.mean())[..., None] * tone
        + noise(rng, (60, 0.8))[..., None] * (1, 0, -1)
    )


def river(image: Image, rng: np.random.Generator) -> None:
    """The wide, muddy river and its darker banks; no mine on it."""
    distance = away_from(RIVER_PATH) + noise(rng, (8, 0.6), (25, 1.5), (90, 6))
    width = 40 + 5 * np.linspace(0, 1, ROWS, dtype=np.float32)[:, None]
    paint(image, (62, 76, 60), 0.5 * ramp(-distance, -width - 14, -width))
    flow = np.float32(RIVER) + noise(rng, (40, 1.0), (160, 2.5))[..., None] + 6 * ramp(distance, 10, 40)[..., None]
    paint(image, flow, ramp(-distance, -width - 1, -width + 1))


def stream(image: Image, rng: np.random.Generator) -> None:
    """The stream that the mine works; partly under the canopy, turbid below the mine."""
    distance = away_from(STREAM_PATH) + noise(rng, (8, 0.6), (30, 1.0))
    downstream = ramp(-np.arange(COLS, dtype=np.float32), -900, -820)[None, :]
    gap = ramp(noise(rng, (25, 1.0)), -1.6, -0.4) * (0.25 + 0.6 * downstream)
    paint(image, (166, 138, 104), gap * ramp(-distance, -3.2, -1.2))


@cache
def worked_ground() -> Plane:
    """Signed field of the mine: above 0 is dug, rising to the middle of the corridor; in pixels."""
    rng = np.random.default_rng(71)
    along = away_from(MINE_PATH)
    width = 62 + noise(rng, (120, 16))
    field = width - along + noise(rng, (5, 1.5), (9, 3), (16, 6), (36, 12), (80, 13))
    for x, y, radius in (
        (1120, 500, 26),
        (985, 560, 18),
        (1165, 690, 24),
        (880, 640, 20),
        (1290, 540, 17),
        (1010, 775, 15),
    ):
        rows, cols = np.ogrid[:ROWS, :COLS]
        pit = radius - np.hypot(rows - y, cols - x).astype(np.float32)
        field = np.maximum(field, pit + noise(rng, (9, 3), (20, 5)))
    return field


def mine(image: Image, rng: np.random.Generator) -> None:
    """Tailings, ponds and bare soil in a patchwork of pits along the stream."""
    field = worked_ground()
    paint(image, (66, 66, 52), 0.75 * ramp(field, -18, 0) * ramp(noise(rng, (9, 1), (20, 1)), -1, 0.8))  # dying trees
    dug = ramp(field + noise(rng, (5, 0.8)), -1.5, 2)

    fan, n = bent_cells(rng, 26)
    rills = noise(rng, (2.5, 3), (5, 7), (12, 8), (45, 6))[..., None]
    paint(image, soft(choose(rng, SAND, n)[fan], 2.2) + rills, dug)
    bare = ramp(noise(rng, (5, 0.4), (9, 0.6), (34, 1.0)), 0.5, 1.5)
    paint(image, soft(choose(rng, SOIL, n)[fan], 3) + rills, dug * bare)
    paint(
        image, (126, 110, 83), 0.25 * dug * ramp(-edges(fan) - noise(rng, (7, 1.0), (25, 1.2)), -2.0, -0.2)
    )  # ditches

    pit, n = bent_cells(rng, 24)
    wet = (rng.random(n + 1) < 0.25)[pit].astype(np.float32) * ramp(noise(rng, (70, 1)), -1.6, -0.8)
    bank = edges(pit) + noise(rng, (7, 1.0), (16, 1.6))
    paint(image, (100, 92, 68), 0.55 * wet * ramp(bank, 0.2, 2.0) * ramp(field, 1, 6))
    pond = wet * ramp(bank, 1.6, 3.4) * ramp(field, 3, 8)
    paint(image, choose(rng, POND, n)[pit] + noise(rng, (5, 1.2), (14, 3))[..., None], pond)
    paint(
        image, (76, 82, 60), 0.9 * dug * (1 - pond) * ramp(noise(rng, (5, 0.4), (9, 0.5), (28, 1)), 0.2, 0.9)
    )  # regrowth
    run = away_from(MINE_PATH) + noise(rng, (16, 3), (50, 8))
    paint(image, (192, 158, 114), 0.85 * ramp(-np.abs(run - 6), -4.5, -2) * dug * (1 - 0.8 * pond))


def farm(image: Image, rng: np.random.Generator) -> None:
    """A few pastures and fields with straight borders, and the track that leads to the mine."""
    paint(image, (150, 124, 94), 0.7 * ramp(-away_from(TRACK_PATH), -2.0, -0.8) * ramp(noise(rng, (20, 1)), -1.4, 0))
    grass = noise(rng, (3, 2), (9, 3), (40, 4))[..., None]
    plots = (
        (((1255, 1190), (1392, 1150), (1422, 1268), (1290, 1312)), (104, 118, 82)),
        (((1400, 1148), (1500, 1128), (1512, 1250), (1430, 1266)), (126, 121, 88)),
        (((1305, 1326), (1420, 1290), (1440, 1398), (1330, 1420)), (92, 112, 74)),
        (((1428, 1288), (1522, 1262), (1528, 1372), (1448, 1392)), (140, 122, 92)),
    )
    for corners, colour in plots:
        canvas = np.zeros((ROWS, COLS), np.uint8)
        cv2.fillPoly(canvas, [np.array(corners, np.int32)], 255)
        inside = cv2.distanceTransform(canvas, cv2.DIST_L2, 5) - cv2.distanceTransform(255 - canvas, cv2.DIST_L2, 5)
        inside += noise(rng, (12, 1.0), (40, 1.5))
        trees = ramp(noise(rng, (7, 1.0)), 2.1, 2.5)
        paint(image, np.float32(colour) + grass, ramp(inside, 0.5, 2.5) * (1 - trees))


def sky(image: Image, rng: np.random.Generator) -> None:
    """Two cloud fields with their shadows to the south-west, and thin haze over everything."""
    rows, cols = np.mgrid[:ROWS, :COLS].astype(np.float32)
    puffs = noise(rng, (4, 0.07), (9, 0.14), (20, 0.25), (45, 0.45), (100, 0.7))
    places = ((1390, 60, 260, 150, 2.3), (760, 1370, 210, 150, 2.2), (560, 160, 120, 90, 1.9))
    depth = np.full((ROWS, COLS), -3, np.float32)
    for x, y, wide, high, strength in places:
        depth = np.maximum(depth, strength - 1.6 * np.hypot((cols - x) / wide, (rows - y) / high))
    cloud = ramp(puffs + depth - 1, -0.1, 1.1)
    shadow = smooth(cv2.warpAffine(cloud, np.float32([[1, 0, -52], [0, 1, 46]]), (COLS, ROWS)), 3)
    image *= 1 - np.float32([0.42, 0.36, 0.26]) * shadow[..., None]
    haze = 0.03 + 0.05 * smooth(cloud, 40)
    paint(image, (176, 190, 196), haze)
    bright = 200 + 48 * ramp(puffs + depth - 1, 0.2, 1.6) + noise(rng, (5, 2), (12, 5), (30, 5))
    paint(image, bright[..., None] * np.float32([1.0, 0.985, 0.945]), cloud)


def render() -> NDArray[np.uint8]:
    """The scene, (3, rows, cols) red, green, blue; the same pixels every time."""
    rng = np.random.default_rng(2024)
    image = forest(rng).astype(np.float32)
    for layer in (farm, stream, river, mine, sky):
        layer(image, rng)
    image = soft(image, 0.55)  # the telescope's own blur
    image += rng.normal(0, 0.7, (ROWS, COLS, 1)).astype(np.float32)
    return np.ascontiguousarray(np.clip(np.rint(image), 1, 255).astype(np.uint8).transpose(2, 0, 1))


def mine_outline() -> Polygon:
    """The outline of the rendered mine, in the scene's CRS: dug ground closed over gaps of up to 75 m."""
    dug = (worked_ground() > 0).astype(np.uint8)
    closed = cv2.morphologyEx(dug, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (21, 21)))
    parts = [shape(geom) for geom, value in features.shapes(closed, mask=closed > 0, transform=TRANSFORM) if value]
    largest = max(parts, key=lambda part: part.area)
    return Polygon(largest.exterior).simplify(GSD)


def write(path: Path) -> None:
    """Render, and write a tiled, JPEG-compressed GeoTIFF."""
    profile = {"driver": "GTiff", "height": ROWS, "width": COLS, "count": 3, "dtype": "uint8"}
    layout = {"tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "JPEG", "jpeg_quality": 95}
    with rasterio.open(
        path, "w", crs=CRS.from_epsg(EPSG), transform=TRANSFORM, photometric="YCBCR", **profile, **layout
    ) as target:
        target.write(render())


def main() -> None:
    """Write the scene where the command line says."""
    parser = argparse.ArgumentParser(description="Render the example scene.")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "scene.tif", help="GeoTIFF to write")
    path = parser.parse_args().out
    write(path)
    print(f"{path}: {ROWS} x {COLS} px at {GSD} m, EPSG:{EPSG}, {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
