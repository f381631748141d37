"""The one call: what may be done with this release? Every rule is asked, and every answer kept.

The agent asks before it acts, the release tool before it publishes, the simulator as its oracle.
"""

from __future__ import annotations

from primum_verifier.core.question import (
    ArtifactsFact,
    Check,
    ClinicalUse,
    Question,
    SelfTestFact,
    Verdict,
)
from primum_verifier.core.reading import Reading, read
from primum_verifier.core.reasons import Reason
from primum_verifier.core.rules import checked, not_applicable
from primum_verifier.core.rules_deployable import DEPLOYABLE
from primum_verifier.core.rules_eligible import ELIGIBLE
from primum_verifier.core.rules_running import Order, order_for_running
from primum_verifier.core.vocabulary import Capability, Decision, Outcome, Phase

_SELF_TEST_REASONS = {
    SelfTestFact.FAILED: Reason.SELFTEST_FAILED,
    SelfTestFact.INCOMPLETE: Reason.SELFTEST_INCOMPLETE,
}
_USE = {
    Decision.ELIGIBLE: Capability.CLINICAL,
    Decision.ELIGIBLE_WITH_CONDITIONS: Capability.CLINICAL,
    Decision.INVESTIGATIONAL: Capability.INVESTIGATIONAL,
    Decision.SHADOW_ONLY: Capability.SHADOW,
}


def judge(question: Question) -> Verdict:
    """Judge one release for one device at one moment.

    Args:
        question: the device, both trusted views, the facts found on the device, and the time.

    Returns:
        How far the device may go, with every rule as a named check. Documents that are absent,
        unreadable or contradictory refuse; they never raise.
    """
    reading = read(question)
    if question.phase == Phase.CONTINUE:
        return _continue(question, reading)
    deployable = [rule(question, reading) for rule in DEPLOYABLE]
    eligible = [rule(question, reading) for rule in ELIGIBLE]
    proven = _self_test(question)
    conditions = _conditions(question)
    checks = (*deployable, *eligible, proven, conditions)
    capability = _capability(question, reading, deployable, eligible, (proven, conditions))
    in_the_way = [check for check in checks if check.stands_in_the_way]
    return _verdict(
        question,
        reading,
        capability=capability,
        checks=checks,
        primary=in_the_way[0].reason if in_the_way else None,
        order=None,
    )


def _capability(
    question: Question,
    reading: Reading,
    deployable: list[Check],
    eligible: list[Check],
    rest: tuple[Check, Check],
) -> Capability:
    """The ladder: store < stage < self-test < shadow < investigational < clinical."""
    if any(check.stands_in_the_way for check in deployable):
        return Capability.NONE
    if question.artifacts != ArtifactsFact.WHOLE:
        return Capability.STORE
    if any(check.stands_in_the_way for check in eligible) or reading.statement is None:
        return Capability.STAGE
    proven, conditions = rest
    if proven.outcome != Outcome.SATISFIED or conditions.stands_in_the_way:
        return Capability.SELF_TEST
    return _USE[reading.statement.predicate.decision]


def _self_test(question: Question) -> Check:
    clause = "IEC 62304 5.6; the device proves what was validated"
    if question.self_test == SelfTestFact.NOT_RUN:
        return not_applicable(
            "self-test", why="not run yet", source="self-test report", clause=clause
        )
    return checked(
        "self-test",
        holds=question.self_test == SelfTestFact.PASSED,
        reason=_SELF_TEST_REASONS.get(question.self_test, Reason.SELFTEST_INCOMPLETE),
        found=str(question.self_test),
        expected="passed on this device",
        source="self-test report",
        clause=clause,
    )


def _conditions(question: Question) -> Check:
    return checked(
        "not-in-clinical-use",
        holds=question.clinical_use == ClinicalUse.IDLE,
        reason=Reason.SAFETY_IN_USE,
        found=str(question.clinical_use),
        expected="idle: no switch inside a declared clinical episode",
        source="the application",
        clause="ISO 14971 7.1; IEC 60601-1 14",
    )


def _continue(question: Question, reading: Reading) -> Verdict:
    """What runs goes on, unless a signed document takes it away or its bytes are damaged."""
    order = order_for_running(question, reading)
    damaged = question.artifacts == ArtifactsFact.DAMAGED
    checks = (
        checked(
            "artifacts",
            holds=not damaged,
            reason=Reason.ARTIFACT_DIGEST,
            found=str(question.artifacts),
            expected="every file has its signed digest",
            source="release manifest",
            clause="81001-5-1 5.8.3",
        ),
        checked(
            "may-go-on",
            holds=order is None,
            reason=Reason.ELIGIBILITY_HELD if order is None else order.reason,
            found="nothing takes it away" if order is None else f"{order.action}: {order.found}",
            expected="no notice, valid, listed, in its place",
            source="clinical authority" if order is None else order.source,
            clause="ISO 14971 7; ISO 13485 8.3.3",
        ),
    )
    stops = damaged or (order is not None and order.takes_away)
    in_the_way = [check for check in checks if check.stands_in_the_way]
    return _verdict(
        question,
        reading,
        capability=Capability.STAGE if stops else Capability.CLINICAL,
        checks=checks,
        primary=in_the_way[0].reason if in_the_way else None,
        order=order,
    )


def _verdict(
    question: Question,
    reading: Reading,
    *,
    capability: Capability,
    checks: tuple[Check, ...],
    primary: Reason | None,
    order: Order | None,
) -> Verdict:
    manifest = reading.manifest
    return Verdict(
        phase=question.phase,
        release=question.release,
        name=question.release[:12] if manifest is None else manifest.name,
        capability=capability,
        checks=checks,
        primary=primary,
        ordered=None if order is None else order.action,
        user_notice="" if order is None else order.user_notice,
        fallback=() if order is None else order.fallback,
        engineering_view=question.engineering.view_id,
        clinical_view=question.clinical.view_id,
        judged_at=question.clock,
        manifest=manifest,
        statement=reading.statement,
        statement_digest=reading.statement_digest,
        statement_bytes=reading.statement_bytes,
    )
