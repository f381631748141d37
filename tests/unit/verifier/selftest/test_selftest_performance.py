"""Budgets on one kind of hardware: a busy device is not refused falsely, a slow model always is."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from primum_verifier.core.document import parse_document
from primum_verifier.core.errors import RefusedError
from primum_verifier.proof.bench_contract import BenchRun
from primum_verifier.proof.latency import best_round, percentile, ranked, within
from primum_verifier.proof.selftest_result import Blame, Overall, SelfTestResult, TestStatus
from primum_verifier.proof.selftest_spec import SelfTestSpec
from primum_verifier.shell.bench import ConfinedBench, FakeBench, expected_observations
from primum_verifier.shell.bench_timing import Timing

Build = dict[str, Callable[..., Any]]
SPEED = -1
"""The performance test is the last of the specification."""


def limit(release: Any, build: Build, **members: Any) -> None:
    """State a budget; members that are no limits change how times are taken."""
    taken = {name: members.pop(name) for name in list(members) if name[-2:] not in {"Ms", "iB"}}
    tests = release.spec()["tests"]
    tests[SPEED] |= {**build["budget"](**members), "onFailure": "refuse", **taken}
    release.changes["tests"] = tests


def speed(result: SelfTestResult) -> Any:
    return result.tests[SPEED]


# What is judged


class Measured(FakeBench):
    """The double with times of its own."""

    def __init__(self, *rounds: list[int], loads: tuple[int, ...] = (1000,), kib: int = 1) -> None:
        super().__init__()
        self.rounds, self.loads, self.kib = rounds, loads, kib

    def run(self, **asked: Any) -> BenchRun:
        run = super().run(**asked)
        seen = expected_observations(asked["fixtures"], asked["spec"]).model_copy(
            update={
                "loads_us": self.loads,
                "latencies_us": tuple(self.rounds[0]),
                "again_us": tuple(map(tuple, self.rounds[1:])),
            }
        )
        return replace(run, observations=seen, peak_rss_kib=self.kib)


QUIET, BUSY = [1000] * 12, [9000] * 12


@pytest.mark.parametrize(
    ("limits", "passes"),
    [
        ({"p50Ms": 1, "p95Ms": 1, "p99Ms": 1}, True),
        ({"loadMs": 4}, True),
        ({"loadMs": 3}, False),
        ({"peakRssMiB": 2}, True),
        ({"peakRssMiB": 1}, False),
    ],
)
def test_each_limit_is_met_at_its_edge_and_not_beyond(
    release: Any, build: Build, limits: dict[str, int], passes: bool
) -> None:
    limit(release, build, **limits)
    result = release.run(bench=Measured(QUIET, loads=(4000,), kib=2048))
    assert result.passed is passes, result.summary
    assert speed(result).status is (TestStatus.SUCCESS if passes else TestStatus.FAIL)


@pytest.mark.parametrize(("name", "rank"), [("p50Ms", 6), ("p95Ms", 12), ("p99Ms", 12)])
def test_each_percentile_is_looked_at(release: Any, build: Build, name: str, rank: int) -> None:
    """The nearest rank: of twelve runs the sixth, the twelfth and the twelfth."""
    limit(release, build, **{name: 1})
    below = [1000] * (rank - 1)
    assert not release.run(bench=Measured(below + [1001] * (13 - rank))).passed
    assert release.run(bench=Measured([*below, 1000, *[1001] * (12 - rank)])).passed


def test_one_quiet_round_is_enough_and_it_is_the_one_that_is_shown(
    release: Any, build: Build
) -> None:
    limit(release, build, p95Ms=2)
    result = release.run(bench=Measured(BUSY, QUIET))
    assert result.passed
    assert "p95 1.000 ms" in speed(result).found
    assert speed(result).found.endswith("in round 2 of 2")


def test_the_least_busy_of_busy_rounds_is_shown_and_tried_again_later(
    release: Any, build: Build
) -> None:
    limit(release, build, p95Ms=2, p50Ms=1)
    result = release.run(bench=Measured(BUSY, [8000] * 12, BUSY))
    assert result.overall is Overall.FAILED
    assert result.blame is Blame.CIRCUMSTANCE
    assert "p95 8.000 ms" in speed(result).found
    assert speed(result).worst == "p50 8.000 ms, 8.00 of its limit, p95 8.000 ms, 4.00 of its limit"


def test_a_loading_that_was_held_up_is_made_up_for_by_the_next(release: Any, build: Build) -> None:
    limit(release, build, loadMs=3)
    assert release.run(bench=Measured(QUIET, loads=(90_000, 2000))).passed


def test_a_round_that_broke_off_says_nothing(release: Any, build: Build) -> None:
    """Attack: of a slow round only the fast beginning is reported.  End: not a round."""
    limit(release, build, p95Ms=2)
    assert not release.run(bench=Measured(BUSY, QUIET[:11])).passed
    result = release.run(bench=Measured(QUIET[:11]))
    assert speed(result).status is TestStatus.NOT_RUN
    assert result.overall is Overall.INCOMPLETE


@pytest.mark.parametrize("missing", [{"loads": ()}, {"kib": 0}])
def test_what_was_not_measured_is_not_run(
    release: Any, build: Build, missing: dict[str, Any]
) -> None:
    limit(release, build, p95Ms=2)
    result = release.run(bench=Measured(QUIET, **missing))
    assert speed(result).status is TestStatus.NOT_RUN
    assert not result.passed


def test_limits_for_other_hardware_alone_are_absent(release: Any, build: Build) -> None:
    """Danger: a device whose limits nobody signed passes because it has none."""
    limit(release, build, p95Ms=2)
    result = release.run(bench=Measured(QUIET), hardware="cardiowear-3")
    assert speed(result).status is TestStatus.ABSENT
    assert "no limits for cardiowear-3" in speed(result).found
    assert result.overall is Overall.INCOMPLETE
    assert result.blame is Blame.RELEASE
    assert result.report.hardware == "cardiowear-3"


def test_where_nobody_said_which_hardware_it_is_nothing_is_passed(
    release: Any, build: Build
) -> None:
    limit(release, build, p95Ms=2)
    result = release.run(bench=Measured(QUIET), hardware=None)
    assert speed(result).status is TestStatus.NOT_RUN
    assert result.blame is Blame.CIRCUMSTANCE


def test_an_optional_budget_that_cannot_be_judged_stands_in_nobody_s_way(
    release: Any, build: Build
) -> None:
    limit(release, build, p95Ms=2, mandatory=False)
    assert release.run(bench=Measured(QUIET), hardware="cardiowear-3").passed


ROUNDS = st.lists(st.lists(st.integers(0, 5000), min_size=12, max_size=12), min_size=1, max_size=4)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data(), rounds=ROUNDS, kib=st.integers(1, 4096), load=st.integers(1, 5000))
def test_a_slower_or_larger_one_never_passes_where_a_better_one_failed(
    release: Any, build: Build, data: st.DataObject, rounds: list[list[int]], kib: int, load: int
) -> None:
    limit(release, build, p50Ms=2, p95Ms=3, p99Ms=4, loadMs=3, peakRssMiB=2)
    more = st.integers(0, 3000)
    worse = [[one + data.draw(more) for one in times] for times in rounds]
    better = release.run(bench=Measured(*rounds, loads=(load,), kib=kib))
    other = release.run(
        bench=Measured(*worse, loads=(load + data.draw(more),), kib=kib + data.draw(more))
    )
    assert better.passed or not other.passed
    assert better.blame is not Blame.RELEASE


@given(times=st.lists(st.integers(0, 10**9), min_size=1, max_size=300))
def test_a_percentile_is_the_least_time_that_enough_runs_keep(times: list[int]) -> None:
    for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
        found = ranked(times)[name]
        assert found == percentile(sorted(times), share)
        assert sum(one <= found for one in times) >= math.floor(share * len(times))
        assert sum(one < found for one in times) < share * len(times)
        assert within(times, {name: found})
        assert not within(times, {name: found - 1})


def test_the_first_round_that_is_enough_is_taken() -> None:
    assert best_round([[5], [3], [2]], {"p95": 3}) == (1, [3])
    assert best_round([[5], [4], [6]], {"p95": 3}) == (1, [4])


# How times are taken


class Clocked:
    """Runs that take as long as they are told, on a clock that only they move."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *costs_us: int) -> None:
        self.now, self.runs, self.costs = 0, 0, costs_us
        monkeypatch.setattr(time, "perf_counter_ns", lambda: self.now * 1000)
        monkeypatch.setattr(time, "perf_counter", lambda: self.now / 1_000_000)

    def __call__(self, case: int = 0) -> int:
        self.now += self.costs[min(self.runs, len(self.costs) - 1)]
        self.runs += 1
        return case


