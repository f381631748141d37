"""The page of a self-test: what others wrote stays text, and every number is the report's."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from tests.unit.verifier.pages import ELEMENTS, HOSTILE, Page, read_page

from primum_verifier.core.document import parse_document
from primum_verifier.proof.confinement import Confinement
from primum_verifier.shell.markup import Markup, joined, tag
from primum_verifier.shell.observed_page import SHOWN_CASES
from primum_verifier.shell.page_style import STYLE
from primum_verifier.shell.plots import Dot, deviation_plot
from primum_verifier.shell.selftest_page import selftest_page
from primum_verifier.shell.selftest_text import selftest_text
from primum_verifier.shell.selftest_view import SelfTestView
from primum_verifier.shell.terminal import WIDTH


def read(view: SelfTestView) -> Page:
    return read_page(selftest_page(view))


def content(words: str = "") -> dict[str, Any]:
    """A view as ``--json`` writes it; ``words`` stand wherever a file may say what it likes."""
    rate = {"right": 4, "of": 6, "share": "0.667", "low": "0.300", "high": "0.903"}
    cohort = f"sinus{words}"[:120]
    share = {
        "test": "numbers", "case": f"case-1{words}"[:120], "cohort": cohort, "agrees": False,
        "output": f"p{words}"[:120], "found": f"0.75{words}"[:120],
        "expected": f"0.5{words}"[:120], "by": f"0.25{words}"[:120], "share": "4167",
    }  # fmt: skip
    counts = {
        "cohort": cohort, "kind": "recorded", "cases": 7, "positives": 6, "negatives": 1,
        "flips": 2, "undecided": 3, "sensitivity": rate,
        "specificity": {"right": 1, "of": 1, "share": "1.000"},
    }  # fmt: skip
    tests = [
        {
            "id": "numbers", "level": "numeric", "status": "fail", "mandatory": True,
            "onFailure": "refuse", "qualityCriterion": "QC-1", "riskControlRef": "RC-1",
            "found": f"1 of 7{words}", "expected": f"within{words}", "worst": f"worst{words}",
            "cases": [
                {
                    "case": f"case-1{words}", "found": f"0.75{words}", "expected": f"0.5{words}",
                    "by": "0.25", "output": f"p{words}", "index": [2],
                }
            ],
        },
        {
            "id": "speed", "level": "performance", "status": "not-run", "mandatory": False,
            "onFailure": "warn", "qualityCriterion": "QC-2", "riskControlRef": "RC-2",
            "found": "not run", "expected": "fast", "worst": "", "cases": [],
        },
    ]  # fmt: skip
    ready = {
        "frame": "ready", "contract": "0.1", "provider": f"CPU{words}",
        "runtime": {"onnxruntime": f"1{words}", "numpy": f"2{words}", "python": f"3{words}"},
        "architecture": f"x86_64{words}", "confinements": ["rlimits", f"own{words}"[:120]],
        "landlockAbi": 7,
    }  # fmt: skip
    digest = {"sha256": "ab" * 32}
    return {
        "outcome": "failed",
        "reason": "selftest.failed",
        "release": f"pvc-classifier 1.1.0{words}",
        "checked": [
            {"what": "files", "standing": "verified", "found": f"3 of 3{words}"},
            {
                "what": f"manifest{words}"[:120],
                "standing": "not verified",
                "found": "none",
                "sha256": "cd" * 32,
            },
        ],
        "report": {
            "schemaVersion": "0.1", "mode": "test", "component": "pvc-classifier",
            "specificationId": "urn:uuid:3f0c5a60-0000-4000-8000-000000000001",
            "subject": {"specification": digest, "model": digest, "fixtures": digest},
            "overall": "failed", "reason": "selftest.failed", "blame": "release",
            "summary": f"numbers fail{words}", "tests": tests, "environment": ready,
            "ending": "reported", "detail": f"said{words}", "wallMilliseconds": 101,
            "peakRssKib": 55084, "cpuFeatures": ["avx2", f"fma{words}"[:120]],
        },
        "observed": {
            "shares": [
                share,
                {**share, "case": "case-2", "agrees": True, "share": "0.5"},
                {**share, "case": "case-3", "agrees": True, "share": "0"},
                {k: v for k, v in {**share, "case": "case-4"}.items() if k != "share"},
            ],
            "cohorts": [counts, {**counts, "cohort": "fault", "kind": "fault", "flips": 0}],
            "cohortsLeftOut": 5,
            "recorded": {**counts, "cohort": "all recorded"},
            "baselines": [
                {
                    "baseline": name,
                    "release": "ef" * 32,
                    "cohorts": [
                        {
                            "cohort": cohort, "misses": 21, "missesBefore": 13,
                            "falseAlarms": 8, "falseAlarmsBefore": 34,
                        }
                    ],
                }
                for name in ("active", "original")
            ],
            "latencies": {
                "runs": 12, "fastestMs": "0.041", "p50Ms": "0.044", "p95Ms": "0.058",
                "p99Ms": "2.747", "slowestMs": "2.747",
                "bins": [
                    {"fromMs": "0.040", "toMs": "0.060", "runs": 11},
                    {"fromMs": "0.060", "toMs": "0.080", "runs": 0},
                    {"fromMs": "0.080", "runs": 1},
                ],
                "rounds": [
                    {
                        "runs": 12, "p50Ms": f"0.{number}", "p95Ms": f"1.{number}",
                        "p99Ms": f"2.{number}", "judged": number == 43,
                    }
                    for number in (42, 43)
                ],
                "loadsMs": ["4.100", "3.900"],
                "limits": [{"what": "load", "ms": "300"}, {"what": "p95", "ms": "200"}],
            },
        },
    }  # fmt: skip


def view_of(told: dict[str, Any]) -> SelfTestView:
    return parse_document(SelfTestView, json.dumps(told).encode(), where="view")


@pytest.mark.parametrize("words", HOSTILE)
def test_what_a_file_says_never_becomes_markup(words: str) -> None:
    """Names of cases, cohorts and tensors, and all a bench says, come out of hostile files."""
    plain, page = read(view_of(content())), read(view_of(content(words)))
    assert [name for name, _ in page.seen] == [name for name, _ in plain.seen]
    assert {name for name, _ in page.seen} <= ELEMENTS
    for _, attributes in page.seen:
        assert not any(name.startswith("on") for name in attributes)
        assert not {"href", "src", "action", "srcdoc", "xlink:href"} & set(attributes)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", page.text)
    shown = "".join(sign if sign.isprintable() else " " if sign == "\n" else "?" for sign in words)
    assert f"case-1{shown}" in page.text
    assert f"CPU{shown}" in page.text


@pytest.mark.parametrize("words", [*HOSTILE, "x" * 60])
def test_what_a_file_says_steers_no_terminal(words: str) -> None:
    text = selftest_text(view_of(content(words)), colours=False)
    lines = text.split("\n")
    assert all(line.isprintable() for line in lines)
    assert max(map(len, lines)) <= WIDTH


def test_a_page_loads_nothing_and_runs_nothing() -> None:
    page = selftest_page(view_of(content()))
    parsed = read(view_of(content()))
    policy = next(attrs for _, attrs in parsed.seen if "http-equiv" in attrs)
    assert policy["http-equiv"] == "Content-Security-Policy"
    assert str(policy["content"]).startswith("default-src 'none'; style-src 'unsafe-inline'")
    assert page.startswith("<!DOCTYPE html>\n<html")
    for word in ("http:", "https:", "url(", "@import", "script"):
        assert word not in page


def test_every_number_of_the_page_is_one_of_the_json() -> None:
    view = view_of(content())
    told = json.loads(view.to_bytes())
    observed, report = told["observed"], told["report"]
    page = read(view)
    assert page.ids["outcome"].startswith(told["outcome"])
    rows = page.tables["table-deviations"][1:]
    names = ("case", "cohort", "test", "output", "found", "expected", "by")
    assert rows == [
        [*(one[name] for name in names), one.get("share", "-")] for one in observed["shares"]
    ]
    rows = page.tables["table-cohorts"][1:]
    whole = [*observed["cohorts"], observed["recorded"]]
    counted = ("cases", "positives", "negatives", "flips", "undecided")
    assert [row[2:7] for row in rows] == [[str(one[name]) for name in counted] for one in whole]
    rate = whole[0]["sensitivity"]
    assert rows[0][7] == (
        f"{rate['right']}/{rate['of']} = {rate['share']} [{rate['low']}, {rate['high']}]"
    )
    assert rows[0][8] == "1/1 = 1.000"
    assert f"and {observed['cohortsLeftOut']} further cohorts" in page.text
    for beside in observed["baselines"]:
        rows = page.tables[f"table-beside-{beside['baseline']}"][1:]
        assert rows == [[str(number) for number in one.values()] for one in _told_in_order(beside)]
        assert f"sha256 {beside['release']}" in page.ids[f"beside-{beside['baseline']}"]
    latencies = observed["latencies"]
    assert page.tables["table-rounds"][1:] == [
        ["1", "12", "0.42", "1.42", "2.42", ""],
        ["2", "12", "0.43", "1.43", "2.43", "this one"],
    ]
    assert "At most: load 300 ms, p95 200 ms" in page.text
    assert "Loading took 4.100, 3.900 ms" in page.text
    for name, at in latencies.items():
        if name.endswith("Ms") and name != "loadsMs":
            assert f"{at} ms" in page.text
    titles = [f"{one['fromMs']} ms" for one in latencies["bins"]]
    assert all(title in page.text for title in titles)
    rows = page.tables["table-tests"][1:]
    assert [row[:3] for row in rows if len(row) == 7] == [
        ["numbersmandatory, else refuse", "numeric", "fail"],
        ["speedoptional, else warn", "performance", "not-run"],
    ]
    assert rows[1] == ["", "case-1, p[2]: 0.75 instead of 0.5, off by 0.25"]
    held = {row[0]: row[1] for row in page.tables["table-confinement"][1:]}
    assert {name for name, said in held.items() if said == "held"} == {"rlimits"}
    assert set(held) == {*Confinement, "own"}
    facts = {row[0]: row[1] for row in page.tables["table-facts"][1:]}
    assert facts["bench"] == f"reported after {report['wallMilliseconds']} ms"
    assert facts["peak memory"] == f"{report['peakRssKib']} KiB"
    assert facts["model"] == f"sha256 {report['subject']['model']['sha256']}"


def _told_in_order(beside: dict[str, Any]) -> list[dict[str, Any]]:
    names = ("cohort", "misses", "missesBefore", "falseAlarms", "falseAlarmsBefore")
    return [{name: one[name] for name in names} for one in beside["cohorts"]]


def test_what_was_not_verified_is_said() -> None:
    page = read(view_of(content()))
    assert page.tables["table-checked"][1:] == [
        ["files", "verified", "3 of 3"],
        ["manifest", "not verified", f"nonesha256 {'cd' * 32}"],
    ]


def test_only_the_worst_stand_in_the_table_and_all_in_the_plot() -> None:
    told = content()
    first = told["observed"]["shares"][0]
    many = SHOWN_CASES + 13
    told["observed"]["shares"] = [{**first, "case": f"case-{n}"} for n in range(many)]
    page = read(view_of(told))
    assert len(page.tables["table-deviations"]) == 1 + SHOWN_CASES
    assert sum(name == "circle" and "r" in a and a["r"] == "3.2" for name, a in page.seen) == many
    assert f"The {SHOWN_CASES} cases that fare worst, of {many}" in page.text


def test_a_stored_report_is_drawn_without_what_it_does_not_hold() -> None:
    told = content()
    del told["observed"], told["release"], told["checked"]
    told["report"].pop("environment")
    page = read(view_of(told))
    assert "No values of single cases" in page.ids["nothing-observed"]
    assert "table-deviations" not in page.tables
    assert "Not known: the bench did not say that it was ready." in page.text
    text = selftest_text(view_of(told), colours=False)
    assert "No values of single cases" in text
    assert "the bench did not say that it was ready" in text


@pytest.mark.parametrize(
    ("share", "agrees", "inside"),
    [
        ("0", True, True),
        ("0.999", True, True),
        ("1", True, True),
        ("1.001", False, False),
        ("1e90", False, False),
        (None, True, True),
        (None, False, False),
        ("1e-90", True, True),
    ],
)
def test_a_dot_lies_on_the_side_of_the_limit_that_was_judged(
    share: str | None, agrees: bool, inside: bool
) -> None:
    page = Page()
    page.feed(deviation_plot([("sinus", [Dot(share, agrees, "a case")])]))
    dot = next(attributes for name, attributes in page.seen if name == "circle")
    limit = next(a for name, a in page.seen if name == "line" and a["class"] == "limit")
    left = float(str(dot["cx"])) + float(str(dot["r"]))
    right = float(str(dot["cx"])) - float(str(dot["r"]))
    at = float(str(limit["x1"]))
    assert (left < at) == inside
    assert (right > at) == (not inside)
    assert 0 < right < left < 720


def test_every_colour_can_be_read_on_its_paper() -> None:
    """WCAG 2.2, 1.4.3: 4.5 to 1 for words, in the light, in the dark and on paper."""
    schemes = [
        dict(re.findall(r"--(\w+):(#[0-9a-f]+)", block))
        for block in re.findall(r":root\{(.*?)\}", STYLE, re.DOTALL)
    ]
    assert len(schemes) == 3
    for scheme in schemes:
        paper = _luminance(scheme["paper"])
        for name in ("ink", "soft", "good", "bad", "bar"):
            lighter, darker = sorted((paper, _luminance(scheme[name])), reverse=True)
            assert (lighter + 0.05) / (darker + 0.05) >= 4.5, (scheme, name)


def _luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_markup_is_made_by_its_module_alone() -> None:
    assert tag("p", "<b>", tag("br"), Markup("<i>")) == "<p>&lt;b&gt;<br/><i></p>"
    assert joined("&", tag("p")) == "&amp;<p></p>"
    assert tag("p", data_x="\"'<", class_="a") == '<p data-x="&quot;&#x27;&lt;" class="a"></p>'
    for name in ("b onload=x", "", "1"):
        with pytest.raises(RuntimeError):
            tag(name)
    with pytest.raises(RuntimeError):
        tag("p", **{"a b": "c"})
