"""`geoscan models`: what is installed."""

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from geoscan.cli import main
from geoscan.model.card import Card
from geoscan.model.figures import F2Figures, Figures, MineFigures
from geoscan.model.markdown import card_markdown
from geoscan.model.spec import MINE_HEADS, DenseNetSpec


def invoke(*words):
    return CliRunner().invoke(main, ["models", *map(str, words)], prog_name="geoscan")


@pytest.fixture
def shipped(make_package, monkeypatch):
    packages = [make_package("planet", gsd=3.4), make_package("sentinel", gsd=10)]
    monkeypatch.setattr("geoscan.model.shipped.shipped", lambda: packages)
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
    monkeypatch.setattr("geoscan.model.shipped.shipped", list)
    result = invoke()
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.startswith("warning: no model is shipped")


def test_each_kind_has_the_figure_it_is_judged_by(make_package, monkeypatch):
    planet = make_package("planet")
    f2 = F2Figures(173, 0.9064, None, None, None, None, None)
    planet = replace(planet, card=replace(planet.card, figures=Figures(f2=f2)))
    mine = make_package("mine", gsd=10, spec=DenseNetSpec(blocks=(1,), growth=1, stem=1, chip=48, heads=MINE_HEADS))
    unmeasured = replace(mine, card=replace(mine.card, figures=Figures()))
    figures = Figures(mine=MineFigures(1752, 7991, None, None, 0.871, None, (), None))
    mine = replace(mine, card=replace(mine.card, figures=figures))
    monkeypatch.setattr("geoscan.model.shipped.shipped", lambda: [planet, mine, unmeasured])
    first, second, third = invoke().stdout.splitlines()
    assert ", F2 0.906 on 173 chips, " in first
    assert second.startswith("mine: 1 label, 48 px at 10 m, mine AP 0.87 (1,752 mines, 7,991 other), digest ")
    assert ", no figures, " in third


def test_a_name_prints_the_card_for_people(shipped):
    result = invoke("sentinel")
    assert result.exit_code == 0
    assert result.stdout == card_markdown(shipped[1].card)
    assert shipped[1].card.digest in result.stdout


def test_a_name_prints_the_whole_card_as_json(shipped):
    result = invoke("sentinel", "--json")
    assert result.exit_code == 0
    assert Card.from_json(result.stdout) == shipped[1].card
    assert json.loads(result.stdout)["digest"] == shipped[1].card.digest


def test_a_directory_prints_its_card(make_package):
    package = make_package("own")
    assert invoke(package.path).stdout == (package.path / "card.md").read_text(encoding="utf-8")
    assert Card.from_json(invoke("--json", package.path).stdout) == package.card


def test_json_needs_a_name(shipped):
    result = invoke("--json")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "name a model" in result.stderr


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
