"""Views from trusted metadata: versions, expiries, issue time, and who carries a document."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from securesystemslib.signer import SSlibKey
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Delegations, Metadata, Root, Signed, Targets, Timestamp

from primum_verifier.core.document import canonical_json, in_range, sha256_hex
from primum_verifier.core.envelope import PublicKey, public_key_of
from primum_verifier.core.errors import RefusedError
from primum_verifier.core.reasons import Reason
from primum_verifier.core.view import AuthorityView, RoleState, RootKeys, SignedDocument
from primum_verifier.shell.trust_store import TrustedSet
from primum_verifier.shell.tuf_delegations import walk
from primum_verifier.shell.tuf_keys import public_of
from primum_verifier.shell.tuf_scratch import role_of_file

ISSUED_AT = "issuedAt"
"""The member of a timestamp's signed part in which our tools sign the issue time."""

_MOST_KEPT = 32
_MOST_KEPT_BYTES = 16 * 1024
"""How many parsed files are kept, and of which size: half a mebibyte of files at most."""

_ONLINE = frozenset({"timestamp", "snapshot"})
"""The roles whose keys lie on a server; every other is signed by people."""


def read_signed(data: bytes) -> Signed:
    """What a metadata file says; whoever is given it only reads.

    One attempt asks for the same views again and again: small files are parsed once.

    Raises:
        RepositoryError: it is no metadata file.
    """
    return _kept(data) if len(data) <= _MOST_KEPT_BYTES else _parsed(data)


def _parsed(data: bytes) -> Signed:
    signed: Signed = Metadata.from_bytes(data).signed
    return signed


_kept = lru_cache(maxsize=_MOST_KEPT)(_parsed)


def role_states(files: Mapping[str, bytes]) -> dict[str, RoleState]:
    """Version, expiry and digest of each role in a set of trusted metadata files."""
    found = {}
    for file_name, data in files.items():
        if "/" in file_name:
            continue
        try:
            signed = read_signed(data)
        except RepositoryError:
            # A damaged cache is no role; the client asks for it again at its next run.
            continue
        found[role_of_file(file_name)] = RoleState(
            version=signed.version,
            expires=signed.expires.astimezone(UTC),
            sha256=sha256_hex(data),
        )
    return found


def view_of(
    authority: str, files: Mapping[str, bytes], documents: Mapping[str, SignedDocument]
) -> AuthorityView:
    """The view that a set of trusted metadata files and documents gives.

    A role that is spread over hash bins is as fresh as its stalest part: its state carries the
    earliest expiry of its own and of the bins that were used. So a rule that asks for the role,
    and knows of no bins, is strict by itself. The bins stand beside it under their own names, so
    that the digest of the view names their exact metadata too.

    The issue time counts no further than the earliest end of what people sign: metadata that
    has ended is published by nobody, so whoever holds the online keys alone can hurry proven
    time no further than that.
    """
    issued_at: datetime | None = None
    publics: set[str] = set()
    time_epoch = ""
    root_keys: RootKeys | None = None
    for file_name, data in files.items():
        if "/" in file_name:
            continue
        try:
            signed = read_signed(data)
        except RepositoryError:
            continue
        if isinstance(signed, Timestamp):
            issued_at = issue_time(signed)
        elif isinstance(signed, Root):
            listed = [keyid for role in signed.roles.values() for keyid in role.keyids]
            publics |= {public_of(signed.keys[keyid]) for keyid in listed if keyid in signed.keys}
            signers = sorted(_timestamp_signers(signed))
            time_epoch = sha256_hex(canonical_json(signers))
            root_keys = _root_keys(signed)
        elif isinstance(signed, Targets) and signed.delegations is not None:
            publics |= _delegated_to(signed.delegations)
    roles = _with_bins(role_states(files), _listing(files))
    ends = [state.expires for name, state in roles.items() if name not in _ONLINE]
    return AuthorityView(
        authority=authority,
        roles=roles,
        issued_at=None if issued_at is None else min([issued_at, *ends]),
        documents=documents,
        public_keys=frozenset(publics),
        time_epoch=time_epoch,
        root_keys=root_keys,
    )


def _root_keys(root: Root) -> RootKeys:
    """The keys that answer for the authority, as far as they are of a kind known here."""
    role = root.roles[Root.type]
    keys: dict[str, PublicKey] = {}
    for keyid in role.keyids:
        listed = root.keys.get(keyid)
        if isinstance(listed, SSlibKey):
            with suppress(ValueError):
                keys.setdefault(public_of(listed), public_key_of(listed))
    return RootKeys(tuple(keys.values()), role.threshold)


