"""The scan: tiles of a scene to scores, many at a time. The only module that knows dask."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from geoscan import __version__
from geoscan.arrays import Chips, Scores
from geoscan.errors import ClusterError, InputError, PackageError, RadiometryError, ReadError, SceneError
from geoscan.grid import TileGrid
from geoscan.labels import MINE
from geoscan.machine import BATCH, peak_rss_mb
from geoscan.model.package import Package
from geoscan.model.preprocess import Preprocess
from geoscan.model.runtime import Averaged, Detector, detector
from geoscan.polygons import Detection, Provenance, Thresholds, detections, flag
from geoscan.radiometry import Radiometry, resolve, suited
from geoscan.restore import scene_airlight
from geoscan.scene import Scene

if TYPE_CHECKING:
    from distributed import Client

log = logging.getLogger(__name__)

CONNECT_SECONDS = 10
"""How long a scheduler may take to answer."""

_ATTEMPTS = 2
_GPU = "GPU"
_INFER = "infer"

T = TypeVar("T")
Run = Callable[[Callable[[Sequence[int]], "Prepared"], Callable[["Prepared"], "Scored"], list[list[int]]], "Results"]
Results = Iterator["Scored"]


@dataclass(frozen=True, slots=True)
class Plan:
    """One scene and everything that decides its scores; plain values, so that it travels to other processes."""

    scene: Scene
    grid: TileGrid
    radiometry: Radiometry
    preprocess: Preprocess
    airlight: tuple[float, float, float] | None
    """The scene's, where the model's dehazing asks for it."""

    name: str
    """What the scene is called in messages and layers."""

    @classmethod
    def of(
        cls,
        scene: Scene,
        package: Package,
        *,
        stride: int | None = None,
        stretch: str = "auto",
        hint: str = "",
        name: str | None = None,
    ) -> Plan:
        """Bring a scene to a model's resolution, and take its statistics.

        stride: side of a tile's core, in pixels; the whole chip if None. stretch: see `radiometry.resolve`; `auto` is
        what `radiometry.suited` finds for the model. name: the last part of the scene's address if None.
        Raises SceneError, GridError or RadiometryError for what does not fit, ReadError when it cannot be read.
        """
        preprocess = package.card.preprocess
        scene = scene.at_gsd(preprocess.gsd, hint=hint)
        if scene.resampling:
            log.info("%s is resampled to the model's %g m (%s)", scene.name, preprocess.gsd, scene.resampling)
        grid = TileGrid(scene.rows, scene.cols, preprocess.chip, preprocess.chip if stride is None else stride)
        if stretch == "auto":
            stretch = suited(preprocess.radiometry, scene)
        radiometry = resolve(stretch, scene)
        airlight = None
        if preprocess.dehaze is not None and preprocess.dehaze.airlight == "scene":
            red, green, blue = scene_airlight(scene, radiometry, preprocess.dehaze).tolist()
            airlight = (red, green, blue)
        log.debug(
            "%s: %d x %d px at %.3g m, bands %s, stretch %s, model %s",
            scene.name,
            scene.rows,
            scene.cols,
            scene.gsd[0],
            ",".join(map(str, scene.bands)),
            radiometry.name,
            package.card.name,
        )
        return cls(scene, grid, radiometry, preprocess, airlight, name or scene.name)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A batch of tiles, ready for the model."""

    tiles: list[int]
    """Indexes of the tiles that `chips` holds."""

    chips: Chips
    observed: dict[int, int]
    """Pixels of each tile's core that are no nodata, 0 for a skipped tile."""

    failed: dict[int, str]
    """Tiles that could not be read, and why."""

    seconds: dict[str, float]


@dataclass(frozen=True, slots=True)
class Scored:
    """A batch of tiles and their scores; see `Prepared`."""

    tiles: list[int]
    scores: Scores
    observed: dict[int, int]
    failed: dict[int, str]
    seconds: dict[str, float]


