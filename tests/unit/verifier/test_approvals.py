"""Whose approvals count: distinct people, in their one function, over this very statement."""

from __future__ import annotations

import hashlib
from datetime import timedelta

import pytest
from tests.unit.verifier.bending import (
    Bend,
    asked,
    both,
    change_approval,
    drop_approval,
    facts,
    granted,
    needs,
    nothing,
    statement,
    when,
    within,
)
from tests.unit.verifier.conftest import NOW, World

from primum_verifier.core.approval import ApprovalPolicy
from primum_verifier.core.document import canonical_json
from primum_verifier.core.reasons import Reason
from primum_verifier.core.vocabulary import Capability, NoticeAction, Phase


def second_quality(**said: object) -> Bend:
    """A second person of quality, and their approval."""

    def bend(world: World) -> None:
        world.hire("deputy", "quality")
        mine = next(item for item in world.approvals if item["function"] == "quality")
        world.approvals.append({**mine, "signer": "deputy", "personId": "p-deputy", **said})

    return bend


def two_of_quality(world: World) -> None:
    world.policy["requirements"][0]["functions"]["quality"] = 2


def honoured(*, this: bool) -> Bend:
    """The first person has left; what they approved, this or something else, stays good."""

    def bend(world: World) -> None:
        digest = hashlib.sha256(world.statement_bytes()).hexdigest() if this else "9" * 64
        world.policy["people"][0].update(status="left", honoured=[{"sha256": digest}])

    return bend


ENOUGH: dict[str, tuple[Bend, bool]] = {
    "one of each function": (nothing, True),
    "two of quality": (both(two_of_quality, second_quality()), True),
    "one of quality twice": (
        both(two_of_quality, lambda w: w.approvals.append(dict(w.approvals[1]))),
        False,
    ),
    "one of quality under two names": (
        both(
            two_of_quality,
            lambda w: w.approvals.append(
                {**w.approvals[1], "personId": "p-deputy", "printedName": "Deputy"}
            ),
        ),
        False,
    ),
    "a second person who is in no policy": (
        both(two_of_quality, second_quality(), lambda w: w.policy["people"].pop()),
        False,
    ),
    "somebody of quality says they are regulatory": (
        both(drop_approval("regulatory"), second_quality(function="regulatory")),
        False,
    ),
    "the second abstains": (both(two_of_quality, second_quality(decision="abstain")), False),
    "the second is signed by the first": (
        both(two_of_quality, second_quality(signer="quality")),
        False,
    ),
    "only reviewed, which is a meaning and no refusal": (
        change_approval("quality", meaning="reviewed"),
        True,
    ),
    "left, and this statement stays honoured": (honoured(this=True), True),
    "left, and another statement stays honoured": (honoured(this=False), False),
    "compromised": (within("policy", "people.0.status", "compromised"), False),
    "for another tier than the policy names": (needs(changeTiers=["moderate"]), False),
    "for the tier that the policy names": (needs(changeTiers=["minor"]), True),
    "an approval that is no envelope leaves the others": (
        lambda w: setattr(
            w,
            "tamper",
            lambda name, data: data + b"{}\n" if name.endswith("approvals.jsonl") else data,
        ),
        True,
    ),
    "more approvals than are read": (
        lambda w: setattr(
            w,
            "tamper",
            lambda name, data: data + b"{}\n" * 62 if name.endswith("approvals.jsonl") else data,
        ),
        False,
    ),
}


@pytest.mark.parametrize("case", ENOUGH, ids=str)
def test_enough_distinct_people_approved_this_very_statement(world: World, case: str) -> None:
    bend, enough = ENOUGH[case]
    verdict = asked(world, bend)
    assert granted(verdict) is enough
    assert verdict.primary == (None if enough else Reason.ELIGIBILITY_APPROVALS)


def test_how_many_are_missing_of_each_function_is_told(world: World) -> None:
    """Danger: people are asked for more approvals than are needed, or for fewer."""
    three_of_quality = needs(functions={"clinical": 2, "quality": 3, "regulatory": 1})
    verdict = asked(world, both(three_of_quality, second_quality()))
    check = next(check for check in verdict.checks if check.name == "approvals")
    assert check.found == ("clinical 1, quality 2, regulatory 1; missing: clinical 1, quality 1")


@pytest.mark.parametrize("case", [name for name, (_, enough) in ENOUGH.items() if not enough])
def test_what_runs_goes_on_with_a_notice_while_approvals_are_missing(
    world: World, case: str
) -> None:
    verdict = asked(world, ENOUGH[case][0], phase=Phase.CONTINUE)
    assert (verdict.ordered, verdict.primary) == (
        NoticeAction.CONTINUE_WITH_NOTICE,
        Reason.ELIGIBILITY_APPROVALS,
    )


def compromised(until: str, *, number: int = 0) -> Bend:
    return lambda world: world.policy["people"][number].update(
        status="compromised", reapproveBy=until
    )


def deputy_approves(world: World) -> None:
    """Another clinician approves what the compromised key had approved."""
    world.hire("deputy", "clinical")
    world.approvals.append({**world.approvals[0], "signer": "deputy", "personId": "p-deputy"})


