"""Refuse scenes that look like nothing the model has learned from: most likely they are misread.

A detector that sees black chips, or red for blue, answers "no detections", which looks like good news.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np

from geoscan.arrays import Chips, Mask, Visual
from geoscan.bands import COLORS
from geoscan.errors import LookError
from geoscan.model.look import Look, is_white
from geoscan.scanning.batch import Read, read
from geoscan.scanning.plan import Plan
from geoscan.scanning.remedy import remedy

log = logging.getLogger(__name__)

_SAMPLE: Final = 64
"""Chips of a scene that are looked at before the work begins."""

_MOST: Final = 0.2
"""Share of a scene's chips that may not be understood; of some clouds and sea the guard is never sure."""

_VOTERS: Final = 0.05
"""Share of chips that are not white, under which a scene is too bright rather than cloudy."""

_ROUNDED: Final = 1
"""Counts by which bands that are the same may differ, for each was rounded."""

_ALL_BUT_EDGES: Final = 99.5
"""Percent of the pixels that are compared: between nodata and ground, and where the light was cut off, bands differ."""

_VARIED: Final = 2.0
"""Counts by which the pixels of a chip differ at least, by standard deviation; of plain ones nothing can be said."""

_MOST_SEEN: Final = 0.5
"""Share of a chip's pixels at least that are neither black nor white."""

_FEWEST: Final = 5
"""Chips from which a share says anything."""

_LEAST_LEVEL: Final = 10
_MOST_LEVEL: Final = 245
"""Mean of all chips under, or over which they are nearly black, or white."""

_OPTIONS: Final = "--bands, --scale and --offset, or --stretch; --force scans it all the same"


def look_before(plan: Plan, *, quiet: bool = False) -> None:
    """Look at some chips of a scene before it is scanned.

    Warns of chips that are nearly black or white, unless quiet.
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
    preprocess = plan.package.card.preprocess
    hazy = seen.framed(preprocess)
    _check_look(plan, look, hazy, seen)
    if not quiet and (doubt := doubt_of(preprocess.cleared(hazy))):
        log.warning("%s: %s", plan.name, doubt)


def doubt_of(chips: Sequence[Visual] | Chips) -> str:
    """Say that chips without their haze are nearly black or white, and what may help; empty where they are not."""
    level = np.mean([chip.mean() for chip in chips])
    if _LEAST_LEVEL <= level <= _MOST_LEVEL:
        return ""
    shade = "black" if level < _LEAST_LEVEL else "white"
    return f"the chips are nearly {shade}: --scale, --offset or --stretch may be wrong"


def _check_look(plan: Plan, look: Look, hazy: Chips, seen: Read) -> None:
    """Refuse chips, with their haze, that look like nothing the model knows."""
    white = is_white(hazy)
    voters = ~white if (~white).mean() >= _VOTERS else np.ones(len(white), bool)
    chips, shares = hazy[voters], seen.shares[voters]
    known, same = look.knows(look.log_odds(chips, shares)), _repeated(chips)
    if known and not same:
        return
    found = ("" if known else remedy(plan, np.array(seen.tiles)[voters].tolist(), look)) or same
    why = f": {found}" if found else ""
    _refuse(plan, f"{plan.name} looks like nothing that {_model(plan)} has learned from{why}; check {_OPTIONS}")


def _repeated(chips: Chips) -> str:
    """Say which of the colours hold the same, as in a grey picture; empty where none do, or no chip is varied.

    A network makes something of such chips, too, but it has learned from none. Pixels at either end of the levels say
    nothing: there the light was cut off.
    """
    inside: Mask = np.any((chips > _ROUNDED) & (chips < 255 - _ROUNDED), axis=-1)
    spread = np.array([cv2.meanStdDev(chip)[1].max() for chip in chips])
    varied = (spread >= _VARIED) & (inside.mean(axis=(1, 2)) >= _MOST_SEEN)
    bands = [chips[varied, ..., band][inside[varied]] for band in range(3)]
    if not bands[0].size:
        return ""
    same: set[int] = set()
    for one, other in itertools.combinations(range(3), 2):
        if np.percentile(cv2.absdiff(bands[one], bands[other]), _ALL_BUT_EDGES) <= _ROUNDED:
            same |= {one, other}
    names = " and ".join(COLORS[band] for band in sorted(same))
    return f"its {names} are the same, as in a picture without colours" if same else ""


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
