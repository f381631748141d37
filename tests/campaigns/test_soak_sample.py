"""A short part of the soak, the same for ever; and that its verdict sees what it should."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.campaigns import soak_campaign
from tests.campaigns.soak_campaign import ACTS, EXIT_FOUND, main, possible, run
from tests.campaigns.soak_verdict import judge
from tests.unit.repo_tools.fleet.devices import Device

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
