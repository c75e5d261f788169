"""What only a machine with a GPU can show: `pytest -n 0 -m gpu -s`. It has never run: there was no such machine.

Scores are compared with OpenVINO's on the processors of the same machine.
"""

import sys
from pathlib import Path
from time import perf_counter

import numpy as np
import pytest

from geoscan.machine import BATCH, batch_of, may_have_gpu
from geoscan.model.openvino_runtime import OpenVinoDetector
from geoscan.model.shipped import shipped
from geoscan.scanning.options import ScanOptions
from geoscan.scanning.plan import Plan
from geoscan.scanning.result import detect
from geoscan.scanning.run import scan
from geoscan.scanning.workers import workers
from geoscan.scene import Scene

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not may_have_gpu(), reason="needs a GPU that TensorFlow can use; this machine has none"),
]

EXAMPLE = Path(__file__).parents[2] / "examples" / "scene.tif"
CLOSE = 5e-3
"""Half precision, against single."""


@pytest.fixture(scope="module", params=shipped(), ids=lambda one: one.card.name)
def package(request):
    return request.param


@pytest.fixture(scope="module")
def on_gpu(package):
    from geoscan.model.backend import gpus
    from geoscan.model.tensorflow_runtime import TensorFlowDetector

    assert gpus(), "there seems to be a GPU, but TensorFlow sees none: look at its CUDA libraries"
    return TensorFlowDetector(package, batch_of(package.card.spec.chip, "tensorflow"))


def chips_of(package, n):
    side = package.card.spec.chip
    rng = np.random.default_rng(1)
    smooth = np.linspace(0, 255, side)[:, None, None] * rng.random((n, 1, 1, 3))
    return (smooth + rng.normal(0, 20, (n, side, side, 3))).clip(0, 255).astype(np.uint8)


def rate(detector, chips, seconds=5):
    """Chips a second, after a first call."""
    detector(chips)
    done, start = 0, perf_counter()
    while perf_counter() - start < seconds:
        detector(chips)
        done += len(chips)
    return done / (perf_counter() - start)


def test_scores_are_close_to_those_of_the_processors(package, on_gpu):
    chips = chips_of(package, 40)
    np.testing.assert_allclose(on_gpu(chips), OpenVinoDetector(package)(chips), atol=CLOSE)


def test_its_batch_fits_into_its_memory_and_leaves_it_again(package, on_gpu):
    from geoscan.model.backend import tf

    chips = chips_of(package, 4 * on_gpu._batch)
    on_gpu(chips)
    before = tf.config.experimental.get_memory_info("GPU:0")["current"]
    for _ in range(5):
        on_gpu(chips)
    after = tf.config.experimental.get_memory_info("GPU:0")
    assert after["current"] <= before * 1.01
    sys.stdout.write(f"\n{package.card.name}: {on_gpu._batch} chips at once, {after['peak'] / 2**20:.0f} MiB at most\n")


def test_it_is_faster_than_the_processors(package, on_gpu):
    chips = chips_of(package, batch_of(package.card.spec.chip, "tensorflow"))
    gpu, cpu = rate(on_gpu, chips), rate(OpenVinoDetector(package), chips[:BATCH])
    sys.stdout.write(f"\n{package.card.name}: {gpu:.0f} chips/s on the GPU, {cpu:.0f} on the processors\n")
    assert gpu > cpu


def test_the_example_has_the_same_detections():
    package = next(one for one in shipped() if one.card.preprocess.gsd < 5)
    found = {}
    for runtime in ("tensorflow", "openvino"):
        plan = Plan.of(Scene.open(str(EXAMPLE)), package, ScanOptions(runtime=runtime))
        with workers(2, batches=plan.batches) as pool:
            found[runtime] = detect(scan(plan, pool)).detections
    assert [one.n_chips for one in found["tensorflow"]] == [one.n_chips for one in found["openvino"]]
