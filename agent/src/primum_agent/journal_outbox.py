"""The outbox: the events and heads that no broker has acknowledged yet. Nothing is deleted here.

What was acknowledged is pruned elsewhere (:mod:`primum_agent.journal_checkpoints`), and only that.
"""

from __future__ import annotations

from dataclasses import dataclass

from primum_agent.journal_schema import database_errors
from primum_agent.journal_telemetry import JournalTelemetry
from primum_verifier.core.errors import BusyError
from primum_verifier.core.reasons import Reason

_MAX = 2**63 - 1


@dataclass(frozen=True)
class OutboxRow:
    """One line that waits to be acknowledged by the broker."""

    sequence: int
    line: bytes


@dataclass(frozen=True)
class Sent:
    """One line that a broker took."""

    sequence: int
    is_head: bool = False
    line: bytes = b""


class JournalOutbox(JournalTelemetry):
    """What waits to be sent, over one open database."""

    def waiting_events(self, limit: int, *, after: int = 0) -> list[OutboxRow]:
        """The oldest events, after one of them, that no broker has acknowledged."""
        return self._waiting("events", limit, after=after)

    def waiting_heads(self, limit: int, *, after: int = 0) -> list[OutboxRow]:
        """The oldest signed heads, after an event, that no broker has acknowledged."""
        return self._waiting("heads", limit, after=after)

    def acknowledged(self, after: Sent, limit: int, *, end: int | None = None) -> list[Sent]:
        """Events and heads that a broker took and that are still kept, in the order of the chain.

        Args:
            after: the last one that is not wanted again.
            limit: at most so many.
            end: the number of the last event that is wanted; None for all.
        """
        with database_errors(self._layout.journal):
            rows = self._connection.execute(
                "SELECT sequence, head, line FROM ("
                "SELECT sequence, 0 AS head, line FROM events WHERE acked = 1 AND sequence >= ?1 "
                "UNION ALL "
                "SELECT sequence, 1 AS head, line FROM heads WHERE acked = 1 AND sequence >= ?1"
                ") WHERE (sequence, head) > (?1, ?2) AND sequence <= ?4 "
                "ORDER BY sequence, head LIMIT ?3",
                (after.sequence, int(after.is_head), limit, _MAX if end is None else end),
            )
            return [Sent(sequence, is_head=bool(head), line=line) for sequence, head, line in rows]

    def _waiting(self, table: str, limit: int, *, after: int) -> list[OutboxRow]:
        with database_errors(self._layout.journal):
            rows = self._connection.execute(
                f"SELECT sequence, line FROM {table} WHERE acked = 0 AND sequence > ? "  # noqa: S608 - our names
                "ORDER BY sequence LIMIT ?",
                (after, limit),
            )
            return [OutboxRow(sequence, line) for sequence, line in rows]

    def last_sent(self) -> int:
        """The newest event that a broker acknowledged; 0 where none is kept."""
        with database_errors(self._layout.journal):
            row = self._connection.execute(
                "SELECT sequence FROM events WHERE acked = 1 ORDER BY sequence DESC LIMIT 1"
            ).fetchone()
        return 0 if row is None else int(row[0])

    def waiting_count(self) -> int:
        """How many events wait to be acknowledged."""
        with database_errors(self._layout.journal):
            row = self._connection.execute("SELECT count(*) FROM events WHERE acked = 0")
            return int(row.fetchone()[0])

    def acknowledge(self, *, events: list[int], heads: list[int]) -> None:
        """Mark lines that the broker took, in one transaction."""
        with self._writing():
            for table, numbers in (("events", events), ("heads", heads)):
                self._connection.executemany(
                    f"UPDATE {table} SET acked = 1 WHERE sequence = ?",  # noqa: S608 - our names
                    [(number,) for number in numbers],
                )

    def _refuse_former(self, key: str) -> None:
        """Refuse what a key signed that was changed meanwhile; asked inside the transaction."""
        current = self.state().device_key
        if current and current != key:
            raise BusyError(
                "The device's key was changed while this was signed.",
                reason=Reason.KEY_CHANGED,
                where=str(self._layout.journal),
                found=f"key {key}",
                expected=f"key {current}",
                remedy="Sign again: the next child opens the key in use.",
            )

    def last_head(self) -> int:
        """The newest event that a signed head or checkpoint covers; 0 when none does."""
        with database_errors(self._layout.journal):
            row = self._connection.execute(
                "SELECT max(sequence) FROM (SELECT max(sequence) AS sequence FROM heads "
                "UNION ALL SELECT max(sequence) FROM checkpoints)"
            ).fetchone()
        return int(row[0] or 0)

    def add_head(self, *, sequence: int, line: bytes, key: str) -> None:
        """Store a signed head.

        Args:
            sequence: the event that it covers.
            line: the envelope.
            key: the id of the key that signed it.

        Raises:
            BusyError: ``key.changed``: the device has another key since it was signed.
        """
        with self._writing():
            self._refuse_former(key)
            self._connection.execute(
                "INSERT OR IGNORE INTO heads (sequence, line) VALUES (?, ?)", (sequence, line)
            )
