"""Giving space back, without ever touching what is needed to go back."""

from __future__ import annotations

import json

from primum_agent.agent_choice import read_choice
from primum_agent.components_record import kept_generations
from primum_agent.content_store import ContentStore
from primum_agent.device import Device
from primum_agent.events import Entry, EventKind
from primum_agent.installer import items_of
from primum_agent.journal_port import JournalPort
from primum_agent.lifecycle import State
from primum_verifier.core.document import parse_document
from primum_verifier.core.errors import PrimumError
from primum_verifier.core.manifest import ReleaseManifest
from primum_verifier.core.view import AuthorityView
from primum_verifier.delta.delta_list import DeltaList

KEPT_TO_GO_BACK = 3
"""Proven generations kept besides the active one."""

KEPT_AS_EVIDENCE = 2
"""Generations kept because a notice ordered it; the oldest makes room, or the disk would fill."""


def collect(device: Device, engineering: AuthorityView | None) -> None:
    """Remove old generations, and files that neither a generation nor a known manifest names.

    Only at rest: while something is under way everything stays.
    """
    if device.journal.state().lifecycle is State.IDLE:
        _collect(device, keep_files=_named(engineering, device.store))


def collect_for(device: Device, manifest: ReleaseManifest) -> None:
    """Make room for a release that is about to be fetched: what only other ones need goes, too.

    What is needed to go back stays, and so does what a signed order wants kept.
    """
    if device.journal.state().lifecycle in {State.IDLE, State.DOWNLOADING}:
        _collect(device, keep_files={item.sha256 for item in items_of(manifest)})


def _collect(device: Device, *, keep_files: set[str]) -> None:
    state = device.journal.state()
    proven = [item.number for item in state.generations if item.proven]
    keep = {*proven[-KEPT_TO_GO_BACK - 1 :]}
    if state.active is not None:
        keep.add(state.active)
    keep.update(evidence(device.journal))
    # What the loader starts may be older than what is active, where both hold the same agent.
    keep.update(read_choice(device.layout).kept)
    if state.shadow is not None:
        keep_files |= state.shadow.files
    # So may the files of a component that did not change since.
    keep.update(kept_generations(device.journal))
    gone = device.store.collect(keep=keep, keep_files=keep_files)
    forgotten = [item.number for item in state.generations if item.number not in keep]
    if forgotten:
        device.journal.record(
            Entry(
                kind=EventKind.STORE_COLLECTED,
                attempt=device.attempt,
                result="done",
                change={"collected": forgotten},
                detail={"removed": gone},
            )
        )


def keep_as_evidence(journal: JournalPort, number: int) -> None:
    """Keep the files of a generation that a signed order took away and wants looked into."""
    kept = [item for item in evidence(journal) if item != number]
    journal.set_counters(evidence=json.dumps([*kept, number][-KEPT_AS_EVIDENCE:]))


def evidence(journal: JournalPort) -> list[int]:
    """The generations that are kept as evidence."""
    found: list[int] = json.loads(journal.counter("evidence", "[]"))
    return found


def _named(engineering: AuthorityView | None, store: ContentStore) -> set[str]:
    """Digests that a stored manifest or delta list names: staged releases wait."""
    named: set[str] = set()
    documents = {} if engineering is None else engineering.documents
    for target, document in documents.items():
        try:
            if target.endswith("/manifest.json"):
                manifest = parse_document(ReleaseManifest, document.data, where=target)
                named |= {item.sha256 for item in items_of(manifest)}
            elif target.endswith("/deltas.json"):
                # One that is half fetched is gone on with, until there is what it makes.
                listed = parse_document(DeltaList, document.data, where=target)
                named |= {
                    delta.digest.sha256
                    for delta in listed.deltas
                    if not store.holds(delta.result.sha256)
                }
        except PrimumError:
            continue
    return named
