"""One real run of the demo's story, played once; each scenario checks what its step left behind."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.made_once import made_once

TELLING_SECONDS = 240


@dataclass(frozen=True)
class Told:
    """A story that was told to its end.

    Attributes:
        folder: everything it left.
        table: its closing table, by scene.
        log: what a person saw.
        seconds: how long it took.
    """

    folder: Path
    table: dict[str, dict[str, str]]
    log: str
    seconds: float

    def history(self, device: str) -> list[dict[str, Any]]:
        """The journal of a device, as its own command tells it."""
        words = ("history", "--state", str(self.folder / device / "state"), "--json")
        told = command("primum_agent.cli", *words)
        events: list[dict[str, Any]] = json.loads(told.stdout)
        return events

    def events(self, device: str, kind: str, subject: str | None = None) -> list[dict[str, Any]]:
        """The events of one kind, and about one release."""
        return [
            event
            for event in self.history(device)
            if event["type"] == f"primum.device.{kind}" and subject in {None, event.get("subject")}
        ]

    def received(self, device: str) -> list[dict[str, Any]]:
        """What the subscriber received of a device, without the signed heads."""
        path = self.folder / device / "received.jsonl"
        lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        return [line for line in lines if "specversion" in line]

    def outputs(self, device: str, kind: str) -> list[dict[str, Any]]:
        """What the application said."""
        path = self.folder / device / "outputs.jsonl"
        lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        return [line for line in lines if line["output"] == kind]


def command(module: str, *words: str, code: int | None = 0) -> subprocess.CompletedProcess[str]:
    """Run a command as a person would; it never ends in a traceback."""
    done = subprocess.run(
        [sys.executable, "-m", module, *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "Traceback" not in done.stderr, done.stderr
    if code is not None:
        assert done.returncode == code, done.stdout + done.stderr
    return done


@pytest.fixture(scope="session")
def told(broker_executable: Path, tmp_path_factory: pytest.TempPathFactory) -> Told:
    """Tell the whole story once, with ``primum-sim demo`` itself, for all workers together."""

    def tell(made: Path) -> None:
        outcome = _tell(made / "story", broker_executable)
        (made / "outcome.json").write_text(json.dumps(outcome))

    folder = made_once(tmp_path_factory, "told", tell)
    done = json.loads((folder / "outcome.json").read_text())
    assert done["code"] == 0, done["errors"][-6000:]
    content = json.loads(done["output"])
    return Told(
        folder=folder / "story",
        table={row["key"]: row for row in content["scenes"]},
        log=done["errors"],
        seconds=content["seconds"],
    )


def _tell(folder: Path, broker_executable: Path) -> dict[str, object]:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "primum_device_sim.cli", "demo"),
            *("--folder", str(folder), "--json"),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=TELLING_SECONDS,
        env={"PATH": "/usr/bin:/bin", "PRIMUM_MOSQUITTO": str(broker_executable)},
    )
    return {"code": done.returncode, "output": done.stdout, "errors": done.stderr}


@pytest.fixture
def run_command() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs one of the project's commands; see :func:`command`."""
    return command
