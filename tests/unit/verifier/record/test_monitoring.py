"""A monitoring specification that could mislead a device, or find a person, is refused."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primum_verifier.core.document import parse_document
from primum_verifier.core.errors import RefusedError
from primum_verifier.core.reasons import Reason
from primum_verifier.record.monitor_plan import read_plan
from primum_verifier.record.monitoring import MonitoringSpecification
from primum_verifier.record.words import MonitorAction

EXAMPLES = Path(__file__).parents[4] / "docs" / "examples"
WHOLE: dict[str, Any] = json.loads((EXAMPLES / "monitoring-specification.json").read_text("utf-8"))
SPECIFICATION = {name: value for name, value in WHOLE.items() if name != "shadow"}
"""What is counted of a shadow is test_shadow's."""

SCORE, RHYTHM, QUALITY, ALERTS, TIMES = range(5)


def read(content: dict[str, Any]) -> MonitoringSpecification:
    return parse_document(MonitoringSpecification, json.dumps(content).encode(), where="test")


def changed(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    content = copy.deepcopy(SPECIFICATION)
    change(content)
    return content


def channel(number: int, **members: Any) -> Callable[[dict[str, Any]], object]:
    return lambda content: content["channels"][number].update(members)


def alarm(number: int, place: int, **members: Any) -> Callable[[dict[str, Any]], object]:
    return lambda content: content["channels"][number]["alarms"][place].update(members)


def reference(number: int, **members: Any) -> Callable[[dict[str, Any]], object]:
    return lambda content: content["channels"][number]["reference"].update(members)


def proportions(*shares: str) -> Callable[[dict[str, Any]], object]:
    return reference(SCORE, proportions=list(shares))


WRONG: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "edges that fall": (
        channel(SCORE, edges=["0.05", "0.1", "0.25", "0.5", "0.9", "0.75"]),
        "the edges do not strictly rise",
    ),
    "one edge in two spellings": (
        channel(SCORE, edges=["0.05", "0.1", "0.25", "0.5", "0.50", "0.9"]),
        "the edges do not strictly rise",
    ),
    "a proportion for each edge instead of each bin": (
        proportions("0.8365", "0.0605", "0.042", "0.0275", "0.0175", "0.016"),
        "one proportion for each bin",
    ),
    "proportions a hair below one": (
        proportions("0.8125", "0.0605", "0.042", "0.0275", "0.0175", "0.016", "0.0239999999999"),
        "do not add up to exactly 1",
    ),
    "a bin that is never expected": (
        proportions("0.8365", "0.0605", "0.042", "0.0275", "0.0175", "0.016", "0.0"),
        "a bin that is never expected",
    ),
    "a share above one": (proportions("1.1", *["0.1"] * 6), "should match pattern"),
    "a number with an exponent": (
        channel(SCORE, edges=["1e-2", "0.1", "0.25", "0.5", "0.75", "0.9"]),
        "should match pattern",
    ),
    "digits of another alphabet": (
        channel(SCORE, edges=["0.05", "0.1", "0.25", "0.\u0665", "0.75", "0.9"]),
        "should match pattern",
    ),
    "a window shorter than a day": (
        lambda content: content.update(windowHours=23),
        "greater than or equal to 24",
    ),
    "cells small enough to find a person": (
        lambda content: content["suppression"].update(minimumCellCount=10),
        "greater than or equal to 11",
    ),
    "no second cell withheld": (
        lambda content: content["suppression"].update(complementary="none"),
        "Input should be 'withhold-a-second-cell'",
    ),
    "a limit of a day for which no hazard was weighed": (
        alarm(QUALITY, 1, hazardRef=None),
        "needs a hazardRef",
    ),
    "an order that no device can carry out": (
        alarm(SCORE, 1, action="restrict", hazardRef="HZ-1"),
        "Input should be 'log'",
    ),
    "a suspension for which no hazard was weighed": (
        alarm(ALERTS, 0, hazardRef=None),
        "needs a hazardRef",
    ),
    "drift that widens": (alarm(SCORE, 1, action="activate"), "Input should be 'log'"),
    "a quantile that noise passes every other window": (
        alarm(SCORE, 0, chiSquareQuantile="6"),
        "not above its degrees of freedom",
    ),
    "an alarm by the toss of a coin": (
        alarm(SCORE, 0, probability="0.5"),
        "from 0.9 to below 1",
    ),
    "an alarm that never comes": (alarm(SCORE, 0, probability="1"), "from 0.9 to below 1"),
    "a farther limit that lies nearer": (
        alarm(SCORE, 1, chiSquareQuantile="12"),
        "each alarm is farther",
    ),
    "two alarms with one limit": (
        alarm(SCORE, 1, chiSquareQuantile="16.8119", windowsInARow=1),
        "each alarm is farther",
    ),
    "more windows for a nearer limit": (alarm(SCORE, 0, windowsInARow=3), "each alarm is farther"),
    "a farther limit that lifts what was ordered": (
        alarm(SCORE, 0, action="suspend-request", hazardRef="HZ-1"),
        "asks for less than a nearer one",
    ),
    "no slack": (channel(QUALITY, slack="0"), "every limit are above 0"),
    "days that are all alike": (
        reference(QUALITY, standardDeviation="0"),
        "every limit are above 0",
    ),
    "no decision interval": (
        alarm(ALERTS, 0, decisionInterval="0.00"),
        "every limit are above 0",
    ),
    "a run length that nobody reckoned": (
        alarm(ALERTS, 0, inControlDays=None),
        "decisionInterval and inControlDays stand together",
    ),
    "an alarm of a rate without a limit": (
        alarm(QUALITY, 1, dayLimit=None),
        "a decisionInterval or a dayLimit",
    ),
    "an alarm of a rate with two limits": (
        alarm(QUALITY, 0, dayLimit="0.4"),
        "a decisionInterval or a dayLimit",
    ),
    "a run length that this slack and interval do not have": (
        alarm(QUALITY, 0, inControlDays=1100),
        "is silent for inControlDays",
    ),
    "a run length of one side for a CUSUM of two": (
        alarm(ALERTS, 0, inControlDays=930),
        "is silent for inControlDays",
    ),
    "a slack that follows nothing": (
        channel(ALERTS, slack="1.61"),
        "slack is at most one standardDeviation",
    ),
    "a limit of a day below what is expected": (
        alarm(QUALITY, 1, dayLimit="0.064"),
        "a dayLimit is above what is expected",
    ),
    "a day of which nothing is asked": (channel(QUALITY, leastPerDay=0), "greater than or equal"),
    "a sketch that is wrong by half": (
        channel(TIMES, relativeAccuracy="0.3"),
        "relativeAccuracy is from",
    ),
    "a sketch that is exact": (channel(TIMES, relativeAccuracy="0.001"), "relativeAccuracy is"),
    "times from nothing": (channel(TIMES, leastMs="0"), "leastMs is above 0"),
    "times from above to below": (channel(TIMES, leastMs="70000"), "leastMs is above 0"),
    "a sketch without end": (
        channel(TIMES, relativeAccuracy="0.005", leastMs="0.0001"),
        "counters of one sketch",
    ),
    "a median that alarms at the fastest": (alarm(TIMES, 0, quantile="0.4"), "a quantile of times"),
    "the slowest answer of all": (alarm(TIMES, 0, quantile="1"), "a quantile of times"),
    "a limit that no time can pass": (
        alarm(TIMES, 0, limitMs="60000"),
        "limitMs is between",
    ),
    "a share of more than all": (reference(QUALITY, rate="1.01"), "a share is at most 1"),
    "one channel twice": (channel(RHYTHM, id="score"), "one channel stands twice"),
    "one alarm twice": (alarm(ALERTS, 0, id="score-drift"), "one alarm stands twice"),
    "one cohort key twice": (
        lambda content: content.update(cohorts=content["cohorts"] * 2),
        "one cohort key stands twice",
    ),
    "one group twice": (
        lambda content: content["cohorts"][0].update(groups=["adult", "adult"]),
        "one group stands twice",
    ),
    "more counters than a wearable holds": (
        lambda content: content.update(
            cohorts=[
                {"key": f"key-{number}", "groups": [f"g{group}" for group in range(32)], "why": ""}
                for number in range(8)
            ],
            channels=[
                {**content["channels"][RHYTHM], "id": f"channel-{number}", "alarms": []}
                for number in range(5)
            ],
        ),
        "counters are more than",
    ),
    "a channel of no kind": (channel(SCORE, kind="histogram"), "does not match any of"),
    "no channel": (lambda content: content.update(channels=[]), "at least 1 item"),
    "a reference that nobody made": (
        lambda content: content["channels"][SCORE]["reference"].pop("madeBy"),
        "Field required",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_it_is_refused(name: str) -> None:
    change, words = WRONG[name]
    with pytest.raises(RefusedError) as caught:
        read(changed(change))
    assert caught.value.reason is Reason.DOCUMENT_INVALID
    assert words in caught.value.found


RIGHT: dict[str, Callable[[dict[str, Any]], object]] = {
    "as it stands": lambda content: content,
    "a window of a day": lambda content: content.update(windowHours=24),
    "an alarm rate above one": reference(ALERTS, rate="30"),
    "a share of all": lambda content: content["channels"][QUALITY].update(
        reference={**content["channels"][QUALITY]["reference"], "rate": "1"},
        alarms=content["channels"][QUALITY]["alarms"][:1],
    ),
    "the same limit for longer": alarm(SCORE, 1, chiSquareQuantile="16.8119", windowsInARow=2),
    "a farther limit as often": alarm(SCORE, 1, windowsInARow=1),
    "a channel that is only counted": channel(SCORE, alarms=[]),
    "a rate that is only counted": channel(ALERTS, alarms=[]),
    "a slack of one deviation": lambda content: content["channels"][ALERTS].update(
        slack="1.6",
        alarms=[{**content["channels"][ALERTS]["alarms"][0], "inControlDays": 200}],
    ),
    "times that are only counted": channel(TIMES, alarms=[]),
    "a day's limit that is nearer than a sum": alarm(QUALITY, 1, dayLimit="0.1"),
    "one edge, two open ends": lambda content: content["channels"][SCORE].update(
        edges=["-0.5"],
        reference={**content["channels"][SCORE]["reference"], "proportions": ["0.5", "0.5"]},
        alarms=[],
    ),
}


@pytest.mark.parametrize("name", RIGHT)
def test_it_is_read(name: str) -> None:
    content = changed(RIGHT[name])
    again = json.loads(read(content).to_bytes())
    again.pop("crit", None)
    assert again == content


def counted(count: int) -> Callable[[dict[str, Any]], object]:
    """One distribution of so many inner edges, and no alarm."""
    shares = [10**6 // (count + 1)] * count
    shares.append(10**6 - sum(shares))

    def change(content: dict[str, Any]) -> None:
        made = content["channels"][SCORE]
        made |= {"edges": [str(edge) for edge in range(count)], "alarms": []}
        made["reference"]["proportions"] = [f"0.{share:06}" for share in shares]

    return change


def alarms(count: int) -> Callable[[dict[str, Any]], object]:
    """So many alarms of each kind, each farther than the one before."""

    def change(content: dict[str, Any]) -> None:
        for number in (SCORE, ALERTS, TIMES):
            first = content["channels"][number]["alarms"][0]
            content["channels"][number]["alarms"] = [
                {**first, "id": f"a{number}-{place}", "windowsInARow": place + 1}
                for place in range(count)
            ]

    return change


def rates(count: int) -> Callable[[dict[str, Any]], object]:
    def change(content: dict[str, Any]) -> None:
        first = {**content["channels"][ALERTS], "alarms": []}
        content["channels"] = [{**first, "id": f"rate-{number}"} for number in range(count)]

    return change


def cohorts(count: int, groups: int = 2) -> Callable[[dict[str, Any]], object]:
    def change(content: dict[str, Any]) -> None:
        names = [f"g{number}" for number in range(groups)]
        content["cohorts"] = [
            {"key": f"key-{number}", "groups": names, "why": ""} for number in range(count)
        ]

    return change


AT_THE_EDGE: dict[str, tuple[Callable[[int], Callable[[dict[str, Any]], object]], int, int]] = {
    "windows in a row": (lambda value: alarm(SCORE, 1, windowsInARow=value), 90, 91),
    "no window in a row": (lambda value: alarm(SCORE, 0, windowsInARow=value), 1, 0),
    "no edge": (counted, 1, 0),
    "edges": (counted, 256, 257),
    "alarms": (alarms, 4, 5),
    "channels": (rates, 64, 65),
    "cohort keys": (cohorts, 8, 9),
    "groups": (lambda count: cohorts(1, count), 32, 33),
    "one group": (lambda count: cohorts(1, count), 2, 1),
    "hours of a window": (
        lambda value: lambda content: content.update(windowHours=value),
        744,
        745,
    ),
    "smallest cell": (
        lambda value: lambda content: content["suppression"].update(minimumCellCount=value),
        1000,
        1001,
    ),
}


@pytest.mark.parametrize("name", AT_THE_EDGE)
def test_a_bound_is_where_it_is_said_to_be(name: str) -> None:
    build, last_good, first_bad = AT_THE_EDGE[name]
    read(changed(build(last_good)))
    with pytest.raises(RefusedError):
        read(changed(build(first_bad)))


def test_the_counters_are_those_of_everyone_and_of_each_group() -> None:
    found = read(SPECIFICATION)
    assert found.cells == (7 + 7 + 2 + 2) * (1 + 3) + 134
    plan = read_plan(json.dumps(SPECIFICATION).encode())
    assert plan.cells == found.cells, "the light reader counts as the strict one does"


def test_only_what_takes_function_away_needs_a_hazard() -> None:
    reducing = [action for action in MonitorAction if action.reduces_function]
    assert reducing == [MonitorAction.SUSPEND_REQUEST]


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=20))
def test_exact_shares_are_read_and_any_other_sum_is_not(counts: list[int]) -> None:
    """Shares are compared as decimals: no binary rounding hides a missing part."""
    parts = [*counts, 10**12 - sum(counts)]

    def written() -> dict[str, Any]:
        content = copy.deepcopy(SPECIFICATION)
        content["channels"][SCORE] |= {
            "edges": [str(edge) for edge in range(len(counts))],
            "alarms": [],
        }
        content["channels"][SCORE]["reference"]["proportions"] = [f"0.{part:012}" for part in parts]
        return content

    read(written())
    parts[0] += 1
    with pytest.raises(RefusedError):
        read(written())
