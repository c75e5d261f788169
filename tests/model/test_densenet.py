from dataclasses import replace

import numpy as np
import pytest
from tiny_model import SPEC

from geoscan.model.backend import keras
from geoscan.model.network import FEATURES, build
from geoscan.model.spec import PRESETS


def test_densenet121_is_the_papers():
    spec = PRESETS["densenet121"]
    backbone = {tuple(w.path.split("/")[-2:]): w.shape for w in build(spec).weights}
    heads = [backbone.pop((head.name, part)) for head in spec.heads for part in ("kernel", "bias")]
    assert [shape[0] for shape in heads[::2]] == [1024, 1024]
    assert sum(int(np.prod(shape)) for shape in backbone.values()) == 7_037_504


@pytest.mark.large
def test_densenet121_has_the_weights_of_keras_applications():
    theirs = keras.applications.DenseNet121(include_top=False, weights=None, input_shape=(256, 256, 3))
    ours = [w for w in build(PRESETS["densenet121"]).weights if w.path.split("/")[0] not in {"weather", "land"}]
    assert [w.shape for w in ours] == [w.shape for w in theirs.weights]


@pytest.mark.parametrize(
    "change",
    [{}, {"stem_stride": 4}, {"stem_stride": 1}, {"shrink": 4}, {"side": 96}, {"blocks": (2, 1, 1), "chip": 48}],
)
def test_features_have_one_cell_for_each_reduction(change):
    spec = replace(SPEC, **change)
    made = build(spec)
    channels = spec.stem
    for i, depth in enumerate(spec.blocks):
        channels += depth * spec.growth
        if i + 1 < len(spec.blocks):
            channels = int(channels * spec.compression)
    cells = spec.seen // spec.reduction
    assert made.get_layer(FEATURES).output.shape == (None, cells, cells, channels)
