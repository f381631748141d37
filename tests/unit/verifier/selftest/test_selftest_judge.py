"""Judgement alone: no process, no file; what was observed goes in, a verdict comes out."""

from __future__ import annotations

import base64
import decimal
import json
import math
import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from primum_verifier.core.document import sha256_hex
from primum_verifier.core.reasons import Reason
from primum_verifier.proof.bench_contract import BenchRun, Ending, Observations, Ready
from primum_verifier.proof.element_types import ElementType
from primum_verifier.proof.fixtures import FixtureArray, Fixtures, read_fixtures
from primum_verifier.proof.selftest import judge_selftest
from primum_verifier.proof.selftest_levels import LEVELS, decide
from primum_verifier.proof.selftest_result import (
    MAX_CASES_SHOWN,
    Blame,
    Overall,
    SelfTestResult,
    Subject,
    TestStatus,
)
from primum_verifier.proof.selftest_spec import SelfTestSpec
from primum_verifier.proof.trial import Finding

Build = dict[str, Callable[..., Any]]


class Bench:
    """Judges made-up observations against the real fixtures."""

    def __init__(self, build: Build) -> None:
        raw = build["npz"](build["cases"]())
        self.content: dict[str, Any] = build["specification"](raw)
        self.fixtures: Fixtures = read_fixtures(raw)
        self.digest = sha256_hex(raw)
        self.values = list(self.fixtures.references["p"].numbers())
        self.members: dict[str, Any] = {}
        self.ending = Ending.REPORTED
        self.hardware: str | None = "cardiowear-2"

    def judge(self) -> SelfTestResult:
        """What the judgement makes of the present values and members."""
        packed = struct.pack(f"<{len(self.values)}f", *self.values)
        block = {"name": "p", "dtype": "float32", "data": base64.b64encode(packed).decode()}
        observed = {
            "frame": "result",
            "loaded": True,
            "outOfMemory": False,
            "error": "",
            "inputs": [{"name": "x", "dtype": "float32", "shape": ["n", 8]}],
            "outputs": [{"name": "p", "dtype": "float32", "shape": ["n", 1]}],
            "values": [block],
            "failedCases": [],
            "loadsUs": [5000],
            "latenciesUs": [100] * len(self.fixtures.cases),
            **self.members,
        }
        ready = {
            "frame": "ready",
            "contract": "0.1",
            "runtime": {"onnxruntime": "1", "numpy": "2", "python": "3"},
            "provider": "CPUExecutionProvider",
            "architecture": "x86_64",
            "confinements": [],
            "landlockAbi": 0,
        }
        run = BenchRun(
            ending=self.ending,
            ready=Ready.model_validate_json(json.dumps(ready)),
            observations=Observations.model_validate_json(json.dumps(observed))
            if self.ending is Ending.REPORTED
            else None,
            detail="",
            wall_seconds=0.1,
            peak_rss_kib=50_000,
        )
        return judge_selftest(
            spec=SelfTestSpec.model_validate_json(json.dumps(self.content)),
            subject=Subject(spec="0" * 64, model="0" * 64, fixtures=self.digest),
            fixtures=self.fixtures,
            run=run,
            hardware=self.hardware,
        )

    def change(self, name: str, **members: Any) -> None:
        """Change one test of the specification."""
        for test in self.content["tests"]:
            if test["id"] == name:
                test.update(members)


@pytest.fixture
def bench(build: Build) -> Bench:
    return Bench(build)


def status(result: SelfTestResult, name: str) -> TestStatus:
    return next(test.status for test in result.tests if test.id == name)


def test_the_reference_outputs_pass(bench: Bench) -> None:
    assert bench.judge().overall is Overall.PASSED


def test_other_fixtures_or_another_number_of_cases_fail(bench: Bench) -> None:
    digest = bench.digest
    bench.digest = "f" * 64
    assert status(bench.judge(), "bytes") is TestStatus.FAIL
    bench.digest = digest
    bench.content["fixtures"]["cases"] = 13
    result = bench.judge()
    assert status(result, "bytes") is TestStatus.FAIL
    assert result.overall is Overall.FAILED


