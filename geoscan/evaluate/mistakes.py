"""The worst mistakes of a model as a contact sheet."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from geoscan.evaluate.sample import Scored
from geoscan.labels import MINE, readable

_MOST, _ACROSS = 12, 6
"""Mistakes of each kind on the contact sheet, and how many stand side by side."""
_IMAGE, _STEP = 1.86, 2.0
"""Side of an image on the contact sheet, and from one to the next, in inches."""
_LETTERS = 31
"""Letters of 7 points that fit under an image."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """A label that a model wrongly gave to a chip, or wrongly denied."""

    row: int
    label: str
    score: float


def contact_sheet(scored: Scored, title: str) -> Figure:
    """Contact sheet of the most confident mistakes, with the pixels that the model saw, before dehazing."""
    mines = bool((scored.column(MINE)[0] == 1).any())
    groups = dict(zip(("false positives", "false negatives"), worst(scored), strict=True))
    lines = 2 if scored.sample.campaigns is None else 4
    tile = _IMAGE + 0.2 + 0.135 * lines
    down = {name: math.ceil(min(len(group), _MOST) / _ACROSS) for name, group in groups.items()}
    figure = Figure((_ACROSS * _STEP + 0.1, 0.5 + sum(0.4 + rows * tile for rows in down.values())))
    _write(figure, 0.1, 0.12, f"{title}: mistakes about {readable(MINE) if mines else 'any label'}", size=12)
    top = 0.5
    for name, group in groups.items():
        some = f"{name}, most confident first ({min(len(group), _MOST):,} of {len(group):,})"
        _write(figure, 0.1, top + 0.08, some if group else f"no {name}", size=10, color="#767676")
        for place, mistake in enumerate(group[:_MOST]):
            row, column = divmod(place, _ACROSS)
            _tile(figure, scored, mistake, 0.1 + column * _STEP, top + 0.36 + row * tile)
        top += 0.4 + down[name] * tile
    return figure


def worst(scored: Scored) -> tuple[list[Mistake], list[Mistake]]:
    """False positives, the highest score first, and false negatives, the lowest first, at the card's thresholds.

    Of the mine label; of all labels when the sample holds no mine.
    """
    labels = (MINE,) if (scored.column(MINE)[0] == 1).any() else scored.labels
    false, missed = [], []
    for label in labels:
        targets, scores = scored.column(label)
        called = scores >= scored.package.card.thresholds[label]
        false += [Mistake(int(i), label, float(scores[i])) for i in np.flatnonzero(called & (targets == 0))]
        missed += [Mistake(int(i), label, float(scores[i])) for i in np.flatnonzero(~called & (targets == 1))]
    return sorted(false, key=lambda one: -one.score), sorted(missed, key=lambda one: one.score)


def _tile(figure: Figure, scored: Scored, mistake: Mistake, left: float, upper: float) -> None:
    """Draw one chip of the contact sheet and its caption, so many inches from the upper left corner."""
    width, height = figure.get_size_inches()
    axes = figure.add_axes((left / width, 1 - (upper + _IMAGE) / height, _IMAGE / width, _IMAGE / height))
    axes.imshow(scored.pixels(mistake.row).transpose(1, 2, 0), interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    sample = scored.sample
    lines = [_cut(sample.names[mistake.row], _LETTERS), f"{readable(mistake.label)} {mistake.score:.3f}"]
    if sample.campaigns is not None:
        campaign = _cut(sample.campaigns[mistake.row], 2 * _LETTERS)
        lines += [campaign[:_LETTERS], campaign[_LETTERS:]]
    _write(figure, left, upper + _IMAGE + 0.06, "\n".join(lines), size=7, family="monospace", linespacing=1.2)


def _write(figure: Figure, left: float, upper: float, text: str, **style: Any) -> None:
    """Write text so many inches from the upper left corner; not as mathematics, which a file's name may look like."""
    width, height = figure.get_size_inches()
    figure.text(left / width, 1 - upper / height, text, va="top", parse_math=False, **style)


def _cut(name: str, letters: int) -> str:
    """Shorten a name in its middle: its ends tell more."""
    name = "".join(letter if letter.isprintable() else "?" for letter in name)
    half = (letters - 1) // 2
    return name if len(name) <= letters else f"{name[:half]}…{name[-half:]}"
