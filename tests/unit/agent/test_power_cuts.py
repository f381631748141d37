"""The power fails at each named point: the device is on exactly the old or the new release."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from typing import Any

import pytest

from primum_agent.fail_points import FailPoint
from primum_agent.lifecycle import State

Eventually = Callable[..., Any]

OF_AN_UPDATE = [
    point
    for point in FailPoint
    # Those around the components of a set are passed by a set alone: test_sets.py.
    if not point.value.startswith("rolling-back") and not point.value.endswith("-effect")
]
OF_A_ROLL_BACK = [
    FailPoint.ROLLING_BACK_BEFORE_SWITCH,
    FailPoint.ROLLING_BACK_AFTER_SWITCH,
    FailPoint.PROVISIONAL_BEFORE_STANDING,
    FailPoint.TESTING_BEFORE_TEST,
]


def prove_until(field: Any, version: str, process: subprocess.Popen[bytes]) -> None:
    """Prove health as an application does, until the version is committed or the agent is dead."""
    deadline = time.monotonic() + 30
    while process.poll() is None:
        found = field.opened()
        if found is not None and found.version == version and found.prove_health():
            return
        assert time.monotonic() < deadline
        time.sleep(0.05)


def run_until_cut(field: Any, point: FailPoint, version: str) -> None:
    with field.running(PRIMUM_TEST_FAIL_POINTS="1", PRIMUM_FAIL_POINT=str(point)) as process:
        prove_until(field, version, process)
        process.wait(timeout=30)
    assert process.returncode == -9, "the point was never passed"


@pytest.mark.parametrize("point", OF_AN_UPDATE)
def test_cut_during_an_update_leaves_old_or_new_and_converges(
    in_the_field: Any, point: FailPoint
) -> None:
    in_the_field.release("1.0.0", counter=1)
    with in_the_field.running() as process:
        prove_until(in_the_field, "1.0.0", process)
    in_the_field.release("1.1.0", counter=2)
    run_until_cut(in_the_field, point, "1.1.0")
    after = in_the_field.opened()
    assert after is not None, "there is always a runnable release"
    assert after.version in {"1.0.0", "1.1.0"}
    with in_the_field.running() as process:
        prove_until(in_the_field, "1.1.0", process)
    new = in_the_field.opened()
    assert new is not None
    assert new.version == "1.1.0"
    journal = in_the_field.journal()
    assert journal.state().lifecycle is State.IDLE
    assert journal.state() == journal.replayed()
    journal.close()
    assert in_the_field.kinds()[-1] == "agent.stopped"
    assert in_the_field.kinds().count("update.committed") == 2
    assert list(in_the_field.layout.run.glob("scratch/*")) == []
    if point in {FailPoint.ACTIVATING_AFTER_SWITCH, FailPoint.PROVISIONAL_BEFORE_STANDING}:
        assert in_the_field.kinds().count("update.activating") == 2, (
            "what is done is not done again"
        )


@pytest.mark.parametrize("point", OF_A_ROLL_BACK)
def test_cut_during_a_withdrawal_ends_on_the_release_before(
    in_the_field: Any, eventually: Eventually, point: FailPoint
) -> None:
    for counter, version in enumerate(("1.0.0", "1.1.0"), start=1):
        in_the_field.release(version, counter=counter)
        with in_the_field.running() as process:
            prove_until(in_the_field, version, process)
    in_the_field.withdraw("1.1.0")
    # The stored views do not know of the withdrawal yet: the cut comes at the poll.
    with in_the_field.running(PRIMUM_TEST_FAIL_POINTS="1", PRIMUM_FAIL_POINT=str(point)) as process:
        process.wait(timeout=30)
    assert process.returncode == -9
    after = in_the_field.opened()
    if point is not FailPoint.PROVISIONAL_BEFORE_STANDING:
        assert after is None or after.version == "1.0.0", "what was withdrawn never serves again"
    with in_the_field.running():
        eventually(lambda: (found := in_the_field.opened()) and found.version == "1.0.0")
    assert in_the_field.kinds().count("eligibility.lost") == 1
    assert in_the_field.kinds().count("update.rolled-back") == 1


def test_too_many_cuts_before_health_is_proven_are_a_roll_back(
    in_the_field: Any, eventually: Eventually
) -> None:
    """D12: three restarts before it is confirmed: back to the old one, once, with a record."""
    in_the_field.release("1.0.0", counter=1)
    with in_the_field.running() as process:
        prove_until(in_the_field, "1.0.0", process)
    in_the_field.release("1.1.0", counter=2, max_attempts=2)
    kinds = in_the_field.kinds
    with in_the_field.running() as process:
        eventually(lambda: kinds().count("update.activated") == 2)
        process.kill()
    for restart in (1, 2):
        with in_the_field.running() as process:
            eventually(lambda count=restart: kinds().count("update.interrupted") == count)
            process.kill()
    assert in_the_field.opened().version == "1.1.0"
    with in_the_field.running():
        eventually(lambda: "update.rolled-back" in in_the_field.kinds())
    assert in_the_field.kinds().count("update.rolling-back") == 1
    assert in_the_field.opened().version == "1.0.0"


def test_fail_points_do_nothing_on_a_device_in_use(in_the_field: Any) -> None:
    in_the_field.release("1.0.0", counter=1)
    with in_the_field.running(PRIMUM_FAIL_POINT=str(FailPoint.ACTIVATING_BEFORE_SWITCH)) as process:
        prove_until(in_the_field, "1.0.0", process)
        assert process.poll() is None
