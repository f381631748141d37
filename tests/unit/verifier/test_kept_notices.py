"""A notice that counted does not vanish: which may go, and which never."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.unit.verifier.bending import left

from primum_verifier.core.approval import ApprovalPolicy
from primum_verifier.core.document import canonical_json, parse_document
from primum_verifier.keeping.kept_notices import vanished_notices

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
START = "2026-06-01T12:00:00Z"


def gone(world: Any, before: bytes, after: bytes, *, later: timedelta = HOUR) -> tuple[str, ...]:
    policy = parse_document(ApprovalPolicy, canonical_json(world.policy), where="policy")
    now = world.facts["proven"].replace(minute=0) + later
    return vanished_notices(before, after, policy=policy, now=now)


def hold(world: Any, *signers: str, until: str) -> bytes:
    world.notice(*signers, kind="hold", action="no-new-activation", expiresAt=until)
    lines: bytes = world.notice_lines()
    return lines


@pytest.mark.parametrize("after", [b"", b"no envelope\n", b"x\n" * 2000])
def test_a_withdrawal_never_vanishes(world: Any, after: bytes) -> None:
    world.notice("clinical", "quality")
    before = world.notice_lines()
    assert gone(world, before, after, later=3000 * DAY) == (world.notices[0][0]["id"],)


def test_what_is_added_takes_nothing_back(world: Any) -> None:
    world.notice("clinical", "quality")
    before = world.notice_lines()
    world.notice("clinical", kind="hold", expiresAt="2026-06-03T12:00:00Z")
    assert gone(world, before, world.notice_lines()) == ()


def test_a_signature_that_is_added_is_no_loss_and_one_that_is_taken_is(world: Any) -> None:
    world.notice("clinical", "quality")
    two = world.notice_lines()
    for signers, lost in ((["clinical"], 1), (["clinical", "quality", "regulatory"], 0)):
        world.notices[0] = (world.notices[0][0], signers)
        assert len(gone(world, two, world.notice_lines())) == lost


def test_changed_words_under_the_same_id_are_another_notice(world: Any) -> None:
    world.notice("clinical", "quality")
    before = world.notice_lines()
    world.notices[0][0]["scope"] = {"mode": "jurisdictions", "jurisdictions": ["FR"]}
    assert gone(world, before, world.notice_lines())


def test_what_too_few_signed_never_counted_and_may_go(world: Any) -> None:
    world.notice("clinical")
    assert gone(world, world.notice_lines(), b"") == ()


def test_the_litter_of_somebody_struck_off_may_go(world: Any) -> None:
    world.notice("clinical", "quality")
    before = world.notice_lines()
    world.policy["people"][0]["status"] = "compromised"
    assert gone(world, before, b"") == ()


@pytest.mark.parametrize(("is_honoured", "lost"), [(True, 1), (False, 0)])
def test_what_somebody_signed_before_leaving_stays_and_what_is_signed_after_may_go(
    world: Any, is_honoured: bool, lost: int
) -> None:
    world.notice("clinical", "quality")
    left(0, notices=is_honoured)(world)
    assert len(gone(world, world.notice_lines(), b"")) == lost


def test_one_who_left_is_replaced_by_another_of_the_function(world: Any) -> None:
    """A notice that was signed again is the same notice: nothing has vanished."""
    world.notice("clinical", "quality")
    before = world.notice_lines()
    world.hire("deputy", "clinical")
    world.notices[0] = (world.notices[0][0], ["quality", "deputy"])
    assert gone(world, before, world.notice_lines()) == ()


@pytest.mark.parametrize(
    ("until", "later", "lost"),
    [
        ("2026-06-01T15:00:00Z", 3 * HOUR - timedelta(seconds=1), 1),
        ("2026-06-01T15:00:00Z", 3 * HOUR, 0),
        ("2126-06-01T15:00:00Z", 30 * DAY - timedelta(seconds=1), 1),
        ("2126-06-01T15:00:00Z", 30 * DAY, 0),
    ],
)
def test_a_hold_may_go_when_it_has_ended(
    world: Any, until: str, later: timedelta, lost: int
) -> None:
    assert len(gone(world, hold(world, "clinical", until=until), b"", later=later)) == lost


def test_a_withdrawal_with_an_end_of_its_own_stays_all_the_same(world: Any) -> None:
    world.notice("clinical", "quality", expiresAt="2026-06-01T13:00:00Z")
    assert gone(world, world.notice_lines(), b"", later=3000 * DAY)


def test_a_hold_needs_no_more_than_the_policy_says(world: Any) -> None:
    world.policy["functionsToHold"] = 2
    assert gone(world, hold(world, "clinical", until="2026-06-03T12:00:00Z"), b"") == ()
