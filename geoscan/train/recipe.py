"""Everything that decides what a training learns from its data."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from geoscan.errors import InputError
from geoscan.model.preprocess import Preprocess
from geoscan.model.spec import Spec
from geoscan.model.split import Split
from geoscan.train.augment import Augmentation
from geoscan.train.loop import Schedule


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides what a run learns; with the same data, on the same CPU, it gives the same model.

    Raises InputError for values out of range, or that do not fit together.
    """

    spec: Spec
    preprocess: Preprocess
    schedule: Schedule = field(default_factory=Schedule)
    augmentation: Augmentation = field(default_factory=Augmentation)
    split: Split = field(default_factory=Split)
    """Its seed is also that of the first weights and of the order of the chips."""

    batch: int = 32
    """Chips in a training step."""

    mosaics: int = 6
    """Mosaics of small chips in a batch, where there are small chips beside Kaggle's."""

    mixed: int = 12
    """Mixtures of training chips in a batch, where there is a teacher to label them."""

    unlabelled: int = 4
    """Chips without labels in a batch, where there are any, and a teacher to label them."""

    init: str = "none"
    """What the weights begin with: `none`, `imagenet`, or a model package by name or directory."""

    pretrain_epochs: int = 0
    distill: tuple[str, ...] = ()
    """Teachers: model packages, by name or directory."""

    tta: bool = False
    """Whether figures, thresholds and calibration are for scores averaged over symmetries, as scans then make them."""

    feature_weight: float = 3.0
    """Weight of the loss of the teachers' features, beside that of the labels."""

    def __post_init__(self) -> None:
        if self.preprocess.chip != self.spec.chip:
            raise InputError(f"chips of {self.preprocess.chip} px do not fit a network for {self.spec.chip} px")
        if self.batch < 1:
            raise InputError(f"a batch of {self.batch} chips does not fit; give 1 or more")
        counts = (self.mosaics, self.mixed, self.unlabelled, self.pretrain_epochs)
        if min(counts) < 0 or not 0 <= self.feature_weight < math.inf:
            raise InputError(f"counts of chips, epochs and the weight of features must be 0 or more; got {self}")

    def facts(self) -> dict[str, Any]:
        """What a card says of it, without what the card holds elsewhere; packages by their names alone."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        plain |= {"init": Path(self.init).name, "distill": [Path(name).name for name in self.distill]}
        return {key: value for key, value in plain.items() if key not in {"spec", "preprocess", "split"}}
