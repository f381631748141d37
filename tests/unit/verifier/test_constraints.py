"""Every restriction that a device can hold before use, on both sides of its bound.

A row bends a world in which everything is right.  What lies inside the bound is granted; what
lies one step beyond is refused for its own reason, and may at most be kept and not used.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta

import pytest
from tests.unit.verifier import bounds_of_documents, bounds_of_place
from tests.unit.verifier.bending import (
    Bend,
    asked,
    both,
    constraint,
    facts,
    granted,
    placed,
    statement,
    trust_map,
    when,
    within,
)
from tests.unit.verifier.bounds_of_documents import authorised, item, labelled, market
from tests.unit.verifier.bounds_of_place import CARD, condition, devices, software
from tests.unit.verifier.conftest import NOW, World

from primum_verifier.core.reasons import Reason
from primum_verifier.core.share import share_of
from primum_verifier.core.vocabulary import Capability, Phase


def study(**changes: object) -> Bend:
    def bend(world: World) -> None:
        world.decide("investigational")
        world.statement["study"].update(changes)

    return bend


INSTALLED_NOW = {"clock": NOW + timedelta(hours=1)}

BOUNDS = {**bounds_of_place.BOUNDS, **bounds_of_documents.BOUNDS}


@pytest.mark.parametrize("row", BOUNDS, ids=str)
def test_what_lies_within_the_bound_is_granted(world: World, row: str) -> None:
    inside, _, _ = BOUNDS[row]
    if row == "intended-use":
        use = hashlib.sha256(b"x").hexdigest()
        within("statement", "intendedUse.digest", {"sha256": use})(world)
    with_a_share_above_one(world)
    assert granted(asked(world, inside)), [check.name for check in asked(world).in_the_way]


@pytest.mark.parametrize("row", BOUNDS, ids=str)
def test_one_step_beyond_the_bound_is_refused_for_that_reason(world: World, row: str) -> None:
    _, outside, reason = BOUNDS[row]
    with_a_share_above_one(world)
    verdict = asked(world, outside)
    assert (verdict.capability, verdict.primary) == (Capability.STAGE, reason)


@pytest.mark.parametrize("row", BOUNDS, ids=str)
def test_one_step_beyond_the_bound_is_refused_in_every_phase_that_gives(
    world: World, row: str
) -> None:
    _, outside, _ = BOUNDS[row]
    with_a_share_above_one(world)
    assert asked(world, outside, phase=Phase.ACTIVATE).capability == Capability.STAGE


def with_a_share_above_one(world: World) -> None:
    """A release of which this device draws a share that a ceiling in whole numbers can cut."""
    for number in range(100):
        world.manifest["labelling"]["summary"] = f"better, {number}"
        if share_of(world.release, "wearable-001") >= 1:
            return


AGREEMENT: dict[str, tuple[Bend, Capability]] = {
    "automatic": (
        statement(use={"mode": "clinical", "automation": "automatic-update"}),
        Capability.CLINICAL,
    ),
    "manual and nobody agreed": (
        statement(use={"mode": "clinical", "automation": "manual-update"}),
        Capability.SELF_TEST,
    ),
    "manual and somebody agreed": (
        both(
            statement(use={"mode": "clinical", "automation": "manual-update"}),
            facts(operator_agreed=True),
        ),
        Capability.CLINICAL,
    ),
    "must be read and was not": (
        both(labelled("a", acknowledged="yes"), item("ifu", "a")),
        Capability.SELF_TEST,
    ),
    "must be read and was": (
        both(
            labelled("a", acknowledged="yes"),
            item("ifu", "a"),
            facts(operator_agreed=True),
        ),
        Capability.CLINICAL,
    ),
}


@pytest.mark.parametrize("row", AGREEMENT, ids=str)
def test_a_person_agrees_where_the_statement_asks_for_it(world: World, row: str) -> None:
    bend, capability = AGREEMENT[row]
    verdict = asked(world, bend)
    assert verdict.capability == capability
    expected = None if capability == Capability.CLINICAL else Reason.SAFETY_OPERATOR
    assert verdict.primary == expected


@pytest.mark.parametrize(("agreed", "told"), [(True, "agreed"), (False, "not yet")])
def test_whether_somebody_agreed_is_told(world: World, *, agreed: bool, told: str) -> None:
    """Danger: the record of a switch says nobody agreed to it, or that somebody did."""
    manual = statement(use={"mode": "clinical", "automation": "manual-update"})
    verdict = asked(world, both(manual, facts(operator_agreed=agreed)))
    check = next(check for check in verdict.checks if check.name == "operator-agreed")
    assert (check.found, check.expected) == (told, "a person's agreement")


def test_nobody_has_to_agree_to_the_way_back(world: World) -> None:
    manual = statement(use={"mode": "clinical", "automation": "manual-update"})
    assert granted(asked(world, manual, phase=Phase.FALL_BACK))


STUDY: dict[str, tuple[Bend, Capability, Reason | None]] = {
    "the device is enrolled": (study(), Capability.INVESTIGATIONAL, None),
    "the site is enrolled": (
        study(devices=[], sites=["ward-7"]),
        Capability.INVESTIGATIONAL,
        None,
    ),
    "neither": (
        study(devices=["other"], sites=["ward-8"]),
        Capability.STAGE,
        Reason.ELIGIBILITY_SITE,
    ),
    "ends in a second": (
        study(until=when(minutes=60, seconds=1)),
        Capability.INVESTIGATIONAL,
        None,
    ),
    "ended just now": (study(until=when(minutes=60)), Capability.STAGE, Reason.ELIGIBILITY_EXPIRED),
}


@pytest.mark.parametrize("row", STUDY, ids=str)
def test_only_who_is_enrolled_takes_part_in_a_study(world: World, row: str) -> None:
    bend, capability, reason = STUDY[row]
    verdict = asked(world, bend)
    assert (verdict.capability, verdict.primary) == (capability, reason)


UNTOUCHED = {
    "the end of the market": market(when(days=-9), when(days=-1)),
    "the end of the authorisation": authorised(("DE", when(days=-1))),
    "another ceiling of exposure": within("statement", "exposure.maxPercentage", 1),
    "a condition at activation": condition("on-mains", "activation"),
    "other software": software(requires=[CARD]),
}


@pytest.mark.parametrize("row", UNTOUCHED, ids=str)
def test_what_bears_on_giving_alone_takes_nothing_away(world: World, row: str) -> None:
    verdict = asked(world, UNTOUCHED[row], phase=Phase.CONTINUE)
    assert granted(verdict)


MOVED = {
    "to another country": (placed(jurisdiction="CH"), Reason.ELIGIBILITY_JURISDICTION),
    "to another ward": (placed(siteId="ward-8"), Reason.ELIGIBILITY_SITE),
    "to another kind of care": (
        both(constraint(careSettings=["home"]), placed(careSetting="icu")),
        Reason.ELIGIBILITY_SITE,
    ),
    "to another environment": (
        both(constraint(useEnvironments=["indoors"]), placed(useEnvironment="outdoors")),
        Reason.ELIGIBILITY_SITE,
    ),
    "to other patients": (
        both(constraint(patientCategories=["adult"]), placed(patientCategory="neonatal")),
        Reason.ELIGIBILITY_POPULATION,
    ),
    "out of the devices that are meant": (
        devices("serial-numbers", "SN2"),
        Reason.ELIGIBILITY_DEVICE,
    ),
}


@pytest.mark.parametrize("row", MOVED, ids=str)
def test_what_runs_is_judged_anew_in_another_place(world: World, row: str) -> None:
    bend, reason = MOVED[row]
    verdict = asked(world, bend, phase=Phase.CONTINUE)
    assert (verdict.capability, verdict.primary) == (Capability.STAGE, reason)
    assert verdict.user_notice == "Measure only."


@pytest.mark.parametrize("ends", [True, False])
def test_a_study_ends_for_what_runs_by_proven_time_only(world: World, *, ends: bool) -> None:
    world.decide("investigational")
    world.statement["study"]["until"] = when(minutes=30 if ends else 31)
    far = facts(clock=NOW + timedelta(days=3650))
    verdict = asked(world, far, phase=Phase.CONTINUE)
    assert (verdict.capability == Capability.STAGE) is ends
    assert (verdict.primary == Reason.ELIGIBILITY_EXPIRED) is ends


def test_a_study_whose_end_nobody_can_tell_is_unknown_and_takes_nothing_away(world: World) -> None:
    world.decide("investigational")
    unknown = asked(world, facts(proven=None), phase=Phase.ACTIVATE)
    found = {check.name: str(check.outcome) for check in unknown.checks}
    assert found["study"] == found["validity"] == "unknown"
    assert unknown.capability == Capability.NONE
    runs = asked(world, facts(proven=None), phase=Phase.CONTINUE)
    assert runs.capability == Capability.INVESTIGATIONAL


def test_a_market_whose_time_nobody_can_tell_is_unknown(world: World) -> None:
    verdict = asked(world, both(market(when()), facts(clock=None)))
    market_check = next(check for check in verdict.checks if check.name == "market")
    assert (str(market_check.outcome), market_check.reason) == (
        "unknown",
        Reason.TRUST_TIME_UNKNOWN,
    )


def test_time_is_judged_by_the_stricter_of_clock_and_proven_time(world: World) -> None:
    """A clock set back does not bring back the past, and set ahead it brings no future."""
    until = within("statement", "validity.notAfter", when(minutes=30))
    began = within("statement", "validity.notBefore", when(hours=-1))
    set_back = facts(clock=NOW)
    assert asked(world, both(began, until, set_back)).primary == Reason.ELIGIBILITY_EXPIRED
    later = within("statement", "validity.notBefore", when(minutes=45))
    last = within("statement", "validity.notAfter", when(days=9))
    ahead = facts(**INSTALLED_NOW)
    assert asked(world, both(last, later, ahead)).primary == Reason.ELIGIBILITY_NOT_YET_VALID


def test_a_release_of_another_component_is_not_deployable(world: World) -> None:
    verdict = asked(world, trust_map(component="spo2-estimator"))
    assert (verdict.capability, verdict.primary) == (Capability.NONE, Reason.COMPAT_SOFTWARE)
    assert verdict.in_the_way[0].name == "component"


@pytest.mark.parametrize("bound", ["requires", "conflicts"])
def test_what_engineering_asks_of_other_software_keeps_it_from_being_deployed(
    world: World, bound: str
) -> None:
    world.manifest["compatibility"][bound] = [CARD]
    outside = {"requires": "2.0.0", "conflicts": "1.0.0"}[bound]
    inside = {"requires": "1.0.0", "conflicts": "2.0.0"}[bound]
    assert granted(asked(world, facts(installed={"card": inside})))
    verdict = asked(world, facts(installed={"card": outside}))
    assert (verdict.capability, verdict.primary) == (Capability.NONE, Reason.COMPAT_SOFTWARE)
    assert bound[:4] in verdict.in_the_way[0].found.replace("needs", "requires")
