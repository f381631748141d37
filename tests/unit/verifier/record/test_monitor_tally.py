"""The counters of a monitor are what a plain recount finds, in whatever order it came."""

from __future__ import annotations

import json
from collections.abc import Callable
from math import isnan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.verifier.record.test_monitoring import SPECIFICATION

from primum_verifier.record.cells import MAX_COUNT
from primum_verifier.record.monitor_judgement import MonitorMemory
from primum_verifier.record.monitor_plan import MonitorPlan, read_plan
from primum_verifier.record.monitor_tally import MonitorTally, rate_of

PLAN = read_plan(json.dumps(SPECIFICATION).encode())
GROUPS = ("18-44", "45-64", "65-plus")
groups = st.dictionaries(
    st.sampled_from(["age-band", "sex"]), st.sampled_from([*GROUPS, "", "unheard of"]), max_size=2
)
values = st.tuples(
    st.sampled_from(["score", "rr-interval", "answer-time"]),
    st.none() | st.floats(allow_nan=True, allow_infinity=True) | st.sampled_from([0.05, 0.1, 400]),
    groups,
)
events = st.tuples(
    st.sampled_from(["low-quality", "alerts"]), st.integers(0, 50), st.integers(50, 10**6), groups
)
Step = tuple[Any, ...]


def tallied(steps: list[Step]) -> MonitorTally:
    tally = MonitorTally(PLAN)
    for step in steps:
        if len(step) == 3:
            tally.observe(*step)
        else:
            tally.happened(*step)
    return tally


@given(st.lists(values | events, max_size=60), st.randoms())
def test_counters_do_not_depend_on_the_order(steps: list[Step], random: Any) -> None:
    shuffled = list(steps)
    random.shuffle(shuffled)
    assert tallied(shuffled).as_dict() == tallied(steps).as_dict()


@given(st.lists(values | events, max_size=60), st.integers(0, 60))
def test_a_restart_is_no_restart_for_the_counters(steps: list[Step], cut: int) -> None:
    kept = json.loads(json.dumps(tallied(steps[:cut]).as_dict()))
    again = MonitorTally.from_dict(kept, PLAN)
    for step in steps[cut:]:
        (again.observe if len(step) == 3 else again.happened)(*step)
    assert again.as_dict() == tallied(steps).as_dict()


@given(st.lists(values, max_size=80))
def test_each_bin_holds_what_the_words_of_the_specification_say(steps: list[Step]) -> None:
    tally = tallied(steps)
    for name in ("score", "rr-interval"):
        channel = PLAN.channel(name)
        numbers = [value for one, value, _ in steps if one == name and value is not None]
        numbers = [value for value in numbers if not isnan(value)]
        bins = [sum(value >= edge for edge in channel.edges) for value in numbers]
        wanted = [bins.count(place) for place in range(channel.cells)]
        assert tally.of_everybody(channel) == wanted
        for key, group, counted in tally.by_group(channel):
            named = [v for one, v, found in steps if one == name and found.get(key) == group]
            assert sum(counted) == sum(v is not None and not isnan(v) for v in named)


@given(st.lists(events, max_size=40))
def test_a_rate_is_counted_for_its_day_and_its_window(steps: list[Step]) -> None:
    tally = tallied(steps)
    for name in ("low-quality", "alerts"):
        wanted = [sum(step[place] for step in steps if step[0] == name) for place in (1, 2)]
        assert tally.days[name] == wanted
        assert tally.of_everybody(PLAN.channel(name)) == wanted
    tally.begin_day()
    assert not any(map(sum, tally.days.values()))
    assert sum(tally.cells) == sum(tallied(steps).cells)
    tally.begin_window()
    assert not any(tally.cells)


def test_memory_is_what_was_signed_whatever_is_counted() -> None:
    tally = MonitorTally(PLAN)
    for number in range(20_000):
        tally.observe("score", number / 20_000, {"age-band": GROUPS[number % 3]})
    assert len(tally.cells) == PLAN.cells
    tally.cells[0] = MAX_COUNT
    tally.observe("score", 0.0, {})
    assert tally.cells[0] == MAX_COUNT


def test_a_rate_is_alerts_of_a_day_or_a_share() -> None:
    assert rate_of(PLAN.channel("alerts"), 3, 43_200) == 6.0
    assert rate_of(PLAN.channel("low-quality"), 3, 12) == 0.25


@pytest.mark.parametrize(
    "wrong",
    [
        lambda tally: tally.observe("alerts", 1.0, {}),
        lambda tally: tally.happened("score", 1, 2, {}),
        lambda tally: tally.happened("low-quality", 3, 2, {}),
        lambda tally: tally.happened("alerts", -1, 2, {}),
        lambda tally: tally.happened("alerts", 1, -2, {}),
    ],
)
def test_what_cannot_have_happened_is_not_counted(wrong: Callable[[MonitorTally], None]) -> None:
    tally = MonitorTally(PLAN)
    with pytest.raises(ValueError, match=r"rate|of"):
        wrong(tally)
    with pytest.raises(KeyError):
        tally.observe("unheard-of", 1.0, {})
    assert tally.as_dict() == MonitorTally(PLAN).as_dict()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda kept: kept["cells"].pop(),
        lambda kept: kept["cells"].__setitem__(0, -1),
        lambda kept: kept["cells"].__setitem__(0, 1.5),
        lambda kept: kept["days"].pop("alerts"),
        lambda kept: kept.pop("dropped"),
    ],
)
def test_counters_of_another_specification_are_not_read(spoil: Callable[[Any], None]) -> None:
    kept = MonitorTally(PLAN).as_dict()
    spoil(kept)
    with pytest.raises(ValueError, match="not those of the signed"):
        MonitorTally.from_dict(kept, PLAN)
    with pytest.raises(ValueError, match="not those of the signed"):
        MonitorTally.from_dict([], PLAN)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda kept: kept["sums"].pop("alerts"), "not that of the signed"),
        (lambda kept: kept["inARow"].pop("score-drift"), "not that of the signed"),
        (lambda kept: kept["sums"].update(alerts=[-1.0, 0.0]), "a sum"),
        (lambda kept: kept["sums"].update(alerts=[float("nan"), 0.0]), "a sum"),
        (lambda kept: kept["inARow"].update({"score-drift": -1}), "in a row"),
        (lambda kept: kept["inARow"].update({"score-drift": 1.5}), "in a row"),
        (lambda kept: kept["passed"].append("unheard-of"), "an alarm that is not signed"),
    ],
)
def test_a_memory_of_another_specification_is_not_read(
    spoil: Callable[[Any], None], words: str
) -> None:
    kept = MonitorMemory(PLAN).as_dict()
    spoil(kept)
    with pytest.raises(ValueError, match=words):
        MonitorMemory.from_dict(kept, PLAN)


@pytest.mark.parametrize("data", [b"{}", b"[]", b"nothing", b'{"channels": [{}]}', b"\xff"])
def test_what_is_no_specification_is_no_plan(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"no monitoring|Expecting|decode"):
        read_plan(data)


def test_a_plan_of_everybody_needs_no_groups() -> None:
    content = {name: value for name, value in SPECIFICATION.items() if name != "cohorts"}
    plan: MonitorPlan = read_plan(json.dumps(content).encode())
    assert plan.cells == 7 + 7 + 2 + 2 + 134
