"""Views from trusted metadata: versions, expiries, issue time, and who carries a document."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import unquote

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root, Signed, Targets

from primum_verifier.core.document import sha256_hex
from primum_verifier.core.view import AuthorityView, RoleState, SignedDocument
from primum_verifier.shell.trust_store import TrustedSet

ISSUED_AT = "issuedAt"
"""The member of a timestamp's signed part in which our tools sign the issue time."""


def role_states(files: dict[str, bytes]) -> dict[str, RoleState]:
    """Version, expiry and digest of each role in a set of trusted metadata files."""
    found = {}
    for file_name, data in files.items():
        if "/" in file_name:
            continue
        try:
            signed = Metadata.from_bytes(data).signed
        except RepositoryError:
            # A damaged cache is no role; the client asks for it again at its next run.
            continue
        role = unquote(file_name.removesuffix(".json"))
        found[role] = RoleState(
            version=signed.version,
            expires=signed.expires.astimezone(UTC),
            sha256=sha256_hex(data),
        )
    return found


def view_of(
    authority: str, files: dict[str, bytes], documents: dict[str, SignedDocument]
) -> AuthorityView:
    """The view that a set of trusted metadata files and documents gives."""
    issued_at: datetime | None = None
    publics: set[str] = set()
    for file_name, data in files.items():
        if "/" in file_name:
            continue
        try:
            signed: Signed = Metadata.from_bytes(data).signed
        except RepositoryError:
            continue
        if file_name == "timestamp.json":
            issued_at = _moment(signed.unrecognized_fields.get(ISSUED_AT))
        elif isinstance(signed, Root):
            publics |= {str(key.keyval.get("public")) for key in signed.keys.values()}
        elif isinstance(signed, Targets) and signed.delegations is not None:
            publics |= {str(key.keyval.get("public")) for key in signed.delegations.keys.values()}
    return AuthorityView(
        authority=authority,
        roles=role_states(files),
        issued_at=issued_at,
        documents=documents,
        public_keys=frozenset(publics),
    )


def _moment(text: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return moment.astimezone(UTC) if moment.tzinfo is not None else None


def signed_documents(trusted: TrustedSet) -> dict[str, SignedDocument]:
    """The stored documents that stored metadata still signs, each with the role that does."""
    found: dict[str, SignedDocument] = {}
    for file_name, data in trusted.metadata.items():
        if "/" in file_name:
            continue
        try:
            signed: Signed = Metadata.from_bytes(data).signed
        except RepositoryError:
            continue
        if not isinstance(signed, Targets):
            continue
        for target, info in signed.targets.items():
            kept = trusted.documents.get(target)
            if kept is not None and info.hashes.get("sha256") == sha256_hex(kept):
                role = file_name.removesuffix(".json")
                found.setdefault(target, SignedDocument(data=kept, role=role))
    return found
