"""Run the command line, and write down when its progress bar first moves: clock.py TARGET WORDS...

The rest is the command as it is, from its imports to its exit status.
"""

import json
import sys
import time
from pathlib import Path

from geoscan.cli import main, progress
from geoscan.machine import peak_rss_mb


def watched(target: Path, words: list[str]) -> None:
    moved: list[float] = []

    class Clock(progress.tqdm):
        def update(self, n=1):
            if n and not moved:
                moved.append(time.time())
            return super().update(n)

    progress.tqdm = Clock
    try:
        main(words)
    finally:
        target.write_text(json.dumps({"first": next(iter(moved), None), "peak_mb": peak_rss_mb()}))


if __name__ == "__main__":
    watched(Path(sys.argv[1]), sys.argv[2:])
