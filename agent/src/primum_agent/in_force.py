"""The statement in force for what runs: kept with its generation, and never exchanged for an older.

The list may lose the entry of a newer, narrower statement; what runs is judged by that statement
all the same.  The journal says which one is in force, by an event.  Its bytes and terms lie in
the generation's record, beside those of the one before it, so that a cut between the two leaves
either statement whole; there are never more than these two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from primum_agent.content_store import FolderStore
from primum_agent.device import Device
from primum_agent.device_state import Generation
from primum_agent.events import Entry, EventKind
from primum_agent.installer import terms_of
from primum_agent.served_terms import ServedTerms, terms_of_verdict
from primum_verifier.core.document import sha256_hex
from primum_verifier.core.question import Verdict

BEFORE = "before"
"""The member of a record that holds the statement which the newest one in it replaced."""

SERVED_MODES = frozenset({"clinical", "investigational"})
"""The modes that a generation may be used in."""

_IDENTITY = ("statement", "statement_number", "mode")
_VOUCHED_FOR = frozenset({"approvals-stand", "still-listed"})


def record_in_force(store: FolderStore, used: Generation) -> dict[str, Any] | None:
    """A generation's record with the terms of the statement that the journal names.

    Returns:
        None where the record cannot be read.
    """
    record: dict[str, Any] | None = store.record_of(used.number)
    if record is None:
        return None
    before = record.pop(BEFORE, None)
    if isinstance(before, dict) and before.get("statement") == used.statement:
        return {**record, **before}
    return record


def kept_statement(store: FolderStore, used: Generation | None) -> bytes | None:
    """The exact bytes of the statement in force for a generation; None where they are not whole."""
    record = None if used is None else record_in_force(store, used)
    if used is None or record is None:
        return None
    document = str(record.get("statementDocument", "")).encode()
    return document if sha256_hex(document) == used.statement else None


def is_in_force(used: Generation | None, verdict: Verdict) -> bool:
    """Whether a verdict on what runs gives the terms of the very statement that is on record."""
    data = verdict.statement_bytes
    return used is not None and data is not None and sha256_hex(data) == used.statement


def terms_in_force(device: Device, verdict: Verdict) -> ServedTerms | None:
    """The terms that a verdict gives, if it gives them by the statement on record."""
    used = device.journal.state().in_use
    return terms_of_verdict(verdict) if is_in_force(used, verdict) else None


def keep_in_force(device: Device, verdict: Verdict) -> None:
    """Keep the statement by which what runs was judged, if it is not the one on record.

    First the bytes, then the event: from the event on the release runs under it.

    Args:
        device: the device.
        verdict: the verdict on going on with what is in use.

    Raises:
        FailedError: the disk did not take it; the statement on record stands.
    """
    used = device.journal.state().in_use
    if used is None or used.release != verdict.release or is_in_force(used, verdict):
        return
    record = record_in_force(device.store, used)
    if record is None or not _may_replace(device, used, verdict):
        return
    fresh = _under(used, verdict)
    terms = terms_of(verdict)
    left = {name: record[name] for name in (*_IDENTITY, *terms) if name in record}
    named: Mapping[str, object] = {name: asdict(fresh)[name] for name in _IDENTITY}
    device.store.write_record(used.number, {**record, **named, **terms, BEFORE: left})
    device.journal.record(
        Entry(
            kind=EventKind.ELIGIBILITY_RESTATED,
            subject=used.name,
            attempt=device.attempt,
            result="accepted",
            change={"generation": asdict(fresh)},
            detail={
                "statement": fresh.statement,
                "statementNumber": fresh.statement_number,
                "before": used.statement,
                "numberBefore": used.statement_number,
            },
        )
    )


def _may_replace(device: Device, used: Generation, verdict: Verdict) -> bool:
    """A statement that is no older; where the one on record is lost, only one vouched for now.

    The core compares the two where it was handed the one on record.
    """
    statement = verdict.statement
    if statement is None or not terms_of(verdict):
        return False
    if statement.predicate.statement_number < used.statement_number:
        return False
    return kept_statement(device.store, used) is not None or not any(
        check.name in _VOUCHED_FOR and check.stands_in_the_way for check in verdict.checks
    )


def _under(used: Generation, verdict: Verdict) -> Generation:
    """The generation as it is under the statement of the verdict."""
    if verdict.statement is None or verdict.statement_bytes is None:
        raise RuntimeError("a verdict without a statement puts none in force")
    said = verdict.statement.predicate
    return replace(
        used,
        statement=sha256_hex(verdict.statement_bytes),
        statement_number=said.statement_number,
        mode=said.use.mode if said.use.mode in SERVED_MODES else used.mode,
    )
