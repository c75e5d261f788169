"""What the machine offers, and how much of it was used."""

from __future__ import annotations

import os
import sys
from typing import Final

BATCH: Final = 16
"""Chips that are prepared together, and scored in one call of the model; a GPU likes more."""


def cores() -> int:
    """Count the processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def peak_rss_mb() -> float | None:
    """Most memory that this process has held at a time, in MiB; None where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)
