"""Where a workbench stands: signed, published, approved; missing, overridden."""

from __future__ import annotations

from datetime import datetime

from tuf.api.metadata import Targets

from primum_repo_tools.approvals import given_approvals, missing_functions
from primum_repo_tools.eligibility import (
    StatementDraft,
    published_index,
    statement_drafts,
)
from primum_repo_tools.evidence import UNSAFE_ACT, read_comparison
from primum_repo_tools.files import read_input
from primum_repo_tools.moments import plain
from primum_repo_tools.policy import left_to_burn, published_policy
from primum_repo_tools.published_notices import (
    end_of,
    left_to_mark,
    published_notices,
    takes_away_everywhere,
)
from primum_repo_tools.releases import COMPARISON_FILE, SELF_TEST_FILE, Draft, drafts
from primum_repo_tools.repository import AuthorityRepository
from primum_repo_tools.rollout import published_plan
from primum_repo_tools.sites import published_acceptance
from primum_repo_tools.summary import plain as plain_of
from primum_repo_tools.summary import text_of
from primum_repo_tools.workbench import Workbench
from primum_verifier.change.comparison_terms import Decision
from primum_verifier.core.approval import ApprovalPolicy
from primum_verifier.core.document import parse_document
from primum_verifier.core.eligibility import ELIGIBILITY_ROLE, EligibilityIndex, statement_target
from primum_verifier.core.manifest import MANIFEST_ROLE, manifest_target
from primum_verifier.core.vocabulary import NoticeKind
from primum_verifier.proof.selftest_result import SelfTestReport
from primum_verifier.record.signatures import as_dict


def workbench_status(workbench: Workbench, *, now: datetime) -> dict[str, object]:
    """The whole standing of a workbench as plain values; nothing is changed.

    Raises:
        PrimumError: a file of the workbench is damaged.
    """
    repository = AuthorityRepository(workbench, now=now)
    status: dict[str, object] = {
        "authority": workbench.authority,
        "title": workbench.settings.title,
        "created": workbench.is_created,
        "roles": roles_status(workbench, repository, now=now),
        "unsafe": [item for item in workbench.records() if item.get("act") == UNSAFE_ACT],
    }
    if not workbench.is_created:
        return status
    if workbench.authority == "engineering":
        plan = published_plan(repository)
        status["releases"] = [_release(draft, repository) for draft in drafts(workbench)]
        status["rollout"] = (
            None if plan is None else plan.model_dump(mode="json", by_alias=True, exclude_none=True)
        )
    elif workbench.authority == "site":
        acceptance = published_acceptance(repository)
        status["acceptance"] = acceptance.model_dump(mode="json", by_alias=True, exclude_none=True)
    else:
        policy, index = published_policy(repository), published_index(repository)
        status["people"] = people_status(policy)
        status["policy"] = policy.model_dump(
            mode="json", by_alias=True, exclude={"people"}, exclude_none=True
        )
        status["leftToBurn"] = list(left_to_burn(repository))
        status["notices"] = notices_status(index, repository, now=now)
        status["index"] = index.model_dump(mode="json", by_alias=True)
        status["statements"] = [
            statement_status(draft, policy, index, repository)
            for draft in statement_drafts(workbench)
        ]
    return status


def roles_status(
    workbench: Workbench, repository: AuthorityRepository, *, now: datetime
) -> list[dict[str, object]]:
    """Each role with its version, expiry, keys and threshold."""
    staged = repository.staged_roles() if workbench.is_created else []
    found: list[dict[str, object]] = []
    for role, settings in workbench.settings.roles.items():
        version, expires = repository.published_state(role)
        found.append(
            {
                "role": role,
                "version": version,
                "expires": None if expires is None else plain(expires),
                "state": "not-published"
                if expires is None
                else ("expired" if expires <= now else "valid"),
                "threshold": settings.threshold,
                "keys": list(settings.keys),
                "staged": role in staged,
            }
        )
    return found


def people_status(policy: ApprovalPolicy) -> list[dict[str, object]]:
    """The people of the policy."""
    return [
        {
            "personId": person.person_id,
            "printedName": person.printed_name,
            "function": str(person.function),
            "status": str(person.status),
            "keyId": person.key.key_id,
        }
        for person in policy.people
    ]


def notices_status(
    index: EligibilityIndex, repository: AuthorityRepository, *, now: datetime
) -> list[dict[str, object]]:
    """The notices that have not ended, and what of them the index does not say yet."""
    notices = published_notices(repository)
    left = left_to_mark(index, repository)
    found: list[dict[str, object]] = []
    for statement in notices:
        said, ends = statement.predicate, end_of(statement)
        if ends is not None and ends <= now:
            continue
        unmarked = [item.name for item in statement.subject if item.digest.sha256 in left]
        found.append(
            {
                "id": said.id,
                "kind": str(said.kind),
                "action": str(said.action),
                "releases": [item.name for item in statement.subject],
                "reason": said.reason.text,
                "issuedAt": plain(said.issued_at),
                "ends": None if ends is None else plain(ends),
                "scope": text_of(plain_of(said.scope)),
                "drill": said.drill,
                "takesAwayEverywhere": takes_away_everywhere(statement),
                "leftToMark": [] if said.kind == NoticeKind.HOLD else unmarked,
            }
        )
    return found


def statement_status(
    draft: StatementDraft,
    policy: ApprovalPolicy,
    index: EligibilityIndex,
    repository: AuthorityRepository,
) -> dict[str, object]:
    """One statement: who said what, who is missing, and what the index says."""
    given = given_approvals(draft, policy)
    said = draft.statement.predicate
    entry = index.entry_for(draft.statement.release)
    return {
        "release": draft.manifest.name,
        "number": draft.statement.predicate.statement_number,
        "statement": draft.sha256,
        "stage": str(draft.statement.predicate.stage),
        "approvals": [as_dict(item) for item in given],
        "missing": missing_functions(given, policy.needed_for(said.stage, said.change_tier)),
        "published": statement_target(draft.sha256)
        in repository.published_targets(ELIGIBILITY_ROLE),
        "index": None if entry is None else str(entry.status),
    }


def _release(draft: Draft, repository: AuthorityRepository) -> dict[str, object]:
    bundle = draft.manifest.bundle
    target = manifest_target(bundle.component, bundle.version)
    published = target in repository.published_targets(MANIFEST_ROLE)
    staged = repository.staged(MANIFEST_ROLE, Targets)
    return {
        "release": draft.manifest.name,
        "releaseCounter": bundle.release_counter,
        "sha256": draft.sha256,
        "components": {item.id: item.version for item in draft.manifest.components},
        "signed": published or (staged is not None and target in staged.targets),
        "published": published,
        "selfTest": _self_test(draft),
        "comparison": _comparison(draft),
    }


def _self_test(draft: Draft) -> str:
    path = draft.folder / SELF_TEST_FILE
    if not path.is_file():
        return "not-run"
    data = read_input(path, what="self-test report")
    return str(parse_document(SelfTestReport, data, where=str(path)).overall)


def _comparison(draft: Draft) -> str:
    path = draft.folder / COMPARISON_FILE
    if path.is_file():
        return str(Decision(read_comparison(path).overall))
    return "missing" if draft.manifest.previous is not None else "not-applicable"
