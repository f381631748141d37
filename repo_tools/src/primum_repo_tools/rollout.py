"""The rollout plan: which release goes to which devices, inside the ceiling clinical signed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import uuid4

from primum_repo_tools.authority_settings import ROLLOUT_ROLE
from primum_repo_tools.keys import Secrets
from primum_repo_tools.publishing import publish_roles
from primum_repo_tools.reading import read_peer
from primum_repo_tools.repository import AuthorityRepository
from primum_repo_tools.workbench import Workbench
from primum_verifier.core.document import DigestSet, parse_document
from primum_verifier.core.eligibility import (
    INDEX_TARGET,
    EligibilityIndex,
    EligibilityStatement,
    statement_target,
)
from primum_verifier.core.errors import RefusedError, UsageError
from primum_verifier.core.manifest import MANIFEST_ROLE, manifest_target
from primum_verifier.core.reasons import Reason
from primum_verifier.keeping.rollout import ROLLOUT_TARGET, Assignment, Pause, Ring, RolloutPlan


@dataclass(frozen=True)
class Step:
    """One step of a rollout.

    Attributes:
        component: of which component.
        version: which release.
        ring: the ring that is set.
        pause: a stop that ends by itself, or None.
    """

    component: str
    version: str
    ring: Ring
    pause: Pause | None


def published_plan(repository: AuthorityRepository) -> RolloutPlan | None:
    """The plan as engineering published it, or None before the first."""
    data = repository.document(ROLLOUT_ROLE, ROLLOUT_TARGET)
    return None if data is None else parse_document(RolloutPlan, data, where=ROLLOUT_TARGET)


def next_plan(repository: AuthorityRepository, step: Step, *, now: datetime) -> RolloutPlan:
    """The plan with one step taken; its release comes first, rings of other names stand.

    Raises:
        UsageError: the release is not published.
    """
    target = repository.published_targets(MANIFEST_ROLE).get(
        manifest_target(step.component, step.version)
    )
    if target is None:
        raise UsageError(
            "This release is not published.",
            reason=Reason.USAGE,
            found=f"{step.component} {step.version}",
            remedy=f"Publish it first: primum-repo publish {repository.workbench.folder}",
        )
    before = published_plan(repository)
    release = DigestSet(sha256=target.hashes["sha256"])
    standing = () if before is None else before.assignments
    own = next((item for item in standing if item.release == release), None)
    rings = [] if own is None else [r for r in own.rings if r.name != step.ring.name]
    assignment = Assignment(
        component=step.component,
        version=step.version,
        release=release,
        not_before=now if own is None else own.not_before,
        rings=(*rings, step.ring),
        pause=step.pause,
    )
    return RolloutPlan(
        type="urn:primum:rollout-plan:v0.1",
        schema_version="0.1",
        id=uuid4().urn,
        number=1 if before is None else before.number + 1,
        issued_at=now,
        assignments=(assignment, *(item for item in standing if item.release != release)),
    )


def replaced_ring(before: RolloutPlan | None, step: Step) -> str:
    """What a step replaces, and what it goes before for the devices that both name, in words."""
    replaced, later = "nothing", []
    for item in () if before is None else before.assignments:
        for ring in item.rings if item.component == step.component else ():
            devices = ring.devices if ring.devices == "all" else ", ".join(ring.devices)
            told = f"ring {ring.name}, {item.component} {item.version}: {ring.percentage} % of "
            if item.version != step.version:
                later.append(told + devices)
            elif ring.name == step.ring.name:
                replaced = told + devices
    return f"{replaced}; goes before {'; '.join(later)}" if later else replaced


def clinical_ceiling(
    workbench: Workbench, release: str, *, now: datetime
) -> tuple[int | None, Literal["eligible", "not-eligible-yet", "peer-unknown"]]:
    """The exposure that clinical allows a release, and what is known of its eligibility.

    Raises:
        PrimumError: clinical's web root is there and the client refuses it.
    """
    if workbench.peer is None:
        return None, "peer-unknown"
    with read_peer(workbench, now=now) as session:
        found = session.document(INDEX_TARGET)
        index = (
            None
            if found is None
            else parse_document(EligibilityIndex, found.data, where=INDEX_TARGET)
        )
        entry = None if index is None else index.entry_for(release)
        if entry is None:
            return None, "not-eligible-yet"
        target = statement_target(entry.statement.sha256)
        document = session.document(target)
    if document is None:
        return None, "not-eligible-yet"
    statement = parse_document(EligibilityStatement, document.data, where=target)
    status: Literal["eligible", "not-eligible-yet"] = (
        "eligible" if entry.status == "eligible" else "not-eligible-yet"
    )
    return statement.predicate.exposure.max_percentage, status


def check_ceiling(plan: RolloutPlan, ceiling: int | None) -> None:
    """Refuse a step beyond the exposure that clinical signed.

    Raises:
        RefusedError: ``eligibility.stage``.
    """
    first = plan.assignments[0]
    widest = max(ring.percentage for ring in first.rings)
    if ceiling is not None and widest > ceiling:
        raise RefusedError(
            "The rollout goes beyond the exposure that clinical signed.",
            reason=Reason.ELIGIBILITY_STAGE,
            where=f"{first.component} {first.version}",
            found=f"{widest} %",
            expected=f"at most {ceiling} %",
            remedy="Ask clinical for a statement with a wider exposure.",
        )


def publish_plan(
    workbench: Workbench, plan: RolloutPlan, *, secrets: Secrets, now: datetime
) -> int:
    """Sign the plan by the role ``rollout`` and publish it.

    Returns:
        The version of the new timestamp.
    """
    repository = AuthorityRepository(workbench, now=now, secrets=secrets)
    repository.discard(ROLLOUT_ROLE)
    repository.put_target(ROLLOUT_ROLE, ROLLOUT_TARGET, plan.to_bytes())
    version = publish_roles(workbench, repository, roles=[ROLLOUT_ROLE], now=now)
    first = plan.assignments[0]
    workbench.record(
        "rollout.published",
        at=now,
        number=plan.number,
        release=f"{first.component} {first.version}",
        rings=[ring.model_dump(mode="json", by_alias=True) for ring in first.rings],
    )
    return version
