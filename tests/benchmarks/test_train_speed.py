"""What oneDNN gains in training: `pytest -m large -s tests/benchmarks/test_train_speed.py`.

TensorFlow decides on oneDNN when it is loaded, so each way is a process of its own.
"""

import json
import os
import subprocess
import sys
from time import perf_counter

import pytest

PRESETS = ("compact", "lite", "lite-small")
BATCH, STEPS = 32, 6


def chips_per_second():
    """Training speed of each preset, in this process."""
    from geoscan.model.backend import start

    start()
    import keras
    import numpy as np

    from geoscan.model.network import build
    from geoscan.model.spec import preset
    from geoscan.train.losses import loss_of
    from geoscan.train.step import Step

    rng, speeds = np.random.default_rng(0), {}
    for name in PRESETS:
        spec = preset(name)
        losses = {head.name: loss_of(head, np.ones(len(head.labels), np.float32)) for head in spec.heads}
        step = Step(build(spec), losses, keras.optimizers.AdamW(1e-3))
        chips = rng.integers(0, 256, (BATCH, spec.chip, spec.chip, 3), np.uint8)
        targets = {head.name: rng.random((BATCH, len(head.labels)), np.float32) for head in spec.heads}
        step(chips, targets)
        step(chips, targets)
        begun = perf_counter()
        for _ in range(STEPS):
            step(chips, targets)
        speeds[name] = BATCH * STEPS / (perf_counter() - begun)
    return speeds


@pytest.mark.large
def test_training_with_onednn(capsys):
    speeds = {}
    for switch in ("0", "1"):
        environment = os.environ | {"TF_ENABLE_ONEDNN_OPTS": switch}
        child = subprocess.run([sys.executable, __file__], env=environment, capture_output=True, text=True, check=True)
        speeds[switch] = json.loads(child.stdout.splitlines()[-1])
    lines = [f"{'chips/s':<12}{'without':>9}{'with':>9}{'ratio':>7}"]
    for name in PRESETS:
        without, with_it = speeds["0"][name], speeds["1"][name]
        lines.append(f"{name:<12}{without:9.1f}{with_it:9.1f}{with_it / without:7.2f}")
    with capsys.disabled():
        sys.stdout.write("\n" + "\n".join(lines) + "\n")
    assert all(speed > 0 for each in speeds.values() for speed in each.values())


if __name__ == "__main__":
    sys.stdout.write(json.dumps(chips_per_second()) + "\n")
