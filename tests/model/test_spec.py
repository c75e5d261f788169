from dataclasses import replace
from typing import Annotated

import pytest
from pydantic import Field, TypeAdapter, ValidationError

from geoscan.errors import PackageError
from geoscan.labels import LABELS, LAND, MINE, WEATHER
from geoscan.model.spec import MINE_HEADS, PRESETS, DenseNetSpec, EfficientNetSpec, Head, Spec, preset

SMALL = DenseNetSpec(blocks=(2, 3), growth=8, stem=16, chip=64, stem_stride=2)
LITE = EfficientNetSpec(side=64, chip=48, dropout=0.1, heads=MINE_HEADS)
_JSON = TypeAdapter(Annotated[Spec, Field(discriminator="family")])
_IMPOSSIBLE = [
    {"dropout": 1.0},
    {"dropout": -0.1},
    {"dropout": float("nan")},
    {"std": (40.0, 0.0, 40.0)},
    {"std": (40.0, float("nan"), 40.0)},
    {"std": (40.0, 40.0)},
    {"mean": (1.0, 2.0, 3.0, 4.0)},
    {"mean": (1.0, 2.0, float("inf"))},
    {"chip": 0},
    {"heads": ()},
    {"heads": (Head("one", (), "sigmoid"),)},
    {"heads": (Head("one", ("a",), "relu"),)},
    {"heads": (Head("one", ("a", "a"), "sigmoid"),)},
    {"heads": (Head("one", ("a",), "sigmoid"), Head("one", ("b",), "sigmoid"))},
    {"heads": (Head("one", ("a",), "sigmoid"), Head("two", ("a",), "sigmoid"))},
]
"""What neither family can be."""


@pytest.mark.parametrize("spec", [SMALL, LITE, *PRESETS.values()])
def test_round_trips_through_json(spec):
    read = _JSON.validate_json(_JSON.dump_json(spec))
    assert type(read) is type(spec)
    assert read == spec
    assert hash(read) == hash(spec), "tuples, as before, and not lists"


def test_a_family_cannot_be_left_out_or_made_up():
    facts = _JSON.dump_python(LITE, mode="json")
    for changed in ({**facts, "family": "vgg"}, {key: value for key, value in facts.items() if key != "family"}):
        with pytest.raises(ValidationError, match="family"):
            _JSON.validate_python(changed)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_answer_all_labels_in_kaggles_order(name):
    spec = preset(name)
    assert spec.labels == LABELS
    assert [(head.labels, head.activation) for head in spec.heads] == [(WEATHER, "softmax"), (LAND, "sigmoid")]


def test_presets_are_for_chips_of_their_sensors():
    assert {name: spec.chip for name, spec in PRESETS.items()} == {
        "densenet121": 256,
        "compact": 256,
        "compact-small": 48,
        "lite1": 256,
        "lite-small": 48,
        "lite1-small": 48,
        "lite2-small": 48,
    }
    sides = {name: PRESETS[name].side for name in PRESETS if name.startswith("lite")}
    assert sides == {"lite1": 192, "lite-small": 72, "lite1-small": 144, "lite2-small": 144}
    left_out = {
        name: PRESETS[name].seen % PRESETS[name].reduction for name in ("densenet121", "compact", "compact-small")
    }
    assert left_out == {"densenet121": 0, "compact": 0, "compact-small": 8}, "of 72 px, which the last pooling drops"


@pytest.mark.parametrize("name", PRESETS)
def test_preset_takes_other_heads(name):
    spec = preset(name, MINE_HEADS)
    assert spec.labels == (MINE,)
    assert replace(spec, heads=PRESETS[name].heads) == PRESETS[name]


def test_unknown_preset_names_the_known_ones():
    known = "densenet121, compact, compact-small, lite1, lite-small, lite1-small, lite2-small"
    with pytest.raises(PackageError, match=rf"'resnet'.*{known}$"):
        preset("resnet")


@pytest.mark.parametrize(
    ("change", "reduction"),
    [({}, 4), ({"stem_stride": 4}, 8), ({"shrink": 4}, 4), ({"blocks": (1,)}, 2), ({"blocks": (1, 1, 1)}, 8)],
)
def test_reduction_counts_stem_and_transitions(change, reduction):
    assert replace(SMALL, **change).reduction == reduction


@pytest.mark.parametrize(("change", "seen"), [({}, 64), ({"shrink": 4}, 16), ({"side": 96}, 96)])
def test_a_network_sees_the_chip_in_its_own_size(change, seen):
    assert replace(SMALL, **change).seen == seen


@pytest.mark.parametrize(
    "change",
    [
        {"blocks": ()},
        {"blocks": (2, 0)},
        {"growth": 0},
        {"stem": 0},
        {"compression": 0.0},
        {"compression": 1.1},
        {"compression": float("nan")},
        {"shrink": 0},
        {"shrink": 3},
        {"side": 24},
        {"side": SMALL.chip},
        {"side": 2 * SMALL.chip, "shrink": 2},
        {"side": 10**6},
        {"stem_stride": 3},
        {"chip": 2},
        *_IMPOSSIBLE,
    ],
)
def test_refuses_what_no_densenet_can_be(change):
    with pytest.raises(PackageError) as caught:
        replace(SMALL, **change)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("change", [{"side": 31}, {"side": 0}, {"chip": -48}, *_IMPOSSIBLE])
def test_refuses_what_no_efficientnet_can_be(change):
    with pytest.raises(PackageError) as caught:
        replace(LITE, **change)
    assert "\n" not in str(caught.value)
