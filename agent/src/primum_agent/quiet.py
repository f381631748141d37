"""What a whole poll leaves behind where nothing is under way: until when a glance is enough.

A glance asks each authority only whether its timestamp is still the one that was accepted
(:mod:`primum_agent.glance`).  It is taken for nothing but "no need to look": once the time is over,
where an answer is missing or another one, and where anybody asks for a poll, the whole refresh
runs.

It lies in one counter of the journal.  Standard library only: the supervisor reads it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from primum_agent.journal_port import JournalPort
from primum_agent.lifecycle import State

QUIET = "quiet"
"""The counter; empty where only a whole poll will do."""


@dataclass(frozen=True)
class Quiet:
    """What is known after a whole poll.

    Attributes:
        until: the powered seconds until which a glance is enough.
        newest: SHA-256 of the timestamp that was accepted, by authority.
        poll: when the whole poll ended, by the clock.
    """

    until: float
    newest: Mapping[str, str]
    poll: str


def quiet_of(journal: JournalPort) -> Quiet | None:
    """What is known; None where only a whole poll will do."""
    text = journal.counter(QUIET, "")
    if not text:
        return None
    content: dict[str, Any] = json.loads(text)
    found = Quiet(**content)
    at_rest = journal.state().lifecycle is State.IDLE
    return found if at_rest and journal.powered_seen() < found.until else None


def keep_quiet(journal: JournalPort, quiet: Quiet | None) -> None:
    """Keep what a whole poll found, or that there is nothing to keep; written where it differs."""
    text = "" if quiet is None else json.dumps(asdict(quiet), separators=(",", ":"))
    if journal.counter(QUIET, "") != text:
        journal.set_counters(quiet=text)
