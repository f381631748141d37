"""A program of the integrator ends with the process that started it, however that one dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from primum_agent.leash import start_leashed

Eventually = Callable[..., Any]


def program(folder: Path, text: str) -> str:
    path = folder / f"program-{time.monotonic_ns()}"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def hangs(folder: Path) -> tuple[str, Path]:
    """A program that never ends and starts another one, and where it writes both numbers."""
    told = folder / "told"
    text = f"sleep 1000 &\necho $$ $! > {told}.new\nmv {told}.new {told}\nwait"
    return program(folder, text), told


def are_gone(told: Path) -> bool:
    """Whether both have ended; a machine that reaps nobody still lists the dead."""
    for number in told.read_text().split():
        try:
            if Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
                return False
        except (FileNotFoundError, ProcessLookupError):
            continue
    return True


def test_a_killed_supervisor_leaves_no_health_probe_behind(
    in_the_field: Any, tmp_path: Path, eventually: Eventually
) -> None:
    command, told = hangs(tmp_path)
    in_the_field.more_settings = f'[health]\nprobe = ["{command}"]\n'
    in_the_field.write("agent.toml", in_the_field.settings().encode())
    in_the_field.release("1.0.0", counter=1)
    with in_the_field.running() as supervisor:
        eventually(told.is_file)
        assert not are_gone(told)
        supervisor.send_signal(signal.SIGKILL)
        supervisor.wait()
        eventually(lambda: are_gone(told))


def test_a_gate_that_is_asked_by_a_killed_attempt_is_asked_no_longer(
    in_the_field: Any, tmp_path: Path, eventually: Eventually
) -> None:
    """Also one that the supervisor ends by force: a gate's command is no part of its session."""
    command, told = hangs(tmp_path)
    in_the_field.more_settings = (
        f'[gates.clinical_use]\ncommand = ["{command}"]\ncommand_seconds = 60\n'
    )
    in_the_field.write("agent.toml", in_the_field.settings().encode())
    in_the_field.release("1.0.0", counter=1)
    with in_the_field.running() as supervisor:
        eventually(told.is_file)
        children = Path(f"/proc/{supervisor.pid}/task/{supervisor.pid}/children").read_text()
        (attempt,) = (int(item) for item in children.split())
        os.killpg(attempt, signal.SIGKILL)
        eventually(lambda: are_gone(told))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_whatever_ends_the_process_ends_the_program(
    tmp_path: Path, eventually: Eventually, number: signal.Signals
) -> None:
    command, told = hangs(tmp_path)
    code = (
        "import sys, time\nfrom primum_agent.leash import start_leashed\n"
        "held = start_leashed([sys.argv[1]])\nprint('started', flush=True)\ntime.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, command], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    eventually(told.is_file)
    process.send_signal(number)
    process.wait()
    process.stdout.close()
    eventually(lambda: are_gone(told))


def test_another_child_of_the_process_does_not_keep_it_alive(
    tmp_path: Path, eventually: Eventually
) -> None:
    """What is started beside it inherits neither end of the pipe."""
    command, told = hangs(tmp_path)
    code = (
        "import os, subprocess, sys\nfrom primum_agent.leash import start_leashed\n"
        "held = start_leashed([sys.argv[1]])\n"
        "beside = subprocess.Popen(['sleep', '60'], stdout=subprocess.DEVNULL)\n"
        "print(beside.pid, flush=True)\nos.read(0, 1)\nos._exit(1)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, command], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    beside = int(process.stdout.readline())
    eventually(told.is_file)
    process.communicate(b"x")
    eventually(lambda: are_gone(told))
    os.kill(beside, signal.SIGKILL)


@pytest.mark.parametrize(
    ("text", "code"),
    [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("kill -PIPE $$; exit 0", 141)],
)
def test_it_ends_as_the_program_ends(tmp_path: Path, text: str, code: int) -> None:
    held = start_leashed([program(tmp_path, text)])
    assert held.process.wait(timeout=10) == code
    held.end()


def test_its_output_and_what_it_is_told_pass_through(tmp_path: Path) -> None:
    command = program(tmp_path, 'echo "$PRIMUM_GENERATION $1"; cat')
    held = start_leashed([command, "a b"], stdout=subprocess.PIPE, known={"PRIMUM_GENERATION": "3"})
    assert held.process.stdout is not None
    assert held.process.stdout.read() == b"3 a b\n"
    held.end()


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_nothing_is_left_open_by_it(tmp_path: Path) -> None:
    before = open_descriptors()
    command = program(tmp_path, "exit 0")
    for _ in range(5):
        start_leashed([command], stdout=subprocess.PIPE).end()
        with pytest.raises(FileNotFoundError):
            start_leashed([f"{command}-no"])
        with pytest.raises(ValueError, match="null"):
            start_leashed([command, "a\0b"])
    assert open_descriptors() == before
