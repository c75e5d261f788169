"""The models that came with geoscan, found by name and chosen by resolution."""

from dataclasses import replace

import pytest
from tiny_model import package

from geoscan.errors import PackageError
from geoscan.model.figures import Figures, MineFigures
from geoscan.model.markdown import card_markdown
from geoscan.model.package import MARKDOWN, WEIGHTS, save
from geoscan.model.shipped import choose, find, shipped
from geoscan.model.spec import EfficientNetSpec


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return package(tmp_path_factory.mktemp("made") / "tiny", seed=1)


@pytest.fixture(scope="module")
def installation(made, tmp_path_factory):
    """Make two packages as if they were shipped: fine at 3.7 m, coarse at 10 m."""
    root = tmp_path_factory.mktemp("installed")
    for name, gsd in (("fine", 3.7), ("coarse", 10.0)):
        save(
            root / name,
            made.network(),
            replace(made.card, name=name, preprocess=replace(made.card.preprocess, gsd=gsd)),
        )
    (root / "notes").mkdir()
    return root


@pytest.fixture
def installed(installation, monkeypatch):
    monkeypatch.setattr("geoscan.model.shipped.importlib.resources.files", lambda _: installation)
    return installation


def test_lists_what_is_shipped(installed):
    assert [one.card.name for one in shipped()] == ["coarse", "fine"]


def test_shipped_packages_of_this_installation_are_whole():
    for one in shipped():
        assert one.card.name == one.path.name
        assert (one.path / WEIGHTS).stat().st_size < 15e6
        assert (one.path / MARKDOWN).read_text(encoding="utf-8") == card_markdown(one.card)


def test_finds_by_name_or_path(installed, made, monkeypatch):
    assert find("fine").path == installed / "fine"
    assert find(str(made.path)).card.digest == made.card.digest
    monkeypatch.chdir(made.path.parent)
    assert find("tiny").card.digest == made.card.digest
    with pytest.raises(PackageError, match=r"'nice'.*coarse, fine"):
        find("nice")
    with pytest.raises(PackageError, match="no model package"):
        find("./nice")


@pytest.mark.parametrize(
    ("gsd", "name"), [((3.0, 3.0), "fine"), ((10.0, 10.0), "coarse"), ((5.9, 5.9), "fine"), ((6.3, 6.3), "coarse")]
)
def test_chooses_the_nearest_ground_sample_distance(installed, gsd, name):
    assert choose(shipped(), gsd).card.name == name


def test_of_one_resolution_the_better_at_mines_is_chosen(installed):
    coarse = next(package for package in shipped() if package.card.name == "coarse")
    for kind, auc, better in (("mine", 0.9, True), ("mosaics", 0.6, True), ("mine", 0.4, False)):
        figures = Figures(**{kind: MineFigures(9, 9, auc, None, None, None, (), None)})
        other = replace(coarse, card=replace(coarse.card, name="other", figures=figures))
        assert (choose([coarse, other], (10, 10)).card.name == "other") == better


def test_a_densenet_goes_before_its_teacher_even_if_that_is_better(installed):
    coarse = next(package for package in shipped() if package.card.name == "coarse")
    figures = Figures(mine=MineFigures(9, 9, 0.99, None, None, None, (), None))
    lite = EfficientNetSpec(side=32, chip=coarse.card.spec.chip, heads=coarse.card.spec.heads)
    teacher = replace(coarse, card=replace(coarse.card, name="teacher", spec=lite, figures=figures))
    assert choose([teacher, coarse], (10, 10)).card.name == "coarse"
    assert choose([teacher], (10, 10)).card.name == "teacher"


def test_says_so_when_nothing_is_shipped(tmp_path, monkeypatch):
    monkeypatch.setattr("geoscan.model.shipped.importlib.resources.files", lambda _: tmp_path)
    with pytest.raises(PackageError, match="--model DIR"):
        choose(shipped(), (3.0, 3.0))
    with pytest.raises(PackageError, match="none is installed"):
        find("planet")
