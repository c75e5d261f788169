"""What all sets of chips share: how an image is decoded, how a table is read, and what may be wrong with either."""

from __future__ import annotations

import csv
import difflib
import hashlib
import io
import itertools
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError

from geoscan.arrays import Targets, Visual
from geoscan.errors import DatasetError, ReadError
from geoscan.labels import LABELS, SPELLINGS

log = logging.getLogger(__name__)

IMAGES = (".png", ".jpg", ".jpeg")
"""How the names of chips end, in any case."""

_LARGEST_TABLE = 64 * 2**20
"""Characters; Kaggle's has 1.5 million."""

_SEPARATORS = ";\t"
"""What may stand between the columns of a table without commas: Excel writes semicolons where decimals have commas."""

_DEEP = (";16B", ";16L", ";16N")
"""How Pillow calls the pixels of a file that has 16 bits a band; the image itself it may call RGB all the same."""

_SHOWN = 40
"""Characters of a word that a message quotes."""


class ChipSet(Protocol):
    """Chips on disk that are read one at a time."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the chips, all different."""

    def read(self, index: int) -> Visual:
        """One chip, (3, rows, cols), red, green, blue. Raises ReadError, naming the file."""

    def stamps(self) -> Iterator[str]:
        """What changes when a chip changes: places, sizes, times. Raises DatasetError when one has gone."""


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
    """Tags that are not among the 17, each as often as chips bear it: left out."""
    unknown_labels: tuple[str, ...] = ()
    """Labels of rows that are neither mine nor other, one a row: these rows are left out."""

    def lines(self) -> list[str]:
        """One line for each kind of problem that occurs: its count and its first three names."""
        lines = problem_lines(
            ("labels without a chip", self.labels_without_chips, "left out" + other_kind(self.labels_without_chips)),
            ("chips without labels", self.chips_without_labels, "left out"),
            ("duplicate rows", self.duplicate_rows, "the first of each is used"),
            ("chips with no or several weather labels", self.contradictory_weather, "their weather is not used"),
            (
                "unknown tags, and how many chips bear them",
                tally(self.unknown_tags, SPELLINGS),
                "left out; the chips stay, as if without them",
            ),
        )
        if rows := len(self.unknown_labels):
            lines.append(f"{rows:,} rows with unknown labels ({some(tally(self.unknown_labels))}): left out")
        return lines


def problem_lines(*kinds: tuple[str, Sequence[str], str]) -> list[str]:
    """One line for each kind of problem that occurs.

    kinds: what is wrong, the names of those it is wrong with, and what follows for them.
    """
    return [f"{len(names):,} {what} ({some(names)}): {consequence}" for what, names, consequence in kinds if names]


def other_kind(names: Iterable[str]) -> str:
    """What follows in a message where one of the names is that of another kind of file, such as TIFF; else nothing."""
    other = any((end := Path(name).suffix.lower()) and end not in IMAGES for name in names)
    return "; chips must be PNG or JPEG files of 8 bits" if other else ""


def warn(source: Path, lines: Iterable[str]) -> None:
    """Log a warning about a source for each line."""
    for line in lines:
        log.warning("%s: %s", source, line)


def some(names: Sequence[str]) -> str:
    """Name the first three, for a message."""
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")


def tally(words: Iterable[str], known: Iterable[str] = ()) -> list[str]:
    """Quote each word with how often it comes, the commonest first, and with the one of `known` that it may mean."""
    known, lines = list(known), []
    for word, count in Counter(words).most_common():
        near = difflib.get_close_matches(word[:_SHOWN], known, n=1)
        meant = f"; did you mean {near[0]}?" if near else ""
        lines.append(f"{word[:_SHOWN]!r} ({count:,}{meant})")
    return lines


