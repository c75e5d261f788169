"""Which chips of a data set a network learns from, and which it has not seen."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, TypeAlias

from geoscan.errors import DatasetError

DataKind: TypeAlias = Literal["kaggle", "chips"]
"""Kaggle's chips, or chips of which only one thing is known: mine or not."""


@dataclass(frozen=True, slots=True)
class Split:
    """How the chips of a data set are divided: a share is held out once, or each of several folds is left out in turn.

    Equal splits divide equal data equally. What is not known before the data are read, `of` fills in.
    Raises DatasetError for values out of range.
    """

    seed: int = 0
    """Seed of the division, 0..2**32 - 1; a training draws its order and its weights from the same one."""

    held_out: float | None = 0.2
    """Share of the chips that is kept for validation, between 0 and 1; None where there are folds."""

    folds: int | None = None
    """Number of folds, 2 or more; None where a share is held out."""

    cloudy_cap: int | None = 100
    """The most chips tagged `cloudy` and nothing else that are used; None for chips without such tags."""

    unchecked: tuple[str, ...] = ()
    """How the names of sampling campaigns begin whose labels nobody has looked through: they teach and never judge."""

    without: int | None = None
    """The one fold that a network has not seen, from 0; None where it has learned from all folds."""

    kind: DataKind | None = None
    """What the chips are; None until they are read."""

    data: str = ""
    """Fingerprint of the names and labels of all chips; empty until they are read."""

    small: str | None = None
    """Fingerprint of the small chips that were used beside Kaggle's, as mosaics; None without any."""

    parts: str = ""
    """Fingerprint of the part that each chip is in, for which campaigns and pixels count, too; empty until they are
    divided, and in cards of earlier versions."""

    small_parts: str = ""
    """The same of the small chips."""

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**32:
            raise DatasetError(f"seed {self.seed} does not fit; give a whole number in 0..{2**32 - 1}")
        if self.folds is not None:
            object.__setattr__(self, "held_out", None)  # or splits that divide alike would not be equal
            if self.folds < 2:
                raise DatasetError(f"{self.folds} folds do not fit; give 2 or more")
        elif self.held_out is None or not 0 < self.held_out < 1:
            raise DatasetError(f"held_out {self.held_out} does not fit; give a share between 0 and 1, such as 0.2")
        if self.without is not None and not 0 <= self.without < (self.folds or 0):
            raise DatasetError(f"fold {self.without} does not fit; there are {self.folds or 'no'} folds, from 0")
        if self.cloudy_cap is not None and self.cloudy_cap < 0:
            raise DatasetError(f"a cap of {self.cloudy_cap} chips does not fit; give 0 or more")

    @property
    def shares(self) -> int | tuple[float, float]:
        """Folds as `stratified_group_split` takes them: their number, or the shares to train on and to hold out."""
        return self.folds or (1 - (self.held_out or 0), self.held_out or 0)

    @property
    def unseen_part(self) -> int | None:
        """Which of the parts that `shares` makes a network has not seen: its fold, or the held-out share."""
        return self.without if self.folds else 1

    @property
    def teaching_part(self) -> int:
        """Part of the chips that always teach, beside or among those that `shares` makes."""
        return self.folds or 0

    def of(self, kind: DataKind, data: str, parts: str = "") -> Split:
        """Return this split of one data set. data, parts: its fingerprints."""
        cap = self.cloudy_cap if kind == "kaggle" else None
        return replace(self, kind=kind, data=data, parts=parts, cloudy_cap=cap)

    def without_fold(self, fold: int) -> Split:
        """Return the split of a network that was trained without one fold, from 0."""
        return replace(self, without=fold)

    def same_as(self, other: Split) -> bool:
        """Tell whether two networks were kept from the same chips.

        Small chips count only where both have seen some, and parts where both tell them.
        """
        plain, theirs = (replace(one, small=None, parts="", small_parts="") for one in (self, other))
        pairs = ((self.small, other.small), (self.parts, other.parts), (self.small_parts, other.small_parts))
        return plain == theirs and all(one == two or not one or not two for one, two in pairs)

    def facts(self) -> dict[str, Any]:
        """What is known of it, as plain values for people and for JSON."""
        return {key: value for key, value in asdict(self).items() if value not in (None, "", ())}
