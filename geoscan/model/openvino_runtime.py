"""Networks that OpenVINO runs, on CPUs."""

from __future__ import annotations

import math
import threading
from typing import Final

import numpy as np
from numpy.typing import NDArray

from geoscan.arrays import Chips, Evidence, Scores, filled
from geoscan.errors import PackageError, one_line
from geoscan.machine import BATCH, cores, is_shortage
from geoscan.model.contents import check_operations
from geoscan.model.openvino_backend import ov
from geoscan.model.package import EVIDENCE, NETWORK, Package, check_finite

_SETTINGS: Final = {
    "PERFORMANCE_HINT": "THROUGHPUT",
    "INFERENCE_PRECISION_HINT": "f32",  # else CPUs that have bfloat16 compute in it, with scores that differ
    "ENABLE_CPU_PINNING": False,  # two scans on one machine would share some cores and leave others idle
}


_REQUEST_PIXELS: Final = 2**15
"""Of the chips that one request holds. A single small one is too little work: 14 of 48 px run 2.6 times as fast; of
256 px more than one are slower."""

_LARGEST: Final = 2**27
"""Numbers in any step of a network; a DenseNet-121 on chips of 1024 px makes 33 million."""


class OpenVinoDetector:
    """Runs a package with OpenVINO, in single precision, in requests of one size, of which several run at a time.

    A chip's scores are the same to the last bit, whatever else is in the call. One call at a time computes, in whatever
    thread: it uses all cores.
    """

    def __init__(self, package: Package, batch: int = BATCH) -> None:
        """Compile the package's network. batch: chips that are scored at a time, of those in a call.

        Raises PackageError when that cannot be done, or the network is not the one that its card describes; MemoryError
        when memory is short.
        """
        spec = package.card.spec
        self._size = min(batch, max(1, _REQUEST_PIXELS // spec.chip**2))
        settings = {**_SETTINGS, "INFERENCE_NUM_THREADS": cores(), "PERFORMANCE_HINT_NUM_REQUESTS": batch}
        try:
            check_operations(package.path / NETWORK, package.path / "network.bin")
            model = ov.Core().read_model(package.path / NETWORK)
            _check(model, package)
            model.reshape([self._size, spec.chip, spec.chip, 3])
            _check_size(model, package)
            compiled = ov.Core().compile_model(model, "CPU", settings)
            self._queue = ov.AsyncInferQueue(compiled)
        except (RuntimeError, OSError) as err:
            if is_shortage(err):
                raise MemoryError(f"{package.path / NETWORK} does not fit into memory") from err
            raise PackageError(f"{package.path / NETWORK} cannot be run ({one_line(err)[:200]})") from err
        self._path = package.path
        self._shapes = {output.get_any_name(): tuple(output.shape) for output in model.outputs}
        self._labels = len(spec.labels)
        self._heads = [head.name for head in spec.heads]
        self._lock = threading.Lock()
        self._queue.set_callback(self._keep)

    def __call__(self, chips: Chips) -> Scores:
        """(n, chip, chip, 3) -> (n, labels)."""
        return self._answers(chips, self._heads, np.empty((len(chips), self._labels), np.float32))

    def evidence(self, chips: Chips) -> Evidence:
        """(n, chip, chip, 3) -> (n, rows, cols); see `Evidence`.

        Raises PackageError for packages of earlier versions.
        """
        if EVIDENCE not in self._shapes:
            raise PackageError(f"{self._path} was made without the evidence by place; train the model anew")
        answers = np.empty((len(chips), *self._shapes[EVIDENCE][1:]), np.float32)
        return self._answers(chips, [EVIDENCE], answers)[:, 0]

    def _answers(self, chips: Chips, names: list[str], answers: NDArray[np.float32]) -> NDArray[np.float32]:
        """Fill in answers, (n, ...), those of several names side by side."""
        chips = np.ascontiguousarray(chips)
        with self._lock:
            try:
                for number, (part, count) in enumerate(filled(chips, self._size)):
                    rows = answers[number * self._size :][:count]
                    self._queue.start_async(part, (names, rows), share_inputs=True)
            finally:  # also when interrupted: what still computes would come back to an interpreter that ends
                self._queue.wait_all()
        return answers

    @staticmethod
    def _keep(request: ov.InferRequest, wanted: tuple[list[str], NDArray[np.float32]]) -> None:
        names, rows = wanted
        parts = [request.get_tensor(name).data[: len(rows)] for name in names]
        np.concatenate(parts, axis=1, out=rows)


def _check_size(model: ov.Model, package: Package) -> None:
    """Refuse a network that makes more of one chip than memory holds."""
    largest = max(math.prod(output.shape) for node in model.get_ops() for output in node.outputs())
    if largest > _LARGEST:
        raise PackageError(f"{package.path / NETWORK} makes {largest:,} numbers of one chip; train the model anew")


def _check(model: ov.Model, package: Package) -> None:
    """Refuse a network that the card does not describe, and weights that are no numbers."""
    spec = package.card.spec
    expected = {head.name: len(head.labels) for head in spec.heads}
    found = {name: output.partial_shape[1].get_length() for output in model.outputs for name in output.get_names()}
    found.pop(EVIDENCE, None)
    if found != expected or list(model.input().partial_shape)[1:] != [spec.chip, spec.chip, 3]:
        raise PackageError(f"{package.path}: the network is not the one that its card describes; train it anew")
    constants = (node.data for node in model.get_ops() if node.get_type_name() == "Constant")
    check_finite(constants, package.path / NETWORK)
