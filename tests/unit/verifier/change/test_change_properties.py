"""What holds for every change: more bounds never help it, and no list's order matters."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from primum_verifier.change.answer import Consistency
from primum_verifier.core.vocabulary import Outcome

few = settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))

figures = st.decimals(-10, 10**6, places=3, allow_nan=False).map(str)
bounds = st.decimals("-0.1", "0.0004", places=6, allow_nan=False).map(lambda value: f"{value:f}")
margins = st.integers(1, 99).map(lambda hundredths: f"0.{hundredths:02d}")
decisions = st.sampled_from(["met", "met", "met", "not-met", "not-evaluable"])


@st.composite
def cases(draw: st.DrawFn, make: Callable[[], Any]) -> Any:
    """Cases near the bounds: some consistent, some not."""
    case = make()
    for place, value in enumerate(("412", "0.31")):
        if draw(st.booleans()):
            case.change["guardrails"][place]["value"] = draw(st.one_of(st.just(value), figures))
    if draw(st.booleans()):
        case.change["guardrails"].pop()
    for endpoint in case.reports[0]["endpoints"]:
        if draw(st.integers(0, 9)) == 0:
            low = draw(bounds)
            endpoint["difference"].update(low=low, high="0.2")
            endpoint.update(margin="0.5", decision=draw(decisions))
    said = {endpoint["decision"] for endpoint in case.reports[0]["endpoints"]}
    order = ("not-met", "not-evaluable", "met")
    case.reports[0]["overall"] = next(item for item in order if item in said)
    for days in draw(st.lists(st.integers(40, 800), max_size=5, unique=True)):
        case.entries.append(case.entry(f"0.{days}.0", days_ago=days))
    case.jurisdiction = draw(st.sampled_from(["DE", "DE", "DE", "US", "FR"]))
    return case


def criterion(draw: st.DrawFn) -> list[dict[str, str]]:
    cohort = draw(st.sampled_from(["all", "female", "male", "children"]))
    metric = draw(st.sampled_from(["sensitivity", "specificity"]))
    return [
        {"metric": metric, "cohort": cohort, "versus": versus, "margin": draw(margins)}
        for versus in ("last", "original")
    ]


@few
@given(data=st.data())
def test_one_guardrail_more_never_makes_a_change_consistent(
    make_case: Callable[[], Any], data: st.DataObject
) -> None:
    case = data.draw(cases(make_case))
    before = case.ask().answer
    least, most = sorted([data.draw(figures), data.draw(figures)], key=float)
    name = data.draw(st.sampled_from(["epochs", "share", "learning-rate"]))
    case.retrain["guardrails"].append({"parameter": name, "min": least, "max": most})
    if data.draw(st.booleans()):
        case.change["guardrails"].append(
            {"modificationId": "retrain", "parameter": name, "value": data.draw(figures)}
        )
    after = case.ask().answer
    assert before == Consistency.CONSISTENT or after != Consistency.CONSISTENT
    assert before != Consistency.NOT_LISTED or after == Consistency.NOT_LISTED


@few
@given(data=st.data())
def test_one_criterion_more_never_makes_a_change_consistent(
    make_case: Callable[[], Any], data: st.DataObject
) -> None:
    case = data.draw(cases(make_case))
    before = case.ask().answer
    more = data.draw(st.composite(criterion)())
    known = {(item["metric"], item["cohort"]) for item in case.retrain["acceptance"]}
    assume((more[0]["metric"], more[0]["cohort"]) not in known)
    case.retrain["acceptance"] += more
    after = case.ask().answer
    assert before == Consistency.CONSISTENT or after != Consistency.CONSISTENT


@few
@given(data=st.data())
def test_a_tighter_margin_never_makes_a_change_consistent(
    make_case: Callable[[], Any], data: st.DataObject
) -> None:
    case = data.draw(cases(make_case))
    chosen = data.draw(st.sampled_from([*case.retrain["acceptance"], *case.cumulative()]))
    chosen = next(
        item
        for item in [*case.retrain["acceptance"], *case.plan["cumulative"]["acceptance"]]
        if {**item, "versus": chosen["versus"]} == chosen
    )
    chosen["margin"] = "0.05"
    before = case.ask().answer
    chosen["margin"] = data.draw(st.sampled_from(["0.049999", "0.02", "0.01", "0.000001"]))
    after = case.ask().answer
    assert before == Consistency.CONSISTENT or after != Consistency.CONSISTENT


@few
@given(data=st.data())
def test_one_earlier_modification_more_never_makes_a_change_consistent(
    make_case: Callable[[], Any], data: st.DataObject
) -> None:
    case = data.draw(cases(make_case))
    before = case.ask().answer
    case.entries.append(case.entry("0.0.1", days_ago=data.draw(st.integers(0, 800))))
    after = case.ask().answer
    assert before == Consistency.CONSISTENT or after != Consistency.CONSISTENT


@few
@given(data=st.data())
def test_one_report_more_never_helps_what_a_report_answered_already(
    make_case: Callable[[], Any], data: st.DataObject
) -> None:
    case = data.draw(cases(make_case))
    before = {check.name: check.outcome for check in case.ask().checks}
    other = data.draw(cases(make_case))
    case.reports += other.reports
    for check in case.ask().checks:
        if check.name.startswith(("acceptance", "cumulative")) and check.outcome == "satisfied":
            assert before[check.name] == Outcome.SATISFIED


@few
@given(data=st.data(), seed=st.integers(0, 2**32))
def test_the_order_of_no_list_matters(
    make_case: Callable[[], Any], data: st.DataObject, seed: int
) -> None:
    case = data.draw(cases(make_case))
    case.reports.append(case.report())
    before = case.ask()
    chance = random.Random(seed)

    def shuffle(content: Any) -> None:
        for value in content.values() if isinstance(content, dict) else content:
            if isinstance(value, dict | list):
                shuffle(value)
        if isinstance(content, list):
            chance.shuffle(content)

    # The reports keep their names, which tell their place in the list.
    for content in (case.plan, case.change, case.base, case.original, case.candidate):
        shuffle(content)
    for report in case.reports:
        shuffle(report)
    shuffle(case.entries)
    after = case.ask()
    assert after.answer == before.answer
    outcomes = [{(item.name, item.outcome) for item in found.checks} for found in (before, after)]
    assert outcomes[0] == outcomes[1]


@few
@given(data=st.data())
def test_consistent_needs_every_check_satisfied_and_both_baselines_read(
    make_case: Callable[[], Any], data: st.DataObject
) -> None:
    answer = data.draw(cases(make_case)).ask()
    satisfied = all(check.outcome == Outcome.SATISFIED for check in answer.checks)
    assert satisfied == (answer.answer == Consistency.CONSISTENT)
    names = {check.name for check in answer.checks}
    assert {
        f"acceptance:retrain:{metric}:all:{versus}"
        for metric in ("sensitivity", "specificity")
        for versus in ("last", "original")
    } <= names


@few
@given(days=st.integers(-3000, 3000))
def test_before_its_authorisation_no_moment_makes_a_change_consistent(
    make_case: Callable[[], Any], days: int
) -> None:
    case = make_case()
    case.now += timedelta(days=days)
    begin = case.plan["authorisations"][1]["date"]
    if f"{case.now:%Y-%m-%dT%H:%M:%SZ}" < begin:
        assert case.ask().answer == Consistency.NOT_LISTED
