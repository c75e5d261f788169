"""`geoscan models`: what is installed."""

import json

import pytest
from click.testing import CliRunner

from geoscan.cli import main
from geoscan.model.package import Card


def invoke(*words):
    return CliRunner().invoke(main, ["models", *map(str, words)], prog_name="geoscan")


@pytest.fixture
def shipped(make_package, monkeypatch):
    packages = [make_package("planet", gsd=3.4), make_package("sentinel", gsd=10)]
    monkeypatch.setattr("geoscan.model.package.shipped", lambda: packages)
    return packages


def test_each_model_has_a_line(shipped):
    result = invoke()
    assert result.exit_code == 0
    assert result.stderr == ""
    planet, sentinel = result.stdout.splitlines()
    assert planet.startswith("planet: 17 labels, 256 px at 3.4 m, ")
    assert planet.endswith(f"digest {shipped[0].card.digest[:12]}")
    assert sentinel.startswith("sentinel: 17 labels, 256 px at 10 m, ")


def test_no_model_is_said(monkeypatch):
    monkeypatch.setattr("geoscan.model.package.shipped", list)
    result = invoke()
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.startswith("warning: no model is shipped")


def test_a_name_prints_the_whole_card(shipped):
    result = invoke("sentinel")
    assert result.exit_code == 0
    assert Card.from_json(result.stdout) == shipped[1].card
    assert json.loads(result.stdout)["digest"] == shipped[1].card.digest


def test_a_directory_prints_its_card(make_package):
    package = make_package("own")
    assert Card.from_json(invoke(package.path).stdout) == package.card


@pytest.mark.parametrize("name", ["plant", "no/such/directory"])
def test_what_is_no_model_is_refused(shipped, name):
    result = invoke(name)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("geoscan: ")
    assert result.stderr.count("\n") == 1
    assert name in result.stderr


def test_the_shipped_models_can_be_listed():
    result = invoke()
    assert result.exit_code == 0, result.stderr
