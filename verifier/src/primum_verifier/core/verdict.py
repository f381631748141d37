"""The one call: what may be done with this release? Every rule is asked, and every answer kept.

The agent asks before it acts, the release tool before it publishes, the simulator as its oracle.
"""

from __future__ import annotations

from primum_verifier.core.question import (
    ArtifactsFact,
    Check,
    ClinicalUse,
    Order,
    Question,
    SelfTestFact,
    Verdict,
)
from primum_verifier.core.reading import read
from primum_verifier.core.reasons import Reason
from primum_verifier.core.rules import STATEMENT, Case, Finding, Rule, rule
from primum_verifier.core.rules_deployable import DEPLOYABLE, artifacts_are_whole
from primum_verifier.core.rules_documents import DOCUMENTS
from primum_verifier.core.rules_place import PLACE
from primum_verifier.core.rules_running import in_force, orders_for_running
from primum_verifier.core.standing_notices import holds_of
from primum_verifier.core.terms import terms_of_use
from primum_verifier.core.vocabulary import USE_ALLOWED, Capability, Outcome, Phase

_SELF_TEST_REASONS = {
    SelfTestFact.FAILED: Reason.SELFTEST_FAILED,
    SelfTestFact.INCOMPLETE: Reason.SELFTEST_INCOMPLETE,
}


@rule(
    "self-test",
    Reason.SELFTEST_INCOMPLETE,
    source="self-test report",
    clause="IEC 62304 5.6; the device proves what was validated",
)
def self_test_passed(case: Case) -> Finding | str:
    """This device ran the release on its fixtures and got the right answers."""
    found = case.question.self_test
    if found == SelfTestFact.NOT_RUN:
        return "not run yet"
    reason = _SELF_TEST_REASONS.get(found)
    return Finding(found == SelfTestFact.PASSED, str(found), "passed on this device", reason)


@rule(
    "not-in-clinical-use",
    Reason.SAFETY_IN_USE,
    source="the application",
    clause="ISO 14971 7.1; IEC 60601-1 14",
)
def nobody_is_served(case: Case) -> Finding:
    """No switch happens inside a declared clinical episode."""
    found = case.question.clinical_use
    return Finding(found == ClinicalUse.IDLE, str(found), "idle")


@rule(
    "operator-agreed",
    Reason.SAFETY_OPERATOR,
    source=STATEMENT,
    clause="PCCP VI.B, 4.c.2-4.c.5; IEC 82304-1",
    phases=frozenset({Phase.INSTALL, Phase.ACTIVATE}),
)
def operator_agreed(case: Case) -> Finding | str:
    """A person agreed to this release, where the statement asks for it."""
    said = case.said
    asked = said.use.automation == "manual-update" or (
        said.labelling is not None and said.labelling.acknowledgement_required
    )
    if not asked:
        return "no agreement is asked for"
    agreed = case.question.operator_agreed
    return Finding(agreed, "agreed" if agreed else "not yet", "a person's agreement")


@rule(
    "shadow-first",
    Reason.SAFETY_SHADOW,
    source=STATEMENT,
    clause="ISO 14971 7.1; PCCP VI.B: compared on live input before anybody is served",
    phases=frozenset({Phase.INSTALL, Phase.ACTIVATE}),
)
def shadow_was_clean(case: Case) -> Finding | str:
    """It was in shadow on this device, cleanly and under this statement, where that is asked."""
    first = case.said.use.shadow_first
    if first is None:
        return "no time in shadow is asked for"
    return Finding(
        case.question.shadowed_under == case.reading.statement_digest,
        "clean under this statement" if case.question.shadowed_under else "not yet",
        f"{first.min_hours} hours in shadow and {first.min_comparisons} comparisons here, "
        f"at most {first.max_flip_share} of them flips",
    )


CONDITIONS: tuple[Rule, ...] = (self_test_passed, nobody_is_served, operator_agreed)
"""What is asked of the device at this moment, after everything that is signed."""

