"""What is said of a scan when it is done: a line a scene, and a table of several."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from geoscan.cli import streams
from geoscan.errors import listed, one_line

if TYPE_CHECKING:
    from geoscan.layers.earlier import Earlier
    from geoscan.polygons import Detection, Provenance
    from geoscan.scanning.folder import Outcome
    from geoscan.scanning.result import SceneResult
    from geoscan.scanning.summary import Summary

log = logging.getLogger(__name__)

_CAUSES: Final = 3
"""Chips that could not be read, and are named one by one."""

_HEAD: Final = ("scene", "chips", "failed", "observed", "detections", "ha", "s")


def result(of: SceneResult) -> None:
    """Say what was found in a scene, and what could not be read."""
    causes = list(of.seen.failed.values())
    for cause in causes[:_CAUSES]:
        log.warning("%s", cause)
    if len(causes) > _CAUSES:
        log.warning("%s more could not be read", count(len(causes) - _CAUSES, "chip"))
    if of.changed:
        log.warning("%s was written during the scan, which may mix old and new pixels; scan it again", of.changed)
    log.info("%s", _sentence(of.summary))


def changes(
    since: Earlier, found: Sequence[Detection], sources: Sequence[Provenance], dates: Mapping[str, str]
) -> None:
    """Say what became of mines since an earlier layer, and what else the difference may come of.

    sources: of all that was scanned, with detections or without. dates: when each scene was taken, ISO 8601.
    """
    from geoscan.changes import counts, date_of

    before = [one.provenance for one in since.detections if one.provenance.model]
    of_old = {source.scene for source in before}
    again = list(dict.fromkeys(one.scene for one in sources if one.scene in of_old and _may_be_same(one, since)))
    if again:
        log.warning("%s is of %s too: what such a scene showed first is told as known", since.path, listed(again))
    old, new = ([day for name in of if (day := date_of(name, of))] for of in (since.dates, dates))
    if old and new and max(new) < min(old):
        log.warning(
            "%s is of %s, later than %s: what is told as new may be what was there before",
            since.path,
            min(old),
            max(new),
        )
    if before and {_maker(one) for one in sources} - {_maker(one) for one in before}:
        log.warning("%s was made with another model or thresholds, from which differences come, too", since.path)
    said = ", ".join(f"{n:,} {status}" for status, n in counts(found).items() if n)
    log.info("since %s: %s", since.path, said or "no mine, then or now")


def _may_be_same(source: Provenance, since: Earlier) -> bool:
    """Tell whether a scene may be the one of that name in an earlier layer: of the same date, or of none."""
    dates = {since.dates.get(source.scene, "unknown"), source.reading.get("date", "unknown")}
    return len(dates - {"unknown"}) < 2


def _maker(of: Provenance) -> tuple[object, ...]:
    return of.digest, of.thresholds, of.tta


def kept(journal: Path | None) -> None:
    """Say that a journal stays, where one does."""
    if journal is not None:
        log.info("%s stays: the same command tries again what could not be read", journal)


def outcome(of: Outcome) -> None:
    """Say what became of one scene of many."""
    if of.error:
        log.warning("%s: %s", of.scene, of.error)
    elif of.result is None:
        log.info("%s is done: its layer is there, of the same scene, model and options", of.scene)
    else:
        result(of.result)
        kept(of.journal)


def table(rows: Sequence[tuple[str, Mapping[str, Any], str]]) -> None:
    """Say what became of several scenes: of each its name, its figures (see `Summary`), and what is wrong with it."""
    if not log.isEnabledFor(logging.INFO):
        return
    lines = [(*_HEAD, ""), *((*_cells(one_line(name), figures), error) for name, figures, error in rows)]
    widths = [max(len(line[n]) for line in lines) for n in range(len(_HEAD))]
    for name, *numbers, error in lines:
        columns = (f"{number:>{width}}" for number, width in zip(numbers, widths[1:], strict=True))
        streams.say("  ".join([f"{name:<{widths[0]}}", *columns, " ".join(error.split())]).rstrip())


def count(n: int, what: str) -> str:
    """Say how many of something."""
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"


def _cells(name: str, of: Mapping[str, Any]) -> tuple[str, ...]:
    if not of:
        return (name, *("-" for _ in _HEAD[1:]))
    numbers = (f"{of['chips']:,}", f"{of['failed']:,}", f"{of['observed_fraction']:.0%}", f"{of['detections']:,}")
    return (name, *numbers, f"{of['area_ha']:.0f}", f"{of['seconds']:.1f}")


def _sentence(of: Summary) -> str:
    parts = [
        f"{count(of.detections, 'detection')} ({of.flagged} of {count(of.chips, 'chip')}, {of.area_ha:.0f} ha) "
        f"by {of.model}, {of.operate}",
        f"{of.observed_fraction:.0%} of the scene observed",
        f"{count(of.skipped, 'chip')} without data" if of.skipped else "",
        f"{count(of.failed, 'chip')} could not be read" if of.failed else "",
        f"{count(of.not_understood, 'chip')} not understood" if of.not_understood else "",
        f"{of.seconds:.1f} s, {of.chips_per_second:.1f} chips/s" if of.seconds else "",
    ]
    return f"{of.scene}: " + "; ".join(part for part in parts if part)
