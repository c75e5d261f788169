"""A model's card: all that a scan must know of a model, and what people should."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from geoscan.arrays import Scores
from geoscan.errors import PackageError
from geoscan.labels import MINE
from geoscan.model.calibration import Calibration
from geoscan.model.figures import DEFAULT_POINT, Figures
from geoscan.model.look import Look
from geoscan.model.origin import TrainedOn, Training
from geoscan.model.preprocess import Preprocess
from geoscan.model.spec import Spec
from geoscan.model.split import Split
from geoscan.polygons import Hysteresis

_LONGEST_NAME = 200
"""Characters of a model's name."""

_LONGEST_NUMBER = 18
"""Digits of a whole number; what is longer fits into no float."""


def check_name(name: str) -> None:
    """Raise PackageError for what no model may be called."""
    if not name.isprintable() or not 0 < len(name) <= _LONGEST_NAME:
        raise PackageError(
            f"{name[:_LONGEST_NAME]!a} is no name for a model; give 1 to {_LONGEST_NAME} characters that can be printed"
        )


@dataclass(frozen=True, slots=True)
class Card:
    """All that a scan must know of a model, and what people should.

    thresholds: of each label, in 0..1, tuned for F2; the label holds where its score is not below.
    detection: thresholds on the score of artisanal mine, from which polygons are made: the operating point `balanced`.
    sensitive, strict: those of the other operating points; None in a card of an earlier version.
    calibration: from scores to probabilities; the thresholds are for the scores.
    tta: scores are means over symmetries (see `Averaged`); thresholds, calibration and figures are for such.
    look: what its training chips look like, by which a scan knows scenes that are misread; None where nobody measured.
    figures: measured on chips that training did not see.
    data: what it was trained on. split: which of these chips it has not seen. training: how.
    digest: SHA-256 of the weights, of the exported network and of all of the above; made by `save`, checked by `load`.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")  # what nobody reads shall not look as if it counted

    name: str
    spec: Annotated[Spec, Field(discriminator="family")]
    preprocess: Preprocess
    thresholds: Mapping[str, float]
    detection: Hysteresis
    figures: Figures = field(default_factory=Figures)
    data: TrainedOn = field(default_factory=TrainedOn)
    training: Training = field(default_factory=Training)
    calibration: Calibration = field(default_factory=Calibration)
    tta: bool = False
    look: Look | None = None
    split: Split | None = None
    sensitive: Hysteresis | None = None
    strict: Hysteresis | None = None
    digest: str = ""

    def __post_init__(self) -> None:
        labels = self.spec.labels
        if set(self.thresholds) != set(labels):
            raise PackageError(f"thresholds for {sorted(self.thresholds)} do not fit the labels {sorted(labels)}")
        check_name(self.name)
        if MINE not in labels:
            raise PackageError(f"a model must know {MINE}, its labels are {', '.join(labels)}")
        if self.preprocess.chip != self.spec.chip:
            raise PackageError(f"the card prepares {self.preprocess.chip} px chips, the network takes {self.spec.chip}")
        if self.split is not None and not self.split.data:
            raise PackageError("the split is of no data; give one whose chips were read")
        heads = [head.name for head in self.spec.heads]
        if unknown := set(self.calibration.temperatures) - set(heads):
            raise PackageError(f"temperatures of {', '.join(sorted(unknown))} do not fit the heads {', '.join(heads)}")
        if unknown := set(self.calibration.curves) - set(labels):
            raise PackageError(f"curves of {', '.join(sorted(unknown))} do not fit the labels {', '.join(labels)}")
        points = list(self.points.items())
        for (lower, one), (higher, other) in itertools.pairwise(points):
            if one.low > other.low or one.high > other.high or one.isolated > other.isolated:
                raise PackageError(
                    f"the operating point {lower} has thresholds above those of {higher}: {one}, {other}"
                )

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels in the order of the scores' columns."""
        return self.spec.labels

    @property
    def points(self) -> dict[str, Hysteresis]:
        """Thresholds by operating point, from the one that finds most mines to the one with the fewest false alarms."""
        every = {"sensitive": self.sensitive, DEFAULT_POINT: self.detection, "strict": self.strict}
        return {name: thresholds for name, thresholds in every.items() if thresholds is not None}

    def point(self, name: str) -> Hysteresis:
        """Thresholds of an operating point. Raises PackageError where the card does not hold it."""
        if name not in self.points:
            raise PackageError(
                f"the card of {self.name} holds no operating point {name}, only {', '.join(self.points)}; train the "
                "model anew, or give --high, --low and --isolated instead"
            )
        return self.points[name]

    @property
    def chip_km2(self) -> float:
        """Ground that a chip shows, in square kilometres."""
        return (self.preprocess.chip * self.preprocess.gsd / 1000) ** 2

    def averages(self, asked: bool | None) -> bool:
        """Tell whether to average scores over symmetries: as asked, as the thresholds are tuned for if None."""
        return self.tta if asked is None else asked

    def mine_probability(self, scores: Scores, prior: float) -> NDArray[np.float64]:
        """Chance that each chip holds a mine, (n,), 0..1, where `prior` is the share of chips that do.

        scores: (n, labels), 0..1, as the model gives them; a row of NaN gives NaN.
        """
        calibrated = self.calibration.apply(scores, self.spec)
        return self.calibration.mine_probability(calibrated[:, self.spec.mine_column], prior)

    def to_json(self) -> str:
        """As the text of `card.json`."""
        return _CARD.dump_json(self, indent=2).decode() + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Card:
        """Undo `to_json`. Raises PackageError for what is no card."""
        try:
            card = _CARD.validate_json(text)
            json.loads(text, parse_int=_check_digits)
        except RecursionError as err:
            raise PackageError("it is nested too deeply") from err
        except ValidationError as err:
            first = err.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "the file"
            raise PackageError(f"{where}: {first['msg'].removeprefix('Value error, ')}") from err
        return card


_CARD = TypeAdapter(Card)


def _check_digits(digits: str) -> None:
    if len(digits) > _LONGEST_NUMBER:
        raise PackageError(f"it has a number of {len(digits)} digits, {digits[:9]}..., which nobody measured")