@pytest.mark.parametrize(
    ("part", "members", "told"),
    [
        ("inputs", {"name": "ecg"}, "the inputs are not those of the interface"),
        (
            "inputs",
            {"shape": ["batch", 9]},
            "input x is float32[8] in a case instead of float32[9]",
        ),
        ("inputs", {"dtype": "int8"}, "input x is float32[8] in a case instead of int8[8]"),
        ("outputs", {"name": "q"}, "the references are not those of the interface"),
        ("outputs", {"shape": []}, "reference p is float32[1] in a case instead of float32[]"),
    ],
)
def test_fixtures_of_another_interface_prove_nothing(
    bench: Bench, part: str, members: dict[str, Any], told: str
) -> None:
    """Danger: a fixture file that fits no longer is passed over, and the numbers still agree."""
    bench.content["interface"][part][0].update(members)
    bench.content["operatingPoint"]["output"] = bench.content["interface"]["outputs"][0]["name"]
    result = bench.judge()
    assert result.overall is Overall.FAILED
    assert told in next(test.found for test in result.tests if test.id == "bytes")


def test_a_cohort_without_a_case_is_absent_and_never_passes(bench: Bench) -> None:
    """Danger: a limit on a cohort that the fixtures do not have is met by having nobody in it."""
    bench.change("decisions", maxDecisionFlipsByCohort={"paced": 0})
    result = bench.judge()
    assert status(result, "decisions") is TestStatus.ABSENT
    assert "paced" in next(test.found for test in result.tests if test.id == "decisions")
    assert result.overall is Overall.INCOMPLETE


def test_values_of_another_output_are_not_taken_for_those_asked_for(bench: Bench) -> None:
    packed = struct.pack(f"<{len(bench.values)}f", *bench.values)
    block = {"name": "other", "dtype": "float32", "data": base64.b64encode(packed).decode()}
    bench.members["values"] = [block]
    assert bench.judge().overall is Overall.FAILED
    bench.members["values"] = [block, {**block, "name": "p"}]
    assert bench.judge().overall is Overall.PASSED


@pytest.mark.parametrize("ending", [one for one in Ending if one is not Ending.REPORTED])
def test_whatever_ends_without_a_report_never_passes(bench: Bench, ending: Ending) -> None:
    """Even where no test is mandatory but one, and none refuses."""
    for test in bench.content["tests"]:
        test["onFailure"] = "warn"
    bench.content["minTests"] = 1
    bench.ending = ending
    result = bench.judge()
    assert result.overall is not Overall.PASSED
    assert result.reason is not None


def test_the_threshold_itself_is_positive_and_exact() -> None:
    tenth = struct.unpack("<f", struct.pack("<f", 0.1))[0]  # 0.100000001490116...
    assert decide(0.5, threshold=decimal.Decimal("0.5")) == 1
    assert decide(tenth, threshold=decimal.Decimal("0.1")) == 1
    assert decide(tenth, threshold=decimal.Decimal("0.10000001")) == 0
    assert decide(math.nan, threshold=decimal.Decimal("0.5")) == -1
    assert decide(math.inf, threshold=decimal.Decimal("0.5")) == 1


def test_a_number_where_silence_is_expected_fails(bench: Bench) -> None:
    bench.values[10] = 0.9
    result = bench.judge()
    assert status(result, "numbers") is TestStatus.FAIL
    assert status(result, "faults") is TestStatus.FAIL


def test_silence_where_a_number_is_expected_fails(bench: Bench) -> None:
    bench.values[0] = math.nan
    result = bench.judge()
    assert status(result, "numbers") is TestStatus.FAIL
    assert status(result, "decisions") is TestStatus.FAIL


def test_flips_are_counted_for_each_cohort(bench: Bench) -> None:
    """Two flips in all are allowed, none in sinus; one in ectopic passes, one in sinus fails."""
    bench.change("numbers", absTol="1")
    bench.change("decisions", maxDecisionFlips=2, maxDecisionFlipsByCohort={"sinus": 0})
    bench.values[7] = 1 - bench.values[7]
    assert bench.judge().passed
    bench.values[0] = 1 - bench.values[0]
    result = bench.judge()
    assert status(result, "decisions") is TestStatus.FAIL
    bench.change("decisions", maxDecisionFlips=1, maxDecisionFlipsByCohort={"sinus": 1})
    assert status(bench.judge(), "decisions") is TestStatus.FAIL
    bench.change("decisions", maxDecisionFlips=2, maxDecisionFlipsByCohort={"sinus": 1})
    assert bench.judge().passed


