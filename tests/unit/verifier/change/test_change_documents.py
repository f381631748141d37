"""Plan, change, history, report as documents: closed inside, bounded, and in themselves whole."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primum_verifier.change.comparison_report import ComparisonReport
from primum_verifier.change.description import ChangeDescription, ModificationHistory
from primum_verifier.change.plan import PLAN_ROLE, PLAN_TARGET, PLAN_TYPE, ChangeControlPlan
from primum_verifier.core.document import OpenDocument, canonical_json, parse_document, sha256_hex
from primum_verifier.core.errors import RefusedError
from primum_verifier.core.reasons import Reason

EXAMPLES = Path(__file__).parents[4] / "docs" / "examples"


def parsed(model: type[OpenDocument], content: Any) -> Any:
    return parse_document(model, canonical_json(content), where="document")


def test_the_examples_are_what_they_say() -> None:
    plan_bytes = (EXAMPLES / "change-control-plan.json").read_bytes()
    plan = parse_document(ChangeControlPlan, plan_bytes, where="plan")
    change_bytes = (EXAMPLES / "change.json").read_bytes()
    change = parse_document(ChangeDescription, change_bytes, where="change")
    assert change.plan.sha256 == sha256_hex(plan_bytes)
    assert plan.type == PLAN_TYPE
    known = {item.id: item for item in plan.modifications}
    assert set(change.modification_ids) <= set(known)
    for name in change.modification_ids:
        assert plan.authorisations_of(name, jurisdiction="DE")
        assert set(change.labelling_sections) == set(known[name].labelling_sections)
        for guardrail in known[name].guardrails:
            assert change.value(name, guardrail.parameter) is not None


def test_the_examples_are_about_one_change() -> None:
    """The report and the history beside the example belong to it, release by release."""
    change, report, history, plan = (
        parse_document(model, (EXAMPLES / f"{name}.json").read_bytes(), where=name)
        for name, model in (
            ("change", ChangeDescription),
            ("comparison-report", ComparisonReport),
            ("modification-history", ModificationHistory),
            ("change-control-plan", ChangeControlPlan),
        )
    )
    assert isinstance(change, ChangeDescription)
    assert isinstance(report, ComparisonReport)
    assert isinstance(history, ModificationHistory)
    assert isinstance(plan, ChangeControlPlan)
    arms = {name: arm.release.sha256 for name, arm in report.arms.items() if arm.release}
    assert arms["candidate"] == change.release.sha256
    assert arms["original"] == plan.original_device.manifest.sha256
    assert history.original == plan.original_device.manifest
    assert arms["last"] in [item.release.sha256 for item in history.before(arms["candidate"])]
    assert {item.rung for item in (report.protocol,)} <= set(plan.modifications[0].rungs)
    assert report.methods in [item.protocol for item in plan.modifications]


def test_the_plan_stands_where_clinical_alone_signs() -> None:
    assert (PLAN_TARGET, PLAN_ROLE) == ("policy/change-control-plan.json", "targets")


def test_documents_keep_what_they_do_not_know_and_refuse_what_is_critical(case: Any) -> None:
    case.link()
    for model, content in (
        (ChangeControlPlan, case.plan),
        (ChangeDescription, case.change),
        (ModificationHistory, case.history()),
        (ComparisonReport, case.reports[0]),
    ):
        kept = parsed(model, {**content, "colour": "green"})
        assert kept.not_understood == ("colour",)
        assert parsed(model, json.loads(kept.to_bytes())) == kept
        with pytest.raises(RefusedError) as refused:
            parsed(model, {**content, "colour": "green", "crit": ["colour"]})
        assert refused.value.reason == Reason.ELIGIBILITY_CRIT_UNKNOWN


def one_modification(case: Any) -> object:
    case.plan["modifications"].pop()
    case.plan["impactAssessment"]["perModification"].pop()
    return case.plan["authorisations"][0].update(modificationIds=["retrain"])


NARROW_PLANS: dict[str, Callable[[Any], object]] = {
    "a guardrail of one value": lambda case: case.retrain["guardrails"][0].update(max="200"),
    "once in a day": lambda case: case.retrain.update(expectedFrequency={"atMost": 1, "days": 1}),
    "one cumulative bound": lambda case: case.plan["cumulative"]["acceptance"].pop(),
    "one modification": one_modification,
    "one guardrail": lambda case: case.retrain["guardrails"].pop(),
    "made-up data before patients": lambda case: case.retrain.update(
        rungs=["simulated", "prospective"]
    ),
    "a draft that nobody authorised": lambda case: case.plan.update(authorisations=[]),
}


@pytest.mark.parametrize("name", NARROW_PLANS)
def test_the_narrowest_plan_is_one(case: Any, name: str) -> None:
    case.link()
    NARROW_PLANS[name](case)
    parsed(ChangeControlPlan, case.plan)


@pytest.mark.parametrize(
    "model", [ChangeControlPlan, ChangeDescription, ModificationHistory, ComparisonReport]
)
def test_every_list_and_every_text_has_an_end(model: type[OpenDocument]) -> None:
    def walk(schema: Any) -> None:
        if not isinstance(schema, dict):
            return
        if schema.get("type") == "array":
            assert schema["maxItems"] <= 1000
        if schema.get("type") == "string" and not {"const", "enum", "format"} & set(schema):
            assert "maxLength" in schema or schema["pattern"].endswith(("}$", "0\\.1$"))
        for value in schema.values():
            walk(value)
            for item in value if isinstance(value, list) else ():
                walk(item)

    walk(model.model_json_schema(by_alias=True))


WRONG_PLANS: dict[str, Callable[[Any], object]] = {
    "an unknown member inside": lambda case: case.retrain.update(colour="green"),
    "no modification": lambda case: case.plan.update(modifications=[]),
    "too many modifications": lambda case: case.plan.update(
        modifications=[{**case.retrain, "id": f"m{n}"} for n in range(51)]
    ),
    "a modification twice": lambda case: case.plan["modifications"].append(case.retrain),
    "no guardrail": lambda case: case.retrain.update(guardrails=[]),
    "a guardrail twice": lambda case: case.retrain["guardrails"].append(
        case.retrain["guardrails"][0]
    ),
    "a guardrail that is empty": lambda case: case.retrain["guardrails"][0].update(max="199.9"),
    "a guardrail that is no number": lambda case: case.retrain["guardrails"][0].update(max="NaN"),
    "a guardrail as a float": lambda case: case.retrain["guardrails"][0].update(max=5000.0),
    "no acceptance": lambda case: case.retrain.update(acceptance=[]),
    "one baseline only": lambda case: case.retrain.update(
        acceptance=[item for item in case.retrain["acceptance"] if item["versus"] == "last"]
    ),
    "a cohort against one baseline only": lambda case: case.retrain["acceptance"].pop(),
    "a criterion twice": lambda case: case.retrain["acceptance"].append(
        {**case.retrain["acceptance"][0], "margin": "0.9"}
    ),
    "a margin of one": lambda case: case.retrain["acceptance"][0].update(margin="1.0"),
    "a margin below nothing": lambda case: case.retrain["acceptance"][0].update(margin="-0.1"),
    "a metric that no report decides": lambda case: case.retrain["acceptance"][0].update(
        metric="auc"
    ),
    "allowed and forbidden": lambda case: case.retrain["componentsForbidden"].append("model"),
    "an unknown kind of part": lambda case: case.retrain["componentsAllowed"].append("magic"),
    "local without factors": lambda case: case.retrain.update(scope="local"),
    "global with factors": lambda case: case.retrain.update(localFactors=["operator"]),
    "no time": lambda case: case.retrain["expectedFrequency"].update(days=0),
    "never": lambda case: case.retrain["expectedFrequency"].update(atMost=0),
    "no cumulative bound": lambda case: case.plan["cumulative"].update(acceptance=[]),
    "a cumulative bound twice": lambda case: case.plan["cumulative"]["acceptance"].append(
        {**case.plan["cumulative"]["acceptance"][0], "margin": "0.9"}
    ),
    "an impact that nobody assessed": lambda case: case.plan["impactAssessment"][
        "perModification"
    ].pop(),
    "an interaction of nothing": lambda case: case.plan["impactAssessment"].update(
        interactions=[{"modificationIds": ["retrain", "nothing"], "summary": ""}]
    ),
    "an authorisation of nothing": lambda case: case.plan["authorisations"][0].update(
        modificationIds=["nothing"]
    ),
    "an authorisation in a group": lambda case: case.plan["authorisations"][0].update(
        jurisdiction="eu"
    ),
    "no rung": lambda case: case.retrain.update(rungs=[]),
    "a rung twice": lambda case: case.retrain.update(rungs=["prospective", "prospective"]),
    "made-up data alone": lambda case: case.retrain.update(rungs=["offline", "simulated"]),
    "a deviation from nothing": lambda case: case.plan["deviations"][0].update(
        modificationId="nothing"
    ),
    "a deviation twice": lambda case: case.plan["deviations"].append(case.plan["deviations"][0]),
}


@pytest.mark.parametrize("name", WRONG_PLANS)
def test_a_plan_that_contradicts_itself_is_refused(case: Any, name: str) -> None:
    case.link()
    parsed(ChangeControlPlan, case.plan)
    WRONG_PLANS[name](case)
    with pytest.raises(RefusedError) as refused:
        parsed(ChangeControlPlan, case.plan)
    assert refused.value.reason == Reason.DOCUMENT_INVALID


WRONG_CHANGES: dict[str, Callable[[Any], object]] = {
    "nothing claimed": lambda change: change.update(modificationIds=[]),
    "claimed twice": lambda change: change["modificationIds"].append("retrain"),
    "a value twice": lambda change: change["guardrails"].append(
        {**change["guardrails"][0], "value": "300"}
    ),
    "a value that is no number": lambda change: change["guardrails"][0].update(value="many"),
    "both ways": lambda change: change.update(implementation="both"),
    "local without factors": lambda change: change.update(scope="local"),
    "global with factors": lambda change: change.update(localFactors=["operator"]),
}


@pytest.mark.parametrize("name", WRONG_CHANGES)
def test_a_change_that_says_two_things_is_refused(case: Any, name: str) -> None:
    case.link()
    parsed(ChangeDescription, case.change)
    WRONG_CHANGES[name](case.change)
    with pytest.raises(RefusedError):
        parsed(ChangeDescription, case.change)


def test_a_report_of_before_there_were_plans_is_still_read(case: Any) -> None:
    del case.reports[0]["methods"]
    assert parsed(ComparisonReport, case.reports[0]).methods is None


def first(report: Any) -> Any:
    """Sensitivity against the last release, in all: 900 cases of 400 patients, 12 won, 8 lost."""
    (found,) = (item for item in report["endpoints"] if item["id"] == "sensitivity vs last in all")
    return found


def not_met(report: Any) -> object:
    first(report).update(decision="not-met")
    return report.update(overall="not-met")


def same_predictions(report: Any, **changes: Any) -> None:
    report["arms"]["last"].update(predictions=report["arms"]["candidate"]["predictions"], **changes)


def nothing_changed(report: Any) -> None:
    same_predictions(report, threshold="0.50")
    for item in report["endpoints"]:
        if item["versus"] == "last":
            item.update(gained=0, lost=0)
            item["difference"].update(estimate="0.000000")


def only_secondary(report: Any, overall: str) -> None:
    for item in report["endpoints"]:
        item["role"] = "secondary"
    report["overall"] = overall


def all_of_one_cohort(report: Any, cases: int) -> None:
    """Sensitivity against the last release, in the first cohort, over so many cases."""
    cohort = report["endpoints"][2]
    assert (cohort["metric"], cohort["cohort"]) == ("sensitivity", "female")
    cohort.update(cases=cases, gained=0, lost=0)
    cohort["difference"]["estimate"] = "0.000000"


RIGHT_REPORTS: dict[str, Callable[[Any], object]] = {
    "as it is": lambda _: None,
    "an estimate on its lower bound": lambda report: first(report)["difference"].update(
        low="0.004444"
    ),
    "an estimate on its upper bound": lambda report: first(report)["difference"].update(
        high="0.004444"
    ),
    "an estimate that was rounded": lambda report: first(report)["difference"].update(
        estimate="0.004445"
    ),
    "a bound that was rounded to the margin": lambda report: first(report)["difference"].update(
        low="-0.050000"
    ),
    "hardly any confidence": lambda report: first(report)["difference"].update(confidence="1e-06"),
    "nearly certain": lambda report: first(report)["difference"].update(confidence="0.999999"),
    "the least draws": lambda report: report.update(replicates=100),
    "one case of each patient": lambda report: (
        report["accounting"].update(patients=900),
        first(report).update(patients=900),
    ),
    "everybody in one cohort": lambda report: all_of_one_cohort(report, 900),
    "every case changed": lambda report: first(report).update(gained=452, lost=448),
    "an area, over fewer cases, whose estimate is no count": lambda report: report[
        "endpoints"
    ].append(
        {
            **first(report),
            "metric": "auc",
            "role": "secondary",
            "decision": "not-evaluable",
            "cases": 8000,
            "gained": 0,
            "lost": 0,
        }
    ),
    "the same predictions, and nothing changed": nothing_changed,
    "the same predictions at another threshold": lambda report: same_predictions(
        report, threshold="0.4"
    ),
    "secondary endpoints that say nothing": lambda report: only_secondary(report, "not-evaluable"),
    "a missed endpoint that decides nothing": lambda report: first(report).update(
        decision="not-met", role="secondary"
    ),
    "missed, and so in all": not_met,
    "no case, and not evaluable": lambda report: (
        report["accounting"].update(positives=0, cases=8100),
        [
            (
                item.update(patients=0, cases=0, gained=0, lost=0, decision="not-evaluable"),
                item.pop("difference"),
            )
            for item in report["endpoints"]
            if item["metric"] == "sensitivity"
        ],
        report.update(overall="not-evaluable"),
    ),
}

WRONG_REPORTS: dict[str, Callable[[Any], object]] = {
    "an interval upside down": lambda report: first(report)["difference"].update(low="0.018001"),
    "an estimate below its interval": lambda report: first(report)["difference"].update(
        low="0.004445"
    ),
    "an estimate above its interval": lambda report: first(report)["difference"].update(
        high="0.004443"
    ),
    "a confidence in percent": lambda report: first(report)["difference"].update(confidence="95"),
    "certainty": lambda report: first(report)["difference"].update(confidence="1.0"),
    "no confidence": lambda report: first(report)["difference"].update(confidence="0"),
    "a confidence below nothing": lambda report: first(report)["difference"].update(
        confidence="-0.95"
    ),
    "an estimate that the counts do not give": lambda report: first(report)["difference"].update(
        estimate="0.004446"
    ),
    "a rung that is none": lambda report: report["protocol"].update(rung="imagined"),
    "too few draws": lambda report: report.update(replicates=99),
    "met by nobody": lambda report: first(report).update(patients=0),
    "more patients than cases": lambda report: (
        report["accounting"].update(patients=901),
        first(report).update(patients=901),
    ),
    "more changes than cases": lambda report: first(report).update(gained=453, lost=449),
    "met without an interval": lambda report: first(report).pop("difference"),
    "met without a margin": lambda report: first(report).pop("margin"),
    "met below its margin": lambda report: first(report)["difference"].update(low="-0.050001"),
    "cases that do not add up": lambda report: report["accounting"].update(cases=9001),
    "more patients in all than cases": lambda report: report["accounting"].update(patients=9001),
    "patients that were not accounted for": lambda report: first(report).update(patients=401),
    "more cases than were accounted for": lambda report: (
        first(report).update(cases=901),
        first(report)["difference"].update(estimate="0.004440"),
    ),
    "cases that were left out": lambda report: (
        first(report).update(cases=899),
        first(report)["difference"].update(estimate="0.004449"),
    ),
    "a cohort above the whole": lambda report: all_of_one_cohort(report, 901),
    "an endpoint twice": lambda report: report["endpoints"].append(
        {**first(report), "id": "again", "role": "secondary"}
    ),
    "an endpoint about an arm that is not there": lambda report: report["arms"].pop("original"),
    "a report without its candidate": lambda report: report["arms"].pop("candidate"),
    "the same predictions, right and wrong": same_predictions,
    "met, though an endpoint was missed": lambda report: first(report).update(decision="not-met"),
    "met, though nobody can say of one": lambda report: first(report).update(
        decision="not-evaluable"
    ),
    "not evaluable, though one was missed": lambda report: (
        not_met(report),
        report.update(overall="not-evaluable"),
    ),
    "met, though nothing decides": lambda report: only_secondary(report, "met"),
}


@pytest.mark.parametrize("name", RIGHT_REPORTS)
def test_a_report_that_agrees_with_itself_is_read(case: Any, name: str) -> None:
    RIGHT_REPORTS[name](case.reports[0])
    parsed(ComparisonReport, case.reports[0])


@pytest.mark.parametrize("name", WRONG_REPORTS)
def test_a_report_that_contradicts_itself_is_refused(case: Any, name: str) -> None:
    WRONG_REPORTS[name](case.reports[0])
    with pytest.raises(RefusedError) as refused:
        parsed(ComparisonReport, case.reports[0])
    assert refused.value.reason == Reason.DOCUMENT_INVALID


def test_a_history_is_of_the_past_and_tells_each_release_once(case: Any) -> None:
    case.link()
    case.entries[0]["implementedAt"] = "2026-06-01T12:00:00Z"
    parsed(ModificationHistory, case.history())
    case.entries[0]["implementedAt"] = "2026-06-01T12:00:01Z"
    with pytest.raises(RefusedError):
        parsed(ModificationHistory, case.history())
    case.entries[0]["implementedAt"] = "2026-04-01T12:00:00Z"
    case.entries.append({**case.entries[0], "version": "1.1.1"})
    with pytest.raises(RefusedError):
        parsed(ModificationHistory, case.history())


@given(st.binary(max_size=300))
@pytest.mark.parametrize(
    "model", [ChangeControlPlan, ChangeDescription, ModificationHistory, ComparisonReport]
)
def test_any_bytes_are_refused_clearly(model: type[OpenDocument], data: bytes) -> None:
    with pytest.raises(RefusedError):
        parse_document(model, data, where="anything")
