"""A hospital may narrow, and nothing else: its silence stops new activations only."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from tests.unit.verifier.bending import (
    Bend,
    accepted,
    asked,
    attribute,
    both,
    facts,
    granted,
    held,
    nothing,
    noticed,
    placed,
    trust_map,
    when,
)
from tests.unit.verifier.conftest import LATER, NOW, World

from primum_verifier.core.question import SelfTestFact
from primum_verifier.core.reasons import Reason
from primum_verifier.core.view import RoleState
from primum_verifier.core.vocabulary import Capability, NoticeAction, Phase


def roles(**ends: datetime | None) -> Bend:
    """The site's own roles; a role may end elsewhere or be missing."""

    def bend(world: World) -> None:
        world.site_roles = {
            name: RoleState(1, end, "0" * 64)
            for name, end in {
                "root": LATER,
                "timestamp": LATER,
                "snapshot": LATER,
                "targets": LATER,
                **ends,
            }.items()
            if end is not None
        }

    return bend


def spoilt(world: World) -> None:
    world.tamper = lambda name, data: b"{" if name == "site/acceptance.json" else data


SILENT = trust_map(siteRoot={"sha256": "3" * 64})
ONE_HOUR = NOW + timedelta(hours=1)
WINDOW: dict[str, tuple[Bend, bool, Reason]] = {
    "no hospital on the map": (nothing, True, Reason.ELIGIBILITY_SITE_ACCEPTANCE),
    "accepted": (accepted(), True, Reason.ELIGIBILITY_SITE_ACCEPTANCE),
    "silence": (SILENT, False, Reason.ELIGIBILITY_SITE_ACCEPTANCE),
    "unreadable": (both(accepted(), spoilt), False, Reason.ELIGIBILITY_SITE_ACCEPTANCE),
    "nothing accepted": (
        lambda w: w.accept(accepted=[]),
        False,
        Reason.ELIGIBILITY_SITE_ACCEPTANCE,
    ),
    "another statement accepted": (
        accepted(statement={"sha256": "9" * 64}),
        False,
        Reason.ELIGIBILITY_SITE_ACCEPTANCE,
    ),
    "for another ward": (
        lambda w: w.accept(sites=["ward-8"]),
        False,
        Reason.ELIGIBILITY_SITE_ACCEPTANCE,
    ),
    "from just now by proven time": (
        accepted(acceptedFrom=when(minutes=30)),
        True,
        Reason.ELIGIBILITY_SITE_ACCEPTANCE,
    ),
    "from now by the clock, in a second by proven time": (
        accepted(acceptedFrom=when(minutes=30, seconds=1)),
        False,
        Reason.ELIGIBILITY_SITE_ACCEPTANCE,
    ),
    "until a second from now by the clock": (
        accepted(acceptedUntil=when(minutes=60, seconds=1)),
        True,
        Reason.ELIGIBILITY_SITE_ACCEPTANCE,
    ),
    "until just now by the clock": (
        accepted(acceptedUntil=when(minutes=60)),
        False,
        Reason.ELIGIBILITY_SITE_ACCEPTANCE,
    ),
    "the hospital's targets end in a second": (
        both(accepted(), roles(targets=ONE_HOUR + timedelta(seconds=1))),
        True,
        Reason.TRUST_EXPIRED,
    ),
    "the hospital's targets ended": (
        both(accepted(), roles(targets=ONE_HOUR)),
        False,
        Reason.TRUST_EXPIRED,
    ),
    "the hospital's root ended": (
        both(accepted(), roles(root=ONE_HOUR)),
        False,
        Reason.TRUST_EXPIRED,
    ),
    "the hospital's timestamp ended": (
        both(accepted(), roles(timestamp=ONE_HOUR)),
        False,
        Reason.TRUST_EXPIRED,
    ),
    "the hospital's root is missing": (
        both(accepted(), roles(root=None)),
        False,
        Reason.TRUST_EXPIRED,
    ),
}


@pytest.mark.parametrize("case", WINDOW, ids=str)
def test_a_hospital_lets_in_what_it_accepts_while_it_accepts_it(world: World, case: str) -> None:
    bend, lets_in, reason = WINDOW[case]
    verdict = asked(world, bend)
    assert granted(verdict) is lets_in
    assert verdict.primary == (None if lets_in else reason)


REFUSED = [name for name, (_, lets_in, _) in WINDOW.items() if not lets_in]


@pytest.mark.parametrize("case", REFUSED)
def test_what_runs_and_the_way_back_never_wait_for_the_hospital(world: World, case: str) -> None:
    bend = WINDOW[case][0]
    assert asked(world, bend, phase=Phase.FALL_BACK).primary is None
    runs = asked(world, phase=Phase.CONTINUE)
    assert (runs.capability, runs.ordered) == (Capability.CLINICAL, None)


@pytest.mark.parametrize("case", REFUSED)
def test_holds_and_withdrawals_never_wait_for_the_hospital(world: World, case: str) -> None:
    bend = both(WINDOW[case][0], held())
    assert asked(world, bend, phase=Phase.CONTINUE).ordered == NoticeAction.CONTINUE_WITH_NOTICE
    noticed("clinical", "quality")(world)
    assert asked(world).ordered == NoticeAction.FALL_BACK


def test_what_a_hospital_accepts_is_no_wider_than_what_clinical_signed(world: World) -> None:
    assert asked(world, both(accepted(), attribute("listed", value=False))).primary == (
        Reason.ELIGIBILITY_ABSENT
    )
    world.listed = True
    assert asked(world, placed(jurisdiction="CH")).primary == Reason.ELIGIBILITY_JURISDICTION


def test_the_time_at_the_hospital_is_unknown_where_the_time_is(world: World) -> None:
    verdict = asked(world, both(accepted(), facts(clock=None)), phase=Phase.ACTIVATE)
    found = {check.name: check for check in verdict.checks}["site-acceptance"]
    assert (str(found.outcome), found.reason) == ("unknown", Reason.TRUST_TIME_UNKNOWN)


def test_a_hospital_asks_nothing_at_each_episode(world: World) -> None:
    """Asked while it runs, a condition that nobody meets would take away what it may delay."""
    said = {"code": "nurse-near", "text": "A nurse is near.", "enforce": "labelling"}
    verdict = asked(world, accepted(conditions=[said]))
    assert verdict.per_episode["layers"] == []
    assert verdict.views["site"]


def test_a_shadow_needs_the_yes_of_a_hospital_by_name(world: World) -> None:
    world.decide("shadow-only")
    assert asked(world).capability == Capability.SHADOW
    world.facts["self_test"] = SelfTestFact.FAILED
    assert asked(world).capability == Capability.SELF_TEST
    world.facts["self_test"] = SelfTestFact.PASSED
    world.acceptance = None
    verdict = asked(world)
    assert (verdict.capability, verdict.primary) == (
        Capability.STAGE,
        Reason.ELIGIBILITY_SITE_ACCEPTANCE,
    )
