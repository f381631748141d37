"""What a device remembers of deltas: which ones failed here, and how many bytes they saved."""

from __future__ import annotations

import json

from primum_agent.journal_port import JournalPort

MOST_FAILED = 50
"""Deltas remembered; the oldest is forgotten first, and would only cost its bytes again."""

_FAILED, _SAVED = "deltas-failed", "deltas-saved"


def failed_deltas(journal: JournalPort) -> frozenset[str]:
    """SHA-256 of the deltas that did not make their file on this device."""
    return frozenset(_failed(journal))


def remember_failed(journal: JournalPort, sha256: str) -> None:
    """Never take this delta again."""
    known = [item for item in _failed(journal) if item != sha256]
    journal.set_counters(deltas_failed=json.dumps([*known, sha256][-MOST_FAILED:]))


def saved_bytes(journal: JournalPort) -> int:
    """Bytes that did not have to be fetched since this device was set up."""
    return int(journal.counter(_SAVED, "0"))


def add_saved(journal: JournalPort, count: int) -> None:
    """Count bytes that a delta saved."""
    journal.set_counters(deltas_saved=str(saved_bytes(journal) + count))


def _failed(journal: JournalPort) -> list[str]:
    found: list[str] = json.loads(journal.counter(_FAILED, "[]"))
    return found
