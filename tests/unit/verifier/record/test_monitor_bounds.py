"""Both sides of each bound of what a monitor counts, concludes and tells."""

from __future__ import annotations

import json
from dataclasses import replace
from math import inf
from typing import Any

import pytest
from tests.unit.verifier.record.test_monitor_judgement import LEAST, day, told, window
from tests.unit.verifier.record.test_monitor_tally import PLAN

from primum_verifier.record.cells import MAX_COUNT, is_shaped_like, withheld
from primum_verifier.record.cusum import run_length
from primum_verifier.record.monitor_judgement import MonitorMemory, window_ratio
from primum_verifier.record.monitor_tally import MonitorTally
from primum_verifier.record.monitor_telling import told_channels
from primum_verifier.record.sketch import SketchBins
from primum_verifier.record.stability import stability_index

BINS = SketchBins(accuracy=0.05, least=0.1, most=60_000.0)

# Counted


def test_nothing_was_dropped_of_a_window_that_begins() -> None:
    tally = MonitorTally(PLAN)
    assert tally.dropped == 0
    tally.dropped = 7
    tally.begin_window()
    assert tally.dropped == 0


def test_a_rate_of_nothing_is_counted() -> None:
    tally = MonitorTally(PLAN)
    tally.happened("low-quality", 0, 0, {})
    tally.happened("low-quality", 3, 3, {})
    assert tally.days["low-quality"] == [3, 3]


@pytest.mark.parametrize("value", [0.0, 0.1, 60_000.0, 1e300, inf])
def test_times_beyond_the_bins_are_in_the_first_and_the_last(value: float) -> None:
    assert BINS.bin_of(value) == (0 if value <= 0.1 else BINS.cells - 1)


def test_the_first_bin_stands_for_the_least_and_the_next_for_its_middle() -> None:
    assert BINS.value_of(0) == 0.1
    assert 0.1 < BINS.value_of(1) <= 0.1 * 1.05 / 0.95


def test_shares_of_other_bins_are_a_mistake_of_ours() -> None:
    with pytest.raises(ValueError, match="shorter"):
        stability_index([1, 2], [0.5])


def test_days_between_false_alarms_end_where_numbers_do() -> None:
    """At an exponent of 700 the number can still be written."""
    at_the_end = 700.0 - 1.166
    assert 0.5 * 2.0 * (at_the_end + 1.166) == 700.0
    assert run_length(0.5, at_the_end, sides=1) < inf
    assert run_length(0.5, at_the_end + 0.01, sides=1) == inf


# Withheld


def test_a_cell_of_just_the_smallest_size_is_told() -> None:
    assert withheld([11, 12, 40], 11) == [11, 12, 40]
    assert withheld([10, 12, 40], 11) == [None, None, 40]


@pytest.mark.parametrize(
    ("found", "wanted", "alike"),
    [
        ([[1]], [[0]], True),
        ([[1]], [0], False),
        ([1], [[0]], False),
        ([[MAX_COUNT]], [[0]], True),
        ([[MAX_COUNT + 1]], [[0]], False),
        ([0, 0], [0], False),
        ([], [0], False),
        ({"a": [0]}, {"a": [7]}, True),
        ({"a": [0]}, {"b": [7]}, False),
        ([True], [0], False),
        ([-1], [0], False),
    ],
)
def test_counters_have_the_shape_that_was_signed(found: Any, wanted: Any, *, alike: bool) -> None:
    assert is_shaped_like(found, wanted) is alike


# Concluded


def test_an_alarm_names_its_channel() -> None:
    memory = MonitorMemory(PLAN)
    drifted = window([240, 160, 175, 275, 420, 605, 8125])
    (found,) = memory.end_window(drifted)
    assert found.channel is PLAN.channel("score")
    found = [one for _ in range(3) for one in memory.end_day(day(0.9))][-1]
    assert found.channel is PLAN.channel("low-quality")


def test_a_day_at_its_limit_is_not_beyond_it() -> None:
    for rate, alarms in ((0.5, False), (0.5001, True)):
        memory = MonitorMemory(PLAN)
        found = [one for _ in range(3) for one in memory.end_day(day(rate))]
        assert (("electrode-loose", True) in told(found)) is alarms


def test_a_day_of_just_enough_counts() -> None:
    for of, alarms in ((999, False), (1000, True)):
        memory = MonitorMemory(PLAN)
        tally = MonitorTally(PLAN)
        tally.happened("low-quality", of, of, {})
        found = [one for _ in range(3) for one in memory.end_day(tally)]
        assert (("electrode-loose", True) in told(found)) is alarms


def test_a_quantile_rests_on_one_answer_beyond_it_at_least() -> None:
    channel = PLAN.channel("answer-time")
    (alarm,) = channel.alarms
    half = replace(alarm, quantile=0.5)
    counts = [0] * channel.cells
    counts[3] = 1
    assert window_ratio(channel, half, counts) is None
    counts[3] = 2
    assert window_ratio(channel, half, counts) is not None


# Kept


def spoiled(**members: Any) -> dict[str, Any]:
    kept: dict[str, Any] = json.loads(json.dumps(MonitorMemory(PLAN).as_dict()))
    for name, changes in members.items():
        if isinstance(changes, dict):
            kept[name] |= changes
        else:
            kept[name] = changes
    return kept


