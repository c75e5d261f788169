"""What a training on JAX comes to, beside the same one on TensorFlow."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from train.jax_fit import EPOCHS, train

pytestmark = [
    pytest.mark.large,
    pytest.mark.skipif(find_spec("jax") is None, reason="jax is not installed"),
]


def run_on_jax(script: str, *arguments: object):
    """Run a script that lies beside this one, where Keras runs on JAX."""
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name(script), *map(str, arguments)],
        env={**os.environ, "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]


def on_jax(checkpoint: Path, out: Path, epochs: int = EPOCHS):
    run_on_jax("jax_fit.py", checkpoint, epochs, out)
    with np.load(out) as found:
        return dict(found)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What TensorFlow alone comes to."""
    return train(tmp_path_factory.mktemp("whole") / "run.npz", EPOCHS)


def test_a_training_goes_on_where_jax_computes_and_comes_to_the_same(tmp_path, whole):
    wanted, history = whole
    train(tmp_path / "begun.npz", 1)
    found = on_jax(tmp_path / "begun.npz", tmp_path / "found.npz")
    assert len(history) == EPOCHS
    np.testing.assert_allclose(found["losses"], [one["loss"] for one in history], rtol=2e-3)
    np.testing.assert_allclose(found["scores"], [one["score"] for one in history], rtol=2e-3)
    for n, value in enumerate(wanted.get_weights()):
        np.testing.assert_allclose(found[f"w{n}"], value, rtol=2e-2, atol=5e-3)


def test_a_training_begun_on_jax_goes_on_without_it(tmp_path, whole):
    wanted, history = whole
    on_jax(tmp_path / "begun.npz", tmp_path / "found.npz", 1)
    made, found = train(tmp_path / "begun.npz", EPOCHS)
    for one, other in zip(found, history, strict=True):
        assert one == pytest.approx(other, rel=2e-3)
    for one, other in zip(made.get_weights(), wanted.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-2, atol=5e-3)


def test_folds_that_differ_in_weights_and_rate_share_one_program_which_is_kept(tmp_path):
    run_on_jax("jax_programs.py", tmp_path)
