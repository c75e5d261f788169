"""Kaggle's "Planet: Understanding the Amazon from Space" on disk: labels, chips, and what is wrong with them."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning

from geoscan.arrays import Targets, Visual
from geoscan.data.chips import Problems, decode, fingerprint_of, only_cloudy, read_table, some, stamp, tally
from geoscan.errors import DatasetError, ReadError
from geoscan.gdal import FAILURES, cause, settings
from geoscan.labels import LABELS, SPELLINGS, WEATHER
from geoscan.model.origin import TrainedOn
from geoscan.model.split import DataKind
from geoscan.radiometry import PLANET_ANALYTIC

CHIP = 256
"""Side of a Kaggle chip in pixels."""
GSD = 3.4
"""Metres per pixel of Kaggle's chips: resampled to 3 m from images of 3.7 m."""
_TABLES = ("train_v2.csv", "train.csv", "train_classes.csv")
_FOLDERS = {"train-jpg": (".jpg", ".jpeg"), "train-tif-v2": (".tif", ".tiff")}
"""Where chips may lie and what their names end in, in any case; in the order in which they are looked for."""
_BETWEEN_TAGS = re.compile(r"[\s,;|]+")
_KNOWN = 0.5
"""Share of the tags that must be known: labels of another set are no labels."""
_RED_GREEN_BLUE = (3, 2, 1)  # whatever the tags of the file say
_COLUMN = {word: LABELS.index(label) for word, label in SPELLINGS.items()}