REAPPROVED: dict[str, tuple[Bend, NoticeAction | None]] = {
    "a second before the date": (
        compromised(when(minutes=30, seconds=1)),
        NoticeAction.CONTINUE_WITH_NOTICE,
    ),
    "at the date": (compromised(when(minutes=30)), NoticeAction.FALL_BACK),
    "no date": (
        within("policy", "people.0.status", "compromised"),
        NoticeAction.CONTINUE_WITH_NOTICE,
    ),
    "at the date, and somebody else approved": (
        both(compromised(when(minutes=30)), deputy_approves),
        None,
    ),
    "at the date, and the time is unknown": (
        both(compromised(when(minutes=30)), facts(proven=None)),
        NoticeAction.CONTINUE_WITH_NOTICE,
    ),
    "at the date by a clock that ran ahead": (
        both(compromised(when(days=9)), facts(clock=NOW + timedelta(days=99))),
        NoticeAction.CONTINUE_WITH_NOTICE,
    ),
    "somebody who never approved it; the policy asks for more": (
        both(
            lambda w: w.hire("deputy", "quality"),
            compromised(when(minutes=30), number=3),
            two_of_quality,
        ),
        NoticeAction.CONTINUE_WITH_NOTICE,
    ),
    "as the statement orders": (
        compromised(when(minutes=30)),
        NoticeAction.SUSPEND_AI_FUNCTION,
    ),
    "where the policy asks for more besides": (
        both(compromised(when(minutes=30)), two_of_quality),
        NoticeAction.CONTINUE_WITH_NOTICE,
    ),
}


@pytest.mark.parametrize("case", REAPPROVED, ids=str)
def test_what_a_compromised_key_approved_is_taken_away_from_the_date_that_is_set(
    world: World, case: str
) -> None:
    bend, ordered = REAPPROVED[case]
    if ordered == NoticeAction.SUSPEND_AI_FUNCTION:
        world.statement["onWithdrawal"]["action"] = "suspend-ai-function"
    verdict = asked(world, bend, phase=Phase.CONTINUE)
    assert verdict.ordered == ordered
    assert granted(verdict) is (ordered is None or not ordered.takes_away)


BURNED: dict[str, Bend] = {
    "burned": lambda w: w.policy["burnedStatements"].append(
        {"sha256": hashlib.sha256(w.statement_bytes()).hexdigest()}
    ),
    "below the floor of numbers": within("policy", "minStatementNumber", 6),
}


@pytest.mark.parametrize("case", BURNED, ids=str)
def test_a_statement_that_the_policy_ended_gives_nothing_and_is_announced(
    world: World, case: str
) -> None:
    verdict = asked(world, BURNED[case])
    assert (verdict.capability, verdict.primary) == (
        Capability.STAGE,
        Reason.ELIGIBILITY_SUPERSEDED,
    )
    verdict = asked(world, phase=Phase.CONTINUE)
    assert (verdict.ordered, verdict.primary) == (
        NoticeAction.CONTINUE_WITH_NOTICE,
        Reason.ELIGIBILITY_SUPERSEDED,
    )


def test_a_statement_about_another_release_gives_nothing_and_ends_nothing(world: World) -> None:
    """The list names a statement about something else: what runs goes by the one it kept."""

    def about_another(w: World) -> None:
        w.about = "8" * 64
        w.statement["onExpiry"]["action"] = "suspend-ai-function"
        w.statement["validity"].update(notBefore=when(hours=-2), notAfter=when(hours=-1))

    kept = asked(world, phase=Phase.CONTINUE)
    assert kept.primary is None
    verdict = asked(world, about_another)
    assert verdict.ordered == NoticeAction.CONTINUE_WITH_NOTICE
    assert verdict.primary == Reason.ELIGIBILITY_ABSENT
    verdict = asked(world, statement(), phase=Phase.ACTIVATE)
    assert (verdict.capability, verdict.primary) == (
        Capability.STAGE,
        Reason.ELIGIBILITY_ABSENT,
    )


def test_only_people_whose_keys_count_are_active(world: World) -> None:
    world.policy["people"][0].update(status="left")
    world.policy["people"][1].update(status="compromised")
    document = ApprovalPolicy.model_validate_json(canonical_json(world.policy))
    assert [person.person_id for person in document.active_people()] == ["p-regulatory"]


@pytest.mark.parametrize(
    ("status", "about_listed", "about_else"),
    [("active", True, True), ("left", True, False), ("compromised", False, False)],
)
def test_who_left_counts_for_what_is_listed_and_who_is_compromised_for_nothing(
    world: World, status: str, about_listed: bool, about_else: bool
) -> None:
    world.policy["people"][0].update(status=status, honoured=[{"sha256": "8" * 64}])
    document = ApprovalPolicy.model_validate_json(canonical_json(world.policy))
    assert document.people[0].counts_for("8" * 64) is about_listed
    assert document.people[0].counts_for("9" * 64) is about_else
    assert (document.people[0] in document.approvers_of("8" * 64)) is about_listed
