"""One authority as it was last accepted: the versions, the expiries and the documents to judge by.

A verdict is over one immutable pair of views and names both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from primum_verifier.core.document import canonical_json, sha256_hex
from primum_verifier.core.envelope import PublicKey

ENGINEERING = "engineering"
CLINICAL = "clinical"
SITE = "site"


@dataclass(frozen=True)
class RoleState:
    """One role of one authority.

    Attributes:
        version: its accepted version.
        expires: until when its keys vouch for it.
        sha256: the digest of the exact metadata file.
    """

    version: int
    expires: datetime
    sha256: str


@dataclass(frozen=True)
class SignedDocument:
    """A document's exact bytes, and the role whose signatures carry them."""

    data: bytes
    role: str


@dataclass(frozen=True)
class RootKeys:
    """Who answers for a whole authority.

    Attributes:
        keys: the public keys of its root role.
        threshold: how many of them must sign.
    """

    keys: tuple[PublicKey, ...]
    threshold: int


@dataclass(frozen=True)
class AuthorityView:
    """What one authority says, as last accepted by the TUF client.

    Attributes:
        authority: ``engineering``, ``clinical`` or ``site``.
        roles: the state of each role that was loaded.
        issued_at: the issue time signed into the timestamp, where there is one.
        documents: the small documents by target name.
        public_keys: every public key that counts for any role of this authority.
        awaited: what is known to be newer and has not arrived whole; empty when nothing is.
        time_epoch: the digest of the keys that sign the issue time.
        root_keys: who answers for the whole authority; None where no root was loaded.
    """

    authority: str
    roles: Mapping[str, RoleState]
    issued_at: datetime | None
    documents: Mapping[str, SignedDocument]
    public_keys: frozenset[str]
    awaited: str = ""
    time_epoch: str = ""
    root_keys: RootKeys | None = None

    @property
    def view_id(self) -> str:
        """One digest that names this view: authority, and version and digest of each role."""
        content = {
            "authority": self.authority,
            "roles": {name: [state.version, state.sha256] for name, state in self.roles.items()},
        }
        return sha256_hex(canonical_json(content))

    def document(self, target: str, *, roles: frozenset[str]) -> bytes | None:
        """The bytes of a document, only if one of ``roles`` carries it; None when it is not there.

        A document that another role slipped in is as good as absent.
        """
        found = self.documents.get(target)
        return found.data if found is not None and found.role in roles else None


def proven_time(
    engineering: AuthorityView, clinical: AuthorityView, *, powered_seconds: float
) -> datetime | None:
    """A moment that has certainly passed, whatever the device's clock says.

    Args:
        engineering: the engineering view.
        clinical: the clinical view.
        powered_seconds: seconds the device has run since it accepted the older of the two.

    Returns:
        The older of the newest issue times that the two authorities signed, plus the seconds
        the device has been running since; None when either never signed one.
    """
    if engineering.issued_at is None or clinical.issued_at is None:
        return None
    return min(engineering.issued_at, clinical.issued_at) + timedelta(
        seconds=max(0.0, powered_seconds)
    )
