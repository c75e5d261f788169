"""Time of dehazing a chip, four ways, on one core: `pytest -n 0 -s tests/benchmarks/test_dehaze_speed.py`.

The loop is timed on a 20 px crop with small windows and scaled by area; with the real windows it would be slower still.
"""

import sys
from dataclasses import replace
from pathlib import Path
from statistics import median
from time import perf_counter

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from slow_dehaze import by_pixel, plain_opencv

from geoscan import dehazing
from geoscan.dark_channel import DarkChannel, dehaze

CHIP = 256
CROP = 20


def milliseconds(run, seconds=0.5):
    """Median of single calls after a first one that fills caches, for about `seconds`."""
    run()
    times = []
    while sum(times) < seconds or len(times) < 3:
        start = perf_counter()
        run()
        times.append(perf_counter() - start)
    return 1000 * median(times)


def chip():
    random = np.random.default_rng(7)
    ground = cv2.resize(random.random((16, 16, 3), dtype=np.float32), (CHIP, CHIP), interpolation=cv2.INTER_CUBIC)
    noisy = ground + random.normal(0, 0.03, ground.shape).astype(np.float32)
    return np.ascontiguousarray(noisy.clip(0, 1), np.float32)


def compare():
    """Rows of the table, (way, milliseconds a chip), after those of the dark channel agreed."""
    params = DarkChannel()
    small = replace(params, patch=7, radius=8)
    light = params.airlight
    image = chip()
    pixels = np.ascontiguousarray(image.transpose(2, 0, 1))
    crop = np.ascontiguousarray(pixels[:, :CROP, :CROP])
    cloud = np.random.default_rng(8).random((CHIP, CHIP)) > 0.1

    plain = plain_opencv(image, params, light).transpose(2, 0, 1)
    np.testing.assert_allclose(dehaze(pixels, None, params), plain, rtol=0, atol=1e-4)
    np.testing.assert_allclose(dehaze(crop, None, small), by_pixel(crop, None, small, light), rtol=0, atol=2e-5)

    visual = np.rint(pixels * 255).astype(np.uint8)
    loop = milliseconds(lambda: by_pixel(crop, None, small, light)) * (CHIP / CROP) ** 2
    return [
        ("geoscan, dark level of the chip", milliseconds(lambda: dehazing.dehaze(visual, None, dehazing.DarkLevel()))),
        ("geoscan, dark channel in 15 px", milliseconds(lambda: dehaze(pixels, None, params))),
        ("geoscan, the same, 10 % nodata", milliseconds(lambda: dehaze(pixels, cloud, params))),
        ("plain OpenCV, dark channel in 15 px", milliseconds(lambda: plain_opencv(image, params, light))),
        ("Python loop, scaled from a crop", loop),
    ]


def report(rows):
    base = rows[0][1]
    lines = [f"{way:<38}{time:>12.2f} ms{time / base:>10.1f} x" for way, time in rows]
    return "\n".join([f"one {CHIP} px RGB chip, one core", *lines])


def test_ways_agree_and_are_timed(capsys):
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        rows = compare()
    finally:
        cv2.setNumThreads(threads)
    with capsys.disabled():
        sys.stdout.write(f"\n{report(rows)}\n")
    assert rows[0][1] < rows[1][1] < rows[-1][1]
