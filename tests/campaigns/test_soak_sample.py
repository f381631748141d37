"""A short part of the soak, the same for ever; and that its verdict sees what it should."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.campaigns import soak_campaign
from tests.campaigns.soak_campaign import ACTS, EXIT_FOUND, main, possible, run
from tests.campaigns.soak_network import Namespace, what_is_missing
from tests.campaigns.soak_verdict import judge
from tests.campaigns.soak_world import Receiver, SoakDevice, World
from tests.unit.repo_tools.fleet.devices import Device

from primum_verifier.core.errors import FailedError
from primum_verifier.core.reasons import Reason

SECONDS = 20.0
SEED = 7

Row = tuple[int, str, bytes, int, int]


def test_a_fleet_that_is_disturbed_loses_doubles_and_invents_nothing(
    broker_executable: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Attack: broker, receiver, agent and connections fail.  End: the receiver holds each event."""
    del broker_executable
    soak, found = run(
        tmp_path / "world", seconds=SECONDS, seed=SEED, devices=1, database="", isolated=False
    )
    said = capsys.readouterr().out
    assert soak.findings == [], said
    (verdict,) = found
    assert verdict.is_good, said
    assert verdict.sent > 20
    assert "served 0 episodes" not in said
    assert sum(soak.done.values()) > 1
    assert f"sent {verdict.sent}, received {verdict.sent}, lost 0, duplicated 0, invented 0" in said


@pytest.fixture
def told() -> tuple[Device, list[bytes], list[bytes], list[Row]]:
    """A device, its events, its history, and what a receiver that has all of it holds."""
    device = Device()
    life = device.life(5)
    lines = [message.payload for message in life[:-1]]
    rows = [(number, "h", line, 1, 1) for number, line in enumerate(lines, 1)]
    return device, lines, [message.payload for message in life], rows


SPOILT: dict[str, Callable[[list[Row]], list[Row]]] = {
    "whole": lambda rows: rows,
    "lost": lambda rows: rows[:2] + rows[3:],
    "duplicated": lambda rows: [*rows, (5, "i", rows[4][2] + b" ", 1, 1)],
    "invented": lambda rows: [*rows, (6, "i", b"{}", 1, 1)],
    "altered": lambda rows: [*rows[:4], (5, "i", b"{}", 1, 1)],
    "not joined": lambda rows: [(*row[:3], 0, 1) for row in rows],
    "not proven": lambda rows: [(*row[:3], 1, 0) for row in rows],
}


@pytest.mark.parametrize(
    ("how", "members"),
    [
        ("whole", set()),
        ("lost", {"lost"}),
        ("duplicated", {"duplicated", "invented"}),
        ("invented", {"invented"}),
        ("altered", {"lost", "invented"}),
        ("not joined", {"disordered"}),
        ("not proven", {"disordered"}),
    ],
)
def test_each_broken_promise_is_seen(told: Any, how: str, members: set[str]) -> None:
    device, lines, history, rows = told
    verdict = judge(
        device.name, lines=lines, history=history, rows=SPOILT[how](rows), key=device.key
    )
    seen = {
        name
        for name in ("lost", "duplicated", "invented", "disordered", "faults")
        if getattr(verdict, name)
    }
    assert seen == members
    assert verdict.is_good is (how == "whole")


def test_a_journal_that_is_not_whole_itself_is_seen(told: Any) -> None:
    device, lines, history, rows = told
    assert not judge(
        device.name, lines=lines, history=history[:-1], rows=rows, key=device.key
    ).is_good


def test_what_a_machine_cannot_play_is_left_out() -> None:
    assert set(possible(isolated=True, small_disks=True)) <= set(ACTS)
    poor = set(possible(isolated=False, small_disks=False))
    assert set(ACTS) - poor == {"link down", "packets lost", "link narrow", "disk filled"}


@pytest.mark.parametrize("fails", ["start", "enroll", "_provision", "make"])
def test_a_world_that_does_not_come_about_leaves_nothing_behind(
    broker_executable: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    """Processes, disks of its own, and namespaces where root may make them."""
    del broker_executable
    isolated = not any("relay alone" in text for text in what_is_missing())
    whose = {"start": World, "enroll": Receiver, "_provision": SoakDevice, "make": Namespace}
    done: list[object] = []
    work = getattr(whose[fails], fails)

    def second(*words: Any, **named: Any) -> Any:
        if done:
            raise FailedError("no more", reason=Reason.RESOURCE_STORAGE)
        done.append(words)
        return work(*words, **named)

    if fails == "start":
        done.append("at once")
    if fails == "make" and not isolated:
        pytest.skip("needs network namespaces")
    monkeypatch.setattr(whose[fails], fails, second)
    with pytest.raises(FailedError, match="no more"):
        run(tmp_path / "world", seconds=0, seed=1, devices=2, database="", isolated=isolated)
    assert str(tmp_path) not in Path("/proc/mounts").read_text()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            assert str(tmp_path / "world").encode() not in path.read_bytes()
    spaces = Path("/run/netns")
    assert not spaces.is_dir() or not list(spaces.glob(f"soak-{os.getpid()}-*"))


def test_a_finding_makes_it_fail_and_leaves_what_there_was(
    broker_executable: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A receiver whose rows lack one: told, with where everything lies, and the seed."""
    del broker_executable
    monkeypatch.setattr(soak_campaign, "KEPT", tmp_path / "kept")
    monkeypatch.setattr(soak_campaign, "what_is_missing", lambda: ["the relay alone is used"])

    def careless(*words: Any, **named: Any) -> Any:
        return judge(*words, **{**named, "rows": named["rows"][1:]})

    monkeypatch.setattr(soak_campaign, "judge", careless)
    monkeypatch.setattr(soak_campaign, "disturb", lambda *_, **__: None)
    assert main(["--seconds", "0", "--seed", "3", "--devices", "1"]) == EXIT_FOUND
    said = capsys.readouterr().out
    assert "lost 1" in said
    assert "seed 3" in said
    folder = Path(said.rpartition("lies in ")[2].strip())
    assert (folder / "world" / "device-0" / "supervisor.log").is_file()
    shutil.rmtree(folder)
    assert (tmp_path / "kept" / "played").read_text() == "3"
