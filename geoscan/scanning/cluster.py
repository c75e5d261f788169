"""What must hold before the first chip goes to a cluster: the same versions everywhere, and scenes and models at hand.

Workers that have no model get it, by its digest, once each. All this goes for those that join later, too.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import logging
import platform
import socket
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from distributed import Status, WorkerPlugin

import geoscan
from geoscan import gdal, inputs
from geoscan.errors import GeoscanError, InputError, PackageError, one_line
from geoscan.model import runtime
from geoscan.model.package import Package, load, package_files
from geoscan.model.shipped import shipped

if TYPE_CHECKING:
    from distributed import Client, Worker

    from geoscan.scanning.plan import Plan

log = logging.getLogger(__name__)

_NAMED: Final = 3
"""Workers that a message names, at most."""

_SHARE: Final = "workers read scenes under the same paths as this machine: share them"

_PLENTY: Final = 1e6
"""Of a resource that lets a worker in: more than it ever works on at a time."""


def check_versions(client: Client, runtimes: Iterable[str] = ()) -> None:
    """Check that scheduler and workers have this process' versions of geoscan, and of what else decides scores.

    runtimes: what computes scores there. Raises InputError, which names the process and what differs.
    """
    # Of the standard library first, so that any process understands the question.
    _agree(_everywhere(client, platform.python_version_tuple), "Python", platform.python_version_tuple(), _minor)
    _agree(_everywhere(client, importlib.metadata.version, "geoscan"), "geoscan", geoscan.__version__)
    asked = tuple(runtimes)
    found = _everywhere(client, versions, asked)
    for name, version in versions(asked).items():
        _agree({who: one.get(name) if isinstance(one, dict) else one for who, one in found.items()}, name, version)


def _everywhere(client: Client, function: Callable[..., Any], *given: Any) -> dict[str, Any]:
    """Call a function in all processes of a cluster; give what it returned, or raised, by process."""
    found = {f"worker {key}": one for key, one in client.run(function, *given, on_error="return").items()}
    try:
        found["scheduler"] = client.run_on_scheduler(function, *given)
    except Exception as error:  # of whatever kind: it is told
        found["scheduler"] = error
    return found


def _minor(version: tuple[str, ...]) -> str:
    return ".".join(version[:2])


def _agree(found: Mapping[str, Any], what: str, own: Any, shown: Callable[[Any], str] = str) -> None:
    for who, version in found.items():
        if version != own and (isinstance(version, Exception | None) or shown(version) != shown(own)):
            has = f"{what} {shown(version)}"
            if isinstance(version, Exception | None):
                has = f"no {what} ({one_line(version)[:200]})"
            raise InputError(
                f"the {who} has {has}, this machine {shown(own)}: scores might differ; install the same there"
            )


def versions(runtimes: tuple[str, ...]) -> dict[str, str]:
    """Versions of what decides scores in this process, and what its own code is."""
    import cv2
    import numpy as np
    import rasterio

    found = {
        "Python": _minor(platform.python_version_tuple()),
        "numpy": np.__version__,
        "OpenCV": cv2.__version__,
        "rasterio": rasterio.__version__,
        "GDAL": rasterio.__gdal_version__,
    }
    for name in runtimes:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return {**found, "code of geoscan": _code()}


@cache
def _code() -> str:
    """Twelve hexadecimal digits that change with any line of geoscan."""
    digest, root = hashlib.sha256(), Path(geoscan.__file__).parent
    for file in sorted(root.rglob("*.py")):
        digest.update(str(file.relative_to(root)).encode() + file.read_bytes())
    return digest.hexdigest()[:12]


def make_ready(client: Client, plans: Sequence[Plan]) -> dict[str, float]:
    """Check that all workers can read the scenes, and give models to those that have none.

    Returns the resources that work on these plans is to ask for: workers that join later have them if they fit, too.
    Raises InputError for a scene that a worker lacks, or of which it has another version, with path and host.
    """
    runtimes = tuple(sorted({plan.runtime for plan in plans}))
    check_versions(client, runtimes)
    stamps = tuple(dict.fromkeys(stamp for plan in plans for stamp in plan.scene.stamps))
    faults = [fault for fault in client.run(missing, stamps).values() if fault]
    if faults:
        more = f", and {len(faults) - _NAMED} more workers likewise" if len(faults) > _NAMED else ""
        raise InputError(f"{'; '.join(faults[:_NAMED])}{more}; {_SHARE}")
    packages = {plan.package.card.digest: plan.package for plan in plans}
    for package in packages.values():
        has = client.run(has_model, package.path.absolute(), package.card.digest)
        _send(client, package, again=not all(has.values()))
    door = Door(f"geoscan-{client.id}-{uuid.uuid4().hex[:8]}", versions(runtimes), runtimes, stamps, tuple(packages))
    client.register_plugin(door)
    client.subscribe_topic(door.name, lambda event: log.warning("%s; it gets no work", event[1]))
    return {door.name: 1.0}


def leave(client: Client, names: Iterable[str]) -> None:
    """Let workers that join from now on be, whatever they lack; names: of resources that `make_ready` gave."""
    for name in names:
        if client.status == "running":  # else the scheduler has gone, and what it knew with it
            client.unregister_worker_plugin(name)


@dataclass(frozen=True)
class Door(WorkerPlugin):  # type: ignore[misc]  # dask has no types
    """Lets in those workers that fit: what dask runs on each worker, on one that joins later, too.

    One that fits gets a resource, for which the work asks. To raise is not enough: dask logs what a plugin raises on a
    worker that joins, and gives it work all the same.
    """

    name: str
    versions: Mapping[str, str]
    runtimes: tuple[str, ...]
    stamps: tuple[inputs.Stamp, ...]
    digests: tuple[str, ...]
    """Of the models, which are sent before."""

    async def setup(self, worker: Worker) -> None:
        """Let the worker in, or raise InputError, of which the client is told, too."""
        try:
            self._check(worker.address)
        except InputError as error:
            worker.log_event(self.name, str(error))
            raise
        await worker.set_resources(**{self.name: _PLENTY})
        if worker.status == Status.running:
            # Work that found no worker is dealt out when one begins to run, not when one gets a resource.
            worker.status = Status.paused
            worker.status = Status.running

    def _check(self, address: str) -> None:
        found = versions(self.runtimes)
        for name, version in self.versions.items():
            _agree({f"worker {address}": found.get(name)}, name, version)
        if fault := missing(self.stamps):
            raise InputError(f"{fault}; {_SHARE}")
        if lacking := [digest for digest in self.digests if digest not in runtime.PLACES]:
            raise InputError(f"the worker {address} could not keep the model {lacking[0][:12]}; see its log")


def missing(stamps: Iterable[inputs.Stamp]) -> str:
    """Say which of these files this process does not see as they were when their stamps were taken; empty for none."""
    if not (path := inputs.changed(stamps)):
        return ""
    return f"{socket.gethostname()} {'has another' if gdal.exists(path) else 'lacks'} {path}"


def has_model(path: Path, digest: str) -> bool:
    """Tell whether this process can open a model: at that path, or among those that came with its own geoscan."""
    found: list[Package] = []
    with suppress(PackageError):
        found += [load(path)]
    with suppress(PackageError):
        found += shipped()
    runtime.PLACES.update({one.card.digest: one.path for one in found if one.card.digest == digest})
    return digest in runtime.PLACES


@dataclass(frozen=True)
class Sent(WorkerPlugin):  # type: ignore[misc]  # dask has no types
    """A model on its way: what dask runs on each worker, on one that joins later, too."""

    name: str
    path: Path
    digest: str
    content: Mapping[str, bytes]
    """Its files by name."""

    idempotent: bool
    """Whether workers that have got it before are left alone."""

    def setup(self, worker: Worker) -> None:
        """Write the model where the worker keeps its own files, unless it has it. Raises PackageError for damage."""
        if has_model(self.path, self.digest):
            return
        folder = Path(worker.local_directory) / f"geoscan-{self.digest[:16]}"
        folder.mkdir(exist_ok=True)
        for name, content in self.content.items():
            (folder / name).write_bytes(content)
        if load(folder).card.digest != self.digest:
            raise PackageError(f"{folder} on {socket.gethostname()} is not the model that was sent; scan again")
        runtime.PLACES[self.digest] = folder


def _send(client: Client, package: Package, *, again: bool) -> None:
    """Send a model to all workers, and to those that join later; again: also if it has been sent before."""
    digest = package.card.digest
    content = {file.name: file.read_bytes() for file in package_files(package.path)}
    try:
        client.register_plugin(Sent(f"geoscan-{digest[:16]}", package.path.absolute(), digest, content, not again))
    except GeoscanError:
        raise
    except OSError as error:
        raise InputError(f"a worker cannot keep the model {package.card.name}: {one_line(error)}") from error