def read_table(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Rows of a CSV file with a header, by column in small letters; a value that is missing is empty.

    Where the header has no comma, its semicolons or tabs part the columns.
    columns: those that must be there; others may be. What stands behind the last column belongs to it: a list with
    commas that nobody put into quotes. Raises DatasetError when the file cannot be read or lacks a column.
    """
    wanted = ",".join(columns)
    try:
        with path.open(newline="", encoding="utf-8-sig") as lines:
            text = lines.read(_LARGEST_TABLE + 1)
            if len(text) > _LARGEST_TABLE:
                raise DatasetError(f"{path} has more than {_LARGEST_TABLE >> 20} MB, too much for a table of {wanted}")
            header = text.partition("\n")[0]
            mark = "," if "," in header else next((one for one in _SEPARATORS if one in header), ",")
            reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark)
            found = [name.strip().lower() for name in next(reader, [])]
            rows = [_by_column(found, row, mark) for row in reader if row]
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise DatasetError(f"{path} is not a readable table ({error}); it needs {wanted}") from error
    if not set(columns) <= set(found):
        raise DatasetError(f"{path} has the columns {some(found) or 'of no table'}; it needs {wanted}")
    return rows


def _by_column(columns: Sequence[str], row: Sequence[str], mark: str) -> dict[str, str]:
    last = len(columns) - 1
    values = [*row[:last], mark.join(row[last:])]
    return dict(itertools.zip_longest(columns, values[: len(columns)], fillvalue=""))


def decode(read: Callable[[], bytes], name: object) -> Visual:
    """Decode an 8-bit JPEG or PNG of any colour model into (3, rows, cols) red, green, blue.

    Pillow reads it, because OpenCV 5 accepts a JPEG without its last bytes and is one level off on Kaggle's
    four-component JPEGs. Raises ReadError, with `name`, when it is missing, truncated, no image, or of more bits.
    """
    with _opened(read, name) as image:
        pixels = np.asarray(image.convert("RGB"))
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def size(read: Callable[[], bytes], name: object) -> tuple[int, int]:
    """(rows, cols) of an image that `decode` would take, from its head. Raises ReadError as that does."""
    with _opened(read, name) as image:
        return image.height, image.width


@contextmanager
def _opened(read: Callable[[], bytes], name: object) -> Iterator[ImageFile.ImageFile]:
    try:
        with Image.open(io.BytesIO(read())) as image:
            _check_bits(image, name)
            yield image
    except ReadError:
        raise
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        cause = "no image, or one cut off at its head" if isinstance(error, UnidentifiedImageError) else error
        raise ReadError(f"{name} cannot be read ({cause}); fetch it again") from error


def _check_bits(image: ImageFile.ImageFile, name: object) -> None:
    """Raise ReadError where bands have more than 8 bits: Pillow would keep the upper 8 in silence, or clip them."""
    stored = [part.args if isinstance(part.args, str) else part.args[0] for part in image.tile if part.args]
    if image.mode.startswith(("I", "F")) or any(str(pixels).endswith(_DEEP) for pixels in stored):
        raise ReadError(
            f"{name} has 16 bits a band or more; chips are of 8 bits: write it anew with values of 0 to 255"
        )


def only_cloudy(targets: Targets) -> NDArray[np.bool_]:
    """(n,), True for chips tagged `cloudy` and nothing else."""
    tagged = targets == 1
    alone: NDArray[np.bool_] = tagged[:, LABELS.index("cloudy")] & (tagged.sum(1) == 1)
    return alone


def fingerprint_of(names: Sequence[str], targets: Targets) -> str:
    """SHA-256 of the names and labels of chips. targets: (n, 17)."""
    digest = hashlib.sha256("\n".join(names).encode())
    digest.update(np.nan_to_num(targets, nan=-1).astype(np.int8).tobytes())
    return digest.hexdigest()


def parts_fingerprint(names: Sequence[str], part: NDArray[np.integer]) -> str:
    """SHA-256 of the names of chips and the part of a split that each is in. part: (n,)."""
    return hashlib.sha256(
        "\n".join(f"{one} {name}" for name, one in zip(names, part, strict=True)).encode()
    ).hexdigest()


def stamp(path: Path) -> str:
    """Place, size and time of change of a file. Raises DatasetError when it has gone."""
    try:
        facts = path.stat()
    except OSError as err:
        raise DatasetError(f"{path} has gone since the chips were listed ({err.strerror}); run again") from err
    return f"{path.resolve()}\0{facts.st_size}\0{facts.st_mtime_ns}"
