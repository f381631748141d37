"""The trust map in force and the roots that it pins, as they lie in the provisioning folder.

Whatever put a map there, a change that was signed or a new provisioning, it is noted here: an
older one is refused, another one is told, and what was accepted under another root is forgotten.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from primum_agent.events import Entry, EventKind
from primum_agent.journal import Journal
from primum_agent.settings import Settings
from primum_agent.trust_journal import JournalTrustStore
from primum_verifier.core.device import TrustMap
from primum_verifier.core.document import parse_document, sha256_hex
from primum_verifier.core.errors import UsageError
from primum_verifier.core.limits import MAX_DOCUMENT_BYTES
from primum_verifier.core.reasons import Reason
from primum_verifier.core.view import CLINICAL, ENGINEERING, SITE


def read_provisioned(path: Path) -> bytes:
    """One file of the provisioning folder.

    Raises:
        UsageError: it is missing, unreadable or too large.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_DOCUMENT_BYTES + 1)
    except OSError as error:
        raise UsageError(
            "The device is not provisioned.",
            reason=Reason.USAGE,
            where=str(path),
            found=error.strerror or str(error),
            remedy="Make the provisioning folder with `primum-repo device`, copy all of it.",
        ) from error
    if len(data) > MAX_DOCUMENT_BYTES:
        raise UsageError(
            "A provisioned file is too large.",
            reason=Reason.USAGE,
            where=str(path),
            expected=f"at most {MAX_DOCUMENT_BYTES} bytes",
        )
    return data


def read_trust_map(settings: Settings) -> TrustMap:
    """The trust map that the device was provisioned with, or that replaced it.

    Raises:
        UsageError: there is none, or it is for another component than the settings.
        RefusedError: it is no trust map.
    """
    trust_map = parse_document(
        TrustMap, read_provisioned(settings.trust_map), where=str(settings.trust_map)
    )
    if trust_map.component != settings.component:
        raise UsageError(
            "The settings are for another component than the trust map.",
            reason=Reason.USAGE,
            where=str(settings.folder / "agent.toml"),
            found=settings.component,
            expected=trust_map.component,
        )
    return trust_map


def read_root(settings: Settings, authority: str, *, digest: str) -> bytes:
    """The root file of an authority that the trust map pins.

    A change of the trust map lays the new root down under its digest first, so that whatever
    instant the power goes the map in force finds the root that it pins.

    Raises:
        UsageError: there is none.
    """
    named = settings.root_under(authority, digest)
    return read_provisioned(named if named.is_file() else settings.root_of(authority))


def pins(trust_map: TrustMap) -> dict[str, str]:
    """The digest of the root that a map pins, for each authority on it."""
    found = {ENGINEERING: trust_map.engineering_root, CLINICAL: trust_map.clinical_root}
    digests = {name: item.sha256 for name, item in found.items()}
    if trust_map.site_root is not None:
        digests[SITE] = trust_map.site_root.sha256
    return digests


def note_trust_map(journal: Journal, trust_map: TrustMap) -> None:
    """Take note of the map in force; another one than before is an event, told once.

    Where a root is another one, what was accepted under the old root is forgotten: until the
    authority was read again nothing new is judged, and what runs goes on.  Floors of keys stay,
    that of the root file begins anew, or an authority that lost its root could never come back.

    Raises:
        RefusedError: ``trust.rollback``: it is older than one that was in force.
    """
    journal.raise_trust_map_floor(trust_map.number)
    before = json.loads(journal.counter("trust-map", "{}"))
    now = {"number": trust_map.number, "sha256": sha256_hex(trust_map.to_bytes())}
    pinned = pins(trust_map)
    if before == {**now, "roots": pinned}:
        return
    if before:
        renewed = [name for name in pinned if before["roots"].get(name) != pinned[name]]
        for name in renewed:
            _begin_anew(JournalTrustStore(journal, name))
        journal.record(
            Entry(
                kind=EventKind.TRUST_CHANGED,
                result="done",
                detail={**now, "before": before["number"], "renewedRoots": renewed},
            )
        )
    journal.set_counters(trust_map=json.dumps({**now, "roots": pinned}))


def _begin_anew(store: JournalTrustStore) -> None:
    trusted = store.load()
    if trusted is not None:
        floors = {name: floor for name, floor in trusted.floors.items() if name != "root"}
        store.save(replace(trusted, metadata={}, view={}, documents={}, floors=floors))