@dataclass
class SceneScores:
    """What a scan knows of a scene, tile by tile."""

    plan: Plan
    package: Package
    scores: Scores
    """(len(grid), labels); NaN where a tile was not scored."""

    observed: NDArray[np.int64]
    """(len(grid),): pixels of each core that are no nodata."""

    tta: bool = False
    """Whether the scores are means over symmetries."""

    failed: dict[int, str] = field(default_factory=dict)
    seconds: float = 0.0
    stage_seconds: dict[str, float] = field(default_factory=lambda: {"read": 0.0, "dehaze": 0.0, "infer": 0.0})

    @property
    def observed_fraction(self) -> float:
        """Share of the scene that was seen, 0..1: neither nodata, nor failed, nor under cloud as the model tells."""
        labels = self.package.card.labels
        seen = ~np.isnan(self.scores[:, 0])
        for head in self.package.card.spec.heads:
            if head.activation == "softmax" and "cloudy" in head.labels:
                weather = self.scores[:, [labels.index(label) for label in head.labels]]
                seen &= weather.argmax(axis=1) != head.labels.index("cloudy")
        return float(self.observed[seen].sum() / (self.plan.grid.rows * self.plan.grid.cols))

    def flagged(self, thresholds: Thresholds) -> NDArray[np.bool_]:
        """(len(grid),): True for tiles that are part of a detection."""
        mine = self.scores[:, self.package.card.labels.index(MINE)]
        return flag(mine.reshape(self.plan.grid.shape), thresholds).ravel() > 0

    def detections(self, thresholds: Thresholds, prior: float | None = None) -> list[Detection]:
        """Merge the flagged tiles into polygons.

        prior: share of mines among the scene's chips, 0..1, ends excluded; what the model's card assumes if None.
        """
        scene, card = self.plan.scene, self.package.card
        provenance = self.provenance(thresholds, prior)
        return detections(
            self.plan.grid,
            self.scores,
            card.labels,
            provenance,
            scene.transform,
            scene.crs,
            probabilities=None if provenance.prior is None else card.mine_probability(self.scores, provenance.prior),
            co_thresholds=card.thresholds,
        )

    def provenance(self, thresholds: Thresholds, prior: float | None = None) -> Provenance:
        """Where the detections come from; prior as in `detections`, without meaning for a model nobody calibrated."""
        card = self.package.card
        assumed = None if card.calibration.seen_prior is None else prior or card.calibration.ground_prior
        return Provenance(self.plan.name, card.name, card.digest, thresholds, __version__, self.tta, assumed)

    def summary(self, thresholds: Thresholds, found: Sequence[Detection]) -> dict[str, Any]:
        """Return the figures of the scan, as `--json` prints them."""
        scored = int((~np.isnan(self.scores[:, 0])).sum())
        return {
            "scene": self.plan.name,
            "model": self.package.card.name,
            "digest": self.package.card.digest,
            "tta": self.tta,
            "chips": len(self.plan.grid),
            "skipped": len(self.plan.grid) - scored - len(self.failed),
            "failed": len(self.failed),
            "flagged": int(self.flagged(thresholds).sum()),
            "detections": len(found),
            "observed_fraction": round(self.observed_fraction, 6),
            "area_ha": round(sum(one.area_ha for one in found), 4),
            "seconds": round(self.seconds, 3),
            "chips_per_second": round(scored / self.seconds, 3) if self.seconds else 0.0,
            "stage_seconds": {stage: round(seconds, 3) for stage, seconds in self.stage_seconds.items()},
            "peak_rss_mb": peak_rss_mb(),
        }


