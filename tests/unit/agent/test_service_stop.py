"""SIGTERM within ten seconds (D10) wherever an update stands, also where its attempt is silent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.unit.agent.field import AGENT

from primum_agent import children
from primum_agent.children import GRACE_SECONDS, Task, start, stop_all
from primum_agent.desk import ask
from primum_agent.fail_points import FailPoint
from primum_verifier.core.errors import FailedError

Eventually = Callable[..., Any]
OF_A_ROLL_BACK = {FailPoint.ROLLING_BACK_BEFORE_SWITCH, FailPoint.ROLLING_BACK_AFTER_SWITCH}
OF_THE_SUPERVISOR = FailPoint.COMMIT_BEFORE_EVENT
OF_COMPONENTS = {
    FailPoint.ACTIVATING_BEFORE_EFFECT,
    FailPoint.ACTIVATING_AFTER_EFFECT,
    FailPoint.ROLLING_BACK_AFTER_EFFECT,
}
"""A release without components never comes there; those of a set are stopped in its own tests."""

OF_AN_UPDATE = [
    item for item in FailPoint if item not in {*OF_A_ROLL_BACK, *OF_COMPONENTS, OF_THE_SUPERVISOR}
]


def state_of(process: Path) -> str:
    """The letter that the kernel has for how a process is."""
    return (process / "stat").read_text().rpartition(")")[2].split()[0]


def of_this_device(field: Any) -> dict[int, str]:
    """Every process that works on the device's state folder, with the state it is in."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (entry / "cmdline").read_bytes()
            if b"primum_agent" in words and str(field.state).encode() in words:
                found[int(entry.name)] = state_of(entry)
    return found


def hangs(field: Any) -> bool:
    return "T" in of_this_device(field).values()


def hangs_after_health(field: Any) -> bool:
    """Whether something hangs; until then the application proves health where it can."""
    release = field.opened()
    if release is not None:
        release.prove_health()
    return hangs(field)


def is_committed(field: Any) -> bool:
    hangs_after_health(field)
    return "update.committed" in field.kinds()


@pytest.mark.parametrize("point", OF_AN_UPDATE)
def test_told_to_stop_while_the_attempt_hangs_at_any_point_it_is_gone_in_time(
    in_the_field: Any, eventually: Eventually, point: FailPoint
) -> None:
    """The attempt is stopped there and hears no SIGTERM; told twice, as the impatient do."""
    in_the_field.release("1.0.0", counter=1)
    stop_and_measure(in_the_field, eventually, point)


@pytest.mark.parametrize("point", sorted(OF_A_ROLL_BACK))
def test_told_to_stop_while_a_roll_back_hangs_it_is_gone_in_time(
    in_the_field: Any, eventually: Eventually, point: FailPoint
) -> None:
    in_the_field.release("1.0.0", counter=1)
    with in_the_field.running():
        eventually(lambda: is_committed(in_the_field))
    in_the_field.withdraw("1.0.0")
    stop_and_measure(in_the_field, eventually, point)


def stop_and_measure(field: Any, eventually: Eventually, point: FailPoint) -> None:
    asked = {"PRIMUM_TEST_FAIL_POINTS": "hang", "PRIMUM_FAIL_POINT": str(point)}
    with field.running(**asked) as process:
        eventually(lambda: hangs_after_health(field))
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0
        assert time.monotonic() - began < 10
    assert of_this_device(field) == {}, "nobody is left"
    assert field.kinds()[-1] == "agent.stopped"
    assert not field.layout.socket.exists()


def test_a_supervisor_that_hangs_itself_is_the_managers_to_end(
    in_the_field: Any, eventually: Eventually
) -> None:
    """Killed like that, its children go with it: the kernel ends them."""
    in_the_field.release("1.0.0", counter=1)
    asked = {"PRIMUM_TEST_FAIL_POINTS": "hang", "PRIMUM_FAIL_POINT": str(OF_THE_SUPERVISOR)}
    with in_the_field.running(**asked) as process:
        eventually(lambda: hangs_after_health(in_the_field))
        process.kill()
    eventually(lambda: of_this_device(in_the_field) == {}, seconds=5)


def test_told_to_stop_before_it_stands_it_leaves_no_trace_of_a_start(
    in_the_field: Any, eventually: Eventually
) -> None:
    """A manager may change its mind while the interpreter still loads."""
    for delay in (0.0, 0.05, 0.1, 0.2, 0.4):
        process = subprocess.Popen(
            [*AGENT, "run", *in_the_field.folders], stderr=subprocess.DEVNULL
        )
        time.sleep(delay)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) in {0, -signal.SIGTERM}
        assert of_this_device(in_the_field) == {}
    with in_the_field.running():
        eventually(lambda: ask(in_the_field.layout.socket, {"do": "status"}) is not None)


def test_children_that_do_not_answer_share_one_grace(eventually: Eventually) -> None:
    """Two of them must not take twice as long as one."""
    running = [start(Task.SIGN_HEAD, ["--help"], deadline=0.0) for _ in range(3)]
    for child in running:
        os.kill(child.process.pid, signal.SIGSTOP)
        eventually(lambda pid=child.process.pid: state_of(Path(f"/proc/{pid}")) == "T")
    began = time.monotonic()
    stop_all(running)
    assert time.monotonic() - began < GRACE_SECONDS + 1
    assert all(child.process.returncode is not None for child in running)


def test_a_child_that_cannot_be_started_is_a_trouble_and_not_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No memory, no process left, or an agent that was taken off the disk while it runs."""
    monkeypatch.setattr(sys, "executable", "/nowhere/python3")
    with pytest.raises(FailedError) as caught:
        start(Task.SIGN_HEAD, [], deadline=0.0)
    assert caught.value.found == "No such file or directory"


def test_the_time_to_stop_adds_up_to_less_than_ten_seconds() -> None:
    """One child that is ended for hanging, all of them, the goodbye, and the broker's."""
    from primum_agent import paho_broker, supervisor

    worst = 2 * children.GRACE_SECONDS
    worst += supervisor._GOODBYE_SECONDS + supervisor._GOODBYE_STEP
    worst += 2 * paho_broker._GOODBYE_SECONDS
    assert worst < 10
