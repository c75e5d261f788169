"""Decoded and prepared chips on disk, so that each epoch need not do it again. Safe to delete at any time."""

from __future__ import annotations

import hashlib
import json
import math
import os
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from geoscan.arrays import Chips
from geoscan.data.chips import ChipSet
from geoscan.errors import OutputError, ReadError
from geoscan.model.preprocess import Preprocess

_DAY = 24 * 3600


def default_directory() -> Path:
    """Where caches go unless told otherwise: XDG_CACHE_HOME, else ~/.cache.

    Raises OutputError for a user without a home, as containers have.
    """
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "geoscan"
    except RuntimeError as err:
        raise OutputError("there is no home directory for the cache; pass --cache") from err


def prepared(
    chips: ChipSet,
    preprocess: Preprocess,
    directory: Path,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> tuple[StoredChips, NDArray[np.bool_], list[str]]:
    """Return all chips as the model takes them, from a file in `directory` that is made if it is not there.

    Returns (n, chip, chip, 3); (n,) True where the chip could be read; a line for each that could not. The file is
    named after what made it: the preprocessing, and place, size and time of what the chips are read from.
    Raises OutputError when the cache cannot be written, DatasetError when a chip is no longer there.
    """
    stem = directory / _key(chips, preprocess)
    pixels, notes = stem.with_suffix(".npy"), stem.with_suffix(".json")
    try:
        bad, stored = _kept(notes, pixels)
    except (OSError, EOFError, ValueError):  # not made yet, or damaged
        try:
            directory.mkdir(parents=True, exist_ok=True)
            _sweep(directory)
            _fill(chips, preprocess, pixels, notes, progress)
            bad, stored = _kept(notes, pixels)
        except OSError as err:
            cause = err.strerror or err
            raise OutputError(f"the cache {pixels} cannot be written: {cause}; pass another --cache") from err
    readable = np.array([name not in bad for name in chips.names], bool)
    return stored, readable, list(bad.values())


def _kept(notes: Path, pixels: Path) -> tuple[dict[str, str], StoredChips]:
    """Bad chips by name, and all chips. Raises OSError, EOFError or ValueError where either is missing or damaged."""
    bad: dict[str, str] = json.loads(notes.read_text())
    return bad, StoredChips(pixels)


def _fill(
    chips: ChipSet,
    preprocess: Preprocess,
    pixels: Path,
    notes: Path,
    progress: Callable[[Iterable[int]], Iterable[int]],
) -> None:
    part = pixels.with_suffix(f".part{os.getpid()}-{threading.get_ident()}")
    shape = (len(chips.names), preprocess.chip, preprocess.chip, 3)
    bad: dict[str, str] = {}
    try:
        with part.open("wb") as file:
            header = {"descr": "|u1", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            if hasattr(os, "posix_fallocate"):  # a disk that is too small shows at once, not after the work
                os.posix_fallocate(file.fileno(), file.tell(), math.prod(shape))
            for i in progress(range(len(chips.names))):
                try:
                    chip = preprocess(chips.read(i))
                except ReadError as err:
                    bad[chips.names[i]] = str(err)
                    chip = np.zeros(shape[1:], np.uint8)
                file.write(chip.data)
        part.replace(pixels)
        # Written last: the notes say that the pixels beside them are whole.
        part.write_text(json.dumps(bad))
        part.replace(notes)
    finally:
        part.unlink(missing_ok=True)


def _sweep(directory: Path) -> None:
    """Delete what killed runs left half made; what is younger than a day may still be in the making."""
    for part in directory.glob("*.part*"):
        with suppress(FileNotFoundError):  # another run sweeps too
            if part.stat().st_mtime < time.time() - _DAY:
                part.unlink()


def _key(chips: ChipSet, preprocess: Preprocess) -> str:
    digest = hashlib.sha256(json.dumps(asdict(preprocess), sort_keys=True).encode())
    # What it does, not only what it is told: code that changes makes other pixels of the same options.
    sample = np.random.default_rng(0).integers(0, 256, (3, preprocess.chip, preprocess.chip), np.uint8)
    digest.update(preprocess(sample).tobytes())
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
