import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from geoscan.model.backend import keras
from geoscan.model.network import build
from geoscan.model.spec import DenseNetSpec
from geoscan.train.losses import loss_of
from geoscan.train.tensorflow_step import TensorFlowStep

SPEC = DenseNetSpec(blocks=(1,), growth=4, stem=4, chip=8, stem_stride=1, dropout=0.3)
LOSSES = {head.name: loss_of(head, np.ones(len(head.labels), np.float32)) for head in SPEC.heads}
RNG = np.random.default_rng(0)
CHIPS = RNG.integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
TARGETS = {head.name: RNG.integers(0, 2, (6, len(head.labels))).astype(np.float32) for head in SPEC.heads}


def fresh():
    keras.utils.set_random_seed(0)
    return build(SPEC), keras.optimizers.AdamW(0.01, use_ema=True, clipnorm=1.0)


def test_it_is_the_step_that_keras_makes():
    network, optimizer = fresh()
    step = TensorFlowStep(network, LOSSES, optimizer)
    twin, again = fresh()
    twin.compile(again, loss=LOSSES, jit_compile=False)
    for _ in range(3):
        assert step(CHIPS, TARGETS) == pytest.approx(float(twin.train_on_batch(CHIPS, TARGETS)[0]), rel=1e-6)
    for one, other in zip(network.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_only_half_precision_scales_the_loss():
    network, optimizer = fresh()
    assert TensorFlowStep(network, LOSSES, optimizer).optimizer is optimizer
    half = TensorFlowStep(build(SPEC, "mixed_float16"), LOSSES, keras.optimizers.SGD())
    assert isinstance(half.optimizer, keras.optimizers.LossScaleOptimizer)
    network, optimizer = build(SPEC, "mixed_bfloat16"), keras.optimizers.SGD()
    assert TensorFlowStep(network, LOSSES, optimizer).optimizer is optimizer, "a checkpoint may move to another CPU"


@pytest.mark.parametrize("dtype", ["float32", "mixed_float16"])
def test_the_rate_of_a_step_stays_until_another_is_given(dtype):
    network = build(SPEC, dtype)
    step = TensorFlowStep(network, LOSSES, keras.optimizers.SGD(0.1))

    def changed(rate=None):
        before = [keras.ops.convert_to_numpy(one) for one in network.trainable_variables]
        step(CHIPS, TARGETS, rate)
        after = [keras.ops.convert_to_numpy(one) for one in network.trainable_variables]
        return any((one != other).any() for one, other in zip(before, after, strict=True))

    assert [changed(), changed(0.0), changed(), changed(0.2)] == [True, False, False, True]
    assert float(step.optimizer.learning_rate) == pytest.approx(0.2)


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory):
    """What `tests/train_mirrored.py` found."""
    script = Path(__file__).parents[1] / "train_mirrored.py"
    command = [sys.executable, str(script), str(tmp_path_factory.mktemp("mirrored"))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def close(history, wanted, tolerance=1e-4):
    assert len(history) == len(wanted) == 3
    for figures, expected in zip(history, wanted, strict=True):
        assert figures == pytest.approx(expected, abs=tolerance)


@pytest.mark.large
def test_two_devices_share_a_batch_and_learn_what_one_learns(mirrored):
    close(mirrored["shared"], mirrored["alone"])
    assert mirrored["apart"] < 1e-4


@pytest.mark.large
def test_two_devices_resume_as_one_does(mirrored):
    close(mirrored["resumed"], mirrored["normalising"], 1e-6)


@pytest.mark.large
def test_a_gradient_that_overflows_on_one_device_stops_both(mirrored):
    assert mirrored["overflow"] == {"untouched": True, "halved": True}


@pytest.mark.large
def test_an_odd_batch_cannot_be_shared(mirrored):
    assert mirrored["odd"] == "2 GPUs cannot share a batch of 5 equally; pass --batch 4"
