"""What a person at the terminal is told: every event, how it ended, and what a stop was."""

from __future__ import annotations

import json
import logging
import os
import pty
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from primum_agent.clock import SystemClock
from primum_agent.settings import read_settings
from primum_agent.supervisor import Supervisor
from primum_verifier.core.errors import FailedError
from primum_verifier.core.reasons import Reason

Eventually = Callable[..., Any]
AGENT = [sys.executable, "-m", "primum_agent.cli"]


def begun(field: Any, *words: str, **more: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*AGENT, "run", *words, *field.folders], stdout=subprocess.PIPE, text=True, **more
    )


def test_a_single_run_tells_each_event_and_the_commit(
    in_the_field: Any, eventually: Eventually
) -> None:
    in_the_field.release("1.0.0", counter=1)
    process = begun(in_the_field, "--once")
    eventually(eventually(in_the_field.opened).prove_health)
    lines = process.communicate(timeout=30)[0].splitlines()
    assert process.returncode == 0
    assert [line.split("  ")[1] for line in lines[:-1]] == in_the_field.kinds()[1:]
    assert any(line.endswith("update.found  pvc-classifier 1.0.0") for line in lines)
    assert lines[-1] == "committed pvc-classifier 1.0.0"
    again = in_the_field.once()
    assert again.returncode == 0
    assert again.stdout.splitlines()[-1] == "nothing new: pvc-classifier 1.0.0 runs"
    assert "{" not in again.stdout + again.stderr


def test_a_resident_run_tells_events_at_a_terminal_and_nowhere_else(
    in_the_field: Any, eventually: Eventually
) -> None:
    for at_a_terminal in (True, False):
        ours, theirs = pty.openpty()
        where = theirs if at_a_terminal else subprocess.DEVNULL
        process = begun(in_the_field, stderr=where)
        eventually(lambda: in_the_field.agent("poll").returncode == 0)
        process.send_signal(signal.SIGTERM)
        told = process.communicate(timeout=10)[0]
        os.close(ours)
        os.close(theirs)
        assert process.returncode == 0, "a clean stop of a service is no failure"
        assert ("agent.stopped" in told) is at_a_terminal


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_single_run_that_is_interrupted_says_so_and_the_next_calls_it_a_stop(
    in_the_field: Any, eventually: Eventually, number: signal.Signals, code: int
) -> None:
    in_the_field.release("1.0.0", counter=1)
    process = begun(in_the_field, "--once")
    eventually(lambda: "update.activated" in in_the_field.kinds())
    process.send_signal(number)
    last = process.communicate(timeout=10)[0].splitlines()[-1]
    assert process.returncode == code
    assert last == f"interrupted: signal {number.value}"
    with in_the_field.running():
        eventually(lambda: "update.interrupted" in in_the_field.kinds())
    found = in_the_field.event("update.interrupted")["data"]
    assert found["reasons"] == ["interrupted"]
    assert found["detail"]["by"] == "a planned stop"


def test_a_cut_while_provisional_is_not_called_a_stop(
    in_the_field: Any, eventually: Eventually
) -> None:
    in_the_field.release("1.0.0", counter=1)
    with in_the_field.running() as process:
        eventually(lambda: "update.activated" in in_the_field.kinds())
    for _ in range(2):
        count = in_the_field.kinds().count("update.interrupted")
        with in_the_field.running() as process:
            eventually(lambda old=count: in_the_field.kinds().count("update.interrupted") > old)
            process.kill()
    reasons = [
        item["data"]["reasons"]
        for item in in_the_field.events()
        if item["type"].endswith("update.interrupted")
    ]
    assert reasons == [["interrupted"], ["state.power-loss"]]


def test_another_command_that_is_interrupted_ends_with_130(in_the_field: Any) -> None:
    """A repository that takes the connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)
        lines = in_the_field.settings().splitlines()
        address = f"http://127.0.0.1:{server.getsockname()[1]}/"
        toml = [
            f'{line.partition(" ")[0]} = "{address}"' if "_url" in line else line for line in lines
        ]
        toml += ["[transport]", "allow_http = true"]
        in_the_field.write("agent.toml", "\n".join(toml).encode())
        process = subprocess.Popen(
            # A test run in the background has the signal ignored, and a child inherits that.
            ["env", "--default-signal=INT", *AGENT, "check", *in_the_field.folders],
            stderr=subprocess.PIPE,
        )
        link, _ = server.accept()
        process.send_signal(signal.SIGINT)
        told = process.communicate(timeout=20)[1]
        link.close()
    assert process.returncode == 130
    assert b"Traceback" not in told


def test_a_trouble_that_lasts_is_logged_once(
    in_the_field: Any, caplog: pytest.LogCaptureFixture
) -> None:
    supervisor = Supervisor(
        settings=read_settings(in_the_field.provisioning),
        layout=in_the_field.layout,
        clock=SystemClock(),
        reporter=None,
    )
    error = FailedError("The disk is read-only.", reason=Reason.STATE_READ_ONLY)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            supervisor._warn(error)
        supervisor._warn(FailedError("Another.", reason=Reason.RESOURCE_STORAGE))
    assert len(caplog.records) == 2


def test_an_attempts_trouble_that_lasts_is_not_printed_by_each_attempt(in_the_field: Any) -> None:
    in_the_field.layout.device_key.chmod(0o644)
    first, second = in_the_field.once(), in_the_field.once()
    assert (first.returncode, second.returncode) == (3, 3)
    assert first.stderr.count("cannot be used") == 1
    assert "cannot be used" not in second.stderr
    for done in (first, second):
        assert done.stdout.splitlines()[-1].startswith("failed: state.damaged")
    answer = json.loads(in_the_field.agent("status", "--json").stdout)
    assert answer["lastPoll"]["text"] == "failed: state.damaged"
