"""`geoscan` with two more presets, `tiny` and `tiny-small`, and what a test wants on the way, in its own process.

GEOSCAN_TEST_SIGNAL=9@6 sends it signal 9 after 6 training steps. GEOSCAN_TEST_FILE_SIZE=N limits the size of a file,
from the first step on, as a full disk does.
"""

import os
import resource
from types import MappingProxyType

from geoscan.cli import main
from geoscan.model import spec
from geoscan.train.batches import Batches

TINY = spec.DenseNetSpec(blocks=(1, 1), growth=4, stem=8, shrink=8, stem_stride=2)
SMALL = spec.DenseNetSpec(blocks=(1,), growth=4, stem=4, chip=16, stem_stride=1)


def _interfere() -> None:
    number, _, at = os.environ.get("GEOSCAN_TEST_SIGNAL", "0@0").partition("@")
    limit = int(os.environ.get("GEOSCAN_TEST_FILE_SIZE", "0"))
    epoch, done = Batches.epoch, 0

    def counted(self, which):
        nonlocal done
        if limit:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        for batch in epoch(self, which):
            yield batch
            done += 1
            if done == int(at):
                os.kill(os.getpid(), int(number))

    Batches.epoch = counted


spec.PRESETS = MappingProxyType({**spec.PRESETS, "tiny": TINY, "tiny-small": SMALL})
_interfere()
main()
