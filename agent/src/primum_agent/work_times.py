"""How long an update takes on this device: learnt from the last ones, bounded by what is signed.

A battery is weighed against it.  What was learnt is doubled, for a busier day, and is never more
than the bound at which the work would be broken off anyway.  Standard library only: the proof of
health is noted by the supervisor.
"""

from __future__ import annotations

import json
from enum import StrEnum

from primum_agent.journal_port import JournalPort

_LEARNT = 5
_MARGIN = 2.0
_TIMES = "work-times"
_BEGAN = "activation-began"


class Work(StrEnum):
    """What is timed."""

    SELF_TEST = "self-test"
    ACTIVATION = "activation"


def note_time(journal: JournalPort, work: Work, seconds: float) -> None:
    """Remember how long it took; the last few are kept."""
    known: dict[str, list[float]] = json.loads(journal.counter(_TIMES, "{}"))
    known[work] = [*known.get(work, []), round(max(0.0, seconds), 1)][-_LEARNT:]
    journal.set_counters(work_times=json.dumps(known, separators=(",", ":")))


def expected_time(journal: JournalPort, work: Work, *, bound: float) -> float:
    """Seconds that it will take: twice the longest of the last few, else the bound.

    Args:
        journal: what was learnt.
        work: what is to be done.
        bound: after which it is broken off, in seconds.
    """
    known = json.loads(journal.counter(_TIMES, "{}")).get(work, [])
    return min(bound, _MARGIN * max(known)) if known else bound


def activation_begins(journal: JournalPort, *, release: str) -> None:
    """From here to the proof of health it is one activation."""
    journal.set_counters(activation_began=f"{release}|{journal.powered_total()!r}")


def health_is_proven(journal: JournalPort, *, release: str) -> None:
    """The activation of a release ended well; what it took is remembered."""
    began, _, powered = journal.counter(_BEGAN, "").partition("|")
    if began == release:
        note_time(journal, Work.ACTIVATION, journal.powered_total() - float(powered))
        journal.set_counters(activation_began="")
