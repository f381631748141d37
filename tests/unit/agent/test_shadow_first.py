"""A release that has to be in shadow first: held until that was clean, refused where it was not."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.agent.shadowed import (
    DONE,
    IN_SHADOW,
    REFUSED,
    RUNNING,
    Attempt,
    monitoring_bytes,
    named,
    runs,
    state_of,
    status,
)
from tests.unit.agent.test_shadow import HOUR, whole_journal

from primum_agent.fail_points import ShadowPoint
from primum_agent.shadow_counts import ShadowCounts, identity_of, write_counts
from primum_agent.shadow_period import Passed, Period
from primum_verifier.core.document import parse_document, sha256_hex
from primum_verifier.core.eligibility import ShadowFirst
from primum_verifier.record.monitoring import MonitoringSpecification
from primum_verifier.record.shadow import Compared, ShadowOutcome

WAITING = 5
FIRST = {"minHours": 48, "minComparisons": 100, "maxFlipShare": "0.02"}
EVERYBODY = ("clinical", "quality", "regulatory")


def said(monitoring: bytes, **members: Any) -> dict[str, Any]:
    return {
        "use": {"mode": "clinical", "shadowFirst": FIRST | members},
        "monitoringSpecification": {"sha256": sha256_hex(monitoring)},
    }


def waits(field: Any, attempt_now: Attempt) -> Any:
    """A device that runs a release, and another that is eligible once it was in shadow."""
    runs(field, attempt_now)
    monitoring = monitoring_bytes()
    field.said = said(monitoring)
    field.release(IN_SHADOW, counter=2, monitoring=monitoring)
    field.said = {}
    field.accept(RUNNING, IN_SHADOW)
    assert attempt_now() == WAITING
    return field


def count(field: Any, *, hours: float, agreed: int, flips: int) -> None:
    """What the process of the shadow would have counted by now."""
    run = named(field)
    assert run is not None
    shape = parse_document(MonitoringSpecification, monitoring_bytes(), where="test").shadow_shape
    assert shape is not None
    counts = ShadowCounts(
        identity=identity_of(run), shape=shape, window_seconds=24 * HOUR, since=run.not_after
    )
    for number in range(agreed + flips):
        outcome = ShadowOutcome.AGREED if number < agreed else ShadowOutcome.TO_POSITIVE
        counts.add(Compared(outcome=outcome))
    counts.pass_time(hours * HOUR)
    write_counts(field.layout, counts)


def gate(field: Any) -> Any:
    return next(row for row in status(field)["gates"] if row["gate"] == "shadow")


def test_it_is_held_at_a_gate_that_says_how_far_it_is_and_what_opens_it(
    in_the_field: Any, attempt_now: Attempt
) -> None:
    field = waits(in_the_field, attempt_now)
    assert (state_of(field).lifecycle, field.opened().version) == ("waiting", RUNNING)
    assert named(field) is not None
    row = gate(field)
    assert (row["standing"], row["reason"]) == ("holds", "safety.shadow")
    assert row["opens"] == "48 hours and 100 comparisons in shadow, at most 0.02 of them flips"
    assert row["since"]
    assert not row["overridable"]
    count(field, hours=30.0, agreed=200, flips=50)
    assert attempt_now() == WAITING
    assert gate(field)["reading"] == "30.0 hours, 250 comparisons, 50 flips"
    assert "selftest.shadow" not in json.dumps(field.events()), "nothing is concluded too early"
    assert field.kinds().count("shadow.begun") == 1
    assert field.kinds().count("update.waiting") == 1
    whole_journal(field)


def test_a_clean_time_opens_the_gate_and_it_is_activated(
    in_the_field: Any, attempt_now: Attempt
) -> None:
    field = waits(in_the_field, attempt_now)
    count(field, hours=48.0, agreed=98, flips=2)
    assert attempt_now() == DONE
    assert field.opened().version == IN_SHADOW
    ended = field.event("shadow.ended")["data"]
    assert (ended["result"], ended["detail"]["why"]) == ("done", "clean")
    assert named(field) is None
    field.commit()
    attempt_now()
    assert field.kinds().count("shadow.begun") == 1
    whole_journal(field)


def test_a_time_that_was_not_clean_refuses_the_release_here_for_good(
    in_the_field: Any, attempt_now: Attempt
) -> None:
    field = waits(in_the_field, attempt_now)
    count(field, hours=48.0, agreed=97, flips=3)
    for _ in range(3):
        assert attempt_now() == REFUSED
    assert (field.opened().version, named(field)) == (RUNNING, None)
    state = state_of(field)
    assert (state.lifecycle, state.candidate) == ("idle", None)
    assert state.faults == {field.releases[IN_SHADOW]: "selftest.shadow"}
    assert field.event("shadow.ended")["data"]["reasons"] == ["selftest.shadow"]
    assert field.kinds().count("shadow.ended") == 1
    assert status(field)["remembered"][0]["reason"] == "selftest.shadow"
    # It is the release's own fault, like wrong numbers: no person has it tried again.
    field.agent("retry", IN_SHADOW)
    assert attempt_now() == REFUSED
    assert field.kinds().count("shadow.begun") == 1
    whole_journal(field)


def test_no_command_and_no_gate_lets_it_be_used_before(
    in_the_field: Any, attempt_now: Attempt
) -> None:
    field = waits(in_the_field, attempt_now)
    by, provisioned = ["--by", "a person"], ["--provisioning", field.provisioning]
    for command in (
        ["override", "shadow", "--reason", "hurry", "--hours", "1", *by],
        ["approve", IN_SHADOW, *by],
        ["rollback", IN_SHADOW, "--why", "hurry", *by, *provisioned],
        ["retry", IN_SHADOW],
    ):
        done = field.agent(*command)
        assert "usage: primum-agent" not in done.stderr, done.stderr
        attempt_now()
        assert field.opened().version == RUNNING
    # What runs is taken away: nothing that has not been in shadow takes its place.
    field.withdraw(RUNNING)
    for _ in range(2):
        attempt_now()
        assert field.opened() is None
    assert named(field) is None


def test_another_statement_asks_for_another_time(in_the_field: Any, attempt_now: Attempt) -> None:
    """Clean under one statement says nothing about a stricter one."""
    field = waits(in_the_field, attempt_now)
    count(field, hours=48.0, agreed=98, flips=2)
    field.entries = [item for item in field.entries if item["version"] != IN_SHADOW]
    field.said = said(monitoring_bytes(), maxFlipShare="0")
    field.approve(IN_SHADOW, EVERYBODY)
    field.publish()
    field.accept(RUNNING, IN_SHADOW)
    assert attempt_now() == WAITING
    assert field.opened().version == RUNNING
    assert field.event("shadow.ended")["data"]["reasons"] == ["eligibility.superseded"]
    assert gate(field)["reading"] == "0.0 hours, 0 comparisons, 0 flips"


def test_it_ends_with_the_eligibility_and_with_the_release_beside(
    in_the_field: Any, attempt_now: Attempt
) -> None:
    field = waits(in_the_field, attempt_now)
    field.withdraw(IN_SHADOW)
    assert attempt_now() == REFUSED
    assert (named(field), state_of(field).lifecycle) == (None, "idle")
    assert "eligibility.withdrawn" in field.event("shadow.ended")["data"]["reasons"]


def test_where_nothing_is_in_use_it_is_staged_and_says_so(
    in_the_field: Any, attempt_now: Attempt
) -> None:
    monitoring = monitoring_bytes()
    in_the_field.said = said(monitoring)
    in_the_field.release("1.0.0", counter=1, monitoring=monitoring)
    for _ in range(2):
        assert attempt_now() == REFUSED
    assert in_the_field.opened() is None
    assert in_the_field.event("update.staged")["data"]["reasons"] == [
        "safety.shadow", "fallback.none",
    ]  # fmt: skip


@pytest.mark.parametrize("point", [ShadowPoint.BEFORE_END, ShadowPoint.BEFORE_ENDED])
@pytest.mark.parametrize(("flips", "left"), [(2, IN_SHADOW), (3, RUNNING)])
def test_a_cut_while_it_is_concluded_leaves_the_same_conclusion(
    in_the_field: Any, attempt_now: Attempt, point: ShadowPoint, flips: int, left: str
) -> None:
    field = waits(in_the_field, attempt_now)
    count(field, hours=48.0, agreed=100 - flips, flips=flips)
    field.once(PRIMUM_TEST_FAIL_POINTS="1", PRIMUM_FAIL_POINT=str(point))
    assert state_of(field).shadow is not None
    attempt_now()
    assert field.opened().version == left
    assert field.kinds().count("shadow.ended") == 1
    whole_journal(field)


@given(
    hours=st.floats(0, 200),
    agreed=st.integers(0, 500),
    flips=st.integers(0, 50),
    share=st.sampled_from(["0", "0.02", "0.1", "1"]),
)
def test_a_time_is_judged_by_its_terms_and_by_nothing_else(
    hours: float, agreed: int, flips: int, share: str
) -> None:
    first = ShadowFirst(min_hours=48, min_comparisons=100, max_flip_share=share)
    found = Passed(hours=hours, comparisons=agreed + flips, flips=flips).judged_by(first)
    over = hours >= 48 and agreed + flips >= 100
    clean = over and flips <= Fraction(share) * (agreed + flips)
    wanted = Period.OPEN if not over else Period.CLEAN if clean else Period.NOT_CLEAN
    assert found is wanted


def test_the_first_release_of_a_plan_is_no_reason_to_skip_it(
    in_the_field: Any, attempt_now: Attempt, eventually: Callable[..., Any]
) -> None:
    """A whole supervisor, restarted: the release still waits, and still runs in shadow."""
    field = waits(in_the_field, attempt_now)
    field.layout.shadow.unlink()
    with field.running():
        eventually(lambda: named(field) is not None)
    assert field.opened().version == RUNNING
    assert state_of(field).lifecycle == "waiting"
