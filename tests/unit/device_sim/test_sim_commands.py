"""`primum-sim` as a person types it: what goes wrong is told, with its exit code."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-m", "primum_device_sim.cli"]


def run(*words: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*COMMAND, *words], capture_output=True, text=True, check=False, timeout=60
    )
    assert "Traceback" not in done.stderr
    return done


def test_a_folder_that_is_somebody_elses_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    done = run("demo", "--folder", str(tmp_path))
    assert done.returncode == 2
    assert "--folder" in done.stderr
    assert (tmp_path / "thesis.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["listen", "--broker", "nowhere", "--device", "d", "--output", "o"], 2, "mqtt://"),
        (
            ["listen", "--broker", "mqtt://127.0.0.1:9", "--device", "d", "--output", "o"],
            3,
            "broker",
        ),
        (
            ["listen", "--broker", "mqtts://127.0.0.1", "--device", "d", "--output", "o"],
            2,
            "this machine",
        ),
        (["data", "releases", "/proc/nowhere"], 3, "resource.storage"),
        (["nonsense"], 2, "nonsense"),
    ],
)
def test_each_fault_has_its_exit_code(
    tmp_path: Path, words: list[str], code: int, told: str
) -> None:
    done = run(*(str(tmp_path / "o") if word == "o" else word for word in words))
    assert done.returncode == code
    assert told in done.stderr


def test_release_folders_are_written_the_same_again(tmp_path: Path) -> None:
    for name in ("one", "two"):
        assert run("data", "releases", str(tmp_path / name)).returncode == 0
    files = sorted(
        path.relative_to(tmp_path / "one")
        for path in (tmp_path / "one").rglob("*")
        if path.is_file()
    )
    assert len(files) > 20
    for relative in files:
        assert (tmp_path / "one" / relative).read_bytes() == (
            tmp_path / "two" / relative
        ).read_bytes()


def start_broker(tmp_path: Path, executable: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [*COMMAND, "broker", "--port", "0", "--folder", str(tmp_path / "broker")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"PATH": "/usr/bin:/bin", "PRIMUM_MOSQUITTO": str(executable), "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("listening on")
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_broker_that_is_stopped_leaves_nothing_behind(
    tmp_path: Path, broker_executable: Path, number: signal.Signals
) -> None:
    process = start_broker(tmp_path, broker_executable)
    process.send_signal(number)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert errors.startswith("interrupted")


def test_a_broker_that_dies_is_told(tmp_path: Path, broker_executable: Path) -> None:
    process = start_broker(tmp_path, broker_executable)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    for child in children:
        subprocess.run(["kill", "-9", child], check=False)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 3
    assert "broker.unreachable" in errors


def test_the_application_waits_where_no_agent_has_said_anything(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, "application", "--state", str(tmp_path), "--output", str(tmp_path / "out")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and not (tmp_path / "out").exists():
        time.sleep(0.05)
    while time.monotonic() < deadline and not (tmp_path / "out").read_text():
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 130
    assert "state.damaged" in (tmp_path / "out").read_text()
