"""How the journal's database is opened, checked, made smaller and, when damaged, set aside."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from primum_agent.durable import disk_errors, sync_folder
from primum_agent.journal_migrations import (
    NEWEST,
    generation_of,
    is_understood,
    migrate,
    stand_in_for_missing_tables,
)
from primum_verifier.core.errors import BusyError, FailedError, PrimumError
from primum_verifier.core.reasons import Reason

BUSY_SECONDS = 10.0
"""How long one appender waits for the other; a transaction takes milliseconds."""

_VACUUM_PAGES = 1000
"""Pages given back in one transaction: the other appender must not wait for long."""

_INCREMENTAL = 2  # of PRAGMA auto_vacuum

_FULL = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM}
_READ_ONLY = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM}
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}

MOST_UNREAD = 10
"""Openings in a row at which the disk does not give the journal back; then it counts as damaged."""

MOST_SET_ASIDE = 3
"""Damaged journals that are kept for a person to look at."""

_PIECE_BYTES = 1024 * 1024


class DamagedJournalError(FailedError):
    """The database is no journal any more: malformed, foreign, or lacking its tables."""


class UnreadableJournalError(FailedError):
    """The disk does not give the database back; whether it is damaged cannot be said."""


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
        return _storage_failed(path, found)
    if code in _READ_ONLY:
        return FailedError(
            "The journal cannot be written.",
            reason=Reason.STATE_READ_ONLY,
            where=str(path),
            found=found,
            remedy="Make the state folder writable for the agent's user; what runs keeps running.",
        )
    return damaged(path, found)


def _storage_failed(path: Path, found: str) -> FailedError:
    return FailedError(
        "The storage did not take or give the journal's data.",
        reason=Reason.RESOURCE_STORAGE,
        where=str(path),
        found=found,
        remedy="Free space on, or check, the file system of the state folder; nothing was changed.",
    )


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
    # Asked before anything that could write: what is not understood stays as it is.
    refuse_if_not_understood(connection, path)
    new = generation_of(connection) == 0
    if new:
        # Only a database without tables takes it; pruning then makes the file smaller.
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("PRAGMA journal_mode = WAL")
    # FULL: a commit that was reported survives the power; NORMAL loses the last ones.
    connection.execute("PRAGMA synchronous = FULL")
    migrate(connection)
    if new:
        sync_folder(path.parent)
    connection.execute("SELECT max(sequence) FROM events").fetchone()


def refuse_if_not_understood(connection: sqlite3.Connection, path: Path) -> None:
    """Leave a database alone that an agent too far ahead wrote.

    Raises:
        FailedError: it did.
    """
    generation = generation_of(connection)
    if not is_understood(generation):
        raise FailedError(
            "The journal was written by another generation of the agent.",
            reason=Reason.STATE_DAMAGED,
            where=str(path),
            found=f"generation {generation}",
            expected=f"generation {NEWEST}, older, or {NEWEST + 1}",
            remedy="Run the agent that wrote it; updates do not start, what runs keeps running.",
        )


def used_bytes(connection: sqlite3.Connection) -> int:
    """Bytes of the database in use, free pages not counted."""
    pages, free, size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)


def give_back_space(connection: sqlite3.Connection) -> None:
    """Let the file shrink by its free pages; what is busy or full is left for another time."""
    with contextlib.suppress(sqlite3.Error):
        while connection.execute("PRAGMA freelist_count").fetchone()[0]:
            # Each row that is fetched is one page that was given back.
            connection.execute(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})").fetchall()
            if connection.execute("PRAGMA auto_vacuum").fetchone()[0] != _INCREMENTAL:
                break
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()


def let_it_shrink(connection: sqlite3.Connection) -> None:
    """Rebuild a database of the first generation, once, so that its file can shrink later."""
    with contextlib.suppress(sqlite3.Error):
        if connection.execute("PRAGMA auto_vacuum").fetchone()[0] != _INCREMENTAL:
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.execute("VACUUM")


def check(connection: sqlite3.Connection, path: Path) -> None:
    """Read the whole database once and compare it with itself.

    Raises:
        DamagedJournalError: a page or an index is wrong, or could not be read just now.
    """
    with database_errors(path):
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise damaged(path, str(found)[:200])


def refuse_if_unreadable(path: Path) -> None:
    """Tell what the disk does not give back from what is damaged; SQLite says the same of both.

    Raises:
        UnreadableJournalError: the disk does not give the files back; they may be whole.
    """
    try:
        for part in _files(path):
            with contextlib.suppress(FileNotFoundError), part.open("rb") as file:
                while file.read(_PIECE_BYTES):
                    pass
    except OSError as error:
        raise UnreadableJournalError(
            "The storage does not give the journal back.",
            reason=Reason.RESOURCE_STORAGE,
            where=str(path),
            found=error.strerror or str(error),
            expected="a file system that can be read",
            remedy="Check the storage; the agent tries again, and what runs keeps running.",
        ) from error


def _files(path: Path) -> list[Path]:
    return [path.with_name(path.name + suffix) for suffix in ("", "-wal", "-shm")]


def connect_to_read(path: Path) -> sqlite3.Connection:
    """Open the database for reading only, also on a read-only disk.

    Raises:
        DamagedJournalError: it is malformed.
        FailedError: an agent too far ahead wrote it; ``state.read-only`` when it is not there or
            may not be read.
    """
    for options in ("mode=ro", "mode=ro&immutable=1"):
        connection = None
        try:
            connection = sqlite3.connect(
                f"{path.resolve().as_uri()}?{options}",
                uri=True,
                timeout=BUSY_SECONDS,
                isolation_level=None,
            )
            refuse_if_not_understood(connection, path)
            stand_in_for_missing_tables(connection)
            connection.execute("SELECT max(sequence) FROM events").fetchone()
            return connection
        except FailedError:
            if connection is not None:
                connection.close()
            raise
        except sqlite3.Error as error:
            if connection is not None:
                connection.close()
            problem = database_error(error, path)
            if problem.reason != Reason.STATE_READ_ONLY:
                raise problem from error
    raise problem


def set_aside(path: Path, *, stamp: str) -> Path:
    """Move a damaged database out of the way, with its side files, for a person to look at.

    Raises:
        FailedError: the disk did not take it; the next start tries again.
    """
    aside = path.with_name(f"journal.damaged-{stamp}")
    with disk_errors(path):
        for part in _files(path):
            with contextlib.suppress(FileNotFoundError):
                part.replace(aside.with_name(aside.name + part.name.removeprefix(path.name)))
        _make_room_for(aside)
        sync_folder(path.parent)
    return aside


def _make_room_for(aside: Path) -> None:
    """Keep the newest few that were set aside: failing storage must not fill itself with them."""
    older = sorted(aside.parent.glob("journal.damaged-*Z"))
    for path in older[:-MOST_SET_ASIDE]:
        for part in _files(path):
            part.unlink(missing_ok=True)
