"""Make things in threads before they are asked for."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Made = TypeVar("Made")


def made_ahead(make: Callable[[int], Made], count: int, workers: int = 2) -> Iterator[Made]:
    """Yield make(0) .. make(count - 1) in order, made by a few threads, at most twice as many ahead as there are.

    workers: threads; with 0 each thing is made in this thread when it is asked for.
    What `make` raises is raised here, at its turn.
    """
    if workers == 0:
        yield from map(make, range(count))
        return
    steps = iter(range(count))
    with ThreadPoolExecutor(workers) as pool:
        ahead = deque(pool.submit(make, step) for step in islice(steps, 2 * workers))
        try:
            while ahead:
                yield ahead.popleft().result()
                ahead.extend(pool.submit(make, step) for step in islice(steps, 1))
        finally:
            pool.shutdown(cancel_futures=True)
