"""Packages that somebody made to do harm, sealed with a digest that fits."""

import json
import os
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from scans import reseal
from tiny_model import card

from geoscan.errors import PackageError
from geoscan.model.openvino_runtime import OpenVinoDetector
from geoscan.model.package import CARD, NETWORK, WEIGHTS, load
from geoscan.model.shipped import find
from geoscan.model.spec import EfficientNetSpec


@pytest.fixture
def copy(tmp_path) -> Path:
    """Give a copy of a shipped package: small, and no network has to be built for it."""
    folder, own = tmp_path / "copy", find("planet")
    folder.mkdir()
    for file in own.path.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


def refused(path: Path, match: str) -> None:
    with pytest.raises(PackageError, match=match) as caught:
        load(path).network()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


def repack(path: Path, **content: bytes) -> None:
    """Change members of the weights, by their names without their suffix, and seal the package again."""
    with zipfile.ZipFile(path / WEIGHTS) as old:
        held = {name: old.read(name) for name in old.namelist()}
    names = {name.rpartition(".")[0]: name for name in held}
    held |= {names.get(name, name): data for name, data in content.items()}
    with zipfile.ZipFile(path / WEIGHTS, "w") as new:
        for name, data in held.items():
            new.writestr(name, data)
    reseal(path)


def config(path: Path) -> str:
    with zipfile.ZipFile(path / WEIGHTS) as archive:
        return archive.read("config.json").decode()


@pytest.mark.parametrize("name", [CARD, WEIGHTS, NETWORK, "network.bin"])
def test_a_link_out_of_the_package_is_refused(copy, tmp_path, name):
    (copy / name).rename(tmp_path / "elsewhere")
    (copy / name).symlink_to(tmp_path / "elsewhere")
    refused(copy, f"{name} is a link out of the package")


def test_a_package_may_be_reached_by_a_link(copy, tmp_path):
    (tmp_path / "link").symlink_to(copy)
    assert load(tmp_path / "link").card == load(copy).card


@pytest.mark.parametrize("name", [CARD, NETWORK])
def test_a_pipe_is_not_waited_for(copy, name):
    (copy / name).unlink()
    os.mkfifo(copy / name)
    refused(copy, f"{name} is a link out of the package, or no file")


def test_a_file_that_is_far_too_large_is_not_read(copy):
    with (copy / CARD).open("r+b") as stream:
        stream.truncate(2**29)
    refused(copy, r"card\.json has more than 4 MB")
    with (copy / WEIGHTS).open("r+b") as stream:
        stream.truncate(2**31)
    refused(copy, r"weights\.keras has 2\.1 GB")


@pytest.mark.parametrize("text", ["[" * 100_000, '{"spec":' * 100_000, '{"name": ' + "9" * 5000 + "}"])
def test_a_card_that_is_nested_or_endless_is_one_line(copy, text):
    (copy / CARD).write_text(text)
    refused(copy, r"card\.json")


def test_a_number_that_fits_nowhere_is_one_line(copy):
    facts = json.loads((copy / CARD).read_text())
    facts["training"]["parameters"] = 10**400
    (copy / CARD).write_text(json.dumps(facts))
    refused(copy, "a number of 401 digits")


@pytest.mark.parametrize(
    "change",
    [
        {"blocks": [10**9]},
        {"blocks": [1] * 40},
        {"growth": 10**8},
        {"stem": 10**8},
        {"chip": 2**20},
        {"blocks": [10**30]},
    ],
)
def test_a_huge_network_takes_no_memory(copy, change):
    facts = json.loads((copy / CARD).read_text())
    facts["spec"] |= change
    facts["preprocess"]["chip"] = facts["spec"]["chip"]
    (copy / CARD).write_text(json.dumps(facts))
    refused(copy, r"card\.json: spec")


def test_huge_sides_do_not_fit_either():
    with pytest.raises(PackageError, match="chips of up to 2048 px"):
        EfficientNetSpec(side=4096)


