"""The verdict, rule by rule: each refusal by its reason, on both sides of each bound."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any

import pytest
from tests.unit.verifier.bending import (
    IMAGE,
    TREE,
    Bend,
    a_set,
    attribute,
    both,
    change_approval,
    drop_approval,
    expires,
    facts,
    within,
)
from tests.unit.verifier.conftest import NOW

from primum_verifier.core.question import ArtifactsFact, ClinicalUse, SelfTestFact
from primum_verifier.core.reasons import Reason
from primum_verifier.core.verdict import judge
from primum_verifier.core.vocabulary import Capability, Phase
from primum_verifier.shell.table import answer, verdict_table

HOUR = NOW + timedelta(hours=1)


def at(hours: float) -> dict[str, Any]:
    now = NOW + timedelta(hours=hours)
    return {"clock": now, "proven": now}


def test_everything_right_is_clinical(world: Any) -> None:
    verdict = judge(world.question())
    assert verdict.capability == Capability.CLINICAL
    assert verdict.primary is None
    assert verdict.in_the_way == ()
    assert "clinical" in answer(verdict)
    assert verdict.views["engineering"] != verdict.views["clinical"]
    assert "approvals" in verdict_table(verdict)


NOT_DEPLOYABLE: dict[str, tuple[Bend, Reason]] = {
    "other_hardware": (facts(hardware_id="other"), Reason.COMPAT_HARDWARE),
    "agent_too_old": (
        within("manifest", "compatibility.minAgentVersion", "0.2.0"),
        Reason.COMPAT_SOFTWARE,
    ),
    "a_component_that_nothing_here_installs": (
        both(a_set(IMAGE, TREE), facts(installers={"os": "rauc"})),
        Reason.COMPAT_INSTALLER,
    ),
    "a_component_that_something_else_installs": (
        both(a_set(TREE), facts(installers={"app": "hook"})),
        Reason.COMPAT_INSTALLER,
    ),
    "a_set_signed_by_another_role_than_that_of_models": (
        both(a_set(TREE), lambda world: world.roles.update(manifest="software")),
        Reason.TRUST_NOT_FOUND,
    ),
    "downgrade_by_counter": (facts(counter_floor=3), Reason.TRUST_ROLLBACK),
    "artifact_damaged": (facts(artifacts=ArtifactsFact.DAMAGED), Reason.ARTIFACT_DIGEST),
    "model_role_expired": (expires(HOUR, "model"), Reason.TRUST_EXPIRED),
    "engineering_timestamp_frozen": (expires(HOUR, "timestamp"), Reason.TRUST_EXPIRED),
    "manifest_carried_by_another_role": (
        lambda world: world.roles.update(manifest="rollout"),
        Reason.TRUST_NOT_FOUND,
    ),
    "something_newer_is_known_and_withheld": (
        attribute("awaited", "timestamp 9"),
        Reason.TRUST_METADATA,
    ),
    "rollout_role_expired": (expires(HOUR, "rollout"), Reason.TRUST_EXPIRED),
    "clock_unknown": (facts(clock=None), Reason.TRUST_TIME_UNKNOWN),
    "time_never_proven": (facts(proven=None), Reason.TRUST_TIME_UNKNOWN),
    "one_key_in_both_authorities": (attribute("shared_keys", {"k"}), Reason.TRUST_THRESHOLD),
    "manifest_with_unknown_member_in_a_closed_object": (
        within("manifest", "rollback.later", True),
        Reason.DOCUMENT_INVALID,
    ),
    "manifest_with_unknown_critical_member": (
        lambda world: world.manifest.update(later=True, crit=["later"]),
        Reason.ELIGIBILITY_CRIT_UNKNOWN,
    ),
}


@pytest.mark.parametrize("case", NOT_DEPLOYABLE, ids=str)
def test_not_deployable_means_nothing_is_kept(world: Any, case: str) -> None:
    bend, reason = NOT_DEPLOYABLE[case]
    bend(world)
    verdict = judge(world.question())
    assert (verdict.capability, verdict.primary) == (Capability.NONE, reason)


NOT_ELIGIBLE: dict[str, tuple[Bend, Reason]] = {
    "not_on_the_list": (attribute("listed", False), Reason.ELIGIBILITY_ABSENT),
    "no_list_at_all": (attribute("index", None), Reason.TRUST_STALE_INDEX),
    "held_on_the_list": (attribute("index_status", "held"), Reason.ELIGIBILITY_HELD),
    "withdrawn_on_the_list": (attribute("index_status", "withdrawn"), Reason.ELIGIBILITY_WITHDRAWN),
    "burned_statement": (
        lambda world: world.policy["burnedStatements"].append(
            {"sha256": hashlib.sha256(world.statement_bytes()).hexdigest()}
        ),
        Reason.ELIGIBILITY_SUPERSEDED,
    ),
    "statement_number_below_floor": (
        within("policy", "minStatementNumber", 6),
        Reason.ELIGIBILITY_SUPERSEDED,
    ),
    "clinical_never_approved": (drop_approval("clinical"), Reason.ELIGIBILITY_APPROVALS),
    "quality_never_approved": (drop_approval("quality"), Reason.ELIGIBILITY_APPROVALS),
    "approval_rejected": (
        change_approval("clinical", decision="reject"),
        Reason.ELIGIBILITY_APPROVALS,
    ),
    "approval_by_another_functions_key": (
        change_approval("regulatory", signer="clinical"),
        Reason.ELIGIBILITY_APPROVALS,
    ),
    "approval_claims_another_person": (
        change_approval("quality", personId="p-clinical"),
        Reason.ELIGIBILITY_APPROVALS,
    ),
    "approval_of_another_statement": (
        change_approval("quality", over="3" * 64),
        Reason.ELIGIBILITY_APPROVALS,
    ),
    "approval_for_another_stage": (
        change_approval("quality", scope={"stage": "limited-release", "changeTier": "minor"}),
        Reason.ELIGIBILITY_APPROVALS,
    ),
    "person_has_left": (
        lambda world: world.policy["people"][0].update(status="left"),
        Reason.ELIGIBILITY_APPROVALS,
    ),
    "one_person_in_two_functions": (
        lambda world: world.policy["people"][1].update(personId="p-clinical"),
        Reason.ELIGIBILITY_APPROVALS,
    ),
    "policy_without_the_stage": (
        lambda world: world.policy["requirements"][0].update(stage="validation"),
        Reason.ELIGIBILITY_APPROVALS,
    ),
    "limited_release_on_a_production_device": (
        within("statement", "stage", "limited-release"),
        Reason.ELIGIBILITY_APPROVALS,
    ),
    "beyond_engineerings_stage": (
        within("manifest", "maxStage", "limited-release"),
        Reason.ELIGIBILITY_STAGE,
    ),
    "another_intended_use": (
        within("manifest", "intendedUse", {"sha256": "4" * 64}),
        Reason.ELIGIBILITY_MODE,
    ),
    "another_country": (
        within("context", "placement.jurisdiction", "CH"),
        Reason.ELIGIBILITY_JURISDICTION,
    ),
    "another_site": (within("context", "placement.siteId", "ward-8"), Reason.ELIGIBILITY_SITE),
    "hardware_clinical_never_saw": (
        within("statement", "constraints.hardware", [{"hardwareId": "cardiowear-1"}]),
        Reason.COMPAT_HARDWARE,
    ),
    "not_yet_valid_by_one_second": (facts(**at(-1 / 3600)), Reason.ELIGIBILITY_NOT_YET_VALID),
    "eligibility_role_expired": (expires(HOUR, "eligibility"), Reason.TRUST_EXPIRED),
    "context_signed_by_one_key": (
        attribute("context_signers", [0]),
        Reason.ELIGIBILITY_CONTEXT_UNTRUSTED,
    ),
    "context_key_listed_by_one_authority": (
        lambda world: world.provisioning_listed.update(clinical=[0]),
        Reason.ELIGIBILITY_CONTEXT_UNTRUSTED,
    ),
    "context_of_another_device": (
        facts(device_key="f" * 64),
        Reason.ELIGIBILITY_CONTEXT_UNTRUSTED,
    ),
    "context_number_replayed": (facts(context_floor=2), Reason.ELIGIBILITY_CONTEXT_UNTRUSTED),
    "withdrawn_by_two_functions": (
        lambda world: world.notice("clinical", "quality"),
        Reason.ELIGIBILITY_WITHDRAWN,
    ),
    "held_by_one_function": (
        lambda world: world.notice(
            "clinical", kind="hold", action="no-new-activation", expiresAt="2026-06-04T12:00:00Z"
        ),
        Reason.ELIGIBILITY_HELD,
    ),
    "index_carried_by_another_role": (
        lambda world: world.roles.update(index="safety"),
        Reason.TRUST_STALE_INDEX,
    ),
    "notices_carried_by_another_role": (
        lambda world: world.roles.update(notices="eligibility"),
        Reason.TRUST_STALE_INDEX,
    ),
    "statement_is_not_the_one_the_list_names": (
        attribute("statement_changed", b" "),
        Reason.ELIGIBILITY_ABSENT,
    ),
    "provisioning_keys_missing_in_one_authority": (
        lambda world: world.provisioning_listed.update(engineering=[]),
        Reason.ELIGIBILITY_CONTEXT_UNTRUSTED,
    ),
    "notices_missing_are_unknown_not_none": (
        attribute("notices_there", False),
        Reason.TRUST_STALE_INDEX,
    ),
    "a_notice_that_cannot_be_read_is_unknown": (attribute("junk", 1), Reason.TRUST_STALE_INDEX),
    "shadow_mode_is_never_clinical": (
        within("statement", "use.mode", "shadow"),
        Reason.ELIGIBILITY_ABSENT,
    ),
    "time_beyond_the_calendar": (
        within("statement", "validity.notAfter", "9999-12-31T23:59:59Z"),
        Reason.ELIGIBILITY_ABSENT,
    ),
    "time_before_the_calendar": (
        lambda world: world.context.update(issuedAt="0001-01-01T00:00:00+01:00"),
        Reason.ELIGIBILITY_CONTEXT_UNTRUSTED,
    ),
    "one_key_in_two_spellings": (
        lambda world: world.policy["people"][1]["key"].update(
            public=world.policy["people"][0]["key"]["public"].upper()
        ),
        Reason.ELIGIBILITY_APPROVALS,
    ),
    "jurisdiction_list_empty": (
        within("statement", "constraints.jurisdictions", []),
        Reason.ELIGIBILITY_ABSENT,
    ),
    "jurisdiction_wildcard": (
        within("statement", "constraints.jurisdictions", ["*"]),
        Reason.ELIGIBILITY_ABSENT,
    ),
    "statement_with_unknown_restriction": (
        within("statement", "constraints.moonPhase", "full"),
        Reason.ELIGIBILITY_ABSENT,
    ),
}


@pytest.mark.parametrize("case", NOT_ELIGIBLE, ids=str)
def test_not_eligible_may_be_staged_and_never_activated(world: Any, case: str) -> None:
    bend, reason = NOT_ELIGIBLE[case]
    bend(world)
    verdict = judge(world.question())
    assert (verdict.capability, verdict.primary) == (Capability.STAGE, reason)


def test_missing_functions_are_named_even_before_a_statement_exists(world: Any) -> None:
    world.listed = False
    verdict = judge(world.question())
    approvals = next(check for check in verdict.checks if check.name == "approvals")
    assert approvals.found.endswith("missing: clinical 1, quality 1, regulatory 1")


@pytest.mark.parametrize(
    ("hours", "capability"),
    [(0, Capability.CLINICAL), (240, Capability.CLINICAL), (240.01, Capability.STAGE)],
)
def test_an_old_list_grants_nothing_new(world: Any, hours: float, capability: Capability) -> None:
    world.facts.update(at(hours))
    assert judge(world.question()).capability == capability


@pytest.mark.parametrize(("hours", "granted"), [(300 * 24 - 0.001, True), (300 * 24, False)])
def test_expired_by_one_second_is_refused(world: Any, hours: float, granted: bool) -> None:
    world.statement["validity"]["maxIndexAgeHours"] = 8784
    world.index["issuedAt"] = "2027-01-01T00:00:00Z"
    world.context["notAfter"] = "2028-01-01T00:00:00Z"
    for role in (
        "root",
        "timestamp",
        "snapshot",
        "targets",
        "model",
        "rollout",
        "eligibility",
        "safety",
    ):
        world.expires[role] = world.facts["clock"] + timedelta(days=900)
    world.facts.update(at(hours))
    verdict = judge(world.question())
    assert (verdict.capability == Capability.CLINICAL) is granted
    assert verdict.primary == (None if granted else Reason.ELIGIBILITY_EXPIRED)


def test_a_clock_ten_years_ahead_is_granted_nothing(world: Any) -> None:
    world.facts["clock"] += timedelta(days=3650)
    assert judge(world.question()).capability == Capability.NONE


@pytest.mark.parametrize(
    ("fact", "capability", "reason"),
    [
        (SelfTestFact.NOT_RUN, Capability.SELF_TEST, None),
        (SelfTestFact.FAILED, Capability.SELF_TEST, Reason.SELFTEST_FAILED),
        (SelfTestFact.INCOMPLETE, Capability.SELF_TEST, Reason.SELFTEST_INCOMPLETE),
        (SelfTestFact.PASSED, Capability.CLINICAL, None),
    ],
)
def test_only_proven_here_activates(
    world: Any, fact: SelfTestFact, capability: Capability, reason: Reason | None
) -> None:
    world.facts["self_test"] = fact
    verdict = judge(world.question())
    assert (verdict.capability, verdict.primary) == (capability, reason)


def test_no_switch_inside_a_clinical_episode(world: Any) -> None:
    world.facts["clinical_use"] = ClinicalUse.IN_USE
    verdict = judge(world.question())
    assert (verdict.capability, verdict.primary) == (Capability.SELF_TEST, Reason.SAFETY_IN_USE)


@pytest.mark.parametrize(
    ("decision", "capability"),
    [
        ("eligible", Capability.CLINICAL),
        ("eligible-with-conditions", Capability.CLINICAL),
        ("investigational", Capability.INVESTIGATIONAL),
        ("shadow-only", Capability.SHADOW),
    ],
)
def test_the_decision_sets_the_top_of_the_ladder(
    world: Any, decision: str, capability: Capability
) -> None:
    world.decide(decision)
    assert judge(world.question()).capability == capability


def test_artifacts_not_fetched_may_be_stored(world: Any) -> None:
    world.facts["artifacts"] = ArtifactsFact.NOT_FETCHED
    assert judge(world.question()).capability == Capability.STORE


def test_going_back_works_while_the_mirror_is_frozen(world: Any) -> None:
    world.facts["phase"] = Phase.FALL_BACK
    for role in ("timestamp", "snapshot"):
        world.expires[role] = world.facts["clock"] - timedelta(hours=1)
    assert judge(world.question()).capability == Capability.CLINICAL


def test_going_back_never_reaches_a_withdrawn_release(world: Any) -> None:
    world.facts["phase"] = Phase.FALL_BACK
    world.notice("clinical", "regulatory")
    verdict = judge(world.question())
    assert (verdict.capability, verdict.primary) == (
        Capability.STAGE,
        Reason.ELIGIBILITY_WITHDRAWN,
    )


def test_a_hold_forbids_no_way_back_and_ends_by_itself(world: Any) -> None:
    world.notice("clinical", kind="hold", expiresAt="2126-06-04T12:00:00Z")
    world.facts["phase"] = Phase.FALL_BACK
    assert judge(world.question()).capability == Capability.CLINICAL
    world.facts["phase"] = Phase.INSTALL
    assert judge(world.question()).primary == Reason.ELIGIBILITY_HELD
    world.facts.update(at(72))
    assert judge(world.question()).capability == Capability.CLINICAL


def test_who_left_is_honoured_where_the_policy_says_so(world: Any) -> None:
    world.policy["people"][0]["status"] = "left"
    assert judge(world.question()).primary == Reason.ELIGIBILITY_APPROVALS
    digest = hashlib.sha256(world.statement_bytes()).hexdigest()
    world.policy["people"][0]["honoured"] = [{"sha256": digest}]
    assert judge(world.question()).capability == Capability.CLINICAL


BOUNDS: dict[str, tuple[Bend, bool]] = {
    "counter_at_the_floor": (facts(counter_floor=2), True),
    "context_number_at_the_floor": (facts(context_floor=1), True),
    "statement_number_at_the_floor": (within("policy", "minStatementNumber", 5), True),
    "context_ends_a_second_later": (
        lambda world: world.context.update(notAfter="2026-06-01T13:00:01Z"),
        True,
    ),
    "context_ends_now": (
        lambda world: world.context.update(notAfter="2026-06-01T13:00:00Z"),
        False,
    ),
    "any_site": (within("statement", "constraints.sites", {"mode": "all", "ids": []}), True),
    "pre_release_of_the_agent": (facts(agent_version="0.1.0-rc.1"), False),
    "build_of_the_agent": (facts(agent_version="0.1.0+build.7"), True),
}


@pytest.mark.parametrize("case", BOUNDS, ids=str)
def test_both_sides_of_each_bound(world: Any, case: str) -> None:
    bend, granted = BOUNDS[case]
    bend(world)
    assert (judge(world.question()).capability == Capability.CLINICAL) is granted


def test_going_back_ends_by_proven_time_only(world: Any) -> None:
    world.facts["phase"] = Phase.FALL_BACK
    world.facts["clock"] += timedelta(days=3650)
    assert judge(world.question()).capability == Capability.CLINICAL
    world.facts.update(at(300 * 24))
    assert judge(world.question()).primary == Reason.ELIGIBILITY_EXPIRED


@pytest.mark.parametrize(("hours", "held"), [(1.999, True), (2, False)])
def test_a_hold_ends_when_it_says(world: Any, hours: float, *, held: bool) -> None:
    world.notice("clinical", kind="hold", expiresAt="2026-06-01T14:00:00Z")
    world.facts.update(at(hours))
    assert (judge(world.question()).primary == Reason.ELIGIBILITY_HELD) is held


def test_time_unknown_is_told_as_unknown(world: Any) -> None:
    world.facts["clock"] = None
    outcomes = {check.name: str(check.outcome) for check in judge(world.question()).checks}
    assert outcomes["validity"] == outcomes["index-age"] == "unknown"


def test_the_list_ages_by_proven_time_only_on_the_way_back(world: Any) -> None:
    """240 hours and the 48 of grace: the way back is no harder than to go on."""
    world.facts.update(at(288.5))
    world.facts["phase"] = Phase.FALL_BACK
    assert judge(world.question()).primary == Reason.TRUST_STALE_INDEX
    world.facts["proven"] -= timedelta(hours=1)
    assert judge(world.question()).capability == Capability.CLINICAL


def test_one_near_line_key_turns_no_way_back_into_safe_mode(world: Any) -> None:
    """Whoever can add a line that nobody reads stops what is new, and never the way back."""
    world.junk = 1
    assert judge(world.question()).primary == Reason.TRUST_STALE_INDEX
    world.facts["phase"] = Phase.FALL_BACK
    verdict = judge(world.question())
    assert verdict.capability == Capability.CLINICAL
    outcomes = {check.name: str(check.outcome) for check in verdict.checks}
    assert outcomes["safety-notices"] == "not-applicable"
    world.notice("clinical", "quality")
    assert judge(world.question()).primary == Reason.ELIGIBILITY_WITHDRAWN


@pytest.mark.parametrize("hide", [attribute("notices_there", False), attribute("junk", 1001)])
def test_a_file_of_notices_that_hides_them_all_leads_nowhere(world: Any, hide: Bend) -> None:
    """Attack: a thousand lines of junk behind a withdrawal, or no file at all."""
    world.notice("clinical", "quality")
    hide(world)
    world.facts["phase"] = Phase.FALL_BACK
    assert judge(world.question()).primary == Reason.TRUST_STALE_INDEX


@pytest.mark.parametrize(("hours", "listed"), [(-1, True), (0, True), (0.5, True), (0.51, False)])
def test_an_entry_counts_from_its_time_on(world: Any, hours: float, listed: bool) -> None:
    """The list is of hour 0, and half an hour later is proven."""
    world.effective_at += timedelta(hours=hours)
    verdict = judge(world.question())
    assert (verdict.primary is None) is listed
    if not listed:
        assert verdict.primary == Reason.ELIGIBILITY_NOT_YET_VALID


def test_a_withdrawn_release_comes_back_by_a_new_statement_that_answers_the_notice(
    world: Any,
) -> None:
    world.notice("clinical", "quality")
    notice = world.notices[0][0]["id"]
    assert judge(world.question()).primary == Reason.ELIGIBILITY_WITHDRAWN
    world.statement["answers"] = [notice]
    assert judge(world.question()).capability == Capability.CLINICAL
    drop_approval("quality")(world)
    assert judge(world.question()).primary == Reason.ELIGIBILITY_WITHDRAWN
    world.index_status = "withdrawn"
    assert judge(world.question()).primary == Reason.ELIGIBILITY_WITHDRAWN
    world.index_status = "eligible"
    world.notice("clinical", "regulatory")
    assert judge(world.question()).primary == Reason.ELIGIBILITY_WITHDRAWN
