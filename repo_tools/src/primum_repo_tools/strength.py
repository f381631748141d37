"""What a changed policy would take the strength from: notices in force, and listed releases.

A release that too few people approve any more only loses: devices activate it no more.  A notice
that too few functions sign any more gives: what it stopped runs again.  So that is refused here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from primum_repo_tools.approvals import missing_functions
from primum_repo_tools.eligibility import published_index
from primum_repo_tools.evidence import UNSAFE_ACT, Override
from primum_repo_tools.policy import published_policy, statements
from primum_repo_tools.published_notices import end_of
from primum_repo_tools.repository import AuthorityRepository
from primum_repo_tools.workbench import Workbench
from primum_verifier.core.approval import ApprovalPolicy, ApprovalScope
from primum_verifier.core.eligibility import (
    ELIGIBILITY_ROLE,
    EligibilityStatement,
    approvals_target,
)
from primum_verifier.core.errors import RefusedError
from primum_verifier.core.notice import NOTICES_TARGET, SAFETY_ROLE, SafetyNoticeStatement
from primum_verifier.core.reading import SignedNotice, read_notices
from primum_verifier.core.reasons import Reason
from primum_verifier.core.standing_notices import is_signed_enough
from primum_verifier.core.vocabulary import Function, IndexStatus, NoticeAction, NoticeKind
from primum_verifier.record.signatures import signature_page


@dataclass(frozen=True)
class Loss:
    """What loses its strength by a policy.

    Attributes:
        notices: the notices in force that devices would no longer obey, or for a shorter time.
        releases: the eligible releases that too few people would have approved.
    """

    notices: tuple[SafetyNoticeStatement, ...]
    releases: tuple[str, ...]

    @property
    def notice_ids(self) -> tuple[str, ...]:
        """The ids of the notices, as a person names them to sign them again."""
        return tuple(item.predicate.id for item in self.notices)


def loss_by(repository: AuthorityRepository, policy: ApprovalPolicy, *, now: datetime) -> Loss:
    """What would lose its strength if this policy replaced the published one.

    Args:
        repository: of clinical.
        policy: as it would be published.
        now: the moment judged; a notice that has ended, or that was an exercise, is none to lose.
    """
    old = published_policy(repository)
    data = repository.document(SAFETY_ROLE, NOTICES_TARGET) or b""
    # Which lines can be read does not depend on the policy, so both readings run side by side.
    pairs = zip(read_notices(data, old), read_notices(data, policy), strict=True)
    notices = tuple(
        before.statement
        for before, after in pairs
        if _is_in_force(before.statement, now=now)
        and _is_weaker(before, after, old=old, new=policy)
    )
    known = statements(repository)
    releases = tuple(
        f"{entry.component} {entry.version}"
        for entry in published_index(repository).listed
        if entry.status == IndexStatus.ELIGIBLE
        and (said := known.get(entry.statement.sha256)) is not None
        and _is_approved(repository, entry.statement.sha256, said, old)
        and not _is_approved(repository, entry.statement.sha256, said, policy)
    )
    return Loss(notices, releases)


def _is_in_force(statement: SafetyNoticeStatement, *, now: datetime) -> bool:
    ends = end_of(statement)
    return not statement.predicate.drill and (ends is None or ends > now)


def _is_weaker(
    before: SignedNotice, after: SignedNotice, *, old: ApprovalPolicy, new: ApprovalPolicy
) -> bool:
    if not is_signed_enough(before, old):
        return False
    said = before.statement.predicate
    had, has = ({person.function for person in item.people} for item in (before, after))
    confirmed = len(had) >= old.functions_to_take_away
    return (
        not is_signed_enough(after, new)
        # A hold that two functions confirmed outlasts one that a single function signed.
        or (said.kind == NoticeKind.HOLD and confirmed and len(has) < new.functions_to_take_away)
        # This action needs two certain functions, not any two.
        or (
            said.action == NoticeAction.SUSPEND_DEVICE_FUNCTION
            and not {Function.CLINICAL, Function.REGULATORY}.isdisjoint(had - has)
        )
    )


def _is_approved(
    repository: AuthorityRepository,
    sha256: str,
    statement: EligibilityStatement,
    policy: ApprovalPolicy,
) -> bool:
    said, where = statement.predicate, approvals_target(sha256)
    page = signature_page(
        repository.document(ELIGIBILITY_ROLE, where) or b"",
        policy=policy,
        statement=sha256,
        scope=ApprovalScope(stage=said.stage, change_tier=said.change_tier),
        where=where,
    )
    return not missing_functions(page, policy.needed_for(said.stage, said.change_tier))


def require_notices_stand(
    workbench: Workbench, loss: Loss, *, overrides: frozenset[Override], now: datetime
) -> None:
    """Refuse what would lift a notice; an override of it is logged.

    Raises:
        RefusedError: ``eligibility.approvals``, with every notice that would lose its strength.
    """
    if not loss.notices:
        return
    found = "; ".join(
        f"{item.predicate.id} ({item.predicate.kind} of {_releases(item)})" for item in loss.notices
    )
    if Override.LIFT_NOTICES in overrides:
        workbench.record(
            UNSAFE_ACT,
            at=now,
            override=Override.LIFT_NOTICES,
            release=", ".join(dict.fromkeys(map(_releases, loss.notices))),
            refused=str(Reason.ELIGIBILITY_APPROVALS),
            found=found,
        )
        return
    named = " ".join(f"--notice {item}" for item in loss.notice_ids)
    raise RefusedError(
        "Safety notices in force would lose their strength: what they stopped would run again.",
        reason=Reason.ELIGIBILITY_APPROVALS,
        where=NOTICES_TARGET,
        found=found,
        expected="every notice in force signed by enough functions as the new policy counts them",
        remedy="Have others sign them again: primum-repo notice sign-again "
        f"{workbench.folder} {named} --as FOLDER",
    )


def _releases(statement: SafetyNoticeStatement) -> str:
    return ", ".join(item.name or item.digest.sha256[:12] for item in statement.subject)
