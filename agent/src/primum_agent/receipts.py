"""Receipts of a receiver on the device: what has arrived for good, kept bounded and exported.

A receipt reaches the device over a channel that carries no authority, so nothing follows from its
arrival: a short-lived child looks whether a receiver that the trust map names signed it for this
device (:mod:`primum_agent.take_receipts`).  Here is what the resident process does: it sets aside
what could be one, in memory, a few at a time.  Taking one is no event: each event leads to a head,
and each head to a receipt.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from primum_agent.journal_chain import payload_of

RECEIPTS = "receipts"
"""The counter that holds those that are kept, as JSON."""

TOPIC = "receipt"
"""The lasting trouble: a receiver countersigned what this journal does not hold."""

MAX_RECEIPT_BYTES = 4096
"""One envelope; larger ones are dropped unread."""

MOST_WAITING = 4
"""Messages set aside until the next look; a flood costs no more than these."""

BETWEEN_SECONDS = 60.0
"""Between two looks: whoever sends junk starts no more than one child a minute."""

_NEWEST_KEPT = 8
_MOST_KEPT = 32
_MAX_SEQUENCE = 2**53


class Counters(Protocol):
    """What of a journal is needed here."""

    def counter(self, name: str, default: str) -> str:
        """One small value."""

    def set_counters(self, **values: str) -> None:
        """Store small values together."""


@dataclass(frozen=True)
class Kept:
    """A receipt that a known receiver signed for this device.

    Attributes:
        sequence: the newest event that it covers.
        hash: that event's digest.
        issued_at: when it was issued, by the receiver's clock, as it is written.
        key_id: the receiver's key.
        agrees: whether the journal held just that event when it came.
        line: the exact envelope.
    """

    sequence: int
    hash: str
    issued_at: str
    key_id: str
    agrees: bool
    line: str


def kept_receipts(journal: Counters) -> list[Kept]:
    """Those that are kept, the newest event last."""
    return [Kept(**item) for item in json.loads(journal.counter(RECEIPTS, "") or "[]")]


def newest_receipt(journal: Counters) -> Kept | None:
    """The newest one that agrees with the journal; None where none does."""
    found = [item for item in kept_receipts(journal) if item.agrees]
    return found[-1] if found else None


def keep_receipts(journal: Counters, added: list[Kept]) -> None:
    """Keep these as well: the newest few, one for each day before, and one that contradicts."""
    known = {(item.agrees, item.sequence, item.hash): item for item in kept_receipts(journal)}
    for item in added:
        known.setdefault((item.agrees, item.sequence, item.hash), item)
    ordered = sorted(known.values(), key=lambda item: (item.sequence, item.issued_at))
    agreeing = [item for item in ordered if item.agrees]
    days = {item.issued_at[:10]: item for item in agreeing[:-_NEWEST_KEPT]}
    kept = [*days.values(), *agreeing[-_NEWEST_KEPT:]][-_MOST_KEPT:]
    contradicting = [item for item in ordered if not item.agrees][-1:]
    text = json.dumps([asdict(item) for item in (*contradicting, *kept)])
    journal.set_counters(receipts=text)


@dataclass
class Arriving:
    """What could be a receipt, set aside in memory until a child looks at it.

    Attributes:
        lines: at most :data:`MOST_WAITING`, in the order in which they came.
        dropped: how many messages were none, were too many, or said nothing new.
    """

    lines: list[bytes] = field(default_factory=list)
    dropped: int = 0

    def hear(self, payload: bytes, *, fleet: str, device_id: str, newest: int) -> None:
        """Set a message aside, or drop it; whose word it is, is not looked at here.

        Args:
            payload: what arrived.
            fleet: the fleet that the device reports to.
            device_id: the device.
            newest: the newest event that a kept receipt covers: what covers no more says nothing.
        """
        could_be = could_be_receipt(payload, fleet=fleet, device_id=device_id, newest=newest)
        if not could_be or payload in self.lines or len(self.lines) >= MOST_WAITING:
            self.dropped += 1
            return
        self.lines.append(payload)

    def hand_over(self) -> list[bytes]:
        """What is to be looked at now; it is set aside no more."""
        found, self.lines = self.lines, []
        return found


def could_be_receipt(payload: bytes, *, fleet: str, device_id: str, newest: int) -> bool:
    """Whether a message has the form of a receipt over more than is known to have arrived."""
    if len(payload) > MAX_RECEIPT_BYTES or b"\n" in payload or b"\r" in payload:
        return False
    try:
        content: dict[str, Any] = payload_of(payload)
    except ValueError:
        return False
    sequence = content.get("sequence")
    if type(sequence) is not int or not newest < sequence <= _MAX_SEQUENCE:
        return False
    return (content.get("fleet"), content.get("deviceId")) == (fleet, device_id)
