"""What is asked of the core, and what it answers: the question, the check, the verdict."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from primum_verifier.core.device import TrustMap
from primum_verifier.core.eligibility import EligibilityStatement
from primum_verifier.core.manifest import ReleaseManifest
from primum_verifier.core.reasons import Reason
from primum_verifier.core.view import AuthorityView
from primum_verifier.core.vocabulary import Capability, NoticeAction, Outcome, Phase


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


@dataclass(frozen=True, kw_only=True)
class Question:
    """Given this device, these documents and this time, what may be done with this release?

    Attributes:
        phase: install something new, go back to something held, or continue with the active.
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
        counter_floor: no release with a lower counter may be taken in this phase.
        context_floor: the highest number of a device context ever accepted.
        artifacts: what was found of the release's files.
        self_test: what the device's own test said.
        clinical_use: whether a patient is being served right now.
        activated_under: the statement under which the active release was activated, as the
            device kept it; by it a release ends that no list names any more.
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
    counter_floor: int = 0
    context_floor: int = 0
    artifacts: ArtifactsFact = ArtifactsFact.NOT_FETCHED
    self_test: SelfTestFact = SelfTestFact.NOT_RUN
    clinical_use: ClinicalUse = ClinicalUse.IDLE
    activated_under: bytes | None = None


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


@dataclass(frozen=True)
class Verdict:
    """The answer: how far the device may go, and every rule that was asked.

    Attributes:
        phase: the phase that was asked about.
        release: SHA-256 of the manifest.
        name: component and version, or the start of the digest when there is no manifest.
        capability: how far the device may go.
        checks: every rule in the order it was judged.
        primary: the one reason that explains a refusal; None when nothing stands in the way.
        ordered: for a running release, what is to be done with it; None when nothing is.
        user_notice: what the user is to be told.
        fallback: manifests to go back to, best first, where a notice orders one.
        engineering_view: the id of the engineering view judged over.
        clinical_view: the id of the clinical view judged over.
        judged_at: the clock used, if it was known.
        manifest: the manifest, where it was found.
        statement: the eligibility statement, where it was found.
        statement_digest: its SHA-256.
        statement_bytes: its exact bytes, for a device to keep with what it activates.
    """

    phase: Phase
    release: str
    name: str
    capability: Capability
    checks: tuple[Check, ...]
    primary: Reason | None
    ordered: NoticeAction | None
    user_notice: str
    fallback: tuple[str, ...]
    engineering_view: str
    clinical_view: str
    judged_at: datetime | None
    manifest: ReleaseManifest | None
    statement: EligibilityStatement | None
    statement_digest: str | None
    statement_bytes: bytes | None = None

    @property
    def in_the_way(self) -> tuple[Check, ...]:
        """The checks that stand in the way, in order."""
        return tuple(check for check in self.checks if check.stands_in_the_way)

    def as_dict(self) -> dict[str, object]:
        """The verdict as JSON shows it; every rule is in it."""
        return {
            "release": self.release,
            "name": self.name,
            "phase": str(self.phase),
            "capability": self.capability.label,
            "primary": None if self.primary is None else str(self.primary),
            "ordered": None if self.ordered is None else str(self.ordered),
            "userNotice": self.user_notice,
            "fallback": list(self.fallback),
            "engineeringView": self.engineering_view,
            "clinicalView": self.clinical_view,
            "judgedAt": None if self.judged_at is None else self.judged_at.isoformat(),
            "statement": self.statement_digest,
            "statementNumber": (
                None if self.statement is None else self.statement.predicate.statement_number
            ),
            "checks": [
                {
                    "name": check.name,
                    "outcome": str(check.outcome),
                    "reason": None if check.reason is None else str(check.reason),
                    "found": check.found,
                    "expected": check.expected,
                    "source": check.source,
                    "clause": check.clause,
                }
                for check in self.checks
            ],
        }
