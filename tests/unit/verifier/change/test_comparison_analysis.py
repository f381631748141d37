"""What a report shows beyond its endpoints: no more than its own figures allow."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from primum_verifier.change.comparison_report import ComparisonReport
from primum_verifier.core.document import canonical_json, parse_document
from primum_verifier.core.errors import RefusedError

EXAMPLES = Path(__file__).parents[4] / "docs" / "examples"
BOUNDS = {"estimate": "1.05", "low": "0.98", "high": "1.12", "confidence": "0.95"}
CRITERION = {
    "id": "alert-ratio vs last in all",
    "metric": "alert-ratio",
    "versus": "last",
    "cohort": "all",
    "role": "co-primary",
    "method": "cluster bootstrap",
    "atMost": "1.20",
    "rationale": "a fifth more alerts is what the ward said it can bear",
    "value": BOUNDS,
    "patients": 400,
    "cases": 9000,
    "decision": "met",
    "why": "below 1.20",
}
ARM = {"indeterminate": 0, "qualityRejected": 0, "rejectedByCohort": {}}
USE = {
    "id": "locked-5",
    "cases": {"sha256": "c" * 64},
    "entry": "d" * 64,
    "useNumber": 2,
    "usesAllowed": 3,
}


def report(**analysis: Any) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((EXAMPLES / "comparison-report.json").read_text())
    content["analysis"] = {
        "interval": "bca",
        "arms": {"candidate": ARM, "last": ARM, "original": ARM},
        "criteria": [CRITERION],
        "multiplicity": "intersection-union",
        **analysis,
    }
    content["crit"] = ["analysis"]
    return content


def read(content: dict[str, Any]) -> ComparisonReport:
    return parse_document(ComparisonReport, canonical_json(content), where="report")


def test_a_criterion_that_is_met_stands_beside_the_endpoints() -> None:
    found = read(report())
    assert found.overall == "met"
    assert [item.id for item in found.deciding()][-1] == CRITERION["id"]
    assert parse_document(ComparisonReport, found.to_bytes(), where="again") == found


def test_a_criterion_that_is_not_met_turns_the_whole() -> None:
    failed = CRITERION | {"decision": "not-met"}
    with pytest.raises(RefusedError, match="not a valid"):
        read(report(criteria=[failed]))
    content = report(criteria=[failed])
    content["overall"] = "not-met"
    assert read(content).overall == "not-met"


def test_a_criterion_decides_only_for_a_reader_who_knows_criteria() -> None:
    """An older reader sees ``crit`` and refuses; without it, it would take the rest for all."""
    content = report()
    del content["crit"]
    with pytest.raises(RefusedError) as caught:
        read(content)
    assert "crit does not name" in caught.value.found
    shown = report(criteria=[CRITERION | {"role": "secondary"}])
    del shown["crit"]
    assert read(shown).overall == "met"


@pytest.mark.parametrize(
    "change",
    [
        {"value": None},
        {"atMost": None},
        {"atMost": "1.10"},
        {"atLeast": "1.00"},
        {"patients": 0},
    ],
)
def test_a_criterion_is_met_only_inside_its_own_limits(change: dict[str, Any]) -> None:
    spoilt = {k: v for k, v in (CRITERION | change).items() if v is not None}
    with pytest.raises(RefusedError) as caught:
        read(report(criteria=[spoilt]))
    assert "beyond its limit" in caught.value.found


def test_between_two_limits_is_met() -> None:
    inside = CRITERION | {"atLeast": "0.9"}
    above = {k: v for k, v in inside.items() if k != "atMost"}
    assert read(report(criteria=[inside])).overall == "met"
    assert read(report(criteria=[above])).overall == "met"


def test_a_criterion_stands_once() -> None:
    with pytest.raises(RefusedError) as caught:
        read(report(criteria=[CRITERION, CRITERION]))
    assert "stands twice" in caught.value.found


def test_a_test_set_that_was_used_too_often_or_again_without_reason_gives_no_report() -> None:
    assert read(report(testSet=USE)).analysis is not None
    read(report(testSet=USE | {"repeats": 1, "repeatReason": "a disk was full"}))
    for change in ({"useNumber": 4}, {"repeats": 1}):
        with pytest.raises(RefusedError):
            read(report(testSet=USE | change))


def test_what_is_inside_is_closed() -> None:
    content = report()
    for path in (("analysis",), ("analysis", "arms", "candidate"), ("analysis", "criteria", 0)):
        spoilt: Any = copy.deepcopy(content)
        place = spoilt
        for step in path:
            place = place[step]
        place["somethingNew"] = 1
        with pytest.raises(RefusedError):
            read(spoilt)
