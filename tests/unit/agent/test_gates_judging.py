"""The gates as judged: worse never opens, unknown never opens, an override opens what it names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primum_agent.gate_overrides import Override
from primum_agent.gate_rules import (
    CONVENIENCE,
    HELD_STEPS,
    OVERRIDABLE,
    Asked,
    Gate,
    GateId,
    GateReadings,
    GateStanding,
    ShadowPeriod,
    Step,
    Use,
    holding,
    judge_gates,
    look_again,
)
from primum_agent.gate_settings import (
    BatteryGate,
    ConsentGate,
    GateSettings,
    Probe,
    TemperatureGate,
    WindowGate,
)
from primum_agent.sensors import Readings
from primum_agent.system_sensors import Sources, SystemSensors
from primum_verifier.core.reasons import Reason

BERLIN = ZoneInfo("Europe/Berlin")
ALL = GateSettings(
    battery=BatteryGate(),
    temperature=TemperatureGate(most_celsius=45.0, least_celsius=0.0),
    window=WindowGate(zone="Europe/Berlin", spans=("22:00-05:00",)),
    metered=Probe(file="/run/network"),
    download_window=WindowGate(zone="Europe/Berlin", spans=("22:00-05:00",)),
    consent=ConsentGate(),
    least_free_disk_mib=64,
    least_free_memory_mib=64,
)
MIB = 1024 * 1024
# Hypothesis takes bounds without a zone and adds it afterwards.
FIRST, LAST = datetime(2026, 1, 1), datetime(2027, 1, 1)  # noqa: DTZ001
NIGHT = datetime(2026, 6, 1, 23, tzinfo=BERLIN)
WELL = GateReadings(
    use=Use.IDLE,
    use_found="idle",
    battery=90.0,
    charging=True,
    temperature=30.0,
    disk_free=1000 * MIB,
    memory_free=1000 * MIB,
    local=NIGHT,
    time_found="Mon 23:00",
    metered=False,
    download_local=NIGHT,
    download_time_found="Mon 23:00",
    asked=Asked(agreed=True),
    components="",
    shadow=ShadowPeriod(asked="48 hours in shadow"),
    expected_seconds=600.0,
)
NOBODY_KNOWS = GateReadings(
    stopped="it is wrong",
    paused="paused by R. Meyer",
    components="the filter asks for more time",
    asked=Asked(mandatory=True),
    shadow=ShadowPeriod(asked="48 hours in shadow", reading="12.0 hours"),
    expected_seconds=600.0,
)


def held(gates: tuple[Gate, ...]) -> set[GateId]:
    return {item.gate for item in gates if item.holds}


def row(gates: tuple[Gate, ...], gate: GateId) -> Gate:
    return next(item for item in gates if item.gate is gate)


def test_a_device_that_is_well_holds_nothing() -> None:
    gates = judge_gates(ALL, WELL)
    assert [item.gate for item in gates] == list(GateId)
    assert held(gates) == set()
    assert {item.standing for item in gates} == {GateStanding.OPEN}


def test_where_nobody_knows_anything_every_gate_holds_and_says_what_opens_it() -> None:
    gates = judge_gates(ALL, NOBODY_KNOWS)
    assert held(gates) == set(GateId)
    assert all(item.reading and item.opens and item.reason for item in gates)


def test_a_sensor_that_is_absent_by_the_settings_has_no_gate() -> None:
    """A device without a battery must not wait for its charge."""
    found = replace(
        NOBODY_KNOWS,
        stopped="",
        paused="",
        components=None,
        asked=None,
        shadow=None,
        disk_free=10 * MIB,
    )
    gates = judge_gates(GateSettings(), found)
    assert held(gates) == {GateId.CLINICAL_USE}
    assert row(gates, GateId.BATTERY).standing is GateStanding.NOT_APPLICABLE


# Properties

percents = st.none() | st.floats(0, 100)
bytes_free = st.none() | st.integers(0, 2000 * MIB)
moments = st.none() | st.datetimes(FIRST, LAST).map(
    lambda at: at.replace(tzinfo=UTC).astimezone(BERLIN)
)
answers = st.builds(
    Asked,
    agreed=st.booleans(),
    mandatory=st.booleans(),
    seconds_left=st.none() | st.floats(0, 1e6),
    deferrals_left=st.integers(0, 5),
)
readings = st.builds(
    GateReadings,
    stopped=st.sampled_from(["", "it is wrong"]),
    use=st.sampled_from(Use),
    battery=percents,
    charging=st.sampled_from([None, True, False]),
    temperature=st.none() | st.floats(-50, 90),
    disk_free=bytes_free,
    memory_free=bytes_free,
    local=moments,
    metered=st.sampled_from([None, True, False]),
    components=st.sampled_from([None, "", "the filter asks for more time"]),
    asked=answers,
    expected_seconds=st.floats(0, 1e5),
)
powers = st.builds(
    BatteryGate,
    reserve_percent=st.floats(0, 95),
    percent_per_hour=st.floats(0, 1000),
    charging_percent=st.floats(0, 95),
    charger_needed=st.booleans(),
)
makes = st.builds(replace, st.just(ALL), battery=powers)
severities = st.sampled_from(["critical", "mandatory", "optional"])


def lower(value: float | None, by: float) -> float | None:
    return None if value is None else value * by


Worsen = Callable[[GateReadings, float], dict[str, Any]]
WORSE: dict[str, Worsen] = {
    "in use": lambda _, __: {"use": Use.IN_USE},
    "use unknown": lambda found, _: {"use": Use.IN_USE if found.use is Use.IN_USE else Use.UNKNOWN},
    "less charge": lambda found, by: {"battery": lower(found.battery, by)},
    "charge unknown": lambda _, __: {"battery": None},
    "charger gone": lambda _, __: {"charging": False},
    "charger unknown": lambda _, __: {"charging": None},
    "longer work": lambda found, by: {"expected_seconds": found.expected_seconds * (1 + by)},
    "hotter": lambda found, by: {
        "temperature": None if found.temperature is None else max(46.0, found.temperature) + by
    },
    "temperature unknown": lambda _, __: {"temperature": None},
    "less disk": lambda found, by: {
        "disk_free": None if found.disk_free is None else int(found.disk_free * by)
    },
    "disk unknown": lambda _, __: {"disk_free": None},
    "less memory": lambda found, by: {
        "memory_free": None if found.memory_free is None else int(found.memory_free * by)
    },
    "memory unknown": lambda _, __: {"memory_free": None},
    "clock unknown": lambda _, __: {"local": None, "download_local": None},
    "paused": lambda _, __: {"paused": "paused by R. Meyer"},
    "metered": lambda _, __: {"metered": True},
    "network unknown": lambda found, _: {"metered": True if found.metered else None},
    "agreement gone": lambda found, _: {
        "asked": None if found.asked is None else replace(found.asked, agreed=False)
    },
    "stopped": lambda _, __: {"stopped": "it is wrong"},
    "a component asks for time": lambda _, __: {"components": "the filter asks for more time"},
    "never answered": lambda found, _: {
        "asked": None if found.asked is None else replace(found.asked, mandatory=True)
    },
}


@given(
    settings=makes,
    found=readings,
    worse=st.sampled_from(sorted(WORSE)),
    by=st.floats(0, 1),
    severity=severities,
)
def test_a_worse_reading_never_opens_a_gate(
    settings: GateSettings, found: GateReadings, worse: str, by: float, severity: Any
) -> None:
    before = judge_gates(settings, found, severity=severity)
    now = replace(found, **WORSE[worse](found, by))
    after = judge_gates(settings, now, severity=severity)
    assert held(before) <= held(after)


@given(settings=makes, found=readings, severity=severities)
def test_unknown_never_opens_a_gate(
    settings: GateSettings, found: GateReadings, severity: Any
) -> None:
    """Whatever is known of the rest, the gate whose reading is missing holds.

    A stop is the device's own record, and what components say has a gate once it was asked.
    """
    unknown: dict[GateId, dict[str, Any]] = {
        GateId.CLINICAL_USE: {"use": Use.UNKNOWN},
        GateId.BATTERY: {"battery": None},
        GateId.TEMPERATURE: {"temperature": None},
        GateId.DISK: {"disk_free": None},
        GateId.MEMORY: {"memory_free": None},
        GateId.WINDOW: {"local": None},
        GateId.METERED: {"metered": None},
        GateId.DOWNLOAD_WINDOW: {"download_local": None},
        GateId.CONSENT: {"asked": Asked()},
    }
    assert set(unknown) == set(GateId) - {
        GateId.STOPPED,
        GateId.COMPONENTS,
        GateId.SHADOW,
        GateId.PAUSED,
    }
    for gate, members in unknown.items():
        gates = judge_gates(settings, replace(found, **members), severity=severity)
        opened = severity == "critical" and gate in CONVENIENCE
        assert row(gates, gate).holds is not opened


@given(settings=makes, found=readings, gate=st.sampled_from(GateId), severity=severities)
def test_an_override_opens_the_gate_that_it_names_and_no_other(
    settings: GateSettings, found: GateReadings, gate: GateId, severity: Any
) -> None:
    before = held(judge_gates(settings, found, severity=severity))
    given_now = {gate: Override(str(gate), "R. Meyer", "broken", 1e9)}
    after = held(judge_gates(settings, found, severity=severity, overrides=given_now))
    assert after == before - ({gate} & OVERRIDABLE)


@given(settings=makes, found=readings)
def test_a_critical_release_skips_a_convenience_and_never_a_patient(
    settings: GateSettings, found: GateReadings
) -> None:
    usual = held(judge_gates(settings, found))
    assert held(judge_gates(settings, found, severity="critical")) == usual - CONVENIENCE
    assert held(judge_gates(settings, found, severity="mandatory")) == usual


def test_what_is_overridden_or_skipped_is_still_shown() -> None:
    overrides = {GateId.BATTERY: Override("battery", "R. Meyer", "broken", 1e9, "2026-06-02")}
    gates = judge_gates(ALL, NOBODY_KNOWS, severity="critical", overrides=overrides)
    battery, window = row(gates, GateId.BATTERY), row(gates, GateId.WINDOW)
    assert (battery.standing, battery.until) == (GateStanding.OVERRIDDEN, "2026-06-02")
    assert battery.reading == "cannot be read, charger unknown; overridden by R. Meyer"
    assert window.standing is GateStanding.SKIPPED
    assert window.as_dict()["reading"] == "the clock is not trusted"


def test_clinical_use_a_stop_consent_and_components_cannot_be_overridden() -> None:
    kept = {
        GateId.CLINICAL_USE, GateId.STOPPED, GateId.CONSENT, GateId.COMPONENTS, GateId.SHADOW,
        GateId.PAUSED,
    }  # fmt: skip
    assert set(GateId) - OVERRIDABLE == kept


# One gate at a time


@pytest.mark.parametrize(
    ("percent", "charging", "seconds", "opens"),
    [
        (23.0, False, 600.0, False),
        (24.0, False, 600.0, True),
        (24.0, None, 600.0, True),
        (24.0, False, 7200.0, False),
        (60.0, False, 7200.0, True),
        (10.0, True, 7200.0, True),
        (9.0, True, 0.0, False),
        (None, True, 0.0, False),
    ],
)
def test_charge_is_weighed_against_the_expected_time(
    percent: float | None, charging: bool | None, seconds: float, opens: bool
) -> None:
    found = replace(WELL, battery=percent, charging=charging, expected_seconds=seconds)
    assert row(judge_gates(ALL, found), GateId.BATTERY).holds is not opens


def test_more_than_a_full_battery_is_never_asked_for_without_naming_the_way_out() -> None:
    """A long release on a small battery: no charge is enough, a charger is."""
    found = replace(WELL, battery=100.0, charging=False, expected_seconds=40_000.0)
    gate = row(judge_gates(ALL, found), GateId.BATTERY)
    assert gate.holds
    assert gate.opens == "10 % with a charger"
    assert not row(judge_gates(ALL, replace(found, charging=True)), GateId.BATTERY).holds


@pytest.mark.parametrize("charging", [None, False, True])
def test_a_charger_that_is_needed_is_waited_for(charging: bool | None) -> None:
    settings = replace(ALL, battery=BatteryGate(charger_needed=True))
    found = replace(WELL, battery=100.0, charging=charging)
    gate = row(judge_gates(settings, found), GateId.BATTERY)
    assert gate.holds is (charging is not True)
    assert "without" not in gate.opens


@pytest.mark.parametrize(
    ("celsius", "opens"), [(-0.1, False), (0.0, True), (45.0, True), (45.1, False)]
)
def test_too_hot_and_too_cold_hold(celsius: float, opens: bool) -> None:
    found = replace(WELL, temperature=celsius)
    assert row(judge_gates(ALL, found), GateId.TEMPERATURE).holds is not opens


@pytest.mark.parametrize("gate", [GateId.DISK, GateId.MEMORY])
@pytest.mark.parametrize(("free", "opens"), [(64 * MIB, True), (64 * MIB - 1, False)])
def test_room_is_held_to_its_bound(gate: GateId, free: int, opens: bool) -> None:
    found = replace(WELL, disk_free=free, memory_free=free)
    judged = row(judge_gates(ALL, found), gate)
    assert judged.holds is not opens
    assert judged.reason in {None, Reason.RESOURCE_STORAGE, Reason.RESOURCE_MEMORY}


@pytest.mark.parametrize(
    ("asked", "holds"),
    [
        (Asked(), True),
        (Asked(seconds_left=1.0), True),
        (Asked(seconds_left=0.0), False),
        (Asked(seconds_left=0.0, mandatory=True), True),
        (Asked(agreed=True, mandatory=True), False),
    ],
)
def test_an_answer_is_waited_for_within_its_bound_and_for_ever_where_it_is_mandatory(
    asked: Asked, holds: bool
) -> None:
    gate = row(judge_gates(ALL, replace(WELL, asked=asked)), GateId.CONSENT)
    assert gate.holds is holds
    assert ("mandatory" in gate.reading) is (asked.mandatory and holds)


def test_each_step_waits_for_its_own_gates() -> None:
    gates = judge_gates(ALL, NOBODY_KNOWS)
    names = {step: [str(item.gate) for item in holding(gates, step)] for step in Step}
    assert names == {
        Step.DOWNLOAD: ["disk", "metered", "download-window", "paused"],
        Step.TEST: ["battery", "temperature", "disk", "memory"],
        Step.ACTIVATE: [
            "stopped",
            "clinical-use",
            "battery",
            "temperature",
            "disk",
            "memory",
            "window",
            "consent",
            "components",
            "shadow",
        ],
    }
    assert set(HELD_STEPS) == set(GateId)


def test_what_only_time_opens_is_looked_at_then_and_all_else_soon() -> None:
    by_day = replace(WELL, local=datetime(2026, 6, 1, 21, 30, tzinfo=BERLIN))
    window = holding(judge_gates(ALL, by_day), Step.ACTIVATE)
    assert look_again(window, look_seconds=300.0) == 1800.0
    flat = replace(by_day, battery=1.0, charging=False)
    both = holding(judge_gates(ALL, flat), Step.ACTIVATE)
    assert look_again(both, look_seconds=300.0) == 1800.0
    only_flat = holding(judge_gates(ALL, replace(flat, local=NIGHT)), Step.ACTIVATE)
    assert look_again(only_flat, look_seconds=300.0) == 300.0
    at_once = replace(by_day, local=by_day.local and by_day.local + timedelta(minutes=30))
    assert not holding(judge_gates(ALL, at_once), Step.ACTIVATE)


# Sensors where the maker says that they are


def power(folder: Path, **attributes: str) -> str:
    folder.mkdir(exist_ok=True)
    for name, text in attributes.items():
        (folder / name).write_text(f"{text}\n")
    return str(folder)


def read(tmp_path: Path, **sources: str) -> Readings:
    return SystemSensors(tmp_path, Sources(**sources)).read()


@pytest.mark.parametrize(
    ("capacity", "status", "percent", "charging"),
    [
        ("57", "Discharging", 57.0, False),
        ("100", "Full", 100.0, True),
        ("57", "Charging", 57.0, True),
        ("57", "Unknown", 57.0, None),
        ("255", "Charging", None, True),
        ("-1", "", None, None),
        ("nan", "Charging", None, True),
        ("", "Charging", None, True),
    ],
)
def test_the_named_fuel_gauge_is_read_and_nonsense_is_no_reading(
    tmp_path: Path, capacity: str, status: str, percent: float | None, charging: bool | None
) -> None:
    gauge = power(tmp_path / "bq27441-0", capacity=capacity, status=status)
    found = read(tmp_path, battery=gauge)
    assert (found.battery, found.charging) == (percent, charging)


def test_the_named_charger_speaks_for_itself(tmp_path: Path) -> None:
    gauge = power(tmp_path / "gauge", capacity="50", status="Charging")
    assert read(tmp_path, battery=gauge, charger=str(tmp_path / "none")).charging is None
    charger = power(tmp_path / "usb", online="0")
    assert read(tmp_path, battery=gauge, charger=charger).charging is False
    power(tmp_path / "usb", online="1")
    assert read(tmp_path, battery=gauge, charger=charger).charging is True


@pytest.mark.parametrize(
    ("text", "celsius"),
    [("36600", 36.6), ("-5000", -5.0), ("999999", None), ("hot", None), (None, None)],
)
def test_the_named_temperature_is_read_in_thousandths(
    tmp_path: Path, text: str | None, celsius: float | None
) -> None:
    sensor = tmp_path / "temp"
    if text is not None:
        sensor.write_text(text)
    assert read(tmp_path, temperature=str(sensor)).temperature == celsius
