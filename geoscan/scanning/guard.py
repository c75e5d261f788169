"""Refuse scenes that look like nothing the model has learned from: most likely they are misread.

A detector that sees black chips, or red for blue, answers "no detections", which looks like good news.
"""

from __future__ import annotations

import logging
from typing import Final

import numpy as np

from geoscan.errors import LookError
from geoscan.model.look import is_white
from geoscan.scanning.batch import read
from geoscan.scanning.plan import Plan
from geoscan.scanning.remedy import remedy

log = logging.getLogger(__name__)

_SAMPLE: Final = 64
"""Chips of a scene that are looked at before the work begins."""

_MOST: Final = 0.2
"""Share of a scene's chips that may not be understood; of some clouds and sea the guard is never sure."""

_VOTERS: Final = 0.05
"""Share of chips that are not white, under which a scene is too bright rather than cloudy."""

_FEWEST: Final = 5
"""Chips from which a share says anything."""

_OPTIONS: Final = "--bands, --scale and --offset, or --stretch; --force scans it all the same"


def look_before(plan: Plan) -> None:
    """Look at some chips of a scene before it is scanned.

    Raises LookError when they look like nothing the model knows; with `plan.force` it is a warning.
    """
    look = plan.package.card.look
    if look is None:
        return
    rng = np.random.default_rng(0)
    tiles = np.sort(rng.permutation(len(plan.grid))[:_SAMPLE]).tolist()
    seen = read(plan, tiles)
    if not seen.tiles:
        return
    hazy = seen.framed(plan.package.card.preprocess)
    white = is_white(hazy)
    voters = ~white if (~white).mean() >= _VOTERS else np.ones(len(white), bool)
    chips, shares = hazy[voters], seen.shares[voters]
    if look.knows(look.log_odds(chips, shares)):
        return
    found = remedy(plan, np.array(seen.tiles)[voters].tolist(), look)
    why = f": {found}" if found else ""
    _refuse(plan, f"{plan.name} looks like nothing that {_model(plan)} has learned from{why}; check {_OPTIONS}")


def look_after(plan: Plan, scored: int, strange: int, white: int) -> None:
    """Count the chips that a scan understood, and those that it did not; of these, `white` are white all over.

    White chips do not count, for they are cloud, unless hardly any others are left.
    Raises LookError when too much was not understood; with `plan.force` nothing is.
    """
    total = scored + strange
    if total - white >= _VOTERS * total:
        total, strange = total - white, strange - white
    if total >= _FEWEST and strange > _MOST * total:
        share = f"{strange:,} of {total:,} chips of {plan.name}"
        _refuse(plan, f"{share} look like nothing that {_model(plan)} has learned from; check {_OPTIONS}")


def _model(plan: Plan) -> str:
    return plan.package.card.name


def _refuse(plan: Plan, why: str) -> None:
    if not plan.force:
        raise LookError(why)
    log.warning("%s", why)
