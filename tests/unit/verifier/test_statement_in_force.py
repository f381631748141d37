"""By which statement is judged what runs: whoever writes the list alone decides nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from tests.unit.verifier.bending import Bend, noticed, within
from tests.unit.verifier.conftest import NOW, World, moment

from primum_verifier.core.reasons import Reason
from primum_verifier.core.verdict import judge
from primum_verifier.core.vocabulary import Capability, NoticeAction, Phase

AT_NIGHT = {"code": "at-night", "text": "By day only.", "enforce": "inference"}

CHANGES: dict[str, Bend] = {
    "ends long ago and suspends": lambda w: w.statement.update(
        validity={
            **w.statement["validity"],
            "notBefore": moment(NOW - timedelta(days=9)),
            "notAfter": moment(NOW - timedelta(days=8)),
        },
        onExpiry={"action": "suspend-ai-function", "hazardRef": "HZ-1"},
    ),
    "lasts for ever": within("statement", "validity.notAfter", "2199-01-01T00:00:00Z"),
    "another threshold": within("statement", "operatingPoint.threshold", "0.01"),
    "a shadow only": lambda w: w.decide("shadow-only"),
    "an investigation": lambda w: w.decide("investigational"),
    "asks nothing at the episode": lambda w: w.statement.pop("conditions"),
    "for another country": within("statement", "constraints.jurisdictions", ["FR"]),
}


@pytest.fixture
def running(world: World) -> World:
    world.statement["conditions"] = [AT_NIGHT]
    world.run()
    return world


def unapproved(world: World) -> None:
    """The approvals stay those of the statement that was activated."""
    from primum_verifier.core.document import sha256_hex

    before = sha256_hex(world.facts["activated_under"])
    for approval in world.approvals:
        approval["over"] = before


@pytest.mark.parametrize("case", CHANGES, ids=str)
def test_a_statement_that_nobody_approved_changes_nothing_of_what_runs(
    running: World, case: str
) -> None:
    """Attack: the keys of the list, without one approver, rewrite the terms of every device."""
    before = judge(running.question())
    CHANGES[case](running)
    unapproved(running)
    after = judge(running.question())
    assert after.capability == before.capability == Capability.CLINICAL
    assert after.statement == before.statement
    assert after.per_episode["layers"] == before.per_episode["layers"]
    assert after.per_episode["notAfter"] == before.per_episode["notAfter"]
    # It is announced, and nothing more.
    assert (before.ordered, after.ordered) == (None, NoticeAction.CONTINUE_WITH_NOTICE)
    assert after.primary == Reason.ELIGIBILITY_APPROVALS


@pytest.mark.parametrize("case", CHANGES, ids=str)
def test_a_statement_with_every_approval_takes_its_place(running: World, case: str) -> None:
    CHANGES[case](running)
    running.statement["statementNumber"] += 1
    verdict = judge(running.question())
    assert verdict.statement_bytes == running.statement_bytes()


@pytest.mark.parametrize(("number", "takes_its_place"), [(4, False), (5, True), (6, True)])
def test_an_older_statement_never_comes_back(
    running: World, number: int, *, takes_its_place: bool
) -> None:
    """Attack: an earlier, wider statement is listed again with its old approvals."""
    running.statement.pop("conditions")
    running.statement["statementNumber"] = number
    verdict = judge(running.question())
    assert (verdict.per_episode["layers"] == []) is takes_its_place


def test_a_burned_statement_takes_no_place(running: World) -> None:
    running.statement.pop("conditions")
    running.policy["minStatementNumber"] = 9
    verdict = judge(running.question())
    assert verdict.per_episode["layers"] != []
    assert verdict.ordered == NoticeAction.CONTINUE_WITH_NOTICE


LOSSES: dict[str, Callable[[World], Any]] = {
    "an approval is lost": lambda w: w.approvals.pop(),
    "a person leaves": lambda w: w.policy["people"][0].update(status="left"),
    "the policy asks for more": lambda w: w.policy["requirements"][0]["functions"].update(
        quality=2
    ),
    "the list drops it": lambda w: setattr(w, "listed", False),
}


@pytest.mark.parametrize("case", LOSSES, ids=str)
def test_what_was_answered_stays_answered(world: World, case: str) -> None:
    """A withdrawal that the statement was cleared of does not come back by a lost line."""
    noticed("clinical", "quality")(world)
    world.statement["answers"] = [world.notices[0][0]["id"]]
    world.run()
    assert judge(world.question()).ordered is None
    LOSSES[case](world)
    assert judge(world.question()).ordered in {None, NoticeAction.CONTINUE_WITH_NOTICE}


def test_engineering_lifts_no_notice_by_listing_a_persons_key(world: World) -> None:
    """Attack: clinical's public keys, listed in engineering's metadata, cancel a withdrawal."""
    noticed("clinical", "quality")(world)
    world.run()
    world.shared_with_engineering.update(item["key"]["public"] for item in world.policy["people"])
    assert judge(world.question()).ordered == NoticeAction.FALL_BACK
    world.notices.clear()
    world.facts.update(phase=Phase.INSTALL)
    assert judge(world.question()).primary == Reason.TRUST_THRESHOLD


@pytest.mark.parametrize(
    ("hours", "ordered"),
    [
        (288, NoticeAction.CONTINUE_WITH_NOTICE),
        (288.5, NoticeAction.FALL_BACK),
    ],
)
def test_a_withdrawal_on_the_list_counts_when_its_notice_is_withheld_too_long(
    world: World, hours: float, ordered: NoticeAction
) -> None:
    """Attack: honest lists pass, the notice never does. 240 hours and 48 of grace bound it."""
    world.run()
    world.index_status = "withdrawn"
    moved = NOW + timedelta(hours=hours)
    world.facts.update(clock=moved, proven=moved)
    world.index["issuedAt"] = moment(moved)  # type: ignore[index]
    world.vouched = moved
    verdict = judge(world.question())
    assert verdict.ordered == ordered


def test_a_withdrawal_on_the_list_takes_nothing_away_while_no_time_is_proven(world: World) -> None:
    world.run()
    world.index_status = "withdrawn"
    world.facts["proven"] = None
    assert judge(world.question()).ordered == NoticeAction.CONTINUE_WITH_NOTICE


def test_a_list_that_cannot_be_read_grows_old_all_the_same(world: World) -> None:
    """Attack: a list that no device reads would otherwise never be too old."""
    world.statement["onExpiry"]["action"] = "suspend-ai-function"
    world.run()
    issued = judge(world.question()).list_issued_at
    world.index["crit"] = ["later"]  # type: ignore[index]
    for hours, ordered in ((1, "continue-with-notice"), (289, "suspend-ai-function")):
        moved = NOW + timedelta(hours=hours)
        world.facts.update(clock=moved, proven=moved, last_list_issued_at=issued)
        assert judge(world.question()).ordered == ordered


def test_an_issue_time_that_is_turned_back_makes_no_list_old(world: World) -> None:
    """Attack: the timestamp key alone signs a time of last year, and what runs is taken away."""
    world.run()
    for vouched in (NOW - timedelta(days=365), None):
        world.vouched = vouched
        assert judge(world.question()).ordered is None


def test_an_issue_time_that_is_dropped_lifts_no_hold(world: World) -> None:
    """Attack: the timestamp key alone signs no time any more, so that no hold ever begins."""
    noticed("clinical", kind="hold", expiresAt=moment(NOW + timedelta(days=2)))(world)
    for vouched in (NOW, NOW - timedelta(days=365), None):
        world.vouched = vouched
        assert judge(world.question()).primary == Reason.ELIGIBILITY_HELD
    world.vouched, world.facts["proven"] = None, None
    assert "safety-notices" in {check.name for check in judge(world.question()).in_the_way}


def test_what_runs_is_judged_when_engineering_takes_its_manifest_away(world: World) -> None:
    """Attack: neither manifest nor entry is there; the verdict stands all the same."""
    world.run()
    world.listed = False
    world.roles["manifest"] = "rollout"
    verdict = judge(world.question())
    assert (verdict.capability, verdict.manifest) == (Capability.CLINICAL, None)
    assert verdict.ordered == NoticeAction.CONTINUE_WITH_NOTICE


def test_an_entry_that_cannot_be_read_beside_one_that_can_holds(world: World) -> None:
    """It may say that the release is withdrawn, in words of a newer build."""
    before = judge(world.question())
    assert before.capability == Capability.CLINICAL
    world.more_entries = [{"release": {"sha256": world.release}, "status": "withdrawn", "new": 1}]
    assert judge(world.question()).primary == Reason.ELIGIBILITY_HELD
    world.more_entries = [{"release": {"sha256": "9" * 64}, "status": "withdrawn", "new": 1}]
    assert judge(world.question()).capability == Capability.CLINICAL


def test_of_equal_orders_each_says_how_and_the_hardest_counts(world: World) -> None:
    world.run()
    hardest = {"runningEpisode": "at-once", "preserveEvidence": True, "maxUseSeconds": 60}
    noticed("clinical", "quality", **hardest)(world)
    later = moment(NOW + timedelta(minutes=1))
    noticed("clinical", "quality", maxUseSeconds=600, issuedAt=later)(world)
    order = judge(world.question()).order
    assert order is not None
    assert (str(order.running_episode), order.max_use_seconds) == ("at-once", 60)
    assert order.preserve_evidence


def test_every_question_about_what_runs_is_told(world: World) -> None:
    """P3 for what runs, too: not only the strictest order, but all that stand."""
    world.run()
    noticed("clinical", "quality")(world)
    world.context["placement"]["jurisdiction"] = "CH"
    world.approvals.pop()
    verdict = judge(world.question())
    names = [check.name for check in verdict.in_the_way]
    assert set(names) == {"notices", "place", "approvals-stand"}
    assert verdict.checks[0].name == "artifacts"
    assert len(verdict.checks) == 7


def test_what_a_compromised_key_approved_of_another_statement_takes_nothing_away(
    running: World,
) -> None:
    """The list names a statement that a stolen key approved; what runs was approved otherwise."""
    running.statement.pop("conditions")
    running.policy["people"][1].update(
        status="compromised", reapproveBy=moment(NOW + timedelta(minutes=1))
    )
    assert judge(running.question()).ordered == NoticeAction.CONTINUE_WITH_NOTICE


@pytest.mark.parametrize("fixed", [None, "adult"])
def test_a_category_that_the_device_has_for_good_is_not_asked_again(
    world: World, fixed: str | None
) -> None:
    """An application that knows no category would refuse every patient of an adult-only device."""
    world.statement["constraints"]["patientCategories"] = ["adult"]
    if fixed is not None:
        world.context["placement"]["patientCategory"] = fixed
    asked = judge(world.question()).per_episode["layers"]
    assert asked == ([{"patientCategories": ["adult"]}] if fixed is None else [])


@pytest.mark.parametrize(
    ("enforce", "asked"), [("inference", [{"ageYearsMin": 18}]), ("labelling", [])]
)
def test_what_stands_on_the_label_only_is_the_readers(
    world: World, enforce: str, asked: list[Any]
) -> None:
    population = {"enforce": enforce, "ageYearsMin": 18}
    world.run()
    world.facts["asks_per_episode"] = True
    noticed(
        "clinical",
        "quality",
        kind="restriction",
        action="restrict",
        restriction={"population": population},
    )(world)
    verdict = judge(world.question())
    assert verdict.per_episode["layers"] == asked
    world.facts["asks_per_episode"] = False
    taken = NoticeAction.FALL_BACK if enforce == "inference" else NoticeAction.RESTRICT
    assert judge(world.question()).ordered == taken
