"""Every command of the README, in its order, as a reader would type it."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"
SHELL_ONLY = ("make ", "mkdir ", "export ", "kill ")
PORTS = ("8001", "8002", "18830")
STEP_SECONDS = 60
STARTING_SECONDS = 20
SETTLING_SECONDS = 20


def commands() -> list[str]:
    blocks = re.findall(r"```console\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    lines = "".join(blocks).splitlines()
    assert all(line.startswith("$ ") for line in lines)
    return [line.removeprefix("$ ") for line in lines]


@dataclass
class Terminal:
    """A folder, a path and the processes that were sent to the background."""

    folder: Path
    environment: dict[str, str]
    ports: dict[str, str]
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def words(self, line: str) -> list[str]:
        for written, free in self.ports.items():
            line = line.replace(written, free)
        return [word for word in shlex.split(line, comments=True) if not word.startswith("2>")]

    def run(self, line: str) -> None:
        words = self.words(line)
        if words[-1] == "&":
            self.start(words[:-1])
            return
        began = time.monotonic()
        expected = int(found.group(1)) if (found := re.search(r"# exit (\d+)$", line)) else 0
        done = subprocess.run(
            words,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=STEP_SECONDS,
        )
        assert done.returncode == expected, f"{line}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        print(f"{time.monotonic() - began:5.1f} s  {line[:100]}")

    def start(self, words: list[str]) -> None:
        with (self.folder / f"background-{len(self.started)}.log").open("wb") as log:
            self.started.append(
                subprocess.Popen(
                    words,
                    cwd=self.folder,
                    env=self.environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            )
        for port in set(self.ports.values()) & set(words):
            _wait_for_port(int(port))

    def end(self) -> None:
        for process in reversed(self.started):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(10)


def _wait_for_port(port: int) -> None:
    deadline = time.monotonic() + STARTING_SECONDS
    while time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    pytest.fail(f"nothing listens on {port}")


def _free_port() -> str:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return str(found.getsockname()[1])


@pytest.fixture
def terminal(tmp_path: Path, broker_executable: Path) -> Iterator[Terminal]:
    opened = Terminal(
        folder=tmp_path,
        environment={
            "PATH": f"{sysconfig.get_path('scripts')}:/usr/bin:/bin",
            "HOME": str(tmp_path),
            "PRIMUM_PASSPHRASE": "a passphrase for this exercise",
            "PRIMUM_MOSQUITTO": str(broker_executable),
        },
        ports={port: _free_port() for port in PORTS},
    )
    yield opened
    opened.end()


@pytest.mark.timeout(400)
def test_every_command_of_the_readme_does_what_it_says(terminal: Terminal) -> None:
    for line in commands():
        if line.startswith(SHELL_ONLY):
            continue
        if line.startswith("tail "):
            wanted = b"safe-mode" if b"safe" in _standing(terminal) else b'"statement"'
            _wait_for_output(terminal, wanted)
        terminal.run(line)
    assert (terminal.folder / "fetched" / "rollout%2Fplan.json").stat().st_size > 0
    assert b'"mode": "safe"' in _standing(terminal)


def _standing(terminal: Terminal) -> bytes:
    return (terminal.folder / "wearable" / "state" / "run" / "standing.json").read_bytes()


def _wait_for_output(terminal: Terminal, wanted: bytes) -> None:
    """A person sees the application's next line a moment later."""
    deadline = time.monotonic() + SETTLING_SECONDS
    while time.monotonic() < deadline:
        lines = (terminal.folder / "outputs.jsonl").read_bytes().splitlines()
        if lines and wanted in lines[-1]:
            return
        time.sleep(0.05)
    pytest.fail(f"the application did not say {wanted!r}")


def test_the_readme_names_every_command() -> None:
    text = README.read_text("utf-8")
    for program, names in {
        "primum-agent": "run check status explain history doctor enroll poll retry",
        "primum-verify": "release selftest history fetch",
        "primum-sim": "demo broker application listen",
    }.items():
        row = next(line for line in text.splitlines() if line.startswith(f"| `{program}`"))
        for name in names.split():
            assert f"`{name}`" in row
