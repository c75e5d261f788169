"""What the machine offers, and how much of it was used."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal, TypeAlias, get_args

from geoscan.errors import ShortageError

_NVIDIA: Final = (Path("/proc/driver/nvidia/gpus"), Path("/dev/nvidia0"), Path("/dev/dxg"))
"""What there is where the driver of a GPU is loaded; the last on Windows' Linux."""

_CPU: Final = Path("/proc/cpuinfo")
_BFLOAT16: Final = frozenset({"avx512_bf16", "amx_bf16"})
"""Instructions by which Intel's and AMD's CPUs multiply bfloat16, as Linux names them."""

_LIBRARIES: Final = 0.85e9
"""Bytes of addresses that the libraries of any command take; most are never filled."""

Runtime: TypeAlias = Literal["tensorflow", "openvino"]
"""What computes a model's scores. Both give the same ones, within 1e-3."""

RUNTIMES: Final = get_args(Runtime)

AUTO: Final = "auto"
"""TensorFlow where it finds a GPU, OpenVINO elsewhere: there it is faster, and ready in a second."""

_NETWORK: Final[dict[Runtime, tuple[str, float]]] = {
    "tensorflow": ("TensorFlow", 2.7e9),
    "openvino": ("OpenVINO", 1.3e9),
}
"""Names of what runs a network, and bytes of addresses that any command takes with it."""

_CORE: Final = 0.1e9
"""What either takes more for each core."""

_THREAD: Final = 0.2e9
"""What each thread takes that works beside it."""

_SHORT: Final = (
    "can't start new thread",
    "failed to map segment",
    "annot allocate memory",
    "Insufficient memory",  # OpenCV
    "bad_alloc",
    "could not create a primitive",  # oneDNN
)
"""Words of errors of other types that mean a lack of memory."""

BATCH: Final = 16
"""Chips that are scored in one call of the model, where nobody says; a GPU likes more."""

BATCH_PIXELS: Final = 2**20
"""Of chips that a scan prepares together where nobody says how many: of small ones more than `BATCH`, for to hand over
few takes as long as many."""


_GPU_BATCHES: Final = 16
"""Times as many for GPUs: several batches of theirs, so that one travels there while they compute another."""


def batch_of(chip: int, runtime: Runtime) -> int:
    """Chips of `chip` px a side that a scan prepares together where nobody says how many."""
    pixels = BATCH_PIXELS * (_GPU_BATCHES if runtime == "tensorflow" and may_have_gpu() else 1)
    return max(BATCH, pixels // chip**2)


def cores() -> int:
    """Count the processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def may_have_gpu() -> bool:
    """Tell whether there seems to be a GPU that TensorFlow may use; TensorFlow, which knows, takes seconds to ask."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    hidden = visible is not None and visible.split(",")[0].strip() in ("", "-1")
    return not hidden and any(path.exists() for path in _NVIDIA)


def multiplies_bfloat16() -> bool:
    """Tell whether the CPU multiplies bfloat16 numbers itself; where the system does not tell, it is said not to."""
    with suppress(OSError):  # elsewhere than on Linux
        return not _BFLOAT16.isdisjoint(_CPU.read_text().split())
    return False


def peak_rss_mb() -> float | None:
    """Most memory that this process has held at a time, in MiB; None where the system does not tell."""
    with suppress(OSError, ValueError, IndexError):  # elsewhere than on Linux
        # `getrusage` would tell the peak of the process that started this one, where that was larger.
        status = Path("/proc/self/status").read_text()
        return round(int(status.partition("VmHWM:")[2].split()[0]) / 2**10, 1)
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)


def check_memory() -> None:
    """Check that the process may have as many addresses as libraries take: some end the process where it may not.

    Raises ShortageError.
    """
    _check_addresses(_LIBRARIES + _CORE * (cores() - 2), "geoscan's libraries take", "raise the limit")


def check_memory_for_network(jobs: int | None = 0, runtime: Runtime = "tensorflow") -> None:
    """Do the same for what runs a network; jobs: threads that work beside it, one for each core if None."""
    beside = cores() if jobs is None else jobs
    name, own = _NETWORK[runtime]
    needed = own + _CORE * cores() + _THREAD * (beside + 1 if beside else 0)
    todo = "raise the limit, or pass fewer --jobs" if beside else "raise the limit"
    _check_addresses(needed, f"{name} with {beside} jobs takes", todo)


def _check_addresses(needed: float, who_takes: str, todo: str) -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY and limit < needed:
        raise ShortageError(
            f"memory is limited to {limit / 1e9:.1f} GB (ulimit -v), and {who_takes} about {needed / 1e9:.1f} GB of "
            f"addresses; {todo}"
        )


def is_shortage(error: BaseException) -> bool:
    """Tell whether an error, or one that led to it, means that the system gives no more memory or threads."""
    return any(
        isinstance(one, MemoryError)
        or type(one).__name__ == "ResourceExhaustedError"  # TensorFlow's, which is not to be imported for this
        or getattr(one, "errno", None) == errno.ENOMEM
        or any(sign in str(one) for sign in _SHORT)
        for one in _chain(error)
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
