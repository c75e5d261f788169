"""What a scan will take, in seconds and memory, told without its network.

Reading and preparing chips is measured. The network's time is worked out from the multiplications that it does, and
from how fast this machine multiplies matrices at the moment. tests/benchmarks/test_cost_real.py compares with scans.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np

from geoscan import gdal, machine
from geoscan.machine import Runtime
from geoscan.model.spec import DenseNetSpec, EfficientNetSpec, Spec
from geoscan.scanning.plan import Plan
from geoscan.scanning.workers import IN_FLIGHT
from geoscan.scene import Scene
from geoscan.symmetry import SYMMETRIES

_START_SECONDS: Final[dict[Runtime, float]] = {"tensorflow": 5.0, "openvino": 0.5}
"""To start a runtime, to load a network, and to compile it."""

_LITE: Final = {
    "efficientnet-lite0": (224, 407e6),
    "efficientnet-lite1": (240, 631e6),
    "efficientnet-lite2": (260, 899e6),
}
"""Pixels along each side of a chip, and multiplications of an EfficientNet for it; they grow with its area."""

_DENSE_EFFICIENCY, _LITE_EFFICIENCY = 0.65, 0.3
"""Multiplications a second of a network's, as a share of those of one large product of matrices."""

_PRODUCT: Final = 512
"""Rows and columns of the matrices that are multiplied."""

_TIMES: Final = 30
"""They are multiplied; the quickest counts, for the others were interrupted."""

_PROCESS: Final[dict[Runtime, int]] = {"tensorflow": 830 * 2**20, "openvino": 190 * 2**20}
"""Bytes of Python, a runtime, dask and a network, before the first chip."""

_THREAD: Final = 50 * 2**20
"""What each thread that reads, prepares or infers keeps of the memory that it once had."""

_COPIES: Final = 3
"""Of a batch that is under way: its chips, their stack, and what the network makes of it."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a scan will take on this machine's processors, as it is now."""

    preparing_seconds: float
    """To read and prepare all chips with all cores, by measurement of some."""

    network_seconds: tuple[float, float]
    """At least and at most, by estimate, with the start of its runtime; they differ where scores are averaged over the
    symmetries of some chips. A GPU takes less."""

    memory_mb: float
    """Most that the scan's process will hold, in MiB, by estimate."""

    @property
    def seconds(self) -> tuple[float, float]:
        """Of the whole scan, at least and at most: the network works on all cores, and so does reading."""
        low, high = (round(self.preparing_seconds + one, 1) for one in self.network_seconds)
        return low, high


def cost_of(plan: Plan, scene: Scene, prepared: float) -> Cost:
    """Say what the scan of a plan takes.

    scene: as it was opened, before it was brought to the model's resolution. prepared: seconds that reading and
    preparing one chip took in one thread.
    """
    chips = len(plan.grid)
    network = chips * multiplications(plan.package.card.spec) / _speed(plan.package.card.spec.family)
    most = network * (SYMMETRIES if plan.tta else 1)
    start = _START_SECONDS[plan.runtime]
    return Cost(
        preparing_seconds=round(prepared * chips / machine.cores(), 2),
        network_seconds=(round(start + network, 1), round(start + most, 1)),
        memory_mb=round(_memory(plan, scene) / 2**20),
    )


def _memory(plan: Plan, scene: Scene) -> float:
    spec, dtype = plan.package.card.spec, np.dtype(scene.dtype)
    threads = machine.cores() + 1
    batches = min(IN_FLIGHT * threads, -(-len(plan.grid) // plan.batch))
    chip = spec.chip * spec.chip * 3
    scores = len(plan.grid) * (len(spec.labels) * np.dtype(np.float32).itemsize + np.dtype(np.int64).itemsize)
    blocks = min(gdal.CACHE_BYTES, scene.rows * scene.cols * 3 * dtype.itemsize)
    return _PROCESS[plan.runtime] + threads * _THREAD + blocks + batches * plan.batch * chip * _COPIES + scores


def _speed(family: str) -> float:
    """Multiplications a second of a network's on all cores."""
    return _product_speed() * (_DENSE_EFFICIENCY if family == "densenet" else _LITE_EFFICIENCY)


@cache
def _product_speed() -> float:
    """Multiplications a second of a matrix product on all cores; it takes half a second to measure."""
    one = np.ones((_PRODUCT, _PRODUCT), np.float32)
    took = []
    for _ in range(_TIMES):
        start = time.perf_counter()
        one @ one
        took.append(time.perf_counter() - start)
    return float(_PRODUCT**3 / min(took))


def multiplications(spec: Spec) -> float:
    """Count the multiplications of a network's convolutions for one chip."""
    if isinstance(spec, EfficientNetSpec):
        side, work = _LITE[spec.family]
        return work * (spec.side / side) ** 2
    return _of_densenet(spec)


def _of_densenet(spec: DenseNetSpec) -> float:
    side: float = spec.seen
    strides, kernel = (2, 7) if spec.stem_stride == 4 else (spec.stem_stride, 3)
    work = kernel**2 * 3 * spec.stem * (side / strides) ** 2
    side, channels = side / spec.stem_stride, spec.stem
    for n, depth in enumerate(spec.blocks, 1):
        for _ in range(depth):
            work += (channels * 4 * spec.growth + 9 * 4 * spec.growth * spec.growth) * side**2
            channels += spec.growth
        if n < len(spec.blocks):
            kept = int(channels * spec.compression)
            work += channels * kept * side**2
            channels, side = kept, side / 2
    return work
