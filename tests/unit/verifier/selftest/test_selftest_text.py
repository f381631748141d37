"""A self-test in the terminal: 80 columns, words before colours, and bars that do not lie."""

from __future__ import annotations

import io
import json
import threading
from typing import Any

import pytest

from primum_verifier.core.document import parse_document
from primum_verifier.shell.elapsed import elapsed_line
from primum_verifier.shell.observed_text import bar
from primum_verifier.shell.selftest_text import selftest_text
from primum_verifier.shell.selftest_view import SelfTestView

DIGEST = {"sha256": "ab" * 32}

EXPECTED = """\
pvc-classifier 1.1.0: failed (selftest.failed)
  numbers fail: 1 of 7 numbers outside the tolerance.

  What was verified here
    manifest    not verified
                no signature was looked for
                abababababababababababababababababababababababababababababababab
    files       verified
                3 of 3 have the digest that the manifest names

  Tests
    FAIL     numbers: numeric, mandatory
             found       1 of 7 numbers outside the tolerance
             expected    within 0.00001 + 0.0001 * |reference|
             worst       case-1, p[0]: 0.25
             criterion   QC-1; controls risk RC-1
             asks for    refuse
             case        case-1, p[0]: 0.75 instead of 0.5, off by 0.25
             case        case-2: no output instead of an output
    success  speed: performance, optional
             found       p95 0.058 ms
             expected    p95 at most 200 ms
             criterion   QC-2; controls risk RC-2

  Deviation from the reference, worst cases
    share of tolerance     1e-6  1e-4  1e-2  limit  1e2
    case-1                #####################|#########  4167      0.25
    case-2                #####################|#########  none      inf
    case-3                ################     |           0.021     3e-08
    case-4                                     |           exact     0

  Decisions by cohort
                                            un-  sensitivity      specificity
    cohort               cases pos. flips  dec.  right, 95 %      right, 95 %
    sinus                    7    6     2     1  4/6 0.667        1/1 1.000
                                                 0.300..0.903
    all recorded             7    6     2     1  4/6 0.667        1/1 1.000
                                                 0.300..0.903
    Counts are of fixtures, which were chosen to prove a device and are no
    sample of patients: they show whether this machine decides as was validated,
    and support no clinical claim.

  Errors against the labels, beside the active release
    cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd
    cohort                                   misses         false alarms
    sinus                               2, before 1          0, before 3

  Latency of one case
    12 runs; p50 0.044, p95 0.058, p99 2.747, slowest 2.747 ms
    at most: load 300, p95 200 ms
    loading took 4.100, 3.900 ms
    round 1: 12 runs; p50 0.044, p95 250.000, p99 300.000 ms
    round 2: 12 runs; p50 0.044, p95 0.058, p99 2.747 ms; judged
           0.040 .. 0.060 ms  ##############################      11
           0.060 .. 0.080 ms                                       0
           0.080 ms and more  ###                                  1

  Confinement
    held        landlock, rlimits
    not held    session, parent-death, non-dumpable, no-new-privs,
                no-capabilities, seccomp, network

  Where it ran
    held to     the limits for cardiowear-2
    bench       reported after 101 ms
    peak memory 55084 KiB
    runtime     onnxruntime 1.31.1
    with        numpy 2.4.6, Python 3.11.7
    provider    CPUExecutionProvider
    processor   x86_64 avx2 fma
    landlock    ABI 7
    model       abababababababababababababababababababababababababababababababab
    test spec   abababababababababababababababababababababababababababababababab
    fixtures    abababababababababababababababababababababababababababababababab
    active was  cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"""


