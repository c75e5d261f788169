"""Chips with one label that is known: mine, or not a mine."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from geoscan.arrays import Targets
from geoscan.data import images
from geoscan.data.chips import Problems, fingerprint_of, other_kind, read_table, some, tally
from geoscan.errors import DatasetError
from geoscan.labels import LABELS, MINE_COLUMN
from geoscan.model.origin import TrainedOn
from geoscan.model.split import DataKind

_TARGET = {"mine": 1.0, "other": 0.0}
_COMPOSITE = re.compile(r"_S2L\d[AC]_clear[\d.]+.*$")
_CURATED = re.compile(r"-curated\d{4}(-\d\d)*$")


@dataclass(frozen=True, slots=True)
class MineChips(images.Images):
    """Chips in a zip archive or a directory, in the order of an index."""

    kind: ClassVar[DataKind] = "chips"

    targets: Targets
    """(n, 17); only the column of `artisinal_mine` is known."""
    campaigns: tuple[str, ...]
    """Where each chip comes from; chips of one campaign show the same places and belong on one side of a split."""
    problems: Problems = field(default_factory=Problems)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of names and labels."""
        return fingerprint_of(self.names, self.targets)

    @property
    def each_alone(self) -> bool:
        """Whether no two chips are of one campaign, as where the index names none."""
        return len(set(self.campaigns)) == len(self)

    @property
    def facts(self) -> TrainedOn:
        """What a card says of them."""
        campaigns = None if self.each_alone else len(set(self.campaigns))
        return TrainedOn(self.source.name, fingerprint=self.fingerprint, campaigns=campaigns)

    def take(self, indexes: Iterable[int]) -> MineChips:
        """Keep the chips at these positions, in this order."""
        chosen = [int(i) for i in indexes]
        return replace(
            self,
            names=tuple(self.names[i] for i in chosen),
            targets=self.targets[chosen].reshape(len(chosen), len(LABELS)),
            campaigns=tuple(self.campaigns[i] for i in chosen),
        )


def read_mine_chips(source: Path, index: Path) -> MineChips:
    """List the chips of an archive or a directory with the labels of an index, a table with the columns file and label.

    label is `mine` (an artisanal one) or `other`, in any case and with spaces around it. The column source_gallery, if
    there is one, names the sampling campaign; without it every chip is a campaign of its own. Rows without a chip, with
    another label, or repeated are left out and counted.
    Raises DatasetError when either cannot be used, or when no labelled chip is left.
    """
    held = set(images.listed(source))
    rows = read_table(index, ("file", "label"))
    chosen: dict[str, dict[str, str]] = {}
    missing, repeated, unknown = [], [], []
    for row in rows:
        name = row["file"]
        if _label(row) not in _TARGET:
            unknown.append(row["label"])
        elif name not in held:
            missing.append(name)
        elif name in chosen:
            repeated.append(name)
        else:
            chosen[name] = row
    if not chosen:
        raise DatasetError(
            f"none of the {len(rows):,} rows of {index} names a mine or other chip in {source}"
            + (f"; {len(missing):,} name what is not there ({some(missing)}){other_kind(missing)}" if missing else "")
            + (f"; {len(unknown):,} have labels that are not mine or other: {some(tally(unknown))}" if unknown else "")
        )
    targets = np.full((len(chosen), len(LABELS)), np.nan, np.float32)
    targets[:, MINE_COLUMN] = [_TARGET[_label(row)] for row in chosen.values()]
    return MineChips(
        source,
        tuple(chosen),
        targets,
        tuple(campaign(row.get("source_gallery") or name) for name, row in chosen.items()),
        Problems(
            labels_without_chips=tuple(missing),
            chips_without_labels=tuple(sorted(held - {row["file"] for row in rows})),
            duplicate_rows=tuple(repeated),
            unknown_labels=tuple(unknown),
        ),
    )


def _label(row: Mapping[str, str]) -> str:
    return row["label"].strip().lower()


def campaign(gallery: str) -> str:
    """Drop what tells how a composite was made, as in _S2L1C_clear0.05_2024-01-01_2025-01-01, and when it was curated.

    Places are looked through again year by year, as in -curated2025-09 and -curated2026-04-17.
    """
    return _CURATED.sub("", _COMPOSITE.sub("", gallery))
