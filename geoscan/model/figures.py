"""How good a model is, as its card and `geoscan evaluate` tell it: one layout for both.

A figure that does not exist, such as the recall of a label that no chip has, is None, in Python as in JSON (`null`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

Interval: TypeAlias = tuple[float, float]
"""Low and high end of a 95 % interval."""

SPECIFICITIES: Final = (0.99, 0.994)
"""Shares of the chips without a mine that must be turned down where it is told how many mines are then found."""

POINTS: Final = ("sensitive", "balanced", "strict")
"""Operating points of a model: the more mines one finds, the more false alarms it gives."""

DEFAULT_POINT: Final = "balanced"
CUSTOM: Final = "custom"
"""What thresholds are called that are not those of an operating point."""

SENSITIVE: Final = 0.9
"""Share of the mines that `sensitive` finds at least."""

BALANCED: Final = SPECIFICITIES[0]
"""Share of the chips without a mine that a chip without neighbours must outdo at `balanced`."""

STRICT: Final = SPECIFICITIES[-1]
"""Share of the chips without a mine that `strict` turns down at least."""


def measured(value: float) -> float | None:
    """Return a figure as the types below hold it: None for NaN, which arithmetic makes of what does not exist."""
    return None if math.isnan(value) else value


@dataclass(frozen=True, slots=True)
class F2Figures:
    """F2 as Kaggle defines it: of each chip's labels, averaged over chips."""

    n: int
    """Chips."""

    tuned: float | None
    """With a threshold for each label. The notes of the figures say which chips they were tuned on."""

    tuned_interval: Interval | None
    tuned_common: float | None
    """With one threshold for all labels, tuned likewise."""

    fixed: float | None
    """With 0.2 for all labels, which needs no tuning."""

    fixed_interval: Interval | None
    constant: float | None
    """Of answering clear, primary for every chip: what a model must beat."""


@dataclass(frozen=True, slots=True)
class LabelFigures:
    """One label, on the chips where it is known."""

    n: int
    """Chips that have the label."""

    n_known: int
    precision: float | None
    recall: float | None
    f2: float | None
    f2_interval: Interval | None
    ap: float | None
    """Average precision."""

    ap_interval: Interval | None
    threshold: float
    """The label is predicted where its score is not below; precision, recall and F2 are of that."""


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """How many mines are found where a share of the other chips, the specificity, is turned down."""

    specificity: float
    sensitivity: float | None
    """Share of the mines that is found."""

    interval: Interval | None
    """Of the sensitivity."""

    threshold: float | None
    """The lowest score with that specificity."""


@dataclass(frozen=True, slots=True)
class MineFigures:
    """Chips with a mine against all others."""

    n: int
    """Chips with a mine."""

    n_other: int
    auc: float | None
    """Chance that a mine scores above another chip."""

    auc_interval: Interval | None
    ap: float | None
    """Average precision."""

    ap_interval: Interval | None
    operating_points: tuple[OperatingPoint, ...]
    resampled: Literal["chips", "campaigns"] | None
    """What the intervals draw with replacement; None where there are none."""


@dataclass(frozen=True, slots=True)
class FalseAlarms:
    """Chips without a mine that are flagged, and what that comes to on the ground."""

    n: int
    """Chips without a mine, and likewise `km2`."""

    km2: float
    flagged: int
    per_1000_km2: float | None
    """Flagged chips on 1,000 km2; None where none of these was: then only the upper end of the interval is known."""

    interval: Interval | None
    """Wilson's."""


@dataclass(frozen=True, slots=True)
class FlaggedFigures:
    """What is flagged from one score on."""

    threshold: float
    found: float | None
    """Share of the chips with a mine."""

    found_interval: Interval | None
    """Wilson's."""

    false_alarms: FalseAlarms
    false_alarms_blind: FalseAlarms | None
    """On places that were drawn blindly; None where there are none, or nobody said how places were chosen."""


@dataclass(frozen=True, slots=True)
class DetectionFigures:
    """What one operating point finds, and how often it is wrong.

    Measured chips have no neighbours. What a scan finds lies between the two: a mine, or a look-alike, of several chips
    is flagged from the lower score on.
    """

    n: int
    """Chips with a mine."""

    alone: FlaggedFigures
    """Chips without neighbours: from `isolated` on."""

    beside: FlaggedFigures
    """Chips with a neighbour that reaches `low`: from `high` on. Each detection has such a chip."""


@dataclass(frozen=True, slots=True)
class CampaignFigures:
    """One sampling campaign, whose chips show the same places."""

    n: int
    mine: int
    other: int
    called_mine: float | None
    """Share of its chips that is called a mine, at the threshold of the label."""

    called_mine_interval: Interval | None


@dataclass(frozen=True, slots=True)
class LookalikeFigures:
    """One kind of place that looks like a mine and is none."""

    n: int
    called_mine: float | None
    """Share of its chips that is called a mine, at the threshold of the label."""

    called_mine_interval: Interval | None
    called_mine_strict: float | None
    """Likewise, at the threshold of the highest of `SPECIFICITIES`, which tells more when two models are compared."""

    called_mine_strict_interval: Interval | None


