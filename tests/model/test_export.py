"""What is written for OpenVINO; that it scores the same is in `test_runtime`."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.special
from tiny_model import SPEC, card, network, package

from geoscan.errors import PackageError
from geoscan.labels import MINE
from geoscan.model.export import export
from geoscan.model.network import FEATURES, with_output
from geoscan.model.openvino_backend import ov
from geoscan.model.openvino_runtime import OpenVinoDetector
from geoscan.model.package import EVIDENCE, _portable, save
from geoscan.model.spec import EfficientNetSpec, Head
from geoscan.model.tensorflow_runtime import NetworkDetector


@pytest.mark.parametrize("spec", [SPEC, pytest.param(EfficientNetSpec(side=32, chip=48), marks=pytest.mark.large)])
def test_equal_networks_give_equal_files(tmp_path, spec):
    for name in ("a", "b"):
        export(_portable(network(spec, seed=3), spec), tmp_path / f"{name}.xml")
    for suffix in (".xml", ".bin"):
        assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


@pytest.mark.large
def test_weights_that_half_precision_holds_take_half_of_the_room(tmp_path):
    """The same numbers arrive, and so do the same scores."""
    spec = EfficientNetSpec(side=32, chip=48)
    whole = network(spec, seed=3)
    whole.set_weights([value.astype(np.float16).astype(np.float32) for value in whole.get_weights()])
    saved = save(tmp_path / "halves", whole, card(spec))
    plain = package(tmp_path / "plain", spec, seed=3)
    for name in ("network.bin", "weights.keras"):
        sizes = [(one.path / name).stat().st_size for one in (saved, plain)]
        assert sizes[0] < 0.6 * sizes[1], name
    for found, wanted in zip(saved.network().get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(found, wanted)
    chips = np.random.default_rng(0).integers(0, 256, (3, 48, 48, 3), np.uint8)
    found, wanted = OpenVinoDetector(saved)(chips), NetworkDetector(whole, spec)(chips)
    np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_it_takes_any_number_of_chips_and_names_its_heads(tmp_path):
    made = network(seed=3)
    export(_portable(made, SPEC), tmp_path / "network.xml")
    run = ov.Core().compile_model(tmp_path / "network.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    chips = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    answers = run(chips)
    for name, expected in made(chips, training=False).items():
        np.testing.assert_allclose(answers[name], expected, atol=1e-5)


@pytest.mark.parametrize("spec", [SPEC, pytest.param(EfficientNetSpec(side=96, chip=48), marks=pytest.mark.large)])
def test_the_evidence_by_place_is_what_the_score_is_made_of(tmp_path, spec):
    """The map's mean is the logit of the mine's score, and the map is the one that Keras' features give."""
    made = network(spec, seed=3)
    head, column = spec.alone(MINE)
    export(_portable(made, spec), tmp_path / "network.xml", (head, column))
    run = ov.Core().compile_model(tmp_path / "network.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    chips = np.random.default_rng(0).integers(0, 256, (3, spec.chip, spec.chip, 3), np.uint8)
    chips[1, : spec.chip // 2] //= 4
    answers = run(chips)
    features = np.asarray(with_output(made, FEATURES, FEATURES)(chips, training=False)[FEATURES])
    kernel, bias = made.get_layer(head).get_weights()
    by_place = features @ kernel[:, column] + bias[column]
    assert np.ptp(by_place, axis=(1, 2)).min() > 1e-3
    np.testing.assert_allclose(answers[EVIDENCE], by_place[:, None], atol=1e-4)
    logit = scipy.special.logit(answers[head][:, column].astype(float))
    np.testing.assert_allclose(answers[EVIDENCE].mean(axis=(1, 2, 3)), logit, atol=1e-4)


def test_a_label_beside_others_of_which_one_holds_has_no_evidence_of_its_own():
    heads = (Head("kind", (MINE, "primary"), "softmax"), Head("land", ("water",), "sigmoid"))
    assert replace(SPEC, heads=heads).alone(MINE) is None
    assert replace(SPEC, heads=heads).alone("water") == ("land", 0)
    assert SPEC.alone(MINE) == ("land", 8)


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
