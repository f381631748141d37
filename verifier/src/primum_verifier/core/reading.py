"""All documents that bear on one release, each parsed once; what cannot be read is named.

A document that fails to parse is as good as absent for every rule that needs it, and the error
stands beside it so that the refusal can explain itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel

from primum_verifier.core.approval import POLICY_TARGET, ApprovalPolicy, ApprovalStatement, Person
from primum_verifier.core.device import (
    PROVISIONING_TARGET,
    DeviceContext,
    ProvisioningKeys,
)
from primum_verifier.core.document import OpenDocument, parse_document, sha256_hex
from primum_verifier.core.eligibility import (
    ELIGIBILITY_ROLE,
    INDEX_TARGET,
    EligibilityIndex,
    EligibilityStatement,
    IndexEntry,
    approvals_target,
    statement_target,
)
from primum_verifier.core.envelope import (
    CONTEXT_PAYLOAD_TYPE,
    INTOTO_PAYLOAD_TYPE,
    envelope_lines,
    open_envelope,
)
from primum_verifier.core.errors import PrimumError
from primum_verifier.core.limits import MAX_APPROVALS, MAX_NOTICES
from primum_verifier.core.manifest import MANIFEST_ROLE, ReleaseManifest
from primum_verifier.core.notice import NOTICES_TARGET, SAFETY_ROLE, SafetyNoticeStatement
from primum_verifier.core.question import Question
from primum_verifier.core.site import ACCEPTANCE_TARGET, SiteAcceptance
from primum_verifier.core.view import AuthorityView
from primum_verifier.core.vocabulary import Function

_Model = TypeVar("_Model", bound=BaseModel)
_TOP = frozenset({"targets"})
_ELIGIBILITY = frozenset({ELIGIBILITY_ROLE})
_SAFETY = frozenset({SAFETY_ROLE})

CONTEXT = "device context"
KEPT_STATEMENT = "statement kept at activation"


@dataclass(frozen=True)
class SignedApproval:
    """An approval, and the person of the policy whose key signed it."""

    statement: ApprovalStatement
    person: Person


@dataclass(frozen=True)
class SignedNotice:
    """A safety notice, and the distinct people whose signature under it counts."""

    statement: SafetyNoticeStatement
    people: tuple[Person, ...]

    @property
    def functions(self) -> frozenset[Function]:
        """The functions in which they signed it."""
        return frozenset(person.function for person in self.people)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """The documents that bear on one release; None where absent or unreadable.

    Attributes:
        manifest_target: the name under which the manifest stands; empty when it does not.
        context_signers: how many keys that both authorities list signed the context.
        context_threshold: how many must; None when a list of them is missing.
        context_trusted: whether enough did, for the key that this device holds, and no newer
            context was ever accepted.
        entry: the entry of the release on the list; of several the strictest.
        contradicted: whether several entries say different things of this release.
        unread_entries: how many entries of the list cannot be read.
        approvals: every approval of the statement by a person of the policy, counting or not.
        statement_digest: SHA-256 of the listed statement; None for one kept at activation.
        notices: every notice that names this release.
        ways_back: every notice that orders devices to go back to this release.
        kept: the statement under which the release was activated here, for what runs.
        notices_there: whether the notices were there and not too many to be read.
        notices_whole: whether the notices were there and every line of them could be read.
        problems: for a document that was there and could not be read, what was wrong with it.
    """

    manifest: ReleaseManifest | None
    manifest_target: str
    context: DeviceContext | None
    context_signers: int
    context_threshold: int | None
    context_trusted: bool
    policy: ApprovalPolicy | None
    index: EligibilityIndex | None
    entry: IndexEntry | None
    contradicted: bool
    unread_entries: int
    statement: EligibilityStatement | None
    statement_digest: str | None
    statement_bytes: bytes | None
    kept: EligibilityStatement | None
    approvals: tuple[SignedApproval, ...]
    notices: tuple[SignedNotice, ...]
    ways_back: tuple[SignedNotice, ...]
    notices_there: bool
    notices_whole: bool
    acceptance: SiteAcceptance | None
    problems: dict[str, PrimumError]

    @property
    def not_understood(self) -> tuple[str, ...]:
        """The members that this build does not know, each with its document."""
        opened: dict[str, OpenDocument | None] = {
            "release manifest": self.manifest,
            CONTEXT: self.context,
            "approval policy": self.policy,
            "eligibility index": self.index,
            "eligibility statement": None if self.statement is None else self.statement.predicate,
        }
        return tuple(
            f"{where}: {member}"
            for where, document in opened.items()
            if document is not None
            for member in document.not_understood
        )


class _Reader:
    """Reads documents one by one and remembers what could not be read."""

    def __init__(self) -> None:
        self.problems: dict[str, PrimumError] = {}

    def parse(self, model: type[_Model], data: bytes | None, where: str) -> _Model | None:
        if data is None:
            return None
        try:
            return parse_document(model, data, where=where)
        except PrimumError as error:
            self.problems[where] = error
            return None

    def envelopes(
        self,
        model: type[_Model],
        data: bytes | None,
        people: tuple[Person, ...],
        *,
        where: str,
        at_most: int,
    ) -> Iterator[tuple[_Model, tuple[Person, ...], str]]:
        """The statements of a JSON-lines file: who signed each, and the SHA-256 of its payload."""
        signer = {person.key.public: person for person in people}
        for number, line in enumerate(self._lines(data, where, at_most), start=1):
            place = f"{where}:{number}"
            try:
                opened = open_envelope(
                    line,
                    payload_type=INTOTO_PAYLOAD_TYPE,
                    keys=tuple(person.key for person in people),
                    where=place,
                )
            except PrimumError as error:
                # One bad line leaves the others standing: absence of an approval already refuses.
                self.problems[place] = error
                continue
            statement = self.parse(model, opened.payload, place)
            if statement is not None:
                signers = tuple(signer[key.public] for key in opened.signers)
                yield statement, signers, sha256_hex(opened.payload)

    def _lines(self, data: bytes | None, where: str, at_most: int) -> Iterable[bytes]:
        try:
            return envelope_lines(data or b"", where=where, at_most=at_most)
        except PrimumError as error:
            self.problems[where] = error
            return ()


def read(question: Question) -> Reading:
    """Read everything that bears on the release of the question."""
    reader = _Reader()
    clinical, release = question.clinical, question.release
    target, manifest = _manifest(reader, question.engineering, release)
    policy = reader.parse(
        ApprovalPolicy, clinical.document(POLICY_TARGET, roles=_TOP), POLICY_TARGET
    )
    index = reader.parse(
        EligibilityIndex, clinical.document(INDEX_TARGET, roles=_ELIGIBILITY), INDEX_TARGET
    )
    entries = () if index is None else index.entries_for(release)
    entry = None if index is None else index.entry_for(release)
    digest = None if entry is None else entry.statement.sha256
    data = None if digest is None else _statement_bytes(clinical, digest)
    statement = reader.parse(EligibilityStatement, data, "statement")
    kept = reader.parse(EligibilityStatement, question.activated_under, KEPT_STATEMENT)
    context, signers, threshold = _context(reader, question, question.device_context)
    trusted = _is_trusted(question, context, signers, threshold)
    if not trusted and not question.phase.grants and question.last_context is not None:
        # Whoever spoils the file must not decide what runs: the context trusted last stands.
        last = _context(reader, question, question.last_context)
        if _is_trusted(question, *last):
            (context, signers, threshold), trusted = last, True
    approvals = () if digest is None else _approvals(reader, question, policy, digest)
    notices_file = clinical.document(NOTICES_TARGET, roles=_SAFETY)
    notices = _signed_notices(reader, notices_file, policy)
    notices_there = notices_file is not None and policy is not None
    return Reading(
        manifest=manifest,
        manifest_target=target,
        context=context,
        context_signers=signers,
        context_threshold=threshold,
        context_trusted=trusted,
        policy=policy,
        index=index,
        entry=entry,
        contradicted=len({(item.status, item.statement.sha256) for item in entries}) > 1
        or (index is not None and entry is not None and index.has_unread(release)),
        unread_entries=0 if index is None else len(index.entries) - len(index.listed),
        statement=statement,
        statement_digest=digest,
        statement_bytes=data,
        kept=kept if kept is not None and kept.release == release else None,
        approvals=approvals,
        notices=tuple(item for item in notices if item.statement.names(release)),
        ways_back=tuple(item for item in notices if item.statement.leads_back_to(release)),
        notices_there=notices_there and NOTICES_TARGET not in reader.problems,
        notices_whole=notices_there
        and not any(where.startswith(NOTICES_TARGET) for where in reader.problems),
        acceptance=_acceptance(reader, question.site),
        problems=reader.problems,
    )


def _manifest(
    reader: _Reader, engineering: AuthorityView, release: str
) -> tuple[str, ReleaseManifest | None]:
    for target, document in engineering.documents.items():
        if document.role == MANIFEST_ROLE and sha256_hex(document.data) == release:
            return target, reader.parse(ReleaseManifest, document.data, target)
    return "", None


def _statement_bytes(clinical: AuthorityView, digest: str) -> bytes | None:
    data = clinical.document(statement_target(digest), roles=_ELIGIBILITY)
    return data if data is not None and sha256_hex(data) == digest else None


def _in_clinical_alone(question: Question, people: tuple[Person, ...]) -> tuple[Person, ...]:
    """Without those whose key engineering uses too: it counts in neither authority."""
    both = question.engineering.public_keys
    return tuple(person for person in people if person.key.public not in both)


def _approvals(
    reader: _Reader, question: Question, policy: ApprovalPolicy | None, digest: str
) -> tuple[SignedApproval, ...]:
    target = approvals_target(digest)
    data = question.clinical.document(target, roles=_ELIGIBILITY)
    people = () if policy is None else _in_clinical_alone(question, policy.people)
    return tuple(
        SignedApproval(statement, person)
        for statement, signers, _ in reader.envelopes(
            ApprovalStatement, data, people, where=target, at_most=MAX_APPROVALS
        )
        for person in signers
    )


def read_notices(data: bytes, policy: ApprovalPolicy) -> tuple[SignedNotice, ...]:
    """Every notice of a file that can be read, with the people whose signature counts."""
    return _signed_notices(_Reader(), data, policy)


def _signed_notices(
    reader: _Reader, data: bytes | None, policy: ApprovalPolicy | None
) -> tuple[SignedNotice, ...]:
    # Whoever lists a person's key elsewhere must not lift what that person stopped.
    people = () if policy is None else policy.people
    # A key whose owner has left signs nothing new: what is not listed as honoured is not signed.
    return tuple(
        SignedNotice(statement, tuple(item for item in signers if item.counts_for(payload)))
        for statement, signers, payload in reader.envelopes(
            SafetyNoticeStatement, data, people, where=NOTICES_TARGET, at_most=MAX_NOTICES
        )
    )


def _acceptance(reader: _Reader, site: AuthorityView | None) -> SiteAcceptance | None:
    data = None if site is None else site.document(ACCEPTANCE_TARGET, roles=_TOP)
    return reader.parse(SiteAcceptance, data, ACCEPTANCE_TARGET)


def _is_trusted(
    question: Question, context: DeviceContext | None, signers: int, threshold: int | None
) -> bool:
    return (
        context is not None
        and threshold is not None
        and signers >= threshold
        and context.factory.public_key.public == question.device_key
        and context.number >= question.context_floor
    )


def _context(
    reader: _Reader, question: Question, envelope: bytes
) -> tuple[DeviceContext | None, int, int | None]:
    """The device context, how many keys that both authorities list signed it, and how many must."""
    listed = [
        reader.parse(
            ProvisioningKeys,
            view.document(PROVISIONING_TARGET, roles=_TOP),
            f"{view.authority}: {PROVISIONING_TARGET}",
        )
        for view in (question.engineering, question.clinical)
    ]
    if listed[0] is None or listed[1] is None:
        return None, 0, None
    both = {key.public for key in listed[0].keys} & {key.public for key in listed[1].keys}
    keys = tuple(key for key in listed[0].keys if key.public in both)
    threshold = max(listed[0].threshold, listed[1].threshold)
    try:
        opened = open_envelope(
            envelope, payload_type=CONTEXT_PAYLOAD_TYPE, keys=keys, where=CONTEXT
        )
    except PrimumError as error:
        reader.problems[CONTEXT] = error
        return None, 0, threshold
    context = reader.parse(DeviceContext, opened.payload, CONTEXT)
    return context, len(opened.signers), threshold
