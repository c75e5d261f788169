"""Where the journals of a scan lie, and when they go."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

from geoscan.errors import InputError, OutputError
from geoscan.files import cache_directory, check_target, file_names, is_folder, make_folder
from geoscan.scanning.journal import database
from geoscan.scanning.journal.file import SUFFIX, Journal, open_journal
from geoscan.scanning.plan import Plan

log = logging.getLogger(__name__)


class Journals:
    """The journals of some scenes, one each."""

    def __init__(self, of: Iterable[tuple[Plan, Path]], *, keep: bool = False, fresh: bool = False) -> None:
        """Name the journals; keep: they were asked for, so they are where they are said to be, and stay.

        fresh: what they hold of these scans is forgotten.
        """
        self._paths = list(of)
        self._keep = keep
        self._fresh = fresh
        self._last: Journal | None = None

    def open(self, plan: Plan) -> Journal | None:
        """Go on with a scene's journal, or begin one, and say so.

        Where it cannot be written it goes into the user's cache; None, with a warning, where that cannot either.
        Raises BusyError when another scan of the scene is at it; OutputError when one that was asked for cannot be
        written.
        """
        path = self._path(plan)
        if not (self._keep or path.exists()):
            for cached in _cached(path):
                if cached.is_file():  # left by a scan that could not write beside its layer
                    path = cached
        try:
            journal, told = open_journal(path, plan, fresh=self._fresh)
        except OutputError as err:
            if self._keep:
                raise
            return self._in_cache(self._path(plan), plan, err)
        return self._opened(journal, plan, told)

    def end(self, plan: Plan, *, well: bool) -> Path | None:
        """Remove the journal of a scene whose result is written, and went well, unless it was asked for.

        Returns the journal that stays because it did not: the same command tries again what failed.
        """
        self._last = None
        found = [one for one in (self._path(plan), *_cached(self._path(plan))) if one.is_file()]
        if not well:
            return next(iter(found), None)
        if not self._keep:
            for path in found:
                database.remove(path)
        return None

    @property
    def told(self) -> str:
        """What is left of the scan that was under way, for people who ended it; empty for nothing."""
        if self._last is None or not self._last.done:
            return ""
        how = " without --fresh" if self._fresh else ""
        return f"{self._last.done:,} chips are in {self._last.path}, and the same command{how} goes on from there"

    def _path(self, plan: Plan) -> Path:
        return next(path for one, path in self._paths if one is plan)

    def _in_cache(self, path: Path, plan: Plan, why: OutputError) -> Journal | None:
        try:
            (cached,) = _cached(path)
            cached.parent.mkdir(parents=True, exist_ok=True)
            journal, told = open_journal(cached, plan, fresh=self._fresh)
        except (OutputError, OSError, ValueError):
            log.warning("%s: so no journal is kept, and a scan that is ended begins anew", why)
            return None
        log.info("%s: the journal is %s", why, cached)
        return self._opened(journal, plan, told)

    def _opened(self, journal: Journal, plan: Plan, told: str) -> Journal:
        if told:
            log.warning("%s", told)
        if journal.done:
            log.info("%s: resumed: %s of %s chips", plan.name, f"{journal.done:,}", f"{len(plan.grid):,}")
        self._last = journal
        return journal


def _cached(path: Path) -> list[Path]:
    """Where a journal goes that cannot be written at `path`; nowhere for a user without a home."""
    place = hashlib.sha256(str(path.absolute()).encode(errors="surrogateescape")).hexdigest()[:8]
    try:
        return [cache_directory() / "journals" / f"{place}-{path.name}"]
    except OutputError:
        return []


def beside(layer: Path, plans: Sequence[Plan]) -> list[tuple[Plan, Path]]:
    """Name the journals of a layer: a scene's is the same, whatever other scenes the layer is of."""
    names = file_names([plan.name for plan in plans])
    (start,) = file_names([layer.name])  # cut where it is long, for the scene's name comes behind
    return [(plan, layer.with_name(f"{start}.{name}{SUFFIX}")) for plan, name in zip(plans, names, strict=True)]


def asked_for(place: str, plans: Sequence[Plan]) -> list[tuple[Plan, Path]]:
    """Name the journals that were asked for: a file for one scene, a folder for any number.

    Raises InputError for a file where there are several scenes, for one without the suffix of journals, and for a place
    that cannot be written to or that a scene is read from.
    """
    path, sources = Path(place), [file for plan in plans for file in plan.scene.product.files]
    if is_folder(place):
        make_folder(path)
        names = file_names([plan.name for plan in plans])
        found = [(plan, path / f"{name}{SUFFIX}") for plan, name in zip(plans, names, strict=True)]
    elif len(plans) == 1:
        found = [(plans[0], path)]
    else:
        raise InputError(f"{path} names one journal for {len(plans)} scenes; name a folder, such as {path.stem}/")
    for _, one in found:
        check_target(one, (SUFFIX,), "journal", sources)
    return found
