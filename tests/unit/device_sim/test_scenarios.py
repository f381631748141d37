"""The library of scenarios holds, and what would break a promise is seen."""

from __future__ import annotations

import json
import os
import re
import shlex
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

import pytest
from typer.testing import CliRunner

from primum_agent.broker import Message
from primum_agent.reporter import Reporter
from primum_device_sim.cli import app, main
from primum_device_sim.playing import Outcome, play
from primum_device_sim.scenario import Event, known_scenarios, load_scenario
from primum_device_sim.world.application import PlayedApplication
from primum_device_sim.world.broker import PlayedBroker
from primum_device_sim.world.promises import Promise
from primum_verifier.shell.bench import FakeBench

LONGEST = ("everything-at-once", "authority-asleep", "frozen-mirror")
"""Begun first: a long one begun last would leave the other workers idle."""

REAL_NUMBERS = {"wrong-model"}
"""What the double of the bench would find well."""


@pytest.fixture
def disks() -> Iterator[Path]:
    """An empty folder in memory."""
    memory = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


def played(name: str, disks: Path, **given: Any) -> Outcome:
    bench = None if name in REAL_NUMBERS else FakeBench()
    return play(load_scenario(name), disks, bench=bench, **given)


@pytest.mark.parametrize(
    "name", sorted(known_scenarios(), key=lambda name: (name not in LONGEST, name))
)
def test_every_promise_holds_and_what_is_expected_comes(name: str, disks: Path) -> None:
    outcome = played(name, disks)
    assert outcome.broken == ()
    assert outcome.unmet == ()
    assert outcome.looks > outcome.scenario.devices


def test_a_scenario_gives_the_same_journals_again(disks: Path) -> None:
    first = played("flapping-network", disks / "a")
    again = played("flapping-network", disks / "b")
    other = played("flapping-network", disks / "c", seed="2")
    assert first.logs == again.logs
    assert first.adopted == again.adopted
    assert first.logs != other.logs
    assert other.ok


# What would break a promise

Sabotage = Callable[[pytest.MonkeyPatch], None]


def _withdrawals_are_ignored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("primum_agent.review._take_away", lambda *_, **__: None)


def _reports_count_before_they_are_sent(patch: pytest.MonkeyPatch) -> None:
    publish = PlayedBroker.publish

    def lose(self: PlayedBroker, message: Message) -> int | None:
        ticket = publish(self, message)
        if b"update.committed" in message.payload:
            self.taken.remove(message)
        return ticket

    patch.setattr(PlayedBroker, "publish", lose)


def _reports_are_made_up(patch: pytest.MonkeyPatch) -> None:
    real = Reporter._publish

    def invent(self: Reporter, end: str, payload: bytes, **given: Any) -> int | None:
        return real(self, end, payload.replace(b"update.committed", b"update.refused"), **given)

    patch.setattr(Reporter, "_publish", invent)


def _events_are_dropped(patch: pytest.MonkeyPatch) -> None:
    look = PlayedApplication.look

    def drop(self: PlayedApplication, now: float) -> float:
        connection = sqlite3.connect(self.state / "journal.db")
        connection.execute("DELETE FROM events WHERE sequence = 4")
        connection.commit()
        connection.close()
        return look(self, now)

    patch.setattr(PlayedApplication, "look", drop)


def _floors_fall(patch: pytest.MonkeyPatch) -> None:
    look = PlayedApplication.look

    def lower(self: PlayedApplication, now: float) -> float:
        path = self.state / "floors.json"
        if path.exists() and now > 7300:
            floors = json.loads(path.read_bytes())
            for roles in floors["trust"].values():
                roles.update(dict.fromkeys(roles, 1))
            path.write_text(json.dumps(floors))
        return look(self, now)

    patch.setattr(PlayedApplication, "look", lower)


def _what_stands_is_lost(patch: pytest.MonkeyPatch) -> None:
    look = PlayedApplication.look

    def lose(self: PlayedApplication, now: float) -> float:
        if now > 4000:
            (self.state / "run" / "standing.json").unlink(missing_ok=True)
        return look(self, now)

    patch.setattr(PlayedApplication, "look", lose)


@pytest.mark.parametrize(
    ("name", "sabotage", "promise"),
    [
        ("withdrawn", _withdrawals_are_ignored, Promise.ALLOWED),
        ("first-update", _reports_count_before_they_are_sent, Promise.REPORTS),
        ("first-update", _reports_are_made_up, Promise.REPORTS),
        ("first-update", _events_are_dropped, Promise.JOURNAL),
        ("first-update", _floors_fall, Promise.FLOORS),
        ("first-update", _what_stands_is_lost, Promise.WHOLE),
    ],
)
def test_a_broken_guard_is_seen_by_the_promise_that_it_keeps(
    disks: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    sabotage: Sabotage,
    promise: Promise,
) -> None:
    sabotage(monkeypatch)
    whole = load_scenario(name)
    one = whole.fleet[0].model_copy(update={"devices": 1, "report": "2h"})
    few = whole.model_copy(update={"fleet": (one,), "lasts": "4h"})
    outcome = play(few, disks, bench=FakeBench())
    assert not outcome.ok
    assert promise in {item.promise for item in outcome.broken}
    assert all(item.story for item in outcome.broken)