@pytest.mark.parametrize(
    ("kept", "why"),
    [
        (spoiled(sums={"low-quality": [inf, 0.0]}), "a sum that cannot be"),
        (spoiled(sums={"low-quality": [0.0, inf]}), "a sum that cannot be"),
        (spoiled(sums={"low-quality": [-0.1, 0.0]}), "a sum that cannot be"),
        (spoiled(sums={"more": [0.0, 0.0]}), "the memory is not that of the signed specification"),
        (spoiled(inARow={"more": 1}), "the memory is not that of the signed specification"),
        (spoiled(inARow={"score-drift": 10**6 + 1}), "a number in a row that cannot be"),
        (spoiled(inARow={"score-drift": 1.0}), "a number in a row that cannot be"),
        (spoiled(passed=["more"]), "an alarm that is not signed"),
    ],
)
def test_a_memory_that_cannot_be_is_said_to_be_none(kept: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=f"^{why}$"):
        MonitorMemory.from_dict(kept, PLAN)


def test_a_memory_at_its_bounds_is_read() -> None:
    every = sorted(MonitorMemory(PLAN).in_a_row)
    kept = spoiled(inARow={"score-drift": 10**6}, passed=every)
    assert MonitorMemory.from_dict(kept, PLAN).as_dict() == kept


def test_counters_of_another_specification_are_said_to_be_that() -> None:
    with pytest.raises(
        ValueError, match=r"^the counters are not those of the signed specification$"
    ):
        MonitorTally.from_dict({}, PLAN)


# Told


def channels(tally: MonitorTally) -> dict[str, Any]:
    return told_channels(PLAN, tally)


def test_of_few_answers_no_quantile_is_told() -> None:
    for count in (LEAST - 1, LEAST):
        tally = MonitorTally(PLAN)
        for _ in range(count):
            tally.observe("answer-time", 900.0, {})
        found = channels(tally)["answer-time"]
        enough = count >= LEAST
        assert (found["answers"] == count) is enough
        for name in ("p50Ms", "p95Ms", "p99Ms"):
            assert (found[name] is not None) is enough


def test_the_ratios_of_a_rate_are_those_of_its_days_and_in_no_window() -> None:
    tally = day(0.3)
    assert channels(tally)["low-quality"]["ratios"] == {}
    assert channels(tally)["alerts"]["ratios"] == {}
    assert set(channels(tally)["score"]["ratios"]) == {"score-notice", "score-drift"}


def test_alerts_are_told_from_the_smallest_size_on() -> None:
    for count, told_as in ((LEAST - 1, None), (LEAST, LEAST), (LEAST + 1, LEAST + 1)):
        tally = MonitorTally(PLAN)
        tally.happened("alerts", count, 7300, {})
        found = channels(tally)["alerts"]
        assert (found["events"], found["of"]) == (told_as, 2)


def test_a_breakdown_sums_up_to_nothing_that_is_withheld_and_is_told_where_nothing_is() -> None:
    for events, of, told_rows in ((40, 1000, True), (12, 1000, False)):
        tally = MonitorTally(PLAN)
        tally.happened("low-quality", events, of, {"age-band": "65-plus"})
        if not told_rows:
            # So many that those that are none are too few to be told.
            tally.happened("low-quality", of - events - 5, of - events, {"age-band": "18-44"})
            tally.cells[PLAN.channel("low-quality").start + 1] = events + of - events - 5 + 5
        found = channels(tally)["low-quality"]
        assert (found["events"] is not None) is told_rows
        groups = found["cohorts"]["age-band"]["groups"]
        cells = [*(row[0] for row in groups.values()), found["cohorts"]["age-band"]["unnamed"][0]]
        known = [cell for cell in cells if cell is not None]
        if told_rows:
            assert known == [40]
        else:
            assert len(known) <= len(cells) - 2


@pytest.mark.parametrize(("more", "hidden"), [(40, 0), (6, 2)])
def test_a_whole_breakdown_of_a_rate_is_told_unless_its_sum_is_withheld(
    more: int, hidden: int
) -> None:
    """Six samples that are no event are too few to be told, and so the sum is not told either."""
    tally = MonitorTally(PLAN)
    for group, events in (("18-44", 20), ("45-64", 30), ("65-plus", 40), ("unheard of", 50)):
        tally.happened("low-quality", events, events, {"age-band": group})
    tally.happened("low-quality", 0, more, {})
    found = channels(tally)["low-quality"]
    assert (found["events"] is None) is (hidden > 0)
    told_of = found["cohorts"]["age-band"]
    cells = [*(row[0] for row in told_of["groups"].values()), told_of["unnamed"][0]]
    assert cells.count(None) == hidden


def test_the_groups_of_a_breakdown_are_told_by_their_names_and_in_their_bins() -> None:
    tally = MonitorTally(PLAN)
    wanted = {"18-44": 20, "45-64": 30, "65-plus": 40, "unheard of": 50}
    for group, count in wanted.items():
        for _ in range(count):
            tally.observe("score", 0.07, {"age-band": group})
            tally.observe("score", 0.3, {"age-band": group})
    found = channels(tally)["score"]["cohorts"]["age-band"]
    for group in ("18-44", "45-64", "65-plus"):
        row = found["groups"][group]
        assert (row[1], row[3], len(row)) == (wanted[group], wanted[group], 7)
    assert (found["unnamed"][1], found["unnamed"][3]) == (50, 50)
