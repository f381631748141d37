"""Telemetry: reports of health and monitors that wait for the broker, bounded, outside the chain.

A report that was acknowledged is gone.  While the broker is away the newest are kept, by class
(:mod:`primum_agent.report_classes`), and how many were given up is counted and told: telemetry
never crowds out provenance.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from primum_agent.journal_reading import JournalReading
from primum_agent.journal_schema import database_errors, used_bytes
from primum_agent.report_classes import CLASSES, HEALTH, ReportClass, class_of

_DROPPED = "telemetry-dropped"


@dataclass(frozen=True)
class TelemetryRow:
    """One report that waits.

    Attributes:
        number: its place in the order; never used twice.
        kind: what it is, and the end of the topic that it goes to: ``health`` or ``monitor``.
        line: its exact bytes.
        left: powered seconds for which it is still worth something.
    """

    number: int
    kind: str
    line: bytes
    left: float


class JournalTelemetry(JournalReading):
    """The reports that wait, over one open database."""

    def keep_telemetry(self, *, kind: str, line: bytes) -> None:
        """Keep one report; others make room where there are too many or too large ones.

        What is over goes first, then the oldest of the class that takes more than its share, then
        the oldest of the class that matters least.  Where the journal itself is at its bound,
        none is kept: space goes to provenance first.

        Raises:
            FailedError: ``resource.storage``, ``state.read-only``; nothing was changed.
        """
        own = class_of(kind)
        with self._writing():
            now = self.powered_seen()
            # Kept by an agent that wrote no time: it is as new as can be.
            self._connection.execute(
                "UPDATE telemetry SET kept_at = ? WHERE kept_at IS NULL", (now,)
            )
            given_up = self._connection.execute(
                f"DELETE FROM telemetry WHERE kept_at + {_by_class('lasts')} <= ?",  # noqa: S608 - our own numbers
                (now,),
            ).rowcount
            if len(line) > own.max_bytes:
                given_up += 1
            else:
                self._connection.execute(
                    "INSERT INTO telemetry (kind, line, kept_at) VALUES (?, ?, ?)",
                    (kind, line, now),
                )
                given_up += self._make_room(own)
            if given_up:
                self._set_counter(_DROPPED, str(self.telemetry_dropped() + given_up))

    def _make_room(self, own: ReportClass) -> int:
        """Keep within the bounds, of the class and of all; how many were given up for it."""
        bounds = self._bounds
        rows = self._connection.execute(
            f"SELECT number, kind, length(line) FROM telemetry "  # noqa: S608 - our own numbers
            f"ORDER BY {_by_class('rank')} DESC, number"
        ).fetchall()
        of_class = [(number, size) for number, kind, size in rows if class_of(kind) is own]
        gone = set(
            _oldest(
                of_class,
                most_rows=int(bounds.telemetry_rows * own.share),
                most_bytes=int(bounds.telemetry_bytes * own.share),
            )
        )
        others = used_bytes(self._connection) - sum(size for _, _, size in rows)
        gone |= set(
            _oldest(
                [(number, size) for number, _, size in rows if number not in gone],
                most_rows=bounds.telemetry_rows,
                most_bytes=min(bounds.telemetry_bytes, bounds.max_bytes - others),
            )
        )
        self._forget(gone)
        return len(gone)

    def waiting_telemetry(self, limit: int) -> list[TelemetryRow]:
        """The reports that no broker has acknowledged and that are still worth something.

        What matters most comes first, and of that the oldest.
        """
        with database_errors(self._layout.journal):
            lasts, rank = _by_class("lasts"), _by_class("rank")
            # One that was kept later than now, by a count begun anew, lasts no longer for it.
            rows = self._connection.execute(
                f"SELECT number, kind, line, min({lasts}, coalesce(kept_at, ?1) + {lasts} - ?1) "  # noqa: S608 - our own numbers
                f"AS remains FROM telemetry WHERE remains > 0 ORDER BY {rank}, number LIMIT ?2",
                (self.powered_seen(), limit),
            )
            return [TelemetryRow(*row) for row in rows]

    def forget_telemetry(self, numbers: list[int]) -> None:
        """Take out the reports that the broker took."""
        with self._writing():
            self._forget(numbers)

    def _forget(self, numbers: Iterable[int]) -> None:
        self._connection.executemany(
            "DELETE FROM telemetry WHERE number = ?", [(number,) for number in numbers]
        )

    def telemetry_dropped(self) -> int:
        """How many reports were given up since the journal began: no room, too large, or over."""
        return int(self.counter(_DROPPED, "0"))


def _by_class(member: str) -> str:
    """A number of the report's class, as a database asks for it."""
    cases = " ".join(f"WHEN '{one.kind}' THEN {getattr(one, member)}" for one in CLASSES)
    return f"(CASE kind {cases} ELSE {getattr(HEALTH, member)} END)"


def _oldest(sizes: list[tuple[int, int]], *, most_rows: int, most_bytes: int) -> Iterable[int]:
    """The numbers, from the first on, that must go for the rest to fit."""
    count, size = len(sizes), sum(length for _, length in sizes)
    for number, length in sizes:
        if count <= most_rows and size <= most_bytes:
            return
        yield number
        count, size = count - 1, size - length
