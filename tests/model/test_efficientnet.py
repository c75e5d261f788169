from dataclasses import replace
from math import prod

import numpy as np
import pytest

from geoscan.errors import PackageError
from geoscan.model.backend import keras
from geoscan.model.network import FEATURES, build
from geoscan.model.spec import PRESETS, EfficientNetSpec, Head

IMAGENET = (Head("classes", tuple(f"class {i}" for i in range(1000)), "softmax"),)


@pytest.fixture(scope="module")
def lite0():
    return build(EfficientNetSpec(side=224, chip=224, heads=IMAGENET))


def test_has_the_published_number_of_parameters(lite0):
    assert sum(prod(variable.shape) for variable in lite0.trainable_variables) == 4_652_008


@pytest.mark.parametrize(
    ("family", "parameters"), [("efficientnet-lite1", 5_416_680), ("efficientnet-lite2", 6_092_072)]
)
def test_deeper_and_wider_ones_have_theirs(family, parameters):
    made = build(EfficientNetSpec(side=64, chip=64, heads=IMAGENET, family=family))
    assert sum(prod(variable.shape) for variable in made.trainable_variables) == parameters


def test_an_unknown_family_is_refused():
    with pytest.raises(PackageError, match="no family is called 'efficientnet-lite9'; choose one of"):
        EfficientNetSpec(side=64, family="efficientnet-lite9")


def test_trunk_is_the_published_one(lite0):
    """Channels, kernels and strides of Tan and Le 2019, table 1, with the first and last layer of Lite."""
    shapes = {variable.path: variable.shape for variable in lite0.trainable_variables}
    assert shapes["stem_conv/kernel"] == (3, 3, 3, 32)
    assert "block1_1_wide_conv/kernel" not in shapes
    assert shapes["block1_1_deep_conv/kernel"] == (3, 3, 32, 1)
    assert shapes["block1_1_narrow_conv/kernel"] == (1, 1, 32, 16)
    assert shapes["block2_1_wide_conv/kernel"] == (1, 1, 16, 96)
    assert shapes["block2_1_wide_norm/gamma"] == (96,)
    assert shapes["block3_2_deep_conv/kernel"] == (5, 5, 240, 1)
    assert shapes["block6_4_deep_conv/kernel"] == (5, 5, 1152, 1)
    assert shapes["block7_1_narrow_conv/kernel"] == (1, 1, 1152, 320)
    assert shapes["last_conv/kernel"] == (1, 1, 320, 1280)
    sides = [lite0.get_layer(f"block{i}_1_narrow_norm").output.shape[1] for i in range(1, 8)]
    assert sides == [112, 56, 28, 14, 14, 7, 7]
    assert lite0.get_layer(FEATURES).output.shape == (None, 7, 7, 1280)


def test_blocks_that_keep_their_shape_add_their_input(lite0):
    added = [layer.name for layer in lite0.layers if isinstance(layer, keras.layers.Add)]
    assert added == [
        f"block{i}_{j}_add" for i, repeats in ((2, 2), (3, 2), (4, 3), (5, 3), (6, 4)) for j in range(2, repeats + 1)
    ]


@pytest.mark.parametrize(("name", "cells"), [("lite1", 6), ("lite-small", 3), ("lite1-small", 5), ("lite2-small", 5)])
def test_presets_look_at_their_side(name, cells):
    made = build(PRESETS[name])
    spec = PRESETS[name]
    assert made.get_layer("resize").output.shape == (None, spec.side, spec.side, 3)
    assert made.get_layer("stem_conv").output.shape[1] == spec.side // 2
    assert made.get_layer(FEATURES).output.shape == (None, cells, cells, 1280)


def test_a_chip_of_its_side_is_not_resampled(lite0):
    assert "resize" not in {layer.name for layer in lite0.layers}


@pytest.mark.parametrize("side", [32, 96])
def test_brings_chips_to_its_side_without_moving_or_brightening_them(side):
    """A ramp over a chip of 64 px is the same ramp on fewer or more pixels."""
    spec = EfficientNetSpec(side=side, chip=64, mean=(0.0,) * 3, std=(1.0,) * 3)
    made = build(replace(spec, heads=(Head("land", ("a",), "sigmoid"),)))
    centres = (np.arange(64, dtype=np.float32) + 0.5) / 64
    chip = np.broadcast_to(centres[:, None, None] * 200, (1, 64, 64, 3))
    looked = np.asarray(keras.Model(made.input, made.get_layer("resize").output)(chip))
    inner = slice(2, -2)
    expected = (np.arange(side) + 0.5) / side * 200
    np.testing.assert_allclose(looked[0, inner, side // 2, 1], expected[inner], atol=0.05)
