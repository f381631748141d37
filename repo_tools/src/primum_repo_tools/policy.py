"""The approval policy: who may approve, what each stage needs, and which statements are over.

What a safety notice took away is burned by the next policy that is signed, whatever it is signed
for: neither an old list nor a new listing with the old approvals brings that statement back.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import uuid4

from tuf.api.metadata import Targets

from primum_repo_tools.authority_settings import PolicySettings
from primum_repo_tools.keys import Secrets
from primum_repo_tools.published_notices import published_notices, unanswered
from primum_repo_tools.publishing import publish_roles
from primum_repo_tools.repository import AuthorityRepository
from primum_repo_tools.settings import checked_settings
from primum_repo_tools.workbench import Workbench
from primum_verifier.core.approval import POLICY_TARGET, ApprovalPolicy
from primum_verifier.core.document import parse_document
from primum_verifier.core.eligibility import (
    ELIGIBILITY_ROLE,
    EligibilityStatement,
    statement_target,
)
from primum_verifier.core.errors import FailedError, UsageError
from primum_verifier.core.reasons import Reason


def published_policy(repository: AuthorityRepository) -> ApprovalPolicy:
    """The approval policy as clinical published it.

    Raises:
        FailedError: there is none; the authority was not created whole.
    """
    data = repository.document(Targets.type, POLICY_TARGET)
    if data is None:
        raise FailedError(
            "There is no approval policy.", reason=Reason.STATE_DAMAGED, where=POLICY_TARGET
        )
    return parse_document(ApprovalPolicy, data, where=POLICY_TARGET)


def first_policy(settings: PolicySettings, *, now: datetime) -> ApprovalPolicy:
    """The approval policy as the settings state it, with nobody in it yet.

    Raises:
        UsageError: the settings contradict themselves.
    """
    content = {
        **_plain(settings),
        "type": "urn:primum:approval-policy:v0.1",
        "schemaVersion": "0.1",
        "id": uuid4().urn,
        "number": 1,
        "issuedAt": now.isoformat(),
        "people": [],
    }
    return checked_settings(ApprovalPolicy, content, where="[policy] in workbench.toml")


def next_policy(
    repository: AuthorityRepository, *, now: datetime, **changes: object
) -> ApprovalPolicy:
    """The policy in force with some members changed, and with what was withdrawn burned.

    Args:
        repository: of clinical.
        now: the moment of issue.
        **changes: members by their names, as values of the model.
    """
    policy = published_policy(repository)
    changed = policy.model_copy(
        update={**changes, "number": policy.number + 1, "id": uuid4().urn, "issued_at": now}
    )
    content: dict[str, Any] = changed.model_dump(mode="json", by_alias=True, exclude_none=True)
    burned = [*content["burnedStatements"], *map(_digest, left_to_burn(repository))]
    content["burnedStatements"] = [item for i, item in enumerate(burned) if item not in burned[:i]]
    return checked_settings(ApprovalPolicy, content, where=POLICY_TARGET)


def settled_policy(
    repository: AuthorityRepository,
    settings: PolicySettings,
    *,
    burn: Collection[str],
    min_statement_number: int,
    now: datetime,
) -> ApprovalPolicy:
    """The next policy as the settings ask for; people stay, what is over stays over.

    Args:
        repository: of clinical.
        settings: ``[policy]`` of the workbench.
        burn: SHA-256 of statements that end for good.
        min_statement_number: no statement below it counts any more; it never falls.
        now: the moment of issue.

    Raises:
        UsageError: no statement has such a digest, or the settings contradict themselves.
    """
    policy = published_policy(repository)
    known = statements(repository)
    if unknown := sorted(set(burn) - set(known)):
        raise UsageError(
            "No published statement has this digest.",
            reason=Reason.USAGE,
            where="--burn",
            found=", ".join(item[:80] for item in unknown),
            expected=", ".join(known) or "a published statement; there is none yet",
            remedy=f"See: primum-repo approve list {repository.workbench.folder} --json",
        )
    wanted = first_policy(settings, now=now)
    number = max(policy.min_statement_number, settings.min_statement_number, min_statement_number)
    content = policy.model_dump(mode="json", by_alias=True, exclude_none=True)
    content["burnedStatements"] += [_digest(item) for item in burn]
    ended = checked_settings(ApprovalPolicy, content, where=POLICY_TARGET).burned_statements
    return next_policy(
        repository,
        now=now,
        requirements=wanted.requirements,
        functions_to_hold=wanted.functions_to_hold,
        functions_to_take_away=wanted.functions_to_take_away,
        open_issues=wanted.open_issues,
        min_statement_number=number,
        burned_statements=ended,
    )


def is_changed(repository: AuthorityRepository, policy: ApprovalPolicy) -> bool:
    """Whether a policy says anything else than the one in force."""
    again = {"number", "id", "issued_at"}
    return published_policy(repository).model_dump(exclude=again) != policy.model_dump(
        exclude=again
    )


def publish_policy(
    workbench: Workbench, repository: AuthorityRepository, policy: ApprovalPolicy, *, now: datetime
) -> None:
    """Sign a changed policy by clinical's top role and publish it."""
    put_policy(repository, policy)
    publish_roles(workbench, repository, roles=[Targets.type], now=now)


def put_policy(repository: AuthorityRepository, policy: ApprovalPolicy) -> None:
    """Sign a changed policy by clinical's top role, staged."""
    repository.discard(Targets.type)
    repository.put_target(Targets.type, POLICY_TARGET, policy.to_bytes())


def burn_withdrawn(workbench: Workbench, *, secrets: Secrets, now: datetime) -> tuple[str, ...]:
    """Burn what was withdrawn, if the keys of clinical's top role can be opened.

    Returns:
        SHA-256 of the statements that are still to be burned; a key that is locked away is no
        failure, since devices obey the notice already.
    """
    repository = AuthorityRepository(workbench, now=now, secrets=secrets)
    left = left_to_burn(repository)
    if not left:
        return ()
    try:
        repository.signers(Targets.type)
    except UsageError as error:
        why = f"{error.message} {error.where}".strip()
        workbench.record("statements.left-to-burn", at=now, statements=left, why=why)
        return left
    policy = next_policy(repository, now=now)
    publish_policy(workbench, repository, policy, now=now)
    workbench.record("statements.burned", at=now, statements=left, policy=policy.number)
    return ()


def left_to_burn(repository: AuthorityRepository) -> tuple[str, ...]:
    """The published statements about what was taken away everywhere, and not burned yet.

    One that answers the notice came back by it and stands.
    """
    burned = {item.sha256 for item in published_policy(repository).burned_statements}
    notices = published_notices(repository)
    return tuple(
        sha256
        for sha256, statement in statements(repository).items()
        if sha256 not in burned
        and unanswered(notices, statement.release, statement.predicate.answers)
    )


def statements(repository: AuthorityRepository) -> dict[str, EligibilityStatement]:
    """Every statement that was ever published, by its SHA-256."""
    found = {}
    for name in sorted(repository.published_targets(ELIGIBILITY_ROLE)):
        sha256 = name.split("/")[1]
        data = repository.document(ELIGIBILITY_ROLE, name)
        if data is not None and name == statement_target(sha256):
            found[sha256] = parse_document(EligibilityStatement, data, where=name)
    return found


def _digest(sha256: str) -> dict[str, str]:
    return {"sha256": sha256}


def _plain(settings: PolicySettings) -> dict[str, Any]:
    return settings.model_dump(mode="json", by_alias=True, exclude_none=True)
