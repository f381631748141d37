"""What clinical publishes: statements with their approvals, and the index that lists them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import uuid4

from tuf.api.metadata import Root, Targets

from primum_repo_tools.approvals import require_approvals
from primum_repo_tools.eligibility import (
    StatementDraft,
    open_statement,
    published_index,
    require_met_comparison,
    statement_drafts,
)
from primum_repo_tools.keys import Secrets
from primum_repo_tools.peer_release import read_peer_release
from primum_repo_tools.policy import next_policy, published_policy, put_policy
from primum_repo_tools.published_notices import (
    ensure_notices,
    marked,
    notice_lines,
    published_notices,
    unanswered,
)
from primum_repo_tools.publishing import publish_roles
from primum_repo_tools.repository import AuthorityRepository
from primum_repo_tools.standing_releases import require_place
from primum_repo_tools.workbench import Workbench
from primum_verifier.core.document import DigestSet
from primum_verifier.core.eligibility import (
    ELIGIBILITY_ROLE,
    INDEX_TARGET,
    EligibilityIndex,
    IndexEntry,
    approvals_target,
    statement_target,
)
from primum_verifier.core.errors import RefusedError, UsageError
from primum_verifier.core.notice import SAFETY_ROLE
from primum_verifier.core.reasons import Reason
from primum_verifier.core.vocabulary import IndexStatus
from primum_verifier.shell.tuf_keys import public_of


def clinical_public_keys(repository: AuthorityRepository) -> frozenset[str]:
    """Every public key that counts for any role of this authority, as a view holds them."""
    root = repository.published(Root.type, Root)
    targets = repository.published(Targets.type, Targets)
    keys = list(root.keys.values()) if root else []
    if targets is not None and targets.delegations is not None:
        keys += targets.delegations.keys.values()
    return frozenset(public_of(key) for key in keys)


def next_index(
    index: EligibilityIndex, entries: Sequence[IndexEntry], *, now: datetime
) -> EligibilityIndex:
    """The next index: entries of the same release are replaced, the others stand."""
    changed = {entry.release.sha256: entry for entry in entries}
    kept = [entry for entry in index.listed if entry.release.sha256 not in changed]
    return EligibilityIndex(
        type="urn:primum:eligibility-index:v0.1",
        schema_version="0.1",
        id=uuid4().urn,
        number=index.number + 1,
        issued_at=now,
        entries=(*kept, *changed.values()),
    )


def unpublished(workbench: Workbench, repository: AuthorityRepository) -> list[StatementDraft]:
    """The drafts that are not published yet."""
    published = repository.published_targets(ELIGIBILITY_ROLE)
    return [
        draft
        for draft in statement_drafts(workbench)
        if statement_target(draft.sha256) not in published
    ]


def chosen_drafts(
    workbench: Workbench,
    repository: AuthorityRepository,
    *,
    component: str | None,
    version: str | None,
) -> list[StatementDraft]:
    """The one draft that was named, or every one that is not published; there may be none.

    Raises:
        UsageError: the one that was named was not prepared.
    """
    if component is not None and version is not None:
        return [open_statement(workbench, component, version)]
    return unpublished(workbench, repository)


def is_listed(repository: AuthorityRepository, draft: StatementDraft) -> bool:
    """Whether the index lists exactly this statement as eligible, with exactly these approvals."""
    entry = published_index(repository).entry_for(draft.statement.release)
    if entry is None or entry.status != IndexStatus.ELIGIBLE:
        return False
    given = repository.document(ELIGIBILITY_ROLE, approvals_target(draft.sha256))
    return entry.statement.sha256 == draft.sha256 and given == draft.approvals()


def gate_statements(
    workbench: Workbench,
    repository: AuthorityRepository,
    drafts: Sequence[StatementDraft],
    *,
    now: datetime,
) -> EligibilityIndex:
    """Ask everything that is asked before drafts are listed; nothing is signed or changed.

    Returns:
        The index as it would be published.

    Raises:
        RefusedError: approvals or the comparison are missing, or a rule of devices refuses.
    """
    # What a notice took away is withdrawn, whether or not the index says so already.
    before = marked(published_index(repository), repository)
    index = next_index(before, [_entry(draft, now=now) for draft in drafts], now=now)
    policy, keys = published_policy(repository), clinical_public_keys(repository)
    for draft in drafts:
        bundle = draft.manifest.bundle
        release = read_peer_release(workbench, bundle.component, bundle.version, now=now)
        require_place(workbench, release, before=before.listed, after=index.listed, now=now)
        require_met_comparison(draft.folder, release.manifest, release.sha256)
        _refuse_withdrawn(repository, before, draft)
        require_approvals(
            draft,
            release=release,
            index=index,
            policy=policy,
            notices=b"".join(line + b"\n" for line in notice_lines(repository)),
            clinical_keys=keys,
            now=now,
        )
    return index


def publish_statements(
    workbench: Workbench,
    drafts: Sequence[StatementDraft],
    *,
    secrets: Secrets,
    now: datetime,
) -> int:
    """Gate drafts by the device's own rules, list them as eligible and publish them together.

    Returns:
        The version of the new timestamp.

    Raises:
        RefusedError: approvals or the comparison are missing, or a rule refuses; nothing is
            published.
    """
    repository = AuthorityRepository(workbench, now=now, secrets=secrets)
    index = gate_statements(workbench, repository, drafts, now=now)
    repository.discard(ELIGIBILITY_ROLE)
    for draft in drafts:
        repository.put_target(ELIGIBILITY_ROLE, statement_target(draft.sha256), draft.data)
        target = approvals_target(draft.sha256)
        repository.put_target(ELIGIBILITY_ROLE, target, draft.approvals())
    repository.put_target(ELIGIBILITY_ROLE, INDEX_TARGET, index.to_bytes())
    version = publish_roles(workbench, repository, roles=[ELIGIBILITY_ROLE], now=now)
    for draft in drafts:
        workbench.record(
            "statement.published",
            at=now,
            release=draft.manifest.name,
            statement=draft.sha256,
            index=index.number,
        )
    return version


def renew_roles(
    workbench: Workbench, roles: Sequence[str], *, secrets: Secrets, now: datetime
) -> int:
    """Sign roles again before they expire.

    A renewed index is a new one with the same entries; what a notice took away meanwhile is
    marked on it as withdrawn, and burned by a renewed policy.

    Raises:
        UsageError: a role that is no delegated role or ``targets``.
    """
    allowed = sorted(set(workbench.settings.roles) - {"root", "snapshot", "timestamp"})
    for role in roles:
        if role not in allowed:
            raise UsageError(
                "This role cannot be renewed like this.",
                reason=Reason.USAGE,
                found=role,
                expected=", ".join(allowed),
            )
    repository = AuthorityRepository(workbench, now=now, secrets=secrets)
    repository.discard(*roles)
    for role in roles:
        if role == ELIGIBILITY_ROLE:
            before = marked(published_index(repository), repository)
            index = next_index(before, [], now=now)
            repository.put_target(role, INDEX_TARGET, index.to_bytes())
        elif role == Targets.type and workbench.authority == "clinical":
            put_policy(repository, next_policy(repository, now=now))
        else:
            with repository.edit_targets(role):
                pass
        if role == SAFETY_ROLE:
            ensure_notices(repository)
    version = publish_roles(workbench, repository, roles=list(roles), now=now)
    workbench.record("roles.renewed", at=now, roles=sorted(roles))
    return version


def _entry(draft: StatementDraft, *, now: datetime) -> IndexEntry:
    bundle = draft.manifest.bundle
    return IndexEntry(
        component=bundle.component,
        version=bundle.version,
        release=DigestSet(sha256=draft.statement.release),
        statement=DigestSet(sha256=draft.sha256),
        status=IndexStatus.ELIGIBLE,
        effective_at=now,
    )


def _refuse_withdrawn(
    repository: AuthorityRepository, index: EligibilityIndex, draft: StatementDraft
) -> None:
    """What was withdrawn comes back only by a statement drafted after it that answers it."""
    said, release = draft.statement.predicate, draft.statement.release
    against = unanswered(published_notices(repository), release, said.answers)
    entry = index.entry_for(release)
    found = ""
    if against:
        found = "; ".join(f"{item.predicate.id}: {item.predicate.reason.text}" for item in against)
    elif (
        entry is not None
        and entry.status != IndexStatus.ELIGIBLE
        and said.issued_at < entry.effective_at
    ):
        found = f"{entry.status} since {entry.effective_at:%Y-%m-%dT%H:%M:%SZ}"
    if found:
        bundle = draft.manifest.bundle
        raise RefusedError(
            "The release was withdrawn after this statement was drafted.",
            reason=Reason.ELIGIBILITY_WITHDRAWN,
            where=draft.manifest.name,
            found=found,
            expected="a statement that was drafted and approved after that and answers it",
            remedy="Collect every approval for a new statement: "
            f"primum-repo approve prepare {repository.workbench.folder} {bundle.component} "
            f"{bundle.version} --terms TOML",
        )
