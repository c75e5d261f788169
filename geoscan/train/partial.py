"""Chips that say one thing only: mine, or not a mine. Every other label stays unknown."""

import csv
import os
import re
import threading
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from geoscan.arrays import Visual
from geoscan.errors import DatasetError, ReadError
from geoscan.labels import LABELS, MINE
from geoscan.train.kaggle import Problems, Targets, decode

_TARGET = {"mine": 1.0, "other": 0.0}
_COMPOSITE = re.compile(r"_S2L\d[AC]_clear[\d.]+.*$")
_open = threading.local()


@dataclass(frozen=True, slots=True)
class PartialSet:
    """Chips in a zip archive or a directory, read one at a time; pickles to its address and lists."""

    source: Path
    names: tuple[str, ...]
    """Members of the archive, or paths below the directory, in the order of the index."""
    targets: Targets
    """(n, 17), known in the column of `artisinal_mine` alone."""
    campaigns: tuple[str, ...]
    """Where each chip comes from; chips of one campaign show the same places and belong on one side of a split."""
    problems: Problems = field(default_factory=Problems)

    def __len__(self) -> int:
        return len(self.names)

    def take(self, indexes: Iterable[int]) -> "PartialSet":
        """Keep the chips at these positions, in this order."""
        chosen = [int(i) for i in indexes]
        return replace(
            self,
            names=tuple(self.names[i] for i in chosen),
            targets=self.targets[chosen].reshape(len(chosen), len(LABELS)),
            campaigns=tuple(self.campaigns[i] for i in chosen),
        )

    def read(self, index: int) -> Visual:
        """One chip as (3, rows, cols) uint8, red, green, blue. Raises ReadError, naming the file."""
        name = self.names[index]
        if self.source.is_dir():
            return decode((self.source / name).read_bytes, self.source / name)
        return decode(partial(_member, self.source, name), f"{self.source}/{name}")


def read_partial(source: Path, index: Path) -> PartialSet:
    """Chips of an archive or a directory with the labels of an index, a table with the columns file and label.

    label is `mine` (an artisanal one) or `other`. The column source_gallery, if there is one, names the sampling
    campaign; without it every chip is its own. Rows without a chip, with another label, or repeated are left out and
    counted.
    Raises DatasetError when either cannot be used, or when no labelled chip is left.
    """
    held = _held(source)
    rows = _read_index(index)
    chosen: dict[str, dict[str, str]] = {}
    missing, repeated, unknown = [], [], set()
    for row in rows:
        name = row["file"]
        if row["label"] not in _TARGET:
            unknown.add(row["label"])
        elif name not in held:
            missing.append(name)
        elif name in chosen:
            repeated.append(name)
        else:
            chosen[name] = row
    if not chosen:
        raise DatasetError(f"none of the {len(rows):,} rows of {index} names a mine or other chip in {source}")
    targets = np.full((len(chosen), len(LABELS)), np.nan, np.float32)
    targets[:, LABELS.index(MINE)] = [_TARGET[row["label"]] for row in chosen.values()]
    return PartialSet(
        source,
        tuple(chosen),
        targets,
        tuple(campaign(row.get("source_gallery") or name) for name, row in chosen.items()),
        Problems(
            labels_without_chips=tuple(missing),
            chips_without_labels=tuple(sorted(held - {row["file"] for row in rows})),
            duplicate_rows=tuple(repeated),
            unknown_tags=tuple(sorted(unknown)),
        ),
    )


def campaign(gallery: str) -> str:
    """Drop from a name what only says how its composite was made, as in _S2L1C_clear0.05_2024-01-01_2025-01-01."""
    return _COMPOSITE.sub("", gallery)


def _held(source: Path) -> set[str]:
    """Images in the archive or directory."""
    if source.is_dir():
        names = [path.relative_to(source).as_posix() for path in source.rglob("*")]
    else:
        try:
            with zipfile.ZipFile(source) as archive:
                names = archive.namelist()
        except (OSError, zipfile.BadZipFile) as error:
            raise DatasetError(f"{source} is neither a directory nor a readable zip archive ({error})") from error
    return {name for name in names if name.lower().endswith((".png", ".jpg", ".jpeg"))}


def _read_index(index: Path) -> list[dict[str, str]]:
    try:
        with index.open(newline="", encoding="utf-8-sig") as lines:
            reader = csv.DictReader(lines)
            columns = reader.fieldnames or []
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{index} is not a readable table ({error}); it needs the columns file,label") from error
    if not {"file", "label"} <= set(columns):
        raise DatasetError(f"{index} has the columns {', '.join(columns) or 'of no table'}; it needs file,label")
    return rows


def _member(source: Path, name: str) -> bytes:
    """Bytes of one member; each thread of each process has a handle of its own."""
    key = (os.getpid(), source)
    if getattr(_open, "key", None) != key:
        try:
            _open.archive, _open.key = zipfile.ZipFile(source), key
        except (OSError, zipfile.BadZipFile) as error:
            raise ReadError(f"{source} cannot be read ({error})") from error
    try:
        data: bytes = _open.archive.read(name)
    except (KeyError, OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise ReadError(f"{source}/{name} cannot be read ({error}); fetch the archive again") from error
    return data
