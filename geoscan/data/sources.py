"""Where labelled chips lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from geoscan.errors import DatasetError
from geoscan.model.origin import NOT_STATED

INDEX: Final = "index.csv"
"""Name of the table in a folder that holds chips and their labels."""


@dataclass(frozen=True, slots=True)
class KaggleSource:
    """A directory as Kaggle lays out "Planet: Understanding the Amazon from Space"."""

    directory: Path


@dataclass(frozen=True, slots=True)
class ChipsSource:
    """Chips that are known as mine or not."""

    chips: Path
    """Zip archive or directory."""

    index: Path
    """Table that names each chip and its label."""

    licence: str = NOT_STATED
    """Whose the chips are, and under what licence, for the card."""


Source: TypeAlias = KaggleSource | ChipsSource


@dataclass(frozen=True, slots=True)
class TrainingData:
    """All chips that a training may use.

    labelled: what the model learns and is measured on.
    small: chips of a coarser sensor beside Kaggle's, which become mosaics of the size of Kaggle's chips.
    classes: a directory or zip archive with a folder for each class, to pre-train on.
    unlabelled: a directory or zip archive of pictures at about 10 m for teachers to label; beside Kaggle's chips they
        become mosaics.
    Raises DatasetError for small chips without Kaggle's beside them.
    """

    labelled: Source
    small: ChipsSource | None = None
    classes: Path | None = None
    unlabelled: Path | None = None

    def __post_init__(self) -> None:
        if self.small and self.chips_alone:
            raise DatasetError("small chips become mosaics of the size of Kaggle's chips; pass --kaggle-dir too")

    @property
    def chips_alone(self) -> bool:
        """Whether mine or not is all that is known of the labelled chips."""
        return isinstance(self.labelled, ChipsSource)
