"""A scan as it is usually written: rasterio's windows, OpenCV's dark channel, PyTorch as it comes.

    python plain_script.py scene.tif boxes.geojson '{"blocks": [3, 6, 8], ...}'

It runs where torch, rasterio and opencv are, and geoscan need not be.
"""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import rasterio
import torch
from rasterio.warp import transform_geom
from rasterio.windows import Window
from torch_densenet import densenet

sys.path.insert(0, str(Path(__file__).parents[2]))

from slow_dehaze import plain_opencv

BATCH = 32


def scan(scene, out, facts):
    chip, network = facts["chip"], densenet(**facts)
    features, windows, chips, seen = [], [], [], 0
    with rasterio.open(scene) as source:
        whole = [(row, col) for row in range(0, source.height, chip) for col in range(0, source.width, chip)]
        for place in whole:
            windows.append(Window(place[1], place[0], chip, chip))
            chips.append(prepared(source.read([1, 2, 3], window=windows[-1]), facts))
            if len(chips) == BATCH or place == whole[-1]:
                with torch.inference_mode():
                    scores = network(torch.from_numpy(np.stack(chips))).numpy()
                seen += len(scores)
                found = [window for window, row in zip(windows, scores, strict=True) if row[0] > 0.5]
                features += [feature(source, window) for window in found]
                windows, chips = [], []
    Path(out).write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return seen


def prepared(pixels, facts):
    """(3, rows, cols) uint8 without haze, as the network wants it."""
    haze = SimpleNamespace(**facts["haze"])
    image = plain_opencv(pixels.transpose(1, 2, 0).astype(np.float32) / 255, haze, haze.airlight)
    mean, std = (np.asarray(facts[name], np.float32) / 255 for name in ("mean", "std"))
    return ((image - mean) / std).transpose(2, 0, 1)


def feature(source, window):
    west, south, east, north = source.window_bounds(window)
    ring = [(west, south), (east, south), (east, north), (west, north), (west, south)]
    box = {"type": "Polygon", "coordinates": [ring]}
    return {"type": "Feature", "properties": {}, "geometry": transform_geom(source.crs, "EPSG:4326", box)}


if __name__ == "__main__":
    scene, out, facts = sys.argv[1:]
    sys.stdout.write(json.dumps({"chips": scan(scene, out, json.loads(facts)), "torch": torch.__version__}))
