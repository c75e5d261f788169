"""Dask's workers, here or in a cluster, and batches on their way through them. Only this and `cluster` know dask."""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from geoscan.ahead import made_ahead, with_env
from geoscan.errors import ClusterError, InputError, one_line
from geoscan.machine import cores
from geoscan.scanning.batch import Prepared, ScoredBatch

if TYPE_CHECKING:
    from distributed import Client

    from geoscan.scanning.plan import Plan

CONNECT_SECONDS = 10
"""How long a scheduler may take to answer."""

IN_FLIGHT: Final = 2
"""Batches under way for each thread, so that none waits for work."""

_FEW: Final = 128
"""Batches for which dask is not started: that takes a second, in which several are scored."""

_GPU = "GPU"
_INFER = "infer"


@dataclass(frozen=True, slots=True)
class Workers:
    """Who works on batches: dask's workers, or without a client this thread, with the same result."""

    client: Client | None = None

    threads: int = 0
    """Without a client: threads that prepare batches beside this one, which scores them."""

    remote: bool = False
    """The client's workers are those of a cluster, in other processes."""

    asked: dict[str, float] = field(default_factory=dict)
    """Resources of dask's that a worker must have to get work; `make_ready` fills it."""

    def begin(self, make: Callable[[], object]) -> None:
        """Make what inference will ask for, while the first batch is read; what it raises, it raises again then.

        Only where there are threads for it in this process.
        """
        if self.client is None and self.threads:
            threading.Thread(target=partial(_try, make)).start()

    def make_ready(self, plans: Sequence[Plan]) -> None:
        """Check that a cluster's workers fit this process and see its scenes, and give them the models that they lack.

        Workers that join later get work only if they do.
        Raises InputError, with the worker and what it lacks.
        """
        if self.remote and self.client is not None:
            from geoscan.scanning.cluster import make_ready

            self.end()
            self.asked.update(make_ready(self.client, plans))

    def end(self) -> None:
        """Ask no more of workers that join the cluster."""
        if self.asked and self.client is not None:
            from geoscan.scanning.cluster import leave

            leave(self.client, self.asked)
            self.asked.clear()

    def run(
        self,
        prepare: Callable[[Sequence[int]], Prepared],
        infer: Callable[[Prepared], ScoredBatch],
        batches: list[list[int]],
    ) -> Iterator[ScoredBatch]:
        """Yield every batch, scored: here one by one in order, or on dask's workers, in whatever order they are done.

        Only so many batches are under way that the workers stay busy, so memory does not grow with the scene.
        Raises ClusterError when workers die again and again, or the scheduler does.
        """
        if self.client is None:
            ready = made_ahead(lambda n: prepare(batches[n]), len(batches), self.threads)
            return (infer(batch) for batch in ready)
        return _with_dask(self.client, prepare if self.remote else with_env(prepare), infer, batches, self.asked)


HERE: Final = Workers()
"""This thread alone."""


@contextmanager
def workers(jobs: int | None = None, scheduler: str | None = None, *, batches: int | None = None) -> Iterator[Workers]:
    """Give workers: dask's in this process, with `jobs` threads that prepare tiles, or those of a cluster's scheduler.

    jobs: all cores if None; 0 is this thread alone, without dask. batches: how many there are to work on, if known;
    for a few of them, threads without dask do the same, and are there at once.
    Raises InputError when the scheduler does not answer, or has no workers.
    """
    threads = cores() if jobs is None else jobs
    if scheduler is None and (threads == 0 or (batches is not None and batches <= _FEW)):
        yield Workers(threads=threads)
        return
    import dask
    from distributed import Client
    from distributed.comm import resolve_address

    with ExitStack() as stack:
        if scheduler is not None:
            stack.enter_context(dask.config.set({"distributed.comm.timeouts.connect": f"{CONNECT_SECONDS}s"}))
            try:
                resolve_address(scheduler)  # a client of an impossible address takes 20 s to give up, with a traceback
                client = stack.enter_context(Client(scheduler, set_as_default=False))
            except (OSError, ValueError, TimeoutError) as err:
                raise InputError(
                    f"no dask scheduler answers at {scheduler} ({one_line(err)}); give tcp://HOST:8786"
                ) from err
            if not client.nthreads():
                raise InputError(f"the scheduler at {scheduler} has no workers; start some: dask worker {scheduler}")
        else:
            client = stack.enter_context(_own_client(threads, stack))
        client.loop.asyncio_loop.set_exception_handler(_report)
        pool = Workers(client, remote=scheduler is not None)
        stack.callback(pool.end)
        yield pool


