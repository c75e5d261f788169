"""Batches as a journal's rows: arrays in blobs, and a seal by which a row that was damaged is known."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from geoscan.scanning.gathered import Part

_INDEX: Final = np.dtype("<u4")
_SCORE: Final = np.dtype("<f4")


class Row(NamedTuple):
    """A batch; see `Part`."""

    tiles: bytes
    observed: bytes
    scored: bytes
    scores: bytes
    strange: bytes
    white: int
    failed: bytes
    """JSON: index of a tile to the cause."""


COLUMNS: Final = ", ".join(Row._fields)


def row_of(part: Part) -> Row:
    """Write down a batch."""
    return Row(
        tiles=part.tiles.astype(_INDEX).tobytes(),
        observed=part.observed.astype(_INDEX).tobytes(),
        scored=part.scored.astype(_INDEX).tobytes(),
        scores=part.scores.astype(_SCORE).tobytes(),
        strange=part.strange.astype(_INDEX).tobytes(),
        white=part.white,
        failed=json.dumps({str(tile): cause for tile, cause in part.failed.items()}).encode() if part.failed else b"",
    )


def seal(number: int, values: Sequence[Any]) -> int:
    """Checksum of a row's number and its values: SQLite has none of its own."""
    sizes = [len(value) if isinstance(value, bytes) else value for value in values]
    found = zlib.crc32(repr((number, sizes)).encode())
    for value in values:
        if isinstance(value, bytes):
            found = zlib.crc32(value, found)
    return found


def part_of(rows: Iterable[tuple[Any, ...]], tiles: int, labels: int) -> Part:
    """Undo `row_of` for all rows at once; each is its number, its values, and its seal.

    tiles, labels: how many there are. Raises ValueError for what does not fit together.
    """
    blobs: tuple[list[bytes], ...] = ([], [], [], [], [])
    white = 0
    failed: dict[int, str] = {}
    for number, *values, sealed in rows:
        if seal(number, values) != sealed:
            raise ValueError(f"batch {number} is not what was written")
        row = Row(*values)
        white += row.white
        for joined, blob in zip(blobs, (row.tiles, row.observed, row.scored, row.scores, row.strange), strict=True):
            joined.append(blob)
        if row.failed:
            failed |= {int(tile): str(cause) for tile, cause in json.loads(row.failed).items()}
    seen, observed, scored, strange = (_array(blobs[n], _INDEX) for n in (0, 1, 2, 4))
    scores = _array(blobs[3], _SCORE).reshape(-1, labels)
    part = Part(seen, observed, scored, scores, strange, white, failed)
    _check(part, tiles)
    return part


def _array(blobs: list[bytes], dtype: np.dtype[Any]) -> NDArray[Any]:
    return np.frombuffer(b"".join(blobs), dtype)


def _check(part: Part, tiles: int) -> None:
    """Refuse what a damaged program or a stranger may have written and sealed."""
    if len(part.tiles) != len(part.observed) or len(part.scored) != len(part.scores):
        raise ValueError("its arrays are not equally long")
    if not np.isfinite(part.scores).all():
        raise ValueError("it holds scores that are no numbers")
    last = max((int(one.max()) for one in (part.tiles, part.scored, part.strange) if len(one)), default=0)
    if max(last, *part.failed, 0) >= tiles or min(part.failed, default=0) < 0:
        raise ValueError(f"it holds tiles beyond the scene's {tiles:,}")
