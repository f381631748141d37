"""Judges the budget of a model on one kind of hardware: load time, latencies, memory.

A failure here is a circumstance: it is tried again later and never held against the release,
because a busy or a hot device would otherwise ban what nobody withdrew.
"""

from __future__ import annotations

from primum_verifier.proof.bench_contract import Observations
from primum_verifier.proof.latency import best_round, ranked
from primum_verifier.proof.selftest_result import TestStatus
from primum_verifier.proof.selftest_spec import Budget, PerformanceTest, SelfTestSpec, Test
from primum_verifier.proof.trial import Finding, Trial, absent, not_evaluable, not_run

_NAMES = {
    "load_ms": "load {} ms",
    "p50_ms": "p50 {} ms",
    "p95_ms": "p95 {} ms",
    "p99_ms": "p99 {} ms",
    "peak_rss_mib": "peak {} MiB",
}


def performance(test: Test, trial: Trial) -> Finding:
    """Judge the budget that is signed for the hardware of the trial.

    Nobody having said which hardware this is, is *not-run*; limits that are signed for other
    hardware alone are *absent*, on every device of this kind alike.
    """
    assert isinstance(test, PerformanceTest)  # noqa: S101 - the table of levels pairs them
    budget = test.limits.get(trial.hardware or "")
    if budget is None:
        wanted = "limits for " + ", ".join(sorted(test.limits))
        if trial.hardware is None:
            return not_evaluable("not evaluable: nobody said which hardware this is", wanted)
        return absent(f"not evaluable: no limits for {trial.hardware} are signed", wanted)
    stated = budget.model_dump(exclude_none=True)
    expected = "at most " + ", ".join(_NAMES[name].format(stated[name]) for name in stated)
    expected = f"{expected} on {trial.hardware}"
    seen, run = trial.observations, trial.run
    rounds = whole_rounds(trial.spec, seen) if seen is not None else []
    if seen is None or run is None or not rounds or not seen.loads_us or run.peak_rss_kib == 0:
        return not_run(trial, expected)
    place, times = best_round(rounds, budget.latency_us)
    found = {
        "load_ms": min(seen.loads_us) / 1000,
        **{f"{name}_ms": value / 1000 for name, value in ranked(times).items()},
        "peak_rss_mib": run.peak_rss_kib / 1024,
    }
    over = [name for name in stated if found[name] > stated[name]]
    told = ", ".join(_NAMES[name].format(f"{value:.3f}") for name, value in found.items())
    return Finding(
        status=TestStatus.FAIL if over else TestStatus.SUCCESS,
        found=f"{told} in round {place + 1} of {len(rounds)}",
        expected=expected,
        worst=", ".join(_over(name, found[name], budget) for name in over)
        or f"slowest {max(times) / 1000:.3f} ms",
    )


def whole_rounds(spec: SelfTestSpec, seen: Observations) -> list[tuple[int, ...]]:
    """The rounds in which every case ran as often as was asked.

    One that broke off in the middle says nothing of the cases that it did not come to.
    """
    repetitions = 1 if spec.performance is None else spec.performance.repetitions
    runs = repetitions * spec.fixtures.cases
    return [times for times in seen.rounds_us if len(times) == runs]


def _over(name: str, value: float, budget: Budget) -> str:
    return (
        f"{_NAMES[name].format(f'{value:.3f}')}, {value / getattr(budget, name):.2f} of its limit"
    )
