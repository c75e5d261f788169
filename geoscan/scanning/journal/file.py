"""A scene's journal: what is known of its tiles, and the plan by which detections are made of them."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path
from types import TracebackType
from typing import Final

from geoscan.errors import InputError, OutputError, one_line
from geoscan.scanning.gathered import Part
from geoscan.scanning.journal import database
from geoscan.scanning.journal.database import UnfitError
from geoscan.scanning.journal.kept_plan import from_json, to_json
from geoscan.scanning.journal.key import difference, key_of
from geoscan.scanning.journal.rows import COLUMNS, Row, part_of, row_of, seal
from geoscan.scanning.plan import Plan

SUFFIX: Final = ".journal"

_TABLES: Final = f"""
CREATE TABLE scan (key BLOB NOT NULL, plan BLOB NOT NULL, seal INTEGER NOT NULL);
CREATE TABLE batch (number INTEGER PRIMARY KEY, {", ".join(f"{name} NOT NULL" for name in Row._fields)}, seal INTEGER)
"""

_NONSENSE: Final = (ValueError, TypeError, AttributeError, OverflowError, RecursionError)
"""What content raises that no journal has."""


class Journal:
    """What is known of one scene, and is written down as it becomes known. Nobody else has the file open meanwhile."""

    def __init__(self, path: Path, db: sqlite3.Connection, plan: Plan, found: Part) -> None:
        self.path = path
        self.found = found
        """What an earlier scan left."""

        self.done = len(found.tiles)
        """Number of tiles that need not be looked at again."""

        self._db = db
        self._plan = plan
        self._empty = not found.known

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    def record(self, part: Part) -> None:
        """Write down a batch: once this returns, it survives the end of this process.

        Not after a file of the scene was written, for the batch may hold new pixels, and the journal is of the old.
        Raises OutputError when it cannot be written; what it holds stays.
        """
        if self._plan.scene.changed():
            return
        row = row_of(part)
        try:
            with database.transaction(self._db):
                (number,) = self._db.execute("SELECT coalesce(max(number), 0) + 1 FROM batch").fetchone()
                database.insert(self._db, "batch", (number, *row, seal(number, row)))
        except sqlite3.Error as err:
            raise OutputError(
                f"the journal {self.path} cannot be written: {one_line(err)}; make room, and run the same command again"
            ) from err
        self.done += len(part.tiles)
        self._empty = False

    def close(self) -> None:
        """Leave the file to others, as far as the disk allows as one that needs none beside it; no file for nothing."""
        with suppress(sqlite3.Error, OSError):
            database.settle(self._db)
            if self._empty:
                self.path.unlink()
        self._db.close()


def open_journal(path: Path, plan: Plan, *, fresh: bool = False) -> tuple[Journal, str]:
    """Go on with the journal at `path`, or begin one.

    fresh: forget what it holds of these scores. A file that is damaged, that is no journal, or that is one of other
    scores is renamed.
    Returns the journal, and what was done with an old one, for people; empty for nothing.
    Raises BusyError when another scan has it, OutputError when it cannot be written here.
    """
    try:
        return _open(path, plan, fresh), ""
    except UnfitError as err:
        with database.opening(path):
            kept = database.set_aside(path)
        told = f"{path} {err}: the scan starts anew, and the old file is kept as {kept.name}"
        return _open(path, plan, fresh), told


def read_journal(path: Path) -> tuple[Plan, Part]:
    """Read what a journal holds: the plan of its last scan, see `from_json`, and what is known of its tiles.

    Raises InputError for a file that is none, or is damaged, BusyError when a scan is writing it.
    """
    if not path.is_file():
        raise InputError(f"no journal is at {path}; give one that a scan has left, or was told to keep with --journal")
    connect = database.connect if os.access(path, os.W_OK) else database.connect_read_only
    try:
        with database.opening(path):
            database.look(path)
            with closing(connect(path)) as db:
                plan, _ = _scan_in(db)
                return plan, _rows_in(db, plan)
    except UnfitError as err:
        raise InputError(f"{path} {err}; give another, or scan again") from err


def _open(path: Path, plan: Plan, fresh: bool) -> Journal:
    is_new = not path.exists()
    try:
        with database.opening(path):
            database.look(path)
            db = database.connect(path)
            try:
                found = _prepared(db, plan, fresh)
            except BaseException:
                db.close()
                raise
    except OutputError:
        if is_new:  # what a full disk has left of it is no journal
            database.remove(path)
        raise
    return Journal(path, db, plan, found)


def _prepared(db: sqlite3.Connection, plan: Plan, fresh: bool) -> Part:
    """Make a database that of a plan, and give what it knows of its tiles. Raises UnfitError."""
    key = key_of(plan)
    database.make_tables(db, _TABLES)
    if db.execute("SELECT count(*) FROM scan").fetchone()[0]:
        old, old_key = _scan_in(db)
        why = difference(old_key, key)
        if why and _rows_in(db, old).known:  # to forget what another scan knows, nobody has asked
            raise UnfitError(f"was begun {why}")
        if why or fresh:
            db.execute("DELETE FROM batch")
    found = _rows_in(db, plan)
    database.write_ahead(db)  # not before, so that a file that does not fit stays as it is
    values = json.dumps(key).encode(), to_json(plan)
    with database.transaction(db):
        db.execute("DELETE FROM scan")
        database.insert(db, "scan", (*values, seal(0, values)))
    return found


def _scan_in(db: sqlite3.Connection) -> tuple[Plan, Mapping[str, str]]:
    """Read the plan and the key. Raises UnfitError."""
    try:
        ((key, plan, sealed),) = db.execute("SELECT key, plan, seal FROM scan").fetchall()
        if seal(0, (key, plan)) != sealed:
            raise ValueError("its plan is not what was written")
        return from_json(plan), dict(json.loads(key))
    except _NONSENSE as err:
        raise UnfitError(f"is damaged: {one_line(err)}") from err


def _rows_in(db: sqlite3.Connection, plan: Plan) -> Part:
    """Read all batches. Raises UnfitError."""
    try:
        if (said := db.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
            raise ValueError(said)
        rows = db.execute(f"SELECT number, {COLUMNS}, seal FROM batch ORDER BY number")
        return part_of(rows, len(plan.grid), len(plan.package.card.labels))
    except _NONSENSE as err:
        raise UnfitError(f"is damaged: {one_line(err)}") from err
