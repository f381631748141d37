"""Remarks of people at the device: classified in an event, their text kept here and nowhere else.

Text may name a patient.  It lies in the journal's database beside the chain, is in no event, report
or export, goes with a reset, and the oldest makes room.  Its digest is salted, so that a short text
cannot be guessed from the event; salt and text are committed together with it.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any

from primum_agent.clock import Clock, plain_time
from primum_agent.events import Entry, EventKind
from primum_agent.journal_port import JournalPort
from primum_verifier.core.errors import UsageError
from primum_verifier.core.reasons import Reason
from primum_verifier.record.words import (
    MAX_REMARK,
    FeedbackCategory,
    FeedbackRole,
    FeedbackSeverity,
)

KEPT = "remarks"
"""The counter of the journal that keeps the texts."""

MAX_KEPT = 100
"""Texts on a device; the oldest makes room, and its event stays."""

_SALT_BYTES = 16


@dataclass(frozen=True)
class Remark:
    """What a person remarks.

    Attributes:
        text: what was written; empty where nothing was.
    """

    role: FeedbackRole
    category: FeedbackCategory
    severity: FeedbackSeverity
    text: str = ""

    def classified(self) -> dict[str, Any]:
        """What the event says of it, but for its text."""
        return {
            "role": str(self.role),
            "category": str(self.category),
            "severity": str(self.severity),
        }


@dataclass(frozen=True)
class KeptText:
    """One text as it is kept: the event's number, the salt in hexadecimal, and when."""

    event: int
    at: str
    salt: str
    text: str

    @property
    def digest(self) -> str:
        """What the event names it by: SHA-256 over salt and text."""
        return sha256(bytes.fromhex(self.salt) + self.text.encode()).hexdigest()


def remark_text(text: str, *, where: str) -> str:
    """A text as it is kept, on one line.

    Raises:
        UsageError: it is too long, or holds what is no text.
    """
    line = " ".join(text.split())
    if len(line) > MAX_REMARK or (line and not line.isprintable()):
        raise UsageError(
            "The text cannot be kept.",
            reason=Reason.USAGE,
            where=where,
            found=f"{len(line)} characters",
            expected=f"at most {MAX_REMARK} characters of text",
        )
    return line


def remark(journal: JournalPort, said: Remark, *, clock: Clock) -> int:
    """Record it; the number of its event.

    Args:
        journal: the open journal.
        said: the remark.
        clock: the clock port.

    Raises:
        PrimumError: the disk did not take it; nothing was recorded and no text is kept.
    """
    content = said.classified()
    salt = secrets.token_hex(_SALT_BYTES)
    with journal.deciding():
        kept = texts_of(journal)
        if said.text:
            made = KeptText(event=0, at=plain_time(clock.now()), salt=salt, text=said.text)
            content["text"] = {"characters": len(said.text), "digest": made.digest}
        recorded = journal.record(
            Entry(kind=EventKind.FEEDBACK_GIVEN, result="done", feedback=content)
        )
        if said.text:
            kept = [*kept, KeptText(recorded.sequence, made.at, salt, said.text)][-MAX_KEPT:]
            journal.set_counters(remarks=json.dumps([asdict(item) for item in kept]))
    return recorded.sequence


def texts_of(journal: JournalPort) -> list[KeptText]:
    """The texts that are kept, the oldest first."""
    return [KeptText(**item) for item in json.loads(journal.counter(KEPT, "[]"))]