BEYOND_SHADOW: tuple[Rule, ...] = (shadow_was_clean,)
"""What is asked besides before a release goes further than to shadow."""

RULES: tuple[Rule, ...] = (*DEPLOYABLE, *DOCUMENTS, *PLACE, *CONDITIONS, *BEYOND_SHADOW)
"""Every rule that a grant is judged by, in the order in which a refusal is explained."""


def judge(question: Question) -> Verdict:
    """Judge one release for one device at one moment.

    Args:
        question: the device, the trusted views, the facts found on the device, and the time.

    Returns:
        How far the device may go, with every rule as a named check. Documents that are absent,
        unreadable or contradictory refuse; they never raise.
    """
    case = Case(question, read(question))
    if question.phase == Phase.CONTINUE:
        return _continue(case)
    deployable = [item.ask(case) for item in DEPLOYABLE]
    eligible = [item.ask(case) for item in (*DOCUMENTS, *PLACE)]
    conditions = [item.ask(case) for item in CONDITIONS]
    beyond = [item.ask(case) for item in BEYOND_SHADOW]
    capability = _capability(case, deployable, eligible, conditions)
    if _stands_in_the_way(beyond):
        capability = min(capability, Capability.SHADOW)
    return _verdict(case, capability, (*deployable, *eligible, *conditions, *beyond), order=None)


def _capability(
    case: Case, deployable: list[Check], eligible: list[Check], conditions: list[Check]
) -> Capability:
    """The ladder: store < stage < self-test < shadow < investigational < clinical."""
    if _stands_in_the_way(deployable):
        return Capability.NONE
    if case.question.artifacts != ArtifactsFact.WHOLE:
        return Capability.STORE
    if _stands_in_the_way(eligible):
        return Capability.STAGE
    if case.question.self_test != SelfTestFact.PASSED or _stands_in_the_way(conditions):
        return Capability.SELF_TEST
    return USE_ALLOWED[case.said.decision]


def _stands_in_the_way(checks: list[Check]) -> bool:
    return any(check.stands_in_the_way for check in checks)


def _continue(case: Case) -> Verdict:
    """What runs goes on, unless a signed document takes it away or its bytes are damaged."""
    orders = orders_for_running(case)
    order = orders[0][1]
    whole = artifacts_are_whole.ask(case)
    checks = (whole, *(_goes_on(name, found) for name, found in orders))
    running = in_force(case)
    stops = whole.stands_in_the_way or (order is not None and order.action.takes_away)
    statement = running.reading.statement
    used = Capability.CLINICAL if statement is None else USE_ALLOWED[statement.predicate.decision]
    return _verdict(running, Capability.STAGE if stops else used, checks, order=order)


def _goes_on(name: str, order: Order | None) -> Check:
    return Check(
        name=name,
        outcome=Outcome.SATISFIED if order is None else Outcome.REFUSED,
        reason=None if order is None else order.reason,
        found="nothing takes it away" if order is None else f"{order.action}: {order.found}",
        expected="nothing that orders anything",
        source="clinical authority" if order is None else order.source,
        clause="ISO 14971 7; ISO 13485 8.3.3",
    )


def _verdict(
    case: Case, capability: Capability, checks: tuple[Check, ...], *, order: Order | None
) -> Verdict:
    question, reading = case.question, case.reading
    manifest = reading.manifest
    views = (question.engineering, question.clinical, question.site)
    return Verdict(
        phase=question.phase,
        release=question.release,
        name=question.release[:12] if manifest is None else manifest.name,
        capability=capability,
        checks=checks,
        order=order,
        views={view.authority: view.view_id for view in views if view is not None},
        judged_at=question.clock,
        manifest=manifest,
        statement=reading.statement,
        statement_digest=reading.statement_digest,
        statement_bytes=reading.statement_bytes,
        per_episode=terms_of_use(case, order),
        seen_holds=holds_of(case),
        list_issued_at=None if reading.index is None else case.list_issued_at,
        not_understood=reading.not_understood,
    )