def view(**members: Any) -> SelfTestView:
    rate = {"right": 4, "of": 6, "share": "0.667", "low": "0.300", "high": "0.903"}
    counts = {
        "cohort": "sinus", "kind": "recorded", "cases": 7, "positives": 6, "negatives": 1,
        "flips": 2, "undecided": 1, "sensitivity": rate,
        "specificity": {"right": 1, "of": 1, "share": "1.000"},
    }  # fmt: skip
    share = {
        "test": "numbers", "case": "case-1", "cohort": "sinus", "output": "p", "found": "0.75",
        "expected": "0.5", "by": "0.25", "agrees": False, "share": "4167",
    }  # fmt: skip
    bare = {name: item for name, item in share.items() if name != "share"}
    told: dict[str, Any] = {
        "outcome": "failed",
        "reason": "selftest.failed",
        "release": "pvc-classifier 1.1.0",
        "checked": [
            {
                "what": "manifest", "standing": "not verified",
                "found": "no signature was looked for", **DIGEST,
            },
            {
                "what": "files", "standing": "verified",
                "found": "3 of 3 have the digest that the manifest names",
            },
        ],
        "report": {
            "schemaVersion": "0.1", "mode": "test", "component": "pvc-classifier",
            "specificationId": "urn:uuid:3f0c5a60-0000-4000-8000-000000000001",
            "subject": {"specification": DIGEST, "model": DIGEST, "fixtures": DIGEST},
            "active": {"sha256": "cd" * 32}, "hardware": "cardiowear-2",
            "overall": "failed", "reason": "selftest.failed", "blame": "release",
            "summary": "numbers fail: 1 of 7 numbers outside the tolerance.",
            "tests": [
                {
                    "id": "numbers", "level": "numeric", "status": "fail", "mandatory": True,
                    "onFailure": "refuse", "qualityCriterion": "QC-1", "riskControlRef": "RC-1",
                    "found": "1 of 7 numbers outside the tolerance",
                    "expected": "within 0.00001 + 0.0001 * |reference|",
                    "worst": "case-1, p[0]: 0.25",
                    "cases": [
                        {
                            "case": "case-1", "found": "0.75", "expected": "0.5", "by": "0.25",
                            "output": "p", "index": [0],
                        },
                        {
                            "case": "case-2", "found": "no output", "expected": "an output",
                            "by": "inf",
                        },
                    ],
                },
                {
                    "id": "speed", "level": "performance", "status": "success",
                    "mandatory": False, "onFailure": "warn", "qualityCriterion": "QC-2",
                    "riskControlRef": "RC-2", "found": "p95 0.058 ms",
                    "expected": "p95 at most 200 ms", "worst": "", "cases": [],
                },
            ],
            "environment": {
                "frame": "ready", "contract": "0.1", "provider": "CPUExecutionProvider",
                "runtime": {"onnxruntime": "1.31.1", "numpy": "2.4.6", "python": "3.11.7"},
                "architecture": "x86_64", "confinements": ["rlimits", "landlock"],
                "landlockAbi": 7,
            },
            "ending": "reported", "detail": "", "wallMilliseconds": 101, "peakRssKib": 55084,
            "cpuFeatures": ["avx2", "fma"],
        },
        "observed": {
            "shares": [
                share,
                {**bare, "case": "case-2", "by": "inf"},
                {**share, "case": "case-3", "agrees": True, "share": "0.021", "by": "3e-08"},
                {**bare, "case": "case-4", "agrees": True, "by": "0"},
            ],
            "cohorts": [counts],
            "recorded": {**counts, "cohort": "all recorded"},
            "baselines": [
                {
                    "baseline": "active",
                    "release": "cd" * 32,
                    "cohorts": [
                        {
                            "cohort": "sinus", "misses": 2, "missesBefore": 1,
                            "falseAlarms": 0, "falseAlarmsBefore": 3,
                        }
                    ],
                }
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
                        "runs": 12, "p50Ms": "0.044", "p95Ms": "250.000", "p99Ms": "300.000",
                        "judged": False,
                    },
                    {
                        "runs": 12, "p50Ms": "0.044", "p95Ms": "0.058", "p99Ms": "2.747",
                        "judged": True,
                    },
                ],
                "loadsMs": ["4.100", "3.900"],
                "limits": [{"what": "load", "ms": "300"}, {"what": "p95", "ms": "200"}],
            },
        },
        **members,
    }  # fmt: skip
    return parse_document(SelfTestView, json.dumps(told).encode(), where="view")


def test_what_a_person_sees() -> None:
    assert selftest_text(view(), colours=False) == EXPECTED


def test_colours_change_no_word() -> None:
    coloured = selftest_text(view(), colours=True)
    assert "\x1b[31m" in coloured
    plain = coloured
    for code in ("\x1b[31m", "\x1b[32m", "\x1b[1m", "\x1b[0m"):
        plain = plain.replace(code, "")
    assert plain == EXPECTED


def test_a_release_that_computes_the_same_has_no_bars() -> None:
    seen = json.loads(view().to_bytes())["observed"]
    same = [one for one in seen["shares"] if one["case"] == "case-4"]
    text = selftest_text(view(observed={**seen, "shares": same}), colours=False)
    assert "none: all 1 cases are the reference to the last digit" in text
    many = [{**seen["shares"][0], "case": f"case-{n}"} for n in range(13)]
    text = selftest_text(view(observed={**seen, "shares": many}), colours=False)
    assert "and 3 that fare no worse" in text


@pytest.mark.parametrize(
    ("share", "agrees", "length"),
    [
        ("0", True, 0), (None, True, 0), ("1e-90", True, 1), ("0.01", True, 15),
        ("0.999", True, 21), ("1", True, 21), ("1.001", False, 22), ("1e90", False, 30),
        (None, False, 30),
    ],
)  # fmt: skip
def test_a_bar_passes_the_limit_only_where_the_test_failed(
    share: str | None, agrees: bool, length: int
) -> None:
    drawn = bar(share, agrees=agrees)
    assert drawn.count("#") == length
    assert len(drawn) == 31
    assert (drawn.index("|"), drawn[22:].startswith("#")) == (21, not agrees)


class Terminal(io.StringIO):
    """A terminal that says when something was written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = threading.Event()

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        count = super().write(text)
        self.written.set()
        return count


def test_a_long_test_says_how_long_it_has_been_running() -> None:
    terminal = Terminal()
    times = iter([100.0, 107.0])
    with elapsed_line(
        "self-test",
        most_seconds=60,
        stream=terminal,
        clock=lambda: next(times, 107.0),
        each_seconds=0.01,
    ):
        assert terminal.written.wait(30)
    assert terminal.getvalue().startswith("\rself-test: 7 s of at most 60 s")
    assert terminal.getvalue().endswith("\r\x1b[K")


def test_nothing_is_told_where_nobody_looks() -> None:
    stream = io.StringIO()
    with elapsed_line("self-test", most_seconds=60, stream=stream, each_seconds=0.001):
        pass
    assert stream.getvalue() == ""


def test_a_terminal_that_went_away_ends_no_test() -> None:
    class Gone(Terminal):
        def write(self, text: str) -> int:
            super().write(text)
            raise OSError("gone")

    terminal = Gone()
    with elapsed_line("self-test", most_seconds=60, stream=terminal, each_seconds=0.01):
        assert terminal.written.wait(30)
