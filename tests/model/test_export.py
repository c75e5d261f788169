"""What is written for OpenVINO; that it scores the same is in `test_runtime`."""

import numpy as np
import openvino as ov
import pytest
from tiny_model import SPEC, network

from geoscan.errors import PackageError
from geoscan.model.export import export
from geoscan.model.package import _portable
from geoscan.model.spec import EfficientNetSpec


@pytest.mark.parametrize("spec", [SPEC, EfficientNetSpec(side=32, chip=48)])
def test_equal_networks_give_equal_files(tmp_path, spec):
    for name in ("a", "b"):
        export(_portable(network(spec, seed=3), spec), tmp_path / f"{name}.xml")
    for suffix in (".xml", ".bin"):
        assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


def test_it_takes_any_number_of_chips_and_names_its_heads(tmp_path):
    made = network(seed=3)
    export(_portable(made, SPEC), tmp_path / "network.xml")
    run = ov.Core().compile_model(tmp_path / "network.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    chips = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    answers = run(chips)
    for name, expected in made(chips, training=False).items():
        np.testing.assert_allclose(answers[name], expected, atol=1e-5)


def test_weights_stay_in_single_precision(tmp_path):
    export(_portable(network(seed=3), SPEC), tmp_path / "network.xml")
    types = {node.get_element_type() for node in ov.Core().read_model(tmp_path / "network.xml").get_ops()}
    assert ov.Type.f32 in types
    assert ov.Type.f16 not in types


def test_an_unknown_layer_is_refused(tmp_path):
    from geoscan.model.backend import keras

    chips = keras.Input((32, 32, 3))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.ZeroPadding2D(name="edge")(chips))
    odd = keras.Model(chips, {"land": keras.layers.Dense(1, activation="sigmoid")(x)})
    with pytest.raises(PackageError, match="edge is a ZeroPadding2D"):
        export(odd, tmp_path / "network.xml")


def test_a_file_that_was_cut_short_is_noticed(tmp_path, monkeypatch):
    """A full disk is no error for OpenVINO."""
    write = ov.save_model

    def full(model, path, **how):
        write(model, path, **how)
        weights = path.with_suffix(".bin")
        weights.write_bytes(weights.read_bytes()[:-100])

    monkeypatch.setattr(ov, "save_model", full)
    with pytest.raises(OSError, match=r"network\.xml is cut short"):
        export(_portable(network(seed=3), SPEC), tmp_path / "network.xml")
