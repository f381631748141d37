"""What the service manager is told: readiness, one line, signs of life; nobody there is no harm."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from primum_agent.device_state import Candidate, DeviceState, Generation
from primum_agent.lifecycle import State
from primum_agent.service import MAX_STATUS, ServiceManager, status_line

Eventually = Callable[..., Any]


class Listening:
    """The manager's end: a datagram socket, and what came over it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._link = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._link.bind("\0" + name[1:] if name.startswith("@") else name)
        self._link.settimeout(0.0)
        self.heard: list[str] = []

    def messages(self) -> list[list[str]]:
        """What came since the last call, each message as its lines."""
        found = []
        while True:
            try:
                found.append(self._link.recv(4096).decode().split("\n"))
            except BlockingIOError:
                break
        self.heard += [line for message in found for line in message]
        return found

    def lines(self) -> list[str]:
        """Every line that ever came."""
        self.messages()
        return self.heard

    def close(self) -> None:
        self._link.close()


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Listening]:
    name = str(tmp_path / "notify") if request.param == "path" else f"@{secrets.token_hex(8)}"
    listening = Listening(name)
    yield listening
    listening.close()


def service(manager: Listening, **more: str) -> ServiceManager:
    return ServiceManager.of({"NOTIFY_SOCKET": manager.name, **more})


def test_ready_is_said_once_and_a_line_only_when_it_changes(manager: Listening) -> None:
    told = service(manager)
    told.tell("pvc 1.0.0 runs", 0.0)
    told.tell("pvc 1.0.0 runs", 1.0)
    told.tell("pvc 1.0.0 runs; pvc 1.1.0 waits", 2.0)
    told.stopping()
    assert manager.messages() == [
        ["READY=1", "STATUS=pvc 1.0.0 runs"],
        ["STATUS=pvc 1.0.0 runs; pvc 1.1.0 waits"],
        ["STOPPING=1", "STATUS=stopping"],
    ]


def test_signs_of_life_come_at_half_the_time_and_at_every_turn_that_is_late(
    manager: Listening,
) -> None:
    told = service(manager, WATCHDOG_USEC="120000000")
    assert told.tell("", 100.0) == 160.0
    assert told.tell("", 159.9) == pytest.approx(160.9)
    assert told.tell("", 300.0) == 360.0
    assert manager.messages() == [["READY=1", "WATCHDOG=1"], ["WATCHDOG=1"]]


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": "-5"},
        {"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"},
    ],
)
def test_where_no_sign_of_life_is_wanted_from_this_process_none_wakes_it(
    manager: Listening, more: dict[str, str]
) -> None:
    told = service(manager, **more)
    assert told.tell("", 0.0) == float("inf")
    assert manager.lines() == ["READY=1"]


def test_own_process_id_is_meant(manager: Listening) -> None:
    told = service(manager, WATCHDOG_USEC="1000000", WATCHDOG_PID=str(os.getpid()))
    told.tell("", 0.0)
    assert "WATCHDOG=1" in manager.lines()


def test_no_child_can_speak_in_the_agents_name(manager: Listening) -> None:
    environment = {
        "NOTIFY_SOCKET": manager.name,
        "WATCHDOG_USEC": "1",
        "WATCHDOG_PID": "1",
        "HOME": "/",
    }
    ServiceManager.of(environment)
    assert environment == {"HOME": "/"}


@pytest.mark.parametrize("name", ["", "relative", "vsock:2:1", "/nowhere/notify", "/" + "x" * 300])
def test_a_missing_or_wrong_socket_is_harmless(name: str) -> None:
    told = ServiceManager.of({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "10000000"})
    # Told again soon, and never at once: it must not spin.
    assert told.tell("all is well", 5.0) >= 6.0
    told.stopping()


