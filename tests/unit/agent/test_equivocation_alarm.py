"""A version that was signed with two contents is an alarm, once, and stops nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from primum_verifier.record.event import parse_event

Attempt = Callable[..., int]


def sign_twice(field: Any) -> None:
    """Clinical's timestamp of the present version once more, with another issue time."""
    clinical = field.clinical
    clinical.version -= 1
    path = clinical.web / "metadata" / "timestamp.json"
    before = path.read_bytes()
    clinical.publish(life=clinical.another_life)
    assert path.read_bytes() != before


def alarms(field: Any) -> list[dict[str, Any]]:
    return [
        item["data"]
        for item in field.events()
        if "trust.equivocation" in item["data"].get("reasons", [])
    ]


def test_a_version_signed_twice_is_told_once_and_the_device_goes_on(
    in_the_field: Any, attempt_now: Attempt
) -> None:
    in_the_field.release("1.0.0", counter=1)
    assert attempt_now() == 0
    in_the_field.commit()
    sign_twice(in_the_field)
    for _ in range(3):
        assert attempt_now() == 0
    (told,) = alarms(in_the_field)
    detail = told["detail"]
    assert (detail["authority"], detail["role"]) == ("clinical", "timestamp")
    assert detail["version"] == in_the_field.clinical.version
    assert len(detail["proof"]) == 64
    assert detail["remedy"]
    for event in in_the_field.events():
        parse_event(json.dumps(event).encode(), where="journal")
    # It is evidence for people: nothing lasts, what runs goes on, and the next release comes.
    journal = in_the_field.journal()
    assert journal.problems() == []
    journal.close()
    in_the_field.release("1.1.0", counter=2)
    assert attempt_now() == 0
    assert in_the_field.standing()["version"] == "1.1.0"
    assert len(alarms(in_the_field)) == 1


def test_another_contradiction_is_another_alarm(in_the_field: Any, attempt_now: Attempt) -> None:
    in_the_field.release("1.0.0", counter=1)
    assert attempt_now() == 0
    in_the_field.commit()
    sign_twice(in_the_field)
    attempt_now()
    in_the_field.publish()
    attempt_now()
    sign_twice(in_the_field)
    attempt_now()
    attempt_now()
    assert len({item["detail"]["proof"] for item in alarms(in_the_field)}) == 2
    assert len(alarms(in_the_field)) == 2


@pytest.mark.parametrize("twice", ["sign_snapshot_twice", "sign_targets_twice"])
def test_the_alarm_of_a_run_that_it_ends_is_told_once_too(
    in_the_field: Any, attempt_now: Attempt, twice: str
) -> None:
    """Signed twice under newer metadata: the run may end, the view stays, there is one alarm."""
    in_the_field.release("1.0.0", counter=1)
    assert attempt_now() == 0
    in_the_field.commit()
    getattr(in_the_field.clinical, twice)()
    for _ in range(3):
        attempt_now()
    assert in_the_field.standing()["version"] == "1.0.0"
    assert len(alarms(in_the_field)) == 1
