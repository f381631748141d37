"""Equivocation: the same version of a role with two contents, each validly signed.

Whoever signs one version twice can show two populations two different lists.  The first content
that was trusted is kept, and both are stored as proof.  ``tuf`` hides it in three places, and each
is looked at here:

* a timestamp of the version that is trusted already is dropped unread (TUF 5.4.3.1);
* a snapshot in the cache is taken when its version is the announced one, whatever digest the
  timestamp announces for it;
* a snapshot or targets file of the version in the cache replaces it when the cached one has
  expired or has another digest than announced.

The first two let the run go on: what is trusted stays trusted, and a stolen timestamp key must not
be able to stop a device by signing a version twice.  In the third the trusted content is not the
one that the newer metadata around it speaks of, so the run ends: the device stays with its last
view, and the next version of the role mends it.  In no case does the proof itself block anything.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tuf.api.exceptions import LengthOrHashMismatchError, RepositoryError
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, Targets, Timestamp

from primum_verifier.core.document import canonical_json, sha256_hex
from primum_verifier.core.errors import PrimumError, RefusedError
from primum_verifier.core.reasons import Reason
from primum_verifier.shell.tuf_fetching import StrictMetadataFetcher
from primum_verifier.shell.tuf_keys import TOP_ROLES, voucher_of
from primum_verifier.shell.tuf_scratch import Scratch, file_of

MAX_PROOFS = 8
"""Proofs kept for one authority. The first ones stay: later ones cannot push them out."""

MAX_PROOF_BYTES = 4 * 1024 * 1024
"""Bytes of all proofs of one authority together: forged contents must not fill the disk."""


class Contradiction(StrEnum):
    """How the second content became known."""

    SERVED = "served"
    """A server hands it out; the trusted one is used."""

    ANNOUNCED = "announced"
    """The timestamp announces another digest for the version; that content cannot be had."""

    REPLACING = "replacing"
    """What is newer speaks of the second content, so that nothing can be built on the trusted."""


@dataclass(frozen=True)
class Equivocation:
    """One version of a role with two contents.

    Attributes:
        role: whose version it is.
        version: the version.
        kind: how it became known.
        trusted: the exact file that stays trusted.
        other: the exact file that contradicts it.
    """

    role: str
    version: int
    kind: Contradiction
    trusted: bytes
    other: bytes

    @property
    def name(self) -> str:
        """The name of its proof: the same contradiction has the same name again."""
        return sha256_hex(self.trusted + self.other)[:32]

    @property
    def ends_run(self) -> bool:
        """Whether the run cannot go on with the trusted content."""
        return self.kind is Contradiction.REPLACING

    def proof(self) -> bytes:
        """Both files in one, for a person or an authority to check with public keys alone."""
        return canonical_json(
            {
                "role": self.role,
                "version": self.version,
                "kind": str(self.kind),
                "trusted": self.trusted.decode(),
                "other": self.other.decode(),
            }
        )

    def error(self, authority: str) -> RefusedError:
        """The contradiction as an error."""
        return RefusedError(
            "One version was signed with two contents; the one that was trusted first is kept.",
            reason=Reason.TRUST_EQUIVOCATION,
            where=f"{authority}: {self.role} version {self.version}",
            found=f"{self.kind}, sha256 {sha256_hex(self.other)}",
            expected=f"sha256 {sha256_hex(self.trusted)}",
            remedy="Tell the manufacturer: a key may be stolen. The proof is kept on the device.",
        )


def read_proof(data: bytes) -> Equivocation:
    """A proof as it was kept."""
    content = json.loads(data)
    return Equivocation(
        role=content["role"],
        version=content["version"],
        kind=Contradiction(content["kind"]),
        trusted=content["trusted"].encode(),
        other=content["other"].encode(),
    )


def with_proofs(kept: Mapping[str, bytes], found: Iterable[Equivocation]) -> dict[str, bytes]:
    """The proofs kept so far and the new ones, as far as there is room."""
    proofs = dict(kept)
    for equivocation in found:
        proof = equivocation.proof()
        room = MAX_PROOF_BYTES - sum(len(data) for data in proofs.values())
        if equivocation.name not in proofs and len(proofs) < MAX_PROOFS and len(proof) <= room:
            proofs[equivocation.name] = proof
    return proofs


def second_timestamp(scratch: Scratch, served: bytes | None) -> Equivocation | None:
    """The timestamp that was served against the one of the same version that is trusted."""
    trusted = scratch.data(Timestamp.type)
    if served is None or trusted is None or served == trusted:
        return None
    return _compared(scratch, Timestamp.type, trusted, served, Contradiction.SERVED)


def replaced(scratch: Scratch, role: str) -> Equivocation | None:
    """What the run accepted for a role against the file of the same version in the store."""
    kept, now = scratch.before.get(file_of(role)), scratch.data(role)
    if kept is None or now is None or kept == now:
        return None
    return _compared(scratch, role, kept, now, Contradiction.REPLACING)


def announced_otherwise(
    scratch: Scratch, fetcher: StrictMetadataFetcher, *, metadata_url: str
) -> Equivocation | None:
    """The trusted snapshot against the digest and length that the timestamp announces for it.

    The announced file is asked for: when it says the same and only its signatures are others,
    nobody lied.
    """
    timestamp, snapshot = scratch.metadata(Timestamp.type), scratch.metadata(Snapshot.type)
    trusted = scratch.data(Snapshot.type)
    if timestamp is None or snapshot is None or trusted is None:
        return None
    announced = timestamp.signed.snapshot_meta
    if announced.version != snapshot.signed.version:
        return None
    if _is_as_announced(announced, trusted):
        return None
    prefix = f"{announced.version}." if scratch.root().consistent_snapshot else ""
    try:
        other = fetcher.read(f"{metadata_url}{prefix}snapshot.json")
    except PrimumError:
        other = b""
    if not _is_as_announced(announced, other):
        other = b""
    if _same_content(trusted, other):
        return None
    found = _compared(scratch, Snapshot.type, trusted, other, Contradiction.SERVED)
    if found is not None:
        return found
    return Equivocation(
        role=Snapshot.type,
        version=snapshot.signed.version,
        kind=Contradiction.ANNOUNCED,
        trusted=trusted,
        other=scratch.data(Timestamp.type) or b"",
    )


def _compared(
    scratch: Scratch, role: str, trusted: bytes, other: bytes, kind: Contradiction
) -> Equivocation | None:
    """Both contents as an equivocation; None when either is not signed, or they say the same."""
    first, second = _read(trusted), _read(other)
    if first is None or second is None or first.signed.version != second.signed.version:
        return None
    if first.signed_bytes == second.signed_bytes:
        return None
    voucher = voucher_of(role, scratch)
    if voucher is None or not (_vouched(voucher, role, first) and _vouched(voucher, role, second)):
        # After a change of keys the versions start anew: the old file contradicts nothing.
        return None
    return Equivocation(
        role=role,
        version=first.signed.version,
        kind=kind,
        trusted=trusted,
        other=other,
    )


def _is_as_announced(announced: MetaFile, data: bytes) -> bool:
    try:
        announced.verify_length_and_hashes(data)
    except LengthOrHashMismatchError:
        return False
    return True


def _read(data: bytes) -> Metadata[Any] | None:
    try:
        return Metadata.from_bytes(data)
    except RepositoryError:
        return None


def _same_content(one: bytes, other: bytes) -> bool:
    first, second = _read(one), _read(other)
    return first is not None and second is not None and first.signed_bytes == second.signed_bytes


def _vouched(voucher: Root | Targets, role: str, found: Metadata[Any]) -> bool:
    expected = role if role in TOP_ROLES else Targets.type
    if found.signed.type != expected:
        return False
    try:
        voucher.verify_delegate(role, found.signed_bytes, found.signatures)
    except (RepositoryError, ValueError):
        return False
    return True
