"""What runs is taken away only by what may, exactly when it must, and is told why."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from tests.unit.verifier.bending import (
    attribute,
    expires,
    facts,
    left,
    within,
)
from tests.unit.verifier.conftest import NOW

from primum_verifier.core.question import ArtifactsFact, Check
from primum_verifier.core.reasons import Reason
from primum_verifier.core.verdict import judge
from primum_verifier.core.vocabulary import Capability, NoticeAction, Outcome, Phase

Bend = Callable[[Any], object]
HOUR = NOW + timedelta(hours=1)


def at(hours: float) -> dict[str, Any]:
    now = NOW + timedelta(hours=hours)
    return {"clock": now, "proven": now}


RUNNING: dict[str, tuple[Bend, Capability, NoticeAction | None]] = {
    "nothing_wrong": (lambda _: None, Capability.CLINICAL, None),
    "withdrawn_by_two": (
        lambda world: world.notice("clinical", "quality"),
        Capability.STAGE,
        NoticeAction.FALL_BACK,
    ),
    "withdrawn_by_one_key_takes_nothing_away": (
        lambda world: world.notice("clinical"),
        Capability.CLINICAL,
        None,
    ),
    "withdrawn_by_one_key_twice": (
        lambda world: world.notice("clinical", "clinical"),
        Capability.CLINICAL,
        None,
    ),
    "withdrawn_elsewhere": (
        lambda world: world.notice(
            "clinical", "quality", scope={"mode": "jurisdictions", "jurisdictions": ["FR"]}
        ),
        Capability.CLINICAL,
        None,
    ),
    "another_release_is_withdrawn": (
        lambda world: (world.notice("clinical", "quality"), world.elsewhere.add(0)),
        Capability.CLINICAL,
        None,
    ),
    "withdrawn_from_tomorrow": (
        lambda world: world.notice("clinical", "quality", effectiveAt="2026-06-02T12:00:00Z"),
        Capability.CLINICAL,
        None,
    ),
    "hold_lets_it_run": (
        lambda world: world.notice("clinical", kind="hold", expiresAt="2026-06-04T12:00:00Z"),
        Capability.CLINICAL,
        NoticeAction.CONTINUE_WITH_NOTICE,
    ),
    "entry_vanished_is_a_hold": (
        attribute("listed", False),
        Capability.CLINICAL,
        NoticeAction.CONTINUE_WITH_NOTICE,
    ),
    "marked_withdrawn_without_notice_is_a_hold": (
        attribute("index_status", "withdrawn"),
        Capability.CLINICAL,
        NoticeAction.CONTINUE_WITH_NOTICE,
    ),
    "list_unreadable_is_stale_never_empty": (
        attribute("index", None),
        Capability.CLINICAL,
        NoticeAction.CONTINUE_WITH_NOTICE,
    ),
    "notices_missing_take_nothing_away": (
        attribute("notices_there", False),
        Capability.CLINICAL,
        NoticeAction.CONTINUE_WITH_NOTICE,
    ),
    "a_later_stricter_notice_wins_over_an_earlier_mild_one": (
        lambda world: (
            world.notice("clinical", "quality", kind="field-action", action="notify-only"),
            world.notice("clinical", "quality", action="suspend-ai-function"),
        ),
        Capability.STAGE,
        NoticeAction.SUSPEND_AI_FUNCTION,
    ),
    "an_urgent_notice_wins_over_one_with_grace": (
        lambda world: (
            world.notice("clinical", "quality", gracePeriodSeconds=30 * 86_400),
            world.notice("clinical", "quality"),
        ),
        Capability.STAGE,
        NoticeAction.FALL_BACK,
    ),
    "a_junk_line_hides_no_withdrawal": (
        lambda world: (world.notice("clinical", "quality"), attribute("junk", 70)(world)),
        Capability.STAGE,
        NoticeAction.FALL_BACK,
    ),
    "an_untrusted_context_leaves_no_scope": (
        lambda world: (
            world.notice(
                "clinical", "quality", scope={"mode": "jurisdictions", "jurisdictions": ["DE"]}
            ),
            within("context", "placement.jurisdiction", "FR")(world),
            attribute("context_signers", [])(world),
        ),
        Capability.STAGE,
        NoticeAction.FALL_BACK,
    ),
    "what_somebody_withdrew_stays_withdrawn_after_leaving": (
        lambda world: (
            world.notice("clinical", "quality"),
            left(1, notices=True)(world),
        ),
        Capability.STAGE,
        NoticeAction.FALL_BACK,
    ),
    "with_the_key_of_somebody_who_left_nothing_new_is_withdrawn": (
        lambda world: (
            left(1, notices=True)(world),
            world.notice("clinical", "quality"),
        ),
        Capability.CLINICAL,
        NoticeAction.CONTINUE_WITH_NOTICE,
    ),
    "a_compromised_key_takes_nothing_away": (
        lambda world: (
            world.notice("clinical", "quality"),
            world.policy["people"][1].update(status="compromised"),
        ),
        Capability.CLINICAL,
        NoticeAction.CONTINUE_WITH_NOTICE,
    ),
    "an_entry_that_vanished_does_not_outlive_its_statement": (
        lambda world: (
            attribute("listed", False)(world),
            world.statement["onExpiry"].update(action="suspend-ai-function"),
            world.facts.update(at(300 * 24)),
            world.facts.update(activated_under=world.statement_bytes()),
        ),
        Capability.STAGE,
        NoticeAction.SUSPEND_AI_FUNCTION,
    ),
    "clock_ten_years_ahead": (
        lambda world: world.facts.update(clock=world.facts["clock"] + timedelta(days=3650)),
        Capability.CLINICAL,
        None,
    ),
    "metadata_expired": (expires(HOUR, "timestamp"), Capability.CLINICAL, None),
    "time_never_proven": (facts(proven=None), Capability.CLINICAL, None),
    "list_too_old_by_proven_time": (
        lambda world: world.facts.update(at(289)),
        Capability.CLINICAL,
        NoticeAction.CONTINUE_WITH_NOTICE,
    ),
    "list_too_old_and_statement_says_stop": (
        lambda world: (
            world.facts.update(at(289)),
            world.statement["onExpiry"].update(action="suspend-ai-function"),
        ),
        Capability.STAGE,
        NoticeAction.SUSPEND_AI_FUNCTION,
    ),
    "moved_to_another_country": (
        within("context", "placement.jurisdiction", "CH"),
        Capability.STAGE,
        NoticeAction.FALL_BACK,
    ),
    "moved_by_one_provisioning_key": (
        lambda world: (
            within("context", "placement.jurisdiction", "CH")(world),
            attribute("context_signers", [0])(world),
        ),
        Capability.CLINICAL,
        NoticeAction.CONTINUE_WITH_NOTICE,
    ),
}


@pytest.mark.parametrize("case", RUNNING, ids=str)
def test_what_runs_is_taken_away_only_by_what_may(world: Any, case: str) -> None:
    bend, capability, ordered = RUNNING[case]
    bend(world)
    world.facts["phase"] = Phase.CONTINUE
    verdict = judge(world.question())
    assert (verdict.capability, verdict.ordered) == (capability, ordered)
    assert (verdict.primary is None) == (ordered is None)


def test_what_takes_it_away_is_told_with_the_notice_and_the_clause(world: Any) -> None:
    """Danger: nobody can tell by which document a function was taken away."""
    world.notice("clinical", "quality", id="urn:uuid:00000000-0000-4000-8000-000000000000")
    world.facts["phase"] = Phase.CONTINUE
    checks = {check.name: check for check in judge(world.question()).checks}
    assert checks["notices"] == Check(
        name="notices",
        outcome=Outcome.REFUSED,
        reason=Reason.ELIGIBILITY_WITHDRAWN,
        found="fall-back: withdrawal: misses beats",
        expected="nothing that orders anything",
        source="urn:uuid:00000000-0000-4000-8000-000000000000",
        clause="ISO 14971 7; ISO 13485 8.3.3",
    )
    assert checks["place"] == Check(
        name="place",
        outcome=Outcome.SATISFIED,
        reason=None,
        found="nothing takes it away",
        expected="nothing that orders anything",
        source="clinical authority",
        clause="ISO 14971 7; ISO 13485 8.3.3",
    )


def test_damaged_bytes_stop_at_once(world: Any) -> None:
    world.facts.update(phase=Phase.CONTINUE, artifacts=ArtifactsFact.DAMAGED)
    verdict = judge(world.question())
    assert (verdict.capability, verdict.primary) == (Capability.STAGE, Reason.ARTIFACT_DIGEST)


def later(**changes: Any) -> dict[str, Any]:
    return {"effectiveAt": "2026-06-01T12:30:00Z", **changes}


STOPS: dict[str, tuple[Bend, bool]] = {
    "effective_just_now": (
        lambda world: world.notice("clinical", "quality", **later()),
        True,
    ),
    "effective_in_a_second": (
        lambda world: world.notice(
            "clinical", "quality", **later(effectiveAt="2026-06-01T12:30:01Z")
        ),
        False,
    ),
    "grace_is_over_just_now": (
        lambda world: world.notice("clinical", "quality", gracePeriodSeconds=1800),
        True,
    ),
    "grace_is_over_in_a_second": (
        lambda world: world.notice("clinical", "quality", gracePeriodSeconds=1801),
        False,
    ),
    "grace_and_nobody_knows_the_time": (
        lambda world: (
            world.notice("clinical", "quality", gracePeriodSeconds=1),
            world.facts.update(proven=None),
        ),
        False,
    ),
    "future_effect_and_nobody_knows_the_time": (
        lambda world: (
            world.notice("clinical", "quality", **later()),
            world.facts.update(proven=None),
        ),
        False,
    ),
    "at_once_and_nobody_knows_the_time": (
        lambda world: (
            world.notice("clinical", "quality"),
            world.facts.update(proven=None),
        ),
        True,
    ),
    "moved_to_another_site": (within("context", "placement.siteId", "ward-8"), True),
    "moved_where_any_site_will_do": (
        lambda world: (
            within("context", "placement.siteId", "ward-8")(world),
            within("statement", "constraints.sites", {"mode": "all", "ids": []})(world),
        ),
        False,
    ),
    "the_statement_ends_just_now": (
        lambda world: (
            world.statement["validity"].update(notAfter="2026-06-01T12:30:00Z"),
            world.statement["validity"].update(notBefore="2026-06-01T11:00:00Z"),
            world.statement["onExpiry"].update(action="suspend-ai-function"),
        ),
        True,
    ),
    "the_statement_ends_in_a_second": (
        lambda world: (
            world.statement["validity"].update(notAfter="2026-06-01T12:30:01Z"),
            world.statement["validity"].update(notBefore="2026-06-01T11:00:00Z"),
            world.statement["onExpiry"].update(action="suspend-ai-function"),
        ),
        False,
    ),
    "the_list_is_exactly_as_old_as_it_may_grow": (
        lambda world: (
            world.facts.update(at(288)),
            world.statement["onExpiry"].update(action="suspend-ai-function"),
        ),
        False,
    ),
    "the_list_is_a_second_older": (
        lambda world: (
            world.facts.update(at(288 + 1 / 3600)),
            world.statement["onExpiry"].update(action="suspend-ai-function"),
        ),
        True,
    ),
    "withdrawn_while_also_held": (
        lambda world: (
            world.notice("clinical", kind="hold", expiresAt="2026-06-04T12:00:00Z"),
            world.notice("quality", "regulatory"),
        ),
        True,
    ),
}


@pytest.mark.parametrize("case", STOPS, ids=str)
def test_what_runs_stops_exactly_when_it_must(world: Any, case: str) -> None:
    bend, stops = STOPS[case]
    bend(world)
    world.facts["phase"] = Phase.CONTINUE
    assert (judge(world.question()).capability == Capability.STAGE) is stops


def test_why_a_list_holds_what_runs_is_told_apart(world: Any) -> None:
    world.facts["phase"] = Phase.CONTINUE
    world.listed = False
    assert "no longer on the list" in judge(world.question()).checks[1].found
    world.listed, world.index_status = True, "held"
    assert "marked held" in judge(world.question()).checks[1].found
