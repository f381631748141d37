"""The page of a comparison: what others wrote stays text, and every number is the report's."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from tests.unit.verifier.pages import ELEMENTS, HOSTILE, Page, read_page

from primum_verifier.change.comparison_report import ComparisonReport
from primum_verifier.core.document import canonical_json, parse_document, sha256_hex
from primum_verifier.shell.cli import main
from primum_verifier.shell.comparison_page import comparison_page

EXAMPLES = Path(__file__).parents[4] / "docs" / "examples"


def bounds(estimate: float, half: float = 0.02) -> dict[str, str]:
    return {
        "estimate": f"{estimate:.6f}",
        "low": f"{estimate - half:.6f}",
        "high": f"{estimate + half:.6f}",
        "confidence": "0.95",
    }


def durations(unit: str, words: str) -> dict[str, Any]:
    quantiles = [
        {"quantile": "0.5", "estimate": "12.5", "upper": "13.1"},
        {"quantile": "0.99", "estimate": "31.0"},
    ]
    shown = {"unit": unit, "values": 400, "longest": "44.25", "quantiles": quantiles}
    return shown | {"measuredOn": f"cardiowear-2{words}"}


def arm(words: str = "") -> dict[str, Any]:
    table = [
        {"cases": 40, "predicted": "0.100000", "observed": bounds(0.125)},
        {"cases": 40, "predicted": "0.900000", "observed": bounds(0.875)},
    ]
    calibrated = {
        "slope": bounds(0.9), "brier": "0.035001", "reliability": "0.013002",
        "resolution": "0.164003", "uncertainty": "0.192004", "withinBins": "0.000000",
        "ece": "0.090005", "bins": f"ten{words}", "table": table,
    }  # fmt: skip
    return {
        "indeterminate": 3,
        "qualityRejected": 5,
        "rejectedByCohort": {"female": 5},
        "ppv": bounds(0.81),
        "roc": [
            {"x": x, "y": y} for x, y in (("0", "0"), ("0.02", "0.7"), ("0.1", "0.95"), ("1", "1"))
        ],
        "calibration": calibrated,
        "alerts": {
            "alerts": 1091, "patientDays": "80.0", "perPatientDay": bounds(13.64),
            "actionable": bounds(0.89), "longestSilenceHours": "9.277",
        },
        "latency": durations("ms", words),
        "timeToDecision": durations("s", ""),
        "repeatability": {
            "cases": 20, "repeats": 5, "within": "0.021", "between": "0.3", "coefficient": "0.058",
        },
    }  # fmt: skip


def content(words: str = "") -> dict[str, Any]:
    """A report with everything; ``words`` stand wherever somebody may say what they like."""
    report: dict[str, Any] = json.loads((EXAMPLES / "comparison-report.json").read_text())
    report["unitRationale"] += words
    report["software"] += words
    report["protocol"]["author"] += words
    for item in report["endpoints"]:
        item["why"] += words
        item["method"] += words
    first = copy.deepcopy(report["endpoints"][0])
    worst = {
        "id": f"{first['id']} worst-case", "metric": first["metric"], "versus": first["versus"],
        "cohort": first["cohort"], "population": "worst-case", "role": "secondary",
        "method": "m", "atLeast": "-0.02", "value": bounds(-0.03), "patients": 3, "cases": 9,
        "decision": "not-met", "why": f"worse{words}",
    }  # fmt: skip
    ratio = {
        "id": "alert-ratio vs last in all", "metric": "alert-ratio", "versus": "last",
        "cohort": "all", "role": "co-primary", "method": f"bootstrap{words}", "atMost": "1.20",
        "atLeast": "0.1", "rationale": f"bearable{words}", "value": bounds(1.05), "patients": 400,
        "cases": 9000, "decision": "met", "why": f"below 1.20{words}",
    }  # fmt: skip
    missing = {
        "id": "latency 0.95 in all", "metric": "latency", "cohort": "all", "role": "secondary",
        "method": "m", "patients": 400, "cases": 9000, "decision": "not-evaluable",
        "why": f"too little{words}",
    }  # fmt: skip
    report["crit"] = ["analysis"]
    report["analysis"] = {
        "interval": "bca",
        "agreement": True,
        "testSet": {
            "id": "locked-5", "cases": {"sha256": "c" * 64}, "entry": "d" * 64, "useNumber": 2,
            "usesAllowed": 3, "repeats": 1, "repeatReason": f"a full disk{words}",
        },
        "deviations": [f"one reader instead of two{words}"],
        "excluded": [{"reason": f"paced{words}", "patients": 2, "cases": 120}],
        "arms": {name: arm(words) for name in ("candidate", "last", "original")},
        "criteria": [ratio, missing, worst],
        "superiority": [{"id": first["id"], "exact": "0.071", "midP": "0.041"}],
        "harm": [
            {
                "id": "sensitivity vs last in male", "pValue": "0.011", "holm": "0.044",
                "benjaminiHochberg": "0.033",
            }
        ],
        "multiplicity": f"intersection-union{words}",
    }  # fmt: skip
    return report


def read(report: dict[str, Any]) -> Page:
    data = canonical_json(report)
    parsed = parse_document(ComparisonReport, data, where="report")
    return read_page(comparison_page(parsed, sha256_hex(data)))


def test_what_was_decided_comes_first_with_what_stands_in_the_way() -> None:
    whole = content()
    assert "are met." in read(whole).text
    failed = whole["analysis"]["criteria"][0]
    failed["decision"], failed["why"] = "not-met", "upper bound not below 1.20"
    whole["overall"] = "not-met"
    page = read(whole)
    assert page.text.index("upper bound not below 1.20") < page.text.index("What was laid down")


def test_everything_of_the_report_is_on_the_page() -> None:
    page = read(content())
    for words in (
        "use 2 of 3", "1 times before: a full disk", "one reader instead of two", "paced",
        "5 rejected for quality, 5 in female; 3 indeterminate", "percent agreement",
        "1.0500 (1.0300 to 1.0700)", "above 0.1 and below 1.20", "too little",
        "0.9000 (0.8800 to 0.9200)", "0.035001", "0.013002", "0.164003", "0.192004", "0.090005",
        "1091 alerts in 80 days", "13.6400 (13.6200 to 13.6600)", "9.277",
        "at most 13.1", "no bound: too few", "44.25", "0.058",
        "0.071", "0.041", "0.011", "0.044", "0.033", "d" * 64,
    ):  # fmt: skip
        assert words in page.text, words
    plots = [attributes for name, attributes in page.seen if name == "svg"]
    assert len(plots) >= 6, "differences, curves, reliability, alerts, latency, time to decision"


def test_an_answer_that_turns_with_the_way_of_counting_is_marked() -> None:
    data = canonical_json(content())
    parsed = parse_document(ComparisonReport, data, where="report")
    drawn = comparison_page(parsed, sha256_hex(data))
    part = drawn[drawn.index('id="undecided"') : drawn.index('id="superiority"')]
    assert '<span class="bad">not-met</span>' in part
    assert part.count('class="bad"') == 1


def test_a_report_without_analysis_is_drawn_as_far_as_it_goes() -> None:
    report = json.loads((EXAMPLES / "comparison-report.json").read_text())
    page = read(report)
    assert "Candidate less baseline" in page.text
    assert "The burden of alerts" not in page.text


@pytest.mark.parametrize("words", HOSTILE)
def test_what_others_wrote_stays_text(words: str) -> None:
    page = read(content(words))
    plain = read(content())
    assert {name for name, _ in page.seen} <= ELEMENTS
    assert [name for name, _ in page.seen] == [name for name, _ in plain.seen]
    allowed = {key for _, attributes in plain.seen for key in attributes}
    assert {key for _, attributes in page.seen for key in attributes} == allowed


def test_the_command_draws_and_ends_like_the_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, drawn = tmp_path / "report.json", tmp_path / "report.html"
    whole = content()
    path.write_bytes(canonical_json(whole))
    assert main(["comparison", str(path), "--html", str(drawn)]) == 0
    assert "locked-5: use 2 of 3" in capsys.readouterr().out
    assert drawn.read_text().startswith("<!DOCTYPE html>")
    whole["analysis"]["criteria"][0]["decision"] = whole["overall"] = "not-met"
    whole["analysis"]["criteria"][0]["why"] = "\x1b[31mred\n"
    path.write_bytes(canonical_json(whole))
    assert main(["comparison", str(path), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["overall"] == "not-met"
    assert main(["comparison", str(path)]) == 1
    assert "\x1b" not in capsys.readouterr().out
    whole["overall"] = "met"
    path.write_bytes(canonical_json(whole))
    assert main(["comparison", str(path)]) == 1
    assert "document.invalid" in capsys.readouterr().err
    assert main(["comparison", str(path), "--html", str(tmp_path / "no" / "where")]) == 1
