"""What is asked of the core, and what it answers: the question, the check, the verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from primum_verifier.core.device import TrustMap
from primum_verifier.core.eligibility import EligibilityStatement
from primum_verifier.core.manifest import ReleaseManifest
from primum_verifier.core.reasons import Reason
from primum_verifier.core.view import AuthorityView
from primum_verifier.core.vocabulary import (
    Capability,
    EpisodeRule,
    NoticeAction,
    Outcome,
    Phase,
)


class ArtifactsFact(StrEnum):
    """What the device found of the release's files."""

    NOT_FETCHED = "not-fetched"
    WHOLE = "whole"
    DAMAGED = "damaged"


class SelfTestFact(StrEnum):
    """What the device's own test of this release said."""

    NOT_RUN = "not-run"
    PASSED = "passed"
    FAILED = "failed"
    INCOMPLETE = "incomplete"


class ClinicalUse(StrEnum):
    """Whether a patient is being served right now."""

    IDLE = "idle"
    IN_USE = "in-use"


@dataclass(frozen=True)
class SeenHold:
    """A hold that this device has obeyed before: the same person may hold once in 30 days.

    Attributes:
        notice: its id.
        person_id: who signed it.
        issued_at: when, as the notice says.
    """

    notice: str
    person_id: str
    issued_at: datetime


@dataclass(frozen=True, kw_only=True)
class Question:
    """Given this device, these documents and this time, what may be done with this release?

    Attributes:
        phase: install or activate something new, go back to something held, or continue.
        release: SHA-256 of the release's manifest.
        trust_map: what the device was provisioned with.
        engineering: the last accepted view of the engineering authority.
        clinical: the last accepted view of the clinical authority.
        device_context: the DSSE envelope of the device context.
        agent_version: the version of the agent that asks.
        hardware_id: the hardware as measured on the device, not as written anywhere.
        device_key: the public part of the key that the device really holds.
        clock: the device's clock, None when it is known to be wrong.
        proven: a moment that has certainly passed, None when the authorities signed none.
        last_context: the context that this device trusted last; it stands for what runs, and for
            the way back, where the present one cannot be trusted.
        site: the last accepted view of the responsible organisation, where the map names one.
        counter_floor: no release with a lower counter may be taken in this phase.
        context_floor: the highest number of a device context ever accepted.
        artifacts: what was found of the release's files.
        self_test: what the device's own test said.
        clinical_use: whether a patient is being served right now.
        activated_under: the statement under which the active release was activated, as the
            device kept it; by it a release ends that no list names any more.
        last_list_issued_at: the issue time of the last list that this device could read.
        installed: the versions of the other components on the device, by name.
        installers: for each component of a set that the device takes, what brings it into effect.
        operating_system: what the device runs, as the statement would name it.
        conditions_met: the codes of the conditions that the device found to hold now.
        asks_per_episode: whether the application asks before each episode.
        operator_agreed: whether a person agreed to this very release.
        seen_holds: the holds that this device obeyed before.
        shadowed_under: SHA-256 of the statement under which this release was in shadow on this
            device, cleanly; empty while it was not.
    """

    phase: Phase
    release: str
    trust_map: TrustMap
    engineering: AuthorityView
    clinical: AuthorityView
    device_context: bytes
    agent_version: str
    hardware_id: str
    device_key: str
    clock: datetime | None
    proven: datetime | None
    last_context: bytes | None = None
    site: AuthorityView | None = None
    counter_floor: int = 0
    context_floor: int = 0
    artifacts: ArtifactsFact = ArtifactsFact.NOT_FETCHED
    self_test: SelfTestFact = SelfTestFact.NOT_RUN
    clinical_use: ClinicalUse = ClinicalUse.IDLE
    activated_under: bytes | None = None
    last_list_issued_at: datetime | None = None
    installed: Mapping[str, str] = field(default_factory=dict)
    installers: Mapping[str, str] = field(default_factory=dict)
    operating_system: str = ""
    conditions_met: frozenset[str] = frozenset()
    asks_per_episode: bool = False
    operator_agreed: bool = False
    seen_holds: tuple[SeenHold, ...] = ()
    shadowed_under: str = ""


