"""A responsible organisation: which eligibility statements it lets in, from when, until when.

It can only narrow what the manufacturer's authorities allow, and its silence stops new
activations only (IEC 80001-1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import uuid4

from tuf.api.metadata import Targets

from primum_repo_tools.authority_settings import SiteSettings
from primum_repo_tools.publishing import publish_roles
from primum_repo_tools.reading import peer_view
from primum_repo_tools.repository import AuthorityRepository
from primum_repo_tools.settings import checked_settings
from primum_repo_tools.workbench import Workbench
from primum_verifier.core.document import parse_document
from primum_verifier.core.eligibility import (
    ELIGIBILITY_ROLE,
    INDEX_TARGET,
    Condition,
    EligibilityIndex,
    EligibilityStatement,
    statement_target,
)
from primum_verifier.core.errors import FailedError, RefusedError, UsageError
from primum_verifier.core.reasons import Reason
from primum_verifier.core.site import ACCEPTANCE_TARGET, Accepted, SiteAcceptance
from primum_verifier.core.vocabulary import IndexStatus

_ROLES = frozenset({ELIGIBILITY_ROLE})


@dataclass(frozen=True)
class Offered:
    """A statement that clinical lists, as the organisation reads it.

    Attributes:
        name: component and version.
        sha256: of the statement.
        statement: parsed.
    """

    name: str
    sha256: str
    statement: EligibilityStatement


def first_acceptance(settings: SiteSettings, *, now: datetime) -> SiteAcceptance:
    """The acceptance before anything was let in."""
    return SiteAcceptance(
        type="urn:primum:site-acceptance:v0.1",
        schema_version="0.1",
        id=uuid4().urn,
        number=1,
        issued_at=now,
        organisation=settings.organisation,
        sites=settings.sites,
        accepted=(),
    )


def published_acceptance(repository: AuthorityRepository) -> SiteAcceptance:
    """The acceptance as the organisation published it.

    Raises:
        FailedError: there is none; the authority was not created whole.
    """
    data = repository.document(Targets.type, ACCEPTANCE_TARGET)
    if data is None:
        raise FailedError(
            "There is no acceptance.", reason=Reason.STATE_DAMAGED, where=ACCEPTANCE_TARGET
        )
    return parse_document(SiteAcceptance, data, where=ACCEPTANCE_TARGET)


def offered_release(
    workbench: Workbench, component: str, version: str, *, now: datetime
) -> Offered:
    """What clinical lists of a release, read as a device reads it.

    Raises:
        UsageError: it is not on clinical's list.
        RefusedError: it is there and is not eligible, or its statement cannot be had.
    """
    data = peer_view(workbench, [INDEX_TARGET], now=now).document(INDEX_TARGET, roles=_ROLES)
    index = None if data is None else parse_document(EligibilityIndex, data, where=INDEX_TARGET)
    listed = () if index is None else index.listed
    entry = next((i for i in listed if (i.component, i.version) == (component, version)), None)
    if entry is None:
        raise UsageError(
            "Clinical does not list this release.",
            reason=Reason.USAGE,
            where=INDEX_TARGET,
            found=f"{component} {version}",
            expected=", ".join(f"{i.component} {i.version}" for i in listed) or "none yet",
        )
    name, sha256 = f"{component} {version}", entry.statement.sha256
    if entry.status != IndexStatus.ELIGIBLE:
        raise RefusedError(
            "The release is not eligible; there is nothing to accept.",
            reason=Reason.ELIGIBILITY_WITHDRAWN,
            where=name,
            found=str(entry.status),
            expected=str(IndexStatus.ELIGIBLE),
        )
    target = statement_target(sha256)
    data = peer_view(workbench, [target], now=now).document(target, roles=_ROLES)
    if data is None:
        raise RefusedError(
            "Clinical does not publish the statement that it lists.",
            reason=Reason.TRUST_NOT_FOUND,
            where=target,
            remedy="Ask the manufacturer.",
        )
    return Offered(name, sha256, parse_document(EligibilityStatement, data, where=target))


def accepted_terms(
    offered: Offered,
    *,
    person: str,
    since: datetime | None,
    until: datetime | None,
    conditions: Sequence[str],
) -> Accepted:
    """What accepting a statement says.

    Args:
        offered: the statement.
        person: who decided, by printed name.
        since: from when; None: from when the statement itself is valid.
        until: until when; None: as long as it stands.
        conditions: further conditions, each ``CODE,activation|inference|labelling,TEXT``.

    Raises:
        UsageError: it ends before it begins, or a condition is of another form.
    """
    begins = since or offered.statement.predicate.validity.not_before
    if until is not None and until <= begins:
        raise UsageError(
            "The acceptance ends before it begins.",
            reason=Reason.USAGE,
            where="--until",
            found=until.isoformat(),
            expected=f"a moment after {begins.isoformat()}",
        )
    content: dict[str, object] = {
        "statement": {"sha256": offered.sha256},
        "acceptedFrom": begins.isoformat(),
        "conditions": [
            _condition(text).model_dump(mode="json", by_alias=True) for text in conditions
        ],
        "person": person,
    }
    if until is not None:
        content["acceptedUntil"] = until.isoformat()
    return checked_settings(Accepted, content, where="--person, --condition")


def ended(repository: AuthorityRepository, statement: str, *, now: datetime) -> Accepted:
    """An acceptance as it stands when it is ended now.

    Args:
        repository: of the organisation.
        statement: SHA-256 of the statement, or as much of it as names one alone.
        now: the moment from which nothing new is let in.

    Raises:
        UsageError: it names none, or several, that are accepted at this moment.
    """
    acceptance = published_acceptance(repository)
    standing = [
        item
        for item in acceptance.accepted
        if item.accepted_until is None or item.accepted_until > now
    ]
    meant = [item for item in standing if statement and item.statement.sha256.startswith(statement)]
    if len(meant) != 1:
        raise UsageError(
            "This names no statement that is accepted, or more than one.",
            reason=Reason.USAGE,
            where=ACCEPTANCE_TARGET,
            found=statement[:80],
            expected=", ".join(item.statement.sha256 for item in standing)
            or "a statement that is accepted; there is none",
            remedy=f"See: primum-repo site list {repository.workbench.folder}",
        )
    return meant[0].model_copy(update={"accepted_until": now})


def next_acceptance(
    repository: AuthorityRepository, accepted: Accepted, *, now: datetime
) -> SiteAcceptance:
    """The acceptance in force with one statement accepted, changed or ended."""
    acceptance = published_acceptance(repository)
    settings = repository.workbench.settings.site
    if settings is None:
        raise RuntimeError("the settings were checked to name a site")
    kept = [item for item in acceptance.accepted if item.statement != accepted.statement]
    return acceptance.model_copy(
        update={
            "number": acceptance.number + 1,
            "id": uuid4().urn,
            "issued_at": now,
            "organisation": settings.organisation,
            "sites": settings.sites,
            "accepted": (*kept, accepted),
        }
    )


def publish_acceptance(
    workbench: Workbench,
    repository: AuthorityRepository,
    acceptance: SiteAcceptance,
    *,
    act: str,
    statement: str,
    now: datetime,
) -> None:
    """Sign an acceptance by the organisation's top role and publish it."""
    repository.check_clock()
    repository.discard(Targets.type)
    data = acceptance.to_bytes()
    # Read as a device reads it: a list that devices refuse must never be published.
    parse_document(SiteAcceptance, data, where=ACCEPTANCE_TARGET)
    repository.put_target(Targets.type, ACCEPTANCE_TARGET, data)
    publish_roles(workbench, repository, roles=[Targets.type], now=now)
    workbench.record(act, at=now, statement=statement, acceptance=acceptance.number)


def _condition(text: str) -> Condition:
    code, _, rest = text.partition(",")
    enforce, comma, words = rest.partition(",")
    if not comma:
        raise UsageError(
            "This is no condition.",
            reason=Reason.USAGE,
            where="--condition",
            found=text[:200],
            expected="CODE,ENFORCE,TEXT, such as trained,labelling,Only after training",
        )
    content = {"code": code, "enforce": enforce, "text": words.strip()}
    return checked_settings(Condition, content, where="--condition")
