"""The ledger of a locked test set: what was locked, frozen, used and reported, in one signed chain.

Every look at a test set wears it out (C. Dwork et al., Science 349 (2015) 636-638), so each use is
an entry of its own before anything is compared.  An entry names the one before it by the digest of
its signed bytes, and one of the custodians whom the first entry names has signed it.  What was
taken off the end shows where somebody holds a later entry's digest: a protocol, a report, a note.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, model_validator

from primum_verifier.change.comparison_terms import Decision
from primum_verifier.core.document import (
    Count,
    DigestSet,
    Document,
    Name,
    OpenDocument,
    Positive,
    ResourceDescriptor,
    SchemaVersion,
    Sha256,
    Text,
    Time,
    parse_document,
    sha256_hex,
)
from primum_verifier.core.envelope import PublicKey, envelope_lines, open_envelope
from primum_verifier.core.errors import RefusedError
from primum_verifier.core.limits import MAX_LIST
from primum_verifier.core.reasons import Reason

ENTRY_PAYLOAD_TYPE = "application/vnd.primum.test-set-entry+json"
MAX_ENTRIES = 10_000
"""Entries read of one ledger: far more than a test set survives."""


class Locked(Document):
    """The first entry: which cases these are, and who may write here.

    Attributes:
        cases: of the canonical text of the cases; see :func:`cases_sha256` of the release side.
        uses_allowed: by whoever keeps the set; a protocol may allow fewer.
        files: what the cases were read from, each by its digest.
    """

    id: Name
    cases: DigestSet
    patients: Positive
    rows: Positive
    uses_allowed: Positive
    custodians: Annotated[tuple[PublicKey, ...], Field(min_length=1, max_length=16)]
    files: Annotated[tuple[ResourceDescriptor, ...], Field(max_length=MAX_LIST)] = ()


class Frozen(Document):
    """A protocol as it stands from here on."""

    protocol: DigestSet
    protocol_id: Name


class Used(Document):
    """A comparison that is about to begin."""

    protocol: DigestSet
    candidate: DigestSet
    release: DigestSet | None = None
    use_number: Positive
    repeats: Count = 0
    repeat_reason: Text = ""
    deviations: Annotated[tuple[Text, ...], Field(max_length=50)] = ()


class Reported(Document):
    """What came of a use; the report itself is kept beside the ledger, met or not."""

    use_number: Positive
    report: DigestSet
    overall: Decision


class LedgerEntry(OpenDocument):
    """One entry: exactly one thing happened."""

    type: Literal["urn:primum:test-set-entry:v0.1"]
    schema_version: SchemaVersion
    number: Positive
    previous: Sha256 | None = None
    at: Time
    by: Name
    locked: Locked | None = None
    frozen: Frozen | None = None
    used: Used | None = None
    reported: Reported | None = None

    @model_validator(mode="after")
    def _one_thing_happened(self) -> LedgerEntry:
        happened = [self.locked, self.frozen, self.used, self.reported]
        if sum(item is not None for item in happened) != 1:
            raise ValueError("an entry says that exactly one thing happened")
        if (self.locked is not None) != (self.number == 1):
            raise ValueError("a ledger begins with what is locked, and nothing else does")
        return self


@dataclass(frozen=True)
class Ledger:
    """A ledger that was found to be whole.

    Attributes:
        entries: in their order.
        digests: SHA-256 of the signed bytes of each.
    """

    entries: tuple[LedgerEntry, ...]
    digests: tuple[str, ...]

    @property
    def locked(self) -> Locked:
        """What the ledger is about."""
        first = self.entries[0].locked
        if first is None:
            raise RuntimeError("a ledger without its first entry")
        return first

    @property
    def origin(self) -> str:
        """The digest of the first entry; a protocol binds itself to it."""
        return self.digests[0]

    @property
    def head(self) -> str:
        """The digest of the last entry."""
        return self.digests[-1]

    @property
    def uses(self) -> tuple[Used, ...]:
        """Every use, in its order."""
        return tuple(item.used for item in self.entries if item.used is not None)

    def frozen(self, protocol: str) -> LedgerEntry | None:
        """The entry that froze this protocol first, None where none did."""
        frozen = (item for item in self.entries if item.frozen is not None)
        return next(
            (item for item in frozen if item.frozen and item.frozen.protocol.sha256 == protocol),
            None,
        )

    def repeats(self, protocol: str, candidate: str) -> int:
        """How often this candidate was compared by this protocol."""
        return sum(
            (item.protocol.sha256, item.candidate.sha256) == (protocol, candidate)
            for item in self.uses
        )


def read_ledger(data: bytes, *, where: str) -> Ledger:
    """Read a ledger and prove it: order, chain, signatures, counts.

    Raises:
        RefusedError: ``validation.ledger`` naming the first entry that is wrong,
            ``document.invalid`` for one that cannot be read, ``trust.limit`` for too many.
    """
    lines = envelope_lines(data, where=where, at_most=MAX_ENTRIES)
    entries: list[LedgerEntry] = []
    digests: list[str] = []
    custodians: tuple[PublicKey, ...] = ()
    for number, line in enumerate(lines, start=1):
        place = f"{where}: entry {number}"
        # The keys of the first entry stand in itself; who trusts it pinned its digest.
        shown = open_envelope(line, payload_type=ENTRY_PAYLOAD_TYPE, keys=custodians, where=place)
        entry = parse_document(LedgerEntry, shown.payload, where=place)
        if entry.locked is not None and number == 1:
            custodians = entry.locked.custodians
            shown = open_envelope(
                line, payload_type=ENTRY_PAYLOAD_TYPE, keys=custodians, where=place
            )
        if not shown.signers:
            raise _broken(place, "signed by no custodian", "a signature of a custodian")
        _check_order(entry, number, entries, digests, place)
        entries.append(entry)
        digests.append(sha256_hex(line))
    if not entries:
        raise _broken(where, "no entry", "what was locked, as its first entry")
    return Ledger(tuple(entries), tuple(digests))


def _check_order(
    entry: LedgerEntry, number: int, before: list[LedgerEntry], digests: list[str], place: str
) -> None:
    previous = digests[-1] if digests else None
    if entry.number != number or entry.previous != previous:
        raise _broken(
            place,
            f"number {entry.number} after {entry.previous or 'nothing'}",
            f"number {number} after {previous or 'nothing'}",
        )
    if before and entry.at < before[-1].at:
        raise _broken(place, f"{entry.at:%Y-%m-%dT%H:%M:%SZ}", "no earlier than the entry before")
    uses = sum(item.used is not None for item in before)
    if entry.used is not None and entry.used.use_number != uses + 1:
        raise _broken(place, f"use {entry.used.use_number}", f"use {uses + 1}")
    if entry.reported is not None and entry.reported.use_number > uses:
        raise _broken(place, f"a report on use {entry.reported.use_number}", f"at most {uses}")


def _broken(place: str, found: str, expected: str) -> RefusedError:
    return RefusedError(
        "The ledger of the test set is not as it was written.",
        reason=Reason.VALIDATION_LEDGER,
        where=place,
        found=found,
        expected=expected,
        remedy="Put back the ledger from its last copy; entries are only ever added.",
    )
