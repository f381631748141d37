"""Safety notices: a hold by one function, all else by two, each signed by people's own keys.

What is done in a hurry only narrows, and needs no more keys than it must: the notice is published
first, by the near-line role alone.  Then the release is marked on the index, if the offline keys
are at hand; until they are, the status shows what remains to be done.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import uuid4

from primum_repo_tools.clinical import next_index
from primum_repo_tools.eligibility import published_index
from primum_repo_tools.keys import Secrets, sign_envelope
from primum_repo_tools.notice_terms import NoticeTerms
from primum_repo_tools.people import Approver
from primum_repo_tools.policy import published_policy, statements
from primum_repo_tools.published_notices import (
    answered_by,
    kept_lines,
    left_to_mark,
    marked,
    notice_lines,
    notices_file,
    notices_in_force,
    unanswered,
)
from primum_repo_tools.publishing import publish_roles
from primum_repo_tools.repository import AuthorityRepository
from primum_repo_tools.settings import checked_settings
from primum_repo_tools.workbench import Workbench
from primum_verifier.core.document import Document
from primum_verifier.core.eligibility import (
    ELIGIBILITY_ROLE,
    INDEX_TARGET,
    STATEMENT_TYPE,
    EligibilityIndex,
    IndexEntry,
)
from primum_verifier.core.envelope import INTOTO_PAYLOAD_TYPE
from primum_verifier.core.errors import RefusedError, UsageError
from primum_verifier.core.limits import MAX_HOLD_HOURS
from primum_verifier.core.notice import NOTICES_TARGET, SAFETY_ROLE, SafetyNoticeStatement
from primum_verifier.core.reasons import Reason
from primum_verifier.core.vocabulary import IndexStatus, NoticeKind

HOLD_LIFE = timedelta(hours=MAX_HOLD_HOURS)
"""A hold that nobody confirms ends: one key must not withhold a function for ever."""


def fallback_release(index: EligibilityIndex, entry: IndexEntry, version: str) -> IndexEntry:
    """The entry of a release to go back to.

    Raises:
        UsageError: it is not eligible, or is the one that is taken away.
    """
    eligible = [
        item
        for item in index.listed
        if item.component == entry.component
        and item.status == IndexStatus.ELIGIBLE
        and item.release != entry.release
    ]
    for item in eligible:
        if item.version == version:
            return item
    raise UsageError(
        "Devices cannot go back to this release: it is not eligible.",
        reason=Reason.USAGE,
        where="--fallback-version",
        found=f"{entry.component} {version}",
        expected=", ".join(item.version for item in eligible) or "none; nothing else is eligible",
        remedy="Name an eligible release, or leave --fallback-version out.",
    )


def listed_release(index: EligibilityIndex, component: str, version: str) -> IndexEntry:
    """The entry of a release on the index.

    Raises:
        UsageError: it never was on the list.
    """
    for entry in index.listed:
        if (entry.component, entry.version) == (component, version):
            return entry
    raise UsageError(
        "This release is not on the eligibility index.",
        reason=Reason.USAGE,
        where=f"index {index.number}",
        found=f"{component} {version}",
        expected=", ".join(f"{e.component} {e.version} ({e.status})" for e in index.listed)
        or "no entry yet",
        remedy="What was never eligible needs no notice; name a release that is listed.",
    )


def already_withdrawn(
    repository: AuthorityRepository, entry: IndexEntry, *, now: datetime
) -> str | None:
    """The id of the notice that withdrew a release, where the index says so as well; else None."""
    if entry.status != IndexStatus.WITHDRAWN:
        return None
    in_force = notices_in_force(repository, entry.release.sha256, now=now)
    answers = answered_by(repository, entry)
    against = unanswered(in_force, entry.release.sha256, answers)
    return against[-1].predicate.id if against else None


def notice_statement(
    repository: AuthorityRepository, entry: IndexEntry, terms: NoticeTerms, *, now: datetime
) -> SafetyNoticeStatement:
    """What the people are about to sign.

    A hold and a drill end by themselves; what withdraws or narrows ends by a new statement alone.

    Raises:
        UsageError: a release to go back to is not eligible, an operating point was not approved,
            or what is said contradicts itself.
    """
    _check_terms(repository, entry, terms, now=now)
    index = published_index(repository)
    # A nurse who is in no exercise must not read one as real, nor the reverse.
    told = f"EXERCISE. {terms.user_notice}" if terms.drill else terms.user_notice
    predicate: dict[str, object] = {
        "schemaVersion": "0.1",
        "id": uuid4().urn,
        "issuedAt": now.isoformat(),
        "kind": terms.kind,
        "action": terms.action,
        "reason": {"code": terms.code, "text": terms.reason, "hazardRef": terms.hazard_ref},
        "scope": _plain(terms.scope),
        "effectiveAt": now.isoformat(),
        "gracePeriodSeconds": terms.grace_seconds,
        "fallback": {
            "order": [
                {"sha256": fallback_release(index, entry, version).release.sha256}
                for version in terms.fallback_versions
            ],
            "explicitDowngrade": terms.explicit_downgrade,
        },
        "userNotice": told,
        "runningEpisode": terms.running_episode,
        "preserveEvidence": terms.preserve_evidence,
        "drill": terms.drill,
    }
    if terms.kind == NoticeKind.HOLD or terms.drill:
        predicate["expiresAt"] = (now + HOLD_LIFE).isoformat()
    if terms.max_use_seconds is not None:
        predicate["maxUseSeconds"] = terms.max_use_seconds
    if terms.look_back_from is not None:
        predicate["lookBackFrom"] = terms.look_back_from.isoformat()
    if terms.restriction is not None:
        predicate["restriction"] = _plain(terms.restriction)
    if terms.field_action is not None:
        predicate["fieldAction"] = _plain(terms.field_action)
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
    return checked_settings(SafetyNoticeStatement, content, where="notice")


def _plain(part: Document) -> dict[str, object]:
    return part.model_dump(mode="json", by_alias=True, exclude_none=True)


def _check_terms(
    repository: AuthorityRepository, entry: IndexEntry, terms: NoticeTerms, *, now: datetime
) -> None:
    """What devices would ignore, or could not follow, is refused here."""
    wanted = None if terms.restriction is None else terms.restriction.operating_point
    approved = () if wanted is None else _approved_points(repository, entry)
    for option, wrong, found, expected in (
        (
            "--operating-point",
            wanted is not None and wanted not in approved,
            str(wanted),
            ", ".join(approved) or "a point that the statement approved; it names none",
        ),
        (
            "--explicit-downgrade",
            terms.explicit_downgrade and not terms.fallback_versions,
            "no release to go back to",
            "at least one --fallback-version",
        ),
        (
            "--look-back-from",
            terms.look_back_from is not None and terms.look_back_from > now,
            str(terms.look_back_from),
            "a moment that has passed",
        ),
    ):
        if wrong:
            raise UsageError(
                "Devices could not do what the notice says.",
                reason=Reason.USAGE,
                where=option,
                found=found,
                expected=expected,
            )


def _approved_points(repository: AuthorityRepository, entry: IndexEntry) -> tuple[str, ...]:
    statement = statements(repository).get(entry.statement.sha256)
    if statement is None:
        return ()
    return tuple(point.id for point in statement.predicate.operating_point.restricted)


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
    """Sign a notice and publish it by the role safety alone.

    Returns:
        The version of the new timestamp.

    Raises:
        RefusedError: too few functions sign, there are more notices than devices read, or the
            clock is wrong.
    """
    repository = AuthorityRepository(workbench, now=now, secrets=secrets)
    repository.check_clock()
    kind = statement.predicate.kind
    require_functions(workbench, repository, people, kind)
    envelope = sign_envelope(
        statement.to_bytes(),
        payload_type=INTOTO_PAYLOAD_TYPE,
        signers=[person.signer for person in people],
    )
    lines = kept_lines(notice_lines(repository), now=now)
    data = notices_file([*lines, envelope], kind=kind)
    repository.discard(SAFETY_ROLE)
    repository.put_target(SAFETY_ROLE, NOTICES_TARGET, data)
    version = publish_roles(workbench, repository, roles=[SAFETY_ROLE], now=now)
    workbench.record(
        "notice.published",
        at=now,
        kind=kind,
        notice=statement.predicate.id,
        drill=statement.predicate.drill,
        action=statement.predicate.action,
        releases=[item.name for item in statement.subject],
        people=[person.settings.person_id for person in people],
        reason=statement.predicate.reason.text,
    )
    return version


@dataclass(frozen=True)
class Marking:
    """What became of the index after a notice.

    Attributes:
        marked: the releases that the index now calls withdrawn.
        remaining: the releases that it still calls eligible, although a notice is in force.
        why: why they remain.
    """

    marked: tuple[str, ...] = ()
    remaining: tuple[str, ...] = ()
    why: str = ""


def mark_index(workbench: Workbench, *, secrets: Secrets, now: datetime) -> Marking:
    """Mark on the index what notices took away, if the keys of the role eligibility can be opened.

    The notice is out already and devices obey it, so a key that is locked away is no failure.
    """
    repository = AuthorityRepository(workbench, now=now, secrets=secrets)
    index = published_index(repository)
    releases = tuple(
        f"{entry.component} {entry.version}" for entry in left_to_mark(index, repository).values()
    )
    if not releases:
        return Marking()
    try:
        repository.signers(ELIGIBILITY_ROLE)
    except UsageError as error:
        why = f"{error.message} {error.where}".strip()
        workbench.record("index.left-to-mark", at=now, releases=releases, why=why)
        return Marking(remaining=releases, why=why)
    repository.discard(ELIGIBILITY_ROLE)
    changed = next_index(marked(index, repository), [], now=now)
    repository.put_target(ELIGIBILITY_ROLE, INDEX_TARGET, changed.to_bytes())
    publish_roles(workbench, repository, roles=[ELIGIBILITY_ROLE], now=now)
    workbench.record("index.marked", at=now, releases=releases, index=changed.number)
    return Marking(marked=releases)
