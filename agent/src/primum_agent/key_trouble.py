"""A key that cannot be used is told once and counted, and so is the end of that trouble.

Whoever opens the key says so here: the child that signs, and each attempt.  Events wait unsigned
meanwhile; what runs goes on, and what is to be taken away is.
"""

from __future__ import annotations

from primum_agent.events import Entry, EventKind
from primum_agent.journal_port import JournalPort
from primum_agent.key_errors import UnusableKeyError
from primum_agent.signer import RecordedKey, Signer
from primum_verifier.core.errors import PrimumError, UsageError

KEY_IN_USE = "key-in-use"
"""The counter with the id of the changed key whose first use was recorded."""

KEY_TOPIC = "device key"
"""The lasting trouble under which it stands in ``status`` and ``doctor``."""


def note_key_trouble(journal: JournalPort, error: PrimumError) -> bool:
    """Count it; whether it is new, and was recorded."""
    new = journal.note_problem(topic=KEY_TOPIC, what=str(error.reason), text=error.for_people())
    if new:
        journal.record(
            Entry(
                kind=EventKind.KEY_FAILED,
                result="failed",
                reasons=(str(error.reason),),
                detail={**error.as_dict()},
            )
        )
    return new


def note_key_works(journal: JournalPort) -> bool:
    """The key signs again; recorded where it did not before, and whether it was."""
    ended = journal.clear_problem(KEY_TOPIC)
    if ended is not None:
        detail = {"after": ended.times, "was": ended.what}
        journal.record(Entry(kind=EventKind.KEY_WORKS, result="done", detail=detail))
    return ended is not None


def note_key_in_use(journal: JournalPort, signer: Signer) -> bool:
    """Record once that a changed key signs here; whether it was recorded now."""
    key = signer.public_key().key_id
    if journal.state().device_key != key or journal.counter(KEY_IN_USE, "") == key:
        return False
    journal.record(Entry(kind=EventKind.KEY_IN_USE, result="done", detail={"keyId": key}))
    journal.set_counters(key_in_use=key)
    return True


def is_of_the_key(error: PrimumError) -> bool:
    """Whether it is the key that cannot be used, and not the journal or the disk."""
    return isinstance(error, (UnusableKeyError, UsageError))


def problem_of(signer: Signer) -> PrimumError | None:
    """Why a key cannot be used; None where it can."""
    return signer.problem if isinstance(signer, RecordedKey) else None
