"""The holds that this device has met: the same person may hold a release once in 30 days.

They outlive the list they stood on: who takes a hold off the list and signs the next one is
known by the first.  What is kept is bounded, so that a key that signs holds cannot fill the disk.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime

from primum_agent.journal_port import JournalPort
from primum_verifier.core.question import SeenHold

SEEN_HOLDS = "seen-holds"
"""The counter that keeps them, as JSON: for each release a list of notice, person, issue time."""

MAX_RELEASES = 64
"""Releases whose holds are kept; the one that was held longest ago makes room."""

MAX_HOLDS = 32
"""Holds kept for one release; of more, the newest: a later hold is judged by those before it."""


def seen_holds(journal: JournalPort, release: str) -> tuple[SeenHold, ...]:
    """The holds of a release that this device met before."""
    return tuple(
        SeenHold(notice=notice, person_id=person, issued_at=datetime.fromisoformat(issued))
        for notice, person, issued in _kept(journal).get(release, ())
    )


def remember_holds(
    journal: JournalPort, release: str, holds: Iterable[SeenHold], *, until: datetime | None
) -> None:
    """Keep the holds of a verdict.

    Args:
        journal: where they are kept.
        release: the release they are about.
        holds: as the verdict gives them.
        until: the newest time that the clinical authority vouched for. A hold that is dated
            after it has not begun, and many of them must not push out one that has.
    """
    begun = {hold for hold in holds if until is not None and hold.issued_at <= until}
    known = set(seen_holds(journal, release))
    if begun <= known:
        return
    newest = sorted(begun | known, key=lambda hold: (hold.issued_at, hold.notice))[-MAX_HOLDS:]
    others = {name: rows for name, rows in _kept(journal).items() if name != release}
    rows = [[hold.notice, hold.person_id, hold.issued_at.isoformat()] for hold in newest]
    kept = dict([*others.items(), (release, rows)][-MAX_RELEASES:])
    journal.set_counters(seen_holds=json.dumps(kept, separators=(",", ":")))


def _kept(journal: JournalPort) -> dict[str, list[list[str]]]:
    content: dict[str, list[list[str]]] = json.loads(journal.counter(SEEN_HOLDS, "{}"))
    return content
