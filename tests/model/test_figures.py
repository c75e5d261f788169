import json
from dataclasses import replace

import pytest
from drawn_figures import all_figures
from hypothesis import given, settings
from pydantic import TypeAdapter

from geoscan.model.figures import F2Figures, Figures, MineFigures, OperatingPoint, measured
from geoscan.model.shipped import shipped

FIGURES = TypeAdapter(Figures)


@settings(max_examples=50)
@given(all_figures)
def test_figures_come_back_from_json_as_they_went(figures):
    text = FIGURES.dump_json(figures)
    assert FIGURES.validate_json(text) == figures
    json.loads(text, parse_constant=pytest.fail)  # neither NaN nor Infinity


def mine(n=10, ap=0.5, auc=0.7, sensitivity=0.3):
    points = (OperatingPoint(0.99, sensitivity, (0.1, 0.5), 0.8),)
    return MineFigures(n, 5 * n, auc, (0.6, 0.8), ap, (0.4, 0.6), points, "chips")


F2 = F2Figures(1173, 0.8972, (0.88, 0.91), 0.89, 0.88, (0.87, 0.9), 0.6)


@pytest.mark.parametrize(
    ("figures", "headline"),
    [
        (Figures(), "no figures"),
        (Figures(f2=F2, mine=mine()), "F2 0.897 on 1,173 chips"),
        (Figures(f2=replace(F2, tuned=None)), "no figures"),
        (Figures(mine=mine(1752, 0.871)), "mine AP 0.87 (1,752 mines, 8,760 other)"),
        (Figures(mine=mine(0, None)), "no figures"),
        (
            Figures(mine=mine(7, 0.1), mine_folds={"fold 1": mine(4, 0.4), "fold 2": mine(3, 0.6)}),
            "mine AP 0.50, mean of 2 folds (7 mines, 35 other)",
        ),
        (
            Figures(mine=mine(7, 0.1), mine_folds={"fold 1": mine(7, 0.4), "fold 2": mine(0, None)}),
            "mine AP 0.10 (7 mines, 35 other)",
        ),
        (Figures(mosaics=mine()), "no figures"),
    ],
)
def test_the_headline_is_what_a_model_of_its_kind_is_judged_by(figures, headline):
    assert figures.headline == headline


def test_the_mean_of_folds_has_what_each_of_them_has():
    folds = {"one": mine(10, 0.4, 0.8, 0.2), "two": mine(30, 0.6, None, 0.4)}
    found = Figures(mine_folds=folds).mine_mean
    assert (found.n, found.n_other, found.ap, found.auc) == (40, 200, 0.5, None)
    assert found.operating_points == (OperatingPoint(0.99, pytest.approx(0.3), None, None),)
    assert found.ap_interval is found.auc_interval is found.resampled is None
    assert Figures(mine=mine()).mine_mean is None


def test_how_well_mines_are_told_is_asked_where_there_are_more_of_them():
    few, many = mine(2, auc=1.0), mine(124, auc=0.8)
    assert Figures(mine=few, mosaics=many).mine_auc == 0.8
    assert Figures(mine=many, mosaics=few).mine_auc == 0.8
    assert Figures(mine=few).mine_auc == 1.0
    assert Figures(mine=mine(0, auc=None)).mine_auc == 0.5
    assert Figures().mine_auc == 0.5


def test_what_arithmetic_has_no_answer_for_is_none():
    assert measured(float("nan")) is None
    assert measured(0.0) == 0.0


def test_each_shipped_model_has_a_headline():
    headlines = {package.card.name: package.card.figures.headline for package in shipped()}
    assert headlines == {
        "planet": "F2 0.892 on 869 chips",
        "sentinel2": "mine AP 0.84, mean of 5 folds (2,033 mines, 7,991 other)",
        "sentinel2-lite": "mine AP 0.87, mean of 5 folds (2,033 mines, 7,991 other)",
    }


def test_each_shipped_model_says_under_which_licence_it_learned():
    licences = {package.card.name: package.card.data.licence for package in shipped()}
    assert set(licences) == {"planet", "sentinel2", "sentinel2-lite"}
    assert all("Planet" in said or "MIT" in said for said in licences.values()), licences
