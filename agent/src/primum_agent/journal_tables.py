"""The journal's small tables: counters, lasting troubles, last verdicts, trusted views.

None of them is chained; what must be proven later is an event.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from primum_agent.clock import Clock, plain_time
from primum_agent.journal_bounds import JournalBounds
from primum_agent.journal_schema import database_errors
from primum_agent.layout import Layout

DEFAULT_BOUNDS = JournalBounds()
MAX_VERDICTS = 64
"""Releases whose last verdict is kept; the one judged longest ago makes room."""


@dataclass(frozen=True)
class Problem:
    """A trouble that lasts: told once, then counted."""

    topic: str
    what: str
    times: int
    first: str
    last: str
    text: str


class JournalTables:
    """The tables beside the events, over one open database.

    Args:
        layout: the state folder's names.
        connection: the open database, owned by this object.
        clock: the clock port.
        bounds: how large and how old the journal may grow.
    """

    _deciding = False

    def __init__(
        self,
        *,
        layout: Layout,
        connection: sqlite3.Connection,
        clock: Clock,
        bounds: JournalBounds = DEFAULT_BOUNDS,
    ) -> None:
        self._layout = layout
        self._connection = connection
        self._clock = clock
        self._bounds = bounds

    def close(self) -> None:
        """Give the database back."""
        self._connection.close()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """One writing transaction; whatever is raised inside leaves the journal as it was."""
        with database_errors(self._layout.journal):
            if self._deciding:
                yield
                return
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def deciding(self) -> Iterator[None]:
        """What is read in the block still holds when it is written by: nobody writes meanwhile.

        For short decisions over the journal alone, with one event at most: the mark beside the
        journal may be one event ahead of it and no more.

        Raises:
            BusyError: the other appender holds the journal too long.
        """
        with self._writing():
            self._deciding = True
            try:
                yield
            finally:
                self._deciding = False

    @contextlib.contextmanager
    def _looking(self) -> Iterator[None]:
        """One reading transaction: what others write meanwhile is not seen."""
        with database_errors(self._layout.journal):
            if self._connection.in_transaction:
                yield
                return
            self._connection.execute("BEGIN")
            try:
                yield
            finally:
                self._connection.execute("ROLLBACK")

    def counter(self, name: str, default: str) -> str:
        """One small value."""
        with database_errors(self._layout.journal):
            row = self._connection.execute(
                "SELECT value FROM counters WHERE name = ?", (name,)
            ).fetchone()
        return default if row is None else str(row[0])

    def set_counters(self, **values: str) -> None:
        """Store small values in one transaction; an underscore stands for a dash."""
        with self._writing():
            for name, value in values.items():
                self._set_counter(name.replace("_", "-"), value)

    def powered_total(self) -> float:
        """Seconds this device has been powered in all, over boots; it never falls."""
        boot, seconds = self._clock.boot_id(), self._clock.powered_seconds()
        total = self._powered(boot, seconds)
        self.set_counters(powered_total=repr(total), powered_boot=boot, powered_mark=repr(seconds))
        return total

    def powered_seen(self) -> float:
        """The same for looking only: nothing is written."""
        return self._powered(self._clock.boot_id(), self._clock.powered_seconds())

    def _powered(self, boot: str, seconds: float) -> float:
        total = float(self.counter("powered-total", "0"))
        same = self.counter("powered-boot", "") == boot
        before = float(self.counter("powered-mark", "0")) if same else 0.0
        return total + max(0.0, seconds - before)

    def note_problem(self, *, topic: str, what: str, text: str) -> bool:
        """Count a lasting trouble; whether it is new or another than before on this topic."""
        now = plain_time(self._clock.now())
        with self._writing():
            row = self._connection.execute(
                "SELECT what FROM problems WHERE topic = ?", (topic,)
            ).fetchone()
            if row is not None and row[0] == what:
                self._connection.execute(
                    "UPDATE problems SET times = times + 1, last = ?, text = ? WHERE topic = ?",
                    (now, text, topic),
                )
                return False
            self._connection.execute(
                "INSERT OR REPLACE INTO problems (topic, what, times, first, last, text) "
                "VALUES (?, ?, 1, ?, ?, ?)",
                (topic, what, now, now, text),
            )
            return True

    def clear_problem(self, topic: str) -> Problem | None:
        """Forget a trouble that has ended; the trouble, if there was one."""
        found = next((item for item in self.problems() if item.topic == topic), None)
        if found is not None:
            with self._writing():
                self._connection.execute("DELETE FROM problems WHERE topic = ?", (topic,))
        return found

    def problems(self) -> list[Problem]:
        """The troubles that last."""
        with database_errors(self._layout.journal):
            rows = self._connection.execute(
                "SELECT topic, what, times, first, last, text FROM problems ORDER BY topic"
            )
            return [Problem(*row) for row in rows]

    def keep_verdict(self, *, release: str, name: str, verdict: Mapping[str, object]) -> None:
        """Keep the last verdict on a release, in full, for ``explain``."""
        text = json.dumps(verdict, separators=(",", ":"))
        with self._writing():
            self._connection.execute(
                "INSERT OR REPLACE INTO verdicts (release, name, judged, text) VALUES (?, ?, ?, ?)",
                (release, name, plain_time(self._clock.now()), text),
            )
            self._connection.execute(
                "DELETE FROM verdicts WHERE release != ? AND release NOT IN "
                "(SELECT release FROM verdicts ORDER BY judged DESC LIMIT ?)",
                (release, MAX_VERDICTS),
            )

    def verdicts(self) -> list[dict[str, object]]:
        """The last verdict on each release, newest judged last."""
        with database_errors(self._layout.journal):
            rows = self._connection.execute("SELECT judged, text FROM verdicts ORDER BY judged")
            return [{"judged": judged, **json.loads(text)} for judged, text in rows]

    def trust_rows(self, authority: str) -> list[tuple[str, str, bytes]]:
        """The stored set of one authority as (kind, name, value)."""
        with database_errors(self._layout.journal):
            rows = self._connection.execute(
                "SELECT kind, name, value FROM trust WHERE authority = ?", (authority,)
            )
            return [(kind, name, value) for kind, name, value in rows]

    def _set_counter(self, name: str, value: str) -> None:
        self._connection.execute(
            "INSERT OR REPLACE INTO counters (name, value) VALUES (?, ?)", (name, value)
        )
