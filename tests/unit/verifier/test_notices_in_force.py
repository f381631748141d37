"""Which safety notices count: one function holds, two take away, and nothing lifts by accident."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.unit.verifier.bending import (
    Bend,
    asked,
    at,
    attribute,
    both,
    constraint,
    drop_approval,
    expires,
    facts,
    granted,
    held,
    left,
    made,
    nothing,
    noticed,
    placed,
    restricted,
    trust_map,
    when,
    within,
)
from tests.unit.verifier.conftest import NOW, World

from primum_verifier.core.question import SeenHold
from primum_verifier.core.reasons import Reason
from primum_verifier.core.vocabulary import Capability, NoticeAction, Phase

ROLES = ("root", "timestamp", "snapshot", "targets", "model", "rollout", "eligibility", "safety")
SAME_ID = "urn:uuid:00000000-0000-4000-8000-000000000000"


def status(number: int, value: str) -> Bend:
    return within("policy", f"people.{number}.status", value)


def days_later(days: float) -> Bend:
    """So much time has passed, and everything else is still right."""
    return both(
        at(days=days),
        expires(NOW + timedelta(days=2000), *ROLES),
        attribute("vouched", NOW + timedelta(days=days)),
        lambda world: world.context.update(notAfter=when(days=2000)),
        within("statement", "validity.maxIndexAgeHours", 8784),
        within("statement", "validity.notAfter", when(days=1500)),
    )


def seen(days: float, person: str = "p-clinical", notice: str = SAME_ID) -> Bend:
    """The device obeyed a hold of this person, so many days ago (from the start)."""
    hold = SeenHold(notice, person, NOW - timedelta(days=days))
    return facts(seen_holds=(hold,))


def second_hold(days: float, signer: str = "clinical", **changes: object) -> Bend:
    """Both holds stand in the file; the second is as many days later as have passed."""
    later = {"issuedAt": when(days=days), "effectiveAt": when(days=days)}
    return both(
        held(),
        days_later(days),
        held(signer, **{**later, "expiresAt": when(days=days + 3), **changes}),
    )


HOLDS: dict[str, tuple[Bend, bool]] = {
    "by one function": (held(), True),
    "by two people of one function": (
        both(
            lambda world: world.hire("deputy", "clinical"),
            noticed(
                "clinical",
                "deputy",
                kind="hold",
                action="no-new-activation",
                expiresAt=when(days=3),
            ),
        ),
        True,
    ),
    "by nobody": (noticed(kind="hold", action="no-new-activation", expiresAt=when(days=3)), False),
    "by a compromised person": (
        both(
            held(),
            status(0, "compromised"),
            lambda w: w.hire("deputy", "clinical"),
            lambda w: w.approvals[0].update(signer="deputy", personId="p-deputy"),
        ),
        False,
    ),
    "before leaving, and it is honoured": (
        both(
            held(),
            left(0, notices=True),
            lambda w: w.hire("deputy", "clinical"),
            lambda w: w.approvals[0].update(signer="deputy", personId="p-deputy"),
        ),
        True,
    ),
    "with the key of somebody who left": (
        both(
            held(),
            left(0, notices=False),
            lambda w: w.hire("deputy", "clinical"),
            lambda w: w.approvals[0].update(signer="deputy", personId="p-deputy"),
        ),
        False,
    ),
    "where two functions are needed to hold": (
        both(held(), within("policy", "functionsToHold", 2)),
        False,
    ),
    "before its own end": (
        both(held(expiresAt=when(hours=2)), at(hours=1, minutes=59, seconds=59)),
        True,
    ),
    "at its own end": (both(held(expiresAt=when(hours=2)), at(hours=2)), False),
    "a second before 72 hours": (
        both(held(expiresAt=when(days=90)), at(hours=71, minutes=59, seconds=59)),
        True,
    ),
    "at 72 hours": (both(held(expiresAt=when(days=90)), at(hours=72)), False),
    "confirmed by another function, at 72 hours": (
        both(
            noticed(
                "clinical",
                "quality",
                kind="hold",
                action="no-new-activation",
                expiresAt=when(days=9),
            ),
            at(hours=72),
        ),
        True,
    ),
    "confirmed by another function, before its end": (
        both(
            noticed(
                "clinical",
                "quality",
                kind="hold",
                action="no-new-activation",
                expiresAt=when(days=9),
            ),
            at(days=9, seconds=-1),
        ),
        True,
    ),
    "confirmed by another function, at its end": (
        both(
            noticed(
                "clinical",
                "quality",
                kind="hold",
                action="no-new-activation",
                expiresAt=when(days=9),
            ),
            at(days=9),
        ),
        False,
    ),
    "issued at the very moment that clinical vouches for": (
        both(held(issuedAt=when(), effectiveAt=when()), attribute("vouched", NOW)),
        True,
    ),
    "dated at what is proven": (held(issuedAt=when(minutes=30)), True),
    "dated a second ahead": (held(issuedAt=when(minutes=30, seconds=1)), False),
    "while nobody vouches for a time": (both(held(), attribute("vouched", value=None)), True),
    "effective now": (held(effectiveAt=when(minutes=30)), True),
    "effective in a second": (held(effectiveAt=when(minutes=30, seconds=1)), False),
    "again by the same person after 29 days": (second_hold(29), False),
    "again by the same person after 30 days": (second_hold(30), True),
    "again by the same person a second before 30 days": (
        second_hold(30, issuedAt=when(days=30, seconds=-1)),
        False,
    ),
    "again by the same person under the same id": (
        both(seen(2), held(id=SAME_ID)),
        False,
    ),
    "the same notice, seen before": (both(seen(0), held(id=SAME_ID)), True),
    "by another person within 30 days": (second_hold(10, "quality"), True),
    "by the same person, seen 29 days before": (both(seen(29), held()), False),
    "by the same person, seen 30 days before": (both(seen(30), held()), True),
    "by another person, seen 5 days before": (both(seen(5, "p-quality"), held()), True),
    "after one that was confirmed": (
        both(
            noticed(
                "clinical",
                "quality",
                kind="hold",
                action="no-new-activation",
                expiresAt=when(days=3),
            ),
            days_later(10),
            held(issuedAt=when(days=10), effectiveAt=when(days=10), expiresAt=when(days=12)),
        ),
        True,
    ),
    "after one that was a drill elsewhere": (
        both(
            held(drill=True),
            days_later(10),
            held(issuedAt=when(days=10), effectiveAt=when(days=10), expiresAt=when(days=12)),
        ),
        True,
    ),
    "after one that was for another country": (
        both(
            held(scope={"mode": "jurisdictions", "jurisdictions": ["FR"]}),
            days_later(10),
            held(issuedAt=when(days=10), effectiveAt=when(days=10), expiresAt=when(days=12)),
        ),
        True,
    ),
    "a drill on a device that takes none": (held(drill=True), False),
    "a drill on a device that takes part": (
        both(held(drill=True), trust_map(takesDrills=True)),
        True,
    ),
}


@pytest.mark.parametrize("case", HOLDS, ids=str)
def test_a_hold_stops_new_activations_exactly_while_it_may(world: World, case: str) -> None:
    bend, holds = HOLDS[case]
    verdict = asked(world, bend)
    assert granted(verdict) is not holds, verdict.in_the_way
    assert verdict.primary == (Reason.ELIGIBILITY_HELD if holds else None)


def test_a_hold_is_remembered_with_who_signed_it(world: World) -> None:
    verdict = asked(world, both(held(id=SAME_ID), held(drill=True), noticed("quality", "clinical")))
    assert verdict.seen_holds == (SeenHold(SAME_ID, "p-clinical", NOW),)


@pytest.mark.parametrize("phase", [Phase.CONTINUE, Phase.FALL_BACK])
def test_a_hold_takes_nothing_away_whatever_it_orders(world: World, phase: Phase) -> None:
    verdict = asked(world, held(action="suspend-device-function"), phase=phase)
    assert granted(verdict)


SERIALS = {"scope": "serial-numbers", "values": ["SN1"], "ranges": []}
SCOPES: dict[str, tuple[dict[str, object], bool]] = {
    "everywhere": ({"mode": "all"}, True),
    "this country": ({"mode": "jurisdictions", "jurisdictions": ["FR", "DE"]}, True),
    "another country": ({"mode": "jurisdictions", "jurisdictions": ["FR"]}, False),
    "this site": ({"mode": "all", "sites": {"mode": "list", "ids": ["ward-7"]}}, True),
    "another site": ({"mode": "all", "sites": {"mode": "list", "ids": ["ward-8"]}}, False),
    "this group": ({"mode": "all", "sites": {"mode": "group", "ids": ["north"]}}, True),
    "another group": ({"mode": "all", "sites": {"mode": "group", "ids": ["ward-7"]}}, False),
    "this serial": ({"mode": "all", "devices": SERIALS}, True),
    "another serial": ({"mode": "all", "devices": {**SERIALS, "values": ["SN2"]}}, False),
    "this lot": ({"mode": "all", "devices": {"scope": "lot-numbers", "values": ["L1"]}}, True),
    "another lot": ({"mode": "all", "devices": {"scope": "lot-numbers", "values": ["L2"]}}, False),
    "this model": ({"mode": "all", "devices": {"scope": "model", "values": ["M1"]}}, True),
    "another model": ({"mode": "all", "devices": {"scope": "model", "values": ["M2"]}}, False),
    "this country, another site": (
        {
            "mode": "jurisdictions",
            "jurisdictions": ["DE"],
            "sites": {"mode": "list", "ids": ["ward-8"]},
        },
        False,
    ),
}
HERE = both(made(lotNumber="L1", modelNumber="M1"), placed(siteGroups=["north"]))


@pytest.mark.parametrize("case", SCOPES, ids=str)
def test_a_notice_counts_for_those_in_its_scope(world: World, case: str) -> None:
    scope, meant = SCOPES[case]
    withdrawn = noticed("clinical", "quality", scope=scope)
    assert granted(asked(world, both(HERE, withdrawn))) is not meant
    assert granted(asked(world, phase=Phase.CONTINUE)) is not meant


UNTRUSTED = {
    "signed by one key": attribute("context_signers", [0]),
    "of another device": facts(device_key="f" * 64),
    "older than one that was accepted": facts(context_floor=2),
}


@pytest.mark.parametrize("case", UNTRUSTED, ids=str)
def test_a_context_that_cannot_be_trusted_puts_no_device_out_of_scope(
    world: World, case: str
) -> None:
    scope = {"mode": "jurisdictions", "jurisdictions": ["FR"]}
    bend = both(noticed("clinical", "quality", scope=scope), UNTRUSTED[case])
    verdict = asked(world, bend, phase=Phase.CONTINUE)
    assert (verdict.ordered, verdict.primary) == (
        NoticeAction.FALL_BACK,
        Reason.ELIGIBILITY_WITHDRAWN,
    )


ORDERS: dict[str, tuple[Bend, NoticeAction | None]] = {
    "taking away needs two functions": (noticed("clinical"), None),
    "two people of one function are one": (
        both(lambda w: w.hire("deputy", "clinical"), noticed("clinical", "deputy")),
        None,
    ),
    "two functions": (noticed("clinical", "quality"), NoticeAction.FALL_BACK),
    "three are needed": (
        both(noticed("clinical", "quality"), within("policy", "functionsToTakeAway", 3)),
        None,
    ),
    "the whole device, by regulatory and clinical": (
        noticed("regulatory", "clinical", action="suspend-device-function"),
        NoticeAction.SUSPEND_DEVICE_FUNCTION,
    ),
    "the whole device, without regulatory": (
        noticed("quality", "clinical", action="suspend-device-function"),
        None,
    ),
    "the whole device, without clinical": (
        noticed("quality", "regulatory", action="suspend-device-function"),
        None,
    ),
    "a second before its grace is over": (
        noticed("clinical", "quality", gracePeriodSeconds=1801),
        NoticeAction.CONTINUE_WITH_NOTICE,
    ),
    "when its grace is over": (
        noticed("clinical", "quality", gracePeriodSeconds=1800),
        NoticeAction.FALL_BACK,
    ),
    "its grace, counted from its effect": (
        noticed("clinical", "quality", effectiveAt=when(seconds=1), gracePeriodSeconds=1800),
        NoticeAction.CONTINUE_WITH_NOTICE,
    ),
    "a clock that ran ahead ends no grace": (
        both(
            noticed("clinical", "quality", gracePeriodSeconds=86_400),
            facts(clock=NOW + timedelta(days=999)),
        ),
        NoticeAction.CONTINUE_WITH_NOTICE,
    ),
    "a drill, elsewhere": (noticed("clinical", "quality", drill=True), None),
    "a drill, here": (
        both(noticed("clinical", "quality", drill=True), trust_map(takesDrills=True)),
        NoticeAction.FALL_BACK,
    ),
    "a drill ends": (
        both(
            noticed("clinical", "quality", drill=True, expiresAt=when(minutes=30)),
            trust_map(takesDrills=True),
        ),
        None,
    ),
    "a withdrawal ends by no time": (
        noticed("clinical", "quality", expiresAt=when(minutes=30)),
        NoticeAction.FALL_BACK,
    ),
    "a field action that takes away ends by no time": (
        noticed("clinical", "quality", kind="field-action", expiresAt=when(minutes=30)),
        NoticeAction.FALL_BACK,
    ),
    "a restriction ends by no time": (
        noticed(
            "clinical",
            "quality",
            kind="restriction",
            action="restrict",
            restriction={"jurisdictions": ["DE"]},
            expiresAt=when(minutes=30),
        ),
        NoticeAction.RESTRICT,
    ),
    "words end": (
        noticed(
            "clinical",
            "quality",
            kind="field-action",
            action="notify-only",
            expiresAt=when(minutes=30),
        ),
        None,
    ),
    "words, a second before": (
        noticed(
            "clinical",
            "quality",
            kind="field-action",
            action="notify-only",
            expiresAt=when(minutes=30, seconds=1),
        ),
        NoticeAction.NOTIFY_ONLY,
    ),
    "the strictest first": (
        both(
            noticed("clinical", "quality", action="suspend-ai-function"),
            noticed("clinical", "quality", issuedAt=when(minutes=-1)),
            noticed("clinical", "quality", kind="field-action", action="notify-only"),
        ),
        NoticeAction.SUSPEND_AI_FUNCTION,
    ),
    "a milder one that names it lifts nothing": (
        both(
            noticed("clinical", "quality", id=SAME_ID),
            noticed(
                "clinical",
                "quality",
                kind="field-action",
                action="notify-only",
                supersedes=[SAME_ID],
            ),
        ),
        NoticeAction.FALL_BACK,
    ),
    "a mark on the list revives nothing that was answered": (
        both(
            noticed("clinical", "quality", id=SAME_ID),
            lambda w: w.statement.update(answers=[SAME_ID]),
            lambda w: w.run(),
            attribute("index_status", "held"),
        ),
        NoticeAction.CONTINUE_WITH_NOTICE,
    ),
    "an entry dropped revives nothing that was answered": (
        both(
            noticed("clinical", "quality", id=SAME_ID),
            lambda w: w.statement.update(answers=[SAME_ID]),
            lambda w: w.run(),
            attribute("listed", value=False),
        ),
        NoticeAction.CONTINUE_WITH_NOTICE,
    ),
    "an answer that was never approved lifts nothing": (
        both(
            noticed("clinical", "quality", id=SAME_ID),
            lambda w: w.statement.update(answers=[SAME_ID]),
            drop_approval("quality"),
        ),
        NoticeAction.FALL_BACK,
    ),
    "an answer for a stage that the policy does not know lifts nothing": (
        both(
            noticed("clinical", "quality", id=SAME_ID),
            lambda w: w.statement.update(answers=[SAME_ID]),
            within("policy", "requirements.0.stage", "validation"),
        ),
        NoticeAction.FALL_BACK,
    ),
    "no policy to count the functions by": (
        both(noticed("clinical", "quality"), within("policy", "number", 0)),
        NoticeAction.CONTINUE_WITH_NOTICE,
    ),
}


@pytest.mark.parametrize("case", ORDERS, ids=str)
def test_what_a_notice_orders_of_what_runs(world: World, case: str) -> None:
    bend, ordered = ORDERS[case]
    verdict = asked(world, bend, phase=Phase.CONTINUE)
    assert verdict.ordered == ordered
    assert granted(verdict) is (ordered is None or not ordered.takes_away)


def test_among_equals_the_newest_is_told(world: World) -> None:
    newest = noticed(
        "clinical",
        "quality",
        issuedAt=when(minutes=5),
        userNotice="Newest.",
        fallback={"order": [{"sha256": "a" * 64}]},
        runningEpisode="at-once",
        maxUseSeconds=60,
        preserveEvidence=True,
    )
    older = noticed("clinical", "quality", userNotice="Older.")
    order = asked(world, both(older, newest, older), phase=Phase.CONTINUE).order
    assert order is not None
    assert (order.user_notice, order.fallback, str(order.running_episode)) == (
        "Newest.",
        ("a" * 64,),
        "at-once",
    )
    assert (order.max_use_seconds, order.preserve_evidence) == (60, True)


FORBIDS: dict[str, tuple[Bend, bool]] = {
    "words": (noticed("clinical", "quality", kind="field-action", action="notify-only"), False),
    "advice": (noticed("clinical", "quality", kind="field-action", action="advisory-only"), False),
    "words about a withdrawal": (noticed("clinical", "quality", action="notify-only"), True),
    "no new activation": (
        noticed("clinical", "quality", kind="field-action", action="no-new-activation"),
        True,
    ),
    "a withdrawal in its grace": (noticed("clinical", "quality", gracePeriodSeconds=9999), True),
    "a restriction that is met": (restricted(jurisdictions=["DE"]), False),
}


@pytest.mark.parametrize("case", FORBIDS, ids=str)
def test_what_only_tells_or_narrows_forbids_nothing(world: World, case: str) -> None:
    bend, forbids = FORBIDS[case]
    assert granted(asked(world, bend)) is not forbids


@pytest.mark.parametrize(("kind", "forbids"), [("field-action", False), ("withdrawal", True)])
def test_no_new_activation_forbids_no_way_back_to_what_is_not_withdrawn(
    world: World, kind: str, *, forbids: bool
) -> None:
    stop = noticed("clinical", "quality", kind=kind, action="no-new-activation")
    assert granted(asked(world, stop, phase=Phase.FALL_BACK)) is not forbids
    assert not granted(asked(world, phase=Phase.ACTIVATE))


POINT = within("statement", "operatingPoint.restricted", [{"id": "cautious", "threshold": "0.8"}])
ASKS = facts(asks_per_episode=True)
MARKED = attribute("index_status", "restricted")
RESTRICTIONS: dict[str, tuple[Bend, bool]] = {
    "this country": (restricted(jurisdictions=["DE"]), True),
    "another country": (restricted(jurisdictions=["FR"]), False),
    "this site": (restricted(sites={"mode": "list", "ids": ["ward-7"]}), True),
    "another site": (restricted(sites={"mode": "list", "ids": ["ward-8"]}), False),
    "this care": (restricted(careSettings=["home"]), True),
    "other care": (restricted(careSettings=["icu"]), False),
    "these patients, asked": (both(restricted(patientCategories=["adult"]), ASKS), True),
    "these patients, not asked": (restricted(patientCategories=["adult"]), False),
    "these patients, one mode": (
        both(restricted(patientCategories=["adult"]), placed(patientCategory="adult")),
        True,
    ),
    "other patients, one mode": (
        both(restricted(patientCategories=["adult"]), placed(patientCategory="neonatal"), ASKS),
        False,
    ),
    "an age, asked": (
        both(restricted(population={"enforce": "labelling", "ageYearsMin": 18}), ASKS),
        True,
    ),
    "an age, not asked": (
        restricted(population={"enforce": "inference", "ageYearsMin": 18}),
        False,
    ),
    "an approved point": (both(POINT, restricted(operatingPoint="cautious")), True),
    "a point that was never approved": (both(POINT, restricted(operatingPoint="bold")), False),
    "two at once": (
        both(restricted(jurisdictions=["DE"]), restricted(careSettings=["icu"])),
        False,
    ),
}


@pytest.mark.parametrize("case", RESTRICTIONS, ids=str)
@pytest.mark.parametrize("marked", [False, True])
def test_a_restriction_is_held_here_or_is_as_good_as_a_withdrawal(
    world: World, case: str, *, marked: bool
) -> None:
    bend, held_here = RESTRICTIONS[case]
    verdict = asked(world, both(bend, MARKED if marked else nothing), phase=Phase.ACTIVATE)
    assert granted(verdict) is held_here
    assert verdict.primary == (None if held_here else Reason.ELIGIBILITY_POPULATION)
    verdict = asked(world, phase=Phase.CONTINUE)
    assert verdict.ordered == (NoticeAction.RESTRICT if held_here else NoticeAction.FALL_BACK)
    assert verdict.capability == (Capability.CLINICAL if held_here else Capability.STAGE)
    assert verdict.primary == Reason.ELIGIBILITY_POPULATION


MARKS: dict[str, tuple[Bend, bool]] = {
    "no notice at all": (nothing, False),
    "a notice that one function signed": (restricted("clinical", jurisdictions=["DE"]), False),
    "a notice that narrows nothing": (
        noticed("clinical", "quality", kind="field-action", action="notify-only"),
        False,
    ),
    "a drill": (
        noticed(
            "clinical",
            "quality",
            kind="restriction",
            action="restrict",
            drill=True,
            restriction={"jurisdictions": ["DE"]},
        ),
        False,
    ),
    "a notice for another country": (
        noticed(
            "clinical",
            "quality",
            kind="restriction",
            action="restrict",
            restriction={"jurisdictions": ["DE"]},
            scope={"mode": "jurisdictions", "jurisdictions": ["FR"]},
        ),
        True,
    ),
}


@pytest.mark.parametrize("case", MARKS, ids=str)
def test_marked_as_restricted_is_listed_only_where_a_signed_notice_says_how(
    world: World, case: str
) -> None:
    bend, listed = MARKS[case]
    verdict = asked(world, both(bend, MARKED))
    assert granted(verdict) is listed
    assert verdict.primary == (None if listed else Reason.ELIGIBILITY_POPULATION)


def test_a_later_restriction_lifts_no_operating_point(world: World) -> None:
    later = noticed(
        "clinical",
        "quality",
        kind="restriction",
        action="restrict",
        issuedAt=when(minutes=5),
        restriction={"jurisdictions": ["DE"]},
    )
    bend = both(POINT, restricted(operatingPoint="cautious"), later)
    order = asked(world, bend, phase=Phase.CONTINUE).order
    assert order is not None
    assert order.operating_point == "cautious"


BACK: dict[str, tuple[Bend, bool]] = {
    "nobody orders it": (nothing, False),
    "named, and below the floor": (noticed("clinical", "quality"), True),
    "named, not as a downgrade": (
        noticed("clinical", "quality", fallback={"order": [], "explicitDowngrade": False}),
        False,
    ),
    "by one function": (noticed("clinical"), False),
    "by a hold": (held(), False),
    "by a hold that two functions signed": (
        noticed(
            "clinical", "quality", kind="hold", action="no-new-activation", expiresAt=when(days=3)
        ),
        False,
    ),
    "from another country": (
        noticed("clinical", "quality", scope={"mode": "jurisdictions", "jurisdictions": ["FR"]}),
        False,
    ),
    "by a drill": (noticed("clinical", "quality", drill=True), False),
}


def _about_another(world: World) -> None:
    """Every notice is about another release, and leads back to this one."""
    for number, (said, _) in enumerate(world.notices):
        world.elsewhere.add(number)
        order = [{"sha256": world.release}]
        said["fallback"] = {"explicitDowngrade": True, **said["fallback"], "order": order}


@pytest.mark.parametrize("case", BACK, ids=str)
def test_below_the_floor_only_a_notice_that_names_it_leads_back(world: World, case: str) -> None:
    bend, leads = BACK[case]
    floor = facts(counter_floor=9)
    verdict = asked(world, both(bend, _about_another, floor), phase=Phase.FALL_BACK)
    assert granted(verdict) is leads
    assert verdict.primary == (None if leads else Reason.TRUST_ROLLBACK)
    world.facts["phase"] = Phase.ACTIVATE
    assert asked(world).primary == Reason.TRUST_ROLLBACK


def test_a_way_back_that_names_another_digest_leads_nowhere(world: World) -> None:
    bend = both(
        noticed(
            "clinical",
            "quality",
            fallback={"order": [{"sha256": "a" * 64}], "explicitDowngrade": True},
        ),
        lambda w: w.elsewhere.add(0),
        facts(counter_floor=9),
    )
    assert asked(world, bend, phase=Phase.FALL_BACK).primary == Reason.TRUST_ROLLBACK


def test_a_restriction_reaches_the_terms_of_each_episode(world: World) -> None:
    bend = both(
        restricted(population={"enforce": "inference", "ageYearsMin": 18}),
        constraint(population={"enforce": "inference", "ageYearsMax": 80}),
        ASKS,
    )
    terms = asked(world, bend, phase=Phase.CONTINUE).per_episode
    assert terms["layers"] == [{"ageYearsMax": 80}, {"ageYearsMin": 18}]
    assert terms["banner"] == "Withdrawn."


@pytest.mark.parametrize(
    ("phase", "grace", "narrows"),
    [
        (Phase.CONTINUE, 1801, False),
        (Phase.CONTINUE, 1800, True),
        (Phase.ACTIVATE, 1801, True),
        (Phase.ACTIVATE, 1800, True),
    ],
)
def test_what_runs_is_narrowed_when_its_grace_is_over_and_what_is_new_at_once(
    world: World, phase: Phase, grace: int, *, narrows: bool
) -> None:
    """Danger: patients are refused in the time of grace, or a new release takes no notice."""
    narrowed = noticed(
        "clinical",
        "quality",
        kind="restriction",
        action="restrict",
        restriction={"population": {"enforce": "inference", "ageYearsMin": 18}},
        gracePeriodSeconds=grace,
    )
    terms = asked(world, both(narrowed, ASKS), phase=phase).per_episode
    assert terms["layers"] == ([{"ageYearsMin": 18}] if narrows else [])
