"""The journal port: what an attempt and the supervisor's plan write down and look up.

:class:`primum_agent.journal.Journal` is the real one.  Sending, signing, exporting and the store of
trusted views go past this port: they are about that database and ask it directly.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Protocol

from primum_agent.device_state import DeviceState
from primum_agent.events import Entry, EventKind, Recorded
from primum_agent.journal import Journal
from primum_agent.journal_tables import Problem
from primum_verifier.core.errors import FailedError
from primum_verifier.core.reasons import Reason


class JournalPort(Protocol):
    """The port."""

    def record(self, entry: Entry) -> Recorded:
        """Append one event and take the step it reports, together or not at all.

        Raises:
            UnlistedStimulusError: the state table has no such step; nothing was changed.
            FailedError: the storage did not take it; nothing was changed.
            BusyError: the other appender holds the journal too long; nothing was changed.
        """

    def deciding(self) -> AbstractContextManager[None]:
        """Nobody else writes while the block decides by what it reads; one event at most."""

    def state(self) -> DeviceState:
        """The sum of all events."""

    def counter(self, name: str, default: str) -> str:
        """One small value."""

    def set_counters(self, **values: str) -> None:
        """Store small values together; an underscore stands for a dash."""

    def powered_total(self) -> float:
        """Seconds this device has been powered in all, over boots; it never falls."""

    def powered_seen(self) -> float:
        """The same for looking only: nothing is written."""

    def raise_context_floor(self, number: int) -> None:
        """Remember the highest device context number that was accepted."""

    def note_problem(self, *, topic: str, what: str, text: str) -> bool:
        """Count a lasting trouble; whether it is new or another than before on this topic."""

    def clear_problem(self, topic: str) -> Problem | None:
        """Forget a trouble that has ended; the trouble, if there was one."""

    def is_full(self) -> bool:
        """Whether it is at its bound, because nobody acknowledged enough to be pruned."""

    def keep_verdict(self, *, release: str, name: str, verdict: Mapping[str, object]) -> None:
        """Keep the last verdict on a release, in full."""


class FakeJournal(Journal):
    """The double: the real journal over a throw-away folder, full when it is told to be.

    It is no second implementation: state table, chain, sum and transaction are what callers rely
    on, and a copy of them in memory could agree with a test and differ from the device.  A real
    disk cannot be made to fill up between two chosen events; this one is.

    Attributes:
        fails_at: the kind of event that the storage does not take; None takes all.
    """

    fails_at: EventKind | None = None

    def record(self, entry: Entry) -> Recorded:
        """See :class:`JournalPort`."""
        if entry.kind is self.fails_at:
            raise FailedError(
                f"The storage did not take the event {entry.kind}.",
                reason=Reason.RESOURCE_STORAGE,
                where=str(self._layout.journal),
            )
        return super().record(entry)
