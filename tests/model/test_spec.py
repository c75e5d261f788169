from dataclasses import replace

import pytest
from pydantic import TypeAdapter

from geoscan.errors import PackageError
from geoscan.labels import LABELS, LAND, WEATHER
from geoscan.model.spec import PRESETS, DenseNetSpec, Head, preset

SMALL = DenseNetSpec(blocks=(2, 3), growth=8, stem=16, chip=64, stem_stride=2)
_JSON = TypeAdapter(DenseNetSpec)


@pytest.mark.parametrize("spec", [SMALL, *PRESETS.values()])
def test_round_trips_through_json(spec):
    assert _JSON.validate_json(_JSON.dump_json(spec)) == spec


@pytest.mark.parametrize("name", PRESETS)
def test_presets_answer_all_labels_in_kaggles_order(name):
    spec = preset(name)
    assert spec.labels == LABELS
    assert spec.chip == 256
    assert spec.chip % spec.reduction == 0
    assert [(head.labels, head.activation) for head in spec.heads] == [(WEATHER, "softmax"), (LAND, "sigmoid")]


def test_preset_takes_other_heads():
    heads = (Head("land", ("artisinal_mine",), "sigmoid"),)
    assert preset("compact", heads).labels == ("artisinal_mine",)
    assert preset("compact", heads).blocks == PRESETS["compact"].blocks


def test_unknown_preset_names_the_known_ones():
    with pytest.raises(PackageError, match=r"'resnet'.*densenet121, compact"):
        preset("resnet")


@pytest.mark.parametrize(
    ("change", "reduction"),
    [({}, 4), ({"stem_stride": 4}, 8), ({"shrink": 4}, 16), ({"blocks": (1,)}, 2), ({"blocks": (1, 1, 1)}, 8)],
)
def test_reduction_counts_shrink_stem_and_transitions(change, reduction):
    assert replace(SMALL, **change).reduction == reduction


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
        {"dropout": 1.0},
        {"dropout": -0.1},
        {"std": (40.0, 0.0, 40.0)},
        {"std": (40.0, 40.0)},
        {"mean": (1.0, 2.0, 3.0, 4.0)},
        {"shrink": 0},
        {"shrink": 3},
        {"stem_stride": 3},
        {"chip": 2},
        {"heads": ()},
        {"heads": (Head("one", (), "sigmoid"),)},
        {"heads": (Head("one", ("a",), "relu"),)},
        {"heads": (Head("one", ("a", "a"), "sigmoid"),)},
        {"heads": (Head("one", ("a",), "sigmoid"), Head("one", ("b",), "sigmoid"))},
        {"heads": (Head("one", ("a",), "sigmoid"), Head("two", ("a",), "sigmoid"))},
    ],
)
def test_refuses_what_no_network_can_be(change):
    with pytest.raises(PackageError) as caught:
        replace(SMALL, **change)
    assert "\n" not in str(caught.value)
