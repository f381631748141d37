"""Each rule of the change-control plan, on both sides of its bound; unknown is never yes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from primum_verifier.change.answer import ADVICE, Consistency
from primum_verifier.core.reasons import Reason
from primum_verifier.core.vocabulary import Outcome

LISTED, FOLLOWED = "not-listed", "protocol-not-followed"
Bend = Callable[[Any], object]


def test_a_change_that_keeps_to_its_plan_is_consistent(case: Any) -> None:
    answer = case.ask()
    assert answer.in_the_way == ()
    assert answer.answer == Consistency.CONSISTENT
    assert answer.floor == "minor"
    assert answer.advice == ADVICE
    assert "no decision" in ADVICE or "decides nothing" in ADVICE
    told = answer.as_dict()
    assert told["primary"] is None
    assert len(told["checks"]) == len(answer.checks)
    names = [check.name for check in answer.checks]
    assert len(set(names)) == len(names)
    assert all(check.source and check.clause and check.expected for check in answer.checks)
    assert {check.reason for check in answer.checks} == {None}


def claim_both(case: Any) -> object:
    """Both modifications at once, with every paper that they need."""
    case.change["modificationIds"].append("move-threshold")
    case.change["guardrails"].append(
        {"modificationId": "move-threshold", "parameter": "threshold", "value": "0.5"}
    )
    case.plan["authorisations"][1]["modificationIds"].append("move-threshold")
    case.move_threshold.update(scope="global", implementation="both")
    del case.move_threshold["localFactors"]
    case.move_threshold["componentsForbidden"] = []
    case.retrain["componentsForbidden"] = []
    case.plan["impactAssessment"]["interactions"] = [
        {"modificationIds": ["retrain", "move-threshold"], "summary": "assessed"}
    ]
    return case.reports.append(case.report(1))


def claim_local(case: Any) -> object:
    case.retrain.update(scope="local", localFactors=["care-setting", "sensor"])
    return case.change.update(scope="local", localFactors=["care-setting"])


def add_item(case: Any, release: Any = None, **item: Any) -> object:
    plain = {"id": "more", "kind": "model", "path": "more.bin", "length": 3}
    items = (release or case.candidate)["items"]
    return items.append({**plain, "digest": {"sha256": "5" * 64}, **item})


def first_change(case: Any, entries: list[Any] | None = None) -> object:
    """The base is the original: nothing was modified before."""
    case.base, case.entries = case.original, entries
    return case


def set_low(case: Any, versus: str, low: str, *, report: int = 0) -> object:
    item = case.endpoints("sensitivity", "all", versus)[report]
    return item["difference"].update(low=low)


def set_endpoint(case: Any, **changes: Any) -> object:
    """Of the first report, which follows in all what it says in one."""
    case.endpoints("sensitivity", "female", "last")[0].update(changes)
    return case.reports[0].update(overall=changes.get("decision", "met"))


def list_at(case: Any, moment: datetime) -> object:
    case.listed_at = moment
    return case


def miss(report: Any, decision: str) -> object:
    """A report that was not met in something that the plan does not ask for."""
    more = {**report["endpoints"][-1], "cohort": "children", "decision": decision}
    report["endpoints"].append(more)
    return report.update(overall=decision)


def set_confidence(case: Any, confidence: str) -> None:
    case.endpoints("specificity", "male", "last")[0]["difference"]["confidence"] = confidence


def fill_year(case: Any, *, oldest: float) -> None:
    """Four earlier ones, the oldest so many days ago."""
    case.entries += [case.entry(f"1.0.{n}", days_ago=90 + n) for n in (1, 2)]
    case.entries.append(case.entry("1.0.3", days_ago=oldest))


HOLDS: dict[str, Bend] = {
    "authorised this very second": lambda case: case.plan["authorisations"][1].update(
        date="2026-06-01T12:00:00Z"
    ),
    "guardrail at its lower end": lambda case: case.change["guardrails"][0].update(value="200"),
    "guardrail at its upper end": lambda case: case.change["guardrails"][0].update(value="5e3"),
    "lower bound just above the margin": lambda case: set_low(case, "last", "-0.019999"),
    "two modifications assessed together": claim_both,
    "local with foreseen factors": claim_local,
    "by hand where both ways are foreseen": lambda case: (
        case.retrain.update(implementation="both"),
        case.change.update(implementation="manual"),
    ),
    "the fourth in a year": lambda case: case.entries.extend(
        case.entry(f"1.0.{n}", days_ago=90 + n) for n in (1, 2)
    ),
    "the fifth when the first is a year old": lambda case: fill_year(case, oldest=365),
    "others do not count": lambda case: case.entries.extend(
        case.entry(f"1.0.{n}", days_ago=n, what="move-threshold") for n in range(1, 9)
    ),
    "the change itself is in the history": lambda case: (
        case.entries.extend(case.entry(f"1.0.{n}", days_ago=90 + n) for n in (1, 2)),
        case.entries.append(case.entry("1.2.0", days_ago=1)),
    ),
    "the first change has an empty list": lambda case: first_change(case, []),
    "the first for everybody, after one for some": lambda case: first_change(
        case, [case.entry("1.0.1", days_ago=9, what="move-threshold")]
    ),
    "from the last one for some": lambda case: (
        case.entries[0].update(modificationIds=["move-threshold"]),
        case.entries.append(case.entry("1.0.9", days_ago=61)),
    ),
    "a list as old as the candidate": lambda case: (
        first_change(case, []),
        list_at(case, case.now - timedelta(days=97)),
    ),
    "asked the moment the last paper was written": lambda case: case.change.update(
        issuedAt="2026-06-01T12:00:00Z"
    ),
    "frozen the moment the candidate was made": lambda case: case.reports[0]["protocol"].update(
        frozenAt=case.candidate["issuedAt"]
    ),
    "on patients that were followed": lambda case: (
        case.reports[0]["protocol"].update(rung="prospective"),
        case.retrain.update(rungs=["prospective"]),
    ),
    "on made-up data, and on patients": lambda case: (
        case.retrain.update(rungs=["simulated", "retrospective"]),
        case.reports.append(case.report()),
        case.reports[1]["protocol"].update(rung="simulated"),
    ),
    "the one and only": lambda case: (
        first_change(case, []),
        case.retrain.update(expectedFrequency={"atMost": 1, "days": 3660}),
    ),
    "a foreseen deviation": lambda case: case.change.update(
        deviations=["adjudicators-two-of-three"]
    ),
    "a higher tier than needed": lambda case: case.candidate.update(changeTier="material"),
    "two reports by the same methods": lambda case: case.reports.append(case.report()),
    "a report of an endpoint that nobody asked for": lambda case: case.reports[0][
        "endpoints"
    ].append(
        {**case.endpoint("auc", "all", "last"), "role": "secondary", "decision": "not-evaluable"}
    ),
    "exactly the parts that are allowed": lambda case: case.retrain.update(
        componentsAllowed=["model", "self-test-specification", "ifu"]
    ),
    "instructions where there were none": lambda case: case.base["items"].remove(
        case.item(case.base, "instructions")
    ),
    "no label is needed and none was changed": lambda case: (
        case.retrain.pop("labellingSections"),
        case.change.pop("labellingSections"),
        case.candidate["labelling"].update(ifuVersion="ifu-2"),
    ),
}


@pytest.mark.parametrize("name", HOLDS)
def test_inside_every_bound_it_stays_consistent(case: Any, name: str) -> None:
    HOLDS[name](case)
    assert case.refused() == ("consistent", set())


REFUSED: dict[str, tuple[Bend, str, set[str]]] = {
    "another device": (
        lambda case: case.kept.update({"plan.original": "1" * 64}),
        LISTED,
        {"original-device"},
    ),
    "the same device under another version": (
        lambda case: case.plan["originalDevice"].update(version="1.0.1"),
        LISTED,
        {"original-device"},
    ),
    "another intended use": (
        lambda case: case.candidate.update(intendedUse={"sha256": "1" * 64}),
        LISTED,
        {"intended-use", "change-tier"},
    ),
    "another intended use of the plan": (
        lambda case: case.plan.update(intendedUse={"sha256": "1" * 64}),
        LISTED,
        {"intended-use"},
    ),
    "a country that nobody allowed it in": (
        lambda case: setattr(case, "jurisdiction", "FR"),
        LISTED,
        {"authorised:retrain", "components-since-original"},
    ),
    "a modification that only another country allowed": (
        lambda case: case.plan["authorisations"][1].update(modificationIds=["move-threshold"]),
        LISTED,
        {"authorised:retrain", "components-since-original"},
    ),
    "allowed a second from now": (
        lambda case: case.plan["authorisations"][1].update(date="2026-06-01T12:00:01Z"),
        LISTED,
        {"authorised:retrain", "components-since-original"},
    ),
    "a modification that the plan does not hold": (
        lambda case: case.change["modificationIds"].append("new-input"),
        LISTED,
        {"authorised:new-input", "combination"},
    ),
    "a part that is not allowed": (
        lambda case: (
            case.item(case.candidate, "thresholds").update(digest={"sha256": "1" * 64}),
            case.retrain.pop("componentsForbidden"),
            case.candidate.update(changeTier="moderate"),
        ),
        LISTED,
        {"components-allowed", "components-since-original"},
    ),
    "a part that only another modification allows": (
        lambda case: (
            case.item(case.candidate, "thresholds").update(digest={"sha256": "1" * 64}),
            case.retrain.pop("componentsForbidden"),
            case.candidate.update(changeTier="moderate"),
            case.plan["authorisations"][1]["modificationIds"].append("move-threshold"),
        ),
        LISTED,
        {"components-allowed"},
    ),
    "another label map in the place of the old": (
        lambda case: [
            add_item(case, release=release, kind="label-map", digest={"sha256": place * 64})
            for release, place in ((case.original, "5"), (case.base, "5"), (case.candidate, "6"))
        ],
        LISTED,
        {"components-allowed", "components-forbidden", "components-since-original", "change-tier"},
    ),
    "a part that is forbidden": (
        lambda case: (
            case.item(case.candidate, "thresholds").update(digest={"sha256": "1" * 64}),
            case.candidate.update(changeTier="moderate"),
        ),
        LISTED,
        {"components-allowed", "components-forbidden", "components-since-original"},
    ),
    "forbidden by one, allowed by the other": (
        lambda case: (
            claim_both(case),
            case.item(case.candidate, "thresholds").update(digest={"sha256": "1" * 64}),
            case.candidate.update(changeTier="moderate"),
            case.retrain.update(componentsForbidden=["threshold-set"]),
        ),
        LISTED,
        {"components-forbidden"},
    ),
    "a part that an earlier change changed outside the plan": (
        lambda case: [
            case.item(release, "thresholds").update(digest={"sha256": "1" * 64})
            for release in (case.base, case.candidate)
        ],
        LISTED,
        {"components-since-original"},
    ),
    "a second model": (add_item, LISTED, {"interfaces", "change-tier"}),
    "a part taken away": (
        lambda case: case.candidate["items"].remove(case.item(case.candidate, "thresholds")),
        LISTED,
        {
            "components-allowed",
            "components-forbidden",
            "components-since-original",
            "interfaces",
            "change-tier",
        },
    ),
    "a new label map": (
        lambda case: add_item(case, kind="label-map"),
        LISTED,
        {
            "components-allowed",
            "components-forbidden",
            "components-since-original",
            "interfaces",
            "change-tier",
        },
    ),
    "other hardware": (
        lambda case: case.candidate["compatibility"].update(hardware=["cardiowear-3"]),
        LISTED,
        {"interfaces", "change-tier"},
    ),
    "other hardware since an earlier change": (
        lambda case: [
            release["compatibility"].update(hardware=["cardiowear-3"])
            for release in (case.base, case.candidate)
        ],
        LISTED,
        {"interfaces"},
    ),
    "by hand where only automatic is foreseen": (
        lambda case: case.change.update(implementation="manual"),
        LISTED,
        {"implementation:retrain"},
    ),
    "local where only global is foreseen": (
        lambda case: case.change.update(scope="local", localFactors=["operator"]),
        LISTED,
        {"implementation:retrain"},
    ),
    "a local factor that is not foreseen": (
        lambda case: (claim_local(case), case.change["localFactors"].append("operator")),
        LISTED,
        {"implementation:retrain"},
    ),
    "two modifications that nobody assessed together": (
        lambda case: (
            claim_both(case),
            case.plan["impactAssessment"].update(interactions=[]),
        ),
        LISTED,
        {"combination"},
    ),
    "a figure below its range": (
        lambda case: case.change["guardrails"][0].update(value="199.999"),
        LISTED,
        {"guardrail:retrain:training-patients"},
    ),
    "a figure above its range": (
        lambda case: case.change["guardrails"][1].update(value="0.500001"),
        LISTED,
        {"guardrail:retrain:share-of-new-recordings"},
    ),
    "a figure that is not stated": (
        lambda case: case.change["guardrails"].pop(),
        FOLLOWED,
        {"guardrail:retrain:share-of-new-recordings"},
    ),
    "a figure stated for another modification": (
        lambda case: case.change["guardrails"][1].update(modificationId="move-threshold"),
        FOLLOWED,
        {"guardrail:retrain:share-of-new-recordings"},
    ),
    "a section of the label that is not foreseen": (
        lambda case: case.change["labellingSections"].append("indications"),
        LISTED,
        {"labelling-planned"},
    ),
    "another plan": (
        lambda case: case.kept.update({"change.plan": "1" * 64}),
        FOLLOWED,
        {"plan-named"},
    ),
    "another release": (
        lambda case: case.kept.update({"change.release": "1" * 64}),
        FOLLOWED,
        {"release-named"},
    ),
    "another last release": (
        lambda case: case.kept.update({"candidate.previous": "1" * 64}),
        FOLLOWED,
        {"previous-named"},
    ),
    "no baselines named": (
        lambda case: case.kept.update({"candidate.previous": None, "candidate.original": None}),
        FOLLOWED,
        {"previous-named", "original-named"},
    ),
    "a tier below the floor": (
        lambda case: case.candidate.update(changeTier="none-clinical"),
        FOLLOWED,
        {"change-tier"},
    ),
    "a report about another candidate": (
        lambda case: case.kept.update({"report.candidate": "1" * 64}),
        FOLLOWED,
        {"report-releases:report 0"},
    ),
    "a report that names no releases": (
        lambda case: case.kept.update({"report.last": None}),
        FOLLOWED,
        {"report-releases:report 0"},
    ),
    "beats taken as independent": (
        lambda case: case.reports[0].update(unit="beat"),
        FOLLOWED,
        {"report-unit:report 0"},
    ),
    "a report that was not met": (
        lambda case: miss(case.reports[0], "not-met"),
        FOLLOWED,
        {"report-overall:report 0"},
    ),
    "a report that could not be evaluated": (
        lambda case: miss(case.reports[0], "not-evaluable"),
        FOLLOWED,
        {"report-overall:report 0"},
    ),
    "one report met and one not": (
        lambda case: (case.reports.append(case.report()), miss(case.reports[1], "not-met")),
        FOLLOWED,
        {"report-overall:report 1"},
    ),
    "a criterion met in one report and missed in the other": (
        lambda case: (
            case.reports.append(case.report()),
            set_low(case, "last", "-0.020000", report=1),
            case.reports.reverse(),
        ),
        FOLLOWED,
        {"acceptance:retrain:sensitivity:all:last"},
    ),
    "an endpoint that was not evaluable": (
        lambda case: set_endpoint(case, decision="not-evaluable"),
        FOLLOWED,
        {"acceptance:retrain:sensitivity:female:last", "report-overall:report 0"},
    ),
    "an endpoint without an interval": (
        lambda case: (
            set_endpoint(case, decision="not-evaluable"),
            case.endpoints("sensitivity", "female", "last")[0].pop("difference"),
        ),
        FOLLOWED,
        {"acceptance:retrain:sensitivity:female:last", "report-overall:report 0"},
    ),
    "an endpoint that was not met by its own protocol": (
        lambda case: set_endpoint(case, decision="not-met"),
        FOLLOWED,
        {"acceptance:retrain:sensitivity:female:last", "report-overall:report 0"},
    ),
    "an endpoint that decides nothing": (
        lambda case: set_endpoint(case, role="secondary"),
        FOLLOWED,
        {"acceptance:retrain:sensitivity:female:last"},
    ),
    "a protocol younger than the candidate": (
        lambda case: case.reports[0]["protocol"].update(frozenAt="2026-02-24T12:00:01Z"),
        FOLLOWED,
        {"report-frozen:report 0"},
    ),
    "one question answered on made-up data alone": (
        lambda case: (
            case.retrain.update(rungs=["simulated", "retrospective"]),
            case.reports.append(case.report()),
            case.reports[1]["protocol"].update(rung="simulated"),
            set_endpoint(case, cohort="children"),
        ),
        FOLLOWED,
        {"acceptance:retrain:sensitivity:female:last"},
    ),
    "an endpoint that no report has": (
        lambda case: set_endpoint(case, cohort="children"),
        FOLLOWED,
        {"acceptance:retrain:sensitivity:female:last"},
    ),
    "an interval that is too narrow": (
        lambda case: set_confidence(case, "0.94"),
        FOLLOWED,
        {"acceptance:retrain:specificity:male:last"},
    ),
    "a loss against the last release": (
        lambda case: set_low(case, "last", "-0.020000"),
        FOLLOWED,
        {"acceptance:retrain:sensitivity:all:last"},
    ),
    "a loss against the original device": (
        lambda case: set_low(case, "original", "-0.020001"),
        FOLLOWED,
        {"acceptance:retrain:sensitivity:all:original"},
    ),
    "small losses that add up": (
        lambda case: (
            set_low(case, "original", "-0.030000"),
            [
                item.update(margin="0.05")
                for item in case.retrain["acceptance"]
                if item["cohort"] == "all"
            ],
        ),
        FOLLOWED,
        {"cumulative:sensitivity:all:original"},
    ),
    "the fifth in a year": (
        lambda case: fill_year(case, oldest=364.99),
        FOLLOWED,
        {"frequency:retrain"},
    ),
    "no history": (
        lambda case: setattr(case, "entries", None),
        FOLLOWED,
        {"history", "last-release", "frequency:retrain"},
    ),
    "no history, from the original device": (
        first_change,
        FOLLOWED,
        {"history", "last-release", "frequency:retrain"},
    ),
    "from the original device again and again": (
        lambda case: first_change(
            case, [case.entry(f"1.0.{n}", days_ago=90 + n) for n in range(1, 5)]
        ),
        FOLLOWED,
        {"last-release", "frequency:retrain"},
    ),
    "from an older one than the last": (
        lambda case: case.entries.append(case.entry("1.1.1", days_ago=59)),
        FOLLOWED,
        {"last-release"},
    ),
    "from one for some that the last for everybody passed": (
        lambda case: (
            case.entries[0].update(modificationIds=["move-threshold"]),
            case.entries.append(case.entry("1.1.1", days_ago=59)),
        ),
        FOLLOWED,
        {"last-release"},
    ),
    "a modification that the plan does not hold was made since": (
        lambda case: case.entries.append(case.entry("1.1.1", days_ago=59, what="unheard-of")),
        FOLLOWED,
        {"last-release"},
    ),
    "a history that leaves the last release out": (
        lambda case: case.entries.clear(),
        FOLLOWED,
        {"last-release"},
    ),
    "a history of another device": (
        lambda case: case.kept.update({"history.original": "1" * 64}),
        FOLLOWED,
        {"history"},
    ),
    "a history older than the candidate": (
        lambda case: (
            first_change(case, []),
            list_at(case, case.now - timedelta(days=97, seconds=1)),
        ),
        FOLLOWED,
        {"history"},
    ),
    "a history that is dated ahead": (
        lambda case: list_at(case, case.now + timedelta(seconds=1)),
        FOLLOWED,
        {"history"},
    ),
    "a change that is dated ahead": (
        lambda case: case.change.update(issuedAt="2026-06-01T12:00:01Z"),
        FOLLOWED,
        {"dates"},
    ),
    "a last release that is dated ahead": (
        lambda case: case.base.update(issuedAt="2026-06-01T12:00:01Z"),
        FOLLOWED,
        {"dates"},
    ),
    "a plan that is dated ahead": (
        lambda case: case.plan.update(issuedAt="2026-06-01T12:00:01Z"),
        FOLLOWED,
        {"dates"},
    ),
    "a candidate, and so its protocol, that is dated ahead": (
        lambda case: (
            case.candidate.update(issuedAt="2199-06-01T12:00:01Z"),
            case.reports[0]["protocol"].update(frozenAt="2199-01-01T00:00:00Z"),
        ),
        FOLLOWED,
        {"dates", "history"},
    ),
    "a section of the label left out": (
        lambda case: case.change["labellingSections"].pop(),
        FOLLOWED,
        {"labelling-updated"},
    ),
    "a changed label under the old version": (
        lambda case: case.candidate["labelling"].update(ifuVersion="ifu-2"),
        FOLLOWED,
        {"labelling-version"},
    ),
    "a deviation that is not foreseen": (
        lambda case: case.change.update(deviations=["no-adjudication"]),
        FOLLOWED,
        {"deviations"},
    ),
    "a deviation foreseen for another modification": (
        lambda case: (
            case.plan["deviations"][0].update(modificationId="move-threshold"),
            case.change.update(deviations=["adjudicators-two-of-three"]),
        ),
        FOLLOWED,
        {"deviations"},
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_outside_a_bound_the_answer_and_the_rule_are_named(case: Any, name: str) -> None:
    bend, answer, names = REFUSED[name]
    bend(case)
    assert case.refused() == (answer, names)


def test_no_report_at_all_meets_nothing(case: Any) -> None:
    case.reports.clear()
    answer, names = case.refused()
    assert answer == FOLLOWED
    assert {"reports", "methods:retrain", "cumulative:sensitivity:all:original"} <= names
    found = {check.name: check.found for check in case.ask().checks}
    assert found["methods:retrain"] == "no report by these methods"
    assert {name for name in names if name.startswith("acceptance:")} == {
        f"acceptance:retrain:{metric}:{cohort}:{versus}"
        for metric in ("sensitivity", "specificity")
        for cohort in ("all", "female", "male")
        for versus in ("last", "original")
    }


@pytest.mark.parametrize(
    "part", ["dataManagement", "retraining", "performanceEvaluation", "updateProcedures"]
)
@pytest.mark.parametrize(
    "change", [{"methodId": "other"}, {"documentDigest": {"sha256": "1" * 64}}]
)
def test_a_method_under_another_name_or_of_other_bytes_is_another(
    case: Any, part: str, change: dict[str, Any]
) -> None:
    case.reports[0]["methods"][part].update(change)
    answer, names = case.refused()
    assert answer == FOLLOWED
    assert {"report-methods:report 0", "methods:retrain"} <= names


def test_a_report_that_states_no_methods_is_unknown_and_never_yes(case: Any) -> None:
    del case.reports[0]["methods"]
    outcomes = {check.name: check.outcome for check in case.ask().in_the_way}
    assert outcomes["report-methods:report 0"] == Outcome.UNKNOWN
    assert outcomes["acceptance:retrain:sensitivity:all:last"] == Outcome.UNKNOWN


def test_one_modification_is_not_shown_by_the_methods_of_another(case: Any) -> None:
    claim_both(case)
    case.reports.pop()
    answer, names = case.refused()
    assert answer == FOLLOWED
    assert "methods:move-threshold" in names
    assert "acceptance:move-threshold:sensitivity:all:last" in names
    assert not any(name.startswith("acceptance:retrain") for name in names)


def test_a_change_that_the_plan_knows_nothing_of_is_not_listed(case: Any) -> None:
    case.change["modificationIds"] = ["new-input"]
    answer, names = case.refused()
    assert answer == LISTED
    assert {"authorised:new-input", "components-allowed"} <= names


def test_where_nothing_is_asked_and_nothing_answered_nobody_can_say(case: Any) -> None:
    case.change["modificationIds"] = ["new-input"]
    case.reports.clear()
    outcomes = {check.name: check.outcome for check in case.ask().checks}
    assert outcomes["cumulative:sensitivity:all:original"] == Outcome.UNKNOWN


def test_not_listed_goes_before_protocol_not_followed(case: Any) -> None:
    case.reports.clear()
    case.jurisdiction = "FR"
    assert case.ask().answer == Consistency.NOT_LISTED


def test_every_refusal_carries_its_reason_and_its_evidence(case: Any) -> None:
    case.change["guardrails"][0]["value"] = "6000"
    (check,) = case.ask().in_the_way
    assert (check.reason, check.found, check.expected) == (
        Reason.PCCP_INCONSISTENT,
        "6000",
        "200 to 5000",
    )
    assert check.source.startswith("change, sha256 ")
    assert case.ask().as_dict()["primary"] == "pccp.inconsistent"


@pytest.mark.parametrize(
    ("bend", "found"),
    [
        (
            lambda case: case.change.update(modificationIds=["nothing"]),
            "the plan holds no such modification",
        ),
        (
            lambda case: setattr(case, "jurisdiction", "FR"),
            "no authority of FR is named for it",
        ),
        (
            lambda case: setattr(case, "now", case.now - timedelta(days=365)),
            "NB 0000, EU-PCCP-0000, 2026-02-15T00:00:00Z",
        ),
    ],
)
def test_why_a_modification_is_not_authorised_is_told(case: Any, bend: Bend, found: str) -> None:
    bend(case)
    (check,) = (item for item in case.ask().in_the_way if item.name.startswith("authorised:"))
    assert (check.found, check.outcome) == (found, Outcome.REFUSED)


def test_the_evidence_of_a_criterion_is_the_interval_and_its_report(case: Any) -> None:
    checks = {check.name: check for check in case.ask().checks}
    check = checks["acceptance:retrain:sensitivity:all:last"]
    assert check.found == (
        "report 0, retrospective: met, 0.004444 (-0.010000 to 0.018000) at 0.95, 400 patients"
    )
    assert check.source.startswith("report 0, sha256 ")
    assert check.expected.startswith("met; lower bound above -0.02")
    assert check.expected.endswith("on: retrospective")
    checks = {check.name: check for check in case.ask().checks}
    assert checks["frequency:retrain"].found == "2 with this one, in 365 days"
    assert checks["components-allowed"].found == (
        "ifu instructions changed, model model changed, self-test-specification spec changed"
    )


UNKNOWN: dict[str, tuple[Bend, str, str]] = {
    "not evaluable": (
        lambda case: set_endpoint(case, decision="not-evaluable"),
        "acceptance:retrain:sensitivity:female:last",
        (
            "report 0, retrospective: not-evaluable, 0.008889 (-0.010000 to 0.018000) at 0.95, "
            "200 patients"
        ),
    ),
    "no interval": (
        lambda case: (
            set_endpoint(case, decision="not-evaluable"),
            case.endpoints("sensitivity", "female", "last")[0].pop("difference"),
        ),
        "acceptance:retrain:sensitivity:female:last",
        "report 0, retrospective: not-evaluable",
    ),
    "no endpoint": (
        lambda case: set_endpoint(case, cohort="children"),
        "acceptance:retrain:sensitivity:female:last",
        "no report answers it",
    ),
    "not evaluable as a whole": (
        lambda case: miss(case.reports[0], "not-evaluable"),
        "report-overall:report 0",
        "not-evaluable",
    ),
    "no history": (
        lambda case: setattr(case, "entries", None),
        "frequency:retrain",
        "no history",
    ),
    "no figure": (
        lambda case: case.change["guardrails"].pop(0),
        "guardrail:retrain:training-patients",
        "not stated",
    ),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_nobody_can_say_is_unknown_and_stands_in_the_way(case: Any, name: str) -> None:
    bend, rule, found = UNKNOWN[name]
    bend(case)
    checks = case.ask().in_the_way
    assert {check.outcome for check in checks} == {Outcome.UNKNOWN}
    assert [check.found for check in checks if check.name == rule] == [found]


def test_a_baseline_that_is_not_named_is_told_as_none(case: Any) -> None:
    case.kept.update({"candidate.previous": None, "candidate.original": None})
    assert [check.found for check in case.ask().in_the_way] == ["none", "none"]


def test_an_authorisation_by_a_second_letter_counts_from_its_own_date(case: Any) -> None:
    letter = dict(case.plan["authorisations"][1])
    case.plan["authorisations"][1]["date"] = "2027-01-01T00:00:00Z"
    assert case.ask().answer == Consistency.NOT_LISTED
    case.plan["authorisations"].append(letter)
    assert case.ask().answer == Consistency.CONSISTENT
    case.now = case.now - timedelta(days=365)
    assert case.ask().answer == Consistency.NOT_LISTED