@pytest.mark.parametrize("name", ["a\x1b[31m", "a\nb", "", "a" * 201])
def test_a_model_has_a_name_that_can_be_printed(name):
    with pytest.raises(PackageError, match="is no name for a model") as caught:
        card(name=name)
    assert str(caught.value).isprintable()


# Weights


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("keras.layers", "Lambda"),
        ("keras.layers", "TorchModuleWrapper"),
        ("keras.layers", "TFSMLayer"),
        ("os", "system"),
        ("builtins", "exec"),
        ("keras.src.utils.file_utils", "get_file"),
    ],
)
def test_nothing_but_our_own_layers_is_made(copy, module, name):
    facts = json.loads(config(copy))
    facts["config"]["layers"][1] |= {"module": module, "class_name": name}
    repack(copy, config=json.dumps(facts).encode())
    refused(copy, f"{module}.{name} is no part of geoscan's networks")


@pytest.mark.parametrize("name", ["../outside.txt", "/etc/evil", "assets/a.pkl", "a.py"])
def test_an_archive_holds_keras_files_and_nothing_else(copy, name):
    repack(copy, **{name: b"x"})
    refused(copy, "must hold config.json, metadata.json, model.weights.h5, and nothing else")
    assert not (copy.parent / "outside.txt").exists()


def with_weights(path: Path, change) -> None:
    with zipfile.ZipFile(path / WEIGHTS) as archive:
        (path.parent / "weights.h5").write_bytes(archive.read("model.weights.h5"))
    with h5py.File(path.parent / "weights.h5", "r+") as held:
        change(held)
    repack(path, **{"model.weights": (path.parent / "weights.h5").read_bytes()})


def test_weights_that_lie_in_another_file_are_not_read(copy, tmp_path):
    (tmp_path / "secret").write_bytes(bytes(4096))
    virtual = h5py.VirtualLayout((4,), "f4")
    virtual[:] = h5py.VirtualSource(str(tmp_path / "secret"), "a", (4,))
    for change in (
        lambda held: held.create_dataset("a", (4,), "f4", external=[(str(tmp_path / "secret"), 0, 16)]),
        lambda held: held.create_virtual_dataset("b", virtual),
        lambda held: held.__setitem__("c", h5py.ExternalLink(str(tmp_path / "secret"), "/a")),
    ):
        with_weights(copy, change)
        refused(copy, "lie in another file")


def test_weights_that_claim_a_terabyte_take_no_memory(copy):
    with_weights(copy, lambda held: held.create_dataset("a", (2**38,), "f4", chunks=(2**20,)))
    refused(copy, "its weights are far too large")


# The network that OpenVINO reads


def run(path: Path) -> None:
    OpenVinoDetector(load(path))(np.zeros((1, 256, 256, 3), np.uint8))


def edited(path: Path, old: str, new: str) -> None:
    text = (path / NETWORK).read_text()
    assert old in text
    (path / NETWORK).write_text(text.replace(old, new, 1))
    reseal(path)


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ('type="ReLU"', 'type="Loop"', "'Loop', which is no part"),
        ('type="ReLU"', 'type="../evil.so"', "which is no part"),
        ('offset="0"', 'offset="99999999999"', "takes constants from where network.bin has none"),
        ('offset="0"', 'offset="-8"', "takes constants from where network.bin has none"),
        ("<net ", '<!DOCTYPE n [<!ENTITY a "b">]><net ', "no network that can be read"),
        ("<net ", "<net ", "cannot be run|no network"),
    ],
    ids=["loop", "library", "beyond", "before", "entity", "cut"],
)
def test_a_network_of_other_operations_is_not_given_to_openvino(copy, old, new, match):
    if old == new:
        (copy / NETWORK).write_text((copy / NETWORK).read_text()[:2000])
        reseal(copy)
    else:
        edited(copy, old, new)
    with pytest.raises(PackageError, match=match) as caught:
        run(copy)
    assert "\n" not in str(caught.value)


def test_a_network_that_makes_too_much_of_a_chip_is_refused(copy, monkeypatch):
    monkeypatch.setattr("geoscan.model.openvino_runtime._LARGEST", 100)
    with pytest.raises(PackageError, match="numbers of one chip"):
        run(copy)
