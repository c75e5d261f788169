"""What bfloat16, oneDNN and the fused normalisation gain.

`pytest -n 0 -m large -s tests/benchmarks/test_train_speed.py` measures it.

TensorFlow decides on oneDNN when it is loaded, so each way is a process of its own.
"""

import json
import os
import subprocess
import sys
from time import perf_counter

import pytest

PRESETS = ("compact-small", "lite-small")
WAYS = {
    "as it is": ("1", "fused", "chosen"),
    "single precision": ("1", "fused", "float32"),
    "no oneDNN": ("0", "fused", "float32"),
    "Keras' layers": ("1", "plain", "float32"),
}
"""oneDNN or not, normalisation, and the precision that training computes in."""
BATCH, STEPS = 32, 6


def chips_per_second(normalisation, precision):
    """Speed of training and of scoring with each preset, in this process."""
    import numpy as np

    from geoscan.model.backend import keras, tf
    from geoscan.model.network import build
    from geoscan.model.package import _portable
    from geoscan.model.spec import preset
    from geoscan.train.devices import policy
    from geoscan.train.losses import loss_of
    from geoscan.train.tensorflow_step import TensorFlowStep

    def speed(work):
        work()
        work()
        begun = perf_counter()
        for _ in range(STEPS):
            work()
        return BATCH * STEPS / (perf_counter() - begun)

    rng, speeds = np.random.default_rng(0), {}
    for name in PRESETS:
        spec = preset(name)
        network = build(spec, policy(spec) if precision == "chosen" else precision)
        if normalisation == "plain":
            network = _portable(network, spec)
        losses = {head.name: loss_of(head, np.ones(len(head.labels), np.float32)) for head in spec.heads}
        step = TensorFlowStep(network, losses, keras.optimizers.AdamW(1e-3))
        chips = rng.integers(0, 256, (BATCH, spec.chip, spec.chip, 3), np.uint8)
        targets = {head.name: rng.random((BATCH, len(head.labels)), np.float32) for head in spec.heads}
        answer = tf.function(lambda pixels, network=network: network(pixels, training=False))
        speeds[f"{name} trains"] = speed(lambda step=step, chips=chips, targets=targets: step(chips, targets))
        speeds[f"{name} scores"] = speed(lambda answer=answer, chips=chips: answer(tf.constant(chips)))
    return speeds


@pytest.mark.large
@pytest.mark.timeout(900)
def test_training_and_scoring(capsys):
    speeds = {}
    for way, (switch, *how) in WAYS.items():
        environment = os.environ | {"TF_ENABLE_ONEDNN_OPTS": switch}
        words = [sys.executable, __file__, *how]
        child = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
        speeds[way] = json.loads(child.stdout.splitlines()[-1])
    first, *others = WAYS
    lines = [f"{'chips/s':<20}{first:>10}" + "".join(f"{way:>18}{'times':>7}" for way in others)]
    for name, quick in speeds[first].items():
        rest = "".join(f"{speeds[way][name]:18.1f}{quick / speeds[way][name]:7.2f}" for way in others)
        lines.append(f"{name:<20}{quick:10.1f}{rest}")
    with capsys.disabled():
        sys.stdout.write("\n" + "\n".join(lines) + "\n")
    assert all(speed > 0 for each in speeds.values() for speed in each.values())


if __name__ == "__main__":
    sys.stdout.write(json.dumps(chips_per_second(*sys.argv[1:])) + "\n")