@dataclass(frozen=True, slots=True)
class KaggleChips:
    """Kaggle's labelled chips on disk, read one at a time."""

    kind: ClassVar[DataKind] = "kaggle"

    source: Path
    """The directory that was given."""
    names: tuple[str, ...]
    """Unique, in natural order: train_2 before train_10."""
    paths: tuple[Path, ...]
    targets: Targets
    problems: Problems = field(default_factory=Problems)

    def __len__(self) -> int:
        return len(self.names)

    def read(self, index: int) -> Visual:
        """One chip as `read_chip` gives it."""
        return read_chip(self.paths[index])

    def stamps(self) -> Iterator[str]:
        """What changes when a chip changes."""
        return map(stamp, self.paths)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of names and labels."""
        return fingerprint_of(self.names, self.targets)

    @property
    def facts(self) -> TrainedOn:
        """What a card says of them."""
        return TrainedOn(
            source='Kaggle "Planet: Understanding the Amazon from Space"',
            licence="Planet imagery under Kaggle's competition rules; not redistributed with the model",
            fingerprint=self.fingerprint,
        )

    def take(self, indexes: Iterable[int]) -> KaggleChips:
        """Keep the chips at these positions, in this order."""
        chosen = [int(i) for i in indexes]
        return replace(
            self,
            names=tuple(self.names[i] for i in chosen),
            paths=tuple(self.paths[i] for i in chosen),
            targets=self.targets[chosen].reshape(len(chosen), len(LABELS)),
        )


def read_kaggle(directory: Path) -> KaggleChips:
    """List labels and chips of a directory as Kaggle lays it out, or one level below it.

    The table is train_v2.csv, else train.csv, else train_classes.csv; the chips are in train-jpg/, else train-tif-v2/.
    Raises DatasetError when there is no table, no chips, or not one chip that has labels.
    """
    rooms = _rooms(directory)
    table = _first(room / name for name in _TABLES for room in rooms if (room / name).is_file())
    if table is None:
        raise DatasetError(f"{directory} holds no {', '.join(_TABLES)}; pass the directory that Kaggle's files are in")
    files = _chip_files(directory, rooms)
    rows = _read_tags(table)
    tags = dict(reversed(rows))  # reversed, so that the first row of a chip wins
    names = sorted(tags.keys() & files.keys(), key=_natural)
    if not names:
        folder = next(iter(files.values())).parent
        raise DatasetError(f"none of the {len(tags):,} names in {table} has a chip in {folder}; are they one download?")
    words = [_words(tags[name]) for name in names]
    unknown = _unknown(words, table)
    targets, contradictory = _targets(words)
    problems = Problems(
        labels_without_chips=tuple(sorted(tags.keys() - files.keys(), key=_natural)),
        chips_without_labels=tuple(sorted(files.keys() - tags.keys(), key=_natural)),
        duplicate_rows=_repeated([name for name, _ in rows]),
        contradictory_weather=tuple(names[i] for i in contradictory),
        unknown_tags=unknown,
    )
    return KaggleChips(directory, tuple(names), tuple(files[name] for name in names), targets, problems)


def cap_cloudy(chips: KaggleChips, cap: int, seed: int) -> KaggleChips:
    """Keep at most `cap` of the chips tagged `cloudy` and nothing else; all others stay, and so does the order.

    Which ones stay depends on the seed and on their names alone, not on the order or on what else is in the set.
    """
    cloudy = only_cloudy(chips.targets).nonzero()[0]
    ranked = sorted(cloudy, key=lambda i: hashlib.sha256(f"{seed}:{chips.names[i]}".encode()).digest())
    dropped = set(ranked[max(cap, 0) :])
    return chips.take(i for i in range(len(chips)) if i not in dropped)


def read_chip(path: Path) -> Visual:
    """One chip as (3, 256, 256) uint8, red, green, blue.

    A TIFF is Planet's analytic product (16 bit; blue, green, red, near infrared), which the radiometry
    `planet-analytic` makes visual.
    Raises ReadError, naming the file, when it is missing, truncated, no image, or not 256 x 256.
    """
    pixels = _read_analytic(path) if path.suffix.lower() in {".tif", ".tiff"} else decode(path.read_bytes, path)
    if pixels.shape != (3, CHIP, CHIP):
        raise ReadError(f"{path} is {pixels.shape[2]} x {pixels.shape[1]} px; a Kaggle chip is {CHIP} x {CHIP}")
    return pixels


def _rooms(directory: Path) -> list[Path]:
    """Return the directory and those of its subdirectories that may be entered, sorted: a disk has a lost+found."""
    if not directory.is_dir():
        raise DatasetError(f"{directory} is no directory; pass the one that train_v2.csv and train-jpg/ are in")
    inside = sorted(path for path in directory.iterdir() if path.is_dir())
    return [directory, *(path for path in inside if os.access(path, os.R_OK | os.X_OK))]


def _chip_files(directory: Path, rooms: list[Path]) -> dict[str, Path]:
    """Chips by name, from the first kind of folder that has any."""
    for name, suffixes in _FOLDERS.items():
        for folder in (place for room in rooms for place in (room / name, room)):
            if folder.name == name and folder.is_dir():
                with os.scandir(folder) as entries:
                    files = [Path(entry.path) for entry in entries if _is_chip(entry.name, suffixes)]
                if files:
                    return {path.stem: path for path in files}
    folders = " nor ".join(f"{name}/" for name in _FOLDERS)
    raise DatasetError(f"{directory} holds neither {folders} with chips in it; unpack Kaggle's archive there")


def _is_chip(name: str, suffixes: tuple[str, ...]) -> bool:
    return name.lower().endswith(suffixes) and not name.startswith(".")  # macOS leaves "._train_0.jpg"


def _read_tags(table: Path) -> list[tuple[str, str]]:
    """(name, tags) of every row, in the order of the file."""
    rows = read_table(table, ("image_name", "tags"))
    if not rows:
        raise DatasetError(f"{table} has no rows; fetch it from Kaggle again")
    return [(_stem(row["image_name"]), row["tags"]) for row in rows]


def _words(tags: str) -> list[str]:
    """Tags of one chip, in small letters, whatever stands between them."""
    return [word for word in _BETWEEN_TAGS.split(tags.lower()) if word]


def _unknown(words: list[list[str]], table: Path) -> tuple[str, ...]:
    """Give the tags that nobody knows, each once a chip. Raises DatasetError when most of all tags are such."""
    counts = Counter(word for tags in words for word in tags)
    unknown = tuple(word for tags in words for word in dict.fromkeys(tags) if word not in _COLUMN)
    known = sum(count for word, count in counts.items() if word in _COLUMN)
    if known < _KNOWN * counts.total() or not known:
        wrong = f"{counts.total() - known:,} of {counts.total():,} tags are unknown" if counts else "it has no tags"
        came = f" ({some(tally(unknown, SPELLINGS))})" if unknown else ""
        raise DatasetError(f"{table} does not hold Kaggle's labels: {wrong}{came}; they are {', '.join(LABELS)}")
    return unknown


def _targets(words: list[list[str]]) -> tuple[Targets, list[int]]:
    """Targets of each chip, and the chips with contradictory weather."""
    targets = np.zeros((len(words), len(LABELS)), np.float32)
    for i, tags in enumerate(words):
        targets[i, [_COLUMN[word] for word in tags if word in _COLUMN]] = 1
    contradictory = np.flatnonzero(targets[:, : len(WEATHER)].sum(axis=1) != 1).tolist()
    targets[contradictory, : len(WEATHER)] = np.nan
    return targets, contradictory


def _read_analytic(path: Path) -> Visual:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)  # Kaggle's chips lie nowhere
            with settings(str(path)), rasterio.open(path, driver="GTiff") as source:
                if source.count < 3 or source.dtypes[0] != "uint16":
                    raise ReadError(f"{path} has {source.count} bands of {source.dtypes[0]}; Kaggle's have 4 of uint16")
                native = source.read(_RED_GREEN_BLUE)
    except FAILURES as error:
        if isinstance(error, ReadError):
            raise
        raise ReadError(f"{path} cannot be read ({cause(error)}); fetch it again") from error
    return PLANET_ANALYTIC.apply(native, np.ones(native.shape[1:], bool))


def _stem(name: str) -> str:
    path = Path(name.strip())
    known = path.suffix.lower() in itertools.chain(*_FOLDERS.values())
    return path.stem if known else name.strip()


def _repeated(names: list[str]) -> tuple[str, ...]:
    return tuple(name for name, count in Counter(names).items() for _ in range(count - 1))


def _natural(name: str) -> tuple[tuple[int, str], ...]:
    """Sorts train_2 before train_10."""
    return tuple((int(part or 0), "") if i % 2 else (0, part) for i, part in enumerate(re.split(r"(\d+)", name)))


def _first(paths: Iterable[Path]) -> Path | None:
    return next(iter(paths), None)
