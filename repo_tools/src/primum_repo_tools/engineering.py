"""What engineering signs and publishes: releases by the role ``model``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from tuf.api.metadata import Targets

from primum_repo_tools.deltas.releases import delta_artifacts, staged_delta_lists
from primum_repo_tools.evidence import Override, check_artifacts, gate_release
from primum_repo_tools.keys import Secrets
from primum_repo_tools.publishing import publish_roles
from primum_repo_tools.releases import Draft, manifests_of, open_draft, signed_digests
from primum_repo_tools.repository import AuthorityRepository
from primum_repo_tools.standing_releases import (
    check_baselines,
    check_counter,
    published_releases,
)
from primum_repo_tools.workbench import Workbench
from primum_verifier.core.errors import RefusedError, UsageError
from primum_verifier.core.manifest import MANIFEST_ROLE, manifest_target
from primum_verifier.core.reasons import Reason
from primum_verifier.delta.delta_list import delta_list_target


def check_signable(
    workbench: Workbench, draft: Draft, repository: AuthorityRepository, *, now: datetime
) -> None:
    """See to it that a draft may be signed: whole, new, and compared with the right releases.

    Raises:
        RefusedError: it may not.
    """
    check_artifacts(draft)
    bundle = draft.manifest.bundle
    target = manifest_target(bundle.component, bundle.version)
    signed = signed_digests(repository)
    if signed.get(target, draft.sha256) != draft.sha256:
        raise RefusedError(
            "This version was signed already with other bytes.",
            reason=Reason.USAGE,
            where=draft.manifest.name,
            found=f"sha256 {draft.sha256}",
            expected=f"sha256 {signed[target]}",
            remedy="Give the new bytes a new version; a version means one release for ever.",
        )
    for other in signed:
        _, component, version, _ = other.split("/")
        if component != bundle.component or version == bundle.version:
            continue
        counter = open_draft(workbench, component, version).manifest.bundle.release_counter
        if counter == bundle.release_counter:
            raise RefusedError(
                "Another release has this release counter.",
                reason=Reason.USAGE,
                where=draft.manifest.name,
                found=f"{counter}, the counter of {version}",
                expected="a counter of its own",
            )
    check_counter(repository, draft.manifest, draft.sha256)
    check_baselines(workbench, repository, draft.manifest, draft.sha256, now=now)


def sign_release(
    workbench: Workbench, draft: Draft, *, secrets: Secrets, now: datetime
) -> AuthorityRepository:
    """Put a release's manifest into the role ``model``, signed at threshold, staged.

    Nothing is published; other staged releases stay staged.
    """
    repository = AuthorityRepository(workbench, now=now, secrets=secrets)
    check_signable(workbench, draft, repository, now=now)
    bundle = draft.manifest.bundle
    repository.put_target(
        MANIFEST_ROLE, manifest_target(bundle.component, bundle.version), draft.data
    )
    workbench.record(
        "release.signed",
        at=now,
        release=draft.manifest.name,
        sha256=draft.sha256,
        keys=[signer.public.key_id for signer in repository.signers(MANIFEST_ROLE)],
    )
    return repository


def unsign_release(
    workbench: Workbench, component: str, version: str, *, secrets: Secrets, now: datetime
) -> str:
    """Take a signed release that never was published out of staging; others stay staged.

    Returns:
        SHA-256 of the manifest that was signed.
    """
    repository = AuthorityRepository(workbench, now=now, secrets=secrets)
    sha256 = staged_digest(workbench, repository, component, version)
    name = manifest_target(component, version)
    # The deltas that lead to it go with it.
    gone = {name, delta_list_target(component, version)}
    published = repository.published_targets(MANIFEST_ROLE)
    staged = repository.staged(MANIFEST_ROLE, Targets)
    left = {} if staged is None else staged.targets
    if {key: target for key, target in left.items() if key not in gone} == published:
        # Nothing else waits: staging goes back to what is published, and no key is needed.
        repository.discard(MANIFEST_ROLE)
    else:
        with repository.edit_targets(MANIFEST_ROLE) as targets:
            for key in gone:
                targets.targets.pop(key, None)
    workbench.record("release.unsigned", at=now, release=f"{component} {version}", sha256=sha256)
    return sha256


def staged_digest(
    workbench: Workbench, repository: AuthorityRepository, component: str, version: str
) -> str:
    """SHA-256 of the manifest of a release that is signed and not published.

    Raises:
        RefusedError: it is published; a version means one release for ever.
        UsageError: it is not signed.
    """
    name = manifest_target(component, version)
    if name in repository.published_targets(MANIFEST_ROLE):
        raise RefusedError(
            "This release is published; what devices may have seen stays.",
            reason=Reason.USAGE,
            where=f"{component} {version}",
            remedy="To take it away from devices: primum-repo withdraw --help",
        )
    signed = signed_digests(repository)
    if name not in signed:
        waiting = sorted(set(signed) - set(repository.published_targets(MANIFEST_ROLE)))
        raise UsageError(
            "This release is not signed.",
            reason=Reason.USAGE,
            where=str(workbench.folder),
            found=f"{component} {version}",
            expected=", ".join(" ".join(item.split("/")[1:3]) for item in waiting)
            or "a signed release; none is staged",
            remedy=f"See: primum-repo status {workbench.folder}",
        )
    return signed[name]


def staged_releases(workbench: Workbench, repository: AuthorityRepository) -> list[Draft]:
    """The releases that are signed and not published, each checked to be what was signed.

    Raises:
        RefusedError: a draft changed after it was signed.
    """
    published = repository.published_targets(MANIFEST_ROLE)
    found = []
    for name, sha256 in sorted(signed_digests(repository).items()):
        if name in published:
            continue
        _, component, version, _ = name.split("/")
        draft = open_draft(workbench, component, version)
        if draft.sha256 != sha256:
            raise RefusedError(
                "A release is no longer the one that was signed.",
                reason=Reason.ARTIFACT_DIGEST,
                where=str(draft.folder),
                found=f"sha256 {draft.sha256}",
                expected=f"sha256 {sha256}",
                remedy="Restore the draft that was signed, or give the new one a new version.",
            )
        found.append(draft)
    return found


def newest_published(repository: AuthorityRepository) -> list[str]:
    """The newest published release of each component, by its release counter."""
    names = manifests_of(repository.published_targets(MANIFEST_ROLE))
    components = sorted({name.split("/")[1] for name in names})
    newest = [
        max(published_releases(repository, component), key=lambda item: item.counter)
        for component in components
    ]
    return [f"{name} {item.version}" for name, item in zip(components, newest, strict=True)]


def publish_releases(
    workbench: Workbench,
    *,
    overrides: frozenset[Override],
    secrets: Secrets,
    now: datetime,
) -> tuple[dict[str, Mapping[str, str]], int]:
    """Gate every staged release and publish them, and every staged delta list with its deltas.

    At least one of them is staged; caller holds the lock.

    Returns:
        For each release the outcome of each gate, and the version of the new timestamp.

    Raises:
        RefusedError: a gate refuses; nothing is published.
    """
    repository = AuthorityRepository(workbench, now=now, secrets=secrets)
    drafts = staged_releases(workbench, repository)
    outcomes = {
        draft.manifest.name: gate_release(
            workbench, repository, draft, overrides=overrides, now=now
        )
        for draft in drafts
    }
    lists = staged_delta_lists(repository)
    artifacts = {sha256: path for draft in drafts for sha256, path in draft.artifacts().items()}
    artifacts |= delta_artifacts(workbench, lists)
    # An authority from before there were deltas says with them that there may be some.
    widened = [Targets.type] if lists and Targets.type in repository.staged_roles() else []
    version = publish_roles(
        workbench, repository, roles=[MANIFEST_ROLE, *widened], now=now, artifacts=artifacts
    )
    for name, listed in lists.items():
        workbench.record(
            "deltas.published",
            at=now,
            release=name,
            number=listed.number,
            deltas=[delta.digest.sha256 for delta in listed.deltas],
        )
    for draft in drafts:
        workbench.record(
            "release.published",
            at=now,
            release=draft.manifest.name,
            sha256=draft.sha256,
            gates=dict(outcomes[draft.manifest.name]),
        )
    return outcomes, version