def asked(**members: Any) -> dict[str, Any]:
    return {
        "warmUp": 0, "repetitions": 1, "rounds": 5, "latencyUs": {"p95": 100}, "loadUs": 100,
        "seconds": 1000, **members,
    }  # fmt: skip


def test_no_further_round_where_one_was_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Clocked(monkeypatch, 500, 500, 500, 500, 50)
    timing = Timing(asked(repetitions=2))
    for case in range(2):
        timing.timed(model, case)
    timing.go_on(model, cases=2)
    assert timing.rounds == [[500] * 4, [50] * 4]


def test_no_more_rounds_than_signed(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Clocked(monkeypatch, 500)
    timing = Timing(asked(rounds=3))
    timing.timed(model, 0)
    timing.go_on(model, cases=1)
    assert timing.rounds == [[500]] * 3


def test_no_round_begins_that_would_end_too_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Danger: a slow device times out in its last round instead of saying how slow it is."""
    model = Clocked(monkeypatch, 200_000)
    timing = Timing(asked(rounds=20, seconds=2))
    timing.timed(model, 0)
    timing.go_on(model, cases=1)
    assert 2 <= len(timing.rounds) <= 7
    assert model.now <= 2_000_000 * 0.8


def test_warming_up_counts_in_no_round(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Clocked(monkeypatch, 900, 900, 900, 50)
    timing = Timing(asked(warmUp=3))
    timing.warm_up(model, cases=2)
    timing.timed(model, 0)
    timing.go_on(model, cases=1)
    assert timing.rounds == [[50]]


def test_loading_is_repeated_while_it_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Clocked(monkeypatch, 500, 300, 90)
    timing = Timing(asked())
    timing.loaded(model)
    timing.load_again(model)
    assert timing.loads == [500, 300, 90]
    timing = Timing(asked(rounds=2))
    model.costs = (500,)
    timing.loaded(model)
    timing.load_again(model)
    assert timing.loads == [500, 500]


def test_loading_without_a_limit_happens_once(monkeypatch: pytest.MonkeyPatch) -> None:
    timing = Timing(asked(loadUs=None))
    timing.loaded(Clocked(monkeypatch, 500))
    assert not timing.loads_too_slowly


def test_a_model_that_stops_running_in_a_later_round_fails_to_load(release: Any) -> None:
    """Attack: it computes rightly once, and never again.  End: the release's fault, by case."""
    body = """
import sys
from primum_verifier.shell import bench_child, bench_timing
def go_on(self, infer, *, cases):
    self.case = 7
    raise ValueError("no more")
bench_timing.Timing.go_on = go_on
bench_child.main()
"""
    result = release.run(bench=ConfinedBench(command=_python(body)))
    assert result.overall is Overall.FAILED
    assert result.blame is Blame.RELEASE
    assert [case.case for case in result.tests[1].cases] == ["case-07"]


def _python(body: str) -> tuple[str, ...]:
    return (sys.executable, "-I", "-c", body)


# A real model on a processor that has other things to do


def laborious(build: Build, *, rounds: int) -> bytes:
    """The classifier after a product of matrices that changes nothing, ``rounds`` times over."""
    model = build["classifier"]()
    side = 192
    identity = numpy_helper.from_array(np.eye(side, dtype=np.float32), "one")
    wide = numpy_helper.from_array(np.zeros((8, side), dtype=np.float32), "wide")
    narrow = numpy_helper.from_array(np.zeros((side, 1), dtype=np.float32), "narrow")
    square = numpy_helper.from_array(np.ones((side, side), dtype=np.float32), "square")
    count = numpy_helper.from_array(np.array(rounds), "rounds")
    yes = numpy_helper.from_array(np.array(1, dtype=np.bool_), "yes")
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["going"], ["still"]),
            helper.make_node("MatMul", ["carried", "one"], ["next"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("round", TensorProto.INT64, []),
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("carried", TensorProto.FLOAT, [side, side]),
        ],
        [
            helper.make_tensor_value_info("still", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, [side, side]),
        ],
    )
    graph = model.graph
    graph.initializer.extend([identity, wide, narrow, square, count, yes])
    graph.node.insert(0, helper.make_node("Loop", ["rounds", "yes", "square"], ["l"], body=body))
    # Of what the loop made a zero is taken, so that the classifier computes what it did.
    graph.node.insert(1, helper.make_node("MatMul", ["l", "narrow"], ["column"]))
    graph.node.insert(2, helper.make_node("ReduceSum", ["column"], ["zero"], keepdims=0))
    graph.node.insert(3, helper.make_node("Add", ["w", "zero"], ["v"]))
    graph.node[4].input[1] = "v"
    made: bytes = model.SerializeToString()
    return made


