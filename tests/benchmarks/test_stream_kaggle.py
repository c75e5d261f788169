"""Memory and pace of the input pipeline over a set as large as Kaggle's: `pytest -n 0 -m large -s` with this file.

GEOSCAN_BENCH_CHIPS=40479 streams as many chips as Kaggle's set has; that takes 8 GB of disk for the cache.
GEOSCAN_BENCH_DIR says on which disk; the system's place for temporary files unless given.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import kaggle_dir
import numpy as np
import pytest
from PIL import Image

CHIPS = int(os.environ.get("GEOSCAN_BENCH_CHIPS", "2000"))
FIELD = 2048
MOST_MB = 4096

STREAM = """
import json, sys, time
from pathlib import Path
from geoscan.dehazing import DarkLevel
from geoscan.model.preprocess import Preprocess
from geoscan.model.spec import PLANET_HEADS
from geoscan.train.augment import Augmentation
from geoscan.model.split import Split
from geoscan.train.batches import Batches, StoredExamples
from geoscan.data.material import gather
from geoscan.data.sources import KaggleSource, TrainingData

def timed(start):
    return round(len(made.names) / (time.perf_counter() - start), 1)

root, cache = map(Path, sys.argv[1:])
preprocess = Preprocess(256, 3.4, "visual", DarkLevel())
split, data = Split(cloudy_cap=None), TrainingData(KaggleSource(root))
start = time.perf_counter()
made = gather(data, preprocess, split, cache)
first = timed(start)
start = time.perf_counter()
made = gather(data, preprocess, split, cache)
again = timed(start)
training, _ = made.sides()
examples = StoredExamples(made.chips, made.targets, training)
batches = Batches(examples, PLANET_HEADS, preprocess, batch=32, seed=0, augmentation=Augmentation())
start, seen = time.perf_counter(), 0
for chips, targets in batches.epoch(0):
    assert chips.shape == (32, 256, 256, 3) and targets["land"].shape == (32, 13)
    seen += len(chips)
seconds = time.perf_counter() - start
memory = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
print(json.dumps({
    "chips": len(made.names), "training": len(training), "seen": seen,
    "prepared_per_second": first, "from_cache_per_second": again, "batched_per_second": round(seen / seconds, 1),
    "peak_rss_mb": int(memory["VmHWM"].split()[0]) // 1024,  # getrusage would tell the peak of the test run's process
    "own_mb": int(memory["RssAnon"].split()[0]) // 1024,
}))
"""


def write_chips(root):
    """Write CHIPS different JPEGs with detail up to their borders, as real ground has: crops of one rough field."""
    rng = np.random.default_rng(0)
    field = sum(
        cv2.resize(rng.normal(0, size, (FIELD // cell, FIELD // cell, 3)).astype(np.float32), (FIELD, FIELD))
        for size, cell in ((8, 2), (12, 16), (25, 128))
    )
    field = np.clip(field + np.array([70, 90, 65]), 0, 255).astype(np.uint8)
    (root / "train-jpg").mkdir(parents=True)
    for i in range(CHIPS):
        y, x = rng.integers(0, FIELD - 256, 2)
        Image.fromarray(field[y : y + 256, x : x + 256]).save(root / "train-jpg" / f"train_{i}.jpg", quality=88)
    rows = [f"train_{i},{kaggle_dir.tags(i)}" for i in range(CHIPS)]
    (root / "train_v2.csv").write_text("\n".join(["image_name,tags", *rows]) + "\n")


@pytest.mark.large
@pytest.mark.timeout(0 if CHIPS > 10_000 else 900)
def test_a_set_like_kaggles_streams_in_little_memory(capsys):
    with tempfile.TemporaryDirectory(dir=os.environ.get("GEOSCAN_BENCH_DIR")) as room:
        root = Path(room) / "kaggle"
        write_chips(root)
        done = subprocess.run(
            [sys.executable, "-c", STREAM, root, Path(room) / "cache"], capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    with capsys.disabled():
        print(f"\n{json.dumps(figures)}")  # noqa: T201
    assert figures["chips"] == CHIPS
    assert figures["seen"] > 0.7 * CHIPS
    assert figures["seen"] <= figures["training"]
    assert figures["peak_rss_mb"] < MOST_MB
