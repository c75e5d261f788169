"""Make things in threads before they are asked for."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import Any, TypeVar

from rasterio.env import defenv, getenv, hasenv

Given = TypeVar("Given")
Made = TypeVar("Made")


def made_ahead(make: Callable[[int], Made], count: int, workers: int = 2) -> Iterator[Made]:
    """Yield make(0) .. make(count - 1) in order, made by a few threads, at most twice as many ahead as there are.

    workers: threads; with 0 each thing is made in this thread when it is asked for.
    What `make` raises is raised here, at its turn.
    """
    if workers == 0:
        yield from map(make, range(count))
        return
    steps, make = iter(range(count)), with_env(make)
    with ThreadPoolExecutor(workers) as pool:
        ahead = deque(pool.submit(make, step) for step in islice(steps, 2 * workers))
        try:
            while ahead:
                yield ahead.popleft().result()
                ahead.extend(pool.submit(make, step) for step in islice(steps, 1))
        finally:
            pool.shutdown(cancel_futures=True)


def with_env(make: Callable[[Given], Made]) -> Callable[[Given], Made]:
    """Let threads that are started for `make` have the options of the `rasterio.Env` that this one is in, if any.

    GDAL keeps them for the thread that set them, but for those of the main thread, which all have.
    """
    return partial(_made, make, getenv()) if hasenv() else make


def _made(make: Callable[[Given], Made], options: dict[str, Any], given: Given) -> Made:
    if not hasenv():
        defenv(**options)
    return make(given)