# The commands


def test_a_run_is_told_written_as_junit_and_kept(tmp_path: Path) -> None:
    done = CliRunner().invoke(
        app,
        ["run", "first-update", "--logs", str(tmp_path / "logs"), "--junit", str(tmp_path / "j")],
    )
    assert done.exit_code == 0
    assert "3 devices for 5h: 3 run 1.1.0" in done.output
    assert '<testsuite name="primum-sim" tests="1" failures="0"' in (tmp_path / "j").read_text()
    logs = sorted((tmp_path / "logs" / "first-update").iterdir())
    assert [path.name for path in logs] == [f"wearable-{number}.jsonl" for number in (1, 2, 3)]
    assert all(json.loads(line) for line in logs[0].read_bytes().splitlines())


def test_what_is_not_as_expected_ends_with_one_and_says_why(tmp_path: Path) -> None:
    lines = ['title = "one device"', 'lasts = "1h"', "[[fleet]]", "devices = 1"]
    lines += ["[[events]]", 'at = "0s"', 'do = "release"', 'version = "1.0.0"']
    lines += ["[expect]", 'runs = { "9.9.9" = 1 }']
    file = tmp_path / "mine.toml"
    file.write_text("\n".join(lines))
    done = CliRunner().invoke(
        app, ["run", str(file), "--json", "--junit", str(tmp_path / "junit.xml")]
    )
    assert done.exit_code == 1
    told = json.loads(done.stdout)
    assert told["unmet"] == ["devices end with {'1.0.0': 1}, expected {'9.9.9': 1}"]
    assert 'failures="1"' in (tmp_path / "junit.xml").read_text()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('title = "x"\nlasts = "soon"\nevents = []\n[[fleet]]\ndevices = 1', "lasts"),
        ('title = "x"\nlasts = "1h"\nevents = []\n[[fleet]]\ndevices = 0', "devices"),
        ('title = "x"\nlasts = "1h"\nfleets = 1\nevents = []\n[[fleet]]\ndevices = 1', "fleets"),
        (
            'title = "x"\nlasts = "1h"\n[[fleet]]\ndevices = 1\n[[events]]\nat = "1h"\ndo = "fly"',
            "events",
        ),
        ("title = ", "TOML"),
    ],
)
def test_a_file_that_is_no_scenario_is_refused_by_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, found: str
) -> None:
    (tmp_path / "wrong.toml").write_text(text)
    assert main(["run", str(tmp_path / "wrong.toml")]) == 2
    said = capsys.readouterr().err
    assert found in said
    assert "Traceback" not in said


def test_an_unknown_scenario_is_a_wrong_call(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["describe", "no-such"]) == 2
    assert "primum-sim list" in capsys.readouterr().err


def test_every_scenario_is_listed_and_described() -> None:
    listed = CliRunner().invoke(app, ["list", "--json"])
    assert set(json.loads(listed.stdout)) == set(known_scenarios())
    for name in known_scenarios():
        told = CliRunner().invoke(app, ["describe", name])
        assert told.exit_code == 0
        assert load_scenario(name).title in told.output


# The page

PAGE = (Path(__file__).parents[3] / "docs" / "simulator.md").read_text("utf-8")


def test_every_command_of_the_page_does_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    commands = re.findall(r"^\$ primum-sim (.+)$", PAGE, re.MULTILINE)
    assert len(commands) == 4
    for command in commands:
        assert main(shlex.split(command)) == 0, capsys.readouterr()
    assert (tmp_path / "scenarios.xml").exists()
    assert list((tmp_path / "logs" / "cut-anywhere").iterdir())


def test_the_example_of_the_page_is_a_scenario_and_holds(tmp_path: Path, disks: Path) -> None:
    (example,) = re.findall(r"```toml\n(.+?)```", PAGE, re.DOTALL)
    (tmp_path / "example.toml").write_text(example)
    scenario = load_scenario(str(tmp_path / "example.toml"))
    outcome = play(scenario, disks, bench=FakeBench())
    assert outcome.unmet == ()
    assert outcome.ok


def test_the_page_names_everything_that_can_happen_and_every_promise() -> None:
    kinds = {
        kind.model_fields["do"].annotation.__args__[0] for kind in get_args(get_args(Event)[0])
    }
    table = PAGE.partition("\n| `do` |")[2].partition("\n\n")[0]
    named = set(re.findall(r"^\| `([a-z]+)` \|", table, re.MULTILINE))
    assert kinds == named
    assert all(f"| {promise} |" in PAGE for promise in Promise)


def test_the_example_project_of_an_integrator_passes(broker_executable: Path) -> None:
    """As its readers run it: in its folder, with nothing of ours but the plugin."""
    folder = Path(__file__).parents[3] / "docs" / "examples" / "fleet-tests"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=folder,
        env={**os.environ, "PRIMUM_MOSQUITTO": str(broker_executable)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "7 passed" in done.stdout
