"""Whether what a broker took ever arrives: what ``doctor`` tells of receipts.

A broker's acknowledgement says that a message was taken.  Only a receipt of a receiver that the
trust map names says that the chain is held, so here the oldest event is looked for that a broker
took and no receipt covers, and how long that has been so.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta

from primum_agent.clock import Clock, ClockQuality, believed
from primum_agent.finding import Finding
from primum_agent.journal import Journal
from primum_agent.journal_outbox import Sent
from primum_agent.receipts import Kept, newest_receipt

WHAT = "receipts"

LATE = timedelta(days=1)
"""A receiver answers within a minute: what has no receipt after this long needs a person."""

_NAME_ONE = (
    "Name the receiver: `primum-repo trust-map prepare --receiver FILE`; until then nobody but "
    "the broker says what arrived."
)
_LOOK = (
    "Look at the receiver: `primum-repo fleet ingest` has to run with --key, the trust map has to "
    "name that key, and the broker has to let this device read its topic ending in `/receipt`."
)


@dataclass(frozen=True)
class _Unreceived:
    """The oldest event that a broker took and no receipt covers."""

    sequence: int
    recorded: datetime | None


def receipts_found(journal: Journal, *, receivers: int, needed: bool, clock: Clock) -> Finding:
    """What is known to have arrived, and whether receipts come at all.

    Args:
        journal: the open journal.
        receivers: how many receivers the trust map names.
        needed: whether events are pruned only once a receipt covers them.
        clock: the clock port.

    Returns:
        The finding: well, unless receipts are due for longer than :data:`LATE`, or are needed
        and nobody is named who could give one.
    """
    newest = newest_receipt(journal)
    if not receivers:
        found = "the trust map names no receiver" + (
            ", and events wait for a receipt before they are pruned" if needed else ""
        )
        return Finding(WHAT, well=not needed, found=found, remedy=_NAME_ONE, note=True)
    now = believed(clock)
    missing = _oldest_unreceived(journal, 0 if newest is None else newest.sequence)
    found = _newest(newest, last=journal.last_sequence(), now=now)
    if missing is None:
        return Finding(WHAT, well=True, found=found)
    late = None if now is None or missing.recorded is None else now - missing.recorded
    found += f"; event {missing.sequence} was acknowledged and is not known to have arrived"
    if late is not None:
        found += f", recorded {_for_people(late)} ago"
    return Finding(WHAT, well=late is None or late <= LATE, found=found, remedy=_LOOK)


def _oldest_unreceived(journal: Journal, received: int) -> _Unreceived | None:
    """The oldest event beyond a number that a broker took."""
    rows = journal.acknowledged(Sent(received, is_head=True), 1)
    if not rows or rows[0].is_head:
        return None
    content = json.loads(rows[0].line)
    trusted = content["data"]["clock"]["quality"] != ClockQuality.UNSET
    recorded = datetime.fromisoformat(content["recordedtime"])
    return _Unreceived(rows[0].sequence, recorded if trusted else None)


def _newest(newest: Kept | None, *, last: int, now: datetime | None) -> str:
    if newest is None:
        return "none of a known receiver yet"
    found = f"to event {newest.sequence} of {last}, countersigned {newest.issued_at}"
    age = None if now is None else now - datetime.fromisoformat(newest.issued_at)
    # Both clocks may be wrong: a receipt of the future has no age.
    return found if age is None or age < timedelta() else f"{found} ({_for_people(age)} ago)"


def _for_people(span: timedelta) -> str:
    hours = span.total_seconds() / 3600
    if hours < 1:
        return f"{span.total_seconds() / 60:.0f} minutes"
    return f"{hours:.1f} hours" if hours < 48 else f"{hours / 24:.1f} days"  # noqa: PLR2004
