"""What is remembered of servers that failed while another one worked.

It lies in one counter of the journal, an entry for each of them.  Standard library only: supervisor
and ``status`` read it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from primum_agent.journal_port import JournalPort

MIRRORS = "mirrors"
"""The counter."""


@dataclass(frozen=True)
class Demotion:
    """What is remembered of a server that failed.

    Attributes:
        reason: the reason code of what it did last.
        since: when it failed first, by the clock.
        times: how often since.
        until: the powered seconds until which it is asked last.
        lied: whether it sent what cannot be right.
    """

    reason: str
    since: str
    times: int
    until: float
    lied: bool


def demotions_of(journal: JournalPort) -> dict[str, Demotion]:
    """What is remembered, by server."""
    content: dict[str, Any] = json.loads(journal.counter(MIRRORS, "{}"))
    return {name: Demotion(**item) for name, item in content.items()}


def keep_demotions(journal: JournalPort, known: Mapping[str, Demotion]) -> None:
    """Keep it instead of what was there."""
    content = {name: asdict(item) for name, item in known.items()}
    journal.set_counters(mirrors=json.dumps(content, separators=(",", ":")))


def order_of(names: list[str], demoted: Mapping[str, Demotion], *, powered: float) -> list[str]:
    """Servers in the order in which they are asked: who failed last comes last, for a while.

    Args:
        names: in the order of the settings.
        demoted: what is remembered.
        powered: powered seconds by now.
    """

    def rank(name: str) -> float:
        found = demoted.get(name)
        return 0.0 if found is None or found.until <= powered else found.until

    return sorted(names, key=rank)


def told_mirrors(journal: JournalPort) -> list[dict[str, object]]:
    """What ``status`` tells of servers that failed."""
    powered = journal.powered_seen()
    return [
        {
            "server": name,
            "reason": item.reason,
            "since": item.since,
            "times": item.times,
            "askedLastForSeconds": round(max(0.0, item.until - powered)),
        }
        for name, item in demotions_of(journal).items()
    ]
