"""How far a scan is, on stderr: a bar for people, lines for programs."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from tqdm import tqdm

from geoscan.cli import options, streams

_PAUSE: Final = 0.2
"""Seconds from one line to the next, at least."""


@contextmanager
def shown(chips: int, *, lines: bool) -> Iterator[dict[str, Callable[..., Any]]]:
    """Give the `begin` and `advance` that `scan_scenes` takes, for a scan of so many chips.

    lines: say it in lines of JSON, {"done": 30, "chips": 36}, in place of a bar.
    """
    if lines:
        yield {"advance": _Lines(chips).advance}
        return
    with tqdm(total=chips, unit="chip", disable=options.silent(), leave=False) as bar:
        yield {"begin": bar.set_description, "advance": options.advance(bar)}


class _Lines:
    """Says how many chips are done: at once, then now and then, and when all are."""

    def __init__(self, chips: int) -> None:
        self._chips, self._done, self._said = chips, 0, -math.inf
        self.advance(0)

    def advance(self, n: int) -> None:
        """Count n more chips."""
        self._done += n
        now = time.monotonic()
        if now - self._said >= _PAUSE or self._done == self._chips:
            self._said = now
            streams.say(json.dumps({"done": self._done, "chips": self._chips}))
