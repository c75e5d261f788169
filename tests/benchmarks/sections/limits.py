"""How fast a network could be at most: what it computes for a chip, and what the machine computes in a second."""

from __future__ import annotations

import time
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np

from geoscan.machine import cores
from geoscan.model.openvino_backend import ops, ov
from geoscan.model.package import NETWORK

_SIDE: Final = 2048
"""Rows and columns of the matrices that are multiplied: large enough for memory not to count."""

_SECONDS: Final = 1.0


def flops_a_chip(package: Path, chip: int) -> float:
    """Count the operations of a package's convolutions and matrix products: multiply and add are two."""
    model = ov.Core().read_model(package / NETWORK)
    model.reshape([1, chip, chip, 3])
    return float(sum(2 * _multiplications(node) for node in model.get_ops()))


def _multiplications(node: ov.Node) -> int:
    """Each number that comes out is a sum of so many products."""
    kind = node.get_type_name()
    if kind == "MatMul":
        rows = list(node.input(0).get_shape())
        products = rows[-2] if node.get_attributes()["transpose_a"] else rows[-1]
    elif kind == "Convolution":  # out, in, height, width
        products = np.prod(list(node.input(1).get_shape())[1:])
    elif kind == "GroupConvolution":  # groups, out, in, height, width
        products = np.prod(list(node.input(1).get_shape())[2:])
    else:
        return 0
    return int(np.prod(list(node.output(0).get_shape())) * products)


@cache
def flops_a_second(precision: str) -> float:
    """Measure how fast all cores multiply large matrices. precision: `f32` or `bf16`."""
    a = ops.parameter([_SIDE, _SIDE], np.float32)
    weights = np.random.default_rng(0).random((_SIDE, _SIDE), np.float32)
    settings = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": cores()}
    compiled = ov.Core().compile_model(ov.Model([ops.matmul(a, weights, False, False)], [a]), "CPU", settings)
    request, times = compiled.create_infer_request(), []
    given = np.ones((_SIDE, _SIDE), np.float32)
    while sum(times) < _SECONDS or len(times) < 3:
        start = time.perf_counter()
        request.infer([given], share_inputs=True)
        times.append(time.perf_counter() - start)
    return 2 * _SIDE**3 / min(times)


def has_bfloat16() -> bool:
    """Tell whether this processor computes in bfloat16."""
    return "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
