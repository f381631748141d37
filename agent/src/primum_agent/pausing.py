"""A pause: a person has nothing fetched for releases for some hours, and it is reported.

It ends by itself, by powered hours or by the clock, whichever comes first: a pause that somebody
forgot keeps no device from its updates.  Metadata is read as ever, so that whatever is taken away
arrives.  Standard library only.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from primum_agent.clock import Clock, believed, plain_time
from primum_agent.events import Entry, EventKind
from primum_agent.journal_port import JournalPort
from primum_verifier.core.errors import UsageError
from primum_verifier.core.reasons import Reason

MAX_PAUSE_HOURS = 72.0
"""Three days: who needs longer sets a window, or lets the plan wait."""

PAUSE = "fetching-paused"
"""The counter; empty without one."""

_HOUR = 3600.0


@dataclass(frozen=True)
class Pause:
    """Nothing is fetched for a while.

    Attributes:
        by: who said so.
        until_powered: powered seconds of the device at which it ends.
        until: when it ends by the clock; empty where the clock could not be believed.
    """

    by: str
    until_powered: float
    until: str = ""

    def stands(self, *, powered: float, now: datetime | None) -> bool:
        """Whether it has not lapsed, by powered seconds and by a clock that may be believed."""
        if powered >= self.until_powered:
            return False
        return not self.until or now is None or now < datetime.fromisoformat(self.until)


def pause_of(journal: JournalPort, clock: Clock) -> Pause | None:
    """The pause that stands now."""
    text = journal.counter(PAUSE, "")
    if not text:
        return None
    found = Pause(**json.loads(text))
    return found if found.stands(powered=journal.powered_seen(), now=believed(clock)) else None


def pause_fetching(journal: JournalPort, clock: Clock, *, by: str, hours: float) -> Pause | None:
    """Have nothing fetched for some hours; it is an event in the journal.

    Args:
        journal: the open journal.
        clock: the clock port.
        by: who.
        hours: for how long, up to :data:`MAX_PAUSE_HOURS`; 0 ends one that stands.

    Returns:
        The pause; None where it was ended.

    Raises:
        UsageError: the hours are out of bounds.
    """
    if not 0 <= hours <= MAX_PAUSE_HOURS:
        raise UsageError(
            "A pause is bounded.",
            reason=Reason.USAGE,
            where="--hours",
            found=f"{hours:g}",
            expected=f"0 to {MAX_PAUSE_HOURS:g}",
        )
    powered, now = journal.powered_total(), believed(clock)
    until = "" if now is None else plain_time(now + timedelta(hours=hours))
    pause = Pause(by=by, until_powered=powered + hours * _HOUR, until=until) if hours else None
    journal.record(
        Entry(
            kind=EventKind.UPDATE_PAUSED if pause else EventKind.UPDATE_RESUMED,
            result="accepted",
            detail={"by": by, "hours": hours, "until": until if hours else ""},
        )
    )
    journal.set_counters(fetching_paused="" if pause is None else json.dumps(asdict(pause)))
    return pause
