"""What a device's events tell of what is in use, one by one; odd words are told as that."""

from __future__ import annotations

import json
from typing import Any

import pytest

from primum_verifier.record.in_use import Change, Release, SelfTest, Situation, Telling

ONE, TWO, THREE = ("1" * 64, "2" * 64, "3" * 64)
LISTED, AGAIN = ("a" * 64, "b" * 64)
NAME = "pvc-classifier 1.0.0"
GENERATION: dict[str, Any] = {
    "number": 1,
    "component": "pvc-classifier",
    "version": "1.0.0",
    "release": ONE,
    "statement": LISTED,
    "statement_number": 4,
    "mode": "investigational",
}
NEXT = GENERATION | {"number": 2, "version": "1.1.0", "release": TWO, "statement": AGAIN}
SIGNED = {"statement": {"sha256": THREE}}


def using(release: str = ONE, statement: str = LISTED, number: Any = 4) -> dict[str, Any]:
    """What each event says that is written while a release is in use."""
    return {"activeManifest": release, "eligibility": {"digest": statement, "number": number}}


class Told:
    """The events of one device, told one after the other."""

    def __init__(self) -> None:
        self.telling = Telling()
        self.number = 0

    def __call__(
        self, kind: Any = "agent.started", *, subject: Any = None, state: Any = "idle", **data: Any
    ) -> Situation:
        self.number += 1
        named = f"primum.device.{kind}" if isinstance(kind, str) else kind
        content = {"type": named, "subject": subject, "data": {"state": state, **data}}
        return self.telling.after(json.dumps(content).encode(), number=self.number)

    def checkpoint(self, **state: Any) -> Situation:
        return self.telling.from_checkpoint(json.dumps(state))


@pytest.fixture
def told() -> Told:
    return Told()


# The release and its names


def test_a_release_is_named_as_the_generation_that_was_made_of_it(told: Told) -> None:
    told(change={"generation": GENERATION})
    found = told(**using()).release
    assert found == Release(ONE, LISTED, 4, NAME, "investigational")


def test_what_no_generation_tells_of_has_no_name_and_no_mode(told: Told) -> None:
    assert told(**using()).release == Release(ONE, LISTED, 4)


def test_an_earlier_agent_knew_one_mode(told: Told) -> None:
    told(change={"generation": {**GENERATION, "mode": None} | {}})
    made = {name: value for name, value in GENERATION.items() if name != "mode"}
    told(change={"generation": made})
    found = told(**using()).release
    assert found is not None
    assert found.mode == "clinical"


def test_under_another_statement_than_the_generations_the_mode_is_not_told(told: Told) -> None:
    told(change={"generation": GENERATION})
    found = told(**using(statement=AGAIN)).release
    assert found == Release(ONE, AGAIN, 4, NAME, "")


@pytest.mark.parametrize(
    "spoiled", [{"number": None}, {"number": 0}, {"number": True}, {"release": "x"}]
)
def test_half_a_generation_is_none(told: Told, spoiled: dict[str, Any]) -> None:
    told(change={"generation": GENERATION | spoiled})
    assert told(**using()).release == Release(ONE, LISTED, 4)
    found = told("update.activating", state="activating", change={"target": 1}, **using())
    assert found.target is None


@pytest.mark.parametrize("number", ["4", 4.5, True, None, [4]])
def test_a_number_that_is_none_is_told_as_nought(told: Told, number: Any) -> None:
    found = told(**using(number=number)).release
    assert found is not None
    assert found.statement_number == 0
    assert type(found.statement_number) is int


def test_a_name_that_is_none_is_left_out(told: Told) -> None:
    told(change={"generation": GENERATION | {"component": 7}})
    found = told(**using()).release
    assert found is not None
    assert found.name == "1.0.0"


# Changes


def test_a_switch_names_where_it_goes(told: Told) -> None:
    told(change={"generation": GENERATION})
    change = {"generation": NEXT, "target": 2}
    found = told("update.activating", state="activating", change=change, **using())
    assert found.change is Change.SWITCHING
    assert found.target == Release(TWO, AGAIN, 4, "pvc-classifier 1.1.0", "investigational")
    after = told("update.activated", change={"active": 2, "target": None}, **using(TWO, AGAIN))
    assert (after.change, after.target) == (Change.NONE, None)


def test_a_switch_to_nobody_knows_where_names_nothing(told: Told) -> None:
    told(change={"generation": GENERATION})
    for change in ({}, {"target": None}, {"target": 9}, {"target": "1"}):
        found = told("update.activating", state="activating", change=change, **using())
        assert (found.change, found.target) == (Change.SWITCHING, None)


def test_a_stop_leaves_what_is_in_use_and_nothing_else(told: Told) -> None:
    told(change={"generation": GENERATION})
    assert told(**using()).change is Change.NONE
    assert told(change={"stopped": "too many alarms"}, **using()).change is Change.LEAVING
    assert told(state="activating", **using()).change is Change.SWITCHING
    assert told().change is Change.NONE, "nothing is in use"
    assert told(change={"stopped": ""}, **using()).change is Change.NONE