def _try(make: Callable[[], object]) -> None:
    with suppress(Exception):
        make()


def _report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Leave it to asyncio to report what went wrong in dask's loop, but for waits that ran out with nobody waiting.

    dask's messengers wait with a time limit in a loop of their own: one that stops between the end of the time and the
    next round has left an exception to nobody, and asyncio would print it after a scan that went well.
    """
    if not ("future" in context and isinstance(context.get("exception"), TimeoutError)):
        loop.default_exception_handler(context)


def _own_client(jobs: int, stack: ExitStack) -> Client:
    """Start dask in this process, to be ended with `stack`.

    Not `Client(processes=False)`: that opens HTTP servers on all network interfaces, and warns when port 8787 is taken.
    """
    import dask
    from distributed import Client, Scheduler, SpecCluster, Worker

    closed = {"protocol": "inproc://", "dashboard": False, "dashboard_address": "127.0.0.1:0"}
    # One thread more than jobs: it waits in the model while the others read and dehaze.
    # No heartbeats: the worker dies with this process anyway, and one still on its way at the end is printed as lost.
    worker = {**closed, "nthreads": jobs + 1, "resources": {_INFER: 1}, "memory_limit": 0, "heartbeat_interval": "365d"}
    settings: dict[str, Any] = {
        "distributed.scheduler.http.routes": [],
        "distributed.scheduler.worker-ttl": None,
        "distributed.worker.http.routes": [],
    }
    stack.enter_context(dask.config.set(settings))
    cluster = SpecCluster(
        scheduler={"cls": Scheduler, "options": closed},
        workers={0: {"cls": Worker, "options": worker}},
        silence_logs=logging.CRITICAL,  # what fails is raised here, too
    )
    return Client(stack.enter_context(cluster), set_as_default=False)


def _with_dask(
    client: Client,
    prepare: Callable[[Sequence[int]], Prepared],
    infer: Callable[[Prepared], ScoredBatch],
    batches: list[list[int]],
    asked: Mapping[str, float],
) -> Iterator[ScoredBatch]:
    from distributed import KilledWorker, as_completed

    to_prepare, to_infer = dict(asked), {**_inference_resources(client), **asked}
    threads = sum(client.nthreads().values()) or 1  # all may have gone, and others come

    def submit(tiles: list[int]) -> Any:
        ready = client.submit(prepare, tiles, pure=False, resources=to_prepare or None)
        return client.submit(infer, ready, pure=False, resources=to_infer or None)

    waiting = iter(batches)
    done = as_completed([submit(tiles) for tiles in itertools.islice(waiting, IN_FLIGHT * threads)], loop=client.loop)
    try:
        for future in done:
            try:
                scored = future.result()
            except KilledWorker as err:
                raise ClusterError(
                    f"{err.allowed_failures + 1} dask workers died one after the other; most often they lack memory: "
                    "pass a smaller --batch, or start workers with fewer threads"
                ) from err
            except CancelledError as err:
                raise ClusterError("the dask scheduler has gone; start it anew, and scan again") from err
            yield scored
            future.release()
            for tiles in itertools.islice(waiting, 1):
                done.add(submit(tiles))
    finally:
        client.cancel(list(done.futures))


def _inference_resources(client: Client) -> dict[str, float]:
    """Ask for the resource that a worker offers for inference, so that one runs at a time on a GPU, or in a process."""
    offered = {name for worker in client.scheduler_info()["workers"].values() for name in worker.get("resources", {})}
    return next(({name: 1.0} for name in (_GPU, _INFER) if name in offered), {})
