"""Maintenance windows by what a clock on the wall shows: midnight, summer time, a clock at 1970."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primum_agent.clock import ClockQuality, FakeClock
from primum_agent.gate_rules import Gate, GateId, GateReadings, judge_gates
from primum_agent.gate_settings import GateSettings, WindowGate
from primum_agent.gate_window import is_open, next_opening, parse_span
from primum_agent.gates import read_gates
from primum_agent.sensors import FakeSensors
from primum_verifier.core.question import ClinicalUse
from primum_verifier.core.reasons import Reason

BERLIN = ZoneInfo("Europe/Berlin")
# Hypothesis takes bounds without a zone and adds it afterwards.
FIRST, LAST = datetime(2026, 1, 1), datetime(2027, 1, 1)  # noqa: DTZ001


def gate(
    spans: tuple[str, ...],
    clock: FakeClock,
    *,
    proven: datetime | None = None,
    zone: str = "Europe/Berlin",
) -> Gate:
    settings = GateSettings(window=WindowGate(zone=zone, spans=spans))
    found: GateReadings = read_gates(
        settings,
        declared=ClinicalUse.IDLE,
        sensors=FakeSensors(),
        clock=clock,
        proven=proven,
        asked=None,
        expected_seconds=0.0,
    )
    rows = judge_gates(settings, found)
    return next(item for item in rows if item.gate is GateId.WINDOW)


def utc(year: int, month: int, day: int, hour: int, minute: int = 0) -> FakeClock:
    return FakeClock(moment=datetime(year, month, day, hour, minute, tzinfo=UTC))


def local(year: int, month: int, day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(year, month, day, hour, minute, tzinfo=BERLIN)


# A clock that cannot be believed


def test_d05_a_clock_at_1970_opens_no_window_even_one_of_the_whole_day() -> None:
    clock = FakeClock(moment=datetime(1970, 1, 1, 2, tzinfo=UTC), grade=ClockQuality.UNSET)
    found = gate(("00:00-24:00",), clock)
    assert found.holds
    assert found.reason is Reason.TRUST_TIME_UNKNOWN
    assert "1970-01-01" in found.reading
    assert "never set" in found.reading
    assert "trusted clock" in found.opens


def test_d05_a_clock_before_what_has_certainly_passed_opens_no_window() -> None:
    """Set back by hand or by a flat cell: it runs, and it is wrong."""
    clock = utc(2026, 1, 1, 23)
    proven = datetime(2026, 6, 1, tzinfo=UTC)
    assert gate(("00:00-24:00",), clock, proven=proven).holds
    assert not gate(("00:00-24:00",), utc(2026, 6, 1, 1), proven=proven).holds


def test_a_counter_that_ran_fast_for_years_does_not_shut_the_windows_for_ever() -> None:
    """Proven time is an hour ahead after a year at 100 in a million, and never goes back."""
    proven = datetime(2026, 6, 1, 23, tzinfo=UTC)
    assert not gate(("00:00-24:00",), utc(2026, 6, 1, 17, 1), proven=proven).holds
    assert gate(("00:00-24:00",), utc(2026, 6, 1, 16, 59), proven=proven).holds


def test_a_clock_that_runs_free_but_was_set_is_believed() -> None:
    clock = FakeClock(moment=datetime(2026, 6, 1, 21, tzinfo=UTC), grade=ClockQuality.FREE_RUNNING)
    assert not gate(("22:00-05:00",), clock).holds


def test_a_device_without_zones_holds_and_says_so() -> None:
    found = gate(("00:00-24:00",), utc(2026, 6, 1, 23), zone="Nowhere/Land")
    assert found.holds
    assert "does not know the zone" in found.reading


# Midnight


@pytest.mark.parametrize(
    ("at", "opens"),
    [
        ((2026, 6, 1, 21, 59), False),
        ((2026, 6, 1, 22, 0), True),
        ((2026, 6, 1, 23, 59), True),
        ((2026, 6, 2, 0, 0), True),
        ((2026, 6, 2, 4, 59), True),
        ((2026, 6, 2, 5, 0), False),
    ],
)
def test_a_window_over_midnight_is_one_window(
    at: tuple[int, int, int, int, int], opens: bool
) -> None:
    assert is_open([parse_span("22:00-05:00")], local(*at)) is opens


@pytest.mark.parametrize(
    ("at", "opens"),
    [
        ((2026, 6, 5, 23, 0), True),  # a Friday
        ((2026, 6, 6, 1, 0), True),  # the Saturday morning after it
        ((2026, 6, 6, 23, 0), False),
        ((2026, 6, 5, 1, 0), False),  # the morning after Thursday
    ],
)
def test_the_days_of_a_window_over_midnight_are_those_on_which_it_begins(
    at: tuple[int, int, int, int, int], opens: bool
) -> None:
    assert is_open([parse_span("fri 22:00-02:00")], local(*at)) is opens


def test_sunday_night_goes_on_into_monday() -> None:
    assert is_open([parse_span("sun 23:00-01:00")], local(2026, 6, 8, 0, 30))


def test_the_next_opening_is_told_and_waited_for() -> None:
    found = gate(("sat,sun 12:00-14:00",), utc(2026, 6, 1, 10))  # a Monday
    assert found.opens == "Sat 2026-06-06 12:00 Europe/Berlin"
    assert found.seconds == 5 * 86_400


# Summer time: 2026-03-29 02:00 -> 03:00, 2026-10-25 03:00 -> 02:00 in Berlin


def test_d06_a_window_inside_the_hour_that_is_missing_opens_on_the_next_night() -> None:
    spans = [parse_span("02:00-03:00")]
    evening = local(2026, 3, 28, 22)
    assert next_opening(spans, evening) == local(2026, 3, 30, 2)
    minute = evening.astimezone(UTC)
    night = [minute + timedelta(minutes=count) for count in range(600)]
    assert not any(is_open(spans, at.astimezone(BERLIN)) for at in night)


def test_d06_a_window_over_the_missing_hour_opens_and_is_an_hour_shorter() -> None:
    spans = [parse_span("01:00-04:00")]
    start = local(2026, 3, 29, 0).astimezone(UTC)
    night = [start + timedelta(minutes=count) for count in range(600)]
    assert sum(is_open(spans, at.astimezone(BERLIN)) for at in night) == 120


def test_d06_a_window_inside_the_doubled_hour_opens_twice() -> None:
    spans = [parse_span("02:00-03:00")]
    start = local(2026, 10, 25, 0).astimezone(UTC)
    night = [start + timedelta(minutes=count) for count in range(600)]
    assert sum(is_open(spans, at.astimezone(BERLIN)) for at in night) == 120


def test_d06_the_wait_for_a_window_counts_real_seconds_over_the_change() -> None:
    found = gate(("04:00-05:00",), utc(2026, 3, 28, 23))  # midnight in Berlin
    assert found.opens == "Sun 2026-03-29 04:00 Europe/Berlin"
    assert found.seconds == 3 * 3600


def test_d06_year_2038_is_a_year_as_any_other() -> None:
    assert not gate(("00:00-24:00",), utc(2038, 1, 20, 3)).holds


# Any window at any moment

hours = st.integers(0, 23)
minutes = st.integers(0, 59)


@given(
    begins=st.tuples(hours, minutes),
    ends=st.tuples(hours, minutes),
    at=st.datetimes(FIRST, LAST),
)
def test_the_next_opening_is_open_and_nothing_before_it_is(
    begins: tuple[int, int], ends: tuple[int, int], at: datetime
) -> None:
    if begins == ends:
        return
    spans = [parse_span("{:02}:{:02}-{:02}:{:02}".format(*begins, *ends))]
    now = at.replace(tzinfo=UTC, second=0, microsecond=0)
    opening = next_opening(spans, now.astimezone(BERLIN))
    assert opening is not None
    assert is_open(spans, opening)
    if opening.astimezone(UTC) > now:
        before = opening.astimezone(UTC) - timedelta(minutes=1)
        assert not is_open(spans, before.astimezone(BERLIN))
        assert not is_open(spans, now.astimezone(BERLIN))


@pytest.mark.parametrize(
    "text",
    ["", "22:00", "22-05", "24:00-05:00", "10:00-24:01", "10:00-10:00", "mo 10:00-11:00", " 1"],
)
def test_what_is_no_span_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a span"):
        parse_span(text)


SETTINGS = """
[gates.window]
zone = "{zone}"
spans = {spans}
"""


@pytest.mark.parametrize(
    ("zone", "spans"),
    [
        ("Europe/Berln", '["22:00-05:00"]'),
        ("../etc/passwd", '["22:00-05:00"]'),
        ("Europe/Berlin", "[]"),
        ("Europe/Berlin", '["22:00"]'),
    ],
)
def test_a_mistyped_window_is_refused_with_the_member(
    in_the_field: Any, zone: str, spans: str
) -> None:
    in_the_field.more_settings = SETTINGS.format(zone=zone, spans=spans)
    in_the_field.write("agent.toml", in_the_field.settings().encode())
    done = in_the_field.agent("check", "--provisioning", in_the_field.provisioning)
    assert done.returncode == 2
    assert "gates.window" in done.stderr
    assert not Path(in_the_field.layout.journal).exists()
