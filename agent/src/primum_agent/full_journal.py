"""A journal at its bound holds new updates: what is left is for what runs and what is taken away.

It comes to that only where nobody acknowledges reports for very long, or the key that signs
checkpoints cannot be used: acknowledged events are pruned well before.
"""

from __future__ import annotations

from primum_agent.journal_port import JournalPort
from primum_verifier.core.reasons import Reason

HELD_BY_FULL_JOURNAL = f"waiting: {Reason.RESOURCE_STORAGE}"
"""What the last poll came to."""

_TOPIC = "journal bound"
_TEXT = (
    "The journal is at its bound and holds reports that no broker has acknowledged; no new update "
    "is begun until they are sent, and what runs goes on. Let the device reach its broker, mend "
    "what keeps its key from signing, or raise max_bytes of [journal] in agent.toml."
)


def is_held_by_full_journal(journal: JournalPort) -> bool:
    """Whether no new update may be begun; a lasting trouble for ``status``, told once."""
    if journal.is_full():
        journal.note_problem(topic=_TOPIC, what=str(Reason.RESOURCE_STORAGE), text=_TEXT)
        return True
    journal.clear_problem(_TOPIC)
    return False
