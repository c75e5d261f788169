"""What every set of labelled chips has: how an image is decoded, where it lies, and what may be wrong with it."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from geoscan.arrays import Targets, Visual
from geoscan.errors import DatasetError, ReadError
from geoscan.labels import LABELS


@dataclass(frozen=True, slots=True)
class Problems:
    """What was found wrong but not fatal, by name, in the order of the file."""

    labels_without_chips: tuple[str, ...] = ()
    chips_without_labels: tuple[str, ...] = ()
    duplicate_rows: tuple[str, ...] = ()
    """Rows after the first for the same chip: left out."""
    contradictory_weather: tuple[str, ...] = ()
    """Chips with no weather label or with several: their four weather targets are NaN."""
    unknown_tags: tuple[str, ...] = ()
    """Tags that are not among the 17: left out."""

    def lines(self) -> list[str]:
        """One line for each kind of problem that occurs: its count and its first three names."""
        kinds = (
            ("labels without a chip", self.labels_without_chips, "left out"),
            ("chips without labels", self.chips_without_labels, "left out"),
            ("duplicate rows", self.duplicate_rows, "the first of each is used"),
            ("chips with no or several weather labels", self.contradictory_weather, "their weather is not used"),
            ("unknown tags", self.unknown_tags, "left out"),
        )
        return [f"{len(names):,} {what} ({some(names)}): {fate}" for what, names, fate in kinds if names]


def only_cloudy(targets: Targets) -> NDArray[np.bool_]:
    """(n,), True for chips tagged `cloudy` and nothing else."""
    tagged = targets == 1
    alone: NDArray[np.bool_] = tagged[:, LABELS.index("cloudy")] & (tagged.sum(1) == 1)
    return alone


def decode(read: Callable[[], bytes], name: object) -> Visual:
    """Decode an 8-bit JPEG or PNG of any colour model into (3, rows, cols) red, green, blue.

    Pillow reads it, because OpenCV 5 accepts a JPEG without its last bytes and is one level off on Kaggle's
    four-component JPEGs. Raises ReadError, with `name`, when it is missing, truncated or no image.
    """
    try:
        with Image.open(io.BytesIO(read())) as image:
            pixels = np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        cause = "no image, or one cut off at its head" if isinstance(error, UnidentifiedImageError) else error
        raise ReadError(f"{name} cannot be read ({cause}); fetch it again") from error
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def some(names: Sequence[str]) -> str:
    """Name the first three, for a message."""
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")


class ChipSet(Protocol):
    """Chips on disk that are read one at a time."""

    @property
    def names(self) -> tuple[str, ...]:
        """One a chip, each once."""

    def read(self, index: int) -> Visual:
        """One chip, (3, rows, cols), red, green, blue. Raises ReadError, naming the file."""

    def stamps(self) -> Iterator[str]:
        """What changes when a chip changes: places, sizes, times. Raises DatasetError when one has gone."""


def stamp(path: Path) -> str:
    """Place, size and time of change of a file. Raises DatasetError when it has gone."""
    try:
        facts = path.stat()
    except OSError as err:
        raise DatasetError(f"{path} has gone since the chips were listed ({err.strerror}); run again") from err
    return f"{path.resolve()}\0{facts.st_size}\0{facts.st_mtime_ns}"
