"""Safety notices: a hold by one function, a withdrawal by two, each signed by people's own keys.

What is done in a hurry only narrows.  A withdrawal publishes the notice and marks the release on
the index in one step, so that a device never sees one without the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import uuid4

from primum_repo_tools.clinical import next_index
from primum_repo_tools.eligibility import published_index
from primum_repo_tools.keys import Secrets, sign_envelope
from primum_repo_tools.people import Approver, published_policy
from primum_repo_tools.publishing import publish_roles
from primum_repo_tools.repository import AuthorityRepository
from primum_repo_tools.workbench import Workbench
from primum_verifier.core.document import canonical_json, parse_document
from primum_verifier.core.eligibility import (
    ELIGIBILITY_ROLE,
    INDEX_TARGET,
    STATEMENT_TYPE,
    EligibilityIndex,
    IndexEntry,
)
from primum_verifier.core.envelope import INTOTO_PAYLOAD_TYPE, envelope_lines
from primum_verifier.core.errors import RefusedError, UsageError
from primum_verifier.core.notice import NOTICES_TARGET, SAFETY_ROLE, SafetyNoticeStatement
from primum_verifier.core.reasons import Reason
from primum_verifier.core.vocabulary import IndexStatus, NoticeAction, NoticeKind

HOLD_LIFE = timedelta(hours=72)
"""A hold that nobody confirms ends: one key must not withhold a function for ever."""


@dataclass(frozen=True)
class NoticeTerms:
    """What a notice says, besides which release it is about.

    Attributes:
        kind: hold or withdrawal.
        action: what devices do.
        code: the reason in a code.
        reason: the reason in words.
        hazard_ref: the hazard it answers.
        user_notice: what the user of a device is told.
        grace_seconds: how long a running device may go on.
        fallback_versions: versions to go back to, best first.
    """

    kind: NoticeKind
    action: NoticeAction
    code: str
    reason: str
    hazard_ref: str
    user_notice: str
    grace_seconds: int = 0
    fallback_versions: tuple[str, ...] = ()


def listed_release(index: EligibilityIndex, component: str, version: str) -> IndexEntry:
    """The entry of a release on the index.

    Raises:
        UsageError: it never was on the list.
    """
    for entry in index.entries:
        if (entry.component, entry.version) == (component, version):
            return entry
    raise UsageError(
        "This release is not on the eligibility index.",
        reason=Reason.USAGE,
        where=f"index {index.number}",
        found=f"{component} {version}",
        expected=", ".join(f"{e.component} {e.version}" for e in index.entries) or "no entry yet",
        remedy="What was never eligible needs no notice.",
    )


def notice_statement(
    index: EligibilityIndex, entry: IndexEntry, terms: NoticeTerms, *, now: datetime
) -> SafetyNoticeStatement:
    """What the people are about to sign."""
    predicate: dict[str, object] = {
        "schemaVersion": "0.1",
        "id": uuid4().urn,
        "issuedAt": now.isoformat(),
        "kind": terms.kind,
        "action": terms.action,
        "reason": {"code": terms.code, "text": terms.reason, "hazardRef": terms.hazard_ref},
        "scope": {"mode": "all"},
        "effectiveAt": now.isoformat(),
        "gracePeriodSeconds": terms.grace_seconds,
        "fallback": {
            "order": [
                {"sha256": listed_release(index, entry.component, version).release.sha256}
                for version in terms.fallback_versions
            ]
        },
        "userNotice": terms.user_notice,
    }
    if terms.kind == NoticeKind.HOLD:
        predicate["expiresAt"] = (now + HOLD_LIFE).isoformat()
    content = {
        "_type": STATEMENT_TYPE,
        "subject": [
            {
                "name": f"{entry.component} {entry.version}",
                "digest": {"sha256": entry.release.sha256},
            }
        ],
        "predicateType": "urn:primum:safety-notice:v0.1",
        "predicate": predicate,
    }
    return parse_document(SafetyNoticeStatement, canonical_json(content), where="notice")


def require_functions(
    workbench: Workbench,
    repository: AuthorityRepository,
    people: Sequence[Approver],
    kind: NoticeKind,
) -> None:
    """See to it that enough different functions sign.

    Raises:
        RefusedError: devices would ignore the notice.
    """
    policy = published_policy(repository)
    functions = {person.settings.function for person in people}
    needed = policy.functions_to_hold if kind == NoticeKind.HOLD else policy.functions_to_take_away
    if len(functions) < needed:
        raise RefusedError(
            "Too few functions sign the notice; devices would ignore it.",
            reason=Reason.ELIGIBILITY_APPROVALS,
            where=str(workbench.folder),
            found=", ".join(sorted(functions)) or "nobody",
            expected=f"{needed} different functions",
            remedy="Name one person of each with --as.",
        )


def publish_notice(
    workbench: Workbench,
    statement: SafetyNoticeStatement,
    people: Sequence[Approver],
    *,
    secrets: Secrets,
    now: datetime,
) -> int:
    """Sign a notice and publish it; a withdrawal marks its releases on the index as well.

    Returns:
        The version of the new timestamp.

    Raises:
        RefusedError: too few functions sign.
    """
    repository = AuthorityRepository(workbench, now=now, secrets=secrets)
    kind = statement.predicate.kind
    require_functions(workbench, repository, people, kind)
    envelope = sign_envelope(
        statement.to_bytes(),
        payload_type=INTOTO_PAYLOAD_TYPE,
        signers=[person.signer for person in people],
    )
    before = repository.document(SAFETY_ROLE, NOTICES_TARGET) or b""
    # Read as a device reads it: a file that devices would refuse must never be published.
    lines = envelope_lines(before + envelope, where=NOTICES_TARGET)
    roles = [SAFETY_ROLE]
    repository.discard(SAFETY_ROLE, ELIGIBILITY_ROLE)
    if kind != NoticeKind.HOLD:
        index = published_index(repository)
        entries = [
            entry.model_copy(update={"status": IndexStatus.WITHDRAWN, "effective_at": now})
            for entry in index.entries
            if statement.names(entry.release.sha256)
        ]
        changed = next_index(index, entries, now=now)
        repository.put_target(ELIGIBILITY_ROLE, INDEX_TARGET, changed.to_bytes())
        roles.append(ELIGIBILITY_ROLE)
    data = b"".join(line + b"\n" for line in lines)
    repository.put_target(SAFETY_ROLE, NOTICES_TARGET, data)
    version = publish_roles(workbench, repository, roles=roles, now=now)
    workbench.record(
        "notice.published",
        at=now,
        kind=kind,
        action=statement.predicate.action,
        releases=[item.name for item in statement.subject],
        people=[person.settings.person_id for person in people],
        reason=statement.predicate.reason.text,
    )
    return version
