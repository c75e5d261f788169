import json
from dataclasses import replace

import pytest

from geoscan.errors import InputError
from geoscan.model.preprocess import Preprocess
from geoscan.model.spec import DenseNetSpec
from geoscan.train.recipe import Recipe

RECIPE = Recipe(DenseNetSpec(blocks=(1,), growth=1, stem=1, chip=16), Preprocess(16, 10.0, "visual", None))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"batch": 0}, "a batch of 0 chips"),
        ({"mosaics": -1}, "must be 0 or more"),
        ({"pretrain_epochs": -1}, "must be 0 or more"),
        ({"feature_weight": float("nan")}, "must be 0 or more"),
        ({"preprocess": replace(RECIPE.preprocess, chip=32)}, "chips of 32 px do not fit a network for 16 px"),
    ],
)
def test_what_cannot_be_is_one_line(change, words):
    with pytest.raises(InputError, match=words) as caught:
        replace(RECIPE, **change)
    assert "\n" not in str(caught.value)


def test_facts_name_packages_and_leave_out_what_the_card_says_elsewhere():
    facts = replace(RECIPE, init="models/one", distill=("/here/two", "three")).facts()
    assert (facts["init"], facts["distill"]) == ("one", ["two", "three"])
    assert not {"spec", "preprocess", "split"} & facts.keys()
    assert facts["schedule"]["epochs"] == RECIPE.schedule.epochs
    assert json.loads(json.dumps(facts)) == facts
