"""The plain reader finds in a specification what the strict one does, member by member."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.unit.verifier.record.test_monitoring import SPECIFICATION

from primum_verifier.core.document import parse_document
from primum_verifier.record.monitor_plan import MonitorPlan, PlannedAlarm, PlannedChannel, read_plan
from primum_verifier.record.monitoring import MonitoringSpecification
from primum_verifier.record.words import MonitorAction


def plan_of(content: dict[str, Any]) -> MonitorPlan:
    return read_plan(json.dumps(content).encode())


@pytest.fixture
def plan() -> MonitorPlan:
    """Read anew for each test: what reads it is what is tested."""
    return plan_of(SPECIFICATION)


def written(name: str) -> dict[str, Any]:
    """A channel as it is written."""
    return next(item for item in SPECIFICATION["channels"] if item["id"] == name)


def numbers(texts: list[str]) -> tuple[float, ...]:
    return tuple(float(text) for text in texts)


def test_a_plan_is_of_its_component_window_and_groups(plan: MonitorPlan) -> None:
    assert plan.component == SPECIFICATION["component"]
    assert plan.window_hours == SPECIFICATION["windowHours"]
    assert plan.least_cell == SPECIFICATION["suppression"]["minimumCellCount"]
    assert plan.cohorts == {"age-band": ("18-44", "45-64", "65-plus")}
    data = json.dumps(SPECIFICATION).encode()
    assert plan.cells == parse_document(MonitoringSpecification, data, where="test").cells
    assert plan_of({**SPECIFICATION, "cohorts": []}).cohorts == {}


def test_a_distribution_has_its_bins_and_its_reference(plan: MonitorPlan) -> None:
    found, said = plan.channel("score"), written("score")
    assert (found.kind, found.measures, found.source) == (
        "distribution",
        said["measures"],
        said["source"],
    )
    assert found.edges == numbers(said["edges"])
    assert found.proportions == numbers(said["reference"]["proportions"])
    assert (found.n, found.cells) == (said["reference"]["n"], len(said["edges"]) + 1)
    assert found.overdispersion == float(said["reference"]["overdispersion"])
    assert (found.sketch, found.rate, found.slack, found.least) == (None, 0.0, 0.0, 0)


def test_a_rate_has_its_reference_and_its_directions(plan: MonitorPlan) -> None:
    for name, directions in (("low-quality", {"up"}), ("alerts", {"up", "down"})):
        found, said = plan.channel(name), written(name)
        assert (found.kind, found.measures, found.source) == ("rate", said["measures"], "")
        assert found.rate == float(said["reference"]["rate"])
        assert (found.slack, found.least) == (float(said["slack"]), said["leastPerDay"])
        assert found.directions == frozenset(directions)
        assert found.cells == 2


def test_times_have_their_sketch(plan: MonitorPlan) -> None:
    found, said = plan.channel("answer-time"), written("answer-time")
    assert found.sketch is not None
    assert (found.sketch.accuracy, found.sketch.least, found.sketch.most) == (
        float(said["relativeAccuracy"]),
        float(said["leastMs"]),
        float(said["mostMs"]),
    )
    assert (found.measures, found.source, found.cells) == (
        "",
        said["source"],
        found.sketch.cells,
    )


def test_an_alarm_has_its_action_its_hazard_and_its_limit(plan: MonitorPlan) -> None:
    alarms = {alarm.id: alarm for channel in plan.channels for alarm in channel.alarms}
    for channel in SPECIFICATION["channels"]:
        for said in channel["alarms"]:
            limit = next(
                name
                for name in ("chiSquareQuantile", "decisionInterval", "dayLimit", "limitMs")
                if name in said
            )
            assert alarms[said["id"]] == PlannedAlarm(
                id=said["id"],
                action=MonitorAction(said["action"]),
                hazard=said.get("hazardRef", ""),
                in_a_row=said["windowsInARow"],
                limit=float(said[limit]),
                by_sum=limit == "decisionInterval",
                quantile=float(said.get("quantile", 0)),
            )
    assert {alarm.hazard != "" for alarm in alarms.values()} == {True, False}


def test_counters_lie_one_behind_the_other_and_everybody_first(plan: MonitorPlan) -> None:
    place = 0
    for channel in plan.channels:
        slots = list(plan.slots(channel))
        assert slots[0] == ("", "", place)
        groups = [] if channel.sketch is not None else ["18-44", "45-64", "65-plus"]
        assert slots[1:] == [
            ("age-band", group, place + channel.cells * (at + 1)) for at, group in enumerate(groups)
        ]
        place += channel.cells * len(slots)
    assert place == plan.cells


def test_what_goes_where(plan: MonitorPlan) -> None:
    channel: PlannedChannel = plan.channel("score")
    first, cells = channel.start, channel.cells
    assert plan.starts(channel, {"age-band": "45-64"}) == [first, first + 2 * cells]
    assert plan.starts(channel, {"age-band": "unheard of", "sex": "45-64"}) == [first]
    assert plan.starts(channel, {}) == [first]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"{}", "KeyError"),
        (b"[]", "AttributeError"),
        (b"[" * 100_000, "RecursionError"),
        (json.dumps({**SPECIFICATION, "windowHours": None}).encode(), "TypeError"),
    ],
)
def test_what_is_no_specification_is_said_to_be_none(data: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=f"^no monitoring specification: {said}$"):
        read_plan(data)