def scan(
    plan: Plan,
    package: Package,
    client: Client | None = None,
    *,
    batch: int = BATCH,
    tta: bool | None = None,
    detect: Callable[[], Detector] | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> SceneScores:
    """Score every tile of a scene that is not all nodata.

    client: dask's, from `workers`; None works in this thread alone, with the same result.
    batch: tiles a task. tta: average scores over symmetries, see `Averaged`; as the model's card has it if None.
    detect: makes what scores chips, in whatever process; the package's own network if None.
    progress: called with the number of tiles done, again and again.
    A tile that cannot be read is tried once more, then noted in `failed`; anything unexpected is raised.
    """
    started = time.perf_counter()
    grid = plan.grid
    tta = package.card.averages(tta)
    result = SceneScores(
        plan,
        package,
        np.full((len(grid), len(package.card.labels)), np.nan, np.float32),
        np.zeros(len(grid), np.int64),
        tta,
    )
    make = detect or partial(detector, package.path.absolute(), package.card.digest, batch)
    if tta:
        make = partial(_averaged, make)
    batches = [list(range(start, min(start + batch, len(grid)))) for start in range(0, len(grid), batch)]
    for scored in _run(client, partial(prepare, plan), partial(infer, make), batches):
        result.scores[scored.tiles] = scored.scores
        for tile, pixels in scored.observed.items():
            result.observed[tile] = pixels
        result.failed |= scored.failed
        for stage, seconds in scored.seconds.items():
            result.stage_seconds[stage] += seconds
        progress(len(scored.observed) + len(scored.failed))
    result.seconds = time.perf_counter() - started
    result.failed = dict(sorted(result.failed.items()))
    return result


def prepare(plan: Plan, tiles: Sequence[int]) -> Prepared:
    """Read tiles and bring them to the model's look."""
    seconds = {"read": 0.0, "dehaze": 0.0}
    ready, chips = [], []
    observed: dict[int, int] = {}
    failed: dict[int, str] = {}
    airlight = None if plan.airlight is None else np.array(plan.airlight, np.float32)
    for index in tiles:
        tile = plan.grid[index]
        start = time.perf_counter()
        try:
            native, valid = _patiently(partial(plan.scene.read, tile.read))
        except ReadError as err:
            failed[index] = str(err)
            continue
        finally:
            seconds["read"] += time.perf_counter() - start
        down, across = tile.core.row - tile.read.row, tile.core.col - tile.read.col
        observed[index] = int(valid[down : down + tile.core.rows, across : across + tile.core.cols].sum())
        if observed[index]:
            start = time.perf_counter()
            chips.append(plan.preprocess(plan.radiometry.apply(native, valid), valid, airlight))
            ready.append(index)
            seconds["dehaze"] += time.perf_counter() - start
    side = plan.preprocess.chip
    stacked = np.stack(chips) if chips else np.empty((0, side, side, 3), np.uint8)
    return Prepared(ready, stacked, observed, failed, seconds)


def infer(make: Callable[[], Detector], batch: Prepared) -> Scored:
    """Score prepared tiles; a batch of nodata alone never wakes the model.

    Raises PackageError when a score is NaN, which would pass for a tile that was skipped.
    """
    start = time.perf_counter()
    scores = make()(batch.chips) if batch.tiles else np.empty((0, 1), np.float32)
    if lost := int(np.isnan(scores).any(axis=1).sum()):
        raise PackageError(f"the model gives no score (NaN) for {lost} of {len(scores)} chips; train it anew")
    seconds = {**batch.seconds, "infer": time.perf_counter() - start}
    return Scored(batch.tiles, scores, batch.observed, batch.failed, seconds)


def _averaged(make: Callable[[], Detector]) -> Detector:
    return Averaged(make())


def predict(package: Package, chips: Sequence[NDArray[np.uint8]], batch: int = BATCH) -> Scores:
    """Score single chips, (3, rows, cols) visual pixels each, as a scan would; (n, labels) in the order of the card."""
    prepared = np.stack([package.card.preprocess(chip) for chip in chips])
    return detector(package.path.absolute(), package.card.digest, batch)(prepared)


@contextmanager
def workers(jobs: int, scheduler: str | None = None) -> Iterator[Client | None]:
    """Give dask's client: in this process with `jobs` threads that prepare tiles, or of a cluster's scheduler.

    jobs 0 gives None: no dask at all. Raises InputError when the scheduler does not answer, or has no workers.
    """
    if scheduler is None and jobs == 0:
        yield None
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
                reason = " ".join(str(err).split())
                raise InputError(f"no dask scheduler answers at {scheduler} ({reason}); give tcp://HOST:8786") from err
            if not client.nthreads():
                raise InputError(f"the scheduler at {scheduler} has no workers; start some: dask worker {scheduler}")
        else:
            client = stack.enter_context(_own_client(jobs, stack))
        client.loop.asyncio_loop.set_exception_handler(_report)
        yield client


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
        silence_logs=logging.ERROR,
    )
    return Client(stack.enter_context(cluster), set_as_default=False)


def _run(
    client: Client | None,
    prepare: Callable[[Sequence[int]], Prepared],
    infer: Callable[[Prepared], Scored],
    batches: list[list[int]],
) -> Iterator[Scored]:
    """Yield every batch, scored: here one by one, or on dask's workers, in whatever order they are done.

    Only so many batches are under way that the workers stay busy, so memory does not grow with the scene.
    Raises ClusterError when workers die again and again, or the scheduler does.
    """
    if client is None:
        for tiles in batches:
            yield infer(prepare(tiles))
        return
    from distributed import KilledWorker, as_completed

    resources = _inference_resources(client)
    threads = sum(client.nthreads().values())

    def submit(tiles: list[int]) -> Any:
        ready = client.submit(prepare, tiles, pure=False)
        return client.submit(infer, ready, pure=False, resources=resources)

    waiting = iter(batches)
    done = as_completed([submit(tiles) for tiles in itertools.islice(waiting, 2 * threads)], loop=client.loop)
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


def _inference_resources(client: Client) -> dict[str, float] | None:
    """Ask for the resource that a worker offers for inference, so that one runs at a time on a GPU, or in a process."""
    offered = {name for worker in client.scheduler_info()["workers"].values() for name in worker.get("resources", {})}
    return next(({name: 1.0} for name in (_GPU, _INFER) if name in offered), None)


def _patiently(read: Callable[[], T]) -> T:
    """Try a read once more when it fails: a network does so for a moment, and a lost handle is opened anew."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return read()
        except ReadError:
            if attempt == _ATTEMPTS:
                raise
    raise AssertionError("unreachable")


def each_scene(make: Callable[[str], T], paths: Sequence[tuple[str, bool]]) -> tuple[list[T], int]:
    """Open or plan scenes with `make`; return what it gave, and how many scenes were left out.

    paths: addresses, and whether each was named outright: those that were not, being what a directory happens to
    hold, are left out with a warning when they cannot be scanned.
    Raises what `make` raises for one that was named, InputError when none is left.
    """
    made, left_out = [], 0
    for path, named in paths:
        try:
            made.append(make(path))
        except (SceneError, RadiometryError, ReadError) as err:
            if named:
                raise
            left_out += 1
            log.warning("left out: %s", err)
    if not made:
        raise InputError(f"none of the {left_out} rasters can be scanned; give a scene with red, green and blue bands")
    return made, left_out
