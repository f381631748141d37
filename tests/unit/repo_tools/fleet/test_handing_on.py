"""Windows for others: nothing in them says whose they are, and two campaigns stay two."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.repo_tools.fleet.conftest import AT, Fleet
from tests.unit.repo_tools.fleet.devices import Device
from tests.unit.repo_tools.fleet.test_watched import WINDOW

from primum_repo_tools.cli import main
from primum_repo_tools.fleet.campaigns import Campaign, Days
from primum_repo_tools.fleet.database import open_database
from primum_repo_tools.fleet.messages import End, Message
from primum_repo_tools.fleet.store import FleetStore
from primum_repo_tools.moments import parse_day

SECOND = ("--campaign", "2026-q2", "--from", "2026-04-01", "--until", "2026-07-01")
THIRD = ("--campaign", "2026-q3", "--from", "2026-07-01", "--until", "2026-10-01")
ENOUGH = 11


def ended(device: Device, day: str, **data: Any) -> Message:
    """A window that ended on a day, with all that a device says of itself."""
    content = {
        **WINDOW,
        "id": f"urn:uuid:{uuid.uuid4()}",
        "source": f"urn:primum:device:{device.name}",
        "time": f"{day}T00:00:00Z",
        "data": {**WINDOW["data"], "statementNumber": 4711, "agentVersion": "0.9.81", **data},
    }
    return Message(device.name, End.MONITOR, json.dumps(content).encode())


@pytest.fixture
def devices(fleet: Fleet) -> list[Device]:
    made = [Device(f"wearable-{number:03}") for number in range(ENOUGH)]
    fleet.enroll(*made)
    return made


@pytest.fixture
def hand_on(fleet: Fleet, tmp_path: Path) -> Callable[..., list[dict[str, Any]]]:
    def run(*words: str) -> list[dict[str, Any]]:
        file = tmp_path / "windows.jsonl"
        assert main(["fleet", "windows", str(file), "--database", fleet.address, *words]) == 0
        return [json.loads(line) for line in file.read_text("utf-8").splitlines()]

    return run


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["fleet", *words, "--json"]) == 2
    error: dict[str, Any] = json.loads(capsys.readouterr().err)["error"]
    return error


def test_nothing_in_the_file_says_whose_it_is(
    fleet: Fleet, devices: list[Device], hand_on: Callable[..., Any]
) -> None:
    told = [ended(device, "2026-06-08", window=90_017) for device in devices]
    fleet.take(*told)
    found = hand_on(*SECOND)
    assert len(found) == ENOUGH
    assert {frozenset(item) for item in found} == {
        frozenset(
            (
                "campaign", "device", "endedOnOrAfter", "release", "monitoringSpecification",
                "windowHours", "minimumCellCount", "dropped", "alarms", "channels",
            )
        )
    }  # fmt: skip
    whole = json.dumps(found)
    for mark in (
        "wearable",
        "urn:",
        "4711",
        "90017",
        "0.9.81",
        "clock",
        WINDOW["data"]["statement"],
    ):
        assert mark not in whole
    # What was counted is there as it was told, null where it was withheld.
    assert all(item["channels"] == WINDOW["data"]["channels"] for item in found)
    names = [item["device"] for item in found]
    assert names == sorted(set(names)), "the order says nothing of the devices"


def test_a_device_has_one_name_in_a_campaign_and_another_in_the_next(
    fleet: Fleet, devices: list[Device], hand_on: Callable[..., Any]
) -> None:
    days = ("2026-06-08", "2026-06-15", "2026-07-06")
    fleet.take(*(ended(device, day) for device in devices for day in days))
    second, third = hand_on(*SECOND), hand_on(*THIRD)
    assert (len(second), len(third)) == (2 * ENOUGH, ENOUGH)
    of_second, of_third = ({item["device"] for item in found} for found in (second, third))
    assert (len(of_second), len(of_third)) == (ENOUGH, ENOUGH)
    assert not of_second & of_third
    # Named again, the days are known, and so are the names.
    assert hand_on("--campaign", "2026-q2") == second


def test_what_comes_late_is_in_the_same_campaign_under_the_same_name(
    fleet: Fleet, devices: list[Device], hand_on: Callable[..., Any]
) -> None:
    fleet.take(*(ended(device, "2026-06-08") for device in devices))
    before = hand_on(*SECOND)
    fleet.take(ended(devices[0], "2026-06-30"), ended(devices[0], "2026-03-31"))
    after = hand_on(*SECOND)
    assert [item for item in after if item not in before] == [
        item for item in after if item["endedOnOrAfter"] == "2026-06-29"
    ]
    assert len(after) == len(before) + 1
    assert {item["device"] for item in after} == {item["device"] for item in before}


def test_a_campaign_has_its_first_day_and_not_the_day_after_its_last(
    fleet: Fleet, devices: list[Device], hand_on: Callable[..., Any]
) -> None:
    days = ("2026-03-31", "2026-04-01", "2026-06-30", "2026-07-01")
    fleet.take(*(ended(device, day, windowHours=24) for device in devices for day in days))
    found = hand_on(*SECOND)
    assert {item["endedOnOrAfter"] for item in found} == {"2026-04-01", "2026-06-30"}


def test_a_field_action_can_ask_who_it_is(
    fleet: Fleet,
    devices: list[Device],
    hand_on: Callable[..., Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    fleet.take(*(ended(device, "2026-06-08", dropped=at) for at, device in enumerate(devices)))
    found = hand_on(*SECOND)
    hand_on(*THIRD)
    words = ("--database", fleet.address, "--campaign")
    for item in found:
        capsys.readouterr()
        assert main(["fleet", "whose", item["device"], *words, "2026-q2"]) == 0
        assert capsys.readouterr().out == f"wearable-{item['dropped']:03}\n"
    error = refused(capsys, "whose", found[0]["device"], *words, "2026-q3")
    assert error["where"] == "campaign 2026-q3"
    assert refused(capsys, "whose", found[0]["device"], *words, "2026-q4")["found"] == "2026-q4"
    error = refused(capsys, "whose", found[0]["device"], *words, "2026-q2", "--fleet", "other")
    assert error["found"] == "2026-q2", "another fleet has campaigns of its own"


@pytest.mark.parametrize(
    ("name", "begins", "ends"),
    [
        ("2026-q2", "2026-04-01", "2026-07-02"),
        ("june", "2026-06-01", "2026-07-01"),
        ("year", "2026-01-01", "2027-01-01"),
        ("last-day", "2026-06-30", "2026-08-01"),
        ("first-day", "2026-03-01", "2026-04-02"),
    ],
)
def test_no_day_is_in_two_campaigns(
    fleet: Fleet,
    hand_on: Callable[..., Any],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    name: str,
    begins: str,
    ends: str,
) -> None:
    hand_on(*SECOND)
    file = tmp_path / "never.jsonl"
    days = ("--campaign", name, "--from", begins, "--until", ends)
    error = refused(capsys, "windows", str(file), "--database", fleet.address, *days)
    assert error["where"] == "campaign 2026-q2"
    assert not file.exists()


def test_campaigns_may_follow_one_upon_the_other_in_any_order(
    hand_on: Callable[..., Any],
) -> None:
    for words in (
        THIRD,
        SECOND,
        ("--campaign", "q1", "--from", "2026-01-01", "--until", "2026-04-01"),
    ):
        assert hand_on(*words) == []


def test_what_few_devices_have_in_common_stays(
    fleet: Fleet,
    devices: list[Device],
    hand_on: Callable[..., Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    few, other = "e" * 64, "f" * 64
    told = [ended(device, "2026-06-08") for device in devices]
    # Many windows are not many devices; and it is release and specification together.
    told += [ended(devices[0], f"2026-06-{day}", release=few) for day in range(10, 29)]
    told += [ended(devices[1], "2026-06-15", monitoringSpecification=other)]
    fleet.take(*told)
    found = hand_on(*SECOND)
    assert len(found) == ENOUGH
    assert few not in json.dumps(found)
    assert other not in json.dumps(found)
    capsys.readouterr()
    found = hand_on(*SECOND, "--least-devices", "1", "--json")
    assert len(found) == ENOUGH + 20
    said = json.loads(capsys.readouterr().out)
    assert (said["windows"], said["leftOut"]) == (ENOUGH + 20, 0)
    hand_on(*SECOND)
    out = capsys.readouterr().out
    assert f"{ENOUGH} windows of 2026-04-01 to 2026-07-01" in out
    assert "20 left out" in out
    assert out.count("left out: fewer than 11 devices") == 2
    assert hand_on(*SECOND, "--least-devices", str(ENOUGH + 1)) == []


def test_the_day_of_the_week_is_no_mark_of_a_device(
    fleet: Fleet, devices: list[Device], hand_on: Callable[..., Any]
) -> None:
    """Weeks begin on a Monday; of windows of a day, and of a day and a half, the day is told."""
    week = [f"2026-06-{day:02}" for day in range(8, 15)]
    told = [ended(device, day) for device, day in zip(devices, week, strict=False)]
    told += [ended(devices[8], "2026-06-10", windowHours=24)]
    told += [ended(devices[9], "2026-06-11", windowHours=36)]
    fleet.take(*told)
    found = hand_on(*SECOND, "--least-devices", "1")
    days = sorted((item["windowHours"], item["endedOnOrAfter"]) for item in found)
    assert days == [(24, "2026-06-10"), (36, "2026-06-11"), *[(168, "2026-06-08")] * 7]


def test_what_only_a_newer_agent_says_does_not_go_on(
    fleet: Fleet, devices: list[Device], hand_on: Callable[..., Any]
) -> None:
    channels = json.loads(json.dumps(WINDOW["data"]["channels"]))
    channels["score"]["serial"] = "XYZ"
    fleet.take(*(ended(device, "2026-06-08", channels=channels, site="XYZ") for device in devices))
    found = hand_on(*SECOND)
    assert len(found) == ENOUGH
    assert "XYZ" not in json.dumps(found)


def test_another_fleet_s_devices_are_not_in_it(
    fleet: Fleet, devices: list[Device], hand_on: Callable[..., Any]
) -> None:
    other = FleetStore(open_database(fleet.address), fleet="other")
    stranger = Device("stranger")
    other.enroll(stranger.name, stranger.key, now=AT)
    other.take([ended(stranger, "2026-06-08")], now=AT)
    other.database.close()
    fleet.take(*(ended(device, "2026-06-08") for device in devices))
    assert len(hand_on(*SECOND)) == ENOUGH
    assert len(hand_on(*SECOND, "--fleet", "other", "--least-devices", "1")) == 1


def test_a_dry_run_begins_no_campaign_and_writes_no_file(
    fleet: Fleet, devices: list[Device], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    fleet.take(*(ended(device, "2026-06-08") for device in devices))
    file = tmp_path / "none.jsonl"
    words = ("windows", str(file), "--database", fleet.address)
    assert main(["fleet", *words, *SECOND, "--dry-run"]) == 0
    assert "11 windows of 2026-04-01 to 2026-07-01 would be in" in capsys.readouterr().out
    assert not file.exists()
    assert refused(capsys, *words, "--campaign", "2026-q2")["found"] == "2026-q2"


@pytest.mark.parametrize(
    "words",
    [
        ("--campaign", "2026-q2"),
        ("--campaign", "2026-q2", "--from", "2026-04-01"),
        ("--campaign", "2026-q2", "--until", "2026-04-01"),
        ("--campaign", "2026-q2", "--from", "2026-04-01", "--until", "2026-04-01"),
        ("--campaign", "2026-q2", "--from", "2026-04-02", "--until", "2026-04-01"),
        ("--campaign", "2026-q2", "--from", "2026-04-01", "--until", "2026-04-31"),
        ("--campaign", "2026-q2", "--from", "yesterday", "--until", "2026-04-30"),
        ("--campaign", "Q2 2026", "--from", "2026-04-01", "--until", "2026-04-30"),
    ],
)
def test_a_campaign_has_a_name_and_days(
    fleet: Fleet, capsys: pytest.CaptureFixture[str], tmp_path: Path, words: tuple[str, ...]
) -> None:
    file = tmp_path / "none.jsonl"
    refused(capsys, "windows", str(file), "--database", fleet.address, *words)
    assert not file.exists()


def test_a_name_is_made_from_the_campaign_s_secret_and_the_device() -> None:
    days = Days(parse_day("2026-04-01"), parse_day("2026-07-01"))
    one, other = (Campaign("q2", days, bytes([secret]) * 32) for secret in (1, 2))
    names = {made.pseudonym(device) for made in (one, other) for device in ("a", "b")}
    assert len(names) == 4
    assert {len(name) for name in names} == {32}
    # HMAC-SHA-256 as any other tool computes it: openssl dgst -sha256 -mac HMAC -macopt hexkey:...
    assert one.pseudonym("wearable-001") == "68a23da5e52c23130f62f31046f3bb58"


def test_a_database_of_the_second_generation_learns_of_campaigns(
    fleet: Fleet, devices: list[Device], hand_on: Callable[..., Any]
) -> None:
    fleet.take(*(ended(device, "2026-06-08") for device in devices))
    with fleet.store.database.writing() as session:
        session.do("DROP TABLE campaigns")
        session.do("UPDATE fleet_generation SET number = 2")
    assert len(hand_on(*SECOND)) == ENOUGH
