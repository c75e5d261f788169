"""Chips in a file that is larger than memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from geoscan.arrays import Chips, Visual
from geoscan.errors import DatasetError


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
