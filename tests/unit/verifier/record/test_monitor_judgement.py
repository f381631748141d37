"""An alarm passes when its signed limit says so, and what leaves a device finds nobody."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.verifier.record.test_monitor_tally import PLAN, Step, events, tallied, values
from tests.unit.verifier.record.test_monitoring import ALERTS, QUALITY, SPECIFICATION, TIMES

from primum_verifier.record.monitor_judgement import Found, MonitorMemory, told_ratio, window_ratio
from primum_verifier.record.monitor_plan import MonitorPlan, read_plan
from primum_verifier.record.monitor_report import MonitorReport
from primum_verifier.record.monitor_tally import MonitorTally
from primum_verifier.record.monitor_telling import told_channels
from primum_verifier.record.words import MonitorAction

LEAST = 11
EXPECTED = [8125, 605, 420, 275, 175, 160, 240]
VALUES = [0.01, 0.07, 0.2, 0.3, 0.6, 0.8, 0.95]


def day(low_quality: float, alerts: int = 2) -> MonitorTally:
    tally = MonitorTally(PLAN)
    tally.happened("low-quality", round(low_quality * 10_000), 10_000, {})
    tally.happened("alerts", alerts, 72_000, {})
    return tally


def window(counts: list[int]) -> MonitorTally:
    tally = MonitorTally(PLAN)
    start = PLAN.channel("score").start
    tally.cells[start : start + len(counts)] = counts
    return tally


def told(found: list[Found]) -> list[tuple[str, bool]]:
    return [(one.alarm.id, one.passed) for one in found]


def test_a_window_that_is_as_expected_is_quiet_and_one_that_drifted_is_not() -> None:
    memory = MonitorMemory(PLAN)
    assert memory.end_window(window(EXPECTED)) == []
    drifted = window(EXPECTED[::-1])
    assert told(memory.end_window(drifted)) == [("score-notice", True)]
    assert told(memory.end_window(drifted)) == [("score-drift", True)], "its second in a row"
    assert memory.end_window(drifted) == [], "said once"
    assert told(memory.end_window(window(EXPECTED))) == [
        ("score-notice", False),
        ("score-drift", False),
    ]


def test_a_window_that_says_nothing_neither_alarms_nor_calms() -> None:
    memory = MonitorMemory(PLAN)
    memory.end_window(window(EXPECTED[::-1]))
    few = window([0, 0, 0, 0, 0, 0, 11])
    assert memory.end_window(few) == []
    assert memory.passed == {"score-notice"}
    assert told(memory.end_window(window(EXPECTED[::-1]))) == [("score-drift", True)]


def test_a_small_lasting_change_of_a_rate_adds_up_and_chance_does_not() -> None:
    memory = MonitorMemory(PLAN)
    for number in range(60):
        assert memory.end_day(day(0.064 + (0.019 if number % 2 else -0.019))) == []
    found = [told(memory.end_day(day(0.104))) for _ in range(11)]
    assert found == [[]] * 10 + [[("electrode-notice", True)]], "0.2 after ten days of 0.02 each"


def test_a_day_beyond_its_limit_asks_for_the_stop_that_was_signed() -> None:
    memory = MonitorMemory(PLAN)
    found = [one for _ in range(3) for one in memory.end_day(day(0.6))]
    assert told(found) == [("electrode-notice", True), ("electrode-loose", True)]
    assert found[1].alarm.action is MonitorAction.SUSPEND_REQUEST
    assert found[1].alarm.hazard.startswith("HZ-11")
    assert found[1].ratio == 1.2


def test_what_lasted_for_months_ends_within_days_of_its_end() -> None:
    memory = MonitorMemory(PLAN)
    for _ in range(200):
        memory.end_day(day(0.9))
    assert memory.sums["low-quality"].up == 0.4
    quiet = [told(memory.end_day(day(0.064))) for _ in range(11)]
    assert quiet[0] == [("electrode-loose", False)]
    assert quiet.index([("electrode-notice", False)]) == 9


def test_a_day_of_too_little_says_nothing() -> None:
    memory = MonitorMemory(PLAN)
    tally = MonitorTally(PLAN)
    tally.happened("low-quality", 999, 999, {})
    tally.happened("alerts", 100, 14_399, {})
    for _ in range(9):
        assert memory.end_day(tally) == []
    assert memory.as_dict() == MonitorMemory(PLAN).as_dict()


@pytest.mark.parametrize(
    ("direction", "alerts", "alarms"),
    [("up", 0, False), ("down", 0, True), ("both", 0, True), ("up", 9, True), ("down", 9, False)],
)
def test_a_rate_alarms_in_the_direction_that_was_signed(
    direction: str, alerts: int, alarms: bool
) -> None:
    content = copy.deepcopy(SPECIFICATION)
    content["channels"][ALERTS] |= {"direction": direction, "slack": "0.1"}
    memory = MonitorMemory(read_plan(json.dumps(content).encode()))
    found = [one for _ in range(20) for one in memory.end_day(day(0.064, alerts))]
    assert ("alarm-burden" in [one.alarm.id for one in found]) is alarms


def test_a_rate_without_a_sum_is_followed_all_the_same() -> None:
    content = copy.deepcopy(SPECIFICATION)
    content["channels"][QUALITY]["alarms"].pop(0)
    memory = MonitorMemory(read_plan(json.dumps(content).encode()))
    found = [one for _ in range(3) for one in memory.end_day(day(0.6))]
    assert told(found) == [("electrode-loose", True)]


def test_slow_answers_alarm_by_their_quantile_and_an_anecdote_does_not() -> None:
    memory = MonitorMemory(PLAN)
    tally = MonitorTally(PLAN)
    for _ in range(18):
        tally.observe("answer-time", 900.0, {})
    for _ in range(2):
        assert memory.end_window(tally) == []
    for _ in range(2):
        tally.observe("answer-time", 900.0, {})
    found = [one for _ in range(2) for one in memory.end_window(tally)]
    assert told(found) == [("slow-answers", True)]
    assert found[0].ratio in {4.3, 4.4, 4.5, 4.6, 4.7}
    times = PLAN.channel("answer-time")
    assert window_ratio(times, times.alarms[0], [0] * times.cells) is None


@given(
    st.lists(st.lists(events, max_size=6), min_size=1, max_size=8), st.integers(0, 8), st.booleans()
)
def test_a_restart_is_no_restart_for_what_is_concluded(
    days: list[list[Step]], cut: int, windows: bool
) -> None:
    straight, broken = MonitorMemory(PLAN), MonitorMemory(PLAN)
    for number, steps in enumerate(days):
        tally = tallied(steps)
        if number == cut:
            broken = MonitorMemory.from_dict(json.loads(json.dumps(broken.as_dict())), PLAN)
        assert straight.end_day(tally) == broken.end_day(tally)
        if windows:
            assert straight.end_window(tally) == broken.end_window(tally)
    assert straight.as_dict() == broken.as_dict()


# What leaves the device


def rows_of(cohort: dict[str, Any]) -> list[list[int | None]]:
    return [*cohort["groups"].values(), cohort["unnamed"]]


@given(st.lists(values | events, max_size=40), st.integers(1, 60), st.booleans())
def test_no_small_cell_leaves_and_none_follows_from_a_sum(
    steps: list[Step], times: int, groups: bool
) -> None:
    found = told_channels(PLAN, tallied(steps * times), groups=groups)
    for name, channel in found.items():
        cells = told_cells(channel)
        assert all(cell is None or cell >= LEAST for cell in cells)
        if channel["kind"] == "distribution":
            assert cells.count(None) != 1
        assert ("cohorts" in channel) is (groups and name != "answer-time")
        for cohort in channel.get("cohorts", {}).values():
            for column, everybody in zip(zip(*rows_of(cohort), strict=True), cells, strict=True):
                assert all(cell is None or cell >= LEAST for cell in column)
                assert column.count(None) != 1
                if everybody is None:
                    assert column.count(None) >= 2
    MonitorReport.model_validate_json(json.dumps(report(found)))


def told_cells(channel: dict[str, Any]) -> list[int | None]:
    if channel["kind"] == "distribution":
        return list(channel["cells"])
    return [channel["events" if channel["kind"] == "rate" else "answers"]]


def report(channels: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": "urn:uuid:6f0d2c1e-7b5a-4d0e-9c3f-000000000042",
        "source": "urn:primum:device:wearable-017",
        "type": "primum.device.monitor.summarised",
        "time": "2026-06-08T00:00:00Z",
        "datacontenttype": "application/json",
        "data": {
            "release": "a" * 64,
            "statement": "b" * 64,
            "statementNumber": 1,
            "monitoringSpecification": "c" * 64,
            "agentVersion": "0.1.0",
            "clock": {"quality": "synchronised"},
            "window": 1,
            "windowHours": 168,
            "minimumCellCount": LEAST,
            "cutShort": 0,
            "dropped": 0,
            "alarms": [],
            "channels": channels,
        },
    } | members


def test_a_bin_that_is_withheld_for_the_sake_of_another_is_not_told_group_by_group() -> None:
    """One bin of everybody is small, so a second one is withheld: its groups would add up to it."""
    tally = MonitorTally(PLAN)
    for place, value in enumerate(VALUES):
        for group in ("18-44", "45-64", "65-plus", "of no signed group"):
            for _ in range(1 if place == 0 else 20 + place):
                tally.observe("score", value, {"age-band": group})
    told = told_channels(PLAN, tally)["score"]
    assert told["cells"][:3] == [None, None, 88]
    columns = list(zip(*rows_of(told["cohorts"]["age-band"]), strict=True))
    assert columns[0].count(None) == 4
    assert columns[1].count(None) == 2
    assert columns[2] == (22, 22, 22, 22)


def test_a_share_tells_neither_its_few_events_nor_the_few_that_are_none() -> None:
    for happened, of, expected in (
        (500, 1000, (500, 1000)),
        (10, 1000, (None, None)),
        (995, 1000, (None, None)),
    ):
        tally = MonitorTally(PLAN)
        tally.happened("low-quality", happened, of, {})
        tally.happened("alerts", happened, of * 3600, {})
        found = told_channels(PLAN, tally)
        assert (found["low-quality"]["events"], found["low-quality"]["of"]) == expected
        assert found["alerts"]["of"] == of, "hours"


def test_ratios_are_told_so_that_no_count_follows() -> None:
    found = told_channels(PLAN, window(EXPECTED[::-1]))
    assert found["score"]["size"] == "large"
    assert found["score"]["ratios"]["score-drift"] == round(
        found["score"]["ratios"]["score-drift"], 1
    )
    assert found["rr-interval"]["ratios"] == {"rr-drift": None}
    assert told_ratio(1e9) == 1000.0


@pytest.mark.parametrize("time", ["2026-06-08T00:00:01Z", "2026-06-08T07:00:00Z"])
def test_a_summary_that_says_when_somebody_was_there_is_refused(time: str) -> None:
    content = report(told_channels(PLAN, MonitorTally(PLAN)))
    MonitorReport.model_validate_json(json.dumps(content))
    with pytest.raises(ValueError, match="the day and no more"):
        MonitorReport.model_validate_json(json.dumps(content | {"time": time}))


def test_a_specification_of_times_alone_is_told() -> None:
    content = {**SPECIFICATION, "channels": [SPECIFICATION["channels"][TIMES]]}
    plan: MonitorPlan = read_plan(json.dumps(content).encode())
    tally = MonitorTally(plan)
    for _ in range(LEAST):
        tally.observe("answer-time", 20.0, {})
    found = told_channels(plan, tally)["answer-time"]
    assert found["answers"] == LEAST
    assert 19.0 <= found["p95Ms"] <= 21.0