def test_a_tolerance_is_met_at_its_very_edge_and_not_beyond(bench: Bench) -> None:
    bench.change("numbers", absTol="0.25", relTol="0")
    bench.fixtures.references["p"] = FixtureArray(
        "p", ElementType.FLOAT32, (12, 1), struct.pack("<12f", *[0.5] * 12)
    )
    bench.values = [0.75] * 12
    assert status(bench.judge(), "numbers") is TestStatus.SUCCESS
    bench.values[4] = 0.7500001
    result = bench.judge()
    assert status(result, "numbers") is TestStatus.FAIL
    assert [case.case for case in result.tests[3].cases] == ["case-04"]


def test_a_case_that_failed_to_run_has_no_value_whatever_its_block_says(bench: Bench) -> None:
    bench.members["failedCases"] = [2]
    result = bench.judge()
    assert status(result, "loads") is TestStatus.FAIL
    assert status(result, "numbers") is TestStatus.FAIL
    assert "no output" in result.tests[3].cases[0].found


@pytest.mark.parametrize(
    "values",
    [
        [],
        [{"name": "p", "dtype": "float32", "data": "!!"}],
        [{"name": "p", "dtype": "float32", "data": "AAA="}],
        [{"name": "p", "dtype": "float16", "data": "AAAA" * 16}],
        [{"name": "p", "dtype": "int32", "data": "AAAA" * 16}],
    ],
)
def test_values_that_are_no_values_fail(bench: Bench, values: list[Any]) -> None:
    bench.members["values"] = values
    result = bench.judge()
    assert result.overall is Overall.FAILED
    assert result.blame is Blame.RELEASE


def test_another_interface_found_by_the_runtime_fails(bench: Bench) -> None:
    bench.members["inputs"] = [{"name": "x", "dtype": "float32", "shape": ["n", 9]}]
    assert status(bench.judge(), "signature") is TestStatus.FAIL


def test_a_wish_to_degrade_refuses(bench: Bench) -> None:
    bench.change("decisions", onFailure="degrade")
    bench.change("numbers", absTol="1")
    bench.values[0] = 1 - bench.values[0]
    assert bench.judge().overall is Overall.FAILED


def test_no_time_measured_is_not_run_and_incomplete(bench: Bench) -> None:
    bench.members["latenciesUs"] = []
    result = bench.judge()
    assert status(result, "speed") is TestStatus.NOT_RUN
    assert result.overall is Overall.INCOMPLETE
    assert result.reason is Reason.SELFTEST_INCOMPLETE


def test_fewer_tests_than_the_minimum_are_incomplete(bench: Bench) -> None:
    bench.members["latenciesUs"] = []
    bench.change("speed", mandatory=False)
    assert bench.judge().passed
    bench.content["minTests"] = 7
    assert bench.judge().overall is Overall.INCOMPLETE


def test_out_of_memory_is_a_circumstance(bench: Bench) -> None:
    bench.members |= {"outOfMemory": True, "loaded": False, "error": "MemoryError"}
    result = bench.judge()
    assert result.overall is Overall.INCOMPLETE
    assert result.blame is Blame.CIRCUMSTANCE


def test_running_out_of_memory_in_the_middle_is_a_circumstance_too(bench: Bench) -> None:
    """Half the cases have no output; that says nothing about the other half of the memory."""
    bench.members |= {"outOfMemory": True, "failedCases": [6, 7, 8], "error": "bad_alloc"}
    result = bench.judge()
    assert result.overall is Overall.INCOMPLETE
    assert result.blame is Blame.CIRCUMSTANCE
    assert status(result, "numbers") is TestStatus.NOT_RUN


@pytest.mark.parametrize("ending", [Ending.CRASHED, Ending.NO_REPORT, Ending.MALFORMED_REPORT])
def test_a_crash_fails_the_release_also_where_no_test_asks(bench: Bench, ending: Ending) -> None:
    bench.content["tests"] = [one for one in bench.content["tests"] if one["level"] != "load"]
    bench.ending = ending
    result = bench.judge()
    assert result.overall is Overall.FAILED
    assert result.blame is Blame.RELEASE