def _delegated_to(delegations: Delegations) -> set[str]:
    """The public keys that a role is given to; a key that no role uses counts for nothing."""
    listed = [keyid for role in (delegations.roles or {}).values() for keyid in role.keyids]
    if delegations.succinct_roles is not None:
        listed += delegations.succinct_roles.keyids
    return {public_of(delegations.keys[keyid]) for keyid in listed if keyid in delegations.keys}


def _timestamp_signers(root: Root) -> set[str]:
    """The public keys that may sign a timestamp; an id without a key is nobody (TUF 5.3.4)."""
    keyids = root.roles["timestamp"].keyids
    return {public_of(root.keys[keyid]) for keyid in keyids if keyid in root.keys}


def issue_time(timestamp: Timestamp) -> datetime | None:
    """The signed issue time, None where there is none that a device can compute with.

    An issue time after the timestamp's own end is none: nobody vouches for it.
    """
    text = timestamp.unrecognized_fields.get(ISSUED_AT)
    try:
        moment = datetime.fromisoformat(str(text))
        if moment.tzinfo is None:
            return None
        moment = in_range(moment)
    except (ValueError, OverflowError):
        return None
    return moment if moment <= timestamp.expires.astimezone(UTC) else None


def check_issue_time(authority: str, folder: Path) -> None:
    """Refuse a timestamp whose issue time is there and is no time.

    Raises:
        RefusedError: ``trust.metadata``.
    """
    timestamp = Metadata[Timestamp].from_file(str(folder / "timestamp.json")).signed
    if ISSUED_AT in timestamp.unrecognized_fields and issue_time(timestamp) is None:
        raise RefusedError(
            "The timestamp's issue time is no time that the timestamp vouches for.",
            reason=Reason.TRUST_METADATA,
            where=f"{authority}: timestamp",
            found=str(timestamp.unrecognized_fields[ISSUED_AT])[:40],
            expected="an RFC 3339 time not after the timestamp's own end",
            remedy="The publisher must sign the timestamp again with a right clock.",
        )


def awaited_by(trusted: TrustedSet) -> str:
    """What is known to be newer than the view and has not arrived whole; empty when nothing is."""
    known = role_states(trusted.metadata).get("timestamp")
    judged = role_states(trusted.view).get("timestamp")
    if known is None or judged is None or known.version <= judged.version:
        return ""
    return f"timestamp {known.version} was accepted, what it announces has not arrived whole"


def stored_view(authority: str, trusted: TrustedSet | None) -> AuthorityView | None:
    """The view to judge by: the last run that ended well; None when none ever did."""
    if trusted is None or not trusted.view:
        return None
    view = view_of(authority, trusted.view, signed_documents(trusted))
    return replace(view, awaited=awaited_by(trusted))


def signed_documents(trusted: TrustedSet) -> dict[str, SignedDocument]:
    """The documents that the view signs, each with the role that may and does sign it."""
    roles = _listing(trusted.view)
    found: dict[str, SignedDocument] = {}
    for target, kept in trusted.documents.items():
        for visit in walk(target, roles.get):
            info = None if visit.targets is None else visit.targets.targets.get(target)
            if info is not None:
                # The first role that lists it is the one to believe, also when it says otherwise.
                if info.hashes.get("sha256") == sha256_hex(kept):
                    found[target] = SignedDocument(data=kept, role=visit.carrier)
                break
    return found


def _listing(files: Mapping[str, bytes]) -> dict[str, Targets]:
    """The roles that list targets, with what they say."""
    found = {}
    for file_name, data in files.items():
        if "/" in file_name:
            continue
        try:
            signed = read_signed(data)
        except RepositoryError:
            continue
        if isinstance(signed, Targets):
            found[role_of_file(file_name)] = signed
    return found


def _with_bins(
    states: Mapping[str, RoleState], listing: Mapping[str, Targets]
) -> dict[str, RoleState]:
    """Each role with the earliest expiry of itself and of its bins."""
    found = dict(states)
    for role, targets in listing.items():
        bins = None if targets.delegations is None else targets.delegations.succinct_roles
        if bins is not None and bins.name_prefix == role:
            ends = [state.expires for name, state in states.items() if bins.is_delegated_role(name)]
            found[role] = replace(found[role], expires=min([found[role].expires, *ends]))
    return found
