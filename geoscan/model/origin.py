"""Where a model comes from, as its card tells it: the data it learned from, and how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

NOT_STATED = "not stated"
"""Licence of data whose giver named none."""


@dataclass(frozen=True, slots=True)
class SmallChips:
    """Chips of a coarser sensor, known as mine or other, that were joined to mosaics beside the others."""

    source: str
    mine: int
    other: int
    licence: str = NOT_STATED


@dataclass(frozen=True, slots=True)
class TrainedOn:
    """What a model was trained on. Counts that do not exist, as of validation chips where there are folds, are None."""

    source: str = NOT_STATED
    licence: str = NOT_STATED
    fingerprint: str = ""
    """SHA-256 of the names and labels of all chips of the source."""

    campaigns: int | None = None
    """Sampling campaigns of the chips, where they name them."""

    training_chips: int | None = None
    validation_chips: int | None = None
    training_positives: Mapping[str, int] = field(default_factory=dict)
    """Chips with each label."""

    validation_positives: Mapping[str, int] = field(default_factory=dict)
    small_chips: SmallChips | None = None


@dataclass(frozen=True, slots=True)
class Training:
    """How a model was trained."""

    geoscan: str = ""
    """Version, as the next one."""

    keras: str = ""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    """Options, by name."""

    teachers: tuple[str, ...] = ()
    """Digests of the packages that taught it."""

    parameters: int | None = None
    """Numbers in its weights."""

    history: tuple[Mapping[str, float | None], ...] = ()
    """Of each epoch its loss, and what was measured after it."""

    best_epoch: int | None = None
    """The one whose weights were kept, from 1."""

    seconds: float | None = None
    interrupted: bool = False