def test_a_stream_socket_and_a_folder_are_harmless(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as stream:
        stream.bind(str(tmp_path / "stream"))
        for name in ("stream", "."):
            told = ServiceManager.of({"NOTIFY_SOCKET": str(tmp_path / name)})
            told.tell("all is well", 0.0)


def test_a_manager_that_does_not_read_holds_nothing_and_hears_it_later(manager: Listening) -> None:
    told = service(manager)
    began = time.monotonic()
    for number in range(2000):
        told.tell(f"line {number}", float(number))
    assert time.monotonic() - began < 2
    manager.messages()
    told.tell("line 1999", 3000.0)
    assert manager.lines()[-1] == "STATUS=line 1999"


def test_readiness_that_could_not_be_told_is_told_when_it_can(tmp_path: Path) -> None:
    name = str(tmp_path / "notify")
    told = ServiceManager.of({"NOTIFY_SOCKET": name})
    told.tell("all is well", 0.0)
    late = Listening(name)
    told.tell("all is well", 1.0)
    assert late.lines() == ["READY=1", "STATUS=all is well"]
    late.close()


def test_a_status_is_one_short_line_that_smuggles_nothing(manager: Listening) -> None:
    service(manager).tell("runs\nMAINPID=1\x1b[2J" + "x" * 500, 0.0)
    (message,) = manager.messages()
    assert message[0] == "READY=1"
    assert len(message) == 2
    assert message[1].isprintable()
    assert len(message[1]) <= len("STATUS=") + MAX_STATUS


USED = Generation(1, "pvc", "1.0.0", "a", 1, 1, "b", 1, 30, 3, proven=True)
NEXT = Candidate("pvc", "1.1.0", "c")


@pytest.mark.parametrize(
    ("state", "attempt", "line"),
    [
        (DeviceState(), "", "safe mode, no release runs"),
        (DeviceState(), "poll", "safe mode, no release runs; looking for releases (poll)"),
        (DeviceState(active=1, generations=(USED,)), "", "pvc 1.0.0 runs"),
        (
            DeviceState(State.WAITING, NEXT, active=1, generations=(USED,)),
            "",
            "pvc 1.0.0 runs; pvc 1.1.0 waits",
        ),
        (
            DeviceState(State.TESTING, NEXT, active=1, generations=(USED,)),
            "poll",
            "pvc 1.0.0 runs; pvc 1.1.0: testing",
        ),
        (
            DeviceState(State.ROLLING_BACK, active=1, generations=(USED,)),
            "resume",
            "pvc 1.0.0 runs; rolling back",
        ),
        (None, "", "the state folder cannot be used (state.read-only); what runs goes on"),
    ],
)
def test_the_line_says_what_runs_and_what_waits(
    state: DeviceState | None, attempt: str, line: str
) -> None:
    assert status_line(state, attempt=attempt, trouble="state.read-only") == line


def test_health_that_is_not_proven_yet_is_told() -> None:
    unproven = Generation(1, "pvc", "1.0.0", "a", 1, 1, "b", 1, 30, 3)
    state = DeviceState(State.PROVISIONAL, active=1, generations=(unproven,))
    assert status_line(state) == "pvc 1.0.0 runs, health not proven yet"


# The real agent


def test_the_agent_is_ready_when_journal_and_socket_stand_and_says_when_it_leaves(
    in_the_field: Any, eventually: Eventually, manager: Listening
) -> None:
    in_the_field.release("1.0.0", counter=1)
    with in_the_field.running(NOTIFY_SOCKET=manager.name):
        eventually(lambda: "READY=1" in manager.lines())
        assert "agent.started" in in_the_field.kinds()
        assert in_the_field.layout.socket.is_socket()
        release = eventually(in_the_field.opened)
        eventually(release.prove_health)
        eventually(lambda: "STATUS=pvc-classifier 1.0.0 runs" in manager.lines())
    lines = manager.lines()
    assert lines.count("READY=1") == 1
    assert lines.count("STOPPING=1") == 1
    assert lines[-1] == "STATUS=stopping"
    assert any("1.0.0 runs, health not proven yet" in line for line in lines)


def test_a_loop_that_hangs_falls_silent_and_one_that_turns_does_not(
    in_the_field: Any, eventually: Eventually, tmp_path: Path
) -> None:
    """A sign of life comes from the loop: no thread, no child can give it in its place."""
    manager = Listening(str(tmp_path / "notify"))
    asked = {"NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": "400000"}
    with in_the_field.running(**asked) as process:
        eventually(lambda: manager.lines().count("WATCHDOG=1") > 5)
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.3)
        before = manager.lines().count("WATCHDOG=1")
        time.sleep(0.6)
        assert manager.lines().count("WATCHDOG=1") == before
        process.send_signal(signal.SIGCONT)
        eventually(lambda: manager.lines().count("WATCHDOG=1") > before)
    manager.close()


def test_a_state_folder_that_cannot_be_made_is_told_and_the_agent_stays(
    in_the_field: Any, eventually: Eventually, tmp_path: Path
) -> None:
    """A restart would not repair the disk; what runs goes on and the fleet is told why."""
    manager = Listening(str(tmp_path / "notify"))
    in_the_field.layout.journal.mkdir()
    with in_the_field.running(NOTIFY_SOCKET=manager.name) as process:
        eventually(lambda: "READY=1" in manager.lines())
        assert any("cannot be used" in line for line in manager.lines())
        assert process.poll() is None
    manager.close()


def test_without_a_manager_the_agent_runs_as_ever(in_the_field: Any) -> None:
    done = in_the_field.once(NOTIFY_SOCKET="/nowhere/notify", WATCHDOG_USEC="1")
    assert done.returncode == 0
    assert "Traceback" not in done.stderr


def test_what_tells_the_manager_loads_nothing_besides_the_standard_library() -> None:
    code = (
        "import sys; before = set(sys.modules); import primum_agent.service; "
        "print({name.partition('.')[0] for name in set(sys.modules) - before}"
        " - set(sys.stdlib_module_names))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "{'primum_agent'}"