@contextmanager
def busy_processors() -> Iterator[None]:
    """Two processes that compute without a pause, and end with this one."""
    burner = "import os, sys\nwhile os.getppid() == int(sys.argv[1]): sum(range(10_000))"
    command = [sys.executable, "-I", "-c", burner, str(os.getpid())]
    burners = [subprocess.Popen(command) for _ in range(2)]
    try:
        yield
    finally:
        for one in burners:
            one.kill()
            one.wait()


@dataclass(frozen=True, kw_only=True)
class Remembering(ConfinedBench):
    """The reference bench; the fastest run that it ever saw is kept."""

    fastest_us: list[int]

    def run(self, **asked: Any) -> BenchRun:
        run = super().run(**asked)
        assert run.observations is not None
        self.fastest_us.append(min(run.observations.latencies_us))
        return run


def test_a_busy_device_is_not_refused_falsely_and_a_slow_model_always_is(
    release: Any, build: Build
) -> None:
    """Danger: a device's own work lets updates fail, or a model passes that is far too slow.

    The limit is eight times the fastest run of the sound model on this machine; the slow model
    computes fifteen times as much.  Both are tested while all processors are busy.
    """
    release.model = laborious(build, rounds=40)
    limit(release, build, p95Ms=100_000)
    bench = Remembering(fastest_us=[])
    for _ in range(2):
        assert release.run(bench=bench).passed
    limit(release, build, p95Ms=math.ceil(8 * min(bench.fastest_us) / 1000), rounds=6)
    with busy_processors():
        for _ in range(4):
            result = release.run()
            assert result.passed, speed(result).found
        release.model = laborious(build, rounds=600)
        for _ in range(2):
            result = release.run()
            assert result.overall is Overall.FAILED, speed(result).found
            assert result.blame is Blame.CIRCUMSTANCE
            assert speed(result).worst.startswith("p95 ")


# What may be signed


@pytest.mark.parametrize(
    "members",
    [
        {"limits": {}},
        {"limits": {"cardiowear-2": {}}},
        {"limits": {"cardiowear-2": {"p95Ms": 0}}},
        {"limits": {"cardiowear-2": {"p42Ms": 1}}},
        {"limits": {"Cardio Wear": {"p95Ms": 1}}},
        {"rounds": 0},
        {"rounds": 21},
        {"repetitions": 0},
        {"repetitions": 400},
        {"warmUp": -1},
    ],
)
def test_a_budget_that_is_none_is_refused(release: Any, members: dict[str, Any]) -> None:
    tests = release.spec()["tests"]
    tests[SPEED] |= members
    release.changes["tests"] = tests
    with pytest.raises(RefusedError):
        parse_document(SelfTestSpec, json.dumps(release.spec()).encode(), where="spec")


def test_one_test_states_all_limits(release: Any) -> None:
    tests = release.spec()["tests"]
    release.changes["tests"] = [*tests, {**tests[SPEED], "id": "again"}]
    with pytest.raises(RefusedError) as caught:
        parse_document(SelfTestSpec, json.dumps(release.spec()).encode(), where="spec")
    assert "more than one performance test" in caught.value.found
