"""The resident supervisor: small, alone, quick to end, alive on a disk that cannot be written."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from selectors import DefaultSelector, SelectorKey
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from primum_agent.application import ActiveRelease, open_active
from primum_agent.children import Task, start
from primum_agent.clock import SystemClock
from primum_agent.desk import MAX_LINE, MAX_VISITORS, ask
from primum_agent.entrance import SocketEntrance
from primum_agent.settings import read_settings
from primum_agent.supervisor import _GOODBYE_STEP, make_supervisor

Eventually = Callable[..., Any]
HEAVY = {"tuf", "onnxruntime", "pydantic", "cryptography", "urllib3", "numpy", "securesystemslib"}
HEAVY |= {"pkcs11", "asn1crypto"}


def alive(field: Any) -> bool:
    return ask(field.layout.socket, {"do": "status"}) is not None


def children_of(process: subprocess.Popen[bytes]) -> list[int]:
    return _children(process.pid)


def test_the_running_supervisor_has_loaded_nothing_heavy(
    in_the_field: Any, eventually: Eventually
) -> None:
    """The modules of a supervisor that has opened everything, polled and reported."""
    script = in_the_field.folder / "watched.py"
    listing = in_the_field.folder / "modules.json"
    script.write_text(
        "import atexit, json, sys\n"
        "from pathlib import Path\n"
        "from primum_agent.cli import main\n"
        f"atexit.register(lambda: Path({str(listing)!r}).write_text(json.dumps([*sys.modules])))\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    in_the_field.write("agent.toml", in_the_field.settings(3600, 1).encode())
    in_the_field.release("1.0.0", counter=1)
    process = subprocess.Popen(
        [sys.executable, script, "run", *in_the_field.folders],
        stderr=subprocess.DEVNULL,
    )
    eventually(lambda: "update.activated" in in_the_field.kinds())
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=10) == 0
    loaded = {name.partition(".")[0] for name in json.loads(listing.read_text())}
    assert "paho" in loaded
    assert not loaded & HEAVY


def test_a_second_agent_on_the_same_state_is_busy_at_once(
    in_the_field: Any, eventually: Eventually
) -> None:
    with in_the_field.running():
        eventually(lambda: alive(in_the_field))
        before = time.monotonic()
        second = in_the_field.once()
        assert second.returncode == 4
        assert time.monotonic() - before < 3
        assert "state.busy" in second.stderr
        assert "Traceback" not in second.stderr
        assert alive(in_the_field)


def test_twenty_agents_at_once_leave_one(in_the_field: Any, eventually: Eventually) -> None:
    command = [sys.executable, "-m", "primum_agent.cli", "run", *in_the_field.folders]
    crowd = [subprocess.Popen(command, stderr=subprocess.DEVNULL) for _ in range(20)]
    eventually(lambda: sum(one.poll() is None for one in crowd) == 1)
    eventually(lambda: alive(in_the_field))
    codes = [one.poll() for one in crowd]
    assert codes.count(4) == 19
    last = next(one for one in crowd if one.poll() is None)
    last.terminate()
    assert last.wait(timeout=10) == 0


def test_the_lock_of_a_dead_agent_is_taken_over(in_the_field: Any, eventually: Eventually) -> None:
    with in_the_field.running() as first:
        eventually(lambda: alive(in_the_field))
        first.kill()
    with in_the_field.running():
        eventually(lambda: alive(in_the_field))


STAGES = ["agent.started", "update.found", "selftest.started", "update.activated"]


@pytest.mark.parametrize("stage", STAGES)
def test_told_to_stop_at_any_stage_it_ends_clean_and_the_next_run_works(
    in_the_field: Any, eventually: Eventually, stage: str
) -> None:
    in_the_field.release("1.0.0", counter=1)
    with in_the_field.running() as process:
        eventually(lambda: stage in in_the_field.kinds())
        left = children_of(process)
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        assert process.wait(timeout=10) == 0
        assert time.monotonic() - began < 10
    assert in_the_field.kinds()[-1] == "agent.stopped"
    assert not in_the_field.layout.socket.exists()
    for pid in left:
        eventually(lambda child=pid: not Path(f"/proc/{child}").exists(), seconds=5)
    with in_the_field.running():
        eventually(lambda: alive(in_the_field) and in_the_field.opened())


def test_a_single_run_whose_attempt_ended_waits_for_nothing_more(in_the_field: Any) -> None:
    supervisor = make_supervisor(
        settings=read_settings(in_the_field.provisioning),
        layout=in_the_field.layout,
        clock=SystemClock(),
        make_reporter=lambda _: None,
        once=True,
    )

    class Noting(DefaultSelector):
        def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
            if supervisor._plan.polls:
                waits.append(timeout)
            return super().select(timeout)

    waits: list[float | None] = []
    supervisor.entrance = SocketEntrance(selector=Noting())
    assert supervisor.run() == 0
    assert waits[0] == 0.0
    assert set(waits[1:]) <= {_GOODBYE_STEP}, "only for the signature over its end"


def test_an_interrupt_from_the_terminal_reaches_the_children_in_order(
    in_the_field: Any, eventually: Eventually
) -> None:
    in_the_field.release("1.0.0", counter=1)
    with in_the_field.running() as process:
        eventually(lambda: "update.found" in in_the_field.kinds())
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) == 0
    assert in_the_field.kinds()[-1] == "agent.stopped"


def test_when_the_supervisor_dies_its_attempt_dies_too(
    in_the_field: Any, eventually: Eventually, afterwards: Callable[[int], None]
) -> None:
    in_the_field.release("1.0.0", counter=1)
    with in_the_field.running() as process:
        eventually(lambda: "update.found" in in_the_field.kinds())
        children = eventually(lambda: children_of(process))
        # A self-test has no supervisor of its own to die with; stopped, nobody would end it.
        for pid in [*children, *(one for child in children for one in _children(child))]:
            # Stopped, it could not even notice; the kernel ends it all the same.
            os.kill(pid, signal.SIGSTOP)
            afterwards(pid)
        process.kill()
    for pid in children:
        eventually(lambda child=pid: not _runs(child), seconds=5)


@pytest.fixture
def afterwards() -> Iterator[Callable[[int], None]]:
    """Ends the processes it is told of, whatever state a test left them in."""
    told: list[tuple[int, str]] = []
    yield lambda pid: told.append((pid, _began(pid)))
    for pid, began in told:
        # The number may belong to another process by now; the time it began does not.
        if began and _began(pid) == began:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _began(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def _children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(one) for one in found.read_text().split()] if found.exists() else []


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_an_attempt_that_crashes_costs_one_attempt_and_is_told_once(
    in_the_field: Any, eventually: Eventually
) -> None:
    """Only the attempt dies and it is started again."""
    in_the_field.release("1.0.0", counter=1)
    with in_the_field.running() as process:
        eventually(lambda: alive(in_the_field))
        for child in eventually(lambda: children_of(process)):
            os.kill(child, signal.SIGKILL)
        eventually(lambda: "update.activated" in in_the_field.kinds())
        assert process.poll() is None
    assert in_the_field.kinds().count("attempt.failed") == 1


def test_a_damaged_journal_is_set_aside_and_the_release_keeps_running(
    in_the_field: Any, eventually: Eventually
) -> None:
    in_the_field.release("1.0.0", counter=1)
    with in_the_field.running():
        release = eventually(in_the_field.opened)
        eventually(release.prove_health)
    in_the_field.layout.journal.write_bytes(os.urandom(20_000))
    for name in ("journal.db-wal", "journal.db-shm"):
        (in_the_field.state / name).unlink(missing_ok=True)
    looked = in_the_field.agent("status")
    assert looked.returncode == 3
    assert "state.damaged" in looked.stderr
    assert "Traceback" not in looked.stderr
    with in_the_field.running():
        eventually(lambda: "journal.restarted" in in_the_field.kinds())
        eventually(lambda: in_the_field.journal().verdicts())
        assert open_active(in_the_field.state) == release
    assert list(in_the_field.state.glob("journal.damaged-*"))
    journal = in_the_field.journal()
    assert journal.state().in_use is not None
    assert journal.state().counter_floor == 1
    journal.close()


@pytest.fixture
def read_only(in_the_field: Any, eventually: Eventually) -> Any:
    """A namespace in which the state folder of a device that runs a release is read-only."""
    if os.geteuid() != 0:
        pytest.skip("needs root for a read-only mount")
    probe = subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True)
    if probe.returncode != 0:
        pytest.skip(f"needs mount namespaces: {probe.stderr.decode().strip()}")
    in_the_field.release("1.0.0", counter=1)
    with in_the_field.running():
        release = eventually(in_the_field.opened)
        eventually(release.prove_health)
    return in_the_field


def test_a_read_only_state_folder_is_reported_and_what_runs_keeps_running(
    read_only: Any, broker: Any, eventually: Eventually
) -> None:
    """D02: the agent starts, says so to the fleet, and changes nothing."""
    field = read_only
    field.write("agent.toml", field.settings(3600, broker.port).encode())
    before = {path: path.read_bytes() for path in field.state.rglob("*") if path.is_file()}
    state = str(field.state)
    script = (
        f"mount --bind {state} {state} && mount -o remount,bind,ro {state} && exec "
        f"{sys.executable} -m primum_agent.cli run --state {state} "
        f"--provisioning {field.provisioning}"
    )
    with (field.folder / "log").open("wb") as log:
        process = subprocess.Popen(["unshare", "--mount", "sh", "-c", script], stderr=log)
    try:
        eventually(lambda: "state.read-only" in (field.folder / "log").read_text())
        status = eventually(lambda: _retained_status(broker.port))
        assert status["presence"] == "online"
        assert status["reasons"] == ["state.read-only"]
    finally:
        process.terminate()
    assert process.wait(timeout=10) == 0
    assert "Traceback" not in (field.folder / "log").read_text()
    assert isinstance(open_active(field.state), ActiveRelease)
    after = {path: path.read_bytes() for path in field.state.rglob("*") if path.is_file()}
    assert after == before


def _retained_status(port: int) -> dict[str, Any] | None:
    found: list[bytes] = []
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.on_message = lambda _, __, message: found.append(bytes(message.payload))
    client.on_connect = lambda one, *_: one.subscribe("primum/demo/+/status", qos=1)
    client.connect("127.0.0.1", port)
    deadline = time.monotonic() + 1.0
    while not found and time.monotonic() < deadline:
        client.loop(timeout=0.1)
    client.disconnect()
    content: dict[str, Any] | None = json.loads(found[0]) if found else None
    return content


def test_a_state_folder_that_cannot_be_made_is_an_error_with_a_remedy(in_the_field: Any) -> None:
    in_the_field.state = in_the_field.folder / "enrolment.json" / "state"
    done = in_the_field.once()
    assert done.returncode == 3
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "line",
    [b"", b"nonsense", b"[]", b"null", b'{"do":"fly"}', b'{"do":"healthy"}', b"{" * 5000, b"\xff"],
)
def test_nonsense_on_the_socket_is_answered_and_harmless(
    in_the_field: Any, eventually: Eventually, line: bytes
) -> None:
    with in_the_field.running():
        eventually(lambda: alive(in_the_field))
        with socket.socket(socket.AF_UNIX) as link:
            os.chdir(in_the_field.layout.run)
            link.connect("primum.sock")
            link.sendall(line + b"\n")
            answer = json.loads(link.makefile().readline())
            assert answer["ok"] is False
            assert answer["reason"]
        assert alive(in_the_field)


def test_a_flood_of_visitors_and_endless_lines_are_turned_away(
    in_the_field: Any, eventually: Eventually
) -> None:
    with in_the_field.running():
        eventually(lambda: alive(in_the_field))
        os.chdir(in_the_field.layout.run)
        crowd = []
        for _ in range(MAX_VISITORS + 5):
            link = socket.socket(socket.AF_UNIX)
            link.connect("primum.sock")
            crowd.append(link)
        for turned_away in crowd[MAX_VISITORS:]:
            turned_away.settimeout(5)
            assert turned_away.recv(1) == b""
        crowd[0].settimeout(5)
        crowd[0].sendall(b"x" * (2 * MAX_LINE))
        assert json.loads(crowd[0].makefile().readline())["reason"] == "usage"
        for link in crowd:
            link.close()
        eventually(lambda: alive(in_the_field))


def test_an_episode_ends_with_its_application(in_the_field: Any, eventually: Eventually) -> None:
    """A crashed application cannot hold updates for ever."""
    in_the_field.release("1.0.0", counter=1)
    with in_the_field.running():
        release = eventually(in_the_field.opened)
        code = (
            "import os, sys\n"
            "from pathlib import Path\n"
            "from primum_agent.application import open_active\n"
            "with open_active(Path(sys.argv[1])).episode():\n"
            "    print('in', flush=True); sys.stdin.read(1); os._exit(1)\n"
        )
        application = subprocess.Popen(
            [sys.executable, "-c", code, in_the_field.state],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert application.stdout is not None
        assert application.stdout.readline() == b"in\n"
        status = ask(in_the_field.layout.socket, {"do": "status"})
        assert status is not None
        assert status["clinicalUse"] == "in-use"
        application.kill()
        application.communicate()
        eventually(
            lambda: ask(in_the_field.layout.socket, {"do": "status"})["clinicalUse"] == "idle"  # type: ignore[index]
        )
        with release.episode():
            status = ask(in_the_field.layout.socket, {"do": "status"})
            assert status is not None
            assert status["clinicalUse"] == "in-use"


def test_a_child_that_hangs_is_ended_with_everything_it_started() -> None:
    child = start(Task.SIGN_HEAD, ["--help"], deadline=0.0)
    child.stop()
    assert child.process.returncode is not None