def test_a_fault_counts_in_its_own_test_alone(bench: Bench) -> None:
    bench.values[11] = 1 - bench.values[11]
    result = bench.judge()
    assert status(result, "faults") is TestStatus.FAIL
    assert status(result, "decisions") is TestStatus.SUCCESS


def test_a_report_names_a_bounded_number_of_cases(bench: Bench) -> None:
    bench.values = [value + 9 for value in bench.values]
    result = bench.judge()
    assert all(len(test.cases) <= MAX_CASES_SHOWN for test in result.tests)
    amounts = [float(case.by) for case in result.tests[3].cases]
    assert amounts == sorted(amounts, reverse=True)


@pytest.mark.parametrize("level", ["refuse", "degrade"])
@pytest.mark.parametrize("wrong", range(12))
def test_one_wrong_number_is_always_enough(bench: Bench, wrong: int, level: str) -> None:
    bench.change("numbers", onFailure=level)
    bench.values[wrong] = 0.123 if bench.values[wrong] != 0.123 else 0.5
    result = bench.judge()
    assert result.overall is Overall.FAILED
    assert f"case-{wrong:02}" in result.summary


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(st.floats(width=32), max_size=14))
def test_random_values_never_pass_and_always_make_a_report(
    bench: Bench, values: list[float]
) -> None:
    bench.values = values
    result = bench.judge()
    assert result.overall is Overall.FAILED
    assert json.loads(result.report.to_json())["overall"] == "failed"


AWAY = st.floats(-2, 2, allow_nan=False)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data(), tolerance=st.sampled_from(["0", "0.01", "0.3", "1"]))
def test_a_worse_output_never_passes_where_a_better_one_failed(
    bench: Bench, data: st.DataObject, tolerance: str
) -> None:
    """Each number further from its reference on the same side, or none at all: at every level.

    Here the reference decides as is expected, so that further away is never more right.
    """
    references = bench.fixtures.references["p"].numbers()
    off = data.draw(st.lists(AWAY, min_size=12, max_size=12))
    factors = data.draw(st.lists(st.floats(1, 50), min_size=12, max_size=12))
    lost = data.draw(st.lists(st.integers(0, 11), max_size=2, unique=True))
    flips = data.draw(st.integers(0, 12))
    bench.change("numbers", absTol=tolerance, relTol="0")
    bench.change("decisions", maxDecisionFlips=flips, maxDecisionFlipsByCohort={"sinus": flips})
    bench.values = [one + by for one, by in zip(references, off, strict=True)]
    better = bench.judge()
    bench.values = [one + by * more for one, by, more in zip(references, off, factors, strict=True)]
    bench.members["failedCases"] = lost
    worse = bench.judge()
    bench.members.clear()
    assert better.passed or not worse.passed
    for one, other in zip(better.tests, worse.tests, strict=True):
        succeeded = one.status is TestStatus.SUCCESS
        assert succeeded or other.status is not TestStatus.SUCCESS, one.level


STATUS = st.sampled_from(TestStatus)


@given(data=st.data())
def test_the_whole_is_never_better_for_a_test_that_is_worse(
    build: Build, data: st.DataObject
) -> None:
    """Whatever of the tests is mandatory or refuses, and how many have to run."""
    order = [TestStatus.SUCCESS, TestStatus.NOT_RUN, TestStatus.ABSENT, TestStatus.FAIL]
    made = Bench(build)
    made.content["minTests"] = data.draw(st.integers(1, 7))
    count = len(made.content["tests"])
    consequences = st.sampled_from(["refuse", "degrade", "warn"])
    for test in made.content["tests"]:
        test["mandatory"] = test["id"] == "numbers" or data.draw(st.booleans())
        test["onFailure"] = data.draw(consequences)
    before = data.draw(st.lists(STATUS, min_size=count, max_size=count))
    # Not fail but for the very last: a test that fails has run, and counts as one of the minimum.
    after = [data.draw(st.sampled_from(order[order.index(one) : 3] or [one])) for one in before]
    with pytest.MonkeyPatch.context() as patch:
        for place, test in enumerate(made.content["tests"]):
            found = iter((before[place], after[place]))

            def judged(*_: object, found: Any = found) -> Finding:
                return Finding(status=next(found), found="", expected="")

            patch.setitem(LEVELS, test["level"], judged)
        better, worse = made.judge(), made.judge()
    assert better.passed or not worse.passed
