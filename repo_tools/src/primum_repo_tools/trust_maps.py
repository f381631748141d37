"""A change of whom devices believe: one document that the root keys of both manufacturers sign.

It is prepared once, then signed in each workbench in turn.  Whether it is signed enough is asked
of the verifier, over both authorities as devices read them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from tuf.api.metadata import Root

from primum_repo_tools.files import read_input, write_durably
from primum_repo_tools.keys import add_signatures, sign_envelope
from primum_repo_tools.reading import FIRST_ROOT, read_web
from primum_repo_tools.repository import AuthorityRepository
from primum_repo_tools.settings import checked_settings
from primum_repo_tools.workbench import Workbench
from primum_verifier.core.device import TrustMap
from primum_verifier.core.document import parse_document, sha256_hex
from primum_verifier.core.envelope import TRUST_MAP_PAYLOAD_TYPE, open_envelope
from primum_verifier.core.errors import RefusedError, UsageError
from primum_verifier.core.limits import MAX_DOCUMENT_BYTES
from primum_verifier.core.reasons import Reason
from primum_verifier.core.view import RootKeys
from primum_verifier.shell.trust_store import MemoryTrustStore
from primum_verifier.shell.tuf_views import stored_view


@dataclass(frozen=True)
class Signing:
    """How far one root has signed a change.

    Attributes:
        trust_map: what the envelope holds.
        signed: how many keys of this workbench's root signed it.
        threshold: how many must.
    """

    trust_map: TrustMap
    signed: int
    threshold: int


def changed_trust_map(
    current: TrustMap, *, roots: Mapping[str, bytes], changes: Mapping[str, object], now: datetime
) -> TrustMap:
    """The next trust map, with a number above the current one's.

    Args:
        current: the map in force on the devices.
        roots: the first root of each authority that changes.
        changes: further members, by their published names; None drops one.
        now: the moment of issue.

    Raises:
        UsageError: nothing would change, or a value is not allowed.
    """
    content: dict[str, Any] = current.model_dump(mode="json", by_alias=True, exclude_none=True)
    before = dict(content)
    pinned = {f"{name}Root": {"sha256": sha256_hex(data)} for name, data in roots.items()}
    content |= {**pinned, **changes}
    content = {name: value for name, value in content.items() if value is not None}
    if content == before:
        raise UsageError(
            "Nothing on the trust map would change.",
            reason=Reason.USAGE,
            expected="another root, stage, component, allowance or part in exercises",
        )
    content |= {"number": current.number + 1, "id": uuid4().urn, "issuedAt": now.isoformat()}
    return checked_settings(TrustMap, content, where="trust map")


def write_change(folder: Path, trust_map: TrustMap, *, roots: Mapping[str, bytes]) -> Path:
    """Write a change that nobody signed yet, and the roots that it pins anew, for the device."""
    for name, data in roots.items():
        write_durably(folder / f"{name}.root.json", data)
    path = folder / "trust-map.dsse.json"
    data = sign_envelope(trust_map.to_bytes(), payload_type=TRUST_MAP_PAYLOAD_TYPE, signers=[])
    write_durably(path, data)
    return path


def read_trust_map(path: Path) -> TrustMap:
    """Read the trust map of a provisioning folder.

    Raises:
        UsageError: it is missing or none.
    """
    data = read_input(path, what="trust map")
    return _parsed(data, where=str(path))


def signing_of(workbench: Workbench, path: Path, *, now: datetime) -> Signing:
    """What a change says, and how far the root of this workbench has signed it.

    Raises:
        UsageError: it is no change of a trust map.
    """
    data = read_input(path, what="change of the trust map", max_bytes=2 * MAX_DOCUMENT_BYTES)
    root = _root_keys(workbench, now=now)
    try:
        opened = open_envelope(
            data, payload_type=TRUST_MAP_PAYLOAD_TYPE, keys=root.keys, where=str(path)
        )
    except RefusedError as error:
        raise UsageError(
            "This is no change of a trust map.",
            reason=Reason.USAGE,
            where=str(path),
            found=error.found,
            expected=error.expected,
            remedy="Make one: primum-repo trust-map prepare --help",
        ) from error
    return Signing(_parsed(opened.payload, where=str(path)), len(opened.signers), root.threshold)


def sign_change(
    workbench: Workbench, repository: AuthorityRepository, path: Path, *, now: datetime
) -> Signing:
    """Sign a change with the root keys of this workbench, beside those who signed it before."""
    repository.check_clock()
    before = signing_of(workbench, path, now=now)
    data = read_input(path, what="change of the trust map", max_bytes=2 * MAX_DOCUMENT_BYTES)
    signed = add_signatures(data, signers=repository.signers(Root.type), where=str(path))
    write_durably(path, signed)
    workbench.record(
        "trust-map.signed",
        at=now,
        number=before.trust_map.number,
        sha256=sha256_hex(before.trust_map.to_bytes()),
    )
    return signing_of(workbench, path, now=now)


def _root_keys(workbench: Workbench, *, now: datetime) -> RootKeys:
    """The root keys as devices know them: those that are published, not those in the settings."""
    store = MemoryTrustStore()
    first = read_input(workbench.web / "metadata" / FIRST_ROOT, what="first root")
    with read_web(workbench.web, authority=workbench.authority, root=first, store=store, now=now):
        pass
    view = stored_view(workbench.authority, store.load())
    if view is None or view.root_keys is None:
        raise RuntimeError("a run that ended well leaves a view with its root")
    return view.root_keys


def _parsed(data: bytes, *, where: str) -> TrustMap:
    try:
        return parse_document(TrustMap, data, where=where)
    except RefusedError as error:
        raise UsageError(
            "This is no trust map.",
            reason=Reason.USAGE,
            where=where,
            found=error.found,
            expected="trust-map.json of a provisioning folder",
        ) from error
