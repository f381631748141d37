"""The broker takes the connection and soon ends it, again and again: an alarm, and patience.

It may be a second device with this one's id and certificate: each throws the other out, so that
neither reports for long, and one that came back at once would only go round faster.  Some brokers
say so as they end the connection; some only end it, as one that is overloaded or hostile does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from primum_agent.events import Entry, EventKind
from primum_agent.journal import Journal
from primum_agent.journal_schema import DamagedJournalError
from primum_verifier.core.errors import PrimumError
from primum_verifier.core.reasons import Reason

TOPIC = "broker"
"""The lasting trouble that ``status`` shows and health reports carry."""

MANY_SHORT = 4
"""Connections in a row that were accepted and soon ended; one or two are the network's."""

PATIENCE_SECONDS = 3600.0
"""For so long after a broker named another device, what is acknowledged shortens no back-off."""

OVER_SECONDS = 86_400.0
"""After so long without it the trouble has ended; it is told once in a day at most."""

_TEXTS = {
    Reason.BROKER_TAKEN_OVER: (
        "Somebody else connects to the broker under this device's id, and each throws the other "
        "out. Find the second device, or withdraw the certificate that was copied; reports wait."
    ),
    Reason.BROKER_UNSTABLE: (
        "The broker takes the connection and soon ends it, again and again; reports wait. Look at "
        "its log: is there a second device with this one's id and certificate?"
    ),
}


@dataclass
class TakenOver:
    """When that happened last, on a clock that never goes back."""

    short: int = 0
    named: float = -math.inf
    last: float = -math.inf
    _untold: Reason | None = None
    _looked: bool = False

    def happened(self, now: float) -> None:
        """The broker says that another one came under this device's id."""
        self.named = self.last = now
        self._untold = Reason.BROKER_TAKEN_OVER

    def ended(self, now: float, *, after: float, enough: float) -> None:
        """A connection that the broker had accepted ended.

        Args:
            now: seconds of a clock that never goes back.
            after: seconds for which it stood.
            enough: seconds after which it was a good one.
        """
        self.short = 0 if after > enough else self.short + 1
        if self.short >= MANY_SHORT:
            self.last = now
            self._untold = self._untold or Reason.BROKER_UNSTABLE

    def asks_for_patience(self, now: float) -> bool:
        """Whether another device was named not long ago."""
        return now - self.named < PATIENCE_SECONDS

    def tell(self, journal: Journal, now: float) -> None:
        """Record it, once for as long as it lasts, and that it is over.

        Raises:
            DamagedJournalError: whatever else the storage does not take is tried again.
        """
        try:
            self._tell(journal, now)
        except DamagedJournalError:
            raise
        except PrimumError:
            # A disk that takes nothing must not keep the reporter from sending what waits.
            return

    def _tell(self, journal: Journal, now: float) -> None:
        if not self._looked:
            # Told by an agent that ended meanwhile: its day begins anew.
            if any(item.topic == TOPIC for item in journal.problems()):
                self.last = max(self.last, now)
            self._looked = True
        if self._untold is not None:
            what = str(self._untold)
            if journal.note_problem(topic=TOPIC, what=what, text=_TEXTS[self._untold]):
                journal.record(
                    Entry(kind=EventKind.BROKER_UNSTABLE, result="failed", reasons=(what,))
                )
            self._untold = None
        elif math.isfinite(self.last) and now - self.last >= OVER_SECONDS:
            journal.clear_problem(TOPIC)
            self.last = -math.inf
