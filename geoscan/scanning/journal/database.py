"""SQLite as journals use it: one process at a time, one transaction a batch, and nobody else's files."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

from geoscan.errors import BusyError, OutputError, one_line

_MAGIC: Final = b"SQLite format 3\0"
_APPLICATION: Final = int.from_bytes(b"geoj", "big")
"""SQLite's `application_id`, by which a file says whose it is."""

_VERSION: Final = 1
"""SQLite's `user_version`: that of the tables."""

_BESIDE: Final = ("", "-wal", "-shm", "-journal")
"""Endings of a file, and of what SQLite keeps beside it."""

_DAMAGED: Final = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)
_OTHER_TABLES: Final = (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_MISMATCH, 0)


class UnfitError(Exception):
    """A file that cannot be gone on with, and why."""


def look(path: Path) -> None:
    """Look at a file before SQLite does, which would write into another program's.

    Raises UnfitError for what is no journal, or one that this version cannot know.
    """
    if not path.exists() or not path.stat().st_size:
        if Path(f"{path}-wal").exists():
            raise UnfitError("is damaged: its beginning is lost")
        return
    with path.open("rb") as file:
        head = file.read(100)
    version = int.from_bytes(head[60:64], "big")
    if not head.startswith(_MAGIC) or int.from_bytes(head[68:72], "big") != _APPLICATION or not version:
        raise UnfitError("is no journal of a scan, or is damaged")
    if version > _VERSION:
        raise UnfitError(f"was written by a newer geoscan (version {version} of its tables, not {_VERSION})")


def connect(path: Path) -> sqlite3.Connection:
    """Open a file for this process alone.

    SQLite's lock dies with its process, and in this mode needs no shared memory, which network folders have none of.
    """
    db = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("BEGIN EXCLUSIVE")
        db.execute("COMMIT")
    except BaseException:
        db.close()
        raise
    return db


def connect_read_only(path: Path) -> sqlite3.Connection:
    """Open a file that may not be written, and so cannot be locked."""
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", isolation_level=None, uri=True)


def make_tables(db: sqlite3.Connection, tables: str) -> None:
    """Make the tables in a file that has none; tables: the statements that do.

    They come before the write-ahead log, so that the file's own head says whose it is whenever the process is killed.
    """
    if not db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
        whose = f"PRAGMA application_id = {_APPLICATION}; PRAGMA user_version = {_VERSION}"
        db.executescript(f"BEGIN EXCLUSIVE; {tables}; {whose}; COMMIT")


def write_ahead(db: sqlite3.Connection) -> None:
    """Let each transaction be one write at the end of a log, which survives the process, not each the machine."""
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")


def settle(db: sqlite3.Connection) -> None:
    """Bring a file to where it needs none beside it."""
    db.execute("PRAGMA journal_mode = DELETE")


def insert(db: sqlite3.Connection, table: str, values: Sequence[object]) -> None:
    """Add a row."""
    db.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(values))})", values)


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """All that is done in the block, or nothing."""
    db.execute("BEGIN")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):  # a full disk has rolled it back
            db.execute("ROLLBACK")
        raise


@contextmanager
def opening(path: Path) -> Iterator[None]:
    """Turn what goes wrong with a file into BusyError, OutputError, or UnfitError for what is no journal any more."""
    try:
        yield
    except sqlite3.Error as err:
        code = getattr(err, "sqlite_errorcode", 0) & 0xFF  # the rest of it says what SQLite was doing
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise BusyError(
                f"{path} is being written by another scan of this scene; wait for it, or write another layer"
            ) from err
        if code in _DAMAGED:
            raise UnfitError(f"is damaged: {one_line(err)}") from err
        if code in _OTHER_TABLES:
            raise UnfitError(f"has other tables than a journal: {one_line(err)}") from err
        raise OutputError(f"the journal {path} cannot be written: {one_line(err)}; write elsewhere") from err
    except OSError as err:
        raise OutputError(f"the journal {path} cannot be used: {err.strerror or err}; write elsewhere") from err


def set_aside(path: Path) -> Path:
    """Rename a file, and what SQLite keeps beside it; return its new name."""
    kept, n = path.with_name(f"{path.name}.old"), 1
    while kept.exists():
        n += 1
        kept = path.with_name(f"{path.name}.old{n}")
    for ending in _BESIDE:
        with suppress(FileNotFoundError):
            Path(f"{path}{ending}").rename(f"{kept}{ending}")
    return kept


def remove(path: Path) -> None:
    """Delete a file that nobody has open; one that somebody has stays."""
    with suppress(sqlite3.Error, OSError), closing(connect(path)) as db:
        settle(db)  # now, while it is held: later, what lies beside it may be another's
        path.unlink()
