"""One version of a trusted role with two digests on two devices: two lists for two groups."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.unit.repo_tools.fleet.conftest import AT, Fleet
from tests.unit.repo_tools.fleet.devices import Device
from tests.unit.repo_tools.fleet.receivers import primum_repo

from primum_repo_tools.fleet.database import open_database
from primum_repo_tools.fleet.schema import GENERATION, STEPS
from primum_repo_tools.fleet.store import FleetStore
from primum_repo_tools.fleet.views import device_view, fleet_status
from primum_verifier.core.errors import PrimumError, UsageError

ROOT = "7" * 64


def roles(digest: str, *, version: int = 8, root: str | None = ROOT) -> dict[str, Any]:
    told = {"timestamp": {"version": version, "sha256": digest}}
    return {"clinical": {"pinnedRoot": root, "roles": told}}


@pytest.fixture
def two(fleet: Fleet) -> tuple[Device, Device]:
    devices = Device("wearable-001"), Device("wearable-002")
    fleet.enroll(*devices)
    return devices


def alarms(fleet: Fleet) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = fleet_status(fleet.store.database, fleet="demo", now=AT)["alarms"]
    return found


def test_two_lists_for_two_groups_are_an_alarm_that_names_both(
    fleet: Fleet, two: tuple[Device, Device]
) -> None:
    """Attack: whoever holds a repository shows some devices a list without the withdrawal."""
    one, other = two
    fleet.take(one.health(roles=roles("a" * 64)), other.health(roles=roles("b" * 64)))
    (alarm,) = alarms(fleet)
    assert alarm["kind"] == "one-role-version-with-two-digests"
    assert alarm["subject"] == f"role timestamp of clinical {ROOT}"
    assert alarm["version"] == 8
    named = {key: [place["device"] for place in found] for key, found in alarm["digests"].items()}
    assert named == {"a" * 64: ["wearable-001"], "b" * 64: ["wearable-002"]}
    for device in two:
        view = device_view(fleet.store.database, fleet="demo", name=device.name, last=1, now=AT)
        assert [item["kind"] for item in view["alarms"]] == [alarm["kind"]]


def test_it_shows_also_where_one_of_them_told_it_long_ago(
    fleet: Fleet, two: tuple[Device, Device], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("primum_repo_tools.fleet.report_store.MAX_REPORTS", 1)
    one, other = two
    fleet.take(one.health(roles=roles("a" * 64)))
    for version in range(9, 14):
        later = f"2026-06-02T12:{version:02}:00Z"
        fleet.take(one.health(later, roles=roles("c" * 64, version=version)))
    fleet.take(other.health(roles=roles("b" * 64)))
    assert [item["version"] for item in alarms(fleet)] == [8]


def test_the_same_list_another_root_and_other_versions_are_none(
    fleet: Fleet, two: tuple[Device, Device]
) -> None:
    one, other = two
    fleet.take(one.health(roles=roles("a" * 64)), other.health(roles=roles("a" * 64)))
    fleet.take(other.health("2026-06-01T12:01:00Z", roles=roles("b" * 64, version=9)))
    # Two hospitals have two roots, and each its own version 8.
    fleet.take(other.health("2026-06-01T12:02:00Z", roles=roles("c" * 64, root="8" * 64)))
    for device, digest in ((one, "d" * 64), (other, "e" * 64)):
        fleet.take(device.health("2026-06-01T12:03:00Z", roles=roles(digest, root=None)))
    assert alarms(fleet) == []


def test_what_is_kept_of_one_device_is_bounded(
    fleet: Fleet, two: tuple[Device, Device], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("primum_repo_tools.fleet.report_store.MAX_ROLE_CLAIMS", 3)
    for version in range(1, 10):
        told = two[0].health(
            f"2026-06-01T12:0{version}:00Z", roles=roles("a" * 64, version=version)
        )
        fleet.take(told)
    with fleet.store.database.reading() as session:
        kept = session.rows("SELECT version FROM role_claims ORDER BY version")
    assert [row[0] for row in kept] == [7, 8, 9]


def test_status_ends_with_1_while_an_alarm_stands(fleet: Fleet, two: tuple[Device, Device]) -> None:
    told = primum_repo("status", "--database", fleet.address)
    assert told.returncode == 0, told.stderr
    one, other = two
    fleet.take(one.health(roles=roles("a" * 64)), other.health(roles=roles("b" * 64)))
    told = primum_repo("status", "--database", fleet.address)
    assert told.returncode == 1
    assert "one-role-version-with-two-digests" in told.stdout
    told = primum_repo("status", "--database", fleet.address, "--json")
    assert (told.returncode, len(json.loads(told.stdout)["alarms"])) == (1, 1)


def test_a_report_of_a_newer_agent_is_taken_with_all_that_is_known_of_it(
    fleet: Fleet, two: tuple[Device, Device]
) -> None:
    one, _ = two
    readings = {"uptime": 1.0, "load": 0.1, "memory_free": 1, "agent_memory": 1, "humidity": 3}
    report = one.health(tomorrow={"x": [1]}, readings=readings, version="9.0.0")
    taken = fleet.take(report)
    assert (taken.reports, taken.refused) == (1, [])
    view = device_view(fleet.store.database, fleet="demo", name=one.name, last=1, now=AT)
    assert view["version"] == "9.0.0"
    # What is known must be right all the same.
    spoilt = one.health("2026-06-01T12:09:00Z", tomorrow=1, version=["x"])
    assert [item.device for item in fleet.take(spoilt).refused] == [one.name]


# Generations of the database


def back_to_the_first(fleet: Fleet) -> None:
    with fleet.store.database.writing() as session:
        session.do("DROP TABLE campaigns")
        session.do("DROP TABLE role_claims")
        session.do("UPDATE fleet_generation SET number = 1")


def generation(fleet: Fleet) -> int:
    with fleet.store.database.reading() as session:
        ((number,),) = session.rows("SELECT number FROM fleet_generation")
    return int(number)


def test_a_database_of_an_earlier_generation_is_brought_forward_with_what_it_holds(
    fleet: Fleet, two: tuple[Device, Device]
) -> None:
    one, other = two
    fleet.take(*one.life(3))
    back_to_the_first(fleet)
    again = open_database(fleet.address)
    store = FleetStore(again, fleet="demo")
    assert generation(fleet) == GENERATION
    messages = one.health(roles=roles("a" * 64)), other.health(roles=roles("b" * 64))
    store.take(messages, now=AT)
    again.close()
    assert [item["kind"] for item in alarms(fleet)] == ["one-role-version-with-two-digests"]
    view = device_view(fleet.store.database, fleet="demo", name=one.name, last=9, now=AT)
    assert view["provenTo"] == 3


def test_a_step_that_breaks_off_leaves_the_database_as_it_was(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    back_to_the_first(fleet)
    monkeypatch.setitem(STEPS, 1, (*STEPS[1], "CREATE TABLE devices (number {int})"))
    again = open_database(fleet.address)
    with pytest.raises(PrimumError):
        FleetStore(again, fleet="demo")
    again.close()
    assert generation(fleet) == 1
    with pytest.raises(PrimumError), fleet.store.database.reading() as session:
        session.rows("SELECT 1 FROM role_claims")
    monkeypatch.undo()
    again = open_database(fleet.address)
    FleetStore(again, fleet="demo")
    again.close()
    assert generation(fleet) == GENERATION


def test_a_database_of_a_later_generation_is_left_as_it_is(fleet: Fleet) -> None:
    with fleet.store.database.writing() as session:
        session.do("UPDATE fleet_generation SET number = ?", GENERATION + 1)
    again = open_database(fleet.address)
    with pytest.raises(UsageError) as caught:
        FleetStore(again, fleet="demo")
    again.close()
    assert caught.value.found == str(GENERATION + 1)
    assert generation(fleet) == GENERATION + 1
