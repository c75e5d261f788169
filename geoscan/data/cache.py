"""Decoded chips on disk, so that each epoch need not do it again. Safe to delete at any time."""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from geoscan.arrays import Chips
from geoscan.data.chips import ChipSet
from geoscan.errors import OutputError, ReadError
from geoscan.files import replacing
from geoscan.model.preprocess import Preprocess
from geoscan.progress import Track

_DAY = 24 * 3600
_ADVICE = "pass another --cache"
_DECODING = b"2"
"""How files are made pixels. Raise it when `chips.decode` or `kaggle.read_chip` begins to give others: the first took
chips of 16 bits, too, and made them black or white."""


class Cached(NamedTuple):
    """A set of chips in the model's frame, with their haze: training varies them before it is removed."""

    pixels: StoredChips
    """(n, chip, chip, 3)"""

    readable: NDArray[np.bool_]
    """(n,), True where the chip could be read; the others are black."""

    problems: list[str]
    """A line for each chip that could not be read."""


def prepared(chips: ChipSet, preprocess: Preprocess, directory: Path, track: Track = iter) -> Cached:
    """Return all chips in the model's frame, from a file in `directory` that is made if it is not there.

    The file's name tells what made it: the frame, and place, size and time of what the chips are read from.
    Raises OutputError when the cache cannot be written, DatasetError when a chip is no longer there.
    """
    files = _files(chips, preprocess, directory)
    if (found := _load(chips, *files)) is not None:
        return found
    try:
        directory.mkdir(parents=True, exist_ok=True)
        _sweep(directory)
        _fill(chips, preprocess, *files, track)
    except OutputError:
        raise
    except OSError as err:
        raise OutputError(f"the cache {files[0]} cannot be written: {err.strerror or err}; {_ADVICE}") from err
    if (found := _load(chips, *files)) is None:
        raise OutputError(f"the cache {files[0]} cannot be read back; {_ADVICE}")
    return found


def find_prepared(chips: ChipSet, preprocess: Preprocess, directory: Path) -> Cached | None:
    """Return what `prepared` left in `directory`, or None. Raises DatasetError when a chip is no longer there."""
    return _load(chips, *_files(chips, preprocess, directory))


def _files(chips: ChipSet, preprocess: Preprocess, directory: Path) -> tuple[Path, Path]:
    """Where the pixels are, and where the notes on chips that cannot be read."""
    stem = directory / _key(chips, preprocess)
    return stem.with_suffix(".npy"), stem.with_suffix(".json")


def _load(chips: ChipSet, pixels: Path, notes: Path) -> Cached | None:
    """Open the two files; None where they are missing or damaged."""
    try:
        bad: dict[str, str] = json.loads(notes.read_text())
        stored = StoredChips(pixels)
    except (OSError, EOFError, ValueError):
        return None
    return Cached(stored, np.array([name not in bad for name in chips.names], bool), list(bad.values()))


def _fill(chips: ChipSet, preprocess: Preprocess, pixels: Path, notes: Path, track: Track) -> None:
    shape = (len(chips.names), preprocess.chip, preprocess.chip, 3)
    bad: dict[str, str] = {}
    with replacing(pixels, _ADVICE) as part, part.open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        if hasattr(os, "posix_fallocate"):  # a disk that is too small shows at once, not after the work
            os.posix_fallocate(file.fileno(), file.tell(), math.prod(shape))
        for i in track(range(len(chips.names))):
            try:
                chip = preprocess.frame(chips.read(i))
            except ReadError as err:
                bad[chips.names[i]] = str(err)
                chip = np.zeros(shape[1:], np.uint8)
            file.write(chip.data)
    with replacing(notes, _ADVICE) as part:  # written last: the notes say that the pixels beside them are whole
        part.write_text(json.dumps(bad))


def _sweep(directory: Path) -> None:
    """Delete the unfinished files of killed runs; one younger than a day may still be being written."""
    for part in directory.glob("*.part*"):
        with suppress(FileNotFoundError):  # another run sweeps too
            if part.stat().st_mtime < time.time() - _DAY:
                part.unlink()


def _key(chips: ChipSet, preprocess: Preprocess) -> str:
    # What framing does, not only its options: code that changes makes other pixels of the same options.
    sample = np.random.default_rng(0).integers(0, 256, (3, preprocess.chip, preprocess.chip), np.uint8)
    digest = hashlib.sha256(_DECODING + preprocess.frame(sample).tobytes())
    for stamp in chips.stamps():
        digest.update(f"{stamp}\n".encode())
    return digest.hexdigest()[:32]


class StoredChips:
    """Chips in a .npy file, read each time they are asked for; the file may be deleted meanwhile.

    Unlike one mapped array, it does not come to hold all that was ever read. Several threads may read at once.
    Raises OSError, EOFError or ValueError when the file is no array.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        weakref.finalize(self, self._file.close)
        mapped = np.load(path, mmap_mode="r")
        self.shape: tuple[int, ...] = mapped.shape
        self.dtype: np.dtype[Any] = mapped.dtype
        self._offset: int = getattr(mapped, "offset", 0)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: int | np.integer | slice | NDArray[np.integer]) -> NDArray[np.uint8]:
        """Return one chip, (chip, chip, 3), or those of a slice or of an array of indexes, (n, chip, chip, 3)."""
        if not len(self):
            return np.empty(self.shape, self.dtype)[key]
        mapped = np.memmap(self._file, self.dtype, "r", self._offset, self.shape)
        return np.array(mapped[key])


AnyChips: TypeAlias = Chips | StoredChips
"""(n, chip, chip, 3), in memory or on disk."""
