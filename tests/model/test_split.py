import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter
from tiny_model import card

from geoscan.errors import DatasetError, InputError, PackageError
from geoscan.model.card import Card
from geoscan.model.split import Split

_JSON = TypeAdapter(Split)
KAGGLE = Split(3, 0.3, cloudy_cap=7).of("kaggle", "abc")
CHIPS = Split(folds=5).of("chips", "def")


@pytest.mark.parametrize("split", [Split(), KAGGLE, replace(KAGGLE, small="ghi"), CHIPS, CHIPS.without_fold(4)])
def test_round_trips_through_json_and_a_card(split):
    assert _JSON.validate_json(_JSON.dump_json(split)) == split
    if split.data:
        assert Card.from_json(card(split=split).to_json()).split == split


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"held_out": 2}, "held_out 2 does not fit; give a share between 0 and 1"),
        ({"held_out": 0}, "held_out 0"),
        ({"held_out": 1}, "held_out 1"),
        ({"held_out": float("nan")}, "held_out nan"),
        ({"held_out": None}, "held_out None"),
        ({"folds": 1}, "1 folds do not fit; give 2 or more"),
        ({"seed": -1}, "seed -1"),
        ({"seed": 2**32}, "seed 4294967296"),
        ({"cloudy_cap": -1}, "a cap of -1 chips"),
        ({"without": 0}, "fold 0 does not fit; there are no folds"),
        ({"folds": 3, "without": 3}, "fold 3 does not fit; there are 3 folds, from 0"),
        ({"folds": 3, "without": -1}, "fold -1"),
    ],
)
def test_values_out_of_range_are_one_clear_line(values, words):
    with pytest.raises(DatasetError, match=words) as caught:
        Split(**values)
    assert isinstance(caught.value, InputError)
    assert "\n" not in str(caught.value)


def test_a_card_with_an_impossible_split_is_refused():
    facts = json.loads(card(split=KAGGLE).to_json())
    facts["split"]["held_out"] = 2
    with pytest.raises(PackageError, match="held_out 2"):
        Card.from_json(json.dumps(facts))
    with pytest.raises(PackageError, match="of no data"):
        card(split=Split())


def test_with_folds_the_share_counts_for_nothing():
    assert Split(folds=2, held_out=0.1) == Split(folds=2, held_out=0.3)
    assert Split(folds=2).held_out is None
    assert Split(folds=2).shares == 2
    assert Split(held_out=0.25).shares == (0.75, 0.25)


def test_what_a_network_has_not_seen():
    assert KAGGLE.unseen_part == 1
    assert CHIPS.unseen_part is None
    assert [CHIPS.without_fold(fold).unseen_part for fold in range(5)] == list(range(5))


def test_facts_are_what_is_known():
    assert CHIPS.facts() == {"seed": 0, "folds": 5, "kind": "chips", "data": "def"}, "no cap, for no chip is cloudy"
    known = {"seed": 3, "held_out": 0.3, "cloudy_cap": 7, "kind": "kaggle", "data": "abc"}
    assert json.loads(json.dumps(KAGGLE.facts())) == known


@given(st.sampled_from(["seed", "held_out", "cloudy_cap", "data", "kind"]))
def test_another_division_or_other_data_is_not_the_same(field):
    other = {"seed": 4, "held_out": 0.4, "cloudy_cap": 8, "data": "xyz", "kind": "chips"}[field]
    assert not KAGGLE.same_as(replace(KAGGLE, **{field: other}))


def test_small_chips_count_where_both_have_seen_some():
    some, others = replace(KAGGLE, small="ghi"), replace(KAGGLE, small="jkl")
    assert KAGGLE.same_as(some)
    assert some.same_as(KAGGLE)
    assert some.same_as(replace(some))
    assert not some.same_as(others)
    assert not CHIPS.without_fold(1).same_as(CHIPS)


@pytest.mark.parametrize("field", ["parts", "small_parts"])
def test_parts_count_where_both_tell_them(field):
    """Cards of earlier versions do not."""
    one, other = (replace(KAGGLE, **{field: parts}) for parts in ("abc", "def"))
    assert one.same_as(KAGGLE)
    assert KAGGLE.same_as(one)
    assert one.same_as(replace(one))
    assert not one.same_as(other)
