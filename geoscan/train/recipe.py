"""What a training run is told: where chips come from, and everything that decides what it learns."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from geoscan.data.material import Small, Split
from geoscan.errors import DatasetError
from geoscan.model.origin import NOT_STATED
from geoscan.model.preprocess import Preprocess
from geoscan.model.spec import Spec
from geoscan.train.augment import Augmentation
from geoscan.train.loop import Schedule
from geoscan.train.losses import Focus


@dataclass(frozen=True, slots=True)
class Data:
    """Where chips come from.

    kaggle: directory as Kaggle lays it out. small: chips known as mine or other, and their index; beside a Kaggle
    directory they are of a coarser sensor and become mosaics, without one they are all there is.
    classes: a folder-per-class set to pre-train on.
    unlabelled: chips of other landscapes at about 10 m for teachers to judge, as mosaics, beside a Kaggle directory.
    Raises DatasetError when there is neither of the first two, or unlabelled chips and no Kaggle directory.
    """

    kaggle: Path | None = None
    small: Small | None = None
    classes: Path | None = None
    unlabelled: Path | None = None
    licence: str = NOT_STATED
    """Whose `small` are, and under what licence."""

    def __post_init__(self) -> None:
        if self.kaggle is None and self.small is None:
            raise DatasetError("there is nothing to train on; pass --kaggle-dir, or --chips and --index")
        if self.unlabelled is not None and self.kaggle is None:
            raise DatasetError("unlabelled chips become mosaics of the size of Kaggle's chips; pass --kaggle-dir too")


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides what a run learns; with the same data, on the same CPU, it gives the same model."""

    spec: Spec
    preprocess: Preprocess
    schedule: Schedule = field(default_factory=Schedule)
    augmentation: Augmentation = field(default_factory=Augmentation)
    focus: Focus = field(default_factory=Focus)
    split: Split = field(default_factory=Split)
    batch: int = 32
    cap_cloudy: int = 100
    mixup: float = 0.0
    mosaics: int = 6
    """Mosaics of small chips in a batch, where there are small chips beside others."""

    blends: int = 12
    """Blended chips in a batch, where there is a teacher to judge them."""

    foreign: int = 4
    """Mosaics of unlabelled chips in a batch, where there are any."""

    init: str = "none"
    """What the weights begin with: `none`, `imagenet`, or a model package by name or directory."""

    pretrain_epochs: int = 0
    distill: tuple[str, ...] = ()
    """Model packages, by name or directory, whose mean scores and whose features teach."""

    tta: bool = False
    """Whether figures, thresholds and calibration are of scores averaged over symmetries, as scans then make."""

    features: float = 3.0
    """How much the features of teachers count beside their scores."""
