"""All documents that bear on one release, each parsed once; what cannot be read is named.

A document that fails to parse is as good as absent for every rule that needs it, and the error
stands beside it so that the refusal can explain itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel

from primum_verifier.core.approval import POLICY_TARGET, ApprovalPolicy, ApprovalStatement, Person
from primum_verifier.core.device import (
    PROVISIONING_TARGET,
    DeviceContext,
    ProvisioningKeys,
)
from primum_verifier.core.document import parse_document, sha256_hex
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
    PublicKey,
    envelope_lines,
    open_envelope,
)
from primum_verifier.core.errors import PrimumError
from primum_verifier.core.limits import MAX_APPROVALS, MAX_NOTICES
from primum_verifier.core.manifest import MANIFEST_ROLE, ReleaseManifest
from primum_verifier.core.notice import NOTICES_TARGET, SAFETY_ROLE, SafetyNoticeStatement
from primum_verifier.core.question import Question
from primum_verifier.core.view import AuthorityView
from primum_verifier.core.vocabulary import Function, Phase

_Model = TypeVar("_Model", bound=BaseModel)
_TOP = frozenset({"targets"})


@dataclass(frozen=True)
class SignedApproval:
    """An approval, and the person of the policy whose key signed it."""

    statement: ApprovalStatement
    person_id: str
    function: Function


@dataclass(frozen=True)
class SignedNotice:
    """A safety notice, and the distinct functions whose people signed it."""

    statement: SafetyNoticeStatement
    functions: frozenset[Function]


@dataclass(frozen=True)
class Reading:
    """The documents that bear on one release; None where absent or unreadable.

    Attributes:
        notices_whole: whether the notices were there and every line of them could be read.
        context_trusted: whether enough keys that both authorities list signed the context, for
            the key that this device holds.
        problems: for a document that was there and could not be read, what was wrong with it.
    """

    manifest: ReleaseManifest | None
    manifest_target: str
    context: DeviceContext | None
    context_signers: int
    context_threshold: int | None
    policy: ApprovalPolicy | None
    index: EligibilityIndex | None
    entry: IndexEntry | None
    statement: EligibilityStatement | None
    statement_digest: str | None
    statement_bytes: bytes | None
    approvals: tuple[SignedApproval, ...]
    notices: tuple[SignedNotice, ...]
    notices_whole: bool
    context_trusted: bool
    problems: dict[str, PrimumError]


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

    def payloads(
        self, lines: Iterable[bytes], keys: tuple[PublicKey, ...], where: str
    ) -> Iterable[tuple[bytes, tuple[PublicKey, ...]]]:
        for number, line in enumerate(lines, start=1):
            try:
                opened = open_envelope(
                    line, payload_type=INTOTO_PAYLOAD_TYPE, keys=keys, where=f"{where}:{number}"
                )
            except PrimumError as error:
                # One bad line leaves the others standing: absence of an approval already refuses.
                self.problems[f"{where}:{number}"] = error
                continue
            yield opened.payload, opened.signers

    def lines(self, data: bytes | None, where: str, at_most: int) -> list[bytes]:
        if data is None:
            return []
        try:
            return envelope_lines(data, where=where, at_most=at_most)
        except PrimumError as error:
            self.problems[where] = error
            return []


def read(question: Question) -> Reading:
    """Read everything that bears on the release of the question."""
    reader = _Reader()
    target, manifest = _manifest(reader, question.engineering, question.release)
    clinical = question.clinical
    policy = reader.parse(
        ApprovalPolicy, clinical.document(POLICY_TARGET, roles=_TOP), POLICY_TARGET
    )
    role = frozenset({ELIGIBILITY_ROLE})
    index = reader.parse(
        EligibilityIndex, clinical.document(INDEX_TARGET, roles=role), INDEX_TARGET
    )
    entry = None if index is None else index.entry_for(question.release)
    digest = None if entry is None else entry.statement.sha256
    statement = None if digest is None else _statement(reader, clinical, digest)
    if statement is None and question.phase == Phase.CONTINUE:
        # What was activated under a statement ends by it, also when the list has dropped it.
        where = "statement kept at activation"
        statement = reader.parse(EligibilityStatement, question.activated_under, where)
    context, signers, threshold = _context(reader, question)
    notices = _notices(reader, question, policy)
    notices_there = clinical.document(NOTICES_TARGET, roles=frozenset({SAFETY_ROLE})) is not None
    return Reading(
        manifest=manifest,
        manifest_target=target,
        context=context,
        context_signers=signers,
        context_threshold=threshold,
        policy=policy,
        index=index,
        entry=entry,
        statement=statement,
        statement_digest=digest,
        statement_bytes=None
        if digest is None
        else clinical.document(statement_target(digest), roles=role),
        approvals=_approvals(reader, question, policy, digest),
        notices=notices,
        notices_whole=notices_there
        and policy is not None
        and not any(where.startswith(NOTICES_TARGET) for where in reader.problems),
        context_trusted=context is not None
        and threshold is not None
        and signers >= threshold
        and context.factory.public_key.public == question.device_key,
        problems=reader.problems,
    )


def _manifest(
    reader: _Reader, engineering: AuthorityView, release: str
) -> tuple[str, ReleaseManifest | None]:
    for target, document in engineering.documents.items():
        if document.role == MANIFEST_ROLE and sha256_hex(document.data) == release:
            return target, reader.parse(ReleaseManifest, document.data, target)
    return "", None


def _statement(
    reader: _Reader, clinical: AuthorityView, digest: str
) -> EligibilityStatement | None:
    target = statement_target(digest)
    data = clinical.document(target, roles=frozenset({ELIGIBILITY_ROLE}))
    if data is not None and sha256_hex(data) != digest:
        return None
    return reader.parse(EligibilityStatement, data, target)


def _people(question: Question, people: tuple[Person, ...]) -> dict[str, tuple[str, Function]]:
    """Public key to person and function; a key that engineering also uses counts in neither."""
    return {
        person.key.public: (person.person_id, person.function)
        for person in people
        if person.key.public not in question.engineering.public_keys
    }


def _approvals(
    reader: _Reader, question: Question, policy: ApprovalPolicy | None, digest: str | None
) -> tuple[SignedApproval, ...]:
    if digest is None:
        return ()
    target = approvals_target(digest)
    data = question.clinical.document(target, roles=frozenset({ELIGIBILITY_ROLE}))
    listed = () if policy is None else policy.approvers_of(digest)
    people = _people(question, listed)
    found = []
    lines = reader.lines(data, target, MAX_APPROVALS)
    keys = tuple(person.key for person in listed)
    for payload, signers in reader.payloads(lines, keys, target):
        statement = reader.parse(ApprovalStatement, payload, target)
        for signer in signers:
            if statement is not None and signer.public in people:
                person_id, function = people[signer.public]
                found.append(SignedApproval(statement, person_id, function))
    return tuple(found)


def _notices(
    reader: _Reader, question: Question, policy: ApprovalPolicy | None
) -> tuple[SignedNotice, ...]:
    data = question.clinical.document(NOTICES_TARGET, roles=frozenset({SAFETY_ROLE}))
    listed = () if policy is None else policy.notice_signers()
    people = _people(question, listed)
    found = []
    lines = reader.lines(data, NOTICES_TARGET, MAX_NOTICES)
    keys = tuple(person.key for person in listed)
    for payload, signers in reader.payloads(lines, keys, NOTICES_TARGET):
        statement = reader.parse(SafetyNoticeStatement, payload, NOTICES_TARGET)
        if statement is not None and statement.names(question.release):
            functions = {people[key.public][1] for key in signers if key.public in people}
            found.append(SignedNotice(statement, frozenset(functions)))
    return tuple(found)


def _context(reader: _Reader, question: Question) -> tuple[DeviceContext | None, int, int | None]:
    """The device context, how many keys that both authorities list signed it, and how many must."""
    listed = [
        reader.parse(
            ProvisioningKeys,
            view.document(PROVISIONING_TARGET, roles=_TOP),
            f"{view.authority}: {PROVISIONING_TARGET}",
        )
        for view in (question.engineering, question.clinical)
    ]
    where = "device context"
    if listed[0] is None or listed[1] is None:
        return None, 0, None
    both = {key.public for key in listed[0].keys} & {key.public for key in listed[1].keys}
    keys = tuple(key for key in listed[0].keys if key.public in both)
    threshold = max(listed[0].threshold, listed[1].threshold)
    try:
        opened = open_envelope(
            question.device_context, payload_type=CONTEXT_PAYLOAD_TYPE, keys=keys, where=where
        )
    except PrimumError as error:
        reader.problems[where] = error
        return None, 0, threshold
    context = reader.parse(DeviceContext, opened.payload, where)
    return context, len(opened.signers), threshold
