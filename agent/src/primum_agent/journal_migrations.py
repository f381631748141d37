"""How the journal's tables go forward one generation at a time, and which are understood.

``user_version`` is 1000 times the major generation plus the minor.  A minor step only adds: a
table, or a column with a default.  So an agent also uses the tables of the minor generation after
its own, leaves there what it does not know, and an update of the agent can be taken back.  What
is further ahead, or of another major generation, is left alone and never written to.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping
from typing import Final

NEWEST: Final = 3
"""The generation that this agent writes."""

MAJOR: Final = 1000

_FIRST = """
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
    release TEXT PRIMARY KEY, name TEXT NOT NULL, judged TEXT NOT NULL, text TEXT NOT NULL) STRICT
"""

_CHECKPOINTS_AND_TELEMETRY = """
CREATE TABLE checkpoints (
    sequence INTEGER PRIMARY KEY, hash TEXT NOT NULL, first_sequence INTEGER NOT NULL,
    state TEXT NOT NULL, line BLOB NOT NULL) STRICT;
CREATE TABLE telemetry (
    number INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, line BLOB NOT NULL) STRICT
"""

_AGE_OF_TELEMETRY = """
ALTER TABLE telemetry ADD COLUMN kept_at REAL
"""

STEPS: Final[Mapping[int, tuple[int, str]]] = {
    0: (1, _FIRST),
    1: (2, _CHECKPOINTS_AND_TELEMETRY),
    2: (3, _AGE_OF_TELEMETRY),
}
"""For each generation that can be brought forward: the next one, and the statements that lead
there."""


def generation_of(connection: sqlite3.Connection) -> int:
    """The generation of a database; 0 for one without tables of ours."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def is_understood(generation: int) -> bool:
    """Whether this agent may write to a database of that generation."""
    if generation <= NEWEST:
        return generation == NEWEST or generation in STEPS
    return generation == NEWEST + 1 and generation // MAJOR == NEWEST // MAJOR


def migrate(connection: sqlite3.Connection) -> None:
    """Bring a database forward to :data:`NEWEST`, each step in one transaction.

    After a cut it is of the generation before the step or after it, and the next start goes on.

    Raises:
        sqlite3.Error: the storage did not take a step; what was there stands.
    """
    while generation_of(connection) in STEPS:
        connection.execute("BEGIN IMMEDIATE")
        try:
            # Another process may have taken the step since.
            step = STEPS.get(generation_of(connection))
            if step is not None:
                target, statements = step
                for statement in statements.strip().split(";\n"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {target}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def stand_in_for_missing_tables(connection: sqlite3.Connection) -> None:
    """For looking only: let the tables that an older database lacks be empty ones in memory.

    A column that it lacks is empty in a view of that name.
    """
    generation = generation_of(connection)
    connection.execute("PRAGMA temp_store = MEMORY")
    while generation and generation in STEPS:
        generation, statements = STEPS[generation]
        for statement in statements.strip().split(";\n"):
            connection.execute(_stands_in(connection, statement))


def _stands_in(connection: sqlite3.Connection, statement: str) -> str:
    """The statement that does the same in memory."""
    added = re.fullmatch(r"ALTER TABLE (\w+) ADD COLUMN (\w+) .*", statement)
    if added is None:
        return statement.replace("CREATE TABLE", "CREATE TEMP TABLE", 1)
    table, column = added.groups()
    asked = connection.execute("SELECT 1 FROM temp.sqlite_master WHERE name = ?", (table,))
    if asked.fetchone() is not None:
        return statement
    return f"CREATE TEMP VIEW {table} AS SELECT *, NULL AS {column} FROM main.{table}"  # noqa: S608 - our own names
