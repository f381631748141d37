"""Retiring a person: the key signs no more; what it signed is honoured, or counts nowhere.

Somebody who leaves takes no past approval away.  A key that may be in other hands proves nothing,
whenever it signed: the time in a signature is the signer's own word.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from primum_repo_tools.eligibility import published_index
from primum_repo_tools.evidence import Override
from primum_repo_tools.keys import Secrets
from primum_repo_tools.moments import plain
from primum_repo_tools.policy import next_policy, publish_policy, published_policy
from primum_repo_tools.published_notices import notice_lines, opened
from primum_repo_tools.repository import AuthorityRepository
from primum_repo_tools.strength import Loss, loss_by, require_notices_stand
from primum_repo_tools.workbench import Workbench
from primum_verifier.core.approval import (
    POLICY_TARGET,
    ApprovalPolicy,
    ApprovalStatement,
    Person,
    PersonStatus,
)
from primum_verifier.core.document import DigestSet, parse_document, sha256_hex
from primum_verifier.core.eligibility import ELIGIBILITY_ROLE, approvals_target
from primum_verifier.core.envelope import INTOTO_PAYLOAD_TYPE, open_envelope
from primum_verifier.core.errors import RefusedError, UsageError
from primum_verifier.core.notice import NOTICES_TARGET
from primum_verifier.core.reasons import Reason


@dataclass(frozen=True)
class Retirement:
    """What it means that a person's key no longer signs.

    Attributes:
        policy: the policy as it would be, or is, published.
        person: the person in it.
        approved: the listed releases whose statements the person approved.
        notices: the ids of notices that the person signed.
        loss: the notices and the releases that lose their strength by it.
    """

    policy: ApprovalPolicy
    person: Person
    approved: tuple[str, ...]
    notices: tuple[str, ...]
    loss: Loss


def plan_retirement(
    repository: AuthorityRepository,
    *,
    person_id: str,
    status: PersonStatus,
    reapprove_by: datetime | None,
    now: datetime,
) -> Retirement:
    """What retiring a person would change; nothing is signed.

    Args:
        repository: of clinical.
        person_id: who.
        status: ``left``: what the person approved on the list, and the published notices that
            the person signed, stay honoured; ``compromised``: nothing that the key signed counts
            any more.
        reapprove_by: with ``compromised``: when what runs by such an approval is taken away,
            unless enough others have approved it by then; None: it runs on, with a notice.
        now: the moment of retiring.

    Raises:
        UsageError: a moment that has passed, or that stands with somebody who left; the policy
            lists no such person, or the person is retired like this already.
    """
    _check_date(reapprove_by, status, now=now)
    policy = published_policy(repository)
    known = next((item for item in policy.people if item.person_id == person_id), None)
    if known is None:
        raise UsageError(
            "The approval policy does not list this person.",
            reason=Reason.USAGE,
            where=POLICY_TARGET,
            found=person_id,
            expected=", ".join(item.person_id for item in policy.people) or "nobody yet",
            remedy=f"See: primum-repo person list {repository.workbench.folder}",
        )
    if known.status in {status, PersonStatus.COMPROMISED}:
        raise UsageError(
            "This person is retired already.",
            reason=Reason.USAGE,
            where=POLICY_TARGET,
            found=f"{person_id}: {known.status}",
            expected="an active person, or one that left and whose key turns out compromised",
        )
    approved, notices = approved_by(repository, known), notices_by(repository, known)
    honoured = (
        tuple(DigestSet(sha256=sha256) for sha256 in (*approved, *notices))
        if status == PersonStatus.LEFT
        else ()
    )
    retired = known.model_copy(
        update={"status": status, "honoured": honoured, "reapprove_by": reapprove_by}
    )
    people = tuple(retired if item is known else item for item in policy.people)
    changed = next_policy(repository, now=now, people=people)
    return Retirement(
        policy=changed,
        person=retired,
        approved=tuple(approved.values()),
        notices=tuple(notices.values()),
        loss=loss_by(repository, changed, now=now),
    )


def _check_date(reapprove_by: datetime | None, status: PersonStatus, *, now: datetime) -> None:
    if reapprove_by is not None and (status != PersonStatus.COMPROMISED or reapprove_by <= now):
        raise UsageError(
            "This is no moment until which others could approve again.",
            reason=Reason.USAGE,
            where="--reapprove-by",
            found=plain(reapprove_by),
            expected="with --compromised, a moment that has not passed",
        )


def approved_by(repository: AuthorityRepository, person: Person) -> dict[str, str]:
    """The statements on the index that a person approved: their SHA-256, and the release."""
    index = published_index(repository)
    found = {}
    for entry in index.listed:
        target = approvals_target(entry.statement.sha256)
        for line in (repository.document(ELIGIBILITY_ROLE, target) or b"").splitlines():
            payload = _signed(line, person, where=target) if line.strip() else None
            if payload is None:
                continue
            said = parse_document(ApprovalStatement, payload, where=target)
            if (
                said.predicate.decision == "approve"
                and said.predicate.person_id == person.person_id
                and said.subject[0].digest == entry.statement
            ):
                found[entry.statement.sha256] = f"{entry.component} {entry.version}"
    return found


def notices_by(repository: AuthorityRepository, person: Person) -> dict[str, str]:
    """The published notices that a person signed: the SHA-256 of their payloads, and their ids."""
    return {
        sha256_hex(payload): said.predicate.id
        for line in notice_lines(repository)
        if (payload := _signed(line, person, where=NOTICES_TARGET)) is not None
        and (said := opened(line)) is not None
    }


def _signed(line: bytes, person: Person, *, where: str) -> bytes | None:
    """The payload of an envelope that a person's key signed, else None."""
    try:
        found = open_envelope(
            line, payload_type=INTOTO_PAYLOAD_TYPE, keys=(person.key,), where=where
        )
    except RefusedError:
        return None
    return found.payload if found.signers else None


def retire_person(
    workbench: Workbench,
    *,
    person_id: str,
    status: PersonStatus,
    reapprove_by: datetime | None,
    overrides: frozenset[Override],
    secrets: Secrets,
    now: datetime,
) -> Retirement:
    """Publish a policy in which a person's key no longer signs; see :func:`plan_retirement`.

    The caller holds the workbench's lock.

    Raises:
        RefusedError: a notice in force would lose its strength, and that was not overridden.
    """
    repository = AuthorityRepository(workbench, now=now, secrets=secrets)
    planned = plan_retirement(
        repository, person_id=person_id, status=status, reapprove_by=reapprove_by, now=now
    )
    require_notices_stand(workbench, planned.loss, overrides=overrides, now=now)
    publish_policy(workbench, repository, planned.policy, now=now)
    workbench.record(
        "person.retired",
        at=now,
        person=person_id,
        status=status,
        reapprove_by=None if reapprove_by is None else plain(reapprove_by),
        approved=planned.approved,
        notices=planned.notices,
        lifted=planned.loss.notice_ids,
        weakened=planned.loss.releases,
        policy=planned.policy.number,
    )
    return planned
