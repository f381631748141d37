"""Time is judged apart for each phase: what ends a fetch does not end what already lies here."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from tests.unit.verifier.bending import (
    Bend,
    asked,
    at,
    attribute,
    both,
    expires,
    facts,
    granted,
    nothing,
    trust_map,
    when,
    within,
)
from tests.unit.verifier.conftest import NOW, World

from primum_verifier.core.reasons import Reason
from primum_verifier.core.vocabulary import Capability, NoticeAction, Phase

HOUR = NOW + timedelta(hours=1)
ONLINE = ("timestamp", "snapshot")
OFFLINE = ("root", "targets", "model", "rollout", "eligibility", "safety")
PHASES = (Phase.INSTALL, Phase.ACTIVATE, Phase.FALL_BACK, Phase.CONTINUE)


@pytest.mark.parametrize("role", [*ONLINE, *OFFLINE])
@pytest.mark.parametrize("phase", PHASES)
def test_the_end_of_each_role_in_each_phase(world: World, role: str, phase: Phase) -> None:
    """What is signed online ends an installation only; what people sign ends an activation too."""
    still = expires(HOUR + timedelta(seconds=1), role)
    assert granted(asked(world, still, phase=phase))
    stops = phase == Phase.INSTALL or (phase == Phase.ACTIVATE and role in OFFLINE)
    verdict = asked(world, expires(HOUR, role), phase=phase)
    assert granted(verdict) is not stops
    assert verdict.primary == (Reason.TRUST_EXPIRED if stops else None)


@pytest.mark.parametrize("role", OFFLINE)
def test_the_allowance_of_an_offline_device_covers_no_role_that_people_sign(
    world: World, role: str
) -> None:
    verdict = asked(world, both(trust_map(offlineAllowanceDays=366), expires(HOUR, role)))
    assert verdict.primary == Reason.TRUST_EXPIRED


@pytest.mark.parametrize("role", ONLINE)
def test_the_allowance_of_an_offline_device_on_both_sides(world: World, role: str) -> None:
    allowed = trust_map(offlineAllowanceDays=30)
    ended = HOUR - timedelta(days=30)
    assert granted(asked(world, both(allowed, expires(ended + timedelta(seconds=1), role))))
    assert asked(world, expires(ended, role)).primary == Reason.TRUST_EXPIRED
    never = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert granted(asked(world, expires(never, role)))


@pytest.mark.parametrize(
    ("phase", "ends"), [(Phase.INSTALL, True), (Phase.ACTIVATE, True), (Phase.FALL_BACK, False)]
)
def test_the_context_ends_what_is_given_only(world: World, phase: Phase, *, ends: bool) -> None:
    over = within("context", "notAfter", when(hours=1))
    assert granted(asked(world, over, phase=phase)) is not ends
    assert granted(asked(world, phase=Phase.CONTINUE))


UNKNOWN: dict[str, Bend] = {
    "no clock": facts(clock=None),
    "no proven time": facts(proven=None),
    "neither": facts(clock=None, proven=None),
}


@pytest.mark.parametrize("case", UNKNOWN, ids=str)
@pytest.mark.parametrize("phase", [Phase.INSTALL, Phase.ACTIVATE])
def test_a_device_without_a_trusted_time_installs_nothing(
    world: World, case: str, phase: Phase
) -> None:
    verdict = asked(world, UNKNOWN[case], phase=phase)
    assert (verdict.capability, verdict.primary) == (Capability.NONE, Reason.TRUST_TIME_UNKNOWN)


@pytest.mark.parametrize("case", UNKNOWN, ids=str)
def test_a_device_without_a_trusted_time_keeps_running_what_it_may(world: World, case: str) -> None:
    verdict = asked(world, UNKNOWN[case], phase=Phase.CONTINUE)
    assert (verdict.capability, verdict.ordered) == (Capability.CLINICAL, None)


@pytest.mark.parametrize(("case", "back"), [("no clock", True), ("no proven time", False)])
def test_the_way_back_needs_proven_time_and_no_clock(
    world: World, case: str, *, back: bool
) -> None:
    verdict = asked(world, UNKNOWN[case], phase=Phase.FALL_BACK)
    assert granted(verdict) is back
    assert verdict.primary == (None if back else Reason.TRUST_TIME_UNKNOWN)


FAR = facts(clock=NOW + timedelta(days=3650))
PAST = facts(clock=NOW - timedelta(days=3650))


@pytest.mark.parametrize("clock", [FAR, PAST])
@pytest.mark.parametrize("phase", [Phase.FALL_BACK, Phase.CONTINUE])
def test_a_wrong_clock_takes_nothing_away(world: World, clock: Bend, phase: Phase) -> None:
    assert asked(world, clock, phase=phase).primary is None


@pytest.mark.parametrize("clock", [FAR, PAST])
@pytest.mark.parametrize("phase", [Phase.INSTALL, Phase.ACTIVATE])
def test_a_wrong_clock_is_granted_nothing(world: World, clock: Bend, phase: Phase) -> None:
    assert not granted(asked(world, clock, phase=phase))


AGES: dict[str, tuple[Bend, NoticeAction | None]] = {
    "as old as it may grow": (at(hours=240), None),
    "a second older, within the grace": (
        at(hours=240, seconds=1),
        NoticeAction.CONTINUE_WITH_NOTICE,
    ),
    "at the end of the grace": (at(hours=288), NoticeAction.CONTINUE_WITH_NOTICE),
    "a second past the grace": (at(hours=288, seconds=1), NoticeAction.SUSPEND_AI_FUNCTION),
    "past the grace by the clock alone": (
        at(hours=1, clock=NOW + timedelta(days=99)),
        None,
    ),
}


@pytest.mark.parametrize("case", AGES, ids=str)
def test_the_age_of_the_list_for_what_runs(world: World, case: str) -> None:
    bend, ordered = AGES[case]
    world.statement["onExpiry"]["action"] = "suspend-ai-function"
    verdict = asked(world, bend, phase=Phase.CONTINUE)
    assert verdict.ordered == ordered
    assert verdict.primary == (None if ordered is None else Reason.TRUST_STALE_INDEX)


def test_the_strictest_of_several_orders_counts_and_among_equals_the_notice(world: World) -> None:
    world.statement["onExpiry"]["action"] = "fall-back"
    world.notice("clinical", "quality")
    verdict = asked(world, at(hours=289), phase=Phase.CONTINUE)
    assert (verdict.ordered, verdict.primary) == (
        NoticeAction.FALL_BACK,
        Reason.ELIGIBILITY_WITHDRAWN,
    )
    world.statement["onExpiry"]["action"] = "suspend-ai-function"
    verdict = asked(world, nothing, phase=Phase.CONTINUE)
    assert (verdict.ordered, verdict.primary) == (
        NoticeAction.SUSPEND_AI_FUNCTION,
        Reason.TRUST_STALE_INDEX,
    )


@pytest.mark.parametrize("role", ["root", "timestamp", "snapshot", "targets"])
@pytest.mark.parametrize("phase", [Phase.INSTALL, Phase.ACTIVATE, Phase.FALL_BACK])
def test_a_view_without_a_top_role_gives_nothing(world: World, role: str, phase: Phase) -> None:
    verdict = asked(world, attribute("missing", {role}), phase=phase)
    assert (verdict.capability, verdict.primary) == (Capability.NONE, Reason.TRUST_METADATA)
    assert verdict.in_the_way[0].found == f"missing: engineering {role}, clinical {role}"
