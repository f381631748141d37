"""One narrow port to the database of a fleet: SQLite in a file, or PostgreSQL where there is one.

Both are spoken to in the SQL that they share, with ``?`` for each value, and every change is one
transaction: what a block of ``writing`` did not end with is not there.  Under SQLite one process
writes at a time and the others wait; under PostgreSQL the rows that a transaction changes are
locked by :attr:`Session.lock`.  Foreign errors end here.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from primum_verifier.core.errors import BusyError, FailedError, PrimumError, UsageError
from primum_verifier.core.reasons import Reason
from primum_verifier.shell.durable import storage_error

BUSY_SECONDS = 30.0
"""How long one writer waits for another before it says that the database is busy."""

_LOCK = 0x0072_6D75
"""The number under which receivers of one PostgreSQL database wait for each other."""

_SQLITE = "sqlite:///"
_POSTGRESQL = ("postgresql://", "postgres://")
_FORMS = "sqlite:///FILE or postgresql://USER@HOST/DATABASE"

Row = tuple[Any, ...]


class Session(Protocol):
    """A transaction that is open."""

    lock: str
    """What a SELECT ends with so that no other transaction changes the rows that it found."""

    def rows(self, sql: str, *values: object) -> list[Row]:
        """What a statement answers."""

    def do(self, sql: str, *values: object) -> int:
        """Run a statement; how many rows it changed."""

    def many(self, sql: str, rows: Sequence[Sequence[object]]) -> None:
        """Run a statement for each row of values."""

    def enter(self, *, alone: bool) -> None:
        """Wait until nobody is in who asked to be alone; and if ``alone``, until nobody is."""


def open_database(address: str) -> SqliteDatabase | PostgresDatabase:
    """Open the database at an address, made where there is none (SQLite).

    ``writing`` is a transaction that changes something: whole when its block ends, else nothing;
    ``reading`` is one that sees one moment of the database.  ``be_the_only`` lasts until the
    process ends, however it ends; the second under one name is refused with a ``BusyError``.

    Raises:
        UsageError: no such form of address, or what it needs is not installed.
        FailedError: ``resource.storage`` or ``transport.unreachable``: it cannot be opened.
    """
    if address.startswith(_SQLITE) and len(address) > len(_SQLITE):
        return SqliteDatabase(Path(address.removeprefix(_SQLITE)))
    if address.startswith(_POSTGRESQL):
        return PostgresDatabase(address)
    raise UsageError(
        "This is no address of a database that is known here.",
        reason=Reason.USAGE,
        found=without_password(address),
        expected=_FORMS,
    )


def without_password(address: str) -> str:
    """An address as it may be shown."""
    parts = urlsplit(address)
    if parts.password is None and "password" not in parts.query:
        return address
    place = parts.netloc.rpartition("@")[2]
    user = f"{parts.username}@" if parts.username else ""
    return f"{parts.scheme}://{user}{place}{parts.path}"


class _SqliteSession:
    """See :class:`Session`; the whole file is locked, so single rows need not be."""

    lock = ""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def rows(self, sql: str, *values: object) -> list[Row]:
        return self._connection.execute(sql, values).fetchall()

    def do(self, sql: str, *values: object) -> int:
        return self._connection.execute(sql, values).rowcount

    def many(self, sql: str, rows: Sequence[Sequence[object]]) -> None:
        self._connection.executemany(sql, rows)

    def enter(self, *, alone: bool) -> None:
        """Whoever writes is alone already."""


class SqliteDatabase:
    """A file beside which nothing runs; several processes of one machine may share it."""

    types = {"int": "INTEGER", "bytes": "BLOB", "end": "STRICT"}  # noqa: RUF012 - never changed

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path
        self._held: list[int] = []
        with self._narrowed():
            self._connection = sqlite3.connect(path, isolation_level=None, timeout=BUSY_SECONDS)
        try:
            # A power cut loses no transaction that was acknowledged, and readers wait for nobody.
            for setting in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
                with self._narrowed():
                    self._connection.execute(f"PRAGMA {setting}")
        except PrimumError:
            self.close()
            raise

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """See :func:`open_database`."""
        with self._transaction("BEGIN IMMEDIATE") as session:
            yield session

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """See :func:`open_database`."""
        with self._transaction("BEGIN") as session:
            yield session

    def be_the_only(self, name: str) -> None:
        """See :func:`open_database`: a lock on a file beside the database."""
        path = self._path.with_name(f"{self._path.name}-{name.replace('/', '-')}.lock")
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            self._held.append(descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise _taken(name) from error
        except OSError as error:
            raise storage_error(error, path) from error

    def close(self) -> None:
        """See :func:`open_database`."""
        self._connection.close()
        while self._held:
            os.close(self._held.pop())

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[Session]:
        with self._narrowed():
            self._connection.execute(begin)
            try:
                yield _SqliteSession(self._connection)
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _narrowed(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._translated(error) from error

    def _translated(self, error: sqlite3.Error) -> PrimumError:
        code = getattr(error, "sqlite_errorname", "")
        if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            return _busy(self.name, str(error))
        if code.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
            return FailedError(
                "The file is no database of a fleet, or it is damaged.",
                reason=Reason.STATE_DAMAGED,
                where=self.name,
                found=str(error),
                remedy="Name another file; a backup can be put in its place.",
            )
        return FailedError(
            "The database cannot be used.",
            reason=Reason.RESOURCE_STORAGE,
            where=self.name,
            found=str(error),
            remedy="Check folder, permissions and free space; nothing was acknowledged.",
        )


class _PostgresSession:
    """See :class:`Session`."""

    lock = " FOR UPDATE"

    def __init__(self, cursor: Any) -> None:  # noqa: ANN401 - an optional library's
        self._cursor = cursor

    def rows(self, sql: str, *values: object) -> list[Row]:
        self._cursor.execute(_percent(sql), values)
        found: list[Row] = self._cursor.fetchall()
        return found

    def do(self, sql: str, *values: object) -> int:
        self._cursor.execute(_percent(sql), values)
        return int(self._cursor.rowcount)

    def many(self, sql: str, rows: Sequence[Sequence[object]]) -> None:
        if rows:
            self._cursor.executemany(_percent(sql), rows)

    def enter(self, *, alone: bool) -> None:
        shared = "" if alone else "_shared"
        self._cursor.execute(f"SELECT pg_advisory_xact_lock{shared}(%s)", (_LOCK,))


class PostgresDatabase:
    """A server that several machines share."""

    types = {"int": "BIGINT", "bytes": "BYTEA", "end": ""}  # noqa: RUF012 - never changed

    def __init__(self, address: str) -> None:
        try:
            import psycopg  # noqa: PLC0415 - an extra: only who asks for PostgreSQL needs it
        except ImportError as error:
            raise UsageError(
                "PostgreSQL needs a library that is not installed here.",
                reason=Reason.RESOURCE_PROGRAM,
                found=str(error),
                remedy="Install primum-repo-tools[postgresql].",
            ) from error
        self.name = without_password(address)
        self._errors = psycopg
        with self._narrowed():
            self._connection = psycopg.connect(address, autocommit=True, connect_timeout=10)
            self._connection.execute(f"SET lock_timeout = {int(BUSY_SECONDS * 1000)}")

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """See :func:`open_database`."""
        with self._transaction("BEGIN") as session:
            yield session

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """See :func:`open_database`."""
        with self._transaction("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY") as session:
            yield session

    def be_the_only(self, name: str) -> None:
        """See :func:`open_database`: a lock that ends with the connection."""
        with self._narrowed():
            row = self._connection.execute(
                "SELECT pg_try_advisory_lock(%s, hashtext(%s))", (_LOCK, name)
            ).fetchone()
        if row is None or not row[0]:
            raise _taken(name)

    def close(self) -> None:
        """See :func:`open_database`."""
        self._connection.close()

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[Session]:
        with self._narrowed(), self._connection.cursor() as cursor:
            cursor.execute(begin)
            try:
                yield _PostgresSession(cursor)
                cursor.execute("COMMIT")
            except BaseException:
                # Where the server is gone, so is the transaction.
                with suppress(self._errors.Error):
                    cursor.execute("ROLLBACK")
                raise

    @contextmanager
    def _narrowed(self) -> Iterator[None]:
        try:
            yield
        except self._errors.Error as error:
            raise self._translated(error) from error

    def _translated(self, error: Exception) -> PrimumError:
        found = " ".join(str(error).split())[:200]
        busy = (
            self._errors.errors.LockNotAvailable,
            self._errors.errors.DeadlockDetected,
            self._errors.errors.SerializationFailure,
        )
        if isinstance(error, busy):
            return _busy(self.name, found)
        gone = isinstance(error, self._errors.OperationalError)
        return FailedError(
            "The database cannot be used.",
            reason=Reason.TRANSPORT_UNREACHABLE if gone else Reason.RESOURCE_STORAGE,
            where=self.name,
            found=found,
            remedy="Check server, rights and free space; nothing was acknowledged.",
        )


def _percent(sql: str) -> str:
    """The other way to mark a value; no statement here holds either sign otherwise."""
    return sql.replace("?", "%s")


def _taken(name: str) -> BusyError:
    return BusyError(
        "Another receiver of this name is at work on this database.",
        reason=Reason.STATE_BUSY,
        where=name,
        remedy="Give each receiver a --name of its own.",
    )


def _busy(name: str, found: str) -> BusyError:
    return BusyError(
        "Another process holds the database.",
        reason=Reason.STATE_BUSY,
        where=name,
        found=found,
        remedy="Run the command again; nothing was acknowledged meanwhile.",
    )


def in_parts(values: Iterable[Any], size: int = 500) -> Iterator[list[Any]]:
    """Values in parts that one statement can name."""
    part: list[Any] = []
    for value in values:
        part.append(value)
        if len(part) == size:
            yield part
            part = []
    if part:
        yield part


def marks(count: int) -> str:
    """So many marks for values, as ``IN (…)`` wants them."""
    return ", ".join("?" * count)
