"""Networks load where Keras runs on JAX, so that a machine with a GPU that has JAX can train them."""

import os
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest

from geoscan.model.shipped import shipped
from geoscan.model.tensorflow_runtime import NetworkDetector

SCORE = """
import sys
import numpy as np
from geoscan.model.shipped import shipped
from geoscan.model.backend import keras

assert keras.backend.backend() == "jax"
assert "tensorflow" not in sys.modules
rng = np.random.default_rng(0)
for package in shipped():
    spec, network = package.card.spec, package.network()
    answers = network(rng.integers(0, 256, (3, spec.chip, spec.chip, 3), np.uint8))
    scores = np.concatenate([answers[head.name] for head in spec.heads], axis=1)
    np.save(f"{sys.argv[1]}/{package.card.name}.npy", scores)
try:
    from geoscan.model.backend import tf
except Exception as error:
    print(error)
"""


@pytest.mark.large
@pytest.mark.skipif(find_spec("jax") is None, reason="jax is not installed")
def test_shipped_models_answer_alike_on_jax(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", SCORE, tmp_path],
        env={**os.environ, "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "KERAS_BACKEND is jax, this takes tensorflow; unset it" in done.stdout
    rng = np.random.default_rng(0)
    for package in shipped():
        spec = package.card.spec
        wanted = NetworkDetector(package.network(), spec)(rng.integers(0, 256, (3, spec.chip, spec.chip, 3), np.uint8))
        np.testing.assert_allclose(np.load(tmp_path / f"{package.card.name}.npy"), wanted, atol=1e-4)
