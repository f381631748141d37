"""When every file of what runs was last held against its digest, kept over restarts.

Every poll and every start do it; where polls are rarer than the period, the supervisor asks for
an attempt that does nothing else.  Standard library only, for the supervisor and ``status``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from primum_agent.clock import Clock, plain_time
from primum_agent.device_state import Generation
from primum_agent.journal_port import JournalPort

HASHED = "hashed"
"""The counter, as JSON; empty before the first time."""


@dataclass(frozen=True)
class Hashed:
    """The last time that it was whole.

    Attributes:
        generation: the generation.
        powered: powered seconds then.
        time: when, by the clock.
    """

    generation: int
    powered: float
    time: str


def last_hashed(journal: JournalPort, used: Generation) -> Hashed | None:
    """When what runs was last found whole; None where it was not since it runs."""
    text = journal.counter(HASHED, "")
    found: Mapping[str, Any] = json.loads(text) if text else {}
    return Hashed(**found) if found.get("generation") == used.number else None


def note_hashed(journal: JournalPort, used: Generation, *, clock: Clock) -> None:
    """What runs was held against its digests just now, and is whole."""
    found = {
        "generation": used.number,
        "powered": round(journal.powered_total(), 3),
        "time": plain_time(clock.now()),
    }
    journal.set_counters(hashed=json.dumps(found))


def hash_age(journal: JournalPort, used: Generation) -> float:
    """Powered seconds since then, or since the journal began where it never was."""
    last = last_hashed(journal, used)
    return journal.powered_seen() - (0.0 if last is None else last.powered)
