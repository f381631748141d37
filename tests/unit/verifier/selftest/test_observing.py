"""The numbers that are drawn of a self-test agree with those that judged it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from primum_verifier.core.document import parse_document
from primum_verifier.proof.bench_contract import BenchRun, Ending, Observations
from primum_verifier.proof.decision_counts import ALL_RECORDED
from primum_verifier.proof.fixtures import Fixtures, read_fixtures
from primum_verifier.proof.observed import MAX_BINS, MAX_DRAWN_COHORTS, CohortKind, Observed
from primum_verifier.proof.observing import observe
from primum_verifier.proof.selftest_result import Baselines
from primum_verifier.proof.selftest_spec import SelfTestSpec
from primum_verifier.shell.bench import REFERENCE_BENCH, expected_observations
from primum_verifier.shell.listening import ListeningBench

Build = dict[str, Callable[..., Any]]
Arrays = dict[str, Any]


def parts(build: Build, arrays: Arrays, **changes: Any) -> tuple[SelfTestSpec, Fixtures]:
    data = build["npz"](arrays)
    content = {**build["specification"](data), **changes}
    spec = parse_document(SelfTestSpec, json.dumps(content).encode(), where="spec")
    return spec, read_fixtures(data)


def ended(seen: Observations | None) -> BenchRun:
    return BenchRun(
        ending=Ending.TIMED_OUT if seen is None else Ending.REPORTED,
        ready=None,
        observations=seen,
        detail="",
        wall_seconds=0.0,
        peak_rss_kib=1,
    )


def seen_of(
    spec: SelfTestSpec,
    fixtures: Fixtures,
    arrays: Arrays,
    *,
    baselines: Baselines | None = None,
    hardware: str | None = None,
    **members: Any,
) -> Observed:
    """What is drawn where the bench reported the reference values of ``arrays``."""
    computed = {name: array for name, array in arrays.items() if name.startswith("reference.")}
    other = read_fixtures(_npz({**arrays, **computed}))
    said = expected_observations(other, spec).model_copy(update=members)
    observed = observe(
        spec=spec, fixtures=fixtures, run=ended(said), baselines=baselines, hardware=hardware
    )
    assert observed is not None
    return observed


def _npz(arrays: Arrays) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def moved(arrays: Arrays, place: int, value: float) -> Arrays:
    """The arrays with another computed number in one case."""
    reference = arrays["reference.p"].copy()
    reference[place] = value
    return {**arrays, "reference.p": reference}


def test_what_is_drawn_is_what_was_judged(build: Build, release: Any) -> None:
    """Every flip and every number outside is counted the same in the report and in the drawing."""
    release.model = build["classifier"](scale=-2.0).SerializeToString()
    real = ListeningBench(REFERENCE_BENCH, io.StringIO())
    result = release.run(bench=real)
    drawn = real.observed
    assert drawn is not None
    assert drawn.recorded is not None
    found = {test.id: test.found for test in result.tests}
    outside = sum(not one.agrees for one in drawn.shares)
    assert found["numbers"].startswith(f"{outside} of 12")
    assert outside > 0
    assert found["decisions"].startswith(f"{drawn.recorded.flips} flips")
    assert drawn.recorded.flips > 0
    worst = next(test for test in result.tests if test.id == "numbers").cases
    assert {one.case for one in worst} <= {one.case for one in drawn.shares if not one.agrees}
    assert drawn.latencies is not None
    assert drawn.latencies.runs == sum(one.runs for one in drawn.latencies.bins) == 12


def test_nothing_is_drawn_where_nothing_was_reported(build: Build) -> None:
    spec, fixtures = parts(build, build["cases"]())
    assert observe(spec=spec, fixtures=fixtures, run=ended(None)) is None


@pytest.mark.parametrize("members", [{"loaded": False}, {"out_of_memory": True}])
def test_a_model_that_did_not_compute_has_no_deviations(
    build: Build, members: dict[str, Any]
) -> None:
    arrays = build["cases"]()
    spec, fixtures = parts(build, arrays)
    observed = seen_of(spec, fixtures, arrays, latencies_us=(), **members)
    assert observed == Observed()


def test_a_share_is_of_what_the_test_tolerates(build: Build) -> None:
    """0.00001 + 0.0001 * |reference| is allowed; twice that is a share of 2."""
    arrays = build["cases"]()
    arrays["reference.p"][0] = 0.5
    spec, fixtures = parts(build, arrays)
    allowed = 0.00001 + 0.0001 * 0.5
    drawn = seen_of(spec, fixtures, moved(arrays, 0, 0.5 + 2 * allowed)).shares
    assert (drawn[0].case, drawn[0].agrees, drawn[0].output) == ("case-00", False, "p")
    assert float(drawn[0].share or "") == pytest.approx(2, rel=1e-2)
    assert [one.agrees for one in drawn[1:]] == [True] * 11
    assert {one.share for one in drawn[1:] if one.found != "nan"} == {"0"}


def test_two_that_are_no_number_agree_without_a_share(build: Build) -> None:
    arrays = build["cases"]()
    spec, fixtures = parts(build, arrays)
    drawn = {one.case: one for one in seen_of(spec, fixtures, arrays).shares}
    assert (drawn["case-10"].found, drawn["case-10"].expected) == ("nan", "nan")
    assert drawn["case-10"].agrees
    assert drawn["case-10"].share is None


def test_the_worst_stand_first(build: Build) -> None:
    """No output at all is worse than any distance, and outside is worse than inside."""
    arrays = build["cases"]()
    arrays["reference.p"][:3] = 0.5
    spec, fixtures = parts(build, arrays)
    far = moved(moved(arrays, 1, 0.6), 2, 0.5 + 1e-7)
    drawn = seen_of(spec, fixtures, far, failed_cases=(0,)).shares
    assert [one.case for one in drawn[:3]] == ["case-00", "case-01", "case-02"]
    assert (drawn[0].found, drawn[0].share, drawn[0].agrees) == ("no output", None, False)
    assert [one.agrees for one in drawn[1:3]] == [False, True]


@pytest.mark.parametrize(
    ("found", "tolerance", "share"),
    [
        (0.75, "0", None),  # nothing is tolerated: nothing to divide by
        (float("inf"), "0.1", None),
        (1e30, "1e-99", None),
        (0.75, "1e-98", "2.5e97"),
        (0.75, "25e97", "1e-99"),
        (0.75, "25e98", "0"),
    ],
)
def test_a_share_that_no_person_reads_is_none_or_nothing(
    build: Build, found: float, tolerance: str, share: str | None
) -> None:
    arrays = build["cases"]()
    arrays["reference.p"][0] = 0.5
    tests = build["specification"](build["npz"](arrays))["tests"]
    tests[3].update(absTol=tolerance, relTol="0")
    spec, fixtures = parts(build, arrays, tests=tests)
    drawn = {one.case: one for one in seen_of(spec, fixtures, moved(arrays, 0, found)).shares}
    assert drawn["case-00"].share == share


def test_without_a_numeric_test_there_is_no_deviation(build: Build) -> None:
    arrays = build["cases"]()
    tests = [
        one
        for one in build["specification"](build["npz"](arrays))["tests"]
        if one["id"] != "numbers"
    ]
    spec, fixtures = parts(build, arrays, tests=tests, minTests=1)
    observed = seen_of(spec, fixtures, arrays)
    assert observed.shares == ()
    assert observed.cohorts


def test_without_an_operating_point_there_is_no_decision(build: Build) -> None:
    arrays = build["cases"]()
    keep = {"bytes", "loads", "signature", "numbers"}
    tests = [
        one for one in build["specification"](build["npz"](arrays))["tests"] if one["id"] in keep
    ]
    spec, fixtures = parts(build, arrays, tests=tests, minTests=1, operatingPoint=None)
    observed = seen_of(spec, fixtures, arrays)
    assert (observed.cohorts, observed.recorded) == ((), None)
    assert len(observed.shares) == 12


def test_rates_are_counted_against_labels_and_flips_against_decisions(build: Build) -> None:
    """Eight positives of which six are found; what is undecided is right for nobody."""
    arrays = build["cases"]()
    arrays["reference.p"][:] = 0.9
    arrays["expected_decision"][:] = 1
    arrays["label"][:] = [1] * 8 + [0, -1, -1, -1]
    spec, fixtures = parts(build, arrays)
    computed = moved(moved(arrays, 0, 0.1), 1, float("nan"))
    observed = seen_of(spec, fixtures, computed, failed_cases=(9,))
    named = {one.cohort: one for one in observed.cohorts}
    assert list(named) == ["ectopic", "fault", "sinus"]
    sinus, fault = named["sinus"], named["fault"]
    assert (sinus.cases, sinus.positives, sinus.negatives) == (6, 6, 0)
    assert (sinus.flips, sinus.undecided) == (2, 1)
    assert sinus.sensitivity is not None
    assert (sinus.sensitivity.right, sinus.sensitivity.of) == (4, 6)
    assert sinus.sensitivity.share == "0.667"
    assert (sinus.sensitivity.low, sinus.sensitivity.high) == ("0.300", "0.903")
    assert sinus.specificity is None
    assert (fault.kind, fault.sensitivity, fault.specificity) == (CohortKind.FAULT, None, None)
    whole = observed.recorded
    assert whole is not None
    assert (whole.cohort, whole.cases, whole.flips, whole.undecided) == (ALL_RECORDED, 10, 3, 2)
    assert whole.sensitivity is not None
    assert (whole.sensitivity.right, whole.sensitivity.of) == (6, 8)
    assert whole.specificity is not None
    assert (whole.specificity.right, whole.specificity.of) == (0, 1)


def test_of_a_few_cases_the_counts_stand_alone(build: Build) -> None:
    arrays = build["cases"]()
    arrays["label"][:] = [1] * 4 + [0] * 5 + [-1] * 3
    arrays["cohort"] = np.array(["one"] * 10 + ["fault"] * 2)
    tests = build["specification"](build["npz"](arrays))["tests"]
    tests[4]["maxDecisionFlipsByCohort"] = {}
    spec, fixtures = parts(build, arrays, tests=tests)
    whole = seen_of(spec, fixtures, arrays).recorded
    assert whole is not None
    assert whole.sensitivity is not None
    assert whole.specificity is not None
    assert (whole.sensitivity.low, whole.sensitivity.high) == (None, None)
    assert whole.specificity.low is not None


def test_only_faults_are_no_recorded_cases(build: Build) -> None:
    arrays = build["cases"]()
    arrays["cohort"] = np.array(["fault"] * 12)
    tests = build["specification"](build["npz"](arrays))["tests"]
    tests[4]["maxDecisionFlipsByCohort"] = {}
    spec, fixtures = parts(build, arrays, tests=tests)
    assert seen_of(spec, fixtures, arrays).recorded is None


def test_more_cohorts_than_a_person_reads_are_counted(build: Build) -> None:
    count = MAX_DRAWN_COHORTS + 3
    arrays = {
        "input.x": np.zeros((count, 8), dtype=np.float32),
        "reference.p": np.full((count, 1), 0.5, dtype=np.float32),
        "case": np.array([f"case-{index:04}" for index in range(count)]),
        "cohort": np.array([f"cohort-{index:04}" for index in range(count)]),
        "label": np.ones(count, dtype=np.int8),
        "expected_decision": np.ones(count, dtype=np.int8),
    }
    data = build["npz"](arrays)
    content = build["specification"](data)
    tests = [one for one in content["tests"] if one["level"] != "safety-function"]
    tests[4]["maxDecisionFlipsByCohort"] = {}
    sets = {**content["fixtures"], "cases": count}
    spec, fixtures = parts(build, arrays, tests=tests, fixtures=sets, minTests=1)
    observed = seen_of(spec, fixtures, arrays)
    assert (len(observed.cohorts), observed.cohorts_left_out) == (MAX_DRAWN_COHORTS, 3)
    assert observed.recorded is not None
    assert observed.recorded.cases == count


def test_errors_stand_beside_those_of_earlier_releases(build: Build) -> None:
    """The same counts that the test of no-worse-than judges: labels, without faults."""
    arrays = build["cases"]()
    arrays["reference.p"][:] = 0.9
    arrays["expected_decision"][:] = 1
    arrays["label"][:] = [1] * 5 + [-1] + [0] * 4 + [1, 1]
    then = np.array([1, 0, 0, -1, 1, 0, 0, 1, 0, 0, 0, 0], dtype=np.int8)
    one, other = "11" * 32, "22" * 32
    arrays |= {f"decision.{one}": then, f"decision.{other}": arrays["expected_decision"]}
    spec, fixtures = parts(build, arrays)
    computed = moved(arrays, 0, 0.1)

    def counted(active: str | None, original: str | None) -> list[tuple[str, str, list[Any]]]:
        seen = seen_of(
            spec, fixtures, computed, baselines=Baselines(active=active, original=original)
        )
        return [
            (
                str(one.baseline),
                one.release,
                [
                    (
                        at.cohort,
                        at.misses,
                        at.misses_before,
                        at.false_alarms,
                        at.false_alarms_before,
                    )
                    for at in one.cohorts
                ],
            )
            for one in seen.baselines
        ]

    sinus = ("sinus", 1, 3, 0, 0)
    assert counted(one, other) == [
        ("active", one, [("ectopic", 0, 0, 4, 1), sinus]),
        ("original", other, [("ectopic", 0, 0, 4, 4), ("sinus", 1, 0, 0, 0)]),
    ]
    assert counted(None, "33" * 32) == []
    assert seen_of(spec, fixtures, computed).baselines == ()


def test_without_labels_nothing_is_counted_beside(build: Build) -> None:
    arrays = build["cases"]()
    arrays["label"][:] = -1
    arrays["decision." + "11" * 32] = arrays["expected_decision"]
    spec, fixtures = parts(build, arrays)
    baselines = Baselines(active="11" * 32, original=None)
    assert seen_of(spec, fixtures, arrays, baselines=baselines).baselines == ()


@pytest.mark.parametrize(
    "times",
    [
        (40,),
        (0, 0, 0),
        tuple(range(1, 101)),
        (3_600_000_000,) * 3,
        (40,) * 99 + (9_000_000,),
        (1, 10**9),
    ],
)
def test_every_run_stands_in_one_bar(build: Build, times: tuple[int, ...]) -> None:
    arrays = build["cases"]()
    spec, fixtures = parts(build, arrays)
    seen = seen_of(spec, fixtures, arrays, latencies_us=times).latencies
    assert seen is not None
    assert sum(one.runs for one in seen.bins) == seen.runs == len(times)
    assert len(seen.bins) <= MAX_BINS
    ends = [one.to_ms for one in seen.bins[:-1]]
    assert ends == [one.from_ms for one in seen.bins[1:]]
    assert float(seen.bins[0].from_ms) <= float(seen.fastest_ms)
    if (last := seen.bins[-1].to_ms) is not None:
        assert float(seen.slowest_ms) < float(last)


def timed(build: Build, **budget: int) -> tuple[SelfTestSpec, Fixtures, Arrays]:
    """A specification with limits for one kind of hardware, and a round of all twelve cases."""
    arrays = build["cases"]()
    tests = list(build["specification"](build["npz"](arrays))["tests"])
    tests[-1] = {
        **{name: tests[-1][name] for name in ("id", "level", "qualityCriterion", "riskControlRef")},
        "mandatory": True, "onFailure": "refuse", "warmUp": 0, "repetitions": 1, "rounds": 3,
        "limits": {"cardiowear-2": budget},
    }  # fmt: skip
    return (*parts(build, arrays, tests=tests), arrays)


def test_the_round_that_was_judged_is_drawn(build: Build) -> None:
    """The first within the limits, though a later one was faster; loading and limits beside it."""
    spec, fixtures, arrays = timed(build, p95Ms=2, loadMs=300)
    slow, right, fast = ((at,) * 12 for at in (9000, 1500, 100))
    asked: Arrays = {"latencies_us": slow, "again_us": (right, fast), "loads_us": (4000, 3000)}
    seen = seen_of(spec, fixtures, arrays, hardware="cardiowear-2", **asked).latencies
    assert seen is not None
    assert (seen.runs, seen.p95_ms) == (12, "1.500")
    assert [(one.p95_ms, one.judged) for one in seen.rounds] == [
        ("9.000", False),
        ("1.500", True),
        ("0.100", False),
    ]
    assert seen.loads_ms == ("4.000", "3.000")
    assert [(one.what, one.ms) for one in seen.limits] == [("load", "300"), ("p95", "2")]


@pytest.mark.parametrize("hardware", [None, "another"])
def test_without_limits_for_this_hardware_no_round_is_judged(
    build: Build, hardware: str | None
) -> None:
    spec, fixtures, arrays = timed(build, p50Ms=2)
    asked: Arrays = {"latencies_us": (9000,) * 12, "again_us": ((100,) * 12,)}
    seen = seen_of(spec, fixtures, arrays, hardware=hardware, **asked).latencies
    assert seen is not None
    assert (seen.p95_ms, seen.limits) == ("9.000", ())
    assert not any(one.judged for one in seen.rounds)


def test_a_round_that_broke_off_is_drawn_only_where_there_is_no_other(build: Build) -> None:
    spec, fixtures, arrays = timed(build, p50Ms=2)
    broken, whole = (1,) * 7, (100,) * 12
    seen = seen_of(
        spec, fixtures, arrays, hardware="cardiowear-2", latencies_us=broken, again_us=(whole,)
    ).latencies
    assert seen is not None
    assert [(one.runs, one.judged) for one in seen.rounds] == [(12, True)]
    seen = seen_of(spec, fixtures, arrays, hardware="cardiowear-2", latencies_us=broken).latencies
    assert seen is not None
    assert [(one.runs, one.judged) for one in seen.rounds] == [(7, False)]


def test_one_run_that_was_held_up_hides_no_other(build: Build) -> None:
    """63 runs of 40 to 55 microseconds and one of nine milliseconds: still several bars."""
    arrays = build["cases"]()
    spec, fixtures = parts(build, arrays)
    times = (*(40 + number % 16 for number in range(63)), 9000)
    seen = seen_of(spec, fixtures, arrays, latencies_us=times).latencies
    assert seen is not None
    assert sum(one.runs > 1 for one in seen.bins) >= 3
    assert (seen.bins[-1].to_ms, seen.bins[-1].runs) == (None, 1)


def test_percentiles_are_nearest_ranks(build: Build) -> None:
    arrays = build["cases"]()
    spec, fixtures = parts(build, arrays)
    times = tuple(1000 * number for number in range(1, 101))
    seen = seen_of(spec, fixtures, arrays, latencies_us=times).latencies
    assert seen is not None
    assert (seen.p50_ms, seen.p95_ms, seen.p99_ms) == ("50.000", "95.000", "99.000")
    assert (seen.fastest_ms, seen.slowest_ms) == ("1.000", "100.000")


def test_an_element_of_a_tensor_is_named_by_its_place(build: Build) -> None:
    arrays = build["cases"]()
    wide = np.repeat(arrays["reference.p"], 3, axis=1)
    arrays["reference.p"] = wide
    content = build["specification"](build["npz"](arrays))
    outputs = [{"name": "p", "dtype": "float32", "shape": ["batch", 3]}]
    interface = {**content["interface"], "outputs": outputs}
    point = {**content["operatingPoint"], "element": 0}
    spec, fixtures = parts(build, arrays, interface=interface, operatingPoint=point)
    other = wide.copy()
    other[2, 1] += 0.25
    drawn = seen_of(spec, fixtures, {**arrays, "reference.p": other}).shares
    assert (drawn[0].case, drawn[0].output) == ("case-02", "p[1]")
