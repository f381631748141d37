"""Applications ask a confined model over a socket: whatever they ask, and whatever is withdrawn."""

from __future__ import annotations

import base64
import json
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from tests.unit.agent.field import AGENT
from tests.unit.agent.waiting import wait_for

from primum_agent.desk import short_path
from primum_device_sim.authorities.documents import FEATURES, WEIGHTS

Attempt = Callable[..., int]
CASE = np.linspace(-1, 1, FEATURES).astype("<f4")
QUESTION = {"x": base64.b64encode(CASE.tobytes()).decode()}


class Session:
    """One application."""

    def __init__(self, path: Path) -> None:
        self.link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.link.settimeout(30)
        with short_path(path) as name:
            # The name is there a moment before anybody listens.
            wait_for(lambda: self.link.connect_ex(name) == 0)
        self.answers = self.link.makefile("rb")

    def say(self, data: bytes) -> dict[str, Any]:
        self.link.sendall(data + b"\n")
        content: dict[str, Any] = json.loads(self.answers.readline())
        return content

    def ask(self, **request: Any) -> dict[str, Any]:
        return self.say(json.dumps(request).encode())

    def close(self) -> None:
        self.answers.close()
        self.link.close()


@contextmanager
def served(field: Any) -> Iterator[Callable[[], Session]]:
    command = [*AGENT, "runner", "--state", str(field.state), "--answer-seconds", "20"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    sessions: list[Session] = []
    path = field.layout.run / "runner.sock"

    def session() -> Session:
        sessions.append(Session(path))
        return sessions[-1]

    try:
        wait_for(path.exists)
        yield session
    finally:
        for one in sessions:
            one.close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0
        assert not path.exists()
        assert not list(field.layout.run.glob("runner-*")), "nothing is left behind"


def models() -> list[psutil.Process]:
    """Confined models below this test; what others run on the machine does not count."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if "primum_verifier.shell.runner_child" in process.cmdline():
                found.append(process)
    return found


def test_a_case_is_computed_confined_and_stamped(in_the_field: Any, attempt_now: Attempt) -> None:
    in_the_field.release("1.0.0", counter=1)
    assert attempt_now() == 0
    with served(in_the_field) as session:
        one = session()
        opened = one.ask(do="open")
        assert opened["ok"]
        assert opened["stamp"]["version"] == "1.0.0"
        assert {"landlock", "seccomp", "network"} <= set(opened["confinements"])
        assert opened["interface"]["inputs"][0]["shape"] == ["batch", FEATURES]
        answer = one.ask(do="compute", inputs=QUESTION)
        (found,) = np.frombuffer(base64.b64decode(answer["outputs"]["p"]), "<f4")
        expected = 1 / (1 + np.exp(-float(CASE @ WEIGHTS[:, 0])))
        assert found == pytest.approx(expected, rel=1e-5)
        assert answer["decision"] == ("positive" if expected >= 0.5 else "negative")
        assert answer["stamp"] == opened["stamp"]


def test_a_session_keeps_its_release_and_the_next_gets_the_new_one(
    in_the_field: Any, attempt_now: Attempt
) -> None:
    in_the_field.release("1.0.0", counter=1)
    assert attempt_now() == 0
    in_the_field.commit()
    with served(in_the_field) as session:
        old, beside = session(), session()
        assert old.ask(do="open")["stamp"]["version"] == "1.0.0"
        assert beside.ask(do="open")["ok"]
        first = models()
        assert len(first) == 1, "one confined model serves all who opened it"
        in_the_field.release("1.1.0", counter=2)
        assert attempt_now() == 0
        assert old.ask(do="compute", inputs=QUESTION)["stamp"]["version"] == "1.0.0"
        new = session()
        assert new.ask(do="open")["stamp"]["version"] == "1.1.0"
        assert new.ask(do="compute", inputs=QUESTION)["stamp"]["version"] == "1.1.0"
        for one in (old, beside):
            one.close()
        wait_for(lambda: len(models()) == 1)
        second = models()
        assert new.ask(do="compute", inputs=QUESTION)["ok"]
    assert not [model for model in (*first, *second) if model.is_running()]


def test_in_safe_mode_no_session_computes_any_more(in_the_field: Any, attempt_now: Attempt) -> None:
    in_the_field.release("1.0.0", counter=1)
    assert attempt_now() == 0
    in_the_field.commit()
    with served(in_the_field) as session:
        one = session()
        assert one.ask(do="open")["ok"]
        in_the_field.withdraw("1.0.0")
        attempt_now()
        refused = one.ask(do="compute", inputs=QUESTION)
        assert (refused["ok"], refused["reason"]) == (False, "fallback.none")
        assert "outputs" not in refused
        assert session().ask(do="open")["reason"] == "fallback.none"


def test_a_damaged_model_is_not_loaded(in_the_field: Any, attempt_now: Attempt) -> None:
    in_the_field.release("1.0.0", counter=1)
    assert attempt_now() == 0
    model = in_the_field.layout.generations / "1" / "model-1.0.0.onnx"
    model.chmod(0o640)
    with model.open("r+b") as file:
        file.write(b"x")
    with served(in_the_field) as session:
        assert session().ask(do="open")["reason"] == "artifact.digest"
        assert models() == []


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"[]",
        b"{",
        b'{"do": "compute"}',
        b'{"do": "open", "more": 1}',
        b'{"do": "compute", "inputs": []}',
        b'{"do": "compute", "inputs": {"x": 7}}',
        b'{"do": "compute", "inputs": {"x": "%%%"}}',
        b'{"do": "compute", "inputs": {"x": "AAAA"}}',
        b'{"do": "compute", "inputs": {}}',
        b'{"do": "poll"}',
        b"\xff\xfe",
    ],
)
def test_a_question_that_nobody_understands_is_answered_and_ends_nothing(
    in_the_field: Any, attempt_now: Attempt, line: bytes
) -> None:
    in_the_field.release("1.0.0", counter=1)
    assert attempt_now() == 0
    with served(in_the_field) as session:
        one = session()
        assert one.say(line)["ok"] is False
        assert one.ask(do="open")["ok"]
        answer = one.say(line)
        assert answer["ok"] is False
        assert answer["reason"] in {"usage", "compat.contract"}
        assert one.ask(do="compute", inputs=QUESTION)["ok"]


def test_without_an_agent_or_a_release_the_runner_says_so(in_the_field: Any) -> None:
    with served(in_the_field) as session:
        assert session().ask(do="open")["reason"] == "state.damaged"


def test_a_second_runner_is_busy_and_takes_nothing_from_the_first(
    in_the_field: Any, attempt_now: Attempt
) -> None:
    in_the_field.release("1.0.0", counter=1)
    assert attempt_now() == 0
    with served(in_the_field) as session:
        one = session()
        second = in_the_field.agent("runner")
        assert second.returncode == 4
        assert "state.busy" in second.stderr
        assert "Traceback" not in second.stderr
        assert one.ask(do="open")["ok"]
        assert session().ask(do="open")["ok"], "the name still leads to the first"


def test_what_killed_runners_left_behind_is_gone_once_one_serves(in_the_field: Any) -> None:
    run = in_the_field.layout.run
    run.mkdir(parents=True, exist_ok=True)
    for number in range(100):
        (run / f"runner-{number}" / "shadow-x").mkdir(parents=True)
    with served(in_the_field):
        assert len(list(run.glob("runner-*"))) == 1
