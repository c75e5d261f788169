from types import SimpleNamespace

import pytest

from geoscan.model.backend import tf
from geoscan.model.spec import PRESETS
from geoscan.train import devices


@pytest.fixture
def gpus(monkeypatch):
    """Pretend GPUs of some compute capabilities."""

    def pretend(*capabilities):
        monkeypatch.setattr(devices, "gpus", lambda: list(capabilities))
        details = SimpleNamespace(get_device_details=lambda found: {"compute_capability": found} if found else {})
        monkeypatch.setattr(tf.config, "experimental", details)

    return pretend


@pytest.mark.parametrize("spec", [PRESETS["compact"], PRESETS["lite1-small"]], ids=lambda spec: spec.family)
def test_half_precision_where_every_gpu_is_fast_at_it(gpus, spec):
    for capabilities, wanted in (
        ([(7, 0)], "mixed_float16"),
        ([(8, 6), (9, 0)], "mixed_float16"),
        ([(6, 1)], "float32"),
        ([(8, 6), (6, 1)], "float32"),
        ([None], "float32"),
    ):
        gpus(*capabilities)
        assert devices.policy(spec) == wanted, capabilities


def test_a_cpu_that_multiplies_bfloat16_takes_it_for_a_densenet_alone(gpus, monkeypatch):
    gpus()
    monkeypatch.setattr(devices, "multiplies_bfloat16", lambda: True)
    assert devices.policy(PRESETS["compact"]) == "mixed_bfloat16"
    assert devices.policy(PRESETS["lite1-small"]) == "float32"
    monkeypatch.setattr(devices, "ONE_DNN", False)
    assert devices.policy(PRESETS["compact"]) == "float32"
    monkeypatch.setattr(devices, "ONE_DNN", True)
    monkeypatch.setattr(devices, "multiplies_bfloat16", lambda: False)
    assert devices.policy(PRESETS["compact"]) == "float32"


def test_a_cpu_needs_no_strategy(gpus):
    gpus()
    assert not tf.distribute.has_strategy()
    with devices.strategy().scope():
        assert not tf.distribute.has_strategy()
    assert devices.strategy().num_replicas_in_sync == 1


def test_one_gpu_is_used_and_several_share(gpus, monkeypatch):
    monkeypatch.setattr(tf.distribute, "MirroredStrategy", lambda: "mirrored")
    monkeypatch.setattr(tf.distribute, "OneDeviceStrategy", lambda device: device)
    gpus((8, 0))
    assert devices.strategy() == "/GPU:0"
    gpus((8, 0), (8, 0))
    assert devices.strategy() == "mirrored"
