"""The holds that this device has met: the same person may hold a release once in 30 days.

They outlive the list they stood on: who takes a hold off the list and signs the next one is
known by the first.  What is kept is bounded, so that a key that signs holds cannot fill the disk;
and it is bounded for each person alone, so that nobody's holds push out somebody else's.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import groupby

from primum_agent.journal_port import JournalPort
from primum_verifier.core.limits import HOLD_AGAIN_DAYS
from primum_verifier.core.question import SeenHold

SEEN_HOLDS = "seen-holds"
"""The counter that keeps them, as JSON: for each release a list of notice, person, issue time."""

MAX_RELEASES = 64
"""Releases whose holds are kept; the one that was held longest ago makes room."""

MAX_PEOPLE = 32
"""People whose holds are kept for one release; who held it longest ago makes room."""

HOLDS_PER_PERSON = 4
"""Holds kept of one person for one release, the newest: after thinning they reach back further
than any hold lasts."""

_AGAIN = timedelta(days=HOLD_AGAIN_DAYS)


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
    newest = _within_the_bounds(begun | known)
    if set(newest) == known:
        # What was left out stays on the list: it must not cost a write at every poll.
        return
    others = {name: rows for name, rows in _kept(journal).items() if name != release}
    rows = [[hold.notice, hold.person_id, hold.issued_at.isoformat()] for hold in newest]
    kept = dict([*others.items(), (release, rows)][-MAX_RELEASES:])
    journal.set_counters(seen_holds=json.dumps(kept, separators=(",", ":")))


def _within_the_bounds(holds: Iterable[SeenHold]) -> list[SeenHold]:
    """The holds that decide about a later one, those of each person together."""
    rows = sorted(holds, key=lambda hold: (hold.person_id, hold.issued_at, hold.notice))
    people = [
        _thinned(list(of_one))[-HOLDS_PER_PERSON:]
        for _, of_one in groupby(rows, key=lambda hold: hold.person_id)
    ]
    people.sort(key=lambda of_one: of_one[-1].issued_at)
    return [hold for of_one in people[-MAX_PEOPLE:] for hold in of_one]


def _thinned(of_one: list[SeenHold]) -> list[SeenHold]:
    """Without the holds between two others that are less than 30 days apart.

    Every hold that one of those would forbid is forbidden by the one before it or after it, so
    that a person who signs many forgets none by it, in whatever order they are dated.
    """
    thin: list[SeenHold] = []
    for hold in of_one:
        while len(thin) > 1 and hold.issued_at - thin[-2].issued_at < _AGAIN:
            thin.pop()
        thin.append(hold)
    return thin


def _kept(journal: JournalPort) -> dict[str, list[list[str]]]:
    content: dict[str, list[list[str]]] = json.loads(journal.counter(SEEN_HOLDS, "{}"))
    return content
