"""From a Keras network to the one that OpenVINO reads, layer by layer.

OpenVINO's own converter knows no smoothed resizing, takes TensorFlow alone, and many seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from geoscan.errors import PackageError, one_line
from geoscan.model.openvino_backend import ops, ov
from geoscan.model.package import EVIDENCE

if TYPE_CHECKING:
    from geoscan.model.backend import keras

Node = Any
"""An operation of OpenVINO: its opsets are made at run time, without types."""


def export(network: keras.Model, path: Path, where: tuple[str, int] | None = None) -> None:
    """Write a network as `path`, .xml, and its weights in single precision beside it, .bin.

    network: of Keras' own layers alone. where: the head and column of the label whose `EVIDENCE` is wanted; then the
    network must be one of `build`.
    Input: (n, chip, chip, 3) uint8. Output: an (n, labels) array a head, with the head's name, in the network's order;
    then the evidence.
    Equal networks give equal files. Raises PackageError for a layer that is not known here, OSError when the files
    cannot be written.
    """
    try:
        ov.save_model(_converted(network, where), path, compress_to_fp16=False)
        ov.Core().read_model(path)  # a full disk makes no error while it is written
    except RuntimeError as err:
        raise OSError(f"{path.name} is cut short ({one_line(err)[:200]})") from err


def _converted(network: keras.Model, where: tuple[str, int] | None) -> ov.Model:
    chips = ops.parameter([-1, *network.input_shape[1:]], np.uint8, name="chips")
    chips.output(0).set_names({"chips"})
    planar = ops.transpose(ops.convert(chips, "f32"), np.array([0, 3, 1, 2])).output(0)
    made: dict[int, Node] = {id(network.input): planar}
    for layer in network.layers[1:]:
        given = layer.input if isinstance(layer.input, Sequence) else [layer.input]
        made[id(layer.output)] = _node(layer, [made[id(one)] for one in given])
    results = []
    for name, answer in network.output.items():
        made[id(answer)].set_names({name})
        results.append(ops.result(made[id(answer)]))
    if where is not None:
        evidence = _evidence(network, made, *where)
        evidence.set_names({EVIDENCE})
        results.append(ops.result(evidence))
    model = ov.Model(results, [chips], network.name)
    for n, node in enumerate(model.get_ordered_ops()):
        node.set_friendly_name(f"{node.get_type_name()}_{n}")  # else a number that grows with the process
    return model


def _evidence(network: keras.Model, made: Mapping[int, Node], head: str, column: int) -> Node:
    """The sum that a head makes of the pooled features, made before they are pooled: both are linear."""
    from geoscan.model.network import FEATURES

    features = made[id(network.get_layer(FEATURES).output)]
    channels = features.get_partial_shape()[1].get_length()
    layer = network.get_layer(head)
    kernel = _weights(layer)["kernel"][:channels, column].reshape(1, channels, 1, 1)
    window = {"strides": [1, 1], "pads_begin": [0, 0], "pads_end": [0, 0], "dilations": [1, 1]}
    given = ops.convolution(features, kernel, **window)
    bias = _weights(layer)["bias"][column].reshape(1, 1, 1, 1)
    return ops.add(given, bias).output(0)


def _node(layer: keras.Layer, given: list[Node]) -> Node:
    kind = type(layer).__name__
    if kind not in _LAYERS:
        raise PackageError(f"{layer.name} is a {kind}, a layer that cannot be written for OpenVINO")
    node = _LAYERS[kind](layer, *given)
    return node if isinstance(node, ov.Output) else node.output(0)


def _rescaling(layer: keras.Layer, x: Node) -> Node:
    scale, offset = (np.reshape(np.asarray(one, np.float32), (1, -1, 1, 1)) for one in (layer.scale, layer.offset))
    return ops.add(ops.multiply(x, scale), offset)


def _resizing(layer: keras.Layer, x: Node) -> Node:
    """Pillow's way: it smooths where it makes things smaller, and else is plain bilinear, as Keras is."""
    sides = np.array([layer.height, layer.width])
    return ops.interpolate(x, sides, "bilinear_pillow", "sizes", axes=np.array([2, 3]))


def _conv(layer: keras.Layer, x: Node) -> Node:
    kernel = _weights(layer)["kernel"].transpose(3, 2, 0, 1)
    return ops.convolution(x, _constant(kernel), **_window(layer), dilations=[1, 1])


def _depthwise(layer: keras.Layer, x: Node) -> Node:
    kernel = _weights(layer)["kernel"].transpose(2, 3, 0, 1)[:, :, None]
    return ops.group_convolution(x, _constant(kernel), **_window(layer), dilations=[1, 1])


def _normalization(layer: keras.Layer, x: Node) -> Node:
    kept = _weights(layer)
    return ops.batch_norm_inference(
        x, kept["gamma"], kept["beta"], kept["moving_mean"], kept["moving_variance"], layer.epsilon
    )


def _relu(layer: keras.Layer, x: Node) -> Node:
    return ops.relu(x) if layer.max_value is None else ops.clamp(x, 0.0, float(layer.max_value))


def _max_pool(layer: keras.Layer, x: Node) -> Node:
    return ops.max_pool(x, dilations=[1, 1], kernel_shape=list(layer.pool_size), **_window(layer))


def _average_pool(layer: keras.Layer, x: Node) -> Node:
    return ops.avg_pool(x, kernel_shape=list(layer.pool_size), exclude_pad=True, **_window(layer))


def _dense(layer: keras.Layer, x: Node) -> Node:
    kept = _weights(layer)
    logits = ops.add(ops.matmul(x, kept["kernel"], False, False), kept["bias"])
    activation = layer.activation.__name__
    return ops.softmax(logits, 1) if activation == "softmax" else ops.sigmoid(logits)


def _window(layer: keras.Layer) -> dict[str, Any]:
    return {
        "strides": list(layer.strides),
        "pads_begin": [0, 0],
        "pads_end": [0, 0],
        "auto_pad": {"same": "same_upper", "valid": "valid"}[layer.padding],
    }


def _constant(values: NDArray[np.float32]) -> Node:
    """Write weights in half precision where it holds them exactly: half the size, the same scores."""
    half = values.astype(np.float16, order="C")  # OpenVINO takes the numbers as they lie
    exact = np.array_equal(half, values)
    return ops.convert(ops.constant(half), "f32") if exact else ops.constant(values)


def _weights(layer: keras.Layer) -> Mapping[str, NDArray[np.float32]]:
    return {weight.name: np.asarray(weight.value, np.float32) for weight in layer.weights}


_LAYERS: Final[Mapping[str, Callable[..., Node]]] = {
    "Rescaling": _rescaling,
    "Resizing": _resizing,
    "Conv2D": _conv,
    "DepthwiseConv2D": _depthwise,
    "BatchNormalization": _normalization,
    "ReLU": _relu,
    "MaxPooling2D": _max_pool,
    "AveragePooling2D": _average_pool,
    "GlobalAveragePooling2D": lambda layer, x: ops.reduce_mean(x, np.array([2, 3]), keep_dims=False),
    "Concatenate": lambda layer, *x: ops.concat(list(x), 1),
    "Add": lambda layer, x, y: ops.add(x, y),
    "Activation": lambda layer, x: x,
    "Dropout": lambda layer, x: x,
    "Dense": _dense,
}
"""By the names of Keras' layers; features are planar here, (n, channels, rows, cols)."""
