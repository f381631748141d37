"""The journal's tables, and how its database is opened, checked and, when damaged, set aside."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from primum_agent.durable import sync_folder
from primum_verifier.core.errors import BusyError, FailedError, PrimumError
from primum_verifier.core.reasons import Reason

SCHEMA_GENERATION = 1
"""Stored as ``user_version``; a database of a newer agent is left alone (never rewritten)."""

BUSY_SECONDS = 10.0
"""How long one appender waits for the other; a transaction takes milliseconds."""

_TABLES = """
CREATE TABLE events (
    sequence INTEGER PRIMARY KEY, line BLOB NOT NULL, hash TEXT NOT NULL,
    acked INTEGER NOT NULL DEFAULT 0) STRICT;
CREATE INDEX events_waiting ON events (sequence) WHERE acked = 0;
CREATE TABLE heads (
    sequence INTEGER PRIMARY KEY, line BLOB NOT NULL, acked INTEGER NOT NULL DEFAULT 0) STRICT;
CREATE TABLE state (id INTEGER PRIMARY KEY CHECK (id = 1), text TEXT NOT NULL) STRICT;
CREATE TABLE trust (
    authority TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, value BLOB NOT NULL,
    PRIMARY KEY (authority, kind, name)) STRICT;
CREATE TABLE counters (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE problems (
    topic TEXT PRIMARY KEY, what TEXT NOT NULL, times INTEGER NOT NULL,
    first TEXT NOT NULL, last TEXT NOT NULL, text TEXT NOT NULL) STRICT;
CREATE TABLE verdicts (
    release TEXT PRIMARY KEY, name TEXT NOT NULL, judged TEXT NOT NULL, text TEXT NOT NULL) STRICT;
"""

_FULL = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM}
_READ_ONLY = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM}
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


class DamagedJournalError(FailedError):
    """The database is no journal any more: malformed, foreign, or lacking its tables."""


def damaged(path: Path, found: str) -> DamagedJournalError:
    """The error for a damaged database."""
    return DamagedJournalError(
        "The journal is damaged.",
        reason=Reason.STATE_DAMAGED,
        where=str(path),
        found=found,
        expected="a whole SQLite database of this agent",
        remedy="Start `primum-agent run`: it sets the file aside, keeps the floors and goes on.",
    )


def database_error(error: sqlite3.Error, path: Path) -> PrimumError:
    """What the database said, as an error with a remedy."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    found = str(error)
    if code in _BUSY:
        return BusyError(
            "Another process is writing to the journal.",
            reason=Reason.STATE_BUSY,
            where=str(path),
            found=found,
            remedy="Try again in a few seconds.",
        )
    if code in _FULL:
        return FailedError(
            "The storage did not take the journal's data.",
            reason=Reason.RESOURCE_STORAGE,
            where=str(path),
            found=found,
            remedy="Free space on the file system of the state folder; nothing was changed.",
        )
    if code in _READ_ONLY:
        return FailedError(
            "The journal cannot be written.",
            reason=Reason.STATE_READ_ONLY,
            where=str(path),
            found=found,
            remedy="Make the state folder writable for the agent's user; what runs keeps running.",
        )
    return damaged(path, found)


@contextlib.contextmanager
def database_errors(path: Path) -> Iterator[None]:
    """Translate every database error of the block."""
    try:
        yield
    except sqlite3.Error as error:
        raise database_error(error, path) from error


def connect(path: Path) -> sqlite3.Connection:
    """Open the database for reading and writing, and make its tables if it is new.

    Raises:
        DamagedJournalError: it is malformed or not ours.
        FailedError: the disk does not let it be opened; or a newer agent wrote it.
        BusyError: another process holds it for longer than :data:`BUSY_SECONDS`.
    """
    with database_errors(path):
        connection = sqlite3.connect(
            path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=True
        )
    try:
        with database_errors(path):
            _prepare(connection, path)
    except PrimumError:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    # FULL: a commit that was reported survives the power; NORMAL loses the last ones.
    connection.execute("PRAGMA synchronous = FULL")
    (generation,) = connection.execute("PRAGMA user_version").fetchone()
    if generation == 0:
        connection.execute("BEGIN IMMEDIATE")
        if connection.execute("PRAGMA user_version").fetchone()[0] == 0:
            for statement in _TABLES.strip().split(";\n"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {SCHEMA_GENERATION}")
        connection.execute("COMMIT")
        sync_folder(path.parent)
    elif generation != SCHEMA_GENERATION:
        raise FailedError(
            "The journal was written by another generation of the agent.",
            reason=Reason.STATE_DAMAGED,
            where=str(path),
            found=f"generation {generation}",
            expected=f"generation {SCHEMA_GENERATION}",
            remedy="Run the agent that wrote it; updates do not start, what runs keeps running.",
        )
    connection.execute("SELECT max(sequence) FROM events").fetchone()


def check(connection: sqlite3.Connection, path: Path) -> None:
    """Read the whole database once and compare it with itself.

    Raises:
        DamagedJournalError: a page or an index is wrong.
    """
    with database_errors(path):
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise damaged(path, str(found)[:200])


def connect_to_read(path: Path) -> sqlite3.Connection:
    """Open the database for reading only, also on a read-only disk.

    Raises:
        DamagedJournalError: it is malformed.
        FailedError: ``state.read-only`` when it is not there or may not be read.
    """
    for options in ("mode=ro", "mode=ro&immutable=1"):
        connection = None
        try:
            connection = sqlite3.connect(
                f"{path.resolve().as_uri()}?{options}", uri=True, timeout=BUSY_SECONDS
            )
            connection.execute("SELECT max(sequence) FROM events").fetchone()
            return connection
        except sqlite3.Error as error:
            if connection is not None:
                connection.close()
            problem = database_error(error, path)
            if problem.reason != Reason.STATE_READ_ONLY:
                raise problem from error
    raise problem


def set_aside(path: Path, *, stamp: str) -> Path:
    """Move a damaged database out of the way, with its side files, for a person to look at."""
    aside = path.with_name(f"journal.damaged-{stamp}")
    for suffix in ("", "-wal", "-shm"):
        part = path.with_name(path.name + suffix)
        with contextlib.suppress(FileNotFoundError):
            part.replace(aside.with_name(aside.name + suffix))
    sync_folder(path.parent)
    return aside
