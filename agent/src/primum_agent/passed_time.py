"""Proven time on this device: what an authority once vouched for goes on with the powered seconds.

A timestamp is signed by an online key.  Whoever steals one may sign an issue time that is old, or
leave it away, but cannot make time stand still: what was known is carried on by seconds that
nobody can argue with, and only a newer issue time moves it further.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from primum_agent.journal_port import JournalPort
from primum_verifier.core.view import AuthorityView, proven_time

_NOTHING = "||"


def passed_time(
    journal: JournalPort, engineering: AuthorityView, clinical: AuthorityView
) -> datetime | None:
    """A moment that has certainly passed; it never falls while the same keys sign it.

    Each authority's moment is kept apart, and :func:`proven_time` takes the older of the two: one
    stolen key moves time neither on nor back.  A root that replaces the keys lets the moment of
    its authority start anew, or a clock that once was wrong at the publisher's could never be
    put right.

    Args:
        journal: keeps both moments; written to only where an issue time says more than is known.
        engineering: the engineering view.
        clinical: the clinical view.
    """
    powered = journal.powered_total()
    carried = [
        replace(view, issued_at=_moment(journal, view, powered=powered))
        for view in (engineering, clinical)
    ]
    return proven_time(carried[0], carried[1], powered_seconds=0.0)


def _moment(journal: JournalPort, view: AuthorityView, *, powered: float) -> datetime | None:
    """What this authority proves: its newest issue time, and the powered seconds since."""
    counter = f"issued-{view.authority}"
    moment, at, keys = (journal.counter(counter, "") or _NOTHING).split("|")
    known = (
        _later(datetime.fromisoformat(moment), powered - float(at))
        if moment and keys == view.time_epoch
        else None
    )
    issued = view.issued_at
    if issued is None or (known is not None and issued <= known):
        return known
    kept = f"{issued.isoformat()}|{powered!r}|{view.time_epoch}"
    journal.set_counters(**{counter.replace("-", "_"): kept})
    return issued


def _later(moment: datetime, seconds: float) -> datetime:
    """The moment some seconds later; a signed year 9999 is as late as it gets, and no crash."""
    try:
        return moment + timedelta(seconds=max(0.0, seconds))
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)
