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
    assert history.holds(arms["last"])
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


def test_an_interval_upside_down_is_none(case: Any) -> None:
    case.reports[0]["endpoints"][0]["difference"]["low"] = "0.018001"
    with pytest.raises(RefusedError):
        parsed(ComparisonReport, case.reports[0])


@given(st.binary(max_size=300))
@pytest.mark.parametrize(
    "model", [ChangeControlPlan, ChangeDescription, ModificationHistory, ComparisonReport]
)
def test_any_bytes_are_refused_clearly(model: type[OpenDocument], data: bytes) -> None:
    with pytest.raises(RefusedError):
        parse_document(model, data, where="anything")
