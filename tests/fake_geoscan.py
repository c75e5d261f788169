"""`geoscan` with a detector that needs no network, for tests that need a process: `python fake_geoscan.py WORDS`.

GEOSCAN_FAKE names what the detector does: `bright`, the default; `slow`; `steady`, which is less slow; `short` of
memory; `write` into a file, whose path is in GEOSCAN_FAKE_FILE. GEOSCAN_FAKE_LOG is a file to which the number of chips
is added before they are scored.
"""

import os
import time
from functools import partial
from pathlib import Path

import fakes
import numpy as np

from geoscan.arrays import Chips, Scores
from geoscan.cli import main, streams


class ResourceExhaustedError(Exception):
    """As TensorFlow's is called."""


class Fake(fakes.BrightIsPositive):
    """Does what the environment says before it scores."""

    def __call__(self, chips: Chips) -> Scores:
        way = os.environ.get("GEOSCAN_FAKE", "bright")
        if log := os.environ.get("GEOSCAN_FAKE_LOG"):
            with Path(log).open("a") as file:
                file.write(f"{len(chips)}\n")
        if way in ("slow", "steady"):
            time.sleep(0.3 if way == "slow" else 0.05)
        if way == "short":
            raise ResourceExhaustedError("OOM when allocating tensor")
        if way == "write":
            with Path(os.environ["GEOSCAN_FAKE_FILE"]).open("rb+") as file:
                file.write(file.read(1))
                file.seek(0)
                os.utime(file.fileno())
        return np.asarray(super().__call__(chips))


if __name__ == "__main__":
    streams.prepare()
    from geoscan.scanning import run

    run.detector = partial(fakes.made, Fake)
    main(prog_name="geoscan")