@dataclass(frozen=True, slots=True)
class CalibrationFigures:
    """What calibration makes of one head's scores: negative log likelihood and expected calibration error."""

    n_known: int
    """Chips of a head that gives one label, known labels of one that gives any number."""

    nll_before: float | None
    nll: float | None
    ece_before: float | None
    ece: float | None


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Chips whose probability of a mine lies between two values."""

    low: float
    high: float
    n: int
    predicted: float
    """Mean probability of these chips."""

    share: float
    """Share of them that shows a mine."""

    interval: Interval | None
    """Of the share, Wilson's."""


@dataclass(frozen=True, slots=True)
class AblatedFigure:
    """One figure of a variant, as a mean over seeds."""

    value: float | None
    difference: float | None = None
    """To the first variant, seed by seed; None for the first itself."""

    interval: Interval | None = None
    """Of the difference: Student's, over the seeds."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One row of an ablation: what was measured of a network that was trained in a way of its own."""

    seeds: int
    figures: Mapping[str, AblatedFigure]
    """By name, as people read it."""


@dataclass(frozen=True, slots=True)
class Figures:
    """All that was measured of a model; what was not is None, or empty.

    labels: by name, of the chips that are not tagged only `cloudy`.
    mine: of all chips. mine_folds: of each of several networks, on the chips that it alone has not seen, by name.
    mosaics: of four small chips joined to one, for a model whose own chips hold few mines.
    detection: by operating point. campaigns, lookalikes: by name. calibration: by the head's name.
    conditions: AP of mines, or F2 at 0.2 of all labels, by what was done to the chips; the first changes nothing.
    reliability: of the probability of a mine, from low to high, where the share of mines is that of the chips measured.
    ablations: what was asked, then the variants, the first of which the others are compared to.
    """

    notes: tuple[str, ...] = ()
    """Sentences that say of which chips the figures are, and what was tuned on them."""

    f2: F2Figures | None = None
    """Of the chips that are not tagged only `cloudy`: by this, models of all labels are judged."""

    f2_all: F2Figures | None = None
    """Of all chips."""

    labels: Mapping[str, LabelFigures] = field(default_factory=dict)
    mine: MineFigures | None = None
    mine_folds: Mapping[str, MineFigures] = field(default_factory=dict)
    mosaics: MineFigures | None = None
    detection: Mapping[str, DetectionFigures] = field(default_factory=dict)
    campaigns: Mapping[str, CampaignFigures] = field(default_factory=dict)
    lookalikes: Mapping[str, LookalikeFigures] = field(default_factory=dict)
    calibration: Mapping[str, CalibrationFigures] = field(default_factory=dict)
    reliability: tuple[ReliabilityBin, ...] = ()
    conditions: Mapping[str, float] = field(default_factory=dict)
    ablations: Mapping[str, Mapping[str, Variant]] = field(default_factory=dict)

    @property
    def mine_mean(self) -> MineFigures | None:
        """The mean of the folds' figures, without intervals, and the sums of their chips; None without folds."""
        folds = tuple(self.mine_folds.values())
        if not folds:
            return None
        points = zip(*(fold.operating_points for fold in folds), strict=False)
        return MineFigures(
            n=sum(fold.n for fold in folds),
            n_other=sum(fold.n_other for fold in folds),
            auc=_mean([fold.auc for fold in folds]),
            auc_interval=None,
            ap=_mean([fold.ap for fold in folds]),
            ap_interval=None,
            operating_points=tuple(
                OperatingPoint(each[0].specificity, _mean([point.sensitivity for point in each]), None, None)
                for each in points
            ),
            resampled=None,
        )

    @property
    def headline(self) -> str:
        """The one figure by which a model of its kind is judged, as a short text."""
        if self.f2 is not None and self.f2.tuned is not None:
            return f"F2 {self.f2.tuned:.3f} on {self.f2.n:,} chips"
        mean = f", mean of {len(self.mine_folds)} folds"
        for mine, what in ((self.mine_mean, mean), (self.mine, "")):  # a fold without mines has no AP, and so no mean
            if mine is not None and mine.ap is not None:
                return f"mine AP {mine.ap:.2f}{what} ({mine.n:,} mines, {mine.n_other:,} other)"
        return "no figures"

    @property
    def mine_auc(self) -> float:
        """How well mines are told from the rest, on the chips that hold more of them; 0.5, as by chance, if unknown."""
        sets = [one for one in (self.mine, self.mosaics) if one is not None and one.auc is not None]
        most = max(sets, key=lambda one: one.n, default=None)
        return 0.5 if most is None or most.auc is None else most.auc


def _mean(values: Sequence[float | None]) -> float | None:
    """None where one of the values is."""
    present = [value for value in values if value is not None]
    return math.fsum(present) / len(present) if len(present) == len(values) else None
