"""Telemetry: reports of health and monitors that wait for the broker, bounded, outside the chain.

A report that was acknowledged is gone.  While the broker is away the newest are kept, and how
many of the oldest made room for them is counted and told: telemetry never crowds out provenance.
"""

from __future__ import annotations

from dataclasses import dataclass

from primum_agent.journal_reading import JournalReading
from primum_agent.journal_schema import database_errors, used_bytes

_DROPPED = "telemetry-dropped"


@dataclass(frozen=True)
class TelemetryRow:
    """One report that waits.

    Attributes:
        number: its place in the order; never used twice.
        kind: what it is, and the end of the topic that it goes to: ``health`` or ``monitor``.
        line: its exact bytes.
    """

    number: int
    kind: str
    line: bytes


class JournalTelemetry(JournalReading):
    """The reports that wait, over one open database."""

    def keep_telemetry(self, *, kind: str, line: bytes) -> None:
        """Keep one report; the oldest make room where there are too many or too large ones.

        Where the journal itself is at its bound, none is kept: space goes to provenance first.

        Raises:
            FailedError: ``resource.storage``, ``state.read-only``; nothing was changed.
        """
        bounds = self._bounds
        with self._writing():
            self._connection.execute(
                "INSERT INTO telemetry (kind, line) VALUES (?, ?)", (kind, line)
            )
            rows, size = self._connection.execute(
                "SELECT count(*), sum(length(line)) FROM telemetry"
            ).fetchone()
            others = used_bytes(self._connection) - size
            room = min(bounds.telemetry_bytes, bounds.max_bytes - others)
            last, dropped = 0, 0
            for number, length in self._connection.execute(
                "SELECT number, length(line) FROM telemetry ORDER BY number"
            ):
                if rows <= bounds.telemetry_rows and size <= room:
                    break
                last, rows, size, dropped = number, rows - 1, size - length, dropped + 1
            if dropped:
                self._connection.execute("DELETE FROM telemetry WHERE number <= ?", (last,))
                self._set_counter(_DROPPED, str(self.telemetry_dropped() + dropped))

    def waiting_telemetry(self, limit: int) -> list[TelemetryRow]:
        """The oldest reports that no broker has acknowledged."""
        with database_errors(self._layout.journal):
            rows = self._connection.execute(
                "SELECT number, kind, line FROM telemetry ORDER BY number LIMIT ?", (limit,)
            )
            return [TelemetryRow(*row) for row in rows]

    def forget_telemetry(self, numbers: list[int]) -> None:
        """Take out the reports that the broker took."""
        with self._writing():
            self._connection.executemany(
                "DELETE FROM telemetry WHERE number = ?", [(number,) for number in numbers]
            )

    def telemetry_dropped(self) -> int:
        """How many reports made room for newer ones since the journal began."""
        return int(self.counter(_DROPPED, "0"))