def test_a_removal_lasts_until_it_is_done(told: Told) -> None:
    assert told("reset.begun", **using()).change is Change.REMOVING
    assert told("agent.started", **using()).change is Change.REMOVING
    assert told("reset.done", **using()).change is Change.NONE
    assert told("agent.started", **using()).change is Change.NONE


@pytest.mark.parametrize("state", [None, "resting", ["idle"]])
def test_a_state_that_is_not_known_says_what_is_in_use_and_no_more(told: Told, state: Any) -> None:
    found = told(state=state, **using())
    assert (found.release, found.change) == (Release(ONE, LISTED, 4), Change.NOT_UNDERSTOOD)


def test_an_event_whose_kind_is_no_text_tells_of_what_is_in_use_all_the_same(told: Told) -> None:
    for kind in (["primum.device.reset.begun"], {"a": 1}, 7, None):
        assert told(kind, **using()) == Situation(Release(ONE, LISTED, 4))


# Why nothing is in use


def test_why_nothing_is_in_use_is_what_the_event_says_that_left_nothing(told: Told) -> None:
    assert told().why == ()
    lost = told(
        "safe-mode.entered",
        reasons=["eligibility.withdrawn"],
        change={"active": None},
        detail={"why": "nothing else"},
    )
    assert lost.why == ("eligibility.withdrawn", "nothing else")
    later = told("trust.refused", reasons=["trust.signature"])
    assert later.why == lost.why, "what happened since is not why"
    later = told("trust.refused", reasons=["trust.signature"], change={"target": None})
    assert later.why == lost.why
    assert told(**using()).why == ()
    assert told().why == (), "it came back meanwhile"


def test_reasons_are_bounded(told: Told) -> None:
    found = told(reasons=[f"r{number}" for number in range(40)], change={"active": None})
    assert found.why == tuple(f"r{number}" for number in range(20))


# Self-tests


def passed(release: str = ONE) -> dict[str, Any]:
    return {"change": {"candidate": {"release": release}}, "detail": SIGNED}


def test_the_newest_test_of_what_is_in_use_counts(told: Told) -> None:
    told("selftest.passed", **passed())
    assert told(**using()).self_test == SelfTest(1, "passed", THREE)
    told("selftest.failed", **passed(TWO))
    assert told(**using()).self_test == SelfTest(1, "passed", THREE)
    found = told("active-test.failed", detail={"statement": {"missing": "key.locked"}}, **using())
    assert found.self_test == SelfTest(5, "failed", "", "key.locked")


def test_a_test_before_an_ordered_way_back_is_that_of_what_it_led_to(told: Told) -> None:
    told("update.rolling-back", state="rolling-back", detail=SIGNED | {"to": NAME}, **using(TWO))
    found = told("update.rolled-back", subject=NAME, **using())
    assert found.self_test == SelfTest(1, "passed", THREE)


def test_a_test_on_the_way_back_is_told_by_the_event_of_the_arrival(told: Told) -> None:
    found = told(
        "update.rolled-back", subject=NAME, detail={"selfTests": {NAME: SIGNED}}, **using()
    )
    assert found.self_test == SelfTest(1, "passed", THREE)


def test_events_of_other_kinds_tell_of_no_test(told: Told) -> None:
    """Attack: an event that looks like the end of a way back in everything but its kind."""
    detail = SIGNED | {"to": NAME, "selfTests": {NAME: SIGNED}}
    for kind in ("agent.started", "update.rolling-backwards"):
        assert told(kind, subject=NAME, detail=detail, **using()).self_test is None
    assert told("update.rolled-back", subject=NAME, **using()).self_test is None
    told("update.rolling-back", detail={"to": NAME}, **using(TWO))
    assert told("update.rolled-back", subject=NAME, **using()).self_test is None
    told("update.rolled-back", subject=NAME, detail=detail)
    assert told(**using()).self_test is None, "it arrived nowhere"


# Checkpoints


def test_a_checkpoint_stands_for_the_events_before_it(told: Told) -> None:
    told("reset.begun", **using())
    found = told.checkpoint(lifecycle="idle", active=1, generations=[NEXT, GENERATION])
    assert found == Situation(Release(ONE, LISTED, 4, NAME, "investigational"))
    assert told(**using()).change is Change.NONE, "what was before is not known any more"
    stopped = told.checkpoint(lifecycle="idle", active=1, generations=[GENERATION], stopped="why")
    assert stopped.change is Change.LEAVING
    found = told.checkpoint(
        lifecycle="activating", active=1, target=2, generations=[GENERATION, NEXT]
    )
    assert found.change is Change.SWITCHING
    assert found.target is not None
    assert found.target.digest == TWO
    assert told.checkpoint(lifecycle="idle", active=None, generations=[]) == Situation(None)


@pytest.mark.parametrize("active", [9, "1", True])
def test_a_checkpoint_that_names_no_generation_it_holds_is_not_understood(
    told: Told, active: Any
) -> None:
    found = told.checkpoint(lifecycle="idle", active=active, generations=[NEXT])
    assert found == Situation(None, Change.NOT_UNDERSTOOD)
