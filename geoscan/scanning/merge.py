"""From journals to what was found, with other thresholds if wanted: no scene is opened, no model is loaded."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np

from geoscan.model.figures import CUSTOM
from geoscan.outlines import CHIP
from geoscan.scanning.gathered import Gathered
from geoscan.scanning.journal.file import read_journal
from geoscan.scanning.options import ScanOptions
from geoscan.scanning.plan import Plan
from geoscan.scanning.result import SceneResult, detect

log = logging.getLogger(__name__)

NOT_YET = "not scanned yet"
"""Why a chip is missing that no scan has come to."""


def merge_journal(path: Path, options: ScanOptions, *, pointed: bool = False) -> tuple[SceneResult, int]:
    """Make detections of what a journal holds.

    options: of its `operate`, `high`, `low`, `isolated` and `prior`; what is None is as the scan had it.
    pointed: whether `operate` was asked for; else the other thresholds are the scan's, too.
    Outlines are those of whole chips. Chips that no scan has come to yet count as failed. Returns what was found, and
    how many such chips there are.
    Raises InputError for what is no journal, or for thresholds that contradict each other, PackageError where the
    model's card lacks the operating point, BusyError when a scan is writing it.
    """
    plan, part = read_journal(path)
    if plan.outline != CHIP:
        log.info("%s: outlines are those of whole chips; those by activation need the scene: scan it again", path)
    found = Gathered(_judged(plan, options, pointed))
    found.add(part)
    missing = set(np.flatnonzero(~found.done).tolist()) - set(part.failed)
    found.miss(sorted(missing), NOT_YET)
    return detect(found.finish()), len(missing)


def _judged(plan: Plan, options: ScanOptions, pointed: bool) -> Plan:
    """Give a plan other thresholds and another prior."""
    card = plan.package.card
    name = options.operate if pointed else plan.operate
    own = card.point(name) if pointed else plan.thresholds
    thresholds = options.thresholds(own)
    prior = plan.prior if options.prior is None or plan.prior is None else options.prior
    return replace(
        plan, thresholds=thresholds, operate=name if thresholds == own else CUSTOM, prior=prior, outline=CHIP
    )