@dataclass(frozen=True)
class Check:
    """One rule and its outcome.

    Attributes:
        name: the rule's stable name.
        outcome: satisfied, refused, not-applicable or unknown.
        reason: the reason code when it is refused or unknown.
        found: what was there.
        expected: what the rule asks for.
        source: the signed document it was read from.
        clause: the specification or regulation the rule rests on.
    """

    name: str
    outcome: Outcome
    reason: Reason | None
    found: str
    expected: str
    source: str
    clause: str

    @property
    def stands_in_the_way(self) -> bool:
        """Whether this check alone keeps the device from going on; unknown is never yes."""
        return self.outcome in {Outcome.REFUSED, Outcome.UNKNOWN}

    def as_dict(self) -> dict[str, object]:
        """The check as JSON shows it."""
        return {
            "name": self.name,
            "outcome": str(self.outcome),
            "reason": None if self.reason is None else str(self.reason),
            "found": self.found,
            "expected": self.expected,
            "source": self.source,
            "clause": self.clause,
        }


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is to be done with a running release, and why.

    Attributes:
        action: what the device does.
        reason: the reason code.
        found: what was found.
        source: the signed document that orders it.
        user_notice: what the user is told.
        fallback: manifests to go back to, best first.
        running_episode: what becomes of an episode that runs.
        max_use_seconds: how long an episode may still run; None: as long as it lasts.
        preserve_evidence: whether the bytes of what is taken away are kept.
        operating_point: the approved point at which it runs from now on, where one was chosen.
    """

    action: NoticeAction
    reason: Reason
    found: str
    source: str
    user_notice: str
    fallback: tuple[str, ...] = ()
    running_episode: EpisodeRule = EpisodeRule.FINISH_EPISODE
    max_use_seconds: int | None = None
    preserve_evidence: bool = False
    operating_point: str | None = None


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The answer: how far the device may go, and every rule that was asked.

    Attributes:
        phase: the phase that was asked about.
        release: SHA-256 of the manifest.
        name: component and version, or the start of the digest when there is no manifest.
        capability: how far the device may go.
        checks: every rule in the order it was judged.
        order: for a running release, what is to be done with it; None when nothing is.
        views: the ids of the views judged over, by authority.
        judged_at: the clock used, if it was known.
        manifest: the manifest, where it was found.
        statement: the eligibility statement, where it was found.
        statement_digest: its SHA-256.
        statement_bytes: its exact bytes, for a device to keep with what it activates.
        per_episode: what the application must ask before each episode (:mod:`terms`).
        seen_holds: the holds about this release, for a device to remember.
        list_issued_at: the issue time of the list judged by, for a device to remember.
        not_understood: members of the documents that this build does not know, for people.
    """

    phase: Phase
    release: str
    name: str
    capability: Capability
    checks: tuple[Check, ...]
    order: Order | None
    views: Mapping[str, str]
    judged_at: datetime | None
    manifest: ReleaseManifest | None
    statement: EligibilityStatement | None
    statement_digest: str | None
    statement_bytes: bytes | None
    per_episode: Mapping[str, object]
    seen_holds: tuple[SeenHold, ...]
    list_issued_at: datetime | None
    not_understood: tuple[str, ...]

    @property
    def in_the_way(self) -> tuple[Check, ...]:
        """The checks that stand in the way, in order."""
        return tuple(check for check in self.checks if check.stands_in_the_way)

    @property
    def primary(self) -> Reason | None:
        """The one reason that explains a refusal; None when nothing stands in the way."""
        return next((check.reason for check in self.in_the_way), None)

    @property
    def ordered(self) -> NoticeAction | None:
        """What is to be done with a running release."""
        return None if self.order is None else self.order.action

    @property
    def user_notice(self) -> str:
        """What the user is to be told."""
        return "" if self.order is None else self.order.user_notice

    @property
    def fallback(self) -> tuple[str, ...]:
        """The manifests to go back to, best first, where a notice orders one."""
        return () if self.order is None else self.order.fallback

    def as_dict(self) -> dict[str, object]:
        """The verdict as JSON shows it; every rule is in it."""
        order = self.order
        return {
            "release": self.release,
            "name": self.name,
            "phase": str(self.phase),
            "capability": self.capability.label,
            "primary": None if self.primary is None else str(self.primary),
            "ordered": None if order is None else str(order.action),
            "runningEpisode": None if order is None else str(order.running_episode),
            "maxUseSeconds": None if order is None else order.max_use_seconds,
            "userNotice": self.user_notice,
            "fallback": list(self.fallback),
            **{f"{authority}View": view for authority, view in self.views.items()},
            "judgedAt": None if self.judged_at is None else self.judged_at.isoformat(),
            "statement": self.statement_digest,
            "statementNumber": (
                None if self.statement is None else self.statement.predicate.statement_number
            ),
            "perEpisode": dict(self.per_episode),
            "notUnderstood": list(self.not_understood),
            "checks": [check.as_dict() for check in self.checks],
        }
